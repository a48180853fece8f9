"""The data report as one page that opens anywhere: the verdict first, then what it rests on. No shopper's id."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date
from html import escape

import numpy as np
import polars as pl

from configs.quality import QualityRules
from pipelines.signals.behaviour.suspicion import REASONS
from pipelines.signals.quality.days import recent_days
from pipelines.signals.quality.findings import Finding, Severity
from pipelines.signals.quality.profile import Accepted, Profile
from pipelines.signals.quality.shifts import Shift, distributions, shifts, turnover
from pipelines.signals.quality.silence import silent_stores
from pipelines.signals.quality.statistics import EDGES, Counts
from pipelines.training.document import document, table
from pipelines.training.plots import days, outlines

_STYLE = """
.band{fill:var(--band)}.findings{list-style:none;padding:0}.findings li{border-left:.35rem solid var(--line);
padding:.3rem .9rem;margin:.6rem 0}.findings .stop{border-color:var(--no)}.findings .warn{border-color:var(--s4)}
.findings b{text-transform:uppercase;font-size:.8rem;letter-spacing:.04em}.findings .stop b{color:var(--no)}
.findings .warn b{color:var(--s4)}.findings span{color:var(--faint)}
.small{display:flex;flex-wrap:wrap;gap:1rem}.small svg{flex:0 1 25rem}
"""
_CODE = re.compile("`([^`]*)`")
_PLOTS = 8
_ROWS = 40
_PLOTTED = 0.002  # cells with less than this share on both sides are left out at the ends
_VERDICTS = {
    Severity.STOP: ("no", "The data is broken: no retraining until it is mended or accepted"),
    Severity.WARN: ("", "The data may be used; look at the warnings"),
    Severity.NOTE: ("yes", "Nothing is wrong with the data"),
}


def data_page(
    found: Profile,
    accepted: Accepted | None,
    findings: Sequence[Finding],
    rules: QualityRules,
    *,
    flagged: Mapping[str, int] | None = None,
    by_hand: Sequence[Mapping[str, object]] = (),
) -> str:
    """Return the page.

    `flagged` counts rows by what makes them hardly real; `by_hand` are the acceptances that persons noted: at, reason,
    findings.
    """
    gravest = findings[0].severity if findings else Severity.NOTE
    mark, verdict = _VERDICTS[gravest]
    parts = [
        f"<h1 class='{mark}'>{verdict}</h1>",
        f"<p>{escape(_compared(found, accepted))}</p>",
        "<h2>Findings</h2>",
        _findings(findings),
        *_volumes(found, rules),
        *_tables(found, accepted),
        *_missing(found),
        *_quarantine(found),
        *_shifts(found),
        *_items(found, accepted),
        *_stores(found, rules),
        *_flagged(flagged or {}),
        *_by_hand(by_hand),
    ]
    return document(f"Data report: {verdict}", parts, style=_STYLE)


def _compared(found: Profile, accepted: Accepted | None) -> str:
    meta = found.meta
    parts = [f"Made {meta.at:%Y-%m-%d %H:%M} UTC, data {meta.lake}."]
    if meta.window is not None:
        what = f"{meta.signal} rows" if meta.signal else "rows"
        parts.append(f"Judged: the {what} from {meta.window.first} to {meta.window.last}")
        parts[-1] += f", against {meta.before.first} to {meta.before.last}." if meta.before else "."
    if accepted is None:
        parts.append("No run was accepted yet: the newest days are compared with the data's own earlier ones.")
    else:
        parts.append(f"The last accepted run was of {accepted.at:%Y-%m-%d %H:%M} UTC.")
    return " ".join(parts)


def _findings(findings: Sequence[Finding]) -> str:
    if not findings:
        return "<p>None.</p>"
    told = "".join(
        f"<li class='{finding.severity}'><b>{finding.severity}</b> {escape(finding.sentence)} "
        f"<span>What to do: {_advice(finding)}.</span></li>"
        for finding in findings
    )
    accept = (
        '<p>Where a change is real, <code>facings retrain --accept-data "why"</code> takes it as the new normal.</p>'
        if any(finding.severity is Severity.STOP for finding in findings)
        else ""
    )
    return f"<ul class='findings'>{told}</ul>{accept}"


def _advice(finding: Finding) -> str:
    return _CODE.sub(r"<code>\1</code>", escape(finding.advice))


def _volumes(found: Profile, rules: QualityRules) -> list[str]:
    window, before = found.meta.window, found.meta.before
    if window is None:
        return []
    main = (pl.col("table") == "interactions") & (pl.col("event_type") == found.meta.signal)
    rows = [(day, float(count)) for day, count in found.volumes.filter(main).select("day", "rows").rows()]
    usual: Mapping[date, float] = {}
    if before is not None and before.days >= rules.reference_minimum:
        usual = {day: value for day, value in recent_days(found).usual.items() if day >= before.first}
    kinds = found.volumes.group_by("table", "event_type").agg(
        pl.col("rows").sum(), pl.col("day").min().alias("first"), pl.col("day").max().alias("last"),
        pl.col("rows").filter(pl.col("day") >= window.first).sum().alias("now"),
    )  # fmt: skip
    lines = [
        [f"{name} {kind or ''}".strip(), f"{count:,}", f"{now:,}", f"{first}", f"{last}"]
        for name, kind, count, first, last, now in kinds.sort("table", "event_type").rows()
    ]
    recent = [point for point in rows if before is None or point[0] >= before.first]
    legend = "<p class='faint'>Solid: rows; dashed: usual on that weekday; on a band: the days that are judged.</p>"
    return [
        "<h2>Volumes by day</h2>",
        days("Rows by day, lately", recent, usual=usual, judged=(window.first, window.last), upwards="rows"),
        legend,
        days("Rows by day, all", rows, usual={}, judged=(window.first, window.last), upwards="rows")
        if len(rows) > len(recent)
        else "",
        table("Events", ["events", "rows", "of them judged", "first day", "last day"], lines),
    ]


def _tables(found: Profile, accepted: Accepted | None) -> list[str]:
    old = accepted.meta.columns if accepted else {}
    rows = [
        [name, f"{own.rows:,}", f"{old[name].rows:,}" if name in old else "–", f"{found.arrived.get(name, 0):,}"]
        for name, own in sorted(found.meta.columns.items())
    ]
    return ["<h2>Tables</h2>", table("Rows", ["table", "rows", "when accepted", "came since"], rows)]


def _missing(found: Profile) -> list[str]:
    rows = [
        [f"{name}.{column}", f"{missing:,}", f"{missing / own.rows:.1%}"]
        for name, own in sorted(found.meta.columns.items())
        if own.rows
        for column, missing in own.missing.items()
        if 0 < missing < own.rows
    ]
    empty = [
        f"{name}.{column}"
        for name, own in sorted(found.meta.columns.items())
        if own.rows
        for column, missing in own.missing.items()
        if missing == own.rows
    ]
    parts = ["<h2>Missing values</h2>"]
    parts.append(table("Columns with gaps", ["column", "missing", "share"], rows) if rows else "<p>No gaps.</p>")
    if empty:
        parts.append(f"<p class='faint'>Without any value: {escape(', '.join(empty))}.</p>")
    return parts


def _quarantine(found: Profile) -> list[str]:
    rows = [[f"{name}: {reason}", f"{count:,}", f"{fresh:,}"] for name, reason, count, fresh in found.quarantine.rows()]
    parts = ["<h2>Quarantined</h2>"]
    if not rows:
        return [*parts, "<p>No row waits in the quarantine.</p>"]
    parts.append(table("Rows by reason", ["reason", "rows", "new since accepted"], rows[:_ROWS]))
    return parts


def _shifts(found: Profile) -> list[str]:
    told = shifts(found)
    if not told:
        return []
    both = distributions(found)
    drawn = [_plot(shift, *both[shift.column]) for shift in told if shift.column in both]
    return [
        "<h2>Shift of distributions</h2>",
        "<p>PSI: population stability index over tenths of what was before; below 0.1 is usual, above 0.25 is large. "
        "KS: largest distance of the cumulated shares, with its chance if nothing had moved (asymptotic; rows of one "
        "visit hang together, so that small values of it prove little).</p>",
        table(
            "Judged days against the days before",
            ["column", "rows before", "rows now", "PSI", "KS", "chance"],
            [_line(shift) for shift in told],
        ),
        "<p class='faint'>Dashed: before; solid: now.</p>",
        f"<div class='small'>{''.join(drawn[:_PLOTS])}</div>",
        *_names(found),
    ]


def _line(shift: Shift) -> list[str]:
    ks = "–" if shift.ks is None else f"{shift.ks:.3f}"
    chance = "–" if shift.chance is None else f"{shift.chance:.2g}"
    return [shift.column, f"{shift.rows_before:,}", f"{shift.rows_now:,}", f"{shift.psi:.3f}", ks, chance]


def _plot(shift: Shift, before: Counts, now: Counts) -> str:
    """Only the cells that hold all but the outermost rows of both sides: a price of a thousand hides the others."""
    shares = [own / max(own.sum(), 1.0) for own in (before, now)]
    held = np.flatnonzero(np.max(shares, axis=0) >= _PLOTTED)
    held = held if len(held) else np.flatnonzero(before + now)
    first, last = int(held[0]), int(held[-1])
    if shift.column == "hour of day":
        labels = [f"{hour}:00 UTC" for hour in range(24)]
        first, last = 0, 23
    else:
        labels = ["0", *(f"{edge:.3g}" for edge in EDGES)]
    cells = slice(first, last + 1)
    return outlines(shift.column, labels[cells], before[cells].tolist(), now[cells].tolist())


def _names(found: Profile) -> list[str]:
    """The values of a column with names whose share moved most."""
    values = found.values.with_columns(
        (pl.col(name) / pl.col(name).sum().over("column").clip(1)).alias(f"{name}_share") for name in ("before", "now")
    ).with_columns((pl.col("now_share") - pl.col("before_share")).alias("moved"))
    shown = values.filter(pl.col("moved").abs() >= 0.005).sort(pl.col("moved").abs(), descending=True).head(12)
    if shown.is_empty():
        return []
    rows = [
        [f"{column} {value}", f"{before:.1%}", f"{now:.1%}", f"{moved:+.1%}"]
        for column, value, before, now, moved in shown.select(
            "column", "value", "before_share", "now_share", "moved"
        ).rows()
    ]
    return [table("Values whose share of the rows moved most", ["value", "before", "now", "difference"], rows)]


def _flagged(flagged: Mapping[str, int]) -> list[str]:
    if not flagged:
        return []
    rows = [[REASONS.get(reason, reason), f"{count:,}"] for reason, count in sorted(flagged.items())]
    told = "<p>Rows that are hardly real: kept, and not counted in training, features and best-sellers.</p>"
    return ["<h2>Flagged rows</h2>", told, table("Rows by reason", ["reason", "rows"], rows)]


def _by_hand(noted: Sequence[Mapping[str, object]]) -> list[str]:
    if not noted:
        return []
    told = "".join(
        f"<li>{escape(str(row['at'])[:16])}: {escape(str(row['reason']))} <span>{escape(_sentences(row))}</span></li>"
        for row in noted[:_ROWS]
    )
    return ["<h2>Accepted by hand</h2>", f"<ul class='findings'>{told}</ul>"]


def _sentences(row: Mapping[str, object]) -> str:
    found = row["findings"]
    return " ".join(map(str, found)) if isinstance(found, list) else ""


def _items(found: Profile, accepted: Accepted | None) -> list[str]:
    if found.meta.window is None:
        return []
    told = turnover(found, accepted)
    rows = [
        ["sold in the judged days and not before", f"{told.new:,}", f"{told.new_share:.1%}"],
        ["sold before and not in the judged days", f"{told.vanished:,}", f"{told.vanished_share:.1%}"],
    ]
    if accepted is not None:
        rows.append(["in the accepted catalogue and gone from this one", f"{told.dropped:,}", "–"])
    return ["<h2>Items that came and went</h2>", table("Items", ["", "items", "share of rows"], rows)]


def _stores(found: Profile, rules: QualityRules) -> list[str]:
    silent = silent_stores(found, rules)
    parts = ["<h2>Stores gone silent</h2>"]
    if not silent:
        return [*parts, "<p>None, given each store's own rate of visits.</p>"]
    rows = [
        [store.store_id, f"{store.since}", f"{store.days}", f"{store.expected:,.1f}", f"{store.chance:.1g}",
         f"{store.share:.2%}"]
        for store in sorted(silent, key=lambda store: -store.share)[:_ROWS]
    ]  # fmt: skip
    head = ["store", "silent since", "days", "visits to expect", "chance (Poisson)", "share of rows before"]
    return [*parts, table("Stores without a visit", head, rows)]
