"""What can be known of an item that nobody has bought: its kinds, how these fare, and who buys them.

A kind is what items of one category have in common: a type, a maker, a maker's goods of one type …
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from models.content.vectors import category_codes
from models.content.vocabulary import PATH_COLUMN
from models.dataset import BoolArray, Dataset, FloatArray, IntArray
from models.ranking_features.cells import Cells

_RECENT = (30.0, 60.0)  # days back in which an item's first sale makes it a newcomer that found buyers
_DECAY = 180.0
_LATELY = 28.0
_SETS = 4096  # sets whose alternatives stand side by side before they are drawn from


@dataclass(frozen=True)
class Kinds:
    """The kinds of every item, one of each grouping; all groupings are within a category.

    Attributes:
        code: number of the kind, groupings numbered one after the other; shape (items, groupings).
        category: number of each item's category; shape (items,).
        count: number of all kinds.
    """

    code: IntArray
    category: IntArray
    count: int

    @classmethod
    def of(cls, dataset: Dataset, groupings: Sequence[Sequence[str]], levels: int) -> Kinds:
        """Put items together by each of `groupings` (content columns) within the first steps of the category path."""
        items = dataset.items
        known = PATH_COLUMN in items.columns
        category = category_codes(items[PATH_COLUMN], levels) if known else np.zeros(len(items), np.int64)
        codes, count = [], 0
        for columns in groupings:
            together = category
            for column in columns:
                values = pd.factorize(items[column].astype("string").fillna(""), sort=True)[0]
                pairs = together * (int(values.max(initial=0)) + 1) + values
                together = np.unique(pairs, return_inverse=True)[1].astype(np.int64)
            codes.append(together + count)
            count += int(together.max(initial=-1)) + 1
        return cls(np.column_stack(codes), category, count)

    @cached_property
    def table(self) -> sparse.csr_matrix:
        """1 where an item is of a kind; float32, shape (items, kinds)."""
        return kinds_table(self.code, self.count)


def kinds_table(code: npt.NDArray[np.integer], count: int) -> sparse.csr_matrix:
    """1 where an item is of a kind; `code` as in `Kinds`. float32, shape (items, count)."""
    items, groupings = code.shape
    ends = np.arange(0, items * groupings + 1, groupings)
    return sparse.csr_matrix((np.ones(items * groupings, np.float32), code.ravel(), ends), shape=(items, count))


@dataclass(frozen=True)
class Past:
    """Interactions before a moment.

    Attributes:
        kinds: of every item.
        shoppers: how many there are.
        shopper, item: rows of each interaction.
        age: days from each to the moment; above 0.
        span: days from the first of all interactions to the moment.
        settled: days from the first of all after which a first sale is that of a newcomer; before, nobody knows.
    """

    kinds: Kinds
    shoppers: int
    shopper: IntArray
    item: IntArray
    age: FloatArray
    span: float
    settled: float

    def before(self, days: float) -> Past:
        """What was known so many days earlier."""
        keep = self.age > days
        return Past(
            self.kinds,
            self.shoppers,
            self.shopper[keep],
            self.item[keep],
            self.age[keep] - days,
            self.span - days,
            self.settled,
        )

    @cached_property
    def first(self) -> FloatArray:
        """Days since each item's first sale; -1 where there was none; shape (items,)."""
        found = np.full(len(self.kinds.category), -1.0)
        np.maximum.at(found, self.item, self.age)
        return found

    @property
    def sold(self) -> BoolArray:
        """Which items were bought; shape (items,)."""
        return self.first >= 0

    def tastes(self, decay_days: float | None) -> Cells:
        """Purchases of each shopper of each kind, decayed; cells are numbered shopper × kinds + kind."""
        weights = np.exp(-self.age / decay_days) if decay_days else np.ones(len(self.age))
        shape = (self.shoppers, len(self.kinds.category))
        held = sparse.coo_matrix((weights, (self.shopper, self.item)), shape=shape).tocsr()
        of_kinds = (held @ self.kinds.table).tocsr()
        of_kinds.sort_indices()
        owner = np.repeat(np.arange(self.shoppers), np.diff(of_kinds.indptr))
        return Cells(owner * self.kinds.count + of_kinds.indices, of_kinds.data.astype(np.float64))

    def prospects(self) -> npt.NDArray[np.float32]:
        """How the kinds of each item fare: their sales, and how their earlier newcomers did; float32, (items, n)."""
        sold, first = self.sold, self.first
        new_of = first[self.item]
        # A row of a newcomer's first weeks: its item first sold after the data had settled, and not long ago.
        fresh = (new_of < self.span - self.settled) & (new_of - self.age < _RECENT[0]) & (self.age < 90.0)
        columns = []
        cold = self._kinds_sum(~sold)
        known = self._kinds_sum(sold)
        columns += [cold, known / (known + cold + 1)]
        for days in _RECENT:
            started = sold & (first <= days) & (first < self.span - self.settled)
            columns.append(self._kinds_sum(started) / (cold + 1))
        for weights, share in ((fresh, cold + 1), (np.exp(-self.age / _DECAY), known + 1), (self.age <= _LATELY, 1.0)):
            rows = np.bincount(self.item, weights.astype(np.float64), len(sold))
            columns.append(self._kinds_sum(rows) / share)
        return np.concatenate([column[self.kinds.code] for column in columns], axis=1).astype(np.float32)

    def _kinds_sum(self, values: npt.NDArray[Any]) -> FloatArray:
        """Sum over the items of each kind; shape (kinds,)."""
        found: FloatArray = np.asarray(self.kinds.table.T @ values.astype(np.float64)).ravel()
        return found


@dataclass(frozen=True)
class Window:
    """A past window: what was new then, and who bought it.

    Attributes:
        past: what was known before it.
        cold: items that nobody had bought, rising.
        shopper, item: the distinct pairs bought in it of those.
    """

    past: Past
    cold: IntArray
    shopper: IntArray
    item: IntArray


def past_windows(past: Past, recommendable: BoolArray, count: int, days: float) -> list[Window]:
    """The latest windows of `days` days, back to back, the latest first; those in which nothing new was bought are out.

    There is none before which there is not as long a window of data after the data settled.
    """
    found = []
    for number in range(1, count + 1):
        start = number * days
        if past.span < past.settled + start:
            break
        earlier = past.before(start)
        cold = ~earlier.sold & recommendable
        inside = (past.age <= start) & (past.age > start - days) & cold[past.item]
        pairs = np.unique(past.shopper[inside] * len(cold) + past.item[inside])
        if len(pairs) and len(earlier.age):
            found.append(Window(earlier, np.flatnonzero(cold), pairs // len(cold), pairs % len(cold)))
    return found


def choices(window: Window, most: int, random: np.random.Generator) -> tuple[IntArray, IntArray, IntArray, BoolArray]:
    """For each shopper and category with a new item bought: what was bought, and others that were new, too.

    Args:
        window: the past window.
        most: alternatives not chosen, drawn where there are more.
        random: draws them.

    Returns:
        shopper and item of each alternative, alternatives of each set, and which were chosen.
    """
    category = window.past.kinds.category
    items = len(category)
    cold = window.cold[np.argsort(category[window.cold], kind="stable")]
    bounds = np.searchsorted(category[cold], np.arange(int(category.max()) + 2))
    sets = np.unique(window.shopper * len(bounds) + category[window.item])
    bought = np.sort(window.shopper * items + window.item)
    parts = []
    for start in range(0, len(sets), _SETS):
        owner, of = np.divmod(sets[start : start + _SETS], len(bounds))
        sizes = bounds[of + 1] - bounds[of]
        number = np.repeat(np.arange(len(of)), sizes)
        places = np.arange(len(number)) - np.repeat(np.cumsum(sizes) - sizes, sizes) + bounds[of][number]
        shopper, item = owner[number], cold[places]
        pairs = shopper * items + item
        chosen = bought[np.minimum(np.searchsorted(bought, pairs), len(bought) - 1)] == pairs
        kept = chosen | (random.random(len(item)) < most / np.maximum(sizes, 1)[number])
        parts.append((shopper[kept], item[kept], np.bincount(number[kept], minlength=len(of)), chosen[kept]))
    shopper, item, sizes, chosen = (np.concatenate(column) for column in zip(*parts, strict=True))
    return shopper, item, sizes, chosen
