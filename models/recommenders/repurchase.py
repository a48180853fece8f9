"""Repurchase times: when is this shopper due again for this item?

In the line of SLRC (Wang et al., "Modeling Item-Specific Temporal Dynamics of Repeat Consumption", WWW 2019) and TAIW
(Romanov et al., RecSys 2023), with counted rates instead of fitted densities. Of all pairs of a shopper and an item
they had bought, at the shopper's last visits, it is counted how often the pair was bought, by

- how many of the shopper's visits so far had the item,
- how often shoppers buy the item again at all (shrunk to the mean of all items),
- the time since the last purchase over the item's usual time between two (a geometric mean, shrunk to that of all).

Each cell of that table is shrunk to the mean of its row, and gives the chance that a repeat is in the next basket;
times the item's trend, it is raised for what is promoted at present. An item the shopper never bought has the chance
that a sale of late is of it, times the new items of a usual basket. Both are chances of one event, so one order holds
them all.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import Field

from models.artifact import Arrays
from models.base import Capabilities, Recommender, RecommenderConfig
from models.baskets.log import Purchases, last_visits, next_day
from models.dataset import Dataset, FloatArray, IntArray
from models.purchases.history import kept_entries
from models.reasons import Reason

_DAY = 86_400
_SHARES = np.array([0.06, 0.1, 0.15, 0.22, 0.35, 0.55])  # of the shopper's visits that had the item
_RATES = np.array([0.06, 0.12, 0.2, 0.3])  # of an item's pairs that were bought again
_TIMES = np.array([0.1, 0.2, 0.35, 0.6, 0.9, 1.3, 2.0, 3.0, 5.0])  # since the last purchase, over the usual time
_CELLS = (len(_SHARES) + 1, len(_RATES) + 1, len(_TIMES) + 1)
_SHRINK = 30.0  # pairs that each cell is given of its row's mean
_RARE = 2e-5  # share of sales below which a change of it says little
_EVIDENCE = 100.0  # sales of the whole log that the sales of late are given


class RepurchaseConfig(RecommenderConfig):
    """What is counted."""

    levels: int = Field(3, ge=1, le=20, description="visits of each shopper to count at, from the last")
    recent_days: float = Field(1.5, gt=0, description="a sale counts exp(-days before the visit / this) for a new item")
    new_weight: float = Field(1, ge=0, description="the chance of an item never bought times this")
    trend_power: float = Field(
        0.3, ge=0, le=1, description="a repeat's chance times (share of late sales / usual share) to this power"
    )
    interval_weight: float = Field(3, gt=0, description="intervals of all items that each item is given")


class Repurchase(Recommender):
    """Scores a repeat by its chance to be due, and everything else by its share of late sales."""

    Config: ClassVar[type[RecommenderConfig]] = RepurchaseConfig
    capabilities: ClassVar[Capabilities] = Capabilities(
        cold_shoppers=True, cold_items=False, fold_in=False, repeats=True, visit_date=True
    )

    def __init__(self, config: RepurchaseConfig) -> None:
        super().__init__(config)
        self.config: RepurchaseConfig = config
        self._table: FloatArray = np.zeros(_CELLS)
        self._usual: FloatArray = np.zeros(0)  # days between two purchases, by item
        self._again: FloatArray = np.zeros(0)  # share of pairs bought again, by item
        self._new = 0.0  # items never bought before in a usual basket
        self._pairs: dict[str, npt.NDArray[Any]] = {}  # by shopper: item, purchases and the last one's day
        self._visits: IntArray = np.zeros(0, np.int64)
        self._sales: dict[str, IntArray] = {}  # item, day and number of sales

    def _fit(self, dataset: Dataset, seed: int) -> None:
        del seed
        log = Purchases.of(dataset)
        due, bought, new, baskets = np.zeros(_CELLS), np.zeros(_CELLS), 0, 0
        for level in range(1, self.config.levels + 1):
            known, visits, rows = last_visits(log, level)
            day = np.full(log.size[0], -1)
            day[visits.shoppers] = visits.days
            self._usual, self._again = intervals(known, self.config.interval_weight)  # nothing of the visit
            pairs = _Pairs.of(known)
            here = day[pairs.shoppers] >= 0
            cells = self._cells(pairs, day[pairs.shoppers] - pairs.last)
            hit = np.isin(pairs.shoppers * log.size[1] + pairs.items, rows.shoppers * log.size[1] + rows.items)
            np.add.at(due, tuple(cell[here] for cell in cells), 1.0)
            np.add.at(bought, tuple(cell[here & hit] for cell in cells), 1.0)
            new, baskets = new + len(rows) - int((here & hit).sum()), baskets + len(visits)
        self._table = _shrunk(bought, due)
        self._usual, self._again = intervals(log, self.config.interval_weight)
        self._new = new / baskets if baskets else float(len(log)) / max(1, len(log.visit_days))
        whole = _Pairs.of(log)
        self._pairs = {"items": whole.items, "counts": whole.counts, "last": whole.last}
        self._visits = whole.visits
        sold, self._sales = np.unique(np.stack([log.items, log.days]), axis=1, return_counts=True), {}
        self._sales = {"items": sold[0][0], "days": sold[0][1], "counts": sold[1].astype(np.int64)}

    def _cells(self, pairs: _Pairs, age: npt.NDArray[Any]) -> tuple[IntArray, IntArray, IntArray]:
        """Cell of the table of each pair, `age` days after its last purchase."""
        share = pairs.counts / np.maximum(pairs.visits[pairs.shoppers], 1)
        return (
            np.searchsorted(_SHARES, share).astype(np.int64),
            np.searchsorted(_RATES, self._again[pairs.items]).astype(np.int64),
            np.searchsorted(_TIMES, age / self._usual[pairs.items]).astype(np.int64),
        )

    # ------------------------------------------------------------------ scoring

    def _score(self, shopper_rows: IntArray) -> FloatArray:
        return self._scored(shopper_rows, np.full(len(shopper_rows), next_day(self.as_of)))

    def _score_at(self, shopper_rows: IntArray, moments: FloatArray) -> FloatArray:
        return self._scored(shopper_rows, (moments // _DAY).astype(np.int64))

    def _scored(self, shopper_rows: IntArray, days: IntArray) -> FloatArray:
        scores, trend = (np.empty((len(shopper_rows), len(self.item_ids))) for _ in range(2))
        for day in np.unique(days):
            scores[days == day], trend[days == day] = self._fresh(int(day))
        for line, (row, day) in enumerate(zip(shopper_rows, days, strict=True)):
            own = slice(self.history.indptr[row], self.history.indptr[row + 1])
            pairs = _Pairs(
                np.zeros(own.stop - own.start, np.int64),
                self._pairs["items"][own],
                self._pairs["counts"][own],
                self._pairs["last"][own],
                self._visits[row : row + 1],
            )
            due = self._table[self._cells(pairs, np.maximum(day - pairs.last, 0))]
            scores[line, pairs.items] += due * trend[line, pairs.items] ** self.config.trend_power
        return scores

    def _fresh(self, day: int) -> tuple[FloatArray, FloatArray]:
        """Chance of each item by the sales before a day, and its share of late sales over its usual; shape (items,)."""
        age = day - self._sales["days"]
        weights = np.where(age > 0, np.exp(-np.maximum(age - 1, 0) / self.config.recent_days), 0.0)
        recent = np.bincount(self._sales["items"], self._sales["counts"] * weights, len(self.item_ids))
        whole = np.bincount(self._sales["items"], self._sales["counts"] * (age > 0), len(self.item_ids))
        usual = whole / max(1.0, whole.sum())
        share = (recent + _EVIDENCE * usual) / (recent.sum() + _EVIDENCE)
        return max(self._new * self.config.new_weight, 1e-9) * share, (share + _RARE) / (usual + _RARE)

    def _score_cold(self, attributes: pd.DataFrame) -> FloatArray:
        chance, _ = self._fresh(next_day(self.as_of))
        return np.tile(chance, (len(attributes), 1))

    def _reasons(self, shopper_rows: IntArray, columns: IntArray) -> npt.NDArray[np.object_]:
        repeats = super()._reasons(shopper_rows, columns)
        return np.where(repeats == str(Reason.BOUGHT_BEFORE), repeats, str(Reason.POPULAR)).astype(object)

    # ------------------------------------------------------------------ keeping

    def _keep_shoppers(self, rows: IntArray) -> None:
        kept = kept_entries(self.history, rows)
        self._pairs = {name: values[kept] for name, values in self._pairs.items()}
        self._visits = self._visits[rows]

    def _state(self) -> tuple[dict[str, Any], Arrays]:
        arrays: Arrays = {"table": self._table, "usual": self._usual, "again": self._again, "visits": self._visits}
        arrays |= {f"pair_{name}": values for name, values in self._pairs.items()}
        arrays |= {f"sale_{name}": values for name, values in self._sales.items()}
        return {"new": self._new}, arrays

    def _restore(self, state: dict[str, Any], arrays: Arrays) -> None:
        kept = {name: np.asarray(array) for name, array in arrays.items()}
        self._table, self._usual, self._again, self._visits = (
            kept[name] for name in ("table", "usual", "again", "visits")
        )
        self._new = float(state["new"])
        self._pairs = {name: kept[f"pair_{name}"] for name in ("items", "counts", "last")}
        self._sales = {name: kept[f"sale_{name}"] for name in ("items", "days", "counts")}


class _Pairs:
    """Each shopper and item they bought, ordered by both.

    Attributes:
        shoppers, items: rows of each; shape (pairs,).
        counts: visits that had the item.
        last: day of the last of these.
        visits: visits of each shopper; shape (shoppers,).
    """

    def __init__(
        self, shoppers: IntArray, items: IntArray, counts: npt.NDArray[Any], last: IntArray, visits: IntArray
    ) -> None:
        self.shoppers, self.items, self.counts, self.last, self.visits = shoppers, items, counts, last, visits

    @classmethod
    def of(cls, log: Purchases) -> _Pairs:
        """Count a log."""
        key = log.shoppers * log.size[1] + log.items
        pairs, place, counts = np.unique(key, return_inverse=True, return_counts=True)
        last = np.zeros(len(pairs), np.int64)
        np.maximum.at(last, place, log.days)
        visits = np.bincount(log.visit_shoppers, minlength=log.size[0]).astype(np.int64)
        return cls(pairs // log.size[1], pairs % log.size[1], counts.astype(np.int64), last, visits)


def intervals(log: Purchases, weight: float) -> tuple[FloatArray, FloatArray]:
    """Usual days between two purchases of an item by a shopper, and the share of its buyers who bought it again.

    Both are shrunk to those of all items: `weight` intervals at the geometric mean, two buyers at the mean share.
    """
    key = log.shoppers * log.size[1] + log.items
    order = np.lexsort((log.days, key))
    key, days, items = key[order], log.days[order], log.items[order]
    again = np.r_[False, key[1:] == key[:-1]][: len(key)]
    gaps = np.log(np.maximum(np.diff(days, prepend=days[:1]), 1))[again]
    repeats = np.bincount(items[again], minlength=log.size[1])
    buyers = np.bincount(items[~again], minlength=log.size[1])
    usual = float(gaps.mean()) if len(gaps) else float(np.log(30.0))
    between = np.exp((np.bincount(items[again], gaps, log.size[1]) + weight * usual) / (repeats + weight))
    returned = np.zeros(len(key), dtype=bool)
    returned[:-1] = ~again[:-1] & again[1:]
    mean = returned.sum() / max(1, (~again).sum())
    share = (np.bincount(items[returned], minlength=log.size[1]) + 2 * mean) / (buyers + 2)
    return between, share


def _shrunk(bought: FloatArray, due: FloatArray) -> FloatArray:
    """Shares of pairs bought, cells shrunk to their row over times, rows to the mean of their share of visits."""
    total = (bought.sum() + 1.0) / (due.sum() + 50.0)
    outer = (bought.sum(axis=(1, 2), keepdims=True) + _SHRINK * total) / (due.sum(axis=(1, 2), keepdims=True) + _SHRINK)
    row = (bought.sum(axis=2, keepdims=True) + _SHRINK * outer) / (due.sum(axis=2, keepdims=True) + _SHRINK)
    shares: FloatArray = (bought + _SHRINK * row) / (due + _SHRINK)
    return shares
