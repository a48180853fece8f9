"""What shoppers bought before, as the sparse matrix (shoppers, items) that every recommender keeps."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import sparse

from models.dataset import BoolArray, IntArray
from models.reasons import Reason


def bought_by(history: sparse.csr_matrix, row: int) -> IntArray:
    """Columns of what a shopper bought before; none for row -1."""
    if row < 0:
        return np.zeros(0, dtype=np.int64)
    return np.asarray(history.indices[history.indptr[row] : history.indptr[row + 1]], np.int64)


def kept_entries(history: sparse.csr_matrix, rows: IntArray) -> BoolArray:
    """Which of the matrix's entries belong to these shoppers; shape (entries,)."""
    kept = np.zeros(history.shape[0], dtype=bool)
    kept[rows] = True
    entries: BoolArray = np.repeat(kept, np.diff(history.indptr))
    return entries


def repeat_reasons(history: sparse.csr_matrix, rows: IntArray, columns: IntArray) -> npt.NDArray[np.object_]:
    """The plainest reasons: bought before, or else to the shopper's taste; the shape of `columns` (-1: no item)."""
    reasons = np.full(columns.shape, str(Reason.SIMILAR_TASTE), dtype=object)
    repeat = np.zeros(history.shape[1] + 1, dtype=bool)  # the last cell stands for column -1
    for position, row in enumerate(rows):
        bought = bought_by(history, int(row))
        repeat[bought] = True
        reasons[position, repeat[columns[position]]] = str(Reason.BOUGHT_BEFORE)
        repeat[bought] = False
    return reasons
