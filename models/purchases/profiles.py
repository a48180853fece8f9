"""What sets a shopper apart by their history: the content they buy and the stores they buy in, more than others do."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import sparse

from models.dataset import Dataset, FloatArray, IntArray

# Shares are dense for so many shoppers at a time.
_BLOCK = 4096


def over_represented(weights: sparse.csr_matrix, count: int) -> sparse.csr_matrix:
    """The values that stand out most in each shopper's history, as shares that sum to 1.

    A value stands out by how far its share of the shopper's history exceeds the mean share over all shoppers.

    Args:
        weights: weight of each value in each shopper's history; shape (shoppers, values).
        count: how many values are kept for a shopper; values equal to the last one kept stay, too.

    Returns:
        float32, shape (shoppers, values); an empty row where there is no history or nothing stands out.
    """
    totals = np.maximum(np.asarray(weights.sum(axis=1), dtype=np.float64).ravel(), 1e-12)
    shares = (sparse.diags(1 / totals) @ weights).tocsr()
    mean = np.asarray(shares.mean(axis=0)).ravel()
    blocks = [_excess(shares[start : start + _BLOCK].toarray(), mean, count) for start in range(0, len(totals), _BLOCK)]
    return sparse.vstack(blocks, format="csr", dtype=np.float32)


def visits(dataset: Dataset) -> sparse.csr_matrix:
    """Interactions of each shopper in each store; float64, shape (shoppers, stores)."""
    stores, names = pd.factorize(dataset.interactions["store_id"])
    known = stores >= 0
    shape = (len(dataset.shoppers), len(names))
    ones = np.ones(int(known.sum()))
    return sparse.coo_matrix((ones, (dataset.shopper_rows[known], stores[known])), shape=shape).tocsr()


def baskets(dataset: Dataset) -> IntArray:
    """A number for the basket of each interaction; where no basket is known, a shopper's day is one."""
    table = dataset.interactions
    day = table["event_time"].dt.floor("D").astype("int64").astype(str)
    name = day if "basket_id" not in table.columns else table["basket_id"].astype("string").fillna(day)
    number, distinct = pd.factorize(name)
    numbers: IntArray = np.unique(dataset.shopper_rows * len(distinct) + number, return_inverse=True)[1].astype(
        np.int64
    )
    return numbers


def _excess(shares: FloatArray, mean: FloatArray, count: int) -> sparse.csr_matrix:
    excess = np.maximum(shares - mean, 0.0)
    if count < excess.shape[1]:
        cut = np.partition(excess, excess.shape[1] - count, axis=1)[:, excess.shape[1] - count]
        excess[excess < cut[:, None]] = 0.0
    sums = np.maximum(excess.sum(axis=1, keepdims=True), 1e-12)
    return sparse.csr_matrix((excess / sums).astype(np.float32))
