"""Checks of what does not come any more: stores and event types."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

import polars as pl

from configs.quality import QualityRules
from pipelines.signals.quality.days import recent_days
from pipelines.signals.quality.findings import SHOWN, Finding, Severity, count_told, more_told, note, stop_or_warn
from pipelines.signals.quality.profile import Accepted, Profile


@dataclass(frozen=True)
class Silence:
    """A store without a visit in the last days: since when, the visits that were to be expected, and their chance."""

    store_id: str
    since: date
    days: int
    expected: float
    chance: float
    share: float


def silent_stores(found: Profile, rules: QualityRules) -> list[Silence]:
    """Stores whose silence up to the end of the window is no accident, given the Poisson rate of each weekday."""
    window, before = found.meta.window, found.meta.before
    if window is None or before is None or before.days < rules.reference_minimum:
        return []
    known = recent_days(found)
    closed = {day for day in known.judged if known.rows.get(day, 0) <= rules.volume_closed * known.usual[day]}
    past = found.stores.filter(pl.col("day") < window.first, pl.col("store_id").is_not_null())
    rates = (
        past.with_columns(pl.col("day").dt.weekday().alias("weekday"))
        .group_by("store_id", "weekday")
        .agg(pl.col("visits").sum())
    )
    weeks = {number: sum(day.isoweekday() == number for day in known.days) for number in range(1, 8)}
    rate: dict[str, dict[int, float]] = {}
    for store, weekday, visits in rates.rows():
        rate.setdefault(store, {})[weekday] = visits / max(weeks[weekday], 1)
    sales = dict(past.group_by("store_id").agg(pl.col("rows").sum()).rows())
    newest = dict(found.stores.filter(pl.col("rows") > 0).group_by("store_id").agg(pl.col("day").max()).rows())
    total = sum(sales.values())
    told = []
    for store, own in sorted(rate.items()):
        overall = sum(own.values()) / 7
        days = [day for day in known.judged if day > newest[store] and day not in closed]
        expected = sum(min(own.get(day.isoweekday(), 0.0), overall) for day in days)
        if days and math.exp(-expected) * len(rate) <= rules.silent_chance:
            since = newest[store] + timedelta(days=1)
            told.append(Silence(store, since, len(days), expected, math.exp(-expected), sales[store] / total))
    return told


def stores_silent(found: Profile, accepted: Accepted | None, rules: QualityRules) -> Iterator[Finding]:
    """Stores that went silent and were not accepted as such, and stores that are new."""
    known = accepted.silent if accepted else {}
    silent = [store for store in silent_stores(found, rules) if known.get(store.store_id, date.min) < store.since]
    for code, own in (
        ("silent_store", [store for store in silent if store.days >= rules.silent_days]),
        ("quiet_store", [store for store in silent if store.days < rules.silent_days]),
    ):
        if own:
            share = sum(store.share for store in own)
            names = ", ".join(f"{store.store_id} since {store.since}" for store in own[:SHOWN])
            expected = sum(store.expected for store in own)
            yield Finding(
                code=code,
                severity=stop_or_warn(code == "silent_store" and share >= rules.silent_share),
                sentence=f"{count_told(len(own), 'store')} went silent ({names}{more_told(len(own))}): no visit where "
                f"about {expected:,.0f} are usual, {share:.1%} of the sales.",
                advice="send the missing stores' rows; where they closed for good, accept the data",
                since=max(store.since for store in own),
                subjects=tuple(store.store_id for store in own),
            )
    window = found.meta.window
    assert window is not None
    old = set(found.stores.filter(pl.col("day") < window.first)["store_id"])
    new = sorted(set(found.stores.filter(pl.col("day") >= window.first)["store_id"].drop_nulls()) - old)
    if new:
        names = ", ".join(new[:SHOWN])
        sentence = f"{count_told(len(new), 'store')} had no sales in the days before: {names}{more_told(len(new))}."
        yield note("new_store", sentence, "nothing, if these stores opened or came back")


def stalled(found: Profile, accepted: Accepted | None, rules: QualityRules) -> Iterator[Finding]:
    """No event came for longer than the data ever paused, and it came in time before.

    How far the newest event lay behind when a run was last accepted is what is usual: old data is never new.
    """
    latest, known = found.meta.latest, accepted.meta.latest if accepted else None
    if accepted is None or latest is None or known is None:
        return
    days = found.volumes.filter(pl.col("day") > latest.date() - timedelta(days=rules.reference_days))["day"]
    pauses = days.unique().sort().diff().dt.total_days().drop_nulls().to_list()
    behind = (found.meta.at - latest) - (accepted.meta.at - known)
    if behind > timedelta(days=rules.closed_days * max(pauses, default=1)):
        yield Finding(
            code="stalled",
            severity=Severity.WARN,
            sentence=f"The newest event is of {latest:%Y-%m-%d %H:%M} UTC; that is {behind.days} days further back "
            "than when a run was last accepted.",
            advice="the feed stands still: look whether its files still come",
        )


def event_types(found: Profile, rules: QualityRules) -> Iterator[Finding]:
    """Event types that were usual and do not come any more."""
    window, before = found.meta.window, found.meta.before
    assert window is not None and before is not None
    types = found.volumes.filter(pl.col("event_type").is_not_null(), pl.col("day") >= before.first)
    past = (
        types.filter(pl.col("day") < window.first)
        .group_by("table", "event_type")
        .agg(pl.col("rows").sum(), pl.col("day").n_unique().alias("days"))
    )
    now = types.filter(pl.col("day") >= window.first).select("table", "event_type").unique()
    total = dict(past.group_by("table").agg(pl.col("rows").sum()).rows())
    for table, kind, rows, days in (
        past.join(now, on=["table", "event_type"], how="anti").sort("table", "event_type").rows()
    ):
        # Events of one day hang together: what counts is on how many days they came.
        expected = days / before.days * window.days
        if math.exp(-expected) > rules.silent_chance * 10:
            continue
        share = rows / total[table]
        yield Finding(
            code="event_type_vanished",
            # A folder need not bring every table each time.
            severity=stop_or_warn(table == "interactions" and share >= rules.missing_warn),
            sentence=f"No event of type {kind} in {table} since {window.first}; before, "
            f"{rows / before.days:,.0f} a day ({share:.0%}).",
            advice="the source of these events is down: restart it, and send what it kept",
            since=window.first,
        )
