"""What of a sale in a category lasts: who buys today what they would have bought next week, buys less next week.

Whoever buys in a category by a cycle starts it anew with each purchase. A purchase today instead of the next one brings
that forward by the time that was left, so that in the long run it adds (time left) / (usual time) of a purchase: a
whole one just after the last or where none would follow, little when the next is due anyway (the mean residual life of
a renewal process). How much of the usual time is left is counted over all visits on which nothing was bought there, by
how often the shopper had bought in the category before and how long ago.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipelines.offers.value.data import DAY, Events, Visits

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

_STEPS = np.linspace(0.0, 2.0, 9)  # parts of the usual time
_TIMES = np.array([1, 2, 3, 5, 9])  # purchases so far; the last: as many or more
_OWN_FROM = 3  # with so many purchases the shopper's own mean time counts, with fewer the category's
_FEWEST_SHOPPERS = 5
_FEWEST = 100
"""With fewer cases what all together tell counts; with fewer of all, a sale is taken to last."""


@dataclass(frozen=True)
class Cycle:
    """Which share of more purchases lasts, between 0 and 1.

    Attributes:
        lasting: by how often somebody bought before (_TIMES) and how long ago (_STEPS).
        usual: of each category the median days between two purchases of a shopper; NaN: fewer than
            _FEWEST_SHOPPERS bought there twice.
    """

    lasting: Floats
    usual: Floats

    def lasts(self, category: Ints, times: Floats, days: Floats, due: Floats) -> Floats:
        """The share of more purchases in a category that later visits do not lose, shape (n,).

        Args:
            category: of each item.
            times: how often the shopper bought there unprompted; who never did loses no sale of a habit.
            days: since the last time; NaN: never.
            due: the same in units of the shopper's mean time between two; NaN: not known.
        """
        part = np.where((times >= _OWN_FROM) & ~np.isnan(due), due, days / self.usual[category])
        known = ~np.isnan(part) & (times > 0)
        row = np.maximum(np.searchsorted(_TIMES, times[known], "right") - 1, 0)
        at = np.clip(part[known], _STEPS[0], _STEPS[-1]) / _STEPS[1]
        low = np.minimum(at.astype(np.int64), len(_STEPS) - 2)
        told = np.ones(len(part))
        told[known] = self.lasting[row, low] + (at - low) * (self.lasting[row, low + 1] - self.lasting[row, low])
        return told

    def carried(self, categories: Ints) -> Cycle:
        """The same where categories have other numbers now: of each one its number then; -1: there was none."""
        return Cycle(self.lasting, np.where(categories < 0, np.nan, np.append(self.usual, np.nan)[categories]))


def learn_cycle(
    purchases: Events, unprompted: Mask, visits: Visits, category: Ints, categories: int, moment: int
) -> Cycle:
    """Count it over visits on which nothing was bought in a category in which the shopper had bought before.

    Args:
        purchases, visits: of the shop.
        unprompted: which purchases no screen suggested: only they tell of a habit, while every one starts it anew.
        category: of each item. categories: how many there are.
        moment: up to when they are known; a visit after which less than a usual time is seen is left out.
    """
    kind = category[purchases.item]
    order = np.lexsort((purchases.visit, kind, purchases.shopper))
    pair, visit, own = purchases.shopper[order] * categories + kind[order], purchases.visit[order], unprompted[order]
    again = np.r_[False, (pair[1:] == pair[:-1]) & (visit[1:] == visit[:-1])][: len(pair)]  # of one visit it is one
    own = np.maximum.reduceat(own, np.flatnonzero(~again)) if len(own) else own
    pair, visit = pair[~again], visit[~again]
    time = (visits.start[visit] - moment) / DAY
    follows = np.r_[pair[1:] == pair[:-1], False][: len(pair)]
    until = np.where(follows, np.r_[time[1:], 0.0][: len(pair)], np.inf)
    usual = np.full(categories, np.nan)
    for one in np.unique(pair[follows] % categories):
        some = follows & (pair % categories == one)
        if len(np.unique(pair[some])) >= _FEWEST_SHOPPERS:  # of fewer it would tell their own habits
            usual[one] = np.median((until - time)[some])
    start = np.flatnonzero(np.r_[True, pair[1:] != pair[:-1]][: len(pair)])
    sizes = np.diff(np.r_[start, len(pair)])
    so_far = np.cumsum(own)
    times: Ints = so_far - np.repeat((so_far - own)[start], sizes)
    here = np.arange(len(pair))
    latest = np.maximum.accumulate(np.where(own, here, -1))  # where there is one of the pair's own
    earliest = np.searchsorted(so_far, so_far - times + 1)
    mean = np.where(
        times > 1, (time[latest] - time[np.minimum(earliest, len(pair) - 1)]) / np.maximum(times - 1, 1), 0.0
    )
    length = np.where(times >= _OWN_FROM, np.maximum(mean, 1.0), usual[pair % categories])
    bought, at = _between(visits, moment, pair // categories, time, until)
    seen = (at + length[bought] <= 0.0) & (times[bought] > 0)
    bought, at = bought[seen], at[seen]
    left = np.minimum((until[bought] - at) / length[bought], 1.0)
    column = np.rint(np.minimum((at - time[bought]) / length[bought], _STEPS[-1]) / _STEPS[1]).astype(np.int64)
    row = np.searchsorted(_TIMES, times[bought], "right") - 1
    shape = len(_TIMES), len(_STEPS)
    cell = np.ravel_multi_index((row, column), shape)
    count, total = (np.bincount(cell, weights, np.prod(shape)).reshape(shape) for weights in (None, left))
    every = count.sum(axis=0)
    anybody = np.where(every >= _FEWEST, total.sum(axis=0) / np.maximum(every, 1), 1.0)
    return Cycle(np.where(count >= _FEWEST, total / np.maximum(count, 1), anybody), usual)


def _between(visits: Visits, moment: int, shopper: Ints, after: Floats, before: Floats) -> tuple[Ints, Floats]:
    """Visits of shoppers between two moments, both left out: which pair of moments, and when; days from `moment`."""
    order = np.lexsort((visits.start, visits.shopper))
    when = (visits.start[order] - moment) / DAY
    span = float(when.max(initial=0.0) - when.min(initial=0.0)) + 1.0
    key = visits.shopper[order] * span + (when - when.min(initial=0.0))
    low = np.searchsorted(key, shopper * span + (after - when.min(initial=0.0)), "right")
    high = np.searchsorted(key, shopper * span + np.minimum(before - when.min(initial=0.0), span - 0.5), "left")
    sizes = np.maximum(high - low, 0)
    which = np.repeat(np.arange(len(shopper)), sizes)
    at = low[which] + np.arange(len(which)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return which, when[at]
