"""An allocation problem as arrays, and the choice that each shopper makes at given shadow prices.

    max Σ value·x   over x in {0, 1} for each option, so that
    a shopper has at most `slots` options, one of an item, at most `caps[c]` of a campaign, and
    of every limited good (a campaign's money, a maker's money, an item's units) no more is used than there is.

At fixed prices of the limited goods the problem falls apart into one small problem a shopper. Where no item of a
shopper lies in two campaigns with caps, taking the best option that still fits is exact (the rules are laminar).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int32]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Good:
    """A kind of limited good.

    Attributes:
        codes: (options,) which one an option draws on, -1: none.
        use: (options,) how much of it, 0 or more.
        limits: (goods,) how much there is of each, inf: without a limit.
    """

    codes: Ints
    use: Floats
    limits: Floats


@dataclass(frozen=True)
class Problem:
    """Options in columns: the first of every shopper, the second of those who have two, and so on.

    Shoppers are in the order of how many options they have, the most first, so that a column is a prefix of them.

    Attributes:
        widths: (columns,) shoppers in each column, falling.
        value: (options,) what an option is worth, above 0.
        item, campaign: (options,) codes.
        caps: (campaigns,) options of a campaign for one shopper, at most `slots`.
        slots: options for one shopper.
        goods: what is limited.
    """

    widths: npt.NDArray[np.int64]
    value: Floats
    item: Ints
    campaign: Ints
    caps: Ints
    slots: int
    goods: tuple[Good, ...]

    @property
    def shoppers(self) -> int:
        """How many have an option at all."""
        return int(self.widths[0]) if len(self.widths) else 0

    @cached_property
    def begins(self) -> npt.NDArray[np.int64]:
        """Where each column begins."""
        return np.concatenate([[0], np.cumsum(self.widths)])

    @cached_property
    def shopper(self) -> Ints:
        """(options,) whose each option is."""
        return np.concatenate([np.arange(width, dtype=np.int32) for width in self.widths] or [np.zeros(0, np.int32)])

    @cached_property
    def crossing(self) -> Bools:
        """(shoppers,) whose best choice greed may miss: an item in two campaigns, and a cap below the slots."""
        crossed = np.zeros(self.shoppers, bool)
        capped = self.caps[self.campaign] < self.slots
        if self.slots == 1 or not capped.any():
            return crossed
        order = np.lexsort((self.campaign, self.item, self.shopper))
        same = (np.diff(self.shopper[order]) == 0) & (np.diff(self.item[order]) == 0)
        other = same & (np.diff(self.campaign[order]) != 0)
        crossed[self.shopper[order][1:][other]] = True
        limited = np.zeros(self.shoppers, bool)
        limited[self.shopper[capped]] = True
        return crossed & limited

    def columns(self) -> Iterator[tuple[int, slice]]:
        """Each column's width and where its options lie."""
        for width, begin in zip(self.widths, self.begins, strict=False):
            yield int(width), slice(int(begin), int(begin + width))

    def reduced(self, prices: list[Floats]) -> Floats:
        """(options,) value less what the limited goods cost at these prices."""
        left = self.value.copy()
        for good, price in zip(self.goods, prices, strict=True):
            if price.any():
                # An option without the good has code -1 and takes the last price times a use of 0.
                left -= price[good.codes] * good.use
        return left

    def choose(self, reduced: Floats) -> npt.NDArray[np.int64]:
        """(shoppers, slots) the options that greed takes, -1: none; only those whose reduced value is above 0."""
        picks = np.full((self.slots, self.shoppers), -1, np.int64)
        if self.slots == 1:
            self._best(reduced, picks[0])
            return picks.T
        room = self.caps[self.campaign].astype(np.int16)
        worth = np.where(room > 0, reduced, -np.inf)
        for pick in picks:
            self._best(worth, pick)
            got = pick >= 0
            if not got.any():
                break
            item = np.where(got, self.item[pick], -2)
            campaign = np.where(got, self.campaign[pick], -2)
            for width, at in self.columns():
                room[at] -= self.campaign[at] == campaign[:width]
                worth[at][(self.item[at] == item[:width]) | (room[at] <= 0)] = -np.inf
        return picks.T

    def _best(self, worth: Floats, pick: npt.NDArray[np.int64]) -> None:
        best = np.zeros(self.shoppers)
        for width, at in self.columns():
            better = worth[at] > best[:width]
            np.copyto(best[:width], worth[at], where=better)
            np.copyto(pick[:width], np.arange(at.start, at.stop), where=better)

    def used(self, options: npt.NDArray[np.int64]) -> list[Floats]:
        """How much of each good these options use together."""
        found: list[Floats] = []
        for good in self.goods:
            codes = good.codes[options]
            held = codes >= 0
            found.append(np.bincount(codes[held], good.use[options][held], minlength=len(good.limits)).astype(float))
        return found

    def part(self, shoppers: npt.NDArray[np.int64], share: float) -> Problem:
        """The problem of some shoppers (ascending), with that share of every good."""
        options = self.options_of(shoppers)
        widths = np.array([np.searchsorted(shoppers, width) for width in self.widths])
        goods = tuple(Good(good.codes[options], good.use[options], good.limits * share) for good in self.goods)
        return Problem(
            widths[widths > 0],
            self.value[options],
            self.item[options],
            self.campaign[options],
            self.caps,
            self.slots,
            goods,
        )

    def options_of(self, shoppers: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The options of some shoppers (ascending), column by column."""
        begins = zip(self.widths, self.begins, strict=False)
        return np.concatenate([begin + shoppers[: np.searchsorted(shoppers, width)] for width, begin in begins])


def in_columns(
    shopper: npt.NDArray[np.int64], shoppers: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Bring options into the order of `Problem`.

    Args:
        shopper: (options,) code of each option's shopper.
        shoppers: how many codes there are.

    Returns:
        The order of the options, the widths of the columns, and the shoppers' codes in the problem's order.
    """
    counts = np.bincount(shopper, minlength=shoppers)
    ranked = np.argsort(-counts, kind="stable")
    ranked = ranked[: np.count_nonzero(counts)]
    counts = counts[ranked]
    place = np.zeros(shoppers, np.int64)
    place[ranked] = np.arange(len(ranked))
    row = place[shopper]
    by_shopper = np.argsort(row, kind="stable") if (np.diff(row) < 0).any() else np.arange(len(row))
    first = np.cumsum(counts) - counts
    widths = np.searchsorted(-counts, -np.arange(int(counts[0]) if len(counts) else 0), side="left")
    order = np.concatenate([by_shopper[first[:width] + column] for column, width in enumerate(widths)] or [row[:0]])
    return order, widths.astype(np.int64), ranked
