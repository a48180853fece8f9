"""What follows from a shop's snapshot and is the same for every decision: made once for each, when first needed."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime
from functools import cached_property
from typing import NamedTuple
from weakref import WeakKeyDictionary, ref

import numpy as np
import numpy.typing as npt

from features.live import micros
from pipelines.offers.margin import keeps_margin
from pipelines.offers.value.odds import cut_of
from pipelines.offers.view import ShopReads
from pipelines.shop_offers import UNKNOWN_PRICE, ShopOffers

_DEPTH = 3  # of category paths, as far as likeness goes
_MOST_FOCUSES = 1000
_MOST_OF_A_MAKER = 8
_DAY = 86_400_000_000


BELOW_MARGIN = 128
"""A bit of `Kept.standing`: the usual price does not keep the margin floor."""


class Kept(NamedTuple):
    """What a margin floor says: the flags of every item with BELOW_MARGIN, and of every offer whether it keeps it."""

    standing: npt.NDArray[np.uint8]
    offers: npt.NDArray[np.bool_]


class Derived:
    """Lookups over one shop's arrays.

    Attributes:
        money: usual price and cost of every item in minor units, NaN where it is not known; float64, shape (items, 2).
        traits: codes of every item's maker, brand, category and category's path as far as each of its levels
            (`slate.Goods`); int32, shape (items, 6). What is read of an item lies together, as its candidates lie
            scattered.
        depths, cuts: of every offer the discount and what it is in odds (`odds.cut_of`), at the end of none.
    """

    def __init__(self, shop: ShopReads) -> None:
        # Arrays, not the shop: whoever looks this up by a shop's offers holds them, and not its files.
        self._prices, self._costs, self._categories = shop.prices, shop.costs, shop.names["categories"]
        self._flags, self._codes = shop.flags, (shop.makers, shop.brands, shop.categories)
        self._joins = np.argsort(shop.joined, kind="stable")
        self._joined: list[int] = shop.joined[self._joins].tolist()
        self._new: tuple[tuple[int, int], list[int]] = ((0, 0), [])
        self._offers = ref(shop.offers)
        self._turn: tuple[datetime | None, int, tuple[int, int, int]] = (None, 0, (0, 0, 0))
        self._keeping: dict[float, Kept] = {}
        self.depths = np.append(shop.offers.depths, 0.0)
        self.cuts = cut_of(self.depths)
        self._impulse: dict[float, float] = {}
        self._focus: dict[tuple[str, ...], npt.NDArray[np.bool_]] = {}
        order = np.argsort(shop.makers, kind="stable").astype(np.int32)
        self._by_maker = order
        self._first = np.searchsorted(shop.makers[order], np.arange(len(shop.joined) + 1, dtype=np.int32))

    @cached_property
    def money(self) -> npt.NDArray[np.float64]:
        """See above."""
        both = np.stack([self._prices, self._costs], axis=1)
        return np.where(both < 0, np.nan, both.astype(np.float64))

    @cached_property
    def traits(self) -> npt.NDArray[np.int32]:
        """See above."""
        makers, brands, categories = self._codes
        paths = _paths(self._categories)[:, categories]
        return np.ascontiguousarray(np.stack([makers, brands, categories, *paths], axis=1), np.int32)

    def keeping(self, floor: float) -> Kept:
        """What keeps this margin floor (`margin.keeps_margin`)."""
        found = self._keeping.get(floor)
        if found is None:
            offers = self._offers()
            assert offers is not None, "who asks holds the shop"
            below = ~keeps_margin(self._prices, self._costs, floor)
            rows = keeps_margin(offers.prices, self._costs[offers.rows["item"]], floor)
            found = self._keeping[floor] = Kept(self._flags | below * np.uint8(BELOW_MARGIN), rows)
        return found

    def impulse(self, share: float) -> float:
        """The price up to which goods are the cheapest `share` of the shop; minor units."""
        if share not in self._impulse:
            known = self._prices[self._prices != UNKNOWN_PRICE]
            self._impulse[share] = float(np.quantile(known, share, method="higher")) if len(known) else np.inf
        return self._impulse[share]

    def focus(self, categories: Sequence[str]) -> npt.NDArray[np.bool_]:
        """For each category code, and at the end for no category, whether it is one of these or lies under one."""
        key = tuple(categories)
        if key not in self._focus:
            wanted = [part for part in (_folded(category) for category in key) if part]
            names = [_folded(name) for name in self._categories]
            if len(self._focus) > _MOST_FOCUSES:  # callers may ask for anything
                self._focus.clear()
            self._focus[key] = np.array([any(name[: len(one)] == one for one in wanted) for name in names] + [False])
        return self._focus[key]

    def newcomers(self, now: datetime, days: int) -> list[int]:
        """Codes of the makers who joined within so many days, in order."""
        _, low, high = self.turn(now, days)
        known, codes = self._new
        if known != (low, high):
            codes = np.sort(self._joins[low:high]).tolist()
            self._new = (low, high), codes
        return codes

    def turn(self, now: datetime, days: int) -> tuple[int, int, int]:
        """The moment as far as it counts: another one once an offer begins or ends, or a maker is new or no more."""
        known = self._turn
        if known[0] is now and known[1] == days:  # one request asks for it several times
            return known[2]
        moment, offers = micros(now), self._offers()
        assert offers is not None, "who asks holds the shop"
        found = offers.turn(now), bisect_right(self._joined, moment - days * _DAY), bisect_right(self._joined, moment)
        self._turn = now, days, found
        return found

    def items_of(self, makers: Sequence[int], turn: float) -> npt.NDArray[np.int32]:
        """Items of makers; of one with many a window of them that begins at `turn`, from 0 to 1."""
        codes = np.array(makers, np.int64)
        low = self._first[codes]
        counts = self._first[codes + 1] - low
        taken = np.minimum(counts, _MOST_OF_A_MAKER)
        skipped = np.where(counts > taken, (turn * counts).astype(np.int64), 0)
        step = np.arange(int(taken.sum())) - np.repeat(np.cumsum(taken) - taken, taken)
        within = (np.repeat(skipped, taken) + step) % np.repeat(counts, taken)
        found: npt.NDArray[np.int32] = self._by_maker[np.repeat(low, taken) + within]
        return found


# By a snapshot's offers: those who read it from records share that object, and nothing here holds it.
_made: WeakKeyDictionary[ShopOffers, Derived] = WeakKeyDictionary()


def derived(shop: ShopReads) -> Derived:
    """The lookups of this shop."""
    found = _made.get(shop.offers)
    if found is None:
        found = _made[shop.offers] = Derived(shop)
    return found


def _folded(path: str) -> tuple[str, ...]:
    return tuple(part.strip().casefold() for part in path.split("/") if part.strip())


def _paths(names: Sequence[str]) -> npt.NDArray[np.int32]:
    """For each category code, and at the end for no category (-1), codes of the path's first levels; shape (3, n)."""
    codes: dict[tuple[str, ...], int] = {}
    found = np.full((_DEPTH, len(names) + 1), -1, np.int32)
    for row, name in enumerate(names):
        path = _folded(name)
        if path:
            levels = [path[: min(level + 1, len(path))] for level in range(_DEPTH)]
            found[:, row] = [codes.setdefault(level, len(codes)) for level in levels]
    return found
