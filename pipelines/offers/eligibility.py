"""Hard rules, at read time, on every path: what may be shown here, now, to whom. Every refusal has a code."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from configs.policy import PolicySettings
from features.live import micros
from pipelines.offers.derived import BELOW_MARGIN, derived
from pipelines.offers.facts import NOTHING, Facts
from pipelines.offers.view import Reads
from pipelines.shop_snapshot import AGE_RESTRICTED, NEVER, SENSITIVE

Placement = Literal["entrance", "aisle", "checkout", "phone"]
PLACEMENTS: tuple[Placement, ...] = ("entrance", "aisle", "checkout", "phone")
# Seen by its owner alone; every other placement hangs where everybody sees it.
PRIVATE: Placement = "phone"


_Places = npt.NDArray[np.int32]
DEFAULT = PolicySettings()


class Refusal(StrEnum):
    """Why an item may not be shown."""

    __hash__ = str.__hash__  # an enumeration's own is Python, and decisions look codes up

    UNKNOWN_ITEM = "unknown_item"  # the shop does not know it
    OUT_OF_STOCK = "out_of_stock"  # the stock table shows none in this store
    EXCLUDED = "excluded"  # the request excludes it
    BLOCKED = "blocked"  # the item or its maker is kept from being shown
    CATEGORY_EXCLUDED = "category_excluded"  # its category is never recommended
    STORE_EXCLUDED = "store_excluded"  # the store wants nothing of its brand or category shown
    AGE_RESTRICTED = "age_restricted"  # not on a screen that everybody sees
    SENSITIVE = "sensitive"  # not to a person who was recognised
    BELOW_MARGIN = "below_margin"  # its usual price leaves less over its cost than the settings ask for
    JUST_BOUGHT = "just_bought"  # the shopper has it, and no usual time tells when they need it again
    NOT_DUE = "not_due"  # the shopper has it and will not need it yet, or never again
    SHOWN_OFTEN = "shown_often"  # the shopper was shown it as often as the caps allow


@dataclass(frozen=True)
class Setting:
    """Where and for whom a slate is made.

    Attributes:
        placement: the kind of slot; a phone is seen by its owner alone.
        store_id: the store, None: not known.
        recognised: whether somebody was, with certainty or not.
        excluded: positions that the request excludes.
        now: the moment.
        facts: what is true now and in no snapshot.
        policy: margins and caps.
    """

    placement: Placement
    store_id: str | None
    recognised: bool
    excluded: npt.NDArray[np.int32]
    now: datetime
    facts: Facts = NOTHING
    policy: PolicySettings = DEFAULT

    @cached_property
    def _held(self) -> tuple[_Places, npt.NDArray[np.bool_]]:
        """Items that the shopper has, and of each whether the supply lasts; others were just bought."""
        moment = micros(self.now)
        held = sorted((place, lasts) for place, (until, lasts) in self.facts.held.items() if until > moment)
        return _places(place for place, _ in held), np.array([lasts for _, lasts in held], np.bool_)

    @cached_property
    def _shown(self) -> _Places:
        return _places(place for place, times in self.facts.shown.items() if times >= self.policy.offer_cap)

    @cached_property
    def _blocked(self) -> tuple[_Places, _Places]:
        return _places(self.facts.blocked_items), _places(self.facts.blocked_makers)


def refusals(view: Reads, places: _Places, setting: Setting) -> dict[Refusal, npt.NDArray[np.bool_]]:
    """For each code, which of `places` (positions, none negative) it refuses; codes that refuse none may be missing."""
    shop, facts = view.shop, setting.facts
    standing = derived(shop).keeping(setting.policy.margin_floor).standing[places]
    any_of = int(np.bitwise_or.reduce(standing))
    found = {}
    if any_of & NEVER:
        found[Refusal.CATEGORY_EXCLUDED] = (standing & NEVER) != 0
    if len(setting.excluded):
        found[Refusal.EXCLUDED] = _among(places, setting.excluded)
    if facts.blocked_items or facts.blocked_makers:
        items, makers = setting._blocked
        found[Refusal.BLOCKED] = _among(places, items) | _among(shop.makers[places], makers)
    unwanted = shop.excluded(setting.store_id)
    if unwanted is not None:
        brands, categories = unwanted
        found[Refusal.STORE_EXCLUDED] = _among(shop.brands[places], brands) | _among(
            shop.categories[places], categories
        )
    if any_of & AGE_RESTRICTED and setting.placement != PRIVATE:
        found[Refusal.AGE_RESTRICTED] = (standing & AGE_RESTRICTED) != 0
    if any_of & SENSITIVE and setting.recognised:
        found[Refusal.SENSITIVE] = (standing & SENSITIVE) != 0
    if any_of & BELOW_MARGIN:
        found[Refusal.BELOW_MARGIN] = (standing & BELOW_MARGIN) != 0
    if facts.held:
        held, lasts = setting._held
        at, has = _found(places, held)
        due = has & lasts[at] if len(lasts) else has
        found[Refusal.JUST_BOUGHT], found[Refusal.NOT_DUE] = has & ~due, due
    if facts.shown:
        found[Refusal.SHOWN_OFTEN] = _among(places, setting._shown)
    stocked = shop.stocked(setting.store_id)
    if stocked is not None:
        found[Refusal.OUT_OF_STOCK] = ~stocked[places]
    return found


def _places(found: Iterable[int]) -> _Places:
    return np.array(sorted(found), np.int32)


def _among(values: npt.NDArray[np.int32], known: _Places) -> npt.NDArray[np.bool_]:
    """Which values are among the sorted `known`."""
    return _found(values, known)[1]


def _found(values: npt.NDArray[np.int32], known: _Places) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Where values stand among the sorted `known`, and which do."""
    if not len(known):
        return np.zeros(len(values), np.int64), np.zeros(len(values), np.bool_)
    at = np.minimum(known.searchsorted(values), len(known) - 1)
    return at, np.asarray(known[at] == values, np.bool_)
