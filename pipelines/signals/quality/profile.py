"""What the data looks like, in numbers: by day, store, item and column. No shopper's id is in it.

Every number is a count or can be had from counts, so profiles of parts add up; queries are lazy and stream, and look at
single rows only of the days that are judged and those they are compared with. docs/data-quality.md says what carries it
further.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
from pydantic import BaseModel, ConfigDict

from configs.quality import QualityRules
from pipelines.signals.contract.tables import TABLES
from pipelines.signals.quality.arrivals import Tables, arrived, quarantine_counts
from pipelines.signals.quality.statistics import EDGES

PURCHASE = "purchase"
# Numbers whose distribution is watched, by table.
NUMBERS = {
    "interactions": ("price", "quantity"),
    "content_views": ("dwell_seconds",),
    "reviews": ("rating",),
}
_VALUES = 40  # of a column with names: the others count together
OTHERS = "(others)"
_DUPLICATE_DAYS = 28
_YOUNG_DAYS = 7
# Two rows that are equal in these, and differ in their ids, are one event told twice.
_EQUAL = ("shopper_id", "item_id", "event_type", "event_time", "store_id", "quantity", "price")
_META, _VOLUMES, _ITEMS = "profile.json", "volumes.parquet", "items.parquet"
ITEM_COLUMNS = {"item_id": pl.String, "price": pl.Float64, "currency": pl.String, "category": pl.String}


class Columns(BaseModel):
    """One table as a whole: its rows, and how many of them have no value, by column."""

    model_config = ConfigDict(frozen=True)
    rows: int
    missing: dict[str, int]


class Span(BaseModel):
    """Days from `first` to `last`, both included."""

    model_config = ConfigDict(frozen=True)
    first: date
    last: date

    @property
    def days(self) -> int:
        """How many days it has."""
        return (self.last - self.first).days + 1


class Meta(BaseModel):
    """The part of a profile that is not a table."""

    model_config = ConfigDict(frozen=True)
    at: datetime  # when it was made
    lake: str  # fingerprint of the rows
    signal: str | None  # the event type whose days are judged: purchase where there is any
    window: Span | None  # the days that are judged; none: there is nothing
    before: Span | None  # the days that they are compared with; none: there are none before
    latest: datetime | None  # the newest event
    columns: dict[str, Columns]


@dataclass(frozen=True)
class Profile:
    """What the data looks like.

    Attributes:
        meta: facts of the whole.
        volumes: table, event_type (null where the table has none), day, rows; all days.
        days: day, rows, visits (shoppers of that day), young_items, young_shoppers (rows of those first seen that
            week), compared, distinct (rows looked at for duplicates, and different ones among them), and for each
            interactions column `missing_<column>`; the recent days, as all that follow.
        hours: day, hour, rows.
        stores: store_id, day, rows, visits, priced, level (median log of price over the item's usual), wild (rows).
        numbers: table, column, day, cell (of `statistics.EDGES`), rows.
        values: column, value, before, now (rows).
        items: item_id, price, currency, category, before, now (rows), usual (median price paid).
        quarantine: table, reason (without values), rows, fresh (those that came since the last accepted run).
        arrived: rows of each table that came since then.
    """

    meta: Meta
    volumes: pl.DataFrame
    days: pl.DataFrame
    hours: pl.DataFrame
    stores: pl.DataFrame
    numbers: pl.DataFrame
    values: pl.DataFrame
    items: pl.DataFrame
    quarantine: pl.DataFrame
    arrived: dict[str, int]

    def save(self, folder: Path) -> None:
        """Write what later runs are compared with: facts, volumes and items."""
        (folder / _META).write_text(self.meta.model_dump_json(indent=1))
        self.volumes.write_parquet(folder / _VOLUMES)
        self.items.select(*ITEM_COLUMNS, rows=pl.col("before") + pl.col("now")).write_parquet(folder / _ITEMS)


@dataclass(frozen=True)
class Accepted:
    """The profile of the last run that a person or the gate saw to its end, and what was accepted with it.

    Attributes:
        meta, volumes: as in Profile.
        items: item_id, price, currency, category, rows.
        at: when it was accepted.
        changes: the day from which a finding's subject is a new normal, by the finding's code.
        silent: stores that are known to be silent, and since when.
    """

    meta: Meta
    volumes: pl.DataFrame
    items: pl.DataFrame
    at: datetime
    changes: Mapping[str, date]
    silent: Mapping[str, date]


def read_items(folder: Path) -> pl.DataFrame:
    """The catalogue of a saved profile: item_id, price, currency, category, rows."""
    return pl.read_parquet(folder / _ITEMS)


def load_accepted(folder: Path, *, at: datetime, changes: Mapping[str, date], silent: Mapping[str, date]) -> Accepted:
    """Read what `Profile.save` wrote."""
    return Accepted(
        Meta.model_validate_json((folder / _META).read_text()),
        pl.read_parquet(folder / _VOLUMES),
        read_items(folder),
        at,
        dict(changes),
        dict(silent),
    )


def profile(
    tables: Tables,
    rules: QualityRules,
    *,
    accepted: Accepted | None,
    quarantine: pl.DataFrame,
    lake: str,
    at: datetime,
) -> Profile:
    """Look at all tables once.

    Args:
        tables: what is there now.
        rules: how many days are judged and compared with.
        accepted: the last accepted run; the days after it are judged.
        quarantine: table, reason, row, at.
        lake: the rows' fingerprint.
        at: now.
    """
    volumes = _volumes(tables)
    signal = _signal(volumes)
    window, before = _spans(volumes, signal, rules, accepted)
    meta = Meta(
        at=at,
        lake=lake,
        signal=signal,
        window=window,
        before=before,
        latest=_latest(tables),
        columns={name: _columns(tables, name) for name in tables.tables()},
    )
    prices = (accepted.changes.get("price_level") if accepted else None) or date.min
    since = accepted.meta.at if accepted else None
    looked = _recent(tables, signal, window, before, prices, rules.wild_factor)
    return Profile(
        meta=meta,
        volumes=volumes,
        quarantine=quarantine_counts(quarantine, since),
        arrived=arrived(tables, since),
        **looked,
    )


def _volumes(tables: Tables) -> pl.DataFrame:
    schema = pl.Schema({"table": pl.String(), "event_type": pl.String(), "day": pl.Date(), "rows": pl.UInt32()})
    counts = []
    for name in tables.tables():
        if TABLES[name].column("event_time") is None:
            continue
        kind = pl.col("event_type") if TABLES[name].column("event_type") else pl.lit(None, pl.String)
        day = pl.col("event_time").dt.date().alias("day")
        query = tables.scan(name).group_by(kind.alias("event_type"), day).agg(pl.len().alias("rows"))
        counts.append(query.select(pl.lit(name).alias("table"), "event_type", "day", "rows"))
    done = pl.collect_all(counts, engine="streaming") if counts else []
    return pl.concat([pl.DataFrame(schema=schema), *(frame.cast(schema) for frame in done)]).sort(
        "table", "event_type", "day"
    )


def _signal(volumes: pl.DataFrame) -> str | None:
    kinds = volumes.filter(pl.col("table") == "interactions").group_by("event_type").agg(pl.col("rows").sum())
    if kinds.is_empty():
        return None
    if PURCHASE in kinds["event_type"]:
        return PURCHASE
    return str(kinds.sort("rows", "event_type", descending=True)["event_type"][0])


def _spans(
    volumes: pl.DataFrame, signal: str | None, rules: QualityRules, accepted: Accepted | None
) -> tuple[Span | None, Span | None]:
    """The days that are new since the last accepted run, else the last days; and those before."""
    days = volumes.filter(pl.col("table") == "interactions", pl.col("event_type").eq_missing(pl.lit(signal)))["day"]
    if days.is_empty():
        return None, None
    earliest, last = days.min(), days.max()
    assert isinstance(earliest, date) and isinstance(last, date)
    first = last - timedelta(days=rules.window_days - 1)
    known = accepted.meta.window if accepted else None
    if known is not None and known.last < last:
        # The last accepted day may have been half a day: it is new, too.
        first = max(known.last, last - timedelta(days=rules.window_days_most - 1))
    start = max(earliest, first - timedelta(days=rules.reference_days))
    end = first - timedelta(days=1)
    return Span(first=max(first, earliest), last=last), Span(first=start, last=end) if start <= end else None


def _latest(tables: Tables) -> datetime | None:
    newest = tables.scan("interactions").select(pl.col("event_time").max()).collect().item()
    return newest.astimezone(UTC) if isinstance(newest, datetime) else None


def _columns(tables: Tables, name: str) -> Columns:
    rows, missing = tables.missing(name)
    known = {column: missing.get(column, rows) for column in (*TABLES[name].names, *missing)}
    return Columns(rows=rows, missing=known)


def _of_lines(main: pl.LazyFrame, now: date, prices: date, wild: float, *, judged: bool) -> dict[str, pl.LazyFrame]:
    """What is counted of the judged signal's rows: by day, hour, store and item; `judged`: there is a window."""
    is_now = pl.col("day") >= now
    usual = (
        main.filter(~is_now, pl.col("day") >= prices, pl.col("price") > 0)
        .group_by("item_id")
        .agg(pl.col("price").median().alias("usual"))
    )
    ratio = (pl.col("price") / pl.col("usual")).log().alias("ratio")
    columns = [name for name in TABLES["interactions"].names if name != "event_id"]
    return {
        "days": main.group_by("day").agg(
            pl.len().alias("rows"),
            pl.col("shopper_id").n_unique().alias("visits"),
            *(pl.col(name).is_null().sum().alias(f"missing_{name}") for name in columns),
        ),
        "young_items": _young(main, "item_id"),
        "young_shoppers": _young(main, "shopper_id"),
        "duplicates": main.filter(pl.col("day") >= now - timedelta(days=_DUPLICATE_DAYS) if judged else is_now)
        .select("day", pl.struct(_EQUAL).hash().alias("content"))
        .group_by("day")
        .agg(pl.len().alias("compared"), pl.col("content").n_unique().alias("distinct")),
        "hours": main.group_by("day", pl.col("event_time").dt.hour().alias("hour")).agg(pl.len().alias("rows")),
        "store_rows": main.filter(pl.col("store_id").is_not_null())
        .group_by("store_id", "day")
        .agg(pl.len().alias("rows"), pl.col("shopper_id").n_unique().alias("visits")),
        "store_prices": main.filter(pl.col("price") > 0)
        .join(usual, on="item_id")
        .select("store_id", "day", ratio)
        .group_by("store_id", "day")
        .agg(
            pl.len().alias("priced"),
            pl.col("ratio").median().alias("level"),
            (pl.col("ratio").abs() >= math.log(wild)).sum().alias("wild"),
        ),
        "item_rows": main.group_by("item_id").agg(
            (~is_now).sum().alias("before"),
            is_now.sum().alias("now"),
            pl.when(pl.col("price") > 0).then(pl.col("price")).median().alias("usual"),
        ),
    }


def _recent(
    tables: Tables, signal: str | None, window: Span | None, before: Span | None, prices: date, wild: float
) -> dict[str, pl.DataFrame]:
    """Everything that needs single rows, of the window and the days before it."""
    start = (before or window or Span(first=date.max, last=date.max)).first
    now = window.first if window else date.max
    moment = pl.lit(datetime(start.year, start.month, start.day), pl.Datetime("us")).dt.replace_time_zone("UTC")
    day = pl.col("event_time").dt.date().alias("day")
    rows = tables.scan("interactions").filter(pl.col("event_time") >= moment).with_columns(day)
    main = rows.filter(pl.col("event_type").eq_missing(pl.lit(signal, pl.String)))
    is_now = pl.col("day") >= now
    queries = _of_lines(main, now, prices, wild, judged=window is not None)
    for name, numbers in NUMBERS.items():
        if name in tables.tables():
            those = main if name == "interactions" else _dated(tables.scan(name), moment)
            queries |= {f"number {name} {column}": _cells(those, name, column) for column in numbers}
    for column in ("channel", "currency", "store_id"):
        queries[f"value {column}"] = _values(main, column, is_now)
    queries["value event_type"] = _values(rows, "event_type", is_now)
    items = tables.scan("items").select(
        "item_id",
        "price",
        "currency",
        "category",
        "brand",
        pl.col("category").str.split("/").list.first().alias("root"),
    )
    sold = main.join(items.select("item_id", "brand", "root"), on="item_id", how="left")
    queries["value category"] = _values(sold.select("day", pl.col("root").alias("category")), "category", is_now)
    queries["value brand"] = _values(sold, "brand", is_now)
    queries["items"] = items.select(*ITEM_COLUMNS)
    done = dict(zip(queries, pl.collect_all(list(queries.values()), engine="streaming"), strict=True))
    days = done["days"]
    for part in ("young_items", "young_shoppers", "duplicates"):
        days = days.join(done[part], on="day", how="left")
    stores = done["store_rows"].join(done["store_prices"], on=["store_id", "day"], how="full", coalesce=True)
    catalogue = done["items"].join(done["item_rows"], on="item_id", how="full", coalesce=True)
    return {
        "days": days.sort("day"),
        "hours": done["hours"].sort("day", "hour"),
        "stores": stores.sort("store_id", "day").with_columns(pl.col("rows", "visits", "priced", "wild").fill_null(0)),
        "numbers": _gathered(done, "number "),
        "values": _gathered(done, "value "),
        "items": catalogue.with_columns(pl.col("before", "now").fill_null(0)).sort("item_id"),
    }


def _dated(table: pl.LazyFrame, moment: pl.Expr) -> pl.LazyFrame:
    return table.filter(pl.col("event_time") >= moment).with_columns(pl.col("event_time").dt.date().alias("day"))


def _young(main: pl.LazyFrame, key: str) -> pl.LazyFrame:
    """Rows a day of keys that were first seen within the seven days up to it."""
    first = main.group_by(key).agg(pl.col("day").min().alias("first"))
    young = (pl.col("day") - pl.col("first")) < timedelta(days=_YOUNG_DAYS)
    name = f"young_{key.removesuffix('_id')}s"
    return main.select(key, "day").join(first, on=key).group_by("day").agg(young.sum().alias(name))


def _cells(rows: pl.LazyFrame, table: str, column: str) -> pl.LazyFrame:
    cell = pl.col(column).cut(EDGES.tolist(), labels=[str(place) for place in range(len(EDGES) + 1)])
    counted = rows.filter(pl.col(column).is_not_null()).select("day", cell.cast(pl.String).cast(pl.Int32).alias("cell"))
    return (
        counted.group_by("day", "cell")
        .agg(pl.len().alias("rows"))
        .select(pl.lit(table).alias("table"), pl.lit(column).alias("column"), "day", "cell", "rows")
    )


def _values(rows: pl.LazyFrame, column: str, is_now: pl.Expr) -> pl.LazyFrame:
    counted = rows.group_by(pl.col(column).fill_null("(none)").alias("value")).agg(
        (~is_now).sum().alias("before"), is_now.sum().alias("now")
    )
    rank = (pl.col("before") + pl.col("now")).rank("ordinal", descending=True)
    value = pl.when(rank <= _VALUES).then("value").otherwise(pl.lit(OTHERS)).alias("value")
    return (
        counted.select(value, "before", "now")
        .group_by("value")
        .agg(pl.col("before").sum(), pl.col("now").sum())
        .select(pl.lit(column).alias("column"), "value", "before", "now")
    )


def _gathered(done: Mapping[str, pl.DataFrame], prefix: str) -> pl.DataFrame:
    return pl.concat([frame for name, frame in done.items() if name.startswith(prefix)])
