"""What is wrong with the data, from its profile and the last accepted one. Pure: numbers in, sentences out.

docs/data-quality.md states each check, its thresholds and how they were chosen.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict

from configs.quality import QualityRules
from pipelines.signals.quality.profile import Accepted, Profile
from pipelines.signals.quality.statistics import EDGES, Counts, clock_shift, kolmogorov_smirnov, psi, tenths

_SHIFT_ROWS = 200  # rows that a day's curve needs to be read
_STRANGE_ROWS = 30  # fewer rows prove nothing
_SHOWN = 5
_DAY_ENDS = 0.9  # a last day that ended before this share of the usual day's rows is half a day


class Severity(StrEnum):
    """How grave a finding is."""

    NOTE = "note"  # worth knowing
    WARN = "warn"  # look at it; the retraining goes on
    STOP = "stop"  # the retraining does not begin


class Finding(BaseModel):
    """One thing found: what, how grave, the figures in a sentence, and what to do.

    `since` is the first day concerned; `subjects` are stores, where it is about stores.
    """

    model_config = ConfigDict(frozen=True)

    code: str
    severity: Severity
    sentence: str
    advice: str
    since: date | None = None
    subjects: tuple[str, ...] = ()


class Shift(BaseModel):
    """How far one column's distribution moved; `ks` and `chance` are null for names."""

    model_config = ConfigDict(frozen=True)

    column: str
    rows_before: int
    rows_now: int
    psi: float
    ks: float | None
    chance: float | None


@dataclass(frozen=True)
class Days:
    """The judged event type by day: `rows`, `visits`, what is `usual` on such a day, and which days are judged."""

    days: tuple[date, ...]
    rows: dict[date, int]
    visits: dict[date, int]
    usual: dict[date, float]
    judged: tuple[date, ...]  # whole days of the window
    spread: float  # standard deviation of the log of rows over usual, of the days before


def compare(found: Profile, accepted: Accepted | None, rules: QualityRules) -> list[Finding]:
    """Return what is to be said, the gravest first; without an accepted run only the data's own days are compared."""
    known = accepted.changes if accepted else {}
    findings = [*_quarantine(found, rules), *_catalogue(found, accepted, rules), *_columns(found, accepted, rules)]
    findings += _history(found, accepted, rules)
    meta = found.meta
    if meta.window is None:
        findings.append(_note("nothing", "There are no interactions yet.", "ingest a table of interactions"))
    elif meta.before is None or meta.before.days < rules.reference_minimum:
        days = meta.before.days if meta.before else 0
        sentence = f"Only {days} days lie before the {meta.window.days} newest ones: too few to compare these with."
        findings.append(_note("short_history", sentence, "nothing; from more history on, the days are compared"))
    else:
        checks = {
            "volume": _volume,
            "rows_per_visit": _rows_per_visit,
            "price_level": _prices,
            "missing_values": _missing,
            "duplicates": _duplicates,
            "strangers": _strangers,
            "clock": _clock,
        }
        for code, check in checks.items():
            since = known.get(code, date.min)
            if (meta.window.first - max(since, meta.before.first)).days >= rules.reference_minimum or since == date.min:
                findings += check(found, rules, since)
            else:
                sentence = f"{code.replace('_', ' ')}: a change was accepted from {since} on; too few days since then."
                findings.append(_note("change_accepted", sentence, "nothing; it is judged again when there are more"))
        findings += _stores(found, accepted, rules)
        findings += _event_types(found, rules)
    findings += [finding for shift in shifts(found) for finding in _shifted(shift, rules)]
    order = list(Severity)
    return sorted(findings, key=lambda finding: -order.index(finding.severity))


def distributions(found: Profile) -> dict[str, tuple[Counts, Counts]]:
    """Counts over the cells of the grid (of the day's hours) before the window and in it, by column."""
    if found.meta.window is None:
        return {}
    hours = found.hours.select(
        pl.lit("hour of day").alias("column"), "day", pl.col("hour").cast(pl.Int32).alias("cell"), "rows"
    )
    numbers = found.numbers.select(pl.format("{}.{}", "table", "column").alias("column"), "day", "cell", "rows")
    is_now = pl.col("day") >= found.meta.window.first
    told = {}
    for (column,), rows in pl.concat([hours, numbers]).group_by("column", maintain_order=True):
        size = 24 if column == "hour of day" else len(EDGES) + 1
        told[str(column)] = (_spread(rows.filter(~is_now), size), _spread(rows.filter(is_now), size))
    return told


def shifts(found: Profile) -> list[Shift]:
    """How far the distribution of each watched column moved, the furthest first; columns with rows on both sides."""
    told = []
    for column, (before, now) in distributions(found).items():
        if before.sum() and now.sum():
            distance, chance = kolmogorov_smirnov(before, now)
            told.append(_shift(column, before, now, psi(*tenths(before, now)), distance, chance))
    for (column,), rows in found.values.group_by("column", maintain_order=True):
        before, now = (rows[name].to_numpy().astype(np.float64) for name in ("before", "now"))
        if before.sum() and now.sum() and len(rows) > 1:
            told.append(_shift(str(column), before, now, psi(before, now), None, None))
    return sorted(told, key=lambda shift: -shift.psi)


def _shift(
    column: str, before: Counts, now: Counts, index: float, distance: float | None, chance: float | None
) -> Shift:
    return Shift(
        column=column, rows_before=int(before.sum()), rows_now=int(now.sum()), psi=index, ks=distance, chance=chance
    )


def _spread(rows: pl.DataFrame, size: int) -> Counts:
    counts = np.zeros(size)
    np.add.at(counts, rows["cell"].to_numpy(), rows["rows"].to_numpy())
    return counts


def _shifted(shift: Shift, rules: QualityRules) -> Iterator[Finding]:
    distance = shift.ks or 0.0
    if shift.psi < rules.psi_note and distance < rules.ks_note:
        return
    grave = shift.psi >= rules.psi_warn or distance >= rules.ks_warn
    figures = f"PSI {shift.psi:.2f}" + (f", KS {shift.ks:.2f}" if shift.ks is not None else "")
    yield Finding(
        code="distribution_shift",
        severity=Severity.WARN if grave and shift.rows_now >= _SHIFT_ROWS else Severity.NOTE,
        sentence=f"The distribution of {shift.column} moved ({figures}, {shift.rows_now:,} new rows).",
        advice="look at the plot; a season, a promotion or a new range does this, a changed export as well",
    )


def _note(code: str, sentence: str, advice: str) -> Finding:
    return Finding(code=code, severity=Severity.NOTE, sentence=sentence, advice=advice)


def _stop_or_warn(grave: bool) -> Severity:
    return Severity.STOP if grave else Severity.WARN


# ---------------------------------------------------------------------- days


def recent_days(found: Profile, since: date = date.min) -> Days:
    """What was usual on each day: the median of the same weekday, over the days before the window (from `since` on)."""
    window, before = found.meta.window, found.meta.before
    assert window is not None and before is not None
    rows = dict(zip(found.days["day"], found.days["rows"], strict=True))
    visits = dict(zip(found.days["day"], found.days["visits"], strict=True))
    start = max(before.first, since)
    past = [start + timedelta(days=number) for number in range((window.first - start).days)]
    usual: dict[date, float] = {}
    for weekday in range(7):
        own = [rows.get(day, 0) for day in past if day.weekday() == weekday]
        middle = float(np.median(own)) if own else 0.0
        usual |= {day: middle for day in (*past, *_span(window.first, window.last)) if day.weekday() == weekday}
    logs = [math.log((rows[day] + 0.5) / (usual[day] + 0.5)) for day in past if rows.get(day) and usual[day] >= 1]
    # 1.4826 times the median absolute deviation is the standard deviation of a normal law, whatever a few holidays do.
    deviation = 1.4826 * float(np.median(np.abs(np.array(logs) - np.median(logs)))) if logs else 0.0
    typical = float(np.median([usual[day] for day in past])) if past else 0.0
    last = window.last if _whole_last_day(found) else window.last - timedelta(days=1)
    judged = tuple(_span(window.first, last))
    return Days(tuple(past), rows, visits, usual, judged, max(deviation, 1 / math.sqrt(max(typical, 1.0)), 0.02))


def _whole_last_day(found: Profile) -> bool:
    """Whether the last day ended where days usually do; an export made at noon holds half a day."""
    window, latest = found.meta.window, found.meta.latest
    assert window is not None
    if latest is None or latest.date() > window.last:
        return True
    past = found.hours.filter(pl.col("day") < window.first)
    total = int(past["rows"].sum())
    done = int(past.filter(pl.col("hour") <= latest.hour)["rows"].sum())
    return total == 0 or done / total >= _DAY_ENDS


def _span(first: date, last: date) -> list[date]:
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]


def _runs(days: Sequence[date]) -> Iterator[list[date]]:
    """Runs of days without a gap."""
    run: list[date] = []
    for day in days:
        if run and day - run[-1] != timedelta(days=1):
            yield run
            run = []
        run.append(day)
    if run:
        yield run


def _when(days: Sequence[date]) -> str:
    return f"on {days[0]}" if len(days) == 1 else f"from {days[0]} to {days[-1]}"


def _volume(found: Profile, rules: QualityRules, since: date) -> Iterator[Finding]:
    """Days with far fewer or far more rows than the same weekday has."""
    known = recent_days(found, since)
    open_days = [day for day in known.judged if known.usual[day] >= 1]
    ratio = {day: (known.rows.get(day, 0) + 0.5) / (known.usual[day] + 0.5) for day in open_days}
    low = [day for day in open_days if rules.volume_closed < ratio[day] <= rules.volume_low]
    for run in _runs(low):
        sigmas = -sum(math.log(ratio[day]) for day in run) / (known.spread * math.sqrt(len(run)))
        if sigmas >= rules.volume_sigmas:
            yield _volume_finding("volume", len(run) >= 2, known, run, "part of the rows is missing: send them again")
    for run in _runs([day for day in open_days if ratio[day] <= rules.volume_closed]):
        holiday = len(run) <= rules.closed_days
        advice = "nothing, if the shop was closed; else send these days again"
        yield _volume_finding("volume", not holiday, known, run, advice)
    for run in _runs([day for day in open_days if ratio[day] >= math.sqrt(rules.volume_high)]):
        sigmas = sum(math.log(ratio[day]) for day in run) / (known.spread * math.sqrt(len(run)))
        if sigmas >= rules.volume_sigmas:
            grave = sum(ratio[day] >= rules.volume_high for day in run) >= 2
            yield _volume_finding("volume", grave, known, run, "rows may have come twice, or a till books wrong ones")


def _volume_finding(code: str, grave: bool, known: Days, run: list[date], advice: str) -> Finding:
    rows, usual = sum(known.rows.get(day, 0) for day in run), sum(known.usual[day] for day in run)
    sentence = f"{rows:,} rows {_when(run)}, where such days have {usual:,.0f} ({rows / max(usual, 1):.0%})."
    return Finding(code=code, severity=_stop_or_warn(grave), sentence=sentence, advice=advice, since=run[0])


def _rows_per_visit(found: Profile, rules: QualityRules, since: date) -> Iterator[Finding]:
    """A feed that lost rows at random leaves visits with fewer rows each; a quiet day does not."""
    known = recent_days(found, since)
    each = {day: known.rows[day] / known.visits[day] for day in known.rows if known.visits[day] >= _STRANGE_ROWS}
    past = np.log([each[day] for day in known.days if day in each])
    if len(past) < rules.reference_minimum:
        return
    middle = float(np.median(past))
    spread = max(1.4826 * float(np.median(np.abs(past - middle))), 0.02)
    low = [
        day
        for day in known.judged
        if day in each
        and each[day] <= rules.visit_low * math.exp(middle)
        and (middle - math.log(each[day])) / spread >= rules.volume_sigmas
    ]
    if low:
        mean = float(np.mean([each[day] for day in low]))
        yield Finding(
            code="rows_per_visit",
            severity=Severity.STOP,
            sentence=f"{mean:.1f} rows a visit {_when(low)}, usually {math.exp(middle):.1f}.",
            advice="rows of single visits are missing: send these days again",
            since=low[0],
        )


# ---------------------------------------------------------------------- prices


def _prices(found: Profile, rules: QualityRules, since: date) -> Iterator[Finding]:
    """What was paid for an item against what is usually paid for it: for the chain by day, and for each store's day."""
    del since  # the usual prices are those after an accepted change already
    window = found.meta.window
    assert window is not None
    priced = found.stores.filter(pl.col("priced") > 0)
    now = priced.filter(pl.col("day") >= window.first)
    yield from _chain_prices(priced, now, window.first, rules)
    stop = math.log(rules.price_stop)
    each = now.filter(pl.col("store_id").is_not_null())
    counts = (pl.col("priced") >= rules.price_rows) & (pl.col("visits") >= rules.price_visits)
    known = pl.concat([_levels(each, "store_id", "day"), _levels(each, "store_id")], how="diagonal")
    off = known.filter(counts, pl.col("level").abs() >= stop)
    stores = off.group_by("store_id").agg(pl.col("level").median(), pl.col("first").min()).sort("store_id")
    if len(stores):
        names = tuple(stores["store_id"])
        levels = ", ".join(
            f"{name} ×{_times(level)}" for name, level in stores.head(_SHOWN).select("store_id", "level").rows()
        )
        yield Finding(
            code="price_level",
            severity=Severity.STOP,
            sentence=f"Prices changed level in {_count(len(names), 'store')}: {levels}{_more(len(names))}.",
            advice="prices come in another unit or currency: correct the export and send these rows again",
            since=min(stores["first"].to_list()),
            subjects=names,
        )


def _chain_prices(priced: pl.DataFrame, now: pl.DataFrame, first: date, rules: QualityRules) -> Iterator[Finding]:
    days = _levels(now, "day").filter(pl.col("priced") >= rules.price_rows).sort("day")
    moved = days.filter(pl.col("level").abs() >= math.log(rules.price_warn))
    if len(moved):
        level = float(moved["level"].abs().max() or 0.0)  # type: ignore[arg-type]
        sign = moved.filter(pl.col("level").abs() == level)["level"][0]
        grave = level >= math.log(rules.price_stop)
        yield Finding(
            code="price_level",
            severity=_stop_or_warn(grave),
            sentence=f"The median item was paid ×{_times(sign)} its usual price {_when(moved['day'].to_list())}.",
            advice="prices come in another unit or currency: correct the export and send these rows again"
            if grave
            else "a large promotion or a price round does this",
            since=moved["day"][0],
        )
    past = priced.filter(pl.col("day") < first)
    usual = float(past["wild"].sum()) / max(float(past["priced"].sum()), 1.0)
    wild = days.filter(pl.col("wild") >= (usual + rules.wild_share) * pl.col("priced"), pl.col("wild") >= _SHOWN)
    if len(wild):
        share = float(wild["wild"].sum()) / float(wild["priced"].sum())
        yield Finding(
            code="price_level",
            severity=Severity.STOP,
            sentence=f"{share:.1%} of the prices {_when(wild['day'].to_list())} are at least {rules.wild_factor:.0f} "
            f"times their item's usual one, or that part of it (usually {usual:.1%}).",
            advice="some prices come in another unit: correct the export and send these rows again",
            since=wild["day"][0],
        )


def _levels(priced: pl.DataFrame, *by: str) -> pl.DataFrame:
    """Put stores' days together: rows and visits add up, the level is the median of the days' medians, by rows."""
    half = pl.col("priced").sort_by("level").cum_sum() * 2 >= pl.col("priced").sum()
    return priced.group_by(*by).agg(
        pl.col("priced").sum(),
        pl.col("visits").sum(),
        pl.col("wild").sum(),
        pl.col("level").sort_by("level").get(half.arg_max()),
        pl.col("day").min().alias("first"),
    )


def _times(level: float) -> str:
    return f"{math.exp(level):.3g}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _more(number: int) -> str:
    return f" and {number - _SHOWN:,} more" if number > _SHOWN else ""


def _catalogue(found: Profile, accepted: Accepted | None, rules: QualityRules) -> Iterator[Finding]:
    """Catalogue prices against the accepted ones; without these, against what is paid."""
    advice = (
        "correct the prices of the table items and ingest it again; until then screens show the last accepted prices"
    )
    items = found.items.filter(pl.col("price") > 0)
    if accepted is None:
        both = items.filter(pl.col("usual") > 0)
        ratios = (both["price"] / both["usual"]).log()
        if len(ratios) >= rules.price_rows and abs(_median(ratios)) >= math.log(rules.catalogue_factor):
            factor = _times(_median(ratios))
            sentence = f"The catalogue's prices are ×{factor} what is paid, at the median of {len(ratios):,} items."
            yield Finding(code="catalogue_prices", severity=Severity.STOP, sentence=sentence, advice=advice)
        return
    old = accepted.items.filter(pl.col("price") > 0).select("item_id", pl.col("price").alias("old"))
    both = items.join(old, on="item_id")
    ratios = (both["price"] / both["old"]).log()
    if len(ratios) < rules.price_rows:
        return
    level = _median(ratios)
    wild = float((ratios.abs() >= math.log(rules.wild_factor)).sum()) / len(ratios)
    if abs(level) >= math.log(rules.price_warn):
        sentence = (
            f"The catalogue's prices are ×{_times(level)} the accepted ones, at the median of {len(ratios):,} items."
        )
        grave = abs(level) >= math.log(rules.price_stop)
        yield Finding(code="catalogue_prices", severity=_stop_or_warn(grave), sentence=sentence, advice=advice)
    elif wild >= rules.wild_share:
        factor = f"{rules.wild_factor:.0f} times the accepted ones, or that part"
        sentence = f"{wild:.1%} of the catalogue's prices are at least {factor}."
        yield Finding(code="catalogue_prices", severity=Severity.STOP, sentence=sentence, advice=advice)


def _median(values: pl.Series) -> float:
    return float(values.median() or 0.0)  # type: ignore[arg-type]


# ---------------------------------------------------------------------- columns and rows


def _missing(found: Profile, rules: QualityRules, since: date) -> Iterator[Finding]:
    """Columns of the interactions that lost their values, day by day against the days before."""
    window = found.meta.window
    assert window is not None
    past = found.days.filter(pl.col("day") < window.first, pl.col("day") >= since)
    now = found.days.filter(pl.col("day") >= window.first, pl.col("rows") >= _STRANGE_ROWS)
    for name in [column for column in found.days.columns if column.startswith("missing_")]:
        column = f"interactions.{name.removeprefix('missing_')}"
        usual = float(past[name].sum()) / max(float(past["rows"].sum()), 1.0)
        risen = now.filter(pl.col(name) >= (usual + rules.missing_warn) * pl.col("rows"))
        if len(risen):
            share = float(risen[name].sum()) / float(risen["rows"].sum())
            days = risen["day"].to_list()
            yield _missing_finding("missing_values", column, usual, share, f" {_when(days)}", rules, days[0])


def _columns(found: Profile, accepted: Accepted | None, rules: QualityRules) -> Iterator[Finding]:
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
        severity=_stop_or_warn(column in rules.essential and share - usual >= rules.missing_stop),
        sentence=f"{share:.0%} of the rows have no {column}{when}; before it was {usual:.0%}.",
        advice="a column of the export was renamed or lost: correct it and ingest again",
        since=since,
    )


def _duplicates(found: Profile, rules: QualityRules, since: date) -> Iterator[Finding]:
    """Rows that are equal in all but their ids."""
    window = found.meta.window
    assert window is not None
    known = found.days.filter(pl.col("compared") > 0)
    past = known.filter(pl.col("day") < window.first, pl.col("day") >= since)
    now = known.filter(pl.col("day") >= window.first, pl.col("compared") >= _STRANGE_ROWS)
    usual = 1 - float(past["distinct"].sum()) / max(float(past["compared"].sum()), 1.0) if len(past) else 0.0
    risen = now.filter(1 - pl.col("distinct") / pl.col("compared") >= usual + rules.duplicates_warn)
    if len(risen):
        share = 1 - float(risen["distinct"].sum()) / float(risen["compared"].sum())
        days = risen["day"].to_list()
        yield Finding(
            code="duplicates",
            severity=_stop_or_warn(share - usual >= rules.duplicates_stop),
            sentence=f"{share:.1%} of the rows {_when(days)} repeat another one under another id; usually {usual:.1%}.",
            advice="the same rows were sent twice with new ids: keep the ids stable in the export",
            since=days[0],
        )


def _strangers(found: Profile, rules: QualityRules, since: date) -> Iterator[Finding]:
    """Items and shoppers that nobody knew: ids of another form look like this."""
    window, before = found.meta.window, found.meta.before
    assert window is not None and before is not None
    settled = max(before.first + timedelta(days=rules.reference_minimum), since)
    past = found.days.filter(pl.col("day") < window.first, pl.col("day") >= settled)
    now = found.days.filter(pl.col("day") >= window.first, pl.col("rows") >= _STRANGE_ROWS)
    if past.is_empty():
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
                sentence=f"{share:.0%} of the rows {_when(days)} are of {name} first seen that week; usually "
                f"{usual:.0%}.",
                advice=f"the ids of {name} changed their form: keep them as they were and send these rows again",
                since=days[0],
            )


def _quarantine(found: Profile, rules: QualityRules) -> Iterator[Finding]:
    fresh = dict(found.quarantine.group_by("table").agg(pl.col("fresh").sum()).rows())
    for table, count in sorted(fresh.items()):
        share = count / max(count + found.arrived.get(table, 0), 1)
        if share >= rules.quarantine_warn and count >= _SHOWN:
            yield Finding(
                code="quarantine",
                severity=_stop_or_warn(share >= rules.quarantine_stop and count >= _STRANGE_ROWS),
                sentence=f"{count:,} rows of {table} that came in since went to the quarantine ({share:.0%}).",
                advice="see `facings quarantine explain`, correct the export and ingest again",
            )


def _history(found: Profile, accepted: Accepted | None, rules: QualityRules) -> Iterator[Finding]:
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
            severity=_stop_or_warn(lost >= rules.history_lost),
            sentence=f"{lost:.1%} of the rows of days that were accepted before are gone.",
            advice="ingest these days again",
        )
    if grown >= rules.history_grown / 5:
        yield Finding(
            code="history",
            severity=_stop_or_warn(grown >= rules.history_grown),
            sentence=f"Days that were accepted before have {grown:.0%} more rows now.",
            advice="nothing, if rows were added later on purpose; else the same rows came under other ids",
        )


def _clock(found: Profile, rules: QualityRules, since: date) -> Iterator[Finding]:
    """The curve of the day moved, or all events bear one hour."""
    window = found.meta.window
    assert window is not None
    before = _spread(_hours(found.hours.filter(pl.col("day") < window.first, pl.col("day") >= since)), 24)
    if before.sum() < _SHIFT_ROWS:
        return
    for days in sorted({window.days, 3, 1}):
        first = max(window.first, window.last - timedelta(days=days - 1))
        if days < window.days and not _whole_last_day(found):
            first = max(window.first, first - timedelta(days=1))
        rows = found.hours.filter(pl.col("day") >= first)
        now = _spread(_hours(rows), 24)
        if now.sum() < _SHIFT_ROWS:
            continue
        shift, without, with_shift = clock_shift(before, now)
        top, usual = now.max() / now.sum(), before.max() / before.sum()
        if top >= 0.9 and usual <= 0.5:
            yield Finding(
                code="clock",
                severity=Severity.STOP,
                sentence=f"{top:.0%} of the events since {first} fall into one hour; usually {usual:.0%}.",
                advice="the export lost the time of day: send these rows with their times",
                since=first,
            )
            return
        if shift and without >= 0.25 and with_shift <= without / 2:
            grave = abs(shift) >= rules.shift_hours
            yield Finding(
                code="clock",
                severity=_stop_or_warn(grave),
                sentence=f"The curve of the day since {first} lies {abs(shift)} h {_side(shift)}.",
                advice="times come in another zone: write UTC and send these rows again"
                if grave
                else "summer time does this where times are written without a zone: write UTC",
                since=first,
            )
            return


def _side(shift: int) -> str:
    return "later" if shift > 0 else "earlier"


def _hours(hours: pl.DataFrame) -> pl.DataFrame:
    return hours.select(pl.col("hour").cast(pl.Int32).alias("cell"), "rows")


# ---------------------------------------------------------------------- stores and event types


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


def _stores(found: Profile, accepted: Accepted | None, rules: QualityRules) -> Iterator[Finding]:
    known = accepted.silent if accepted else {}
    silent = [store for store in silent_stores(found, rules) if known.get(store.store_id, date.min) < store.since]
    for code, own in (
        ("silent_store", [store for store in silent if store.days >= rules.silent_days]),
        ("quiet_store", [store for store in silent if store.days < rules.silent_days]),
    ):
        if own:
            share = sum(store.share for store in own)
            names = ", ".join(f"{store.store_id} since {store.since}" for store in own[:_SHOWN])
            expected = sum(store.expected for store in own)
            yield Finding(
                code=code,
                severity=_stop_or_warn(code == "silent_store" and share >= rules.silent_share),
                sentence=f"{_count(len(own), 'store')} went silent ({names}{_more(len(own))}): no visit where about "
                f"{expected:,.0f} are usual, {share:.1%} of the sales.",
                advice="send the missing stores' rows; where they closed for good, accept the data",
                since=max(store.since for store in own),
                subjects=tuple(store.store_id for store in own),
            )
    window = found.meta.window
    assert window is not None
    old = set(found.stores.filter(pl.col("day") < window.first)["store_id"])
    new = sorted(set(found.stores.filter(pl.col("day") >= window.first)["store_id"].drop_nulls()) - old)
    if new:
        names = ", ".join(new[:_SHOWN])
        sentence = f"{_count(len(new), 'store')} had no sales in the days before: {names}{_more(len(new))}."
        yield _note("new_store", sentence, "nothing, if these stores opened or came back")


def _event_types(found: Profile, rules: QualityRules) -> Iterator[Finding]:
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
            severity=_stop_or_warn(share >= rules.missing_warn),
            sentence=f"No event of type {kind} in {table} since {window.first}; before, "
            f"{rows / before.days:,.0f} a day ({share:.0%}).",
            advice="the source of these events is down: restart it, and send what it kept",
            since=window.first,
        )


# ---------------------------------------------------------------------- items


class ItemTurnover(BaseModel):
    """Items that came and went, with their share of the rows."""

    model_config = ConfigDict(frozen=True)

    new: int  # sold in the window, not in the days before
    new_share: float
    vanished: int  # sold in the days before, not in the window
    vanished_share: float
    dropped: int  # in the accepted catalogue, not in this one


def turnover(found: Profile, accepted: Accepted | None) -> ItemTurnover:
    """Count new and vanished items."""
    items = found.items
    new, gone = (
        items.filter(pl.col("before") == 0, pl.col("now") > 0),
        items.filter(pl.col("before") > 0, pl.col("now") == 0),
    )
    dropped = 0 if accepted is None else accepted.items.join(items, on="item_id", how="anti").height
    return ItemTurnover(
        new=new.height,
        new_share=float(new["now"].sum()) / max(float(items["now"].sum()), 1.0),
        vanished=gone.height,
        vanished_share=float(gone["before"].sum()) / max(float(items["before"].sum()), 1.0),
        dropped=dropped,
    )
