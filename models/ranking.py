"""Selection of the best k by score, with ties broken the same way every time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from models.dataset import FloatArray, IntArray


def top_k(scores: npt.NDArray[np.floating], k: int) -> tuple[IntArray, FloatArray]:
    """Return the columns of the k highest scores of each row, best first, and the scores.

    Equal scores are ordered by column, the lowest first, also at the cut. Columns of score -inf are never chosen:
    where a row has fewer than k others, the rest is column -1 with score -inf.

    Args:
        scores: shape (rows, columns); NaN is not allowed.
        k: length of the lists, at least 1.

    Returns:
        columns (int64) and scores (float64), both of shape (rows, min(k, columns)).
    """
    rows, width = scores.shape
    k = min(k, width)
    columns = np.full((rows, k), -1, dtype=np.int64)
    values = np.full((rows, k), -np.inf, dtype=np.float64)
    if k == 0:
        return columns, values
    if k < width:
        # the lowest of the negated: where many scores are equal numpy finds these many times faster than the highest
        cut = -np.partition(-scores, k - 1, axis=1)[:, k - 1]
    else:
        cut = np.full(rows, -np.inf)
    for row in range(rows):
        line = scores[row]
        above = np.flatnonzero(line > cut[row])
        equal = np.flatnonzero(line == cut[row])[: k - len(above)] if cut[row] > -np.inf else above[:0]
        chosen = np.concatenate([above, equal])
        chosen = chosen[np.lexsort((chosen, -line[chosen]))][:k]
        columns[row, : len(chosen)] = chosen
        values[row, : len(chosen)] = line[chosen]
    return columns, values
