"""Hard rules, at read time, on every path: what may be shown here, now, to whom. Every refusal has a code."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import numpy as np
import numpy.typing as npt

from pipelines.offers.facts import NOTHING, Facts
from pipelines.offers.view import Reads
from pipelines.shop_snapshot import AGE_RESTRICTED, NEVER, SENSITIVE

Placement = Literal["entrance", "aisle", "checkout", "phone"]
PLACEMENTS: tuple[Placement, ...] = ("entrance", "aisle", "checkout", "phone")
# Seen by its owner alone; every other placement hangs where everybody sees it.
PRIVATE: Placement = "phone"


class Refusal(StrEnum):
    """Why an item may not be shown."""

    UNKNOWN_ITEM = "unknown_item"  # the shop does not know it
    OUT_OF_STOCK = "out_of_stock"  # the stock table shows none in this store
    EXCLUDED = "excluded"  # the request excludes it
    BLOCKED = "blocked"  # the item or its maker is kept from being shown
    CATEGORY_EXCLUDED = "category_excluded"  # its category is never recommended
    AGE_RESTRICTED = "age_restricted"  # not on a screen that everybody sees
    SENSITIVE = "sensitive"  # not to a person who was recognised


@dataclass(frozen=True)
class Setting:
    """Where and for whom a slate is made.

    Attributes:
        placement: the kind of slot; a phone is seen by its owner alone.
        store_id: the store, None: not known.
        personal: whether the slate is for a known shopper.
        excluded: positions that the request excludes.
        facts: what is true now and in no snapshot.
    """

    placement: Placement
    store_id: str | None
    personal: bool
    excluded: npt.NDArray[np.int32]
    facts: Facts = NOTHING


def refusals(view: Reads, places: npt.NDArray[np.int32], setting: Setting) -> dict[Refusal, npt.NDArray[np.bool_]]:
    """For each code, which of `places` (positions, none negative) it refuses; codes that are off are left out."""
    flags = view.shop.flags[places]
    found = {
        Refusal.EXCLUDED: np.isin(places, setting.excluded),
        Refusal.CATEGORY_EXCLUDED: (flags & NEVER) != 0,
    }
    facts = setting.facts
    if facts.blocked_items or facts.blocked_makers:
        items, makers = np.array(facts.blocked_items, np.int32), np.array(facts.blocked_makers, np.int32)
        found[Refusal.BLOCKED] = np.isin(places, items) | np.isin(view.shop.makers[places], makers)
    if setting.placement != PRIVATE:
        found[Refusal.AGE_RESTRICTED] = (flags & AGE_RESTRICTED) != 0
    if setting.personal:
        found[Refusal.SENSITIVE] = (flags & SENSITIVE) != 0
    stocked = view.shop.in_stock(setting.store_id)
    if stocked is not None:
        at = np.minimum(np.searchsorted(stocked, places), max(0, len(stocked) - 1))
        found[Refusal.OUT_OF_STOCK] = stocked[at] != places if len(stocked) else np.ones(len(places), bool)
    return found
