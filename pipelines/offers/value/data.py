"""What the value model learns from, read once from the lake: visits, purchases, showings, random draws, interests.

Ids become numbers and times whole seconds, so that "how often before this moment" is one search in a sorted array.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
import polars as pl
from scipy import sparse

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

DAY = 86_400
HISTORY_DAYS = 400
"""Older events are not read."""
VISIT_GAP = 2 * 3_600
"""Seconds without an event after which a shopper's next event in a store is another visit."""
PLACEMENTS = ("entrance", "aisle", "checkout", "phone")
_SHOWN, _DRAWN = ("impression",), ("promotion_offered", "promotion_not_offered")
_LOOKED, _TAKEN = ("view", "click", "add_to_cart"), ("click", "add_to_cart")
_ATTRIBUTES = {"discount": pl.Float64, "propensity": pl.Float64, "screen_id": pl.String, "coupon_disc": pl.Float64}


class Tables(Protocol):
    """What is read: a lake, or anything that gives the same tables."""

    def has(self, table: str) -> bool:
        """Whether there is such a table."""
        ...

    def scan(self, table: str) -> pl.LazyFrame:
        """A table with at least its contract's columns."""
        ...


@dataclass(frozen=True)
class Events:
    """Events of one kind in the order of their times: arrays of one length, numbers for ids, -1 for an unknown one.

    `visit` is a row of `Visits`. `extra` holds what only this kind has.
    """

    shopper: Ints
    item: Ints
    time: Ints
    visit: Ints
    extra: dict[str, Floats]

    def __len__(self) -> int:
        """How many there are."""
        return len(self.time)

    def take(self, rows: npt.NDArray[Any]) -> Events:
        """Some of them."""
        some = {name: values[rows] for name, values in self.extra.items()}
        return Events(self.shopper[rows], self.item[rows], self.time[rows], self.visit[rows], some)


@dataclass(frozen=True)
class Visits:
    """Who came when and where, in the order of the times; `start` is the time of the first event."""

    shopper: Ints
    start: Ints
    store: Ints

    def __len__(self) -> int:
        """How many there are."""
        return len(self.start)


@dataclass(frozen=True)
class ValueData:
    """All that is known before a moment.

    Attributes:
        shopper_ids, item_ids, store_ids: by number.
        moment: seconds since 1970; every event lies before it.
        price, cost: of an item, major units; NaN: not known.
        category: number of the item's category; those of items without a category, if there are any, is the last.
        category_names, place_names: what the numbers of categories ("": none) and of neighbourhoods stand for.
        tags: items x words: a word that it shares with contents, each with 1 / number of them.
        launched: seconds at which an item was first seen; the lowest number where nobody said.
        usual_store: home store of a shopper, by its statement, else where most of its visits were; -1: none.
        home: its neighbourhood: that of the home store, which is one by itself where it names none; -1: none.
        visits: all of them.
        purchases: extra `units`, `price` (paid for one), `off` (1: a discount was on it).
        showings: impressions; extra `position` (from 1), `placement` (of PLACEMENTS, -1), `discount`.
        draws: random offers; extra `offered` (1 or 0), `propensity` (of what happened), `discount`.
        looks: goods looked at in the app, one for each shopper, item and session; extra `taken` (1: it was clicked or
            put into a cart).
        interests: contents watched, by word; `item` is the word's number; extra `weight`.
        displays: (store, item, start, end) of advertising in stores.
    """

    shopper_ids: pd.Index
    item_ids: pd.Index
    store_ids: pd.Index
    moment: int
    price: Floats
    cost: Floats
    category: Ints
    category_names: tuple[str, ...]
    tags: sparse.csr_matrix
    place_names: tuple[str, ...]
    launched: Ints
    usual_store: Ints
    home: Ints
    visits: Visits
    purchases: Events
    showings: Events
    draws: Events
    looks: Events
    interests: Events
    displays: Ints

    def before(self, moment: int) -> ValueData:
        """What was known of the same shop at an earlier moment, under the same numbers."""

        def earlier(events: Events) -> Events:
            return events.take(np.flatnonzero(events.time < moment))

        kept = int(np.searchsorted(self.visits.start, moment))
        visits = Visits(self.visits.shopper[:kept], self.visits.start[:kept], self.visits.store[:kept])
        return replace(
            self,
            moment=moment,
            visits=visits,
            purchases=_of_visits(earlier(self.purchases), kept),
            showings=_of_visits(earlier(self.showings), kept),
            draws=_of_visits(earlier(self.draws), kept),
            looks=earlier(self.looks),
            interests=earlier(self.interests),
            displays=self.displays[self.displays[:, 2] < moment],
        )

    @property
    def categories(self) -> int:
        """How many categories there are, with the one of items that have none."""
        return int(self.category.max(initial=0)) + 1


Counts = Callable[[pl.DataFrame], pl.DataFrame]
"""Takes interactions of one kind and gives those that count."""


def read_value_data(tables: Tables, before: datetime, *, counts: Counts | None = None) -> ValueData | None:
    """Read what is known before a moment.

    Args:
        tables: the lake.
        before: nothing of this moment or later is read.
        counts: which purchases and looks count; None: all.

    Returns:
        None where nothing was ever shown at random or logged as shown, or nothing was bought: nothing can be learned.
    """
    since = pl.lit(before).dt.offset_by(f"-{HISTORY_DAYS}d")
    rows = _with_attributes(tables.scan("interactions"))
    rows = rows.filter(pl.col("event_time") < before, pl.col("event_time") >= since)
    columns = ["shopper_id", "item_id", "store_id", "campaign_id", "event_type", "event_time", "position", *_ATTRIBUTES]
    shown = rows.filter(pl.col("event_type").is_in([*_SHOWN, *_DRAWN])).select(columns).collect()
    if not shown.height:
        return None
    sold = rows.filter(pl.col("event_type") == "purchase")
    bought = sold.select("shopper_id", "item_id", "store_id", "event_time", "quantity", "price", "coupon_disc",
                         "campaign_id", "event_type", "order_id").collect()  # fmt: skip
    bought = bought if counts is None else counts(bought)
    if not bought.height:
        return None
    inspected = rows.filter(pl.col("event_type").is_in(_LOOKED))
    taken = pl.col("event_type").is_in(_TAKEN).alias("taken")
    looked = inspected.select("shopper_id", "item_id", "event_time", "event_type", "order_id", taken).collect()
    looked = looked if counts is None else counts(looked)
    items = tables.scan("items").select("item_id", "price", "cost", "category", "tags", "first_seen").collect()
    items = items.join(bought.select("item_id").unique(), on="item_id", how="full", coalesce=True).sort("item_id")
    people = pl.concat([bought["shopper_id"], shown["shopper_id"]]).unique().sort()
    places = pl.concat([bought["store_id"], shown["store_id"]]).drop_nulls().unique().sort()
    ids = {name: pd.Index(series.to_numpy()) for name, series in
           (("shopper_id", people), ("item_id", items["item_id"]), ("store_id", places))}  # fmt: skip
    everything = pl.concat([
        frame.select("shopper_id", "store_id", _seconds("event_time").alias("time")) for frame in (bought, shown)
    ])  # fmt: skip
    visits, visit = _visits(_codes(everything, "shopper_id", ids), _codes(everything, "store_id", ids),
                            everything["time"].to_numpy())  # fmt: skip
    of_bought, of_shown = visit[: bought.height], visit[bought.height :]
    depth = _depths(tables, shown)
    kind = shown["event_type"].to_numpy()
    placement = _placements(tables, shown)
    told = {
        "position": shown["position"].fill_null(1).to_numpy().astype(np.float64),
        "placement": placement,
        "discount": depth,
        "offered": (kind == _DRAWN[0]).astype(np.float64),
        "propensity": shown["propensity"].cast(pl.Float64).to_numpy().astype(np.float64),
    }
    whole = _events(shown, ids, of_shown, told)
    words, tags = _words(tables, items)
    off = (bought["coupon_disc"].fill_null(0.0) > 0) | bought["campaign_id"].is_not_null()
    sales = {
        "units": bought["quantity"].fill_null(1.0).to_numpy().astype(np.float64),
        "price": bought["price"].cast(pl.Float64).to_numpy().astype(np.float64),
        "off": off.to_numpy().astype(np.float64),
    }
    kept = _events(bought, ids, of_bought, sales)
    names, category = np.unique(items["category"].fill_null("").to_numpy().astype(str), return_inverse=True)
    none = names == ""
    place_names, place = _neighbourhoods(tables, ids)
    number = np.where(none[category], len(names) - 1, category - int(none.any()))
    start = pl.col("first_seen").dt.epoch("s").fill_null(np.iinfo(np.int64).min // 2)
    return ValueData(
        shopper_ids=ids["shopper_id"],
        item_ids=ids["item_id"],
        store_ids=ids["store_id"],
        moment=int(before.timestamp()),
        price=items["price"].cast(pl.Float64).to_numpy().astype(np.float64),
        cost=items["cost"].cast(pl.Float64).to_numpy().astype(np.float64),
        category=number.astype(np.int64),
        category_names=(*names[~none].tolist(), *names[none].tolist()),
        tags=tags,
        place_names=place_names,
        launched=items.select(start)["first_seen"].to_numpy().astype(np.int64),
        usual_store=(usual := _homes(tables, visits, ids)),
        home=np.r_[place, -1][usual],
        visits=visits,
        purchases=_in_order(kept.take(kept.item >= 0)),
        showings=_in_order(whole.take((kind == _SHOWN[0]) & (whole.item >= 0))),
        draws=_in_order(whole.take(np.isin(kind, _DRAWN) & (whole.item >= 0))),
        looks=_looks(looked, ids),
        interests=_interests(tables, before, since, ids, words),
        displays=_displays(tables, before, ids),
    )


def _of_visits(events: Events, visits: int) -> Events:
    return events.take(np.flatnonzero(events.visit < visits))


def _with_attributes(rows: pl.LazyFrame) -> pl.LazyFrame:
    known = rows.collect_schema().names()
    return rows.with_columns(
        pl.col(name).cast(kind, strict=False) if name in known else pl.lit(None, kind).alias(name)
        for name, kind in _ATTRIBUTES.items()
    )


def _looks(rows: pl.DataFrame, ids: dict[str, pd.Index]) -> Events:
    """One look for all that a shopper did with an item without a long break, at the time of the last of it."""
    shopper, item = _codes(rows, "shopper_id", ids), _codes(rows, "item_id", ids)
    time = rows.select(_seconds("event_time"))["event_time"].to_numpy().astype(np.int64)
    taken = rows["taken"].to_numpy().astype(np.float64)
    known = np.flatnonzero((shopper >= 0) & (item >= 0))
    order = known[np.lexsort((time[known], item[known], shopper[known]))]
    shopper, item, time, taken = shopper[order], item[order], time[order], taken[order]
    begins = (np.diff(shopper) != 0) | (np.diff(item) != 0) | (np.diff(time) > VISIT_GAP)
    first = np.flatnonzero(np.r_[True, begins][: len(order)])
    taken = np.maximum.reduceat(taken, first) if len(first) else taken
    time = time[np.r_[first[1:], len(order)] - 1] if len(first) else time
    return _in_order(Events(shopper[first], item[first], time, np.full(len(first), -1), {"taken": taken}))


def _seconds(name: str) -> pl.Expr:
    return pl.col(name).dt.epoch("s")


def _codes(frame: pl.DataFrame, name: str, ids: dict[str, pd.Index]) -> Ints:
    series = frame[name]
    known = pl.DataFrame({name: pl.Series(ids[name].to_numpy(), dtype=pl.String)}).with_row_index("code")
    found = pl.DataFrame({name: series}).join(known, on=name, how="left", maintain_order="left")["code"]
    return found.cast(pl.Int64).fill_null(-1).to_numpy().astype(np.int64)


def _events(frame: pl.DataFrame, ids: dict[str, pd.Index], visit: Ints, extra: dict[str, Floats]) -> Events:
    seconds = frame.select(_seconds("event_time"))["event_time"].to_numpy().astype(np.int64)
    return Events(_codes(frame, "shopper_id", ids), _codes(frame, "item_id", ids), seconds, visit, extra)


def _in_order(events: Events) -> Events:
    return events.take(np.lexsort((events.item, events.shopper, events.time)))


def _visits(shopper: Ints, store: Ints, time: Ints) -> tuple[Visits, Ints]:
    """Cut each shopper's events at gaps; the visit of each event, visits in the order of their starts."""
    order = np.lexsort((time, shopper))
    new = np.r_[True, (np.diff(shopper[order]) != 0) | (np.diff(time[order]) > VISIT_GAP)]
    first = order[new]
    number = np.empty(len(order), np.int64)
    number[order] = np.cumsum(new) - 1
    by_time = np.lexsort((shopper[first], time[first]))
    rank = np.empty(len(first), np.int64)
    rank[by_time] = np.arange(len(first))
    sorted_first = first[by_time]
    return Visits(shopper[sorted_first], time[sorted_first], store[sorted_first]), rank[number]


def _depths(tables: Tables, shown: pl.DataFrame) -> Floats:
    """The discount of each showing: as it was told, else by its campaign's offer of the item, else none."""
    offers = tables.scan("offers").select("campaign_id", "item_id", "discount").drop_nulls()
    offers = offers.group_by("campaign_id", "item_id").agg(pl.col("discount").max().alias("_offered"))
    joined = shown.lazy().join(offers, on=["campaign_id", "item_id"], how="left", maintain_order="left")
    depth = joined.select(pl.coalesce("discount", "_offered").fill_null(0.0).clip(0.0, 0.95)).collect()
    return depth.to_series().to_numpy().astype(np.float64)


def _placements(tables: Tables, shown: pl.DataFrame) -> Floats:
    screens = tables.scan("screens").select("screen_id", "placement").unique("screen_id")
    joined = shown.lazy().join(screens, on="screen_id", how="left", maintain_order="left").select("placement").collect()
    codes = joined["placement"].replace_strict(
        list(PLACEMENTS), range(len(PLACEMENTS)), default=-1, return_dtype=pl.Int64
    )
    return codes.fill_null(-1).to_numpy().astype(np.float64)


def _words(tables: Tables, items: pl.DataFrame) -> tuple[pl.DataFrame, sparse.csr_matrix]:
    """Words that contents and items share (tags, roots of categories), and which item has which."""
    of_items = items.with_row_index("row").select(
        pl.col("row").cast(pl.Int64), pl.col("tags").fill_null("").str.to_lowercase().str.split("|").alias("word")
    ).explode("word").filter(pl.col("word") != "").unique()  # fmt: skip
    told = pl.DataFrame(schema={"word": pl.String})
    if tables.has("contents"):
        tags = pl.col("tags").fill_null("").str.to_lowercase().str.split("|").alias("word")
        told = tables.scan("contents").select(tags).explode("word").unique().collect()
    words = of_items.select("word").unique().join(told, on="word").sort("word").with_row_index("code")
    pairs = of_items.join(words, on="word")
    shape = (items.height, max(1, words.height))
    table = sparse.csr_matrix(
        (np.ones(pairs.height), (pairs["row"].to_numpy(), pairs["code"].to_numpy().astype(np.int64))), shape=shape
    )
    return words, table


def _interests(
    tables: Tables, before: datetime, since: pl.Expr, ids: dict[str, pd.Index], words: pl.DataFrame
) -> Events:
    """What was watched, by word; a view counts 1, each other reaction as well."""
    empty = np.zeros(0, np.int64)
    if not words.height or not tables.has("content_views"):
        return Events(empty, empty, empty, empty, {"weight": np.zeros(0)})
    tags = pl.col("tags").fill_null("").str.to_lowercase().str.split("|").alias("word")
    contents = tables.scan("contents").select("content_id", tags).explode("word").join(words.lazy(), on="word")
    seen = tables.scan("content_views").filter(pl.col("event_time") < before, pl.col("event_time") >= since)
    rows = seen.select("shopper_id", "content_id", _seconds("event_time").alias("time")).join(contents, on="content_id")
    frame = (
        rows.select("shopper_id", "time", pl.col("code").cast(pl.Int64)).sort("time", "shopper_id", "code").collect()
    )
    shopper = _codes(frame, "shopper_id", ids)
    events = Events(shopper, frame["code"].to_numpy(), frame["time"].to_numpy(), np.full(len(shopper), -1),
                    {"weight": np.ones(len(shopper))})  # fmt: skip
    return events.take(shopper >= 0)


def _homes(tables: Tables, visits: Visits, ids: dict[str, pd.Index]) -> Ints:
    """Home store of each shopper: by its statement, else where most of its visits were, of equals the first."""
    stores = max(1, len(ids["store_id"]))
    home = np.full(len(ids["shopper_id"]), -1, np.int64)
    placed = visits.store >= 0
    pair, count = np.unique(visits.shopper[placed] * stores + visits.store[placed], return_counts=True)
    order = np.lexsort((-pair, count))  # the last written wins
    home[pair[order] // stores] = pair[order] % stores
    stated = tables.scan("shoppers").select("shopper_id", pl.col("home_store_id").alias("store_id")).drop_nulls()
    frame = stated.collect()
    who, where = _codes(frame, "shopper_id", ids), _codes(frame, "store_id", ids)
    known = (who >= 0) & (where >= 0)
    home[who[known]] = where[known]
    return home


def _neighbourhoods(tables: Tables, ids: dict[str, pd.Index]) -> tuple[tuple[str, ...], Ints]:
    """Their names, and the number of each store's."""
    named = tables.scan("stores").select("store_id", "neighbourhood").drop_nulls().collect()
    name = dict(zip(named["store_id"], named["neighbourhood"], strict=True))
    labels = np.array([name.get(store, f"store {store}") for store in ids["store_id"]], dtype=str)
    names, place = np.unique(labels, return_inverse=True)
    return tuple(names.tolist()), place.astype(np.int64)


def _displays(tables: Tables, before: datetime, ids: dict[str, pd.Index]) -> Ints:
    """Advertising in stores that began before the moment: store, item, start, end."""
    frame = tables.scan("promotions").filter(pl.col("starts") < before).select(
        "store_id", "item_id", _seconds("starts"), _seconds("ends")
    ).collect()  # fmt: skip
    table = np.stack([
        _codes(frame, "store_id", ids), _codes(frame, "item_id", ids),
        frame["starts"].to_numpy(), frame["ends"].to_numpy(),
    ], axis=1).astype(np.int64)  # fmt: skip
    return table[(table[:, 0] >= 0) & (table[:, 1] >= 0)]
