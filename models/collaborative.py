"""What collaborative recommenders share: how strongly a shopper holds an item, and lists that are always complete.

A subclass learns from one sparse table of shoppers and items and scores items from any row of such a table; shoppers of
the training data, and shoppers of whom only the newest events are known, are then scored by the same product.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import Field, model_validator
from scipy import sparse

from configs.errors import FacingsError
from models.artifact import Arrays
from models.base import Capabilities, Events, Recommender, RecommenderConfig
from models.dataset import BoolArray, Dataset, FloatArray, IntArray
from models.purchases.best_sellers import recent_popularity
from models.purchases.history import kept_entries
from models.reasons import Reason

# Scores come from float32: two that differ do so by 6e-8 of their value, so a tie-break of this size swaps none that
# are of the order of 1, and orders those that are 0.
_TIE_BREAK = 1e-9


class CollaborativeConfig(RecommenderConfig):
    """How a shopper's purchases of an item become one weight."""

    counts: Literal["binary", "log", "count"] = Field(
        "count", description="weight of a pair: 1, log(1 + sum) or the sum of its purchases"
    )
    decay_days: float | None = Field(None, gt=0, description="a purchase counts exp(-age / decay); none: each counts 1")
    popularity_days: float = Field(
        42.0, gt=0, description="how many days back is recent, where popularity breaks ties and serves unknown shoppers"
    )

    @model_validator(mode="after")
    def _binary_weights_do_not_decay(self) -> Self:
        if self.counts == "binary" and self.decay_days is not None:
            raise ValueError("binary counts do not decay; leave out decay_days or count by `log` or `count`")
        return self


class Collaborative(Recommender):
    """Scores items by the weights of a shopper's own items. Subclasses implement `_learn` and `_relevance`."""

    capabilities: ClassVar[Capabilities] = Capabilities(
        cold_shoppers=True, cold_items=False, fold_in=True, repeats=True
    )

    def __init__(self, config: CollaborativeConfig) -> None:
        super().__init__(config)
        self.config: CollaborativeConfig = config
        self._sums: npt.NDArray[np.float32] = np.zeros(0, np.float32)  # decayed purchases of each entry of `history`
        self._popularity: FloatArray = np.zeros(0)  # of each item, [0, 1); above 0 for every item that was ever sold

    # ------------------------------------------------------------------ what a subclass computes

    @abstractmethod
    def _learn(self, weights: sparse.csr_matrix, dataset: Dataset, seed: int) -> None:
        """Learn from the weights of all shoppers and items; float32, items that may not be recommended left out."""

    @abstractmethod
    def _relevance(self, weights: sparse.csr_matrix) -> FloatArray:
        """Score every item for rows of weights; a new array of shape (rows, items), 0 where nothing is known."""

    def _scored(self) -> BoolArray:
        """Which items the model knows; the others follow them by popularity. Shape (items,)."""
        return self._popularity > 0

    # ------------------------------------------------------------------ the contract

    def _fit(self, dataset: Dataset, seed: int) -> None:
        decay = self.config.decay_days
        decayed = np.exp(-dataset.age_days / decay) if decay else np.ones(len(dataset.interactions))
        self._sums = dataset.matrix(decayed).data.astype(np.float32)
        ranked, recent = recent_popularity(dataset, self.config.popularity_days)
        self._popularity = ranked / (recent.max() + 1)
        weights = self._weights(np.arange(len(self.shopper_ids)))
        if not weights.nnz:
            raise FacingsError(f"No item that may be recommended was bought; {self.name} has nothing to learn from.")
        self._learn(weights, dataset, seed)

    def _score(self, shopper_rows: IntArray) -> FloatArray:
        return self._complete(self._relevance(self._weights(shopper_rows)))

    def _score_cold(self, attributes: pd.DataFrame) -> FloatArray:
        return self._complete(np.zeros((len(attributes), len(self.item_ids))))

    def _score_fold_in(self, shopper_rows: IntArray, events: Sequence[Events], attributes: pd.DataFrame) -> FloatArray:
        """By what is known of a shopper plus the new events, which decay from the moment of the request."""
        return self._complete(self._relevance(self._weights(shopper_rows, events)))

    def _reasons(self, shopper_rows: IntArray, columns: IntArray) -> npt.NDArray[np.object_]:
        """A shopper of whom no item tells anything gets the best sold items, and the reason says so."""
        reasons = super()._reasons(shopper_rows, columns)
        unknown = self._weights(shopper_rows).getnnz(axis=1) == 0
        blind = unknown[:, None] & (reasons == str(Reason.SIMILAR_TASTE))
        blind |= ~self._scored()[columns] & (reasons == str(Reason.SIMILAR_TASTE))
        reasons[blind] = str(Reason.POPULAR)
        return reasons

    def _keep_shoppers(self, rows: IntArray) -> None:
        self._sums = self._sums[kept_entries(self.history, rows)]

    def _state(self) -> tuple[dict[str, Any], Arrays]:
        return {}, {"sums": self._sums, "popularity": self._popularity}

    def _restore(self, state: dict[str, Any], arrays: Arrays) -> None:
        self._sums = np.asarray(arrays["sums"])
        self._popularity = np.asarray(arrays["popularity"])

    # ------------------------------------------------------------------ inner workings

    def _weights(self, shopper_rows: IntArray, events: Sequence[Events] | None = None) -> sparse.csr_matrix:
        """Weights of items for shoppers (-1: unknown, no history); float32, shape (len(shopper_rows), items)."""
        shape = (len(shopper_rows), len(self.item_ids))
        known = np.flatnonzero(shopper_rows >= 0)
        rows = shopper_rows[known]
        sizes = np.diff(self.history.indptr)[rows]
        ends = np.cumsum(sizes)
        own = np.repeat(self.history.indptr[rows] - (ends - sizes), sizes) + np.arange(sizes.sum())
        lines, columns = np.repeat(known, sizes), self.history.indices[own]
        sums = self._sums[own].astype(np.float64)
        if events is not None:
            decay = self.config.decay_days or np.inf
            lines = np.concatenate([lines, np.repeat(np.arange(len(events)), [len(new.items) for new in events])])
            columns = np.concatenate([columns, *(new.items for new in events)])
            sums = np.concatenate([sums, *(np.exp(-new.age_days / decay) for new in events)])
        usable = self.recommendable[columns]
        sums = sparse.coo_matrix((sums[usable], (lines[usable], columns[usable])), shape=shape).tocsr()
        if self.config.counts == "binary":
            sums.data[:] = 1.0
        elif self.config.counts == "log":
            sums.data = np.log1p(sums.data)
        return sums.astype(np.float32)

    def _complete(self, relevance: FloatArray) -> FloatArray:
        """Break ties by popularity, and put what the model does not know below what it does."""
        scored = self._scored()
        floor = np.minimum(relevance.min(axis=1, where=scored, initial=0.0), 0.0)[:, None]
        relevance += _TIE_BREAK * self._popularity
        relevance[:, ~scored] = floor - 2.0 + self._popularity[~scored]
        return relevance
