"""Candidates with features at a cut, and what was bought in the window after it: what the second stage learns from.

Nothing but the labels looks past the cut: features come from a `Past` that ends there, and the parts (other
recommenders whose scores are features) are trained on a dataset that ends there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from models.base import Recommender
from models.candidates import NewCandidates, Source, new_candidates, pool, repeat_candidates, sources
from models.dataset import BoolArray, Dataset, FloatArray, IntArray
from models.ranking_features.past import Past, find, rank_within
from models.ranking_features.table import Features, Table
from models.ranking_features.taste import Taste

_BLOCK = 256  # shoppers whose candidates are made at a time
# Days over which a purchase's weight falls to 1 / e, and the penalty, of each taste.
TASTES = {"taste_slow": (400.0, 300.0), "taste_fast": (90.0, 100.0)}


@dataclass(frozen=True)
class Sizes:
    """How many candidates there are."""

    repeats: int  # pairs of a shopper and an item that they bought
    new: Mapping[str, int]  # unseen items by source
    taste_items: int  # items with the most shoppers lately, which a taste scores
    least_shoppers: int  # of an unseen item in the last weeks


class Window:
    """All that is known at one cut, ready to give candidates with features."""

    def __init__(self, past: Past, parts: Mapping[str, Recommender], sizes: Sizes, seed: int) -> None:
        self.past = past
        self._parts = parts
        self._sizes = sizes
        self._seed = seed
        self.features = Features(past)

    @cached_property
    def _tastes(self) -> dict[str, Taste]:
        items = self.features.items.table
        liked = items["shoppers_84"] + 1e-3 * items["shoppers_all"]
        columns = np.sort(np.argsort(-liked, kind="stable")[: self._sizes.taste_items])
        columns = columns[items["shoppers_all"][columns] > 0]
        return {
            name: Taste(self.past, columns, decay=decay, regularisation=penalty, seed=self._seed)
            for name, (decay, penalty) in TASTES.items()
        }

    @cached_property
    def _pool(self) -> IntArray:
        return pool(self.past, self.features.items, self._sizes.least_shoppers)

    @cached_property
    def _sources(self) -> dict[str, Source]:
        features = self.features
        found = sources(self.past, features.items, features.affinity, features.stores, self._tastes, self._pool)
        for name, part in self._parts.items():
            found[name] = _part_source(part, self._pool)
        return found

    def repeats(self, pairs: IntArray) -> Table:
        """Features of pairs (ordered) that were bought before."""
        more: dict[str, FloatArray] = {name: np.full(len(pairs), np.nan) for name in (*self._tastes, *self._parts)}
        for first, last in self.blocks():
            low, high = np.searchsorted(pairs, [first * self.past.items, last * self.past.items])
            if low == high:
                continue
            line, item = pairs[low:high] // self.past.items - first, pairs[low:high] % self.past.items
            for name, taste in self._tastes.items():
                place, known = find(taste.columns, item)
                more[name][low:high] = np.where(known, taste.scores(np.arange(first, last))[line, place], np.nan)
            for name, part in self._parts.items():
                more[name][low:high] = part._score(np.arange(first, last))[line, item]
        ranks = {f"{name}_rank": rank_within(pairs // self.past.items, np.nan_to_num(more[name])) for name in more}
        return self.features.repeats(pairs, {**more, **ranks})

    def repeat_pairs(self) -> IntArray:
        """Candidates that were bought before."""
        return repeat_candidates(self.past, self._sizes.repeats)

    def new_pairs(self, first: int, last: int) -> NewCandidates:
        """Candidates that were not bought before, of shoppers first to last (exclusively)."""
        return new_candidates(self.past, self._pool, self._sources, self._sizes.new, first, last)

    def discoveries(self, candidates: NewCandidates) -> Table:
        """Features of unseen candidates."""
        more = {name: np.where(np.isfinite(score), score, np.nan) for name, score in candidates.scores.items()}
        more |= {f"{name}_rank": rank for name, rank in candidates.ranks.items()}
        return self.features.discoveries(candidates.pairs, more)

    def blocks(self) -> Iterator[tuple[int, int]]:
        """First shopper of each block and the one after its last."""
        for first in range(0, self.past.shoppers, _BLOCK):
            yield first, min(first + _BLOCK, self.past.shoppers)


@dataclass(frozen=True)
class Examples:
    """Rows to learn from: features, whether the pair was bought in the window, and rows of each shopper in order."""

    table: Table
    labels: IntArray
    groups: IntArray

    @classmethod
    def of(cls, table: Table, pairs: IntArray, items: int, bought: IntArray) -> Examples:
        """Label ordered pairs by what was bought."""
        labels = np.isin(pairs, bought).astype(np.int64)
        _, groups = np.unique(pairs // items, return_counts=True)
        return cls(table, labels, groups)

    @classmethod
    def join(cls, parts: Sequence[Examples]) -> Examples:
        """All rows, one list of a shopper for each window."""
        return cls(
            Table(parts[0].table.names, np.concatenate([part.table.values for part in parts])),
            np.concatenate([part.labels for part in parts]),
            np.concatenate([part.groups for part in parts]),
        )


def repeat_examples(window: Window, bought: IntArray) -> Examples:
    """Repeat candidates of the shoppers who bought anything in the window.

    Args:
        window: at the cut.
        bought: pairs bought in the time after it, rising.
    """
    pairs = window.repeat_pairs()
    pairs = pairs[_active(window.past, bought)[pairs // window.past.items]]
    return Examples.of(window.repeats(pairs), pairs, window.past.items, bought)


def new_examples(window: Window, bought: IntArray, share: float, seed: int) -> Examples:
    """Unseen candidates of the shoppers who bought anything in the window: all that were bought, a share of the others.

    Args:
        window: at the cut.
        bought: pairs bought in the time after it, rising.
        share: of the candidates that were not bought.
        seed: of the draw.
    """
    random = np.random.default_rng(seed)
    active = _active(window.past, bought)
    parts: list[NewCandidates] = []
    for first, last in window.blocks():
        found = window.new_pairs(first, last)
        keep = np.isin(found.pairs, bought) | (random.random(len(found.pairs)) < share)
        parts.append(_chosen(found, keep & active[found.pairs // window.past.items]))
    whole = NewCandidates(
        np.concatenate([part.pairs for part in parts]),
        {name: np.concatenate([part.scores[name] for part in parts]) for name in parts[0].scores},
        {name: np.concatenate([part.ranks[name] for part in parts]) for name in parts[0].ranks},
    )
    return Examples.of(window.discoveries(whole), whole.pairs, window.past.items, bought)


def dataset_before(dataset: Dataset, days: float, horizon: float, *, planned: bool) -> Dataset:
    """The dataset as it was known so many days earlier; of a plan of promotions, what starts within the horizon.

    Args:
        dataset: as it is known now.
        days: how much earlier.
        horizon: days that a plan reaches ahead.
        planned: whether plans are known.
    """
    as_of = dataset.as_of - pd.Timedelta(days=days)
    until = as_of + pd.Timedelta(days=horizon if planned else 0)
    promotions, watched = dataset.promotions, dataset.watched
    return replace(
        dataset,
        interactions=dataset.interactions[dataset.age_days > days].reset_index(drop=True),
        as_of=as_of,
        shopper_attributes=dataset.lasting_attributes,
        dated_attributes=(),
        promotions=None if promotions is None else promotions[promotions["starts"] < until],
        watched=None if watched is None else watched[watched["event_time"] < as_of],
    )


def _active(past: Past, bought: IntArray) -> BoolArray:
    active: BoolArray = np.zeros(past.shoppers, dtype=bool)
    active[bought // past.items] = True
    return active


def _chosen(found: NewCandidates, keep: BoolArray) -> NewCandidates:
    return NewCandidates(
        found.pairs[keep],
        {name: values[keep] for name, values in found.scores.items()},
        {name: values[keep] for name, values in found.ranks.items()},
    )


def _part_source(part: Recommender, columns: IntArray) -> Source:
    return lambda shoppers: part._score(shoppers)[:, columns]
