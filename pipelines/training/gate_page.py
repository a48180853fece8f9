"""The gate's page: decision, reasons and every candidate's metrics, for people."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from pipelines.training.document import document, table
from pipelines.training.gate import Check, Comparison, GateDecision
from pipelines.training.plan import Plan
from pipelines.training.plots import Interval, forest

# Columns of the table of candidates, in order, where they were measured.
SHOWN = (
    "ndcg",
    "recall",
    "precision",
    "map",
    "mrr",
    "hit_rate",
    "repeat_recall",
    "new_recall",
    "new_ndcg",
    "coverage",
    "gini",
    "novelty",
    "diversity",
)


def report_page(
    plan: Plan, decisions: Mapping[str, GateDecision], chosen: str, metrics: Mapping[str, Mapping[str, float]]
) -> str:
    """Return the gate's page: decision, reasons, a plot of the differences and all metrics. No id of a shopper."""
    gate = decisions[chosen]
    word, mark = ("passed", "yes") if gate.passed else ("refused", "no")
    parts = [
        f"<h1>{escape(chosen)}: <span class='{mark}'>{word}</span></h1>",
        f"<p>{split_sentence(plan)} Run {plan.key}, data {plan.data}.</p>",
        "<h2>Reasons</h2>",
        *(_reasons(label, decision) for label, decision in decisions.items()),
        "<h2>Differences</h2><p>Challenger less reference with one-sided bounds of the paired bootstrap over shoppers; "
        "left of the line the challenger is worse.</p>",
        differences_plot(decisions),
        "<h2>All candidates</h2>",
        metrics_table(metrics, chosen=chosen),
        "<p>Repeats are what a shopper had bought before the cut, new is the rest; coverage, gini, novelty (bits) and "
        "diversity are of the lists as a whole.</p>",
    ]
    return document(f"Gate: {chosen} {word}", parts)


def differences_plot(decisions: Mapping[str, GateDecision]) -> str:
    """A forest plot with one line a comparison, from the lower to the upper bound."""
    rows = [
        Interval(_name(label, comparison), comparison.lower, comparison.difference, comparison.upper, mark)
        for label, decision in decisions.items()
        for comparison in decision.comparisons
        for mark in ("up" if comparison.passed else "down",)
    ]
    return forest("Differences between challenger and reference", rows)


def metrics_table(metrics: Mapping[str, Mapping[str, float]], *, chosen: str | None = None) -> str:
    """All candidates as rows, SHOWN as columns."""
    columns = [name for name in SHOWN if any(name in own for own in metrics.values())]
    rows = [
        [label, *(f"{own[name]:.4f}" if name in own else "–" for name in columns)] for label, own in metrics.items()
    ]
    return table(
        "Means over shoppers", ["candidate", *(name.replace("_", " ") for name in columns)], rows, chosen=chosen
    )


def split_sentence(plan: Plan) -> str:
    """What was known, what was tested, and on how long lists."""
    return (
        f"Known before {plan.cut:%Y-%m-%d %H:%M} UTC, tested up to {plan.end:%Y-%m-%d %H:%M} UTC "
        f"on lists of {plan.rules.split.k}."
    )


def _name(label: str, comparison: Comparison) -> str:
    return f"{label} − {comparison.reference}" + ("" if comparison.scope == "all" else f", {comparison.scope}")


def _reasons(label: str, decision: GateDecision) -> str:
    judged: list[Comparison | Check] = [*decision.comparisons, *decision.checks]
    marks = [("yes" if one.passed else "no") if one.judged else "faint" for one in judged]
    items = "".join(
        f"<li class='{mark}'>{escape(reason)}</li>" for reason, mark in zip(decision.reasons, marks, strict=True)
    )
    held = f"Refused by: {', '.join(decision.refusals)}." if decision.refusals else "Everything holds."
    return f"<h3>{escape(label)}</h3><p>{escape(held)}</p><ul>{items}</ul>"
