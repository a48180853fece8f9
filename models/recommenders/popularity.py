"""Popularity: the number of times an item was bought in a recent window, the same list for everybody."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import Field

from models.artifact import Arrays
from models.base import Capabilities, Recommender, RecommenderConfig
from models.dataset import Dataset, FloatArray, IntArray
from models.reasons import Reason


class PopularityConfig(RecommenderConfig):
    """Over which window popularity is counted."""

    window_days: float | None = Field(None, gt=0, description="count only the last days; none: everything")


class Popularity(Recommender):
    """Scores an item by its interactions within the window."""

    Config: ClassVar[type[RecommenderConfig]] = PopularityConfig
    capabilities: ClassVar[Capabilities] = Capabilities(
        cold_shoppers=True, cold_items=False, fold_in=False, repeats=True
    )

    def __init__(self, config: PopularityConfig) -> None:
        super().__init__(config)
        self.config: PopularityConfig = config
        self._counts: FloatArray = np.zeros(0)

    def _fit(self, dataset: Dataset, seed: int) -> None:
        del seed
        recent = dataset.age_days <= (self.config.window_days or np.inf)
        self._counts = np.bincount(dataset.item_rows[recent], minlength=len(dataset.items)).astype(np.float64)

    def _score(self, shopper_rows: IntArray) -> FloatArray:
        return np.tile(self._counts, (len(shopper_rows), 1))

    def _score_cold(self, attributes: pd.DataFrame) -> FloatArray:
        return np.tile(self._counts, (len(attributes), 1))

    def _reasons(self, shopper_rows: IntArray, columns: IntArray) -> npt.NDArray[np.object_]:
        del shopper_rows
        return np.full(columns.shape, str(Reason.POPULAR), dtype=object)

    def _state(self) -> tuple[dict[str, Any], Arrays]:
        return {}, {"counts": self._counts}

    def _restore(self, state: dict[str, Any], arrays: Arrays) -> None:
        self._counts = np.asarray(arrays["counts"])
