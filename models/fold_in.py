"""A shopper's vector from a handful of items, as training would have placed it: one linear map, learned in closed form.

For a factorisation whose shopper vectors are trained (LightFM) there is no formula for a new shopper. Here a ridge
regression learns it from the trained shoppers: from the mean vector of a few of their items, drawn at random, to the
vector that training gave them. The mean is drawn towards nought as by `_DOUBT` further items that say nothing, so few
items move a shopper less than many.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import sparse

from models.dataset import IntArray
from models.products import products

Float32Array = npt.NDArray[np.float32]
_DOUBT = 3.0
# Lengths of the histories that are drawn; the last takes all.
_LENGTHS = (1, 2, 5, 10, 20, 50, 1 << 30)
_SHOPPERS = 20_000  # more teach it nothing
_PENALTY = 1e-4  # of the regression, as a share of its mean diagonal


def learn(
    item_vectors: Float32Array, histories: sparse.csr_matrix, offsets: Float32Array, random: np.random.Generator
) -> Float32Array:
    """Learn the map.

    Args:
        item_vectors: shape (items, length).
        histories: 1 where a trained shopper bought an item; shape (shoppers, items).
        offsets: the vector of each of these shoppers less that of a stranger like them; shape (shoppers, length).
        random: draws shoppers and items.

    Returns:
        shape (length, features), to be given to `offset`.
    """
    chosen: IntArray = np.arange(len(offsets))
    if len(chosen) > _SHOPPERS:
        chosen = np.sort(random.choice(chosen, _SHOPPERS, replace=False))
    histories, targets = histories[chosen].tocsr(), offsets[chosen].astype(np.float64)
    width = item_vectors.shape[1] + 1
    gram, right = np.zeros((width, width)), np.zeros((width, targets.shape[1]))
    for length in _LENGTHS:
        features = _features(item_vectors, _drawn(histories, length, random)).astype(np.float64)
        gram += features.T @ features
        right += features.T @ targets
    gram[np.diag_indices(width)] += _PENALTY * np.trace(gram) / width
    solved: Float32Array = np.linalg.solve(gram, right).T.astype(np.float32)
    return solved


def offset(item_vectors: Float32Array, learned: Float32Array, histories: sparse.csr_matrix) -> Float32Array:
    """What items add to a stranger's vector; 0 where there are none. Shape (shoppers, length).

    Args:
        item_vectors: as for `learn`.
        learned: what `learn` returned.
        histories: 1 for each item; shape (shoppers, items).
    """
    return products(_features(item_vectors, histories), learned).astype(np.float32)


def _features(item_vectors: Float32Array, histories: sparse.csr_matrix) -> Float32Array:
    """The drawn-in mean of the items' vectors and how much there is of it; float32, shape (shoppers, length + 1)."""
    counts = np.asarray(histories.sum(axis=1), dtype=np.float32).reshape(-1, 1)
    sums = np.asarray(histories.astype(np.float32) @ item_vectors, dtype=np.float32)
    means: Float32Array = np.hstack([sums, counts]) / (counts + np.float32(_DOUBT))
    return means


def _drawn(histories: sparse.csr_matrix, length: int, random: np.random.Generator) -> sparse.csr_matrix:
    """At most `length` items of each row, drawn at random."""
    rows = np.repeat(np.arange(histories.shape[0]), np.diff(histories.indptr))
    order = np.lexsort((random.random(len(rows)), rows))
    kept = order[np.arange(len(rows)) - histories.indptr[rows] < length]
    ones = np.ones(len(kept), np.float32)
    return sparse.csr_matrix((ones, (rows[kept], histories.indices[kept])), shape=histories.shape)
