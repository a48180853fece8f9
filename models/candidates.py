"""Candidates of the second stage: what a shopper bought before, and the unseen items that several sources put first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.dataset import FloatArray, IntArray
from models.ranking_features.affinity import AffinityFeatures
from models.ranking_features.items import ItemFeatures
from models.ranking_features.past import Past, distinct, rank_within
from models.ranking_features.stores import StoreFeatures
from models.ranking_features.taste import Taste

Float32Array = npt.NDArray[np.float32]
# Scores of the items of a pool for some shoppers; shape (shoppers, pool).
Source = Callable[[IntArray], npt.NDArray[np.floating]]
# All there may be; "advertised" needs promotions, "store" needs stores.
SOURCES = ("taste_slow", "taste_fast", "content", "trend", "store", "advertised")
# The last weeks in which an item must have been bought to be a candidate for those who never bought it.
_POOL_DAYS = 84
_PRIOR = 20.0  # purchases that shrink a shopper's share of a group to everybody's


@dataclass(frozen=True)
class NewCandidates:
    """Unseen items for a block of shoppers.

    Attributes:
        pairs: shopper × items + item, rising.
        scores: of each pair by each source; -inf where a source has none.
        ranks: of each pair among the block's candidates of the same shopper, from 0, by each source.
    """

    pairs: IntArray
    scores: Mapping[str, FloatArray]
    ranks: Mapping[str, FloatArray]


def repeat_candidates(past: Past, most: int) -> IntArray:
    """Pairs likeliest to be bought again: the `most` of each shopper by two slow decays, half by a fast one."""
    allowed = past.recommendable[past.pair_item]
    best = np.full(len(past.pairs), np.inf)
    for decay, ahead in ((150.0, 0.0), (400.0, 0.0), (30.0, most / 2)):
        weight = np.bincount(past.place, np.exp(-past.age / decay), len(past.pairs))
        best = np.minimum(best, rank_within(past.pair_shopper, np.where(allowed, weight, -1.0)) + ahead)
    return past.pairs[allowed & (best < most)]


def pool(past: Past, items: ItemFeatures, least: int) -> IntArray:
    """Items that may be discovered: bought lately by at least so many shoppers (by one, where that leaves none)."""
    shoppers = items.shoppers_of(_POOL_DAYS) * past.recommendable
    found = np.flatnonzero(shoppers >= least)
    return found if len(found) else np.flatnonzero(shoppers > 0)


def sources(
    past: Past,
    items: ItemFeatures,
    affinity: AffinityFeatures,
    stores: StoreFeatures,
    tastes: Mapping[str, Taste],
    columns: IntArray,
) -> dict[str, Source]:
    """What puts unseen items of the pool `columns` in an order for a shopper."""
    month, week = items.table["shoppers_28"][columns], items.table["shoppers_7"][columns]
    found: dict[str, Source] = {}
    for name, taste in tastes.items():
        found[name] = _taste_source(taste, columns)

    def lifted(sales: FloatArray, shoppers: IntArray, powers: Mapping[str, float]) -> Float32Array:
        product = np.tile(sales.astype(np.float32), (len(shoppers), 1))
        for name, power in powers.items():
            if name in past.groups:
                product *= affinity.lift(name, shoppers, columns, prior=_PRIOR, power=power)
        return product

    crossed = next((name for name in past.groups if name.startswith("category_3_")), "")
    content = {"category_3": 0.35, crossed: 0.25, "category_2": 0.2}
    found["content"] = lambda shoppers: lifted(month + 0.2, shoppers, content)
    found["trend"] = lambda shoppers: lifted(week + 0.05 * month, shoppers, {"category_2": 0.5})
    if past.store is not None:
        sold = stores.tables["store_shoppers_28"][:, columns].tocsr()
        found["store"] = lambda shoppers: (stores.shares[shoppers] @ sold).toarray() + 0.02 * month
    if past.promotions is not None:
        told = stores.advertised(columns)
        found["advertised"] = lambda shoppers: (
            lifted(month + 0.2, shoppers, {"category_2": 0.5})
            * np.minimum((stores.shares[shoppers] @ told).toarray(), 3.0)
        )
    return found


def new_candidates(
    past: Past, columns: IntArray, found: Mapping[str, Source], sizes: Mapping[str, int], first: int, last: int
) -> NewCandidates:
    """The best unseen items of each source for shoppers first to last (exclusively).

    Args:
        past: what is known.
        columns: the pool.
        found: the sources by name.
        sizes: how many of each source's best are candidates; 0: the source only scores them.
        first: the first shopper.
        last: the one after the last.
    """
    shoppers = np.arange(first, last)
    low, high = np.searchsorted(past.pairs, [first * past.items, last * past.items])
    bought = past.pairs[low:high]
    inside = np.full(past.items, -1)
    inside[columns] = np.arange(len(columns))
    place = inside[bought % past.items]
    seen = (bought // past.items - first)[place >= 0], place[place >= 0]
    chosen: list[IntArray] = []
    tables: dict[str, Float32Array] = {}
    for name, source in found.items():
        table = np.asarray(source(shoppers), np.float32)
        tables[name] = table
        size = min(sizes.get(name, 0), len(columns))
        if not size:
            continue
        open_ = table.copy()
        open_[seen] = -np.inf
        best = np.argpartition(-open_, size - 1, axis=1)[:, :size]
        line = np.repeat(np.arange(len(shoppers)), size)
        finite = np.isfinite(open_[line, best.ravel()])
        chosen.append((line * len(columns) + best.ravel())[finite])
    cells = distinct(np.concatenate(chosen)) if chosen else np.zeros(0, np.int64)
    line, column = cells // max(1, len(columns)), cells % max(1, len(columns))
    scores = {name: table[line, column].astype(np.float64) for name, table in tables.items()}
    ranks = {name: rank_within(line, values) for name, values in scores.items()}
    return NewCandidates((line + first) * past.items + columns[column], scores, ranks)


def _taste_source(taste: Taste, columns: IntArray) -> Source:
    inside = np.isin(columns, taste.columns)
    place = np.searchsorted(taste.columns, columns[inside])

    def source(shoppers: IntArray) -> FloatArray:
        scores = np.full((len(shoppers), len(columns)), -np.inf)
        scores[:, inside] = taste.scores(shoppers)[:, place]
        return scores

    return source
