"""What a decision led to: impression → tap → scan → redeem → purchase, joined by the recommendation's id.

The rule, in full (`docs/signals.md` says it to users):

- A touch is an impression, tap, scan or redeem that bears a decision's id as `attribution_token`, of an item of its
  slate, at or after the decision and less than one window later.
- A purchase that bears such an id, of an item of that slate, belongs to that decision if it happened less than one
  window after the last touch of the pair before it, or after the decision where there was none.
- Any other purchase belongs to the last touch of the same shopper and item, if that was less than one window before.
  Of touches in one microsecond the strongest counts (redeem, scan, tap, impression), then that of the later decision.
- So each purchase belongs to one decision at most. What is returned less than one window after the purchase does not
  count; nothing depends on the order in which events came in, and what comes late counts when this is computed again.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import orjson
import polars as pl

from configs.settings import Settings
from features.returns import cancelled
from pipelines.shop_snapshot import minor_units
from pipelines.signals.lake.lake import Lake
from state.decisions import answers_between

TOUCHES = ("impression", "tap", "scan", "redeem")  # from the weakest to the strongest
_TIME = pl.Datetime("us", "UTC")
_PAIR = ["recommendation_id", "item_id"]
SLATES = {"recommendation_id": pl.String(), "item_id": pl.String(), "rank": pl.Int64(), "decided_at": _TIME}
_USED = ["shopper_id", "item_id", "event_type", "event_time", "attribution_token", "quantity", "price", "currency",
         "order_id"]  # fmt: skip


def slates_between(engine: Any, since: datetime, until: datetime) -> pl.DataFrame:
    """Return what was shown: a row for each item of each decision of [since, until), with the columns of SLATES."""
    rows = [
        (name, item[0], rank, decided_at)
        for name, decided_at, answer in answers_between(engine, since, until)
        for rank, item in enumerate(orjson.loads(answer)["items"], start=1)
    ]
    stored = {**SLATES, "decided_at": pl.Int64()}
    return pl.DataFrame(rows, schema=stored, orient="row").with_columns(pl.col("decided_at").cast(_TIME))


def attribute(slates: pl.DataFrame, interactions: pl.LazyFrame, *, window: timedelta, currency: str) -> pl.DataFrame:
    """Join what happened to what was shown.

    Args:
        slates: columns of SLATES, what was shown.
        interactions: the interactions table, or the part of it that can matter.
        window: how long a touch counts.
        currency: ISO 4217; money in another currency is not counted (a missing one is this).

    Returns:
        One row for each item shown: recommendation_id, item_id, rank, decided_at; impression_time, tap_time, scan_time,
        redeem_time, purchase_time (the first of each, null: none); quantity (pieces bought and kept), returned
        (pieces), revenue (minor units of what was kept).
    """
    shown = slates.unique(_PAIR, keep="first", maintain_order=True)
    known = set(interactions.collect_schema().names())
    events = interactions.select(
        name if name in known else pl.lit(None, pl.String()).alias(name) for name in _USED
    ).filter(pl.col("event_type").is_in([*TOUCHES, "purchase", "return"]))
    offered = shown.lazy().select("recommendation_id", "item_id", "decided_at")
    touches = (
        events.filter(pl.col("event_type").is_in(TOUCHES))
        .join(offered, left_on=["attribution_token", "item_id"], right_on=_PAIR)
        .rename({"attribution_token": "recommendation_id"})
        .filter(pl.col("event_time") >= pl.col("decided_at"), pl.col("event_time") < pl.col("decided_at") + window)
        .select(*_PAIR, "shopper_id", "decided_at", "event_time",
                pl.col("event_type").replace_strict(dict(zip(TOUCHES, range(4), strict=True)), return_dtype=pl.Int8)
                .alias("strength"))
        .collect()
    )  # fmt: skip
    bought = kept_purchases(events, shown, window, currency)
    sold = _owned(bought, shown, touches, window)
    return _together(shown, touches, sold)


def attribution(
    settings: Settings,
    engine: Any,
    lake: Lake,
    since: datetime,
    until: datetime,
    *,
    more: Iterable[dict[str, Any]] = (),
) -> pl.DataFrame:
    """Attribute for the decisions of [since, until) (`attribute`), from the log and the lake.

    Args:
        settings: window and currency.
        engine: the log of decisions.
        lake: the ingested tables.
        since, until: of the decisions that are told.
        more: interactions that are in no table yet, such as those that wait for the next ingest.
    """
    window = timedelta(days=settings.attribution_days)
    # A touch before or after may own a purchase that would else be counted here.
    slates = slates_between(engine, since - 2 * window, until + 2 * window)
    events = lake.scan("interactions")
    waiting = [{**dict.fromkeys(_USED), **row, "event_time": datetime.fromisoformat(row["event_time"])} for row in more]
    if waiting:
        ids = pl.Series([row.get("event_id") for row in waiting], dtype=pl.String)
        taken = set(events.filter(pl.col("event_id").is_in(ids.implode())).select("event_id").collect()["event_id"])
        waiting = [row for row in waiting if row.get("event_id") not in taken]  # an ingest has just had them
        kinds = {"event_time": _TIME, "quantity": pl.Float64(), "price": pl.Float64()}
        extra = pl.DataFrame(waiting, schema={name: kinds.get(name, pl.String()) for name in _USED})
        events = pl.concat([events.select(_USED), extra.lazy()])
    near = events.filter(
        pl.col("event_time") >= since - 2 * window,
        pl.col("event_time") < until + 4 * window,
        pl.col("item_id").is_in(slates["item_id"].unique().implode()),
    )
    found = attribute(slates, near, window=window, currency=settings.currency)
    return found.filter(pl.col("decided_at") >= since, pl.col("decided_at") < until)


def kept_purchases(events: pl.LazyFrame, shown: pl.DataFrame, window: timedelta, currency: str) -> pl.DataFrame:
    """Purchases of items that were shown (`item_id`), with what was kept of each: quantity, returned, revenue."""
    of_shown = events.join(shown.lazy().select("item_id").unique(), on="item_id", how="semi")
    pieces = pl.when(pl.col("quantity") > 0).then(pl.col("quantity")).otherwise(1.0)
    bought = (
        of_shown.filter(pl.col("event_type") == "purchase").with_columns(pieces.alias("quantity")).collect()
    ).with_row_index("line")
    back = of_shown.filter(pl.col("event_type") == "return").collect()
    keys = ["shopper_id", "item_id"]
    some = bought.join(back.select(keys).unique(), on=keys, how="semi").sort(_USED)
    columns = [*keys, "event_time", "quantity", "order_id"]
    taken = pl.from_pandas(
        cancelled(some.select(columns).to_pandas(), back.select(columns).to_pandas()).astype({"row": "int64"})
    ).with_columns(pl.col("returned_at").cast(_TIME), pl.col("quantity").cast(pl.Float64))
    lines = some.select("line", bought_at="event_time").with_row_index("row").with_columns(pl.col("row").cast(pl.Int64))
    returned = (
        taken.join(lines, on="row")
        .filter(pl.col("returned_at") < pl.col("bought_at") + window)
        .group_by("line")
        .agg(pl.col("quantity").sum().alias("returned"))
    )
    kept = pl.col("quantity") - pl.col("returned")
    paid = pl.when(pl.col("currency").fill_null(currency) == currency).then(pl.col("price")).fill_null(0.0)
    minor = (paid * kept * minor_units(1.0, currency) + 0.5 + 1e-9).floor().cast(pl.Int64)
    return (
        bought.join(returned, on="line", how="left")
        .with_columns(pl.col("returned").fill_null(0.0))
        .with_columns(minor.alias("revenue"), kept.alias("quantity"))
    )


def _owned(bought: pl.DataFrame, shown: pl.DataFrame, touches: pl.DataFrame, window: timedelta) -> pl.DataFrame:
    """Purchases that belong to a decision: recommendation_id, item_id, purchase_time, quantity, returned, revenue."""
    told = ["line", *_PAIR, "event_time", "quantity", "returned", "revenue"]
    named = (
        bought.join(shown.select(*_PAIR, "decided_at"), left_on=["attribution_token", "item_id"], right_on=_PAIR)
        .rename({"attribution_token": "recommendation_id"})
        .filter(pl.col("event_time") >= pl.col("decided_at"))
        .sort("event_time")
    )
    of_pair = touches.select(*_PAIR, "event_time").unique().with_columns(touched="event_time").sort("event_time")
    named = named.join_asof(of_pair, on="event_time", by=_PAIR, check_sortedness=False).filter(
        pl.col("event_time") < pl.coalesce("touched", "decided_at") + window
    )
    rest = bought.join(named, on="line", how="anti").drop("attribution_token").sort("event_time")
    keys = ["shopper_id", "item_id"]
    last = (
        touches.sort("event_time", "strength", "decided_at", "recommendation_id")
        .unique([*keys, "event_time"], keep="last", maintain_order=True)
        .select(*keys, "recommendation_id", "event_time", touched="event_time")
    )
    linked = rest.join_asof(last, on="event_time", by=keys, check_sortedness=False).filter(
        pl.col("event_time") < pl.col("touched") + window
    )
    return pl.concat([named.select(told), linked.select(told)])


def _together(shown: pl.DataFrame, touches: pl.DataFrame, sold: pl.DataFrame) -> pl.DataFrame:
    first = touches.group_by(_PAIR).agg(
        pl.col("event_time").filter(pl.col("strength") == strength).min().alias(f"{name}_time")
        for strength, name in enumerate(TOUCHES)
    )
    sales = sold.group_by(_PAIR).agg(
        pl.col("event_time").min().alias("purchase_time"),
        pl.col("quantity").sum(),
        pl.col("returned").sum(),
        pl.col("revenue").sum(),
    )
    return (
        shown.join(first, on=_PAIR, how="left")
        .join(sales, on=_PAIR, how="left")
        .with_columns(pl.col("quantity", "returned").fill_null(0.0), pl.col("revenue").fill_null(0))
        .sort("decided_at", "recommendation_id", "rank")
    )
