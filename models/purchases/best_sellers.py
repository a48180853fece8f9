"""Which items sell best of late, by shoppers: what few buy often is no discovery for others."""

from __future__ import annotations

import numpy as np

from models.dataset import BoolArray, Dataset, FloatArray


def recent_popularity(dataset: Dataset, days: float) -> tuple[FloatArray, FloatArray]:
    """Shoppers of each item in the last days, with ties broken by all of its shoppers, and without; shape (items,)."""
    everybody = np.asarray(dataset.matrix().getnnz(axis=0), dtype=np.float64)
    inside = dataset.matrix((dataset.age_days <= days).astype(np.float64))
    inside.eliminate_zeros()
    recent = np.asarray(inside.getnnz(axis=0), dtype=np.float64)
    return recent + everybody / (everybody.max() + 1), recent


def best_sellers(popularity: FloatArray, count: int) -> BoolArray:
    """Which items are among the `count` most popular and were sold at all; shape (items,)."""
    chosen = np.argsort(-popularity, kind="stable")[:count]
    mask: BoolArray = np.zeros(len(popularity), dtype=bool)
    mask[chosen] = popularity[chosen] > 0
    return mask
