"""Which offers of candidates run here and now."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import numpy.typing as npt

from pipelines.compiled import BOOL, INT, INT32, array, compiled
from pipelines.shop_offers import ShopOffers

Ints = npt.NDArray[np.int64]
Codes = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]


def running(offers: ShopOffers, places: Codes, now: datetime, store_id: str | None) -> tuple[Ints, Ints]:
    """The offers of these items that run in this store at this moment and keep their floor (`ShopOffers.holding`).

    Returns:
        For each offer the index into `places` and the number of its row, by item, the deepest discount first.
    """
    return _rows(places, offers.first, offers.holding(now), offers.stores, offers.here(store_id))


@compiled(array(INT32), array(INT), array(BOOL), array(INT32), array(BOOL))
def _rows(places: Codes, first: Ints, holding: Mask, stores: Codes, here: Mask) -> tuple[Ints, Ints]:
    none = len(first) - 2  # from here on no item has any
    most = 0
    for place in places:
        most += first[min(place, none) + 1] - first[min(place, none)]
    at, rows = np.empty(most, np.int64), np.empty(most, np.int64)
    found = 0
    for number, place in enumerate(places):
        for row in range(first[min(place, none)], first[min(place, none) + 1]):
            if holding[row] and here[stores[row]]:
                at[found], rows[found] = number, row
                found += 1
    return at[:found], rows[:found]
