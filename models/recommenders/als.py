"""ALS: implicit-feedback matrix factorisation by alternating least squares, trained by the library `implicit`.

Hu, Koren and Volinsky, "Collaborative Filtering for Implicit Feedback Datasets", ICDM 2008: a purchase of weight w is
believed with confidence 1 + alpha × w, everything not bought is a 0 believed with confidence 1.

Only the items' vectors are kept. With these fixed, a shopper's vector has a closed form, so every shopper, trained or
not, is scored from their own weights: nothing but the history has to be forgotten, and new events need no training.
"""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy import sparse

from configs.errors import FacingsError
from models.artifact import Arrays
from models.base import RecommenderConfig
from models.collaborative import Collaborative, CollaborativeConfig
from models.dataset import Dataset, FloatArray
from models.products import products

Float32Array = npt.NDArray[np.float32]


class ALSConfig(CollaborativeConfig):
    """How the factorisation is trained."""

    components: int = Field(64, ge=1, le=1024, description="length of a vector")
    regularisation: float = Field(0.01, gt=0, description="L2 penalty on vectors")
    alpha: float = Field(1.0, gt=0, description="confidence in a purchase of weight w is 1 + alpha × w")
    iterations: int = Field(15, ge=1)


class ALS(Collaborative):
    """Scores an item by the product of its vector with the shopper's, which comes from the shopper's own items."""

    Config: ClassVar[type[RecommenderConfig]] = ALSConfig

    def __init__(self, config: ALSConfig) -> None:
        super().__init__(config)
        self.config: ALSConfig = config
        self._item_vectors: Float32Array = np.zeros((0, 0), np.float32)
        self._gram: FloatArray = np.zeros((0, 0))  # sum of the products of every item's vector with itself

    def _learn(self, weights: sparse.csr_matrix, dataset: Dataset, seed: int) -> None:
        try:
            from implicit.cpu.als import AlternatingLeastSquares  # only training needs it
        except ImportError as error:
            raise FacingsError(
                f"Training recommender 'als' needs the library implicit: {error}; `pip install implicit`."
            ) from None
        confidence = weights.copy()
        confidence.data = 1 + np.float32(self.config.alpha) * confidence.data
        with warnings.catch_warnings():
            # It warns of BLAS threads beside its own; it has one of its own, as more would round differently each time.
            warnings.simplefilter("ignore", RuntimeWarning)
            factors = AlternatingLeastSquares(
                factors=self.config.components,
                regularization=self.config.regularisation,
                alpha=1.0,
                iterations=self.config.iterations,
                num_threads=1,
                random_state=seed,
            )
            factors.fit(confidence, show_progress=False)
        self._take(np.asarray(factors.item_factors, np.float32))
        if not np.isfinite(self._gram).all():
            raise FacingsError("ALS could not be trained: its vectors overflow; try a lower alpha.")

    def _take(self, item_vectors: Float32Array) -> None:
        self._item_vectors = item_vectors
        wide = item_vectors.astype(np.float64)
        self._gram = wide.T @ wide

    def _relevance(self, weights: sparse.csr_matrix) -> FloatArray:
        return products(self._vectors(weights), self._item_vectors)

    def _vectors(self, weights: sparse.csr_matrix) -> Float32Array:
        """Solve (Y'Y + Σ alpha w y y' + regularisation I) x = Σ (1 + alpha w) y for each row; shape (rows, length)."""
        length = self._item_vectors.shape[1]
        vectors = np.zeros((weights.shape[0], length), np.float32)
        always = self._gram + self.config.regularisation * np.eye(length)
        for row in np.flatnonzero(np.diff(weights.indptr)):
            own = slice(weights.indptr[row], weights.indptr[row + 1])
            items = self._item_vectors[weights.indices[own]].astype(np.float64)
            extra = self.config.alpha * weights.data[own].astype(np.float64)
            vectors[row] = np.linalg.solve(always + (items.T * extra) @ items, items.T @ (1 + extra))
        return vectors

    def _state(self) -> tuple[dict[str, Any], Arrays]:
        state, arrays = super()._state()
        return state, {**arrays, "item_vectors": self._item_vectors}

    def _restore(self, state: dict[str, Any], arrays: Arrays) -> None:
        super()._restore(state, arrays)
        self._take(np.asarray(arrays["item_vectors"]))
