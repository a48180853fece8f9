"""What was known before a cut, as arrays: the only thing that features of the second stage are computed from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from models.content.vocabulary import PATH_COLUMN
from models.dataset import BoolArray, Dataset, FloatArray, IntArray

# A day of a pair is packed with the pair's number into one integer.
_DAYS = 1 << 14
_LEVELS = 3  # steps of a category path that are groups of their own


@dataclass(frozen=True)
class Groups:
    """One way of putting items together (a category level, a maker …).

    Attributes:
        code: group of each item; shape (items,). What is not known is a group, too.
        count: number of groups.
    """

    code: IntArray
    count: int

    @classmethod
    def of(cls, values: pd.Series) -> Groups:
        """Number the distinct values; missing ones are one group."""
        code, names = pd.factorize(values.astype("string").fillna(""), sort=True)
        return cls(code.astype(np.int64), max(1, len(names)))

    def crossed(self, other: Groups) -> Groups:
        """Groups of items that are together in both."""
        both, code = np.unique(self.code * other.count + other.code, return_inverse=True)
        return Groups(code.astype(np.int64), max(1, len(both)))


@dataclass(frozen=True)
class Promotions:
    """Advertising by item and store: one element a row of the table; days count back from the cut, below 0: future."""

    item: IntArray
    store: IntArray
    starts: FloatArray
    ends: FloatArray
    display: BoolArray
    mailer: BoolArray


@dataclass(frozen=True)
class Past:
    """Interactions before a cut, and what is known of items and shoppers.

    Attributes:
        shoppers, items: how many there are.
        shopper, item: row of each interaction's shopper and item.
        age: days from each interaction to the cut; above 0.
        price: paid for a unit, NaN where not known; None: no price is known at all.
        store: number of each interaction's store, -1 where not known; None: no store is known at all.
        stores: how many there are.
        groups: the ways of putting items together, by name.
        attributes: numbers that describe the shoppers, by name; each of shape (shoppers,), NaN: not known.
        promotions: advertising that started before the cut and, where `planned`, after it; None: nothing is known.
        planned: whether the plan of the coming weeks is known.
        recommendable: which items may be recommended; shape (items,).
    """

    shoppers: int
    items: int
    shopper: IntArray
    item: IntArray
    age: FloatArray
    price: FloatArray | None
    store: IntArray | None
    stores: int
    groups: Mapping[str, Groups]
    attributes: Mapping[str, FloatArray]
    promotions: Promotions | None
    planned: bool
    recommendable: BoolArray

    @classmethod
    def read(cls, dataset: Dataset, crosses: Sequence[tuple[str, str]] = ()) -> Past:
        """Take the columns that are there.

        Args:
            dataset: its `as_of` is the cut.
            crosses: pairs of groups that are also put together; a pair of which one is not there is left out.
        """
        rows = dataset.interactions
        store: IntArray | None = None
        names: pd.Index = pd.Index([], dtype=object)
        if "store_id" in rows and rows["store_id"].notna().any():
            code, names = pd.factorize(rows["store_id"].astype("string"))
            store = code.astype(np.int64)
        promotions = _promotions(dataset, names) if store is not None else None
        price = None
        if "price" in rows and rows["price"].notna().any():
            price = rows["price"].to_numpy(np.float64, na_value=np.nan)
            price = np.where(price > 0, price, np.nan)
        return cls(
            shoppers=len(dataset.shoppers),
            items=len(dataset.items),
            shopper=dataset.shopper_rows,
            item=dataset.item_rows,
            age=dataset.age_days,
            price=price,
            store=store,
            stores=len(names),
            groups=_groups(dataset, crosses),
            attributes=_attributes(dataset),
            promotions=promotions,
            planned=promotions is not None and bool((promotions.starts <= 0).any()),
            recommendable=dataset.recommendable,
        )

    def before(self, days: float, horizon: float) -> Past:
        """What was known so many days earlier: the same cut at an earlier moment.

        Args:
            days: how much earlier.
            horizon: days ahead of which a plan of promotions tells.
        """
        keep = self.age > days
        promotions = self.promotions
        if promotions is not None:
            # A promotion of the plan is known when its start lies within the horizon; else only once it has started.
            known = promotions.starts - days > (-horizon if self.planned else 0.0)
            promotions = Promotions(
                item=promotions.item[known],
                store=promotions.store[known],
                starts=promotions.starts[known] - days,
                ends=promotions.ends[known] - days,
                display=promotions.display[known],
                mailer=promotions.mailer[known],
            )
        return replace(
            self,
            shopper=self.shopper[keep],
            item=self.item[keep],
            age=self.age[keep] - days,
            price=None if self.price is None else self.price[keep],
            store=None if self.store is None else self.store[keep],
            promotions=promotions,
        )

    def part(self, first: int, last: int) -> Past:
        """Only the interactions of shoppers first to last (exclusively), whose numbers stay."""
        keep = (self.shopper >= first) & (self.shopper < last)
        return replace(
            self,
            shopper=self.shopper[keep],
            item=self.item[keep],
            age=self.age[keep],
            price=None if self.price is None else self.price[keep],
            store=None if self.store is None else self.store[keep],
            promotions=None,
        )

    def bought_since(self, days: float, until: float = 0.0) -> IntArray:
        """Distinct pairs (as in `pairs`) bought in the last `days` days, but not in the last `until`."""
        inside = (self.age <= days) & (self.age > until)
        return distinct(self.pair_of_row[inside])

    # ------------------------------------------------------------------ pairs of a shopper and an item

    @cached_property
    def pair_of_row(self) -> IntArray:
        """Number of each interaction's pair: shopper × items + item."""
        return self.shopper * self.items + self.item

    @cached_property
    def pairs(self) -> IntArray:
        """Distinct pairs, rising."""
        return distinct(self.pair_of_row)

    @cached_property
    def place(self) -> IntArray:
        """Place in `pairs` of each interaction's pair."""
        return np.searchsorted(self.pairs, self.pair_of_row)

    @cached_property
    def pair_shopper(self) -> IntArray:
        """Shopper of each of `pairs`."""
        return self.pairs // max(1, self.items)

    @cached_property
    def pair_item(self) -> IntArray:
        """Item of each of `pairs`."""
        return self.pairs % max(1, self.items)

    def find(self, pairs: IntArray) -> tuple[IntArray, BoolArray]:
        """Place of each in `self.pairs`, and whether it is there (else the place means nothing)."""
        return find(self.pairs, pairs)

    # ------------------------------------------------------------------ days

    @cached_property
    def days_ago(self) -> IntArray:
        """Whole days from each interaction to the cut."""
        return np.minimum(self.age, _DAYS - 1).astype(np.int64)

    @cached_property
    def pair_days(self) -> tuple[IntArray, IntArray]:
        """Distinct days of each pair, the newest first: place in `pairs`, days ago."""
        return distinct_days(self.place, self.days_ago)

    @cached_property
    def visits(self) -> tuple[IntArray, IntArray]:
        """Distinct days of each shopper, the newest first: shopper, days ago."""
        return distinct_days(self.shopper, self.days_ago)

    def weights(self, days: float) -> sparse.csr_matrix:
        """Sum of exp(-age / days) for each shopper and item; float64, shape (shoppers, items)."""
        values = np.bincount(self.place, np.exp(-self.age / days), len(self.pairs))
        bounds = np.searchsorted(self.pairs, np.arange(self.shoppers + 1) * self.items)
        return sparse.csr_matrix((values, self.pair_item, bounds), shape=(self.shoppers, self.items))


def find(ordered: IntArray, wanted: IntArray) -> tuple[IntArray, BoolArray]:
    """Place of each wanted number among ordered ones, and whether it is there (else the place means nothing)."""
    if not len(ordered):
        return np.zeros(len(wanted), dtype=np.int64), np.zeros(len(wanted), dtype=bool)
    place = np.minimum(np.searchsorted(ordered, wanted), len(ordered) - 1)
    return place, ordered[place] == wanted


def distinct(numbers: IntArray) -> IntArray:
    """Distinct numbers, rising; by sorting, which for millions takes a fraction of the time of np.unique's hashing."""
    ordered = np.sort(numbers)
    return ordered[np.r_[True, ordered[1:] != ordered[:-1]]] if len(ordered) else ordered


def distinct_days(owner: IntArray, days_ago: IntArray) -> tuple[IntArray, IntArray]:
    """Distinct (owner, day), ordered by owner, then from the newest day to the oldest."""
    packed = distinct(owner * _DAYS + days_ago)
    return packed // _DAYS, packed % _DAYS


def gaps(owner: IntArray, days_ago: IntArray) -> tuple[IntArray, FloatArray]:
    """Days between an owner's neighbouring days (as `distinct_days` orders them): owner, gap; the newest first."""
    same = owner[1:] == owner[:-1]
    return owner[1:][same], (days_ago[1:] - days_ago[:-1])[same].astype(np.float64)


def medians(owner: IntArray, values: FloatArray, count: int) -> FloatArray:
    """Median of each owner's values; NaN where there is none; shape (count,)."""
    order = np.lexsort((values, owner))
    present, start, size = np.unique(owner[order], return_index=True, return_counts=True)
    ordered = values[order]
    found = np.full(count, np.nan)
    found[present] = (ordered[start + (size - 1) // 2] + ordered[start + size // 2]) / 2
    return found


def rank_within(owner: IntArray, values: npt.NDArray[np.floating]) -> FloatArray:
    """Rank (from 0) of each value among those of its owner, the highest first; owners must be ordered."""
    order = np.lexsort((-values, owner))
    starts = np.flatnonzero(np.r_[True, owner[1:] != owner[:-1]]) if len(owner) else np.zeros(0, np.int64)
    sizes = np.diff(np.r_[starts, len(owner)])
    ranks = np.empty(len(owner))
    ranks[order] = np.arange(len(owner)) - np.repeat(starts, sizes)
    return ranks


def _groups(dataset: Dataset, crosses: Sequence[tuple[str, str]]) -> dict[str, Groups]:
    found: dict[str, Groups] = {}
    for column in dataset.item_content:
        values = dataset.items[column]
        if column != PATH_COLUMN:
            found[column] = Groups.of(values)
            continue
        steps = values.astype("string").fillna("").str.split("/", n=_LEVELS - 1)
        for level in range(1, _LEVELS + 1):
            found[f"{column}_{level}"] = Groups.of(steps.str[:level].str.join("/"))
    for one, other in crosses:
        if one in found and other in found:
            found[f"{one}_{other}"] = found[one].crossed(found[other])
    return found


def _attributes(dataset: Dataset) -> dict[str, FloatArray]:
    """Numbers as they are; words by their place in the alphabet."""
    found: dict[str, FloatArray] = {}
    for column in dataset.lasting_attributes:
        values = dataset.shoppers[column]
        if pd.api.types.is_numeric_dtype(values.dtype):
            found[column] = values.to_numpy(np.float64, na_value=np.nan)
        else:
            code, _ = pd.factorize(values.astype("string"), sort=True)
            found[column] = np.where(code >= 0, code, np.nan)
    return found


def _promotions(dataset: Dataset, stores: pd.Index) -> Promotions | None:
    table = dataset.promotions
    if table is None or table.empty:
        return None
    item, store = _codes(table["item_id"], dataset.item_ids), _codes(table["store_id"], stores)
    known = (item >= 0) & (store >= 0)
    return Promotions(
        item=item[known],
        store=store[known],
        starts=_days_before(dataset.as_of, table["starts"])[known],
        ends=_days_before(dataset.as_of, table["ends"])[known],
        display=_advertised(table, "display")[known],
        mailer=_advertised(table, "mailer")[known],
    )


def _codes(values: pd.Series, index: pd.Index) -> IntArray:
    """Place of each value in the index, -1 where it is not there; each distinct value is looked up once."""
    words = values.astype("category").cat
    places = index.get_indexer(pd.Index(words.categories.astype(str), dtype=object))
    found: IntArray = np.append(places, -1)[words.codes.to_numpy(np.int64)].astype(np.int64)
    return found


def _days_before(moment: pd.Timestamp, times: pd.Series) -> FloatArray:
    days: FloatArray = ((moment - times).dt.total_seconds() / 86_400).to_numpy(np.float64)
    return days


def _advertised(table: pd.DataFrame, column: str) -> BoolArray:
    """Whether a place of display or in the mailer is named; "0" names none. Without either column every row counts."""
    if column not in table:
        return np.full(len(table), not {"display", "mailer"} & set(table.columns))
    words = table[column].astype("category").cat
    named = ~words.categories.astype(str).str.strip().str.lower().isin(["", "0", "0.0", "false", "nan"])
    found: BoolArray = np.append(named, False)[words.codes.to_numpy(np.int64)]
    return found
