"""One page about a policy that was judged from a log."""

from __future__ import annotations

import math
from html import escape

from pipelines.offers.evaluation.estimators import Estimate, Estimates
from pipelines.training.document import document, table
from pipelines.training.plots import Interval, forest

NAMES = {
    "ips": "IPS (weighted)",
    "snips": "SNIPS (self-normalised)",
    "dm": "direct method",
    "dr": "doubly robust",
    "switch": "switch",
}


def evaluation_page(found: Estimates, about: str) -> str:
    """Return the page: warnings first, then what the policy gains over the logged one, and all values.

    Args:
        found: what was estimated.
        about: a sentence on what was judged, plain text.
    """
    parts = [
        "<h1>Off-policy evaluation</h1>",
        f"<p>{escape(about)} {escape(size_sentence(found))}</p>",
        *(f"<p class='no'>{escape(sentence)}</p>" for sentence in found.warnings),
        "<h2>Gain over what was logged</h2>",
        f"<p>A row's reward under the policy in question less its reward as logged, with {found.confidence:.0%} "
        "intervals.</p>",
        forest("Gain over the logged policy, by estimator", _rows(found)),
        "<h2>Values</h2>",
        table(
            "Mean reward of a row",
            ["estimator", "value", "low", "high"],
            [["logged policy", *_cells(found.logged)], *([NAMES[name], *_cells(one)] for name, one in
             found.estimators.items())],
        ),
        *(f"<p class='faint'>{escape(NAMES[name])}: {escape(why)}.</p>" for name, why in found.why.items()),
        "<p>Doubly robust is the one to read where there is a reward model, SNIPS where there is none. The direct "
        "method is as wrong as its model, whatever its interval.</p>",
    ]  # fmt: skip
    return document("Off-policy evaluation", parts)


def lines(found: Estimates) -> list[str]:
    """The same for a terminal."""
    head = f"{'':<24}{'value':>12}{'low':>12}{'high':>12}"
    rows = [("logged policy", found.logged), *((NAMES[name], one) for name, one in found.estimators.items())]
    whys = sorted(set(found.why.values()))
    return [
        head,
        *(f"{name:<24}" + "".join(f"{cell:>12}" for cell in _cells(one)) for name, one in rows),
        size_sentence(found),
        *(f"Not to be had ({', '.join(name for name in found.why if found.why[name] == why)}): {why}." for why in whys),
        *(f"WARNING: {sentence}" for sentence in found.warnings),
    ]


def size_sentence(found: Estimates) -> str:
    """Rows, effective rows and mean weight."""
    of = "" if found.decisions == found.n else f" of {found.decisions:,} decisions"
    return (
        f"{found.n:,} rows{of}, effective sample size {found.ess:,.1f} ({found.ess / found.n:.1%}), mean weight "
        f"{found.mean_weight:.3f}; intervals hold {found.confidence:.0%}."
    )


def _rows(found: Estimates) -> list[Interval]:
    rows = []
    for name, gain in found.gains.items():
        if gain is not None and math.isfinite(gain.low) and math.isfinite(gain.high):
            mark = "up" if gain.low > 0 else "down" if gain.high < 0 else "even"
            rows.append(Interval(NAMES[name], gain.low, gain.value, gain.high, mark))
    return rows


def _cells(one: Estimate | None) -> list[str]:
    if one is None:
        return ["–"] * 3
    return [f"{value:.6g}" if math.isfinite(value) else "unbounded" for value in (one.value, one.low, one.high)]
