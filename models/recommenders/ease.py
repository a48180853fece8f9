"""EASE: which items go with which, as one regression of every item on all others, solved in closed form.

Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019 (arXiv:1905.03375): with X the shoppers' weights
and P = (X'X + regularisation × I)^-1, the weight of item i in the score of item j is -P[i, j] / P[j, j], and 0 for
i = j. A shopper's scores are the product of their own weights with that matrix.

The inverse is dense. Only the `max_items` items with the most shoppers enter it, so memory is max_items², never items².
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy import linalg, sparse

from configs.errors import FacingsError
from models.artifact import Arrays
from models.base import RecommenderConfig
from models.collaborative import Collaborative, CollaborativeConfig
from models.dataset import BoolArray, Dataset, FloatArray, IntArray

_BLOCK = 256  # columns of X'X that are made at a time


class EASEConfig(CollaborativeConfig):
    """How the regression is set up."""

    regularisation: float = Field(100.0, gt=0, description="L2 penalty on the weights between items")
    max_items: int = Field(5000, ge=1, le=30_000, description="the items with the most shoppers that enter the inverse")
    item_power: float = Field(
        0.0, ge=0, le=1, description="divide an item's weights by (their length) ** power before the regression"
    )
    shopper_power: float = Field(
        0.0, ge=0, le=2, description="a shopper counts (length of their weights) ** -power in the regression"
    )


class EASE(Collaborative):
    """Scores an item by the shopper's other items. Items outside the inverse follow by popularity."""

    Config: ClassVar[type[RecommenderConfig]] = EASEConfig

    def __init__(self, config: EASEConfig) -> None:
        super().__init__(config)
        self.config: EASEConfig = config
        self._columns: IntArray = np.zeros(0, np.int64)  # of the items in the inverse, rising
        self._between: npt.NDArray[np.float32] = np.zeros((0, 0), np.float32)  # weight of row's item in column's score

    def _learn(self, weights: sparse.csr_matrix, dataset: Dataset, seed: int) -> None:
        shoppers = weights.getnnz(axis=0)
        best = np.argsort(-shoppers, kind="stable")[: self.config.max_items]
        self._columns = np.sort(best[shoppers[best] > 0]).astype(np.int64)
        inside = weights[:, self._columns].astype(np.float64)
        lengths = np.sqrt(np.asarray(inside.multiply(inside).sum(axis=1)).ravel())
        inside = sparse.diags(np.maximum(lengths, 1e-12) ** (-self.config.shopper_power / 2)) @ inside
        scale = np.sqrt(np.asarray(inside.multiply(inside).sum(axis=0)).ravel()) ** self.config.item_power
        self._between = _regression((inside @ sparse.diags(1 / scale)).tocsr(), self.config.regularisation)
        self._between /= scale[:, None].astype(np.float32)
        self._between *= scale.astype(np.float32)

    def _relevance(self, weights: sparse.csr_matrix) -> FloatArray:
        relevance = np.zeros(weights.shape)
        # A sparse matrix times a dense one sums row by row: a shopper's scores do not depend on who else is asked for.
        relevance[:, self._columns] = weights[:, self._columns] @ self._between
        return relevance

    def _scored(self) -> BoolArray:
        scored: BoolArray = np.zeros(len(self.item_ids), dtype=bool)
        scored[self._columns] = True
        return scored

    def _state(self) -> tuple[dict[str, Any], Arrays]:
        state, arrays = super()._state()
        return state, {**arrays, "columns": self._columns, "between": self._between}

    def _restore(self, state: dict[str, Any], arrays: Arrays) -> None:
        super()._restore(state, arrays)
        self._columns = np.asarray(arrays["columns"])
        self._between = np.asarray(arrays["between"])


def _regression(weights: sparse.csr_matrix, regularisation: float) -> npt.NDArray[np.float32]:
    """Weights between items (see the module); float32, shape (items, items)."""
    count = weights.shape[1]
    gram = np.empty((count, count), order="F")
    rows, columns = weights.T.tocsr(), weights.tocsc()
    for start in range(0, count, _BLOCK):
        gram[:, start : start + _BLOCK] = (rows @ columns[:, start : start + _BLOCK]).toarray()
    gram[np.diag_indices(count)] += regularisation
    # In place: Cholesky, then the inverse from it; only the lower triangle is computed.
    factor, failed = linalg.lapack.dpotrf(gram, lower=1, overwrite_a=1)
    if not failed:
        inverse, failed = linalg.lapack.dpotri(factor, lower=1, overwrite_c=1)
    if failed:
        raise FacingsError("The items' weights cannot be inverted; give EASE a higher `regularisation`.")
    return _between(inverse)


def _between(lower: FloatArray) -> npt.NDArray[np.float32]:
    """-P[i, j] / P[j, j] with a diagonal of 0, from the lower triangle of P."""
    count = len(lower)
    diagonal = np.diag(lower).copy()
    between = np.empty((count, count), np.float32)
    for start in range(0, count, _BLOCK):
        end = min(start + _BLOCK, count)
        # Columns start..end of the full matrix: the lower triangle itself, and above it the mirrored rows.
        between[start:, start:end] = lower[start:, start:end] / -diagonal[start:end]
        between[:start, start:end] = lower[start:end, :start].T / -diagonal[start:end]
        corner = np.tril(lower[start:end, start:end])
        full = corner + np.tril(corner, -1).T
        between[start:end, start:end] = full / -diagonal[start:end]
    between[np.diag_indices(count)] = 0.0
    return between
