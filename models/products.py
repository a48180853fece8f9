"""Scores of all items as products of vectors, bit by bit the same whoever else is scored in the call."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from models.dataset import FloatArray

Float32Array = npt.NDArray[np.float32]
# A matrix product rounds differently for another number of rows: it is always of this many. Few, as one shopper waits
# for all of them.
_ROWS = 8


def products(vectors: Float32Array, item_vectors: Float32Array) -> FloatArray:
    """Return each vector's product with each item's; float64, a new array of shape (len(vectors), items).

    Args:
        vectors: shape (shoppers, length).
        item_vectors: shape (items, length).
    """
    scores = np.empty((len(vectors), len(item_vectors)))
    block = np.zeros((_ROWS, item_vectors.shape[1]), np.float32)
    for start in range(0, len(vectors), _ROWS):
        part = vectors[start : start + _ROWS]
        block[: len(part)] = part
        scores[start : start + _ROWS] = (block @ item_vectors.T)[: len(part)]
    return scores
