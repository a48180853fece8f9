"""Plots as inline SVG: text that a page can hold, a screen reader can name and any browser can draw."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from html import escape
from typing import NamedTuple

from pipelines.training.document import PLOT_STYLE

_WIDTH, _LABEL, _ROW = 860, 300, 26
_DASHES = ("none", "8 4", "2 4", "10 3 2 3", "5 5", "1 3")
SERIES = len(_DASHES)


class Interval(NamedTuple):
    """One line of a forest plot; `mark` is up, down or even."""

    label: str
    lower: float
    value: float
    upper: float
    mark: str


def forest(title: str, rows: Sequence[Interval]) -> str:
    """Return differences with their bounds, one line each, zero in the middle; without rows there is no plot."""
    if not rows:
        return ""
    reach = max(1e-9, *(max(abs(row.lower), abs(row.upper)) for row in rows)) * 1.1
    middle = _LABEL + (_WIDTH - _LABEL) / 2

    def across(value: float) -> float:
        return middle + value / reach * (_WIDTH - _LABEL) / 2

    height = (len(rows) + 2) * _ROW
    drawn = [f"<line x1='{middle}' x2='{middle}' y1='8' y2='{height - _ROW}' class='rule' stroke-dasharray='4 3'/>"]
    for number, row in enumerate(rows):
        y = (number + 1) * _ROW
        drawn.append(
            f"<text x='0' y='{y + 4}' font-size='13' class='ink'>{escape(row.label)}</text>"
            f"<g class='{row.mark}'><line x1='{across(row.lower):.1f}' x2='{across(row.upper):.1f}' y1='{y}' y2='{y}' "
            f"stroke-width='3'/><circle cx='{across(row.value):.1f}' cy='{y}' r='5'/></g>"
        )
    for value in (-reach / 1.1, 0.0, reach / 1.1):
        told = f"{value:+.4f}" if reach < 100 else f"{value:+,.0f}"
        place = min(max(across(value), _LABEL), _WIDTH - 4 * len(told))
        drawn.append(
            f"<text x='{place:.1f}' y='{height - 6}' text-anchor='middle' font-size='12' class='faint'>{told}</text>"
        )
    return _svg(title, _WIDTH, height, drawn)


def lines(
    title: str,
    series: Mapping[str, Sequence[tuple[float, float]]],
    *,
    across: str,
    upwards: str,
    points: bool = False,
    logarithmic: bool = False,
) -> str:
    """Return one line for each series, told apart by colour and dashes, with a legend.

    Args:
        title: what it shows.
        series: (x, y) points by name, x ascending; values that are not finite are left out.
        across: name of the x axis.
        upwards: name of the y axis.
        points: draw points only.
        logarithmic: the x axis runs by powers of ten; points with x of 0 or less are left out.
    """
    known = {
        name: [(math.log10(x) if logarithmic else x, y) for x, y in own if math.isfinite(y) and _may(x, logarithmic)]
        for name, own in series.items()
    }
    every = [point for own in known.values() for point in own]
    if not every:
        return ""
    left, bottom, width, height = 70, 330, 480, 300
    (x_low, x_high), (y_low, y_high) = _span([x for x, _ in every]), _span([y for _, y in every])

    def place(x: float, y: float) -> str:
        right = left + (x - x_low) / (x_high - x_low) * width
        return f"{right:.1f},{bottom - (y - y_low) / (y_high - y_low) * height:.1f}"

    drawn = [_frame(left, bottom, width, height, across, upwards)]
    for value in _ticks(x_low, x_high, logarithmic):
        x, _ = place(value, y_low).split(",")
        name = f"{10**value:,.0f}" if logarithmic else f"{value:.4g}"
        drawn.append(f"<text x='{x}' y='{bottom + 18}' text-anchor='middle' font-size='12' class='faint'>{name}</text>")
    for value, height_of in ((y_low, bottom), (y_high, bottom - height + 10)):
        drawn.append(
            f"<text x='{left - 8}' y='{height_of}' text-anchor='end' font-size='12' class='faint'>{value:.4g}</text>"
        )
    for number, (name, own) in enumerate(known.items()):
        style = (
            f"class='s{number % SERIES}' stroke-width='2.5' fill='none' stroke-dasharray='{_DASHES[number % SERIES]}'"
        )
        if points:
            drawn += [_point(place(x, y), number) for x, y in own]
        else:
            drawn.append(f"<polyline points='{' '.join(place(x, y) for x, y in own)}' {style}/>")
        y = 40 + number * 24
        sample = f"<line x1='575' x2='615' y1='{y}' y2='{y}' {style}/>" if not points else _point(f"595,{y}", number)
        drawn.append(f"{sample}<text x='625' y='{y + 4}' font-size='13' class='ink'>{escape(name)}</text>")
    return _svg(title, _WIDTH, 385, drawn)


def standalone(svg: str) -> str:
    """Return a plot as a file of its own: with its rules and a name space."""
    opening = "<svg xmlns='http://www.w3.org/2000/svg' "
    return svg.replace("<svg ", opening, 1).replace("</title>", f"</title><style>{PLOT_STYLE}</style>", 1)


def _point(place: str, number: int) -> str:
    x, y = place.split(",")
    return f"<circle cx='{x}' cy='{y}' r='4' class='s{number % SERIES}' stroke-width='2.5' fill='none'/>"


def _span(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _may(x: float, logarithmic: bool) -> bool:
    return math.isfinite(x) and (x > 0 or not logarithmic)


def _ticks(low: float, high: float, logarithmic: bool) -> list[float]:
    """Where the x axis bears a number: its ends, or the powers of ten."""
    if not logarithmic:
        return [low, high]
    return [float(power) for power in range(math.ceil(low), math.floor(high) + 1)] or [low, high]


def _frame(left: int, bottom: int, width: int, height: int, across: str, upwards: str) -> str:
    """The two axes and their names."""
    middle = bottom - height / 2
    corners = f"{left},{bottom - height} {left},{bottom} {left + width},{bottom}"
    return (
        f"<polyline points='{corners}' class='rule' fill='none'/>"
        f"<text x='{left + width / 2}' y='{bottom + 40}' text-anchor='middle' font-size='13' class='ink'>"
        f"{escape(across)}</text>"
        f"<text x='20' y='{middle}' text-anchor='middle' font-size='13' class='ink' "
        f"transform='rotate(-90 20 {middle})'>{escape(upwards)}</text>"
    )


def _svg(title: str, width: int, height: int, drawn: Sequence[str]) -> str:
    name = f"<title>{escape(title)}</title>"
    return f"<svg viewBox='0 0 {width} {height}' width='{width}' role='img'>{name}{''.join(drawn)}</svg>"


def days(
    title: str,
    values: Sequence[tuple[date, float]],
    *,
    usual: Mapping[date, float],
    judged: tuple[date, date] | None,
    upwards: str,
) -> str:
    """Return one line over calendar days, with what is usual beside it and the judged days on a band.

    Args:
        title: what it shows.
        values: day and value, in the order of days; a day that is not there is drawn as 0.
        usual: what is usual on some of the days, drawn dashed.
        judged: first and last day of the band.
        upwards: name of the y axis.
    """
    if not values:
        return ""
    first, last = values[0][0], values[-1][0]
    left, bottom, width, height = 70, 210, _WIDTH - 90, 180
    top = max(1e-9, *(value for _, value in values), *usual.values())
    known = dict(values)

    def across(day: date) -> float:
        return left + (day - first).days / max((last - first).days, 1) * width

    def upward(value: float) -> float:
        return bottom - value / top * height

    whole = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    drawn = []
    if judged is not None:
        start = max(across(judged[0]) - width / max(len(whole), 1) / 2, left)
        drawn.append(
            f"<rect x='{start:.1f}' y='{bottom - height}' width='{left + width - start:.1f}' height='{height}' "
            "class='band'/>"
        )
    drawn.append(_frame(left, bottom, width, height, "", upwards))
    told = " ".join(f"{across(day):.1f},{upward(known.get(day, 0.0)):.1f}" for day in whole)
    drawn.append(f"<polyline points='{told}' class='s0' stroke-width='1.5' fill='none'/>")
    if usual:
        told = " ".join(
            f"{across(day):.1f},{upward(value):.1f}" for day, value in sorted(usual.items()) if day in known
        )
        drawn.append(f"<polyline points='{told}' class='s1' stroke-width='1.5' fill='none' stroke-dasharray='4 3'/>")
    for place in range(5 if len(whole) > 4 else 1):
        day = whole[round(place * (len(whole) - 1) / 4)]
        anchor = ("start", "middle", "middle", "middle", "end")[place]
        drawn.append(
            f"<text x='{across(day):.1f}' y='{bottom + 18}' text-anchor='{anchor}' font-size='12' class='faint'>"
            f"{day:%Y-%m-%d}</text>"
        )
    for value in (0.0, top):
        drawn.append(
            f"<text x='{left - 8}' y='{upward(value) + 4:.1f}' text-anchor='end' font-size='12' class='faint'>"
            f"{value:,.0f}</text>"
        )
    return _svg(title, _WIDTH, bottom + 28, drawn)


def outlines(title: str, labels: Sequence[str], before: Sequence[float], now: Sequence[float]) -> str:
    """Return two distributions over the same cells as outlines, `before` dashed, each as shares; small."""
    if not before or not sum(before) or not sum(now):
        return ""
    left, bottom, width, height = 8, 120, 380, 90
    shares = [[value / sum(own) for value in own] for own in (before, now)]
    top = max(max(own) for own in shares)
    step = width / len(before)
    drawn = [f"<text x='{left}' y='14' font-size='13' class='ink'>{escape(title)}</text>"]
    drawn.append(f"<line x1='{left}' x2='{left + width}' y1='{bottom}' y2='{bottom}' class='rule'/>")
    for own, style in zip(shares, ("class='s1' stroke-dasharray='4 3'", "class='s0'"), strict=True):
        told = " ".join(
            f"{left + (place + side) * step:.1f},{bottom - share / top * height:.1f}"
            for place, share in enumerate(own)
            for side in (0, 1)
        )
        drawn.append(f"<polyline points='{told}' {style} stroke-width='1.8' fill='none'/>")
    for label, x, anchor in ((labels[0], left, "start"), (labels[-1], left + width, "end")):
        place = f"x='{x}' y='{bottom + 16}' text-anchor='{anchor}'"
        drawn.append(f"<text {place} font-size='12' class='faint'>{escape(label)}</text>")
    return _svg(title, left + width + 12, bottom + 24, drawn)
