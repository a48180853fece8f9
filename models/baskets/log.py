"""Purchases as arrays, by shopper, item and day: what the recommenders of next baskets count and learn from.

A shopper's purchases of one day (UTC) are one visit. `left` counts a shopper's later visits: rows of left 0 are the
last visit, and a purchase log without its last visits is what was known one visit earlier.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from models.dataset import BoolArray, Dataset, FloatArray, IntArray

Float32Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Purchases:
    """One row for each shopper, item and day, ordered by shopper, day and item.

    Attributes:
        shoppers: row of the shopper; shape (rows,), as the others.
        items: row of the item.
        days: days since 1970.
        prices: of one unit; NaN where unknown.
        size: how many shoppers and items there are.
    """

    shoppers: IntArray
    items: IntArray
    days: IntArray
    prices: Float32Array
    size: tuple[int, int]

    @classmethod
    def of(cls, dataset: Dataset) -> Purchases:
        """The interactions of a dataset, each kind of item once a day."""
        table = dataset.interactions
        days = days_of(table["event_time"])
        prices = table["price"].to_numpy(np.float32) if "price" in table else np.full(len(table), np.nan, np.float32)
        order = np.lexsort((dataset.item_rows, days, dataset.shopper_rows))
        columns = (dataset.shopper_rows[order], days[order], dataset.item_rows[order])
        new = np.ones(len(order), dtype=bool)
        new[1:] = np.any([column[1:] != column[:-1] for column in columns], axis=0)
        kept = order[new]
        return cls(
            shoppers=dataset.shopper_rows[kept],
            items=dataset.item_rows[kept],
            days=days[kept],
            prices=prices[kept],
            size=(len(dataset.shoppers), len(dataset.items)),
        )

    def __len__(self) -> int:
        """Rows."""
        return len(self.items)

    def where(self, chosen: BoolArray) -> Purchases:
        """Only these rows."""
        return Purchases(self.shoppers[chosen], self.items[chosen], self.days[chosen], self.prices[chosen], self.size)

    @cached_property
    def starts(self) -> BoolArray:
        """Whether a row is the first of its visit."""
        first = np.ones(len(self), dtype=bool)
        first[1:] = (self.shoppers[1:] != self.shoppers[:-1]) | (self.days[1:] != self.days[:-1])
        return first

    @cached_property
    def visits(self) -> IntArray:
        """Number of each row's visit, counted over all shoppers in their order; shape (rows,)."""
        numbers: IntArray = np.cumsum(self.starts) - 1
        return numbers

    @cached_property
    def visit_shoppers(self) -> IntArray:
        """Shopper of each visit; shape (visits,)."""
        return self.shoppers[self.starts]

    @cached_property
    def visit_days(self) -> IntArray:
        """Day of each visit; shape (visits,)."""
        return self.days[self.starts]

    @cached_property
    def left(self) -> IntArray:
        """How many later visits the row's shopper has; shape (rows,)."""
        ends = np.cumsum(np.bincount(self.visit_shoppers, minlength=self.size[0]))
        left: IntArray = (ends[self.shoppers] - 1 - self.visits).astype(np.int64)
        return left

    @cached_property
    def bounds(self) -> IntArray:
        """First row of each shopper, and the end; shape (shoppers + 1,)."""
        return np.searchsorted(self.shoppers, np.arange(self.size[0] + 1)).astype(np.int64)

    def matrix(self, weights: npt.NDArray[np.floating]) -> sparse.csr_matrix:
        """Weights by shopper and item; rows of weight 0 are left out. float32."""
        used = np.flatnonzero(weights)
        indptr = np.searchsorted(used, self.bounds)
        return sparse.csr_matrix((weights[used].astype(np.float32), self.items[used], indptr), shape=self.size)

    def counts(self, weights: npt.NDArray[np.floating]) -> FloatArray:
        """Sum of weights by item; shape (items,)."""
        total: FloatArray = np.bincount(self.items, weights, minlength=self.size[1]).astype(np.float64)
        return total


def days_of(times: pd.Series | pd.DatetimeIndex) -> IntArray:
    """Days since 1970 of UTC times."""
    stamps = np.asarray(pd.DatetimeIndex(times).tz_localize(None).as_unit("s"), dtype="datetime64[s]")
    days: IntArray = stamps.astype(np.int64) // 86_400
    return days


def next_day(as_of: pd.Timestamp) -> int:
    """Day of a visit at `as_of`, before which all that is known lies: a day that has begun counts as ended."""
    return int(days_of(pd.DatetimeIndex([as_of - pd.Timedelta(1, unit="us")]))[0]) + 1


@dataclass(frozen=True)
class Visits:
    """Visits to foresee: of whom, when, and what is known of the shopper's own past.

    Attributes:
        shoppers: row of each; shape (visits,), each shopper once, ascending.
        days: day of each; -1 where it is not known.
    """

    shoppers: IntArray
    days: IntArray

    def __len__(self) -> int:
        """How many."""
        return len(self.shoppers)


def last_visits(known: Purchases, level: int) -> tuple[Purchases, Visits, Purchases]:
    """Take the `level`-th last visit of each shopper to be foreseen.

    Returns:
        what was known without it and every later visit of its shopper, the visits (of shoppers who have an earlier
        one), and their rows.
    """
    earlier = known.where(known.left >= level)
    had = np.bincount(earlier.shoppers, minlength=known.size[0]) > 0
    rows = known.where((known.left == level - 1) & had[known.shoppers])
    return earlier, Visits(rows.visit_shoppers, rows.visit_days), rows


def take_rows(matrix: sparse.csr_matrix, rows: IntArray) -> sparse.csr_matrix:
    """Rows of a sparse matrix, as one."""
    return sparse.csr_matrix(matrix[rows])


def normalised(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    """Rows of unit length (those of zeros stay)."""
    lengths = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    return scaled(matrix, (1 / np.maximum(lengths, 1e-12)).astype(np.float32))


def scaled(matrix: sparse.csr_matrix, factors: npt.NDArray[np.floating]) -> sparse.csr_matrix:
    """Each row times its factor."""
    data = matrix.data * np.repeat(factors.astype(np.float32), np.diff(matrix.indptr))
    return sparse.csr_matrix((data, matrix.indices, matrix.indptr), shape=matrix.shape)
