"""Personal frequency: what a shopper bought most often, recent purchases counting more; then the best sold items."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import Field

from models.artifact import Arrays
from models.base import Capabilities, Events, Recommender, RecommenderConfig
from models.dataset import Dataset, FloatArray, IntArray
from models.purchases.history import kept_entries
from models.reasons import Reason

# Frequencies are float32, so two that differ do so by 6e-8 of their value or more: a tie-break below cannot swap them.
_TIE_BREAK = 1e-8


class PersonalFrequencyConfig(RecommenderConfig):
    """How purchases are counted and what happens where the count says nothing."""

    decay_days: float | None = Field(None, gt=0, description="a purchase counts exp(-age / decay); none: each counts 1")
    ties: Literal["popularity", "id"] = Field("popularity", description="which of two equals a shopper gets first")
    fill: bool = Field(True, description="complete lists with the best sold items; else they hold repeats only")


class PersonalFrequency(Recommender):
    """Scores a repeat by the shopper's own (decayed) count, above 0; every other item by popularity, below 0."""

    Config: ClassVar[type[RecommenderConfig]] = PersonalFrequencyConfig
    capabilities: ClassVar[Capabilities] = Capabilities(
        cold_shoppers=True, cold_items=False, fold_in=True, repeats=True
    )

    def __init__(self, config: PersonalFrequencyConfig) -> None:
        super().__init__(config)
        self.config: PersonalFrequencyConfig = config
        # float32 on purpose: sums that differ only by the rounding of float64 are ties
        self._frequency: npt.NDArray[np.float32] = np.zeros(0, np.float32)  # one for each entry of `history`
        self._popularity: FloatArray = np.zeros(0)  # interactions over (1 + those of the best sold item); [0, 1)

    def _fit(self, dataset: Dataset, seed: int) -> None:
        del seed
        decay = self.config.decay_days
        weights = np.exp(-dataset.age_days / decay) if decay else np.ones(len(dataset.interactions))
        self._frequency = dataset.matrix(weights).data.astype(np.float32)
        counts = np.bincount(dataset.item_rows, minlength=len(dataset.items))
        self._popularity = counts / (counts.max() + 1)

    def _score(self, shopper_rows: IntArray) -> FloatArray:
        scores = np.tile(self._filling(), (len(shopper_rows), 1))
        for line, row in enumerate(shopper_rows):
            self._write(scores[line], *self._own(row))
        return scores

    def _score_fold_in(self, shopper_rows: IntArray, events: Sequence[Events], attributes: pd.DataFrame) -> FloatArray:
        """By the counts of the history and of the purchases, which decay from the moment of the request."""
        scores = np.tile(self._filling(), (len(shopper_rows), 1))
        decay = self.config.decay_days or np.inf
        for line, (row, new) in enumerate(zip(shopper_rows, (own.purchases() for own in events), strict=True)):
            columns, frequency = self._own(row)
            items, place = np.unique(np.concatenate([columns, new.items]), return_inverse=True)
            counts = np.bincount(place, np.concatenate([frequency, np.exp(-new.age_days / decay)]))
            self._write(scores[line], items, counts.astype(np.float32))
        return scores

    def _own(self, row: int) -> tuple[IntArray, npt.NDArray[np.float32]]:
        """What a shopper (-1: an unknown one) bought, and how often."""
        own = slice(self.history.indptr[row], self.history.indptr[row + 1]) if row >= 0 else slice(0, 0)
        return self.history.indices[own], self._frequency[own]

    def _write(self, scores: FloatArray, items: IntArray, frequency: npt.NDArray[np.float32]) -> None:
        """Put the frequencies of `items` into one row of scores."""
        exact = frequency.astype(np.float64)
        scores[items] = (
            exact * (1 + _TIE_BREAK * self._popularity[items]) if self.config.ties == "popularity" else exact
        )

    def _score_cold(self, attributes: pd.DataFrame) -> FloatArray:
        return np.tile(self._filling(), (len(attributes), 1))

    def _filling(self) -> FloatArray:
        """Scores of items that a shopper never bought; shape (items,), below the score of every repeat."""
        if self.config.fill:
            return self._popularity - 1
        return np.full(len(self.item_ids), -np.inf)

    def _reasons(self, shopper_rows: IntArray, columns: IntArray) -> npt.NDArray[np.object_]:
        repeats = super()._reasons(shopper_rows, columns)
        return np.where(repeats == str(Reason.BOUGHT_BEFORE), repeats, str(Reason.POPULAR)).astype(object)

    def _keep_shoppers(self, rows: IntArray) -> None:
        self._frequency = self._frequency[kept_entries(self.history, rows)]

    def _state(self) -> tuple[dict[str, Any], Arrays]:
        return {}, {"frequency": self._frequency, "popularity": self._popularity}

    def _restore(self, state: dict[str, Any], arrays: Arrays) -> None:
        self._frequency = np.asarray(arrays["frequency"])
        self._popularity = np.asarray(arrays["popularity"])
