"""TIFU-KNN with weights by time: a shopper's baskets and those of the nearest shoppers, averaged.

Hu, He, Gao and Zhang, "Modeling Personalized Item Frequency Information for Next-basket Recommendation", SIGIR 2020. A
shopper's vector is the mean of their baskets; with `decay_days` a basket counts exp(-days before the shopper's last
visit / decay), which stands for the paper's two decays by place (time-aware weights: Romanov et al., RecSys 2023). The
score is alpha x own vector + (1 - alpha) x mean of the `neighbours` vectors that are nearest by Euclidean distance.
A shopper without a basket has the mean of all vectors.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import Field
from scipy import sparse

from models.artifact import Arrays
from models.base import Capabilities, Recommender, RecommenderConfig
from models.baskets.log import Purchases, scaled
from models.dataset import Dataset, FloatArray, IntArray
from models.reasons import Reason

# Nearness to all shoppers is dense for so many cells at a time.
_CELLS = 8_000_000


class TifuKnnConfig(RecommenderConfig):
    """How baskets are averaged and how much the neighbours say."""

    neighbours: int = Field(425, ge=1, description="shoppers whose vectors are averaged")
    alpha: float = Field(0.2, ge=0, le=1, description="weight of the shopper's own vector")
    decay_days: float | None = Field(
        None,
        gt=0,
        description="a basket counts exp(-days before the shopper's last visit / decay); none: each counts 1",
    )


class TifuKnn(Recommender):
    """Averages what a shopper and the shoppers nearest to them had in their baskets."""

    Config: ClassVar[type[RecommenderConfig]] = TifuKnnConfig
    capabilities: ClassVar[Capabilities] = Capabilities(
        cold_shoppers=True, cold_items=False, fold_in=False, repeats=True
    )

    def __init__(self, config: TifuKnnConfig) -> None:
        super().__init__(config)
        self.config: TifuKnnConfig = config
        # vectors of all shoppers of the training data, and where those still known stand in it
        self._vectors = sparse.csr_matrix((0, 0), dtype=np.float32)
        self._places: IntArray = np.zeros(0, np.int64)

    def _fit(self, dataset: Dataset, seed: int) -> None:
        del seed
        log = Purchases.of(dataset)
        weights = np.ones(len(log))
        if self.config.decay_days and len(log):
            last = log.days[np.maximum(log.bounds[1:] - 1, 0)][log.shoppers]
            weights = np.exp(-(last - log.days) / self.config.decay_days)
        visits = np.bincount(log.visit_shoppers, minlength=log.size[0])
        vectors = log.matrix(weights)
        vectors.sum_duplicates()
        self._vectors = scaled(vectors, 1 / np.maximum(visits, 1))
        self._places = np.arange(log.size[0])

    def _score(self, shopper_rows: IntArray) -> FloatArray:
        own = sparse.csr_matrix(self._vectors[self._places[shopper_rows]])
        size = max(1, _CELLS // max(1, self._vectors.shape[0]))
        blocks = [self._nearest(own[start : start + size]) for start in range(0, own.shape[0], size)]
        near = sparse.vstack(blocks, format="csr") @ self._vectors if blocks else own
        alpha = self.config.alpha
        scores: FloatArray = np.asarray((own * alpha + near * (1 - alpha)).toarray(), dtype=np.float64)
        strangers = np.diff(own.indptr) == 0
        scores[strangers] = self._mean()
        return scores + 1e-9 * self._mean()  # what neither they nor the nearest bought, by everybody's

    def _nearest(self, own: sparse.csr_matrix) -> sparse.csr_matrix:
        """Weights of the nearest shoppers, themselves among them: equal, summing to 1; shape (visits, shoppers)."""
        lengths = np.asarray(self._vectors.multiply(self._vectors).sum(axis=1)).ravel()
        count = min(self.config.neighbours, self._vectors.shape[0])
        nearness = 2 * np.asarray((own @ self._vectors.T).toarray(), np.float64) - lengths[None, :]
        cut = -np.partition(-nearness, count - 1, axis=1)[:, count - 1]
        chosen = (nearness >= cut[:, None]) & (lengths > 0)[None, :]
        weights = sparse.csr_matrix(chosen.astype(np.float32))
        return scaled(weights, 1 / np.maximum(np.diff(weights.indptr), 1))

    def _mean(self) -> FloatArray:
        mean: FloatArray = np.asarray(self._vectors.mean(axis=0), dtype=np.float64).ravel()
        return mean

    def _score_cold(self, attributes: pd.DataFrame) -> FloatArray:
        return np.tile(self._mean(), (len(attributes), 1))

    def _reasons(self, shopper_rows: IntArray, columns: IntArray) -> npt.NDArray[np.object_]:
        reasons = super()._reasons(shopper_rows, columns)
        reasons[np.diff(self.history.indptr)[shopper_rows] == 0] = str(Reason.POPULAR)
        return reasons

    def _keep_shoppers(self, rows: IntArray) -> None:
        self._places = self._places[rows]

    def _state(self) -> tuple[dict[str, Any], Arrays]:
        matrix = self._vectors
        arrays: Arrays = {
            "places": self._places,
            "data": matrix.data.astype(np.float32),
            "indices": matrix.indices.astype(np.int32),
            "indptr": matrix.indptr.astype(np.int64),
        }
        return {"items": matrix.shape[1]}, arrays

    def _restore(self, state: dict[str, Any], arrays: Arrays) -> None:
        self._places = np.asarray(arrays["places"])
        parts = tuple(np.asarray(arrays[name]) for name in ("data", "indices", "indptr"))
        self._vectors = sparse.csr_matrix(parts, shape=(len(parts[2]) - 1, state["items"]))
