"""Whether a store had an item on its shelf at a moment, told by its sales: a shop rarely keeps yesterday's stock.

What is not there cannot be chosen. An item that sells well where it is carried, and of which a store sells nothing for
a long time, was not there; of one that sells rarely nobody can say, and it is taken to have been there.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipelines.offers.value.data import Events, Visits

Ints = npt.NDArray[np.int64]

_MISSED = 3.0
"""So many sales are missed before a shelf is taken to be empty: chance alone rarely does it."""


class Shelves:
    """The sales of all stores before a moment.

    Args:
        sales: purchases, all of them before `moment`.
        visits: of the sales; they tell the stores.
        goods: how many items there are.
        moment: seconds.
    """

    def __init__(self, sales: Events, visits: Visits, goods: int, moment: int) -> None:
        store = visits.store[sales.visit] if len(sales) else np.zeros(0, np.int64)
        placed = store >= 0
        store, item, time = store[placed], sales.item[placed], sales.time[placed]
        self._goods, self._end = goods, moment
        self._start = int(time.min(initial=moment))
        stores = int(store.max(initial=0)) + 1
        self._span = max(1, moment - self._start) + 2
        self._packed = np.sort((store * goods + item) * self._span + (time - self._start) + 1)
        sold = np.bincount(store * goods + item, minlength=stores * goods).reshape(stores, goods)
        size = sold.sum(axis=1) / max(1, sold.sum())
        # Sales a second of an item in a store of each size, over the stores that sell it at all.
        reach = size @ (sold > 0)
        usual = sold.sum(axis=0) / np.maximum(reach, 1e-9) / max(1, moment - self._start)
        self._rate = np.where(reach > 0, usual, 0.0)[None, :] * size[:, None]

    def had(self, store: Ints, item: Ints, time: Ints) -> npt.NDArray[np.bool_]:
        """Whether each store had the item then; true where nobody can say. Moments lie in the time of the sales."""
        known = np.flatnonzero((store >= 0) & (store < len(self._rate)))
        found = np.ones(len(store), bool)
        key = store[known] * self._goods + item[known]
        at = np.searchsorted(self._packed, key * self._span + np.clip(time[known] - self._start, 0, self._span - 2) + 1)
        low, high = key * self._span, (key + 1) * self._span
        before = self._packed[np.maximum(at - 1, 0)] if len(self._packed) else low
        after = self._packed[np.minimum(at, len(self._packed) - 1)] if len(self._packed) else high
        before = np.where((at > 0) & (before > low), before, low)
        after = np.where((at < len(self._packed)) & (after < high), after, low + self._end - self._start + 1)
        found[known] = self._rate[store[known], item[known]] * (after - before) < _MISSED
        return found
