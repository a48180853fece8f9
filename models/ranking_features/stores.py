"""Features of the shopper's stores and an item: whether and how well it sells there, and whether it is advertised."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from scipy import sparse

from models.dataset import BoolArray, FloatArray, IntArray
from models.ranking_features.past import Past, distinct

_DECAY = 60.0  # days over which a visit's weight falls to 1 / e
_LEAST = 0.03  # a store with a smaller share of the shopper's visits is not theirs
_BLOCK = 256  # shoppers whose table over all items is dense at a time


def store_shares(past: Past) -> sparse.csr_matrix:
    """Share of each store in the shopper's latest interactions; shape (shoppers, stores), small shares left out."""
    if past.store is None:
        return sparse.csr_matrix((past.shoppers, 0))
    known = past.store >= 0
    cells = (np.exp(-past.age[known] / _DECAY), (past.shopper[known], past.store[known]))
    weights = sparse.coo_matrix(cells, shape=(past.shoppers, past.stores)).tocsr()
    totals = np.maximum(np.asarray(weights.sum(axis=1)).ravel(), 1e-9)
    shares = (sparse.diags(1 / totals) @ weights).tocsr()
    shares.data[shares.data < _LEAST] = 0
    shares.eliminate_zeros()
    return shares.astype(np.float32)


def store_tables(past: Past) -> dict[str, sparse.csc_matrix]:
    """Tables of stores × items: shoppers of the last days, and advertising now, before and, where known, to come."""
    if past.store is None:
        return {}
    tables = {f"store_shoppers_{days}": _sold(past, days) for days in (7, 28)}
    tables["store_sold"] = _sold(past, 120).astype(bool).astype(np.float32)
    told = past.promotions
    if told is None:
        return tables
    for kind, named in (("display", told.display), ("mailer", told.mailer)):
        now = (told.starts > 0) & (told.ends <= 0)
        tables[f"{kind}_now"] = _advertised(past, named & now)
        tables[f"{kind}_before"] = _advertised(past, named & (told.ends > 0) & (told.starts <= 63))
        if past.planned:
            tables[f"{kind}_planned"] = _advertised(past, named & (told.starts <= 0) & (told.starts > -30))
            tables[f"{kind}_next_week"] = _advertised(past, named & (told.starts <= 0) & (told.starts > -7))
    return tables


class StoreFeatures:
    """Tables over a `Past`, made once; `of` gives the features of pairs, shopper × items + item, ordered."""

    def __init__(self, past: Past) -> None:
        self._past = past
        self.shares = store_shares(past)
        self.tables = store_tables(past)
        self._chain = {
            name: np.asarray(table.sum(axis=0), np.float64).ravel()
            for name, table in self.tables.items()
            if name.startswith(("display", "mailer"))
        }

    def of(self, pairs: IntArray) -> dict[str, FloatArray]:
        """Each table's mean over the shopper's stores, and of advertising also its sum over the chain; (pairs,)."""
        items = self._past.items
        found = {name: in_own_stores(self.shares, table, pairs) for name, table in self.tables.items()}
        found |= {f"{name}_chain": values[pairs % items] for name, values in self._chain.items()}
        if self.tables:
            sales = self.shares @ np.asarray(self.tables["store_shoppers_28"].sum(axis=1)).ravel()
            found["store_share_28"] = found["store_shoppers_28"] / np.maximum(sales[pairs // items], 1e-9)
        return found

    def advertised(self, items: IntArray) -> sparse.csr_matrix:
        """Promotions now and to come of each store; shape (stores, len(items))."""
        names = [name for name in self._chain if name.endswith(("_now", "_planned"))]
        return sum((self.tables[name][:, items] for name in names[1:]), self.tables[names[0]][:, items]).tocsr()


def in_own_stores(shares: sparse.csr_matrix, table: sparse.csc_matrix, pairs: IntArray) -> FloatArray:
    """Sum over stores of the shopper's share × the table's value of the item; shape (pairs,)."""
    items = table.shape[1]
    bounds = np.searchsorted(pairs, np.arange(0, shares.shape[0] + _BLOCK, _BLOCK) * items)
    found = np.zeros(len(pairs))
    for number, (start, end) in enumerate(pairwise(bounds)):
        if end > start:
            columns, place = np.unique(pairs[start:end] % items, return_inverse=True)
            own = (shares[number * _BLOCK : (number + 1) * _BLOCK] @ table[:, columns]).toarray()
            found[start:end] = own[pairs[start:end] // items - number * _BLOCK, place]
    return found


def _sold(past: Past, days: float) -> sparse.csc_matrix:
    """Shoppers who bought the item in the store in the last days."""
    assert past.store is not None
    inside = (past.age <= days) & (past.store >= 0)
    cells = distinct((past.store[inside] * past.items + past.item[inside]) * past.shoppers + past.shopper[inside])
    place, number = np.unique(cells // past.shoppers, return_counts=True)
    where = (place // past.items, place % past.items)
    return sparse.csc_matrix((number.astype(np.float32), where), shape=(past.stores, past.items))


def _advertised(past: Past, chosen: BoolArray) -> sparse.csc_matrix:
    """How many of the chosen promotions each store has for each item."""
    assert past.promotions is not None
    where = (past.promotions.store[chosen], past.promotions.item[chosen])
    ones = np.ones(int(chosen.sum()), np.float32)
    return sparse.coo_matrix((ones, where), shape=(past.stores, past.items)).tocsc()
