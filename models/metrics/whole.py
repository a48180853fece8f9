"""Metrics of all lists together: how much of the range they show, how unevenly, how well known, how varied."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from configs.errors import FacingsError
from models.dataset import FloatArray


def summary(
    lists: pd.DataFrame,
    *,
    k: int,
    n_items: int,
    popularity: pd.Series | None = None,
    categories: pd.Series | None = None,
) -> dict[str, float]:
    """Measure the lists of all shoppers.

    - coverage: share of the `n_items` items that stand in at least one list
    - gini: unevenness of how often each item stands in a list, 0 (all alike) to 1 (one item has it all)
      (Fleder and Hosanagar, "Blockbuster culture's next rise or fall", Management Science 2009)
    - novelty: mean over places of -log2 p(item), in bits, p = (popularity + 1) / (Σ popularity + n_items)
      (mean self-information; Zhou et al., PNAS 2010; one is added so that an item never sold is finite)
    - diversity: mean over lists of the mean distance of two items, 1 - (common leading steps of their category
      paths) / (steps of the longer one) (intra-list dissimilarity; Ziegler et al., WWW 2005)

    Args:
        lists: shopper_id, rank, item_id; ranks beyond `k` are ignored.
        k: where lists are cut.
        n_items: how many items may be recommended.
        popularity: interactions in the training data, indexed by item_id; an item not in it has none.
        categories: category path (`A/B/C`) indexed by item_id; pairs with an unknown one are left out.

    Returns:
        coverage and gini, novelty where `popularity` is given, diversity where `categories` is. A value that has
        nothing to be computed from (no lists, no pair) is NaN; coverage is then 0.

    Raises:
        FacingsError: `n_items` is below the number of items in the lists.
    """
    cut = lists[lists["rank"] <= k]
    counts = cut["item_id"].value_counts()
    if len(counts) > n_items or n_items < 1:
        raise FacingsError(f"The lists hold {len(counts)} items, but only {n_items} are said to exist.")
    exposure = np.zeros(n_items)
    exposure[: len(counts)] = counts.to_numpy(np.float64)
    found = {"coverage": len(counts) / n_items, "gini": gini(exposure)}
    if popularity is not None:
        found["novelty"] = _novelty(counts, popularity, n_items)
    if categories is not None:
        found["diversity"] = _diversity(cut, categories, k)
    return found


def gini(counts: FloatArray) -> float:
    """Gini coefficient Σ (2i - n - 1) x(i) / (n Σ x) of values sorted upwards; NaN where all are zero.

    >>> gini(np.array([1.0, 1.0, 1.0, 1.0])), gini(np.array([0.0, 0.0, 0.0, 4.0]))
    (0.0, 0.75)
    """
    ordered = np.sort(counts)
    total, size = ordered.sum(), len(ordered)
    if total == 0:
        return float("nan")
    return float(((2 * np.arange(1, size + 1) - size - 1) * ordered).sum() / (size * total))


def _novelty(counts: pd.Series, popularity: pd.Series, n_items: int) -> float:
    if counts.empty:
        return float("nan")
    known = popularity.reindex(counts.index).fillna(0).to_numpy(np.float64)
    shares = (known + 1) / (float(popularity.sum()) + n_items)
    return float(np.average(-np.log2(shares), weights=counts.to_numpy(np.float64)))


def _diversity(lists: pd.DataFrame, categories: pd.Series, k: int) -> float:
    """Compare all pairs of places of every list, depth by depth; memory (lists, k, k)."""
    rows, shoppers = pd.factorize(lists["shopper_id"])
    places = lists["rank"].to_numpy(np.int64) - 1
    paths = categories.reindex(lists["item_id"]).astype("string").str.split("/")
    steps = pd.to_numeric(paths.str.len(), errors="coerce").fillna(0).to_numpy(np.int64)
    depth = _place(rows, places, steps, len(shoppers), k, 0)
    common = np.zeros((len(shoppers), k, k), dtype=np.int64)
    prefix = pd.Series("", index=paths.index, dtype="string")
    for step in range(int(depth.max(initial=0))):
        prefix = prefix + "/" + paths.str[step].astype("string")
        codes = _place(rows, places, pd.factorize(prefix)[0], len(shoppers), k, -1)
        common += (codes[:, :, None] == codes[:, None, :]) & (codes[:, :, None] >= 0)
    longest = np.maximum(depth[:, :, None], depth[:, None, :])
    known = (depth[:, :, None] > 0) & (depth[:, None, :] > 0) & ~np.eye(k, dtype=bool)
    distance = np.where(known, 1 - common / np.maximum(longest, 1), 0.0)
    pairs = known.sum(axis=(1, 2))
    if not (pairs > 0).any():
        return float("nan")
    each = distance.sum(axis=(1, 2))[pairs > 0] / pairs[pairs > 0]
    return float(each.mean())


def _place(
    rows: npt.NDArray[Any], places: npt.NDArray[Any], values: npt.NDArray[Any], count: int, k: int, empty: int
) -> npt.NDArray[np.int64]:
    """Lay values out by list and place; shape (count, k)."""
    table = np.full((count, k), empty, dtype=np.int64)
    table[rows, places] = values
    return table
