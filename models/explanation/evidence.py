"""What the data tell about why an item may be shown to a shopper: one function for each kind of evidence.

Every result is sparse and grows with shoppers, items or purchases, never with shoppers × items.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field
from scipy import sparse

from features.engagement import VIEWS
from models.dataset import BoolArray, Dataset, FloatArray, IntArray
from models.purchases.profiles import baskets

_PAIRS = 200_000  # pairs of items whose shoppers are counted at a time
_CELLS = 20_000_000  # pairs of items whose baskets are counted at a time


class Rules(BaseModel):
    """When a reason counts as true."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recent_days: float = Field(90.0, gt=0, description="what lies so far back is recent")
    own_gaps: int = Field(2, ge=1, description="due: a shopper's own interval needs so many gaps between purchase days")
    item_gaps: int = Field(10, ge=1, description="due: else the item's interval, by so many gaps of all shoppers")
    lapsed: float = Field(3.0, gt=1, description="due: after so many intervals the shopper no longer buys it")
    together_baskets: int = Field(10, ge=2, description="goes with: baskets that hold both")
    together_shoppers: int = Field(3, ge=1, description="goes with: shoppers who bought both")
    lift: float = Field(2.0, ge=1, description="goes with: both in a basket so many times as often as by chance")
    partners: int = Field(20, ge=1, description="goes with: partners kept for an item, those of the highest lift")
    maker_purchases: int = Field(5, ge=1, description="maker: the shopper's purchases of the maker's goods")
    maker_share: float = Field(1.5, ge=1, description="maker: share of their purchases over that of all others'")
    new_days: float = Field(42.0, gt=0, description="new: first sold or first seen in the last so many days")
    category_purchases: int = Field(2, ge=1, description="new: the shopper's purchases in the item's category")
    store_items: int = Field(50, ge=1, description="popular in store: among so many best sold of late")
    store_purchases: int = Field(5, ge=1, description="popular in store: purchases of the item there of late")
    contents: int = Field(50, ge=1, description="watched: contents kept for a shopper, those watched last")


def entries(dataset: Dataset, history: sparse.csr_matrix) -> IntArray:
    """The place in `history` (sorted, one entry a shopper and item) of each interaction; shape (interactions,)."""
    width = history.shape[1]
    rows = np.repeat(np.arange(history.shape[0], dtype=np.int64), np.diff(history.indptr))
    places: IntArray = np.searchsorted(
        rows * width + history.indices, dataset.shopper_rows * width + dataset.item_rows
    ).astype(np.int64)
    return places


def last_age(dataset: Dataset, entry: IntArray, count: int) -> FloatArray:
    """Days since the last purchase of each entry; shape (count,)."""
    age = np.full(count, np.inf)
    np.minimum.at(age, entry, dataset.age_days)
    return age


def due(dataset: Dataset, history: sparse.csr_matrix, entry: IntArray, age: FloatArray, rules: Rules) -> BoolArray:
    """Whether each entry's item is due again for its shopper; shape (entries,).

    The interval is the median number of days between two purchase days in a row: the shopper's own for this item where
    there are `own_gaps` gaps, else that of all shoppers where there are `item_gaps`. Due: the last purchase lies one
    interval back or more, and no more than `lapsed` intervals.
    """
    day = dataset.interactions["event_time"].dt.floor("D").to_numpy("datetime64[D]").astype(np.int64)
    order = np.lexsort((day, entry))
    gap, same = np.diff(day[order]), np.diff(entry[order]) == 0
    kept = same & (gap > 0)
    owner = entry[order][1:][kept]
    own = _medians(owner, gap[kept], len(age), rules.own_gaps)
    item = _medians(history.indices[owner].astype(np.int64), gap[kept], history.shape[1], rules.item_gaps)
    interval = np.where(np.isnan(own), item[history.indices], own)
    found: BoolArray = (age >= interval) & (age <= rules.lapsed * interval)
    return found


def _medians(group: IntArray, value: IntArray, groups: int, least: int) -> FloatArray:
    """Median of each group with at least `least` values, else NaN; shape (groups,)."""
    value = value[np.lexsort((value, group))].astype(np.float64)
    sizes = np.bincount(group, minlength=groups)
    medians = np.full(groups, np.nan)
    chosen = np.flatnonzero(sizes >= least)
    starts = (np.cumsum(sizes) - sizes)[chosen]
    medians[chosen] = (value[starts + (sizes[chosen] - 1) // 2] + value[starts + sizes[chosen] // 2]) / 2
    return medians


def partners(dataset: Dataset, history: sparse.csr_matrix, rules: Rules) -> sparse.csr_matrix:
    """Lift of the items that go with each item: n(both) × n(baskets) / (n(one) × n(other)); shape (items, items)."""
    number = baskets(dataset)
    usable = dataset.recommendable[dataset.item_rows]
    shape = (int(number.max()) + 1, len(dataset.items))
    ones = np.ones(int(usable.sum()), np.float32)
    held = sparse.coo_matrix((ones, (number[usable], dataset.item_rows[usable])), shape=shape).tocsr()
    held.data[:] = 1.0
    single = np.asarray(held.sum(axis=0), dtype=np.float64).ravel()
    often = np.flatnonzero(single >= rules.together_baskets)
    rows, columns, lifts = _together(held[:, often], single[often], rules)
    rows, columns = often[rows], often[columns]
    shared = _shoppers_of_both(history, rows, columns) >= rules.together_shoppers
    rows, columns, lifts = rows[shared], columns[shared], lifts[shared]
    order = np.lexsort((columns, -lifts, rows))
    rows, columns, lifts = rows[order], columns[order], lifts[order]
    kept = np.arange(len(rows)) - np.searchsorted(rows, rows) < rules.partners
    square = (len(dataset.items), len(dataset.items))
    return sparse.coo_matrix((lifts[kept], (rows[kept], columns[kept])), shape=square).tocsr()


def _together(held: sparse.csr_matrix, single: FloatArray, rules: Rules) -> tuple[IntArray, IntArray, FloatArray]:
    """Pairs of items that are in one basket often enough, and more often than by chance: both columns, and the lift."""
    width = held.shape[1]
    by_item = held.T.tocsr()
    found: list[tuple[IntArray, IntArray, FloatArray]] = []
    step = max(1, _CELLS // max(1, width))
    for start in range(0, width, step):
        both = (by_item[start : start + step] @ held).tocoo()
        rows, columns = both.row.astype(np.int64) + start, both.col.astype(np.int64)
        lift = both.data.astype(np.float64) * held.shape[0] / (single[rows] * single[columns])
        kept = (both.data >= rules.together_baskets) & (lift >= rules.lift) & (rows != columns)
        found.append((rows[kept], columns[kept], lift[kept]))
    if not found:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    rows, columns, lift = (np.concatenate(part) for part in zip(*found, strict=True))
    return rows, columns, lift


def _shoppers_of_both(history: sparse.csr_matrix, rows: IntArray, columns: IntArray) -> IntArray:
    """How many shoppers bought both items of each pair; shape (pairs,)."""
    bought = history.astype(np.int32).T.tocsr()
    parts = [np.zeros(0, np.int64)]
    for start in range(0, len(rows), _PAIRS):
        both = bought[rows[start : start + _PAIRS]].multiply(bought[columns[start : start + _PAIRS]])
        parts.append(np.asarray(both.sum(axis=1), dtype=np.int64).ravel())
    return np.concatenate(parts)


def codes(column: pd.Series | None, rows: int) -> tuple[npt.NDArray[np.int32], list[str]]:
    """Number of each row's value (-1: none known), and the values by number."""
    if column is None:
        return np.full(rows, -1, np.int32), []
    numbers, names = pd.factorize(column.astype("string"), sort=True)
    return numbers.astype(np.int32), [str(name) for name in names]


def purchases_by(dataset: Dataset, of_item: npt.NDArray[np.int32], groups: int) -> sparse.csr_matrix:
    """Interactions of each shopper with the items of each group (-1: none); float64, shape (shoppers, groups)."""
    group = of_item[dataset.item_rows]
    known = group >= 0
    shape = (len(dataset.shoppers), groups)
    ones = np.ones(int(known.sum()))
    return sparse.coo_matrix((ones, (dataset.shopper_rows[known], group[known])), shape=shape).tocsr()


def liked_makers(dataset: Dataset, counts: sparse.csr_matrix, rules: Rules) -> sparse.csr_matrix:
    """Makers that a shopper buys often, and more than all others do; `counts` by shopper and maker. Bool."""
    pairs = counts.tocoo()
    own = np.bincount(dataset.shopper_rows, minlength=counts.shape[0]).astype(np.float64)
    makers = np.asarray(counts.sum(axis=0)).ravel()
    others = own.sum() - own[pairs.row]
    # share of mine >= maker_share × share of others', without dividing; nobody else: nothing to compare with
    more = pairs.data * others >= rules.maker_share * (makers[pairs.col] - pairs.data) * own[pairs.row]
    return _pattern(pairs, more & (others > 0) & (pairs.data >= rules.maker_purchases))


def often(counts: sparse.csr_matrix, least: int) -> sparse.csr_matrix:
    """Where a count is at least `least`; bool, the same shape."""
    pairs = counts.tocoo()
    return _pattern(pairs, pairs.data >= least)


def _pattern(pairs: sparse.coo_matrix, kept: BoolArray) -> sparse.csr_matrix:
    ones = np.ones(int(kept.sum()), dtype=bool)
    return sparse.coo_matrix((ones, (pairs.row[kept], pairs.col[kept])), shape=pairs.shape).tocsr()


def new_items(dataset: Dataset, rules: Rules) -> BoolArray:
    """Items first sold, or by the catalogue first seen, in the last `new_days`; shape (items,).

    An item without `first_seen` counts as new only where the data reach as far back before its first sale: else it may
    have been on sale all along.
    """
    rows = dataset.item_rows
    sold = np.full(len(dataset.items), np.nan)
    np.fmax.at(sold, rows, dataset.age_days)
    reach = float(dataset.age_days.max())
    new: BoolArray = (sold <= rules.new_days) & (sold <= reach - rules.new_days)
    if "first_seen" in dataset.items.columns:
        seen = pd.to_datetime(dataset.items["first_seen"], utc=True)
        age = (dataset.as_of - seen).dt.total_seconds().to_numpy(np.float64) / 86_400
        known = age > 0  # a first sight that is still to come tells nothing
        new[known] = np.fmax(age, sold)[known] <= rules.new_days  # whichever came first
    return new


def stores(dataset: Dataset, rules: Rules) -> tuple[npt.NDArray[np.int32], sparse.csr_matrix, list[str]]:
    """Each shopper's store (-1: none), the best sold items of each store of late (bool), and the stores' names.

    A shopper's store is the one they bought in on most days; of equals the first by name.
    """
    column = dataset.interactions["store_id"] if "store_id" in dataset.interactions.columns else None
    store, names = codes(column, len(dataset.interactions))
    shape = (len(names), len(dataset.items))
    main = np.full(len(dataset.shoppers), -1, np.int32)
    if not names:
        return main, sparse.csr_matrix(shape, dtype=bool), names
    known = store >= 0
    day = dataset.interactions["event_time"].dt.floor("D")
    visits = pd.DataFrame({"shopper": dataset.shopper_rows, "store": store, "day": day})[known].drop_duplicates()
    days = visits.groupby(["shopper", "store"], as_index=False).size()
    first = days.sort_values(["shopper", "size", "store"], ascending=[True, False, True]).drop_duplicates("shopper")
    main[first["shopper"].to_numpy()] = first["store"].to_numpy()
    late = known & (dataset.age_days <= rules.recent_days) & dataset.recommendable[dataset.item_rows]
    ones = np.ones(int(late.sum()))
    counts = sparse.coo_matrix((ones, (store[late], dataset.item_rows[late])), shape=shape).tocsr().tocoo()
    order = np.lexsort((counts.col, -counts.data, counts.row))
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order)) - np.searchsorted(counts.row[order], counts.row[order])
    return main, _pattern(counts, (place < rules.store_items) & (counts.data >= rules.store_purchases)), names


def watched(dataset: Dataset, rules: Rules) -> tuple[sparse.csr_matrix, sparse.csr_matrix, list[str]]:
    """What each shopper watched of late, which items each content is linked to, and the contents' names.

    Returns:
        shoppers × contents: 1 for the content watched first, 2 for the next …, the last `rules.contents` of each; of
        contents watched at one moment the order is that of their ids. contents × items: the weight of the strongest
        link. The contents' ids.
    """
    if not dataset.knows_contents:
        nothing = sparse.csr_matrix((len(dataset.shoppers), 0), dtype=np.int32)
        return nothing, sparse.csr_matrix((0, len(dataset.items)), dtype=np.float32), []
    table: Any = dataset.watched
    age = (dataset.as_of - table["event_time"]).dt.total_seconds() / 86_400
    # A like may be given to a title: it tells of an interest, not that the content was watched.
    table = table[(age <= rules.recent_days) & table["event_type"].isin(VIEWS)]
    table = table.sort_values(["event_time", "content_id"], kind="stable")
    table = table.drop_duplicates(["shopper_id", "content_id"], keep="last").groupby("shopper_id").tail(rules.contents)
    names = sorted(map(str, table["content_id"].unique()))
    rows = dataset.shopper_ids.get_indexer(pd.Index(table["shopper_id"].astype(str), dtype=object))
    columns = pd.Index(names, dtype=object).get_indexer(pd.Index(table["content_id"].astype(str), dtype=object))
    order = table.groupby("shopper_id").cumcount().to_numpy(np.int32) + 1
    seen = sparse.coo_matrix((order, (rows, columns)), shape=(len(dataset.shoppers), len(names))).tocsr()
    strongest = dataset.content_links.groupby(["content_id", "item_id"], as_index=False)["weight"].max()
    content = pd.Index(names, dtype=object).get_indexer(pd.Index(strongest["content_id"].astype(str), dtype=object))
    item = dataset.item_ids.get_indexer(pd.Index(strongest["item_id"], dtype=object))
    cells = (strongest["weight"].to_numpy(np.float32)[content >= 0], (content[content >= 0], item[content >= 0]))
    return seen, sparse.coo_matrix(cells, shape=(len(names), len(dataset.items))).tocsr(), names
