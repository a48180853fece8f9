"""Item-kNN: an item is scored by its likeness to what the shopper bought, from each item's nearest neighbours alone.

Deshpande and Karypis, "Item-Based Top-N Recommendation Algorithms", ACM TOIS 2004. Two items are alike by who bought
both (or by which baskets hold both). Each keeps its `neighbours` most alike items, so the result is sparse and grows
linearly with the items.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field
from scipy import sparse

from models.artifact import Arrays
from models.base import RecommenderConfig
from models.collaborative import Collaborative, CollaborativeConfig
from models.dataset import Dataset, FloatArray, IntArray
from models.purchases.profiles import baskets

# Likenesses that are made at a time, before only the nearest are kept: (rows of a block) × items stays below.
_CELLS = 20_000_000


class ItemKNNConfig(CollaborativeConfig):
    """How alike two items are."""

    neighbours: int = Field(100, ge=1, le=10_000, description="most alike items kept for each item")
    likeness: Literal["cosine", "tf-idf", "bm25"] = Field(
        "cosine", description="cosine of two items' weights as they are, or weighted by tf-idf or BM25 before"
    )
    together: Literal["shopper", "basket"] = Field(
        "shopper", description="alike by being bought by one shopper, or in one basket (day, where it is not known)"
    )
    shrinkage: float = Field(
        0.0, ge=0, description="multiply a likeness by n / (n + shrinkage), n shoppers (baskets) that bought both"
    )
    bm25_k1: float = Field(1.2, gt=0, description="BM25: how soon a weight is saturated")
    bm25_b: float = Field(0.75, ge=0, le=1, description="BM25: how much a long history counts against its items")


class ItemKNN(Collaborative):
    """Scores an item by its likeness to each of the shopper's other items, weighted by how strongly they hold those."""

    Config: ClassVar[type[RecommenderConfig]] = ItemKNNConfig

    def __init__(self, config: ItemKNNConfig) -> None:
        super().__init__(config)
        self.config: ItemKNNConfig = config
        # Likeness of a row's item to a column's, kept where the row's is among the column's nearest.
        self._likeness = sparse.csr_matrix((0, 0), dtype=np.float32)

    def _learn(self, weights: sparse.csr_matrix, dataset: Dataset, seed: int) -> None:
        groups = self._baskets(dataset) if self.config.together == "basket" else weights
        if self.config.likeness == "tf-idf":
            groups = _tf_idf(groups)
        elif self.config.likeness == "bm25":
            groups = _bm25(groups, self.config.bm25_k1, self.config.bm25_b)
        self._likeness = nearest(groups, self.config.neighbours, self.config.shrinkage)

    def _baskets(self, dataset: Dataset) -> sparse.csr_matrix:
        """Weights of items in baskets; float32, shape (baskets, items)."""
        rows = baskets(dataset)
        decay = self.config.decay_days or np.inf
        usable = self.recommendable[dataset.item_rows]
        shape = (int(rows.max()) + 1, len(self.item_ids))
        counted = sparse.coo_matrix(
            (np.exp(-dataset.age_days / decay)[usable], (rows[usable], dataset.item_rows[usable])), shape=shape
        ).tocsr()
        # A basket holds an item or does not; what decays is how much the basket counts.
        presence = counted.copy()
        presence.data[:] = 1.0
        latest = np.zeros(shape[0])
        np.maximum.at(latest, rows, np.exp(-dataset.age_days / decay))
        return (sparse.diags(np.sqrt(latest)) @ presence).tocsr().astype(np.float32)

    def _relevance(self, weights: sparse.csr_matrix) -> FloatArray:
        return np.asarray((weights @ self._likeness).toarray(), dtype=np.float64)

    def _state(self) -> tuple[dict[str, Any], Arrays]:
        state, arrays = super()._state()
        likeness = self._likeness
        return state, {
            **arrays,
            "likeness_indptr": likeness.indptr.astype(np.int64),
            "likeness_indices": likeness.indices.astype(np.int32),
            "likeness_values": likeness.data,
        }

    def _restore(self, state: dict[str, Any], arrays: Arrays) -> None:
        super()._restore(state, arrays)
        parts = tuple(np.asarray(arrays[f"likeness_{part}"]) for part in ("values", "indices", "indptr"))
        self._likeness = sparse.csr_matrix(parts, shape=(len(self.item_ids), len(self.item_ids)))


def nearest(groups: sparse.csr_matrix, neighbours: int, shrinkage: float = 0.0) -> sparse.csr_matrix:
    """Cosine of every item with its most alike ones.

    Args:
        groups: weights of items in shoppers' histories or baskets; shape (groups, items).
        neighbours: kept for each item; of equals the ones with the lower column.
        shrinkage: likenesses are multiplied by n / (n + shrinkage), n groups that hold both items.

    Returns:
        float32, shape (items, items): column j holds the likenesses of the items nearest to j; the diagonal is empty.
    """
    lengths = np.sqrt(np.asarray(groups.multiply(groups).sum(axis=0)).ravel())
    unit = (groups @ sparse.diags(1 / np.maximum(lengths, 1e-12))).tocsr().astype(np.float32)
    rows, count = unit.T.tocsr(), unit.shape[1]
    held = unit.astype(bool).astype(np.float32)
    held_rows = held.T.tocsr()
    step = max(1, _CELLS // max(1, count))
    parts = []
    for start in range(0, count, step):
        block = (rows[start : start + step] @ unit).tocsr()
        if shrinkage:
            both = (held_rows[start : start + step] @ held).tocsr()
            both.data = both.data / (both.data + np.float32(shrinkage))
            block = block.multiply(both).tocsr()
        parts.append(_strongest(block, start, neighbours))
    return sparse.vstack(parts, format="csr").T.tocsr()


def _strongest(block: sparse.csr_matrix, first: int, count: int) -> sparse.csr_matrix:
    """Keep the `count` highest values of each row; row n stands for item first + n, which is no neighbour of itself."""
    columns, values, sizes = [], [], []
    for row in range(block.shape[0]):
        inside = slice(block.indptr[row], block.indptr[row + 1])
        own = block.indices[inside], block.data[inside]
        kept = _highest(own[0], np.where(own[0] == row + first, 0.0, own[1]), count)
        columns.append(own[0][kept])
        values.append(own[1][kept])
        sizes.append(len(kept))
    indptr = np.concatenate([[0], np.cumsum(sizes)])
    return sparse.csr_matrix(
        (np.concatenate(values).astype(np.float32), np.concatenate(columns), indptr), shape=block.shape
    )


def _highest(columns: IntArray, values: FloatArray, count: int) -> IntArray:
    """Positions of the `count` highest values above 0, by column; of equals at the cut those with the lower column."""
    positive = np.flatnonzero(values > 0)
    if len(positive) > count:
        cut = np.partition(values, len(values) - count)[len(values) - count]
        above, equal = np.flatnonzero(values > cut), np.flatnonzero(values == cut)
        positive = np.concatenate([above, equal[np.argsort(columns[equal])][: count - len(above)]])
    return positive[np.argsort(columns[positive])]


def _tf_idf(groups: sparse.csr_matrix) -> sparse.csr_matrix:
    """Square root of a weight times log(groups / groups that hold the item) (Salton and Buckley, IPM 1988)."""
    weighted = groups.sqrt()
    idf = np.log1p(groups.shape[0] / np.maximum(groups.getnnz(axis=0), 1))
    return (weighted @ sparse.diags(idf)).tocsr()


def _bm25(groups: sparse.csr_matrix, k1: float, b: float) -> sparse.csr_matrix:
    """Okapi BM25 of an item in a group (Robertson and Zaragoza, "The Probabilistic Relevance Framework", 2009)."""
    lengths = np.asarray(groups.sum(axis=1)).ravel()
    norm = k1 * (1 - b + b * lengths / max(float(lengths.mean()), 1e-12))
    idf = np.log1p(groups.shape[0] / np.maximum(groups.getnnz(axis=0), 1))
    weighted = groups.tocsr(copy=True).astype(np.float64)
    per_entry = np.repeat(norm, np.diff(weighted.indptr))
    weighted.data = weighted.data * (k1 + 1) / (weighted.data + per_entry)
    return (weighted @ sparse.diags(idf)).tocsr()
