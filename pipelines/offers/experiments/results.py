"""The results of a home's experiments: who took part, from the log of decisions, and what they did, from the lake."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from configs.errors import FacingsError
from configs.experiments import Experiment, load_experiments
from configs.secrets import secret
from configs.settings import Settings
from pipelines.offers.experiments.assignment import variant_of
from pipelines.offers.experiments.judge import HOLDOUT, UNITS, Judged, judge
from pipelines.offers.experiments.stops import stop, stopped
from pipelines.offers.log.recorded import facts_of_row
from pipelines.shop_snapshot import minor_units
from pipelines.signals.behaviour.attribution import kept_purchases
from pipelines.signals.lake.lake import Lake
from state.decisions import decisions_between, open_decisions
from state.engine import open_engine
from state.events import waiting_events
from state.forgotten import pseudonym

_TIME = pl.Datetime("us", "UTC")
_EVENT = {"shopper_id": pl.String(), "item_id": pl.String(), "event_type": pl.String(), "event_time": _TIME,
          "quantity": pl.Float64(), "price": pl.Float64(), "currency": pl.String(), "order_id": pl.String(),
          "basket_id": pl.String(), "attribution_token": pl.String()}  # fmt: skip


def results(settings: Settings, now: datetime, *, progress: Callable[[str], None], act: bool = True) -> list[Judged]:
    """Judge every experiment of the file that has begun, and stop what does harm.

    Args:
        settings: the home's.
        now: the moment.
        progress: is told what is stopped.
        act: stop what is to be stopped; False: only tell.
    """
    begun = {name: one for name, one in load_experiments(settings.experiments).experiments.items() if one.starts <= now}
    gone = stopped(settings.paths)
    late = [name for name, one in begun.items() if one.starts < now - timedelta(days=settings.decision_days)]
    if late:
        progress(
            f"{', '.join(late)}: the log of decisions goes back {settings.decision_days} days only "
            "(FACINGS_DECISION_DAYS); who took part before that is taken to have begun later."
        )
    found = []
    for name, one in begun.items():
        judged = judge(name, one, units_of(settings, name, one, now, until=gone.get(name, {}).get("at")))
        found.append(judged)
        if judged.stop and act and name not in gone:
            stop(settings.paths, name, judged.status, now)
            progress(f"Stopped: {judged.sentence}.")
    return found


def units_of(
    settings: Settings, name: str, experiment: Experiment, now: datetime, *, until: str | None = None
) -> pl.DataFrame:
    """One row for each shopper whose window is over, with the columns of UNITS; nobody is named.

    Args:
        settings, name, experiment, now: which experiment of which home, seen when.
        until: ISO time from which on nobody newly takes part, as it was stopped.
    """
    window = timedelta(days=experiment.days)
    end = min(moment for moment in (now, experiment.ends) if moment is not None)
    if until is not None:
        end = min(end, datetime.fromisoformat(until))
    first: dict[str, tuple[int, str]] = {}
    for row in decisions_between(open_decisions(settings.decisions_uri), experiment.starts, end):
        if row.shopper is None or row.shopper in first:
            continue
        facts = facts_of_row(row)
        variant = HOLDOUT if facts.holdout else facts.variants.get(name)
        if variant is None:
            continue
        if variant != HOLDOUT and variant != variant_of(row.shopper, name, experiment):
            raise FacingsError(
                f"Experiment {name} was changed after it began: shoppers stand in other variants now. Give it another "
                "name, which draws anew, or undo the change."
            )
        first[row.shopper] = row.decided_at, variant
    lake, events = Lake(settings.paths), _events(settings)
    newest = events.select(pl.col("event_time").max()).collect().item()
    ripe = min(now, newest or now) - window  # what was not brought in yet may be missing
    schema = {"digest": pl.String(), "at": pl.Int64(), "variant": pl.String()}
    exposed = (
        pl.DataFrame([(who, at, variant) for who, (at, variant) in first.items()], schema=schema, orient="row")
        .with_columns(pl.col("at").cast(_TIME))
        .filter(pl.col("at") <= ripe)
    )
    key = secret(settings.paths, "pseudonym")
    known = events.select(pl.col("shopper_id").unique()).collect()["shopper_id"].drop_nulls()
    named = pl.DataFrame(
        {"shopper_id": known, "digest": [pseudonym(shopper, key) for shopper in known]},
        schema={"shopper_id": pl.String(), "digest": pl.String()},
    )
    return outcomes(
        exposed.join(named, on="digest", how="left"), events, _costs(lake, settings), window, settings.currency
    )


def outcomes(
    exposed: pl.DataFrame, events: pl.LazyFrame, costs: pl.DataFrame, window: timedelta, currency: str
) -> pl.DataFrame:
    """What each shopper did in the window after they first took part, and in as long a one before.

    Args:
        exposed: shopper_id (null: they never did anything), at, variant.
        events: interactions.
        costs: item_id, cost in minor units.
        window: how long counts.
        currency: money in another one does not count.
    """
    exposed = exposed.with_row_index("unit")
    theirs = (
        events.join(exposed.lazy().select("shopper_id", "at", "unit"), on="shopper_id")
        .filter(pl.col("event_time") >= pl.col("at") - window, pl.col("event_time") < pl.col("at") + window)
        .collect()
    )
    every = theirs.select("item_id").unique()
    lines = kept_purchases(theirs.lazy(), every, window, currency).join(costs, on="item_id", how="left")
    after = lines.filter(pl.col("event_time") >= pl.col("at"))
    visit = pl.coalesce("order_id", "basket_id", pl.col("event_time").dt.date().cast(pl.String))
    sums = after.group_by("unit").agg(
        pl.col("revenue").sum().alias("spent"),
        (pl.col("revenue") - pl.col("cost") * pl.col("quantity")).sum().alias("profit"),
        (pl.col("cost").is_null() & (pl.col("quantity") > 0)).any().alias("costless"),
        visit.filter(pl.col("quantity") > 0).n_unique().alias("visits"),
    )
    before = lines.filter(pl.col("event_time") < pl.col("at")).group_by("unit").agg(before=pl.col("revenue").sum())
    redeemed = (
        theirs.filter(pl.col("event_type") == "redeem", pl.col("event_time") >= pl.col("at"))
        .group_by("unit")
        .agg(redeemed=pl.lit(1.0))
    )
    whole = exposed
    for part in (sums, before, redeemed):
        whole = whole.join(part, on="unit", how="left")
    return whole.with_columns(
        pl.when(pl.col("costless").fill_null(False))
        .then(None)
        .otherwise(pl.col("profit").fill_null(0.0))
        .alias("profit"),
        *(pl.col(name).fill_null(0.0) for name in ("spent", "visits", "before", "redeemed")),
    ).select(pl.col(name).cast(kind) for name, kind in UNITS.items())


def _events(settings: Settings) -> pl.LazyFrame:
    """Interactions of the lake with those that wait for the next ingest."""
    lake = Lake(settings.paths)
    known = set(lake.scan("interactions").collect_schema().names())
    kept = lake.scan("interactions").select(
        (pl.col(name) if name in known else pl.lit(None)).cast(kind).alias(name) for name, kind in _EVENT.items()
    )
    rows: list[dict[str, Any]] = list(waiting_events(open_engine(settings.state_uri)))
    if not rows:
        return kept
    ids = [row["event_id"] for row in rows if row.get("event_id") is not None]
    taken = set(
        lake.scan("interactions").filter(pl.col("event_id").is_in(ids)).select("event_id").collect()["event_id"]
        if "event_id" in known
        else ()
    )
    waiting = pl.DataFrame(
        [
            {name: datetime.fromisoformat(row[name]) if name == "event_time" else row.get(name) for name in _EVENT}
            for row in rows
            if row.get("event_id") not in taken  # an ingest has just had them
        ],
        schema=_EVENT,
    )
    return pl.concat([kept, waiting.lazy()])


def _costs(lake: Lake, settings: Settings) -> pl.DataFrame:
    """Costs in minor units of the items that have one."""
    schema = {"item_id": pl.String(), "cost": pl.Float64()}
    if not lake.has("items"):
        return pl.DataFrame(schema=schema)
    items = lake.scan("items")
    if "cost" not in items.collect_schema().names():
        return pl.DataFrame(schema=schema)
    scale = float(minor_units(1.0, settings.currency))
    costs = items.select("item_id", (pl.col("cost").cast(pl.Float64) * scale).alias("cost")).drop_nulls().collect()
    return costs.filter(pl.Series(np.isfinite(costs["cost"].to_numpy()))).unique("item_id")
