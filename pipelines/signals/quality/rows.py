"""Checks of rows and columns: values that are missing, rows that came twice, were refused, or are gone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

import polars as pl

from configs.quality import QualityRules
from pipelines.signals.quality.findings import FEW_ROWS, SHOWN, Finding, Severity, stop_or_warn, told_only, when_told
from pipelines.signals.quality.profile import Accepted, Profile


def missing_values(found: Profile, rules: QualityRules, since: date) -> Iterator[Finding]:
    """Columns of the interactions that lost their values, day by day against the days before."""
    window = found.meta.window
    assert window is not None
    past = found.days.filter(pl.col("day") < window.first, pl.col("day") >= since)
    now = found.days.filter(pl.col("day") >= window.first, pl.col("rows") >= FEW_ROWS)
    if float(past["rows"].sum()) < FEW_ROWS:
        return
    for name in [column for column in found.days.columns if column.startswith("missing_")]:
        column = f"interactions.{name.removeprefix('missing_')}"
        usual = float(past[name].sum()) / max(float(past["rows"].sum()), 1.0)
        risen = now.filter(pl.col(name) >= (usual + rules.missing_warn) * pl.col("rows"))
        if len(risen):
            share = float(risen[name].sum()) / float(risen["rows"].sum())
            days = risen["day"].to_list()
            finding = _missing_finding("missing_values", column, usual, share, f" {when_told(days)}", rules, days[0])
            # On a single day a batch of events from elsewhere does this.
            yield from told_only([finding], only=len(days) < 2)


def columns_lost(found: Profile, accepted: Accepted | None, rules: QualityRules) -> Iterator[Finding]:
    """Columns of the keyed tables that lost their values since the accepted run, and tables that are gone."""
    if accepted is None:
        return
    for table, old in accepted.meta.columns.items():
        new = found.meta.columns.get(table)
        if new is None or new.rows == 0:
            advice = "ingest the table again"
            sentence = f"The table {table} had {old.rows:,} rows and has none."
            if old.rows:
                yield Finding(code="missing_values", severity=Severity.STOP, sentence=sentence, advice=advice)
            continue
        if table == "interactions" or not old.rows:
            continue
        for column, missing in old.missing.items():
            usual, share = missing / old.rows, new.missing.get(column, new.rows) / new.rows
            if share - usual >= rules.missing_warn:
                yield _missing_finding("missing_values", f"{table}.{column}", usual, share, "", rules, None)
    changed = found.items.join(accepted.items.select("item_id", "rows", old="category"), on="item_id").filter(
        pl.col("old").is_not_null(), pl.col("category").is_not_null(), pl.col("rows") > 0
    )
    other = pl.col("category").str.split("/").list.first() != pl.col("old").str.split("/").list.first()
    sold = float(changed["rows"].sum())
    share = float(changed.filter(other)["rows"].sum()) / sold if sold else 0.0
    if share >= rules.missing_warn:
        yield Finding(
            code="categories_changed",
            severity=Severity.WARN,
            sentence=f"Items with {share:.0%} of the sales moved to another root of the category tree.",
            advice="nothing, if the tree was made anew; never-recommended roots go by name (FACINGS_NEVER_RECOMMEND)",
        )


def _missing_finding(
    code: str, column: str, usual: float, share: float, when: str, rules: QualityRules, since: date | None
) -> Finding:
    return Finding(
        code=code,
        severity=stop_or_warn(column in rules.essential and share - usual >= rules.missing_stop),
        sentence=f"{share:.0%} of the rows have no {column}{when}; before it was {usual:.0%}.",
        advice="a column of the export was renamed or lost: correct it and ingest again",
        since=since,
    )


def duplicates(found: Profile, rules: QualityRules, since: date) -> Iterator[Finding]:
    """Rows that are equal in all but their ids."""
    window = found.meta.window
    assert window is not None
    known = found.days.filter(pl.col("compared") > 0)
    past = known.filter(pl.col("day") < window.first, pl.col("day") >= since)
    now = known.filter(pl.col("day") >= window.first, pl.col("compared") >= FEW_ROWS)
    if float(past["compared"].sum()) < FEW_ROWS:
        return
    usual = 1 - float(past["distinct"].sum()) / float(past["compared"].sum())
    risen = now.filter(1 - pl.col("distinct") / pl.col("compared") >= usual + rules.duplicates_warn)
    if len(risen):
        share = 1 - float(risen["distinct"].sum()) / float(risen["compared"].sum())
        days = risen["day"].to_list()
        yield Finding(
            code="duplicates",
            # On a single day a batch of events of one moment does this.
            severity=stop_or_warn(share - usual >= rules.duplicates_stop and len(days) >= 2),
            sentence=f"{share:.1%} of the rows {when_told(days)} repeat another one under another id; usually "
            f"{usual:.1%}.",
            advice="the same rows were sent twice with new ids: keep the ids stable in the export",
            since=days[0],
        )


def strangers(found: Profile, rules: QualityRules, since: date) -> Iterator[Finding]:
    """Items and shoppers that nobody knew: ids of another form look like this."""
    window, before = found.meta.window, found.meta.before
    assert window is not None and before is not None
    settled = max(before.first + timedelta(days=rules.reference_minimum), since)
    past = found.days.filter(pl.col("day") < window.first, pl.col("day") >= settled)
    now = found.days.filter(pl.col("day") >= window.first, pl.col("rows") >= FEW_ROWS)
    if float(past["rows"].sum()) < FEW_ROWS:
        return
    for name, most in (("items", rules.new_items_stop), ("shoppers", rules.new_shoppers_stop)):
        young = f"young_{name}"
        usual = float(past[young].sum()) / float(past["rows"].sum())
        risen = now.filter(pl.col(young) >= (usual + (1 - usual) * most) * pl.col("rows"))
        if len(risen):
            share = float(risen[young].sum()) / float(risen["rows"].sum())
            days = risen["day"].to_list()
            yield Finding(
                code="strangers",
                severity=Severity.STOP,
                sentence=f"{share:.0%} of the rows {when_told(days)} are of {name} first seen that week; usually "
                f"{usual:.0%}.",
                advice=f"the ids of {name} changed their form: keep them as they were and send these rows again",
                since=days[0],
            )


def quarantine(found: Profile, rules: QualityRules) -> Iterator[Finding]:
    """Much of what came in since the last accepted run was refused."""
    fresh = dict(found.quarantine.group_by("table").agg(pl.col("fresh").sum()).rows())
    for table, count in sorted(fresh.items()):
        share = count / max(count + found.arrived.get(table, 0), 1)
        if share >= rules.quarantine_warn and count >= SHOWN:
            yield Finding(
                code="quarantine",
                severity=stop_or_warn(share >= rules.quarantine_stop and count >= FEW_ROWS),
                sentence=f"{count:,} rows of {table} that came in since went to the quarantine ({share:.0%}).",
                advice="see `facings quarantine explain`, correct the export and ingest again",
            )


def history(found: Profile, accepted: Accepted | None, rules: QualityRules) -> Iterator[Finding]:
    """Days that were accepted before, and have other rows now."""
    known = accepted.meta.window if accepted else None
    if accepted is None or known is None or accepted.meta.signal != found.meta.signal:
        return
    days = (pl.col("table") == "interactions", pl.col("event_type") == found.meta.signal, pl.col("day") < known.last)
    old, new = (volumes.filter(*days).select("day", "rows") for volumes in (accepted.volumes, found.volumes))
    both = old.join(new, on="day", how="left", suffix="_now").with_columns(pl.col("rows_now").fill_null(0))
    total = float(both["rows"].sum())
    if not total:
        return
    lost = float((both["rows"].cast(pl.Int64) - both["rows_now"]).clip(0).sum()) / total
    grown = float((both["rows_now"].cast(pl.Int64) - both["rows"]).clip(0).sum()) / total
    if lost >= rules.history_lost / 2:
        yield Finding(
            code="history",
            severity=stop_or_warn(lost >= rules.history_lost),
            sentence=f"{lost:.1%} of the rows of days that were accepted before are gone.",
            advice="ingest these days again",
        )
    if grown >= rules.history_grown / 5:
        looked = found.days.filter(pl.col("compared") > 0)
        equal = 1 - float(looked["distinct"].sum()) / max(float(looked["compared"].sum()), 1.0) if len(looked) else 0.0
        yield Finding(
            code="history",
            # Rows that were added are not equal to those that were there; those that came twice are.
            severity=stop_or_warn(grown >= rules.history_grown and equal >= grown / (1 + grown) / 2),
            sentence=f"Days that were accepted before have {grown:.0%} more rows now.",
            advice="nothing, if rows were added later on purpose; else the same rows came under other ids",
        )
