"""One page about the experiments of a home: what each variant brought, with intervals, and what was concluded."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from pipelines.offers.experiments.judge import METRICS, Difference, Judged
from pipelines.training.document import document, table
from pipelines.training.plots import Interval, forest

_UNITS = {"profit": "minor units a shopper", "redemption": "share of shoppers", "basket": "minor units a visit"}
_MARKS = {"harm": "no", "mismatch": "no", "better": "yes"}


def experiments_page(found: Sequence[Judged]) -> str:
    """Return the page; nobody is named in it."""
    parts = [
        "<h1>Experiments</h1>",
        "<p>A shopper is one unit and counts when the time after they first took part is over. Intervals hold over all "
        "looks: one may look daily and stop as soon as one leaves zero.</p>",
        *(part for one in found for part in _experiment(one)),
    ]
    return document("Experiments", parts if found else [*parts, "<p>There is none.</p>"])


def lines(found: Sequence[Judged]) -> list[str]:
    """The same for a terminal."""
    told = []
    for one in found:
        told.append(f"{one.sentence}.")
        for arm in one.arms:
            deciding = arm.against_control.get(one.decided_by)
            gain = f", {one.decided_by} {_signed(deciding)} against {one.control}" if deciding else ""
            told.append(f"  {arm.name}: {arm.shoppers:,} shoppers{gain}")
    return told or ["There is no experiment that has begun."]


def _experiment(one: Judged) -> list[str]:
    rows = [[arm.name, f"{arm.shoppers:,}", *(_cell(arm.means[metric]) for metric in METRICS)] for arm in one.arms]
    names = ["variant", "shoppers", *(f"{metric}, {_UNITS[metric]}" for metric in METRICS)]
    plots = []
    for metric in METRICS:
        drawn = [
            _interval(f"{arm.name} less {other}", both[metric])
            for arm in one.arms
            for other, both in ((one.control, arm.against_control), ("holdout", arm.against_holdout))
            if metric in both
        ]
        plots.append(forest(f"{metric}: {_UNITS[metric]}", drawn))
    checks = [] if one.mismatch_p is None else [f"sizes of the arms p = {one.mismatch_p:.3g}"]
    checks += [f"spent before, {variant}: p = {p:.3g}" for variant, p in one.before_p.items()]
    mark = _MARKS.get(one.status)
    words = f"<span class='{mark}'>{escape(one.sentence)}</span>" if mark else escape(one.sentence)
    return [
        f"<h2>{escape(one.name)}</h2><p>{words}.</p>",
        table(f"{one.name}: means, control {one.control}", names, rows, chosen=one.control),
        *(f"<h3>{escape(metric)}</h3>{plot}" for metric, plot in zip(METRICS, plots, strict=True) if plot),
        f"<p class='faint'>A/A checks, a single look each: {escape('; '.join(checks) or 'nobody took part yet')}. "
        f"Intervals hold {one.confidence:.0%} over all looks and variants.</p>",
    ]


def _cell(value: float | None) -> str:
    return "–" if value is None else f"{value:,.4g}"


def _interval(label: str, one: Difference) -> Interval:
    return Interval(label, one.low, one.value, one.high, "up" if one.low > 0 else "down" if one.high < 0 else "even")


def _signed(one: Difference) -> str:
    return f"{one.value:+,.4g} [{one.low:+,.4g}, {one.high:+,.4g}]"
