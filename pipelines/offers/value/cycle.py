"""What of a sale in a category lasts: who buys today what they would have bought next week, buys less next week.

Whoever buys in a category by a cycle starts it anew with each purchase. A purchase today instead of the next one brings
that forward by the time that was left, so that in the long run it adds (time left) / (usual time) of a purchase: a
whole one just after the last or where none would follow, little when the next is due anyway (the mean residual life of
a renewal process). How much of the usual time is left is counted over all purchases of the shop, by how often the
shopper had bought in the category before and how long ago.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipelines.offers.value.data import DAY, Events

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_STEPS = np.linspace(0.0, 2.0, 9)  # parts of the usual time
_TIMES = np.array([1, 2, 3, 5, 9])  # purchases so far; the last: as many or more
_OWN_FROM = 3  # with so many purchases the shopper's own mean time counts, with fewer the category's
_FEWEST = 100
"""With fewer cases what all together tell counts; with fewer of all, a sale is taken to last."""


@dataclass(frozen=True)
class Cycle:
    """Which share of more purchases lasts, between 0 and 1.

    Attributes:
        lasting: by how often somebody bought before (_TIMES) and how long ago (_STEPS).
        usual: of each category the median days between two purchases of a shopper; NaN: nobody bought there twice.
    """

    lasting: Floats
    usual: Floats

    def lasts(self, category: Ints, times: Floats, days: Floats, due: Floats) -> Floats:
        """The share of more purchases in a category that later visits do not lose, shape (n,).

        Args:
            category: of each item.
            times: how often the shopper bought there.
            days: since the last time; NaN: never.
            due: the same in units of the shopper's mean time between two; NaN: not known.
        """
        part = np.where((times >= _OWN_FROM) & ~np.isnan(due), due, days / self.usual[category])
        known = ~np.isnan(part)
        row = np.maximum(np.searchsorted(_TIMES, times[known], "right") - 1, 0)
        at = np.clip(part[known], _STEPS[0], _STEPS[-1]) / _STEPS[1]
        low = np.minimum(at.astype(np.int64), len(_STEPS) - 2)
        told = np.ones(len(part))
        told[known] = self.lasting[row, low] + (at - low) * (self.lasting[row, low + 1] - self.lasting[row, low])
        return told


def learn_cycle(purchases: Events, category: Ints, categories: int, moment: int) -> Cycle:
    """Count it over all purchases.

    Args:
        purchases: of the shop. category: of each item. categories: how many there are.
        moment: up to when they are known; of whom less than a usual time is seen after a case, it is left out.
    """
    kind = category[purchases.item]
    order = np.lexsort((purchases.time, kind, purchases.shopper))
    pair = purchases.shopper[order] * categories + kind[order]
    time = (moment - purchases.time[order]) / -DAY  # days, the moment is 0
    again = np.r_[False, (pair[1:] == pair[:-1]) & (np.diff(time) < 0.5)]  # of one visit it is one purchase
    pair, time = pair[~again], time[~again]
    follows = np.r_[pair[1:] == pair[:-1], False] if len(pair) else np.zeros(0, bool)
    gap = np.where(follows, np.r_[time[1:], 0.0] - time, np.inf) if len(pair) else np.zeros(0)
    usual = np.full(categories, np.nan)
    for one in np.unique(pair[follows] % categories):
        usual[one] = np.median(gap[follows & (pair % categories == one)])
    start = np.flatnonzero(np.r_[True, pair[1:] != pair[:-1]]) if len(pair) else np.zeros(0, np.int64)
    first = np.repeat(start, np.diff(np.r_[start, len(pair)]))
    times = np.arange(len(pair)) - first + 1
    mean = (time - time[first]) / np.maximum(times - 1, 1)
    length = np.where(times >= _OWN_FROM, np.maximum(mean, 1.0), usual[pair % categories])
    lasting = np.ones((len(_TIMES), len(_STEPS)))
    row = np.searchsorted(_TIMES, times, "right") - 1
    for column, step in enumerate(_STEPS):
        seen = (gap > step * length) & (time + (step + 1.0) * length <= 0.0)
        left = np.minimum(gap[seen] / length[seen] - step, 1.0)
        count = np.bincount(row[seen], minlength=len(_TIMES))
        total = np.bincount(row[seen], weights=left, minlength=len(_TIMES))
        anybody = total.sum() / count.sum() if count.sum() >= _FEWEST else 1.0
        lasting[:, column] = np.where(count >= _FEWEST, total / np.maximum(count, 1), anybody)
    return Cycle(lasting, usual)
