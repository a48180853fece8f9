"""Checks of the days as a whole: too few or too many rows, thin visits, a clock that moved."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import polars as pl

from configs.quality import QualityRules
from pipelines.signals.quality.findings import CURVE_ROWS, FEW_ROWS, Finding, Severity, stop_or_warn, when_told
from pipelines.signals.quality.profile import Profile
from pipelines.signals.quality.shifts import spread_of
from pipelines.signals.quality.statistics import chance_of_so_few, clock_shift

_DAY_ENDS = 0.9  # a last day that ended before this share of the usual day's rows is half a day


@dataclass(frozen=True)
class Days:
    """The judged event type by day: `rows`, `visits`, what is `usual` on such a day, and which days are judged."""

    days: tuple[date, ...]
    rows: dict[date, int]
    visits: dict[date, int]
    usual: dict[date, float]
    judged: tuple[date, ...]  # whole days of the window
    spread: float  # standard deviation of the log of rows over usual, of the days before
    clump: float  # rows that come together: half as many again as a visit has, as visits differ in length


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
    spread = max(deviation, 1 / math.sqrt(max(typical, 1.0)), 0.02)
    clump = 1.5 * sum(rows.get(day, 0) for day in past) / max(sum(visits.get(day, 0) for day in past), 1)
    return Days(tuple(past), rows, visits, usual, judged, spread, max(clump, 1.0))


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


def volume(found: Profile, rules: QualityRules, since: date) -> Iterator[Finding]:
    """Days with far fewer or far more rows than the same weekday has."""
    known = recent_days(found, since)
    open_days = [day for day in known.judged if known.usual[day] >= 1]
    ratio = {day: (known.rows.get(day, 0) + 0.5) / (known.usual[day] + 0.5) for day in open_days}
    running = [day for day in open_days if known.rows.get(day, 0) and ratio[day] > rules.volume_closed]
    # All of them first: by chance single days of a small shop are as usual though half of its rows are missing.
    low = [running, *_runs([day for day in running if ratio[day] <= rules.volume_low])]
    told: set[date] = set()
    for run in low:
        if not run or told.issuperset(run) or _share(known, run) > rules.volume_low:
            continue
        sigmas = -math.log(_share(known, run)) * math.sqrt(len(run)) / known.spread
        if sigmas >= rules.volume_sigmas and _no_accident(known, run, rules):
            told.update(run)
            yield _volume_finding("volume", len(run) >= 2, known, run, "part of the rows is missing: send them again")
    for run in _runs([day for day in open_days if day not in running]):
        # A gap is one when the feed goes on behind it; events of a single day may be no feed.
        goes_on = sum(ratio[day] > rules.volume_low for day in open_days if day > run[-1]) >= 2
        holiday = len(run) <= rules.closed_days or not goes_on or not _no_accident(known, run, rules)
        advice = "nothing, if the shop was closed; else send these days again"
        yield _volume_finding("volume", not holiday, known, run, advice)
    for run in _runs([day for day in open_days if ratio[day] >= rules.volume_high]):
        sigmas = sum(math.log(ratio[day]) for day in run) / (known.spread * math.sqrt(len(run)))
        if sigmas >= rules.volume_sigmas:
            advice = "nothing, if these were busy days; else rows may have come twice, or a till books wrong ones"
            yield _volume_finding("volume", False, known, run, advice)


def _share(known: Days, run: Sequence[date]) -> float:
    return (sum(known.rows.get(day, 0) for day in run) + 0.5) / (sum(known.usual[day] for day in run) + 0.5)


def _no_accident(known: Days, run: Sequence[date], rules: QualityRules) -> bool:
    """Whether so few rows hardly come by chance: a small shop has few visits a day, and some days none."""
    rows, usual = sum(known.rows.get(day, 0) for day in run), sum(known.usual[day] for day in run)
    return chance_of_so_few(rows / known.clump, usual / known.clump) * len(known.judged) <= rules.silent_chance


def _volume_finding(code: str, grave: bool, known: Days, run: list[date], advice: str) -> Finding:
    rows, usual = sum(known.rows.get(day, 0) for day in run), sum(known.usual[day] for day in run)
    sentence = f"{rows:,} rows {when_told(run)}, where such days have {usual:,.0f} ({rows / max(usual, 1):.0%})."
    return Finding(code=code, severity=stop_or_warn(grave), sentence=sentence, advice=advice, since=run[0])


def rows_per_visit(found: Profile, rules: QualityRules, since: date) -> Iterator[Finding]:
    """A feed that lost rows at random leaves visits with fewer rows each; a quiet day does not."""
    known = recent_days(found, since)
    each = {day: known.rows[day] / known.visits[day] for day in known.rows if known.visits[day] >= FEW_ROWS}
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
            sentence=f"{mean:.1f} rows a visit {when_told(low)}, usually {math.exp(middle):.1f}.",
            advice="rows of single visits are missing: send these days again",
            since=low[0],
        )


def clock(found: Profile, rules: QualityRules, since: date) -> Iterator[Finding]:
    """The curve of the day moved, or all events bear one hour."""
    window = found.meta.window
    assert window is not None
    before = spread_of(_hours(found.hours.filter(pl.col("day") < window.first, pl.col("day") >= since)), 24)
    if before.sum() < CURVE_ROWS:
        return
    for days in sorted({window.days, 3, 1}):
        first = max(window.first, window.last - timedelta(days=days - 1))
        if days < window.days and not _whole_last_day(found):
            first = max(window.first, first - timedelta(days=1))
        rows = found.hours.filter(pl.col("day") >= first)
        now = spread_of(_hours(rows), 24)
        if now.sum() < CURVE_ROWS:
            continue
        shift, without, with_shift = clock_shift(before, now)
        top, usual = now.max() / now.sum(), before.max() / before.sum()
        # Over one day alone it may be an hour in which much happened.
        if top >= 0.9 and usual <= 0.5 and rows.filter(pl.col("hour") == int(now.argmax()))["day"].n_unique() >= 2:
            yield Finding(
                code="clock",
                severity=Severity.STOP,
                sentence=f"{top:.0%} of the events since {first} fall into one hour; usually {usual:.0%}.",
                advice="the export lost the time of day: send these rows with their times",
                since=first,
            )
            return
        by_chance = 1.5 * math.sqrt(24 / now.sum())  # so far apart lie two samples of one curve at most
        if shift and without >= max(0.25, by_chance) and with_shift <= without / 2:
            grave = abs(shift) >= rules.shift_hours
            yield Finding(
                code="clock",
                severity=stop_or_warn(grave),
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
