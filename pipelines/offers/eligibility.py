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
from pipelines.compiled import BOOL, BYTE, INT32, array, compiled
from pipelines.offers.derived import BELOW_MARGIN, derived
from pipelines.offers.facts import NOTHING, Facts
from pipelines.offers.view import Reads
from pipelines.shop_snapshot import AGE_RESTRICTED, NEVER, SENSITIVE

Placement = Literal["entrance", "aisle", "checkout", "phone"]
PLACEMENTS: tuple[Placement, ...] = ("entrance", "aisle", "checkout", "phone")
# Seen by its owner alone; every other placement hangs where everybody sees it.
PRIVATE: Placement = "phone"


_Places = npt.NDArray[np.int32]
Codes = npt.NDArray[np.uint16]
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


# In what `refusals` tells of an item each code that may refuse it here is a bit, in the order in which they are named.
_CATEGORY_EXCLUDED, _EXCLUDED, _BLOCKED, _STORE_EXCLUDED, _AGE_RESTRICTED, _SENSITIVE = 1, 2, 4, 8, 16, 32
_BELOW_MARGIN, _JUST_BOUGHT, _NOT_DUE, _SHOWN_OFTEN, _OUT_OF_STOCK = 64, 128, 256, 512, 1024
BITS = {
    Refusal.CATEGORY_EXCLUDED: _CATEGORY_EXCLUDED,
    Refusal.EXCLUDED: _EXCLUDED,
    Refusal.BLOCKED: _BLOCKED,
    Refusal.STORE_EXCLUDED: _STORE_EXCLUDED,
    Refusal.AGE_RESTRICTED: _AGE_RESTRICTED,
    Refusal.SENSITIVE: _SENSITIVE,
    Refusal.BELOW_MARGIN: _BELOW_MARGIN,
    Refusal.JUST_BOUGHT: _JUST_BOUGHT,
    Refusal.NOT_DUE: _NOT_DUE,
    Refusal.SHOWN_OFTEN: _SHOWN_OFTEN,
    Refusal.OUT_OF_STOCK: _OUT_OF_STOCK,
}
_STANDING = np.array([NEVER, AGE_RESTRICTED, SENSITIVE, BELOW_MARGIN], np.uint8)
_NONE, _NO_STOCK = np.zeros(0, np.int32), np.zeros(0, np.bool_)


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


def refusals(view: Reads, places: _Places, setting: Setting) -> Codes:
    """What refuses each of `places` (positions, none negative): a bit for each code, 0: it may be shown."""
    shop = view.shop
    known = derived(shop)
    brands, categories = shop.excluded(setting.store_id) or (_NONE, _NONE)
    stocked, (held, lasts) = shop.stocked(setting.store_id), setting._held
    return _refused(
        places,
        known.keeping(setting.policy.margin_floor).standing,
        _STANDING,
        known.traits,
        setting.excluded,
        *setting._blocked,
        brands,
        categories,
        setting.placement == PRIVATE,
        setting.recognised,
        held,
        lasts,
        setting._shown,
        stocked is not None,
        _NO_STOCK if stocked is None else stocked,
    )


@compiled()
def _found(value: int, known: npt.NDArray[np.int32]) -> int:
    """Where a value stands among the sorted `known`; -1: it does not."""
    low, high = 0, len(known)
    while low < high:
        middle = (low + high) // 2
        if known[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low if low < len(known) and known[low] == value else -1


@compiled()
def _among(value: int, known: npt.NDArray[np.int32]) -> bool:
    """Whether a value is among the sorted `known`."""
    return _found(value, known) >= 0


@compiled(
    array(INT32), array(BYTE), array(BYTE), array(INT32, 2), array(INT32), array(INT32), array(INT32), array(INT32),
    array(INT32), BOOL, BOOL, array(INT32), array(BOOL), array(INT32), BOOL, array(BOOL),
)  # fmt: skip
def _refused(
    places: _Places,
    standing: npt.NDArray[np.uint8],
    bits: npt.NDArray[np.uint8],
    traits: npt.NDArray[np.int32],
    excluded: _Places,
    blocked_items: _Places,
    blocked_makers: npt.NDArray[np.int32],
    brands: npt.NDArray[np.int32],
    categories: npt.NDArray[np.int32],
    private: bool,
    recognised: bool,
    held: _Places,
    lasts: npt.NDArray[np.bool_],
    shown: _Places,
    counted: bool,
    stocked: npt.NDArray[np.bool_],
) -> Codes:
    """The rules. What is looked up in (`excluded` to `categories`, `held`, `shown`) is sorted.

    Args:
        places: the candidates.
        standing, traits: of every item (`Derived`).
        bits: those of `standing` (_STANDING).
        excluded: items that the request excludes.
        blocked_items, blocked_makers: what the trust part keeps from being shown.
        brands, categories: what the store does not want shown.
        private: only its owner sees the slate.
        recognised: somebody was.
        held, lasts: items that the shopper has, and of each whether the supply lasts.
        shown: items that the shopper was shown as often as the caps allow.
        counted: whether there is a stock table.
        stocked: of every item whether it is in stock.
    """
    never, adults_only, delicate, too_cheap = bits[0], bits[1], bits[2], bits[3]
    found = np.zeros(len(places), np.uint16)
    for number, place in enumerate(places):
        flags, codes = standing[place], 0
        maker, brand, category = traits[place, 0], traits[place, 1], traits[place, 2]
        if counted and not stocked[place]:
            codes |= _OUT_OF_STOCK
        if _among(place, excluded):
            codes |= _EXCLUDED
        if _among(place, blocked_items) or _among(maker, blocked_makers):
            codes |= _BLOCKED
        if flags & never:
            codes |= _CATEGORY_EXCLUDED
        if _among(brand, brands) or _among(category, categories):
            codes |= _STORE_EXCLUDED
        if flags & adults_only and not private:
            codes |= _AGE_RESTRICTED
        if flags & delicate and recognised:
            codes |= _SENSITIVE
        if flags & too_cheap:
            codes |= _BELOW_MARGIN
        has = _found(place, held)
        if has >= 0:
            codes |= _NOT_DUE if lasts[has] else _JUST_BOUGHT
        if _among(place, shown):
            codes |= _SHOWN_OFTEN
        found[number] = codes
    return found


def _places(found: Iterable[int]) -> _Places:
    return np.array(sorted(found), np.int32)
