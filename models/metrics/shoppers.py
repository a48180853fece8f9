"""Metrics of each shopper's list, repeats and discoveries apart.

With K the length of the lists, h(i) = 1 when the item at rank i is in the truth, and T the shopper's truth (distinct):

- precision = Σ h(i) / K, also where a list is shorter than K: an empty place is a miss
- recall = Σ h(i) / |T|
- ndcg = DCG / IDCG, DCG = Σ h(i) / log2(i + 1), IDCG the same for a perfect list of min(K, |T|) places
  (Järvelin and Kekäläinen, "Cumulated gain-based evaluation of IR techniques", TOIS 2002; binary gains)
- map = Σ h(i) × (hits up to rank i) / i / min(K, |T|), the average precision of one shopper
  (Manning, Raghavan and Schütze, Introduction to Information Retrieval, 2008, section 8.4, cut at K)
- mrr = 1 / rank of the first hit, 0 without one (Voorhees, TREC-8, 1999)
- hit_rate = 1 when there is a hit

A shopper's truth falls into what they bought before (repeat) and what is new to them. The `repeat_` and `new_` columns
judge the same list against one part alone, so repeat_precision + new_precision = precision. Where a shopper's truth
holds nothing of a part, its columns are NaN: the question was not put, and a mean over shoppers leaves them out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from configs.errors import FacingsError
from models.dataset import BoolArray, FloatArray, IntArray

METRICS = ("precision", "recall", "ndcg", "map", "mrr", "hit_rate")
PARTS = ("repeat", "new")


def evaluate(
    lists: pd.DataFrame,
    truth: pd.DataFrame,
    *,
    k: int,
    history: pd.DataFrame | None = None,
    shoppers: Sequence[str] | None = None,
    ideal: Literal["k", "basket"] = "k",
) -> pd.DataFrame:
    """Measure every shopper's list.

    Args:
        lists: shopper_id, rank (from 1), item_id; ranks beyond `k` and shoppers without truth are ignored. A shopper
            with truth and without a list has zeros.
        truth: shopper_id, item_id: what was bought; a pair counts once.
        k: where lists are cut.
        history: shopper_id, item_id: what was bought before; None: no parts apart.
        shoppers: who is measured, in this order; None: everybody of `truth`, ordered by id.
        ideal: "k": NDCG's ideal list holds min(K, |T|) items; "basket": all |T|, as in TAIW (RecSys 2023).

    Returns:
        shopper_id and float64 columns METRICS; with `history` also repeat_ and new_ columns of the same names.

    Raises:
        FacingsError: k is below 1, or a list has a rank twice, an item twice or a rank below 1.

    >>> lists = pd.DataFrame({"shopper_id": "a", "rank": [1, 2], "item_id": ["x", "y"]})
    >>> truth = pd.DataFrame({"shopper_id": "a", "item_id": ["y", "z"]})
    >>> evaluate(lists, truth, k=2)[["precision", "recall", "map", "mrr"]].iloc[0].tolist()
    [0.5, 0.5, 0.25, 0.5]
    """
    if k < 1:
        raise FacingsError(f"k is {k}; lists are measured at 1 or more.")
    asked = pd.Index(sorted(truth["shopper_id"].unique()) if shoppers is None else list(shoppers), dtype=object)
    codes = _Codes(asked, pd.Index(truth["item_id"].unique()))
    wanted = np.unique(codes.of(truth))
    wanted = wanted[wanted >= 0]
    hits = _hits(lists, codes, wanted, k)
    frame = pd.DataFrame({"shopper_id": asked, **_measure(hits >= 0, codes.count(wanted), k, ideal)})
    if history is None:
        return frame
    before = np.zeros(len(wanted), dtype=bool)
    bought = codes.of(history)
    before[np.searchsorted(wanted, bought[_inside(bought, wanted)])] = True
    for part, keys in (("repeat", wanted[before]), ("new", wanted[~before])):
        inside = _inside(hits, keys)
        for name, values in _measure(inside, codes.count(keys), k, ideal).items():
            frame[f"{part}_{name}"] = values
    return frame


def auc(lists: pd.DataFrame, truth: pd.DataFrame, *, n_items: int) -> pd.DataFrame:
    """Area under the ROC curve of each shopper's ranking of all items.

    The share of pairs (an item of the truth, an item outside it) that the list puts in the right order. With P items of
    the truth at ranks r among N items it is 1 - (Σ r - P (P + 1) / 2) / (P (N - P)): the Mann-Whitney statistic.

    Args:
        lists: shopper_id, rank, item_id: all `n_items` items for every shopper of `truth`.
        truth: shopper_id, item_id; a pair counts once.
        n_items: how many items are ranked.

    Returns:
        shopper_id, auc (float64; NaN for a shopper whose truth holds every item), ordered by id.

    Raises:
        FacingsError: an item of the truth is missing from its shopper's list.

    >>> lists = pd.DataFrame({"shopper_id": "a", "rank": [1, 2, 3], "item_id": ["x", "y", "z"]})
    >>> auc(lists, pd.DataFrame({"shopper_id": ["a"], "item_id": ["y"]}), n_items=3)["auc"].tolist()
    [0.5]
    """
    pairs = truth[["shopper_id", "item_id"]].drop_duplicates()
    found = pairs.merge(lists[["shopper_id", "item_id", "rank"]], on=["shopper_id", "item_id"], how="left")
    if found["rank"].isna().any() or len(found) != len(pairs):
        raise FacingsError("AUC needs every item ranked once for every shopper; ask for lists of all items.")
    ranks = found.groupby("shopper_id", sort=True)["rank"].agg(["sum", "size"])
    positives = ranks["size"].to_numpy(np.float64)
    above = ranks["sum"].to_numpy(np.float64) - positives * (positives + 1) / 2
    with np.errstate(invalid="ignore"):
        values = 1 - above / (positives * (n_items - positives))
    return pd.DataFrame({"shopper_id": ranks.index, "auc": values})


@dataclass(frozen=True)
class _Codes:
    """A number for each pair of an asked shopper and an item of the truth; -1 for every other pair."""

    shoppers: pd.Index[Any]
    items: pd.Index[Any]

    def of(self, pairs: pd.DataFrame) -> IntArray:
        """Pair numbers, shape (rows,)."""
        shoppers, items = _rows(self.shoppers, pairs["shopper_id"]), _rows(self.items, pairs["item_id"])
        numbers: IntArray = np.where((shoppers < 0) | (items < 0), -1, shoppers * len(self.items) + items)
        return numbers

    def count(self, numbers: IntArray) -> IntArray:
        """How many of these distinct pairs (no -1) each shopper has; shape (shoppers,)."""
        own = numbers // max(1, len(self.items))
        counts: IntArray = np.bincount(own, minlength=len(self.shoppers)).astype(np.int64)
        return counts


def _rows(index: pd.Index[Any], ids: pd.Series) -> IntArray:
    """Position of each id, -1 where it is not in the index; every distinct id is looked up once."""
    codes, distinct = pd.factorize(ids)
    rows: IntArray = index.get_indexer(pd.Index(distinct).astype(index.dtype))[codes].astype(np.int64)
    return rows


def _hits(lists: pd.DataFrame, codes: _Codes, wanted: IntArray, k: int) -> IntArray:
    """Number of the pair where a listed item is in the truth, else -1; shape (shoppers, k)."""
    if (lists["rank"] < 1).any() or lists.duplicated(["shopper_id", "rank"]).any():
        raise FacingsError("A list has a rank below 1 or the same rank twice; ranks run 1, 2, 3 … for each shopper.")
    if lists.duplicated(["shopper_id", "item_id"]).any():
        raise FacingsError("A list holds the same item twice; each item may stand once.")
    cut = lists[lists["rank"] <= k]
    shoppers = _rows(codes.shoppers, cut["shopper_id"])
    numbers = codes.of(cut)
    known = shoppers >= 0
    table = np.full((len(codes.shoppers), k), -1, dtype=np.int64)
    found = np.where(_inside(numbers, wanted), numbers, -1)
    table[shoppers[known], cut["rank"].to_numpy(np.int64)[known] - 1] = found[known]
    return table


def _inside(numbers: IntArray, keys: IntArray) -> BoolArray:
    """Which pair numbers (-1: none) are among the sorted `keys`; the shape of `numbers`."""
    if not len(keys):
        return np.zeros(numbers.shape, dtype=bool)
    nearest = np.minimum(np.searchsorted(keys, numbers), len(keys) - 1)
    inside: BoolArray = (keys[nearest] == numbers) & (numbers >= 0)
    return inside


def _measure(hits: BoolArray, sizes: IntArray, k: int, ideal: str) -> dict[str, FloatArray]:
    """All METRICS from hits by place, shape (shoppers, k), and the size of each shopper's truth."""
    places = np.arange(1, k + 1)
    discounts = 1 / np.log2(places + 1)
    reachable = np.minimum(sizes, k)
    best = reachable if ideal == "k" else sizes
    perfect = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(1, max(k, sizes.max(initial=0)) + 1) + 1))])
    found = hits.sum(axis=1)
    first = np.where(found > 0, hits.argmax(axis=1) + 1, np.inf)
    average = (hits * np.cumsum(hits, axis=1) / places).sum(axis=1)
    values: dict[str, npt.NDArray[Any]] = {
        "precision": found / k,
        "recall": found / np.maximum(sizes, 1),
        "ndcg": (hits @ discounts) / np.maximum(perfect[best], 1.0),
        "map": average / np.maximum(reachable, 1),
        "mrr": 1 / first,
        "hit_rate": (found > 0).astype(np.float64),
    }
    return {name: np.where(sizes > 0, column, np.nan) for name, column in values.items()}
