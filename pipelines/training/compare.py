"""Candidates side by side, for people: the gate's page and the model card."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape

from pipelines.training.gate import Comparison, GateDecision
from pipelines.training.plan import Candidate, Plan

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
_WIDTH, _LABEL, _ROW = 860, 260, 26
_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;color:#1b1b1b;background:#fff}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}td,th{padding:.3rem .6rem;text-align:right}
th:first-child,td:first-child{text-align:left}thead{border-bottom:2px solid}tr.chosen{font-weight:700}
.scroll{overflow-x:auto}.yes{color:#0a6b2d}.no{color:#a3150f}svg{max-width:100%;height:auto}
"""


def report_page(
    plan: Plan, decisions: Mapping[str, GateDecision], chosen: str, metrics: Mapping[str, Mapping[str, float]]
) -> str:
    """Return the gate's page: decision, reasons, a plot of the differences and all metrics. No id of a shopper."""
    gate = decisions[chosen]
    word, mark = ("passed", "yes") if gate.passed else ("refused", "no")
    parts = [
        f"<h1>{escape(chosen)}: <span class='{mark}'>{word}</span></h1>",
        f"<p>{_split(plan)} Run {plan.key}, data {plan.data}.</p>",
        "<h2>Reasons</h2>",
        *(_reasons(label, decision) for label, decision in decisions.items()),
        "<h2>Differences</h2><p>Challenger less reference with one-sided bounds of the paired bootstrap over shoppers; "
        "left of the line the challenger is worse.</p>",
        _plot(decisions),
        "<h2>All candidates</h2>",
        f"<div class='scroll'>{_table(metrics, chosen)}</div>",
        "<p>Repeats are what a shopper had bought before the cut, new is the rest; coverage, gini, novelty (bits) and "
        "diversity are of the lists as a whole.</p>",
    ]
    body = "\n".join(parts)
    head = f"<meta charset='utf-8'><title>Gate: {escape(chosen)} {word}</title><style>{_STYLE}</style>"
    return f"<!doctype html>\n<html lang='en'><head>{head}</head><body>\n{body}\n</body></html>\n"


def model_card(plan: Plan, candidate: Candidate, gate: GateDecision, metrics: Mapping[str, Mapping[str, float]]) -> str:
    """Return the version's model card as Markdown: what it is, from what, how good, for what not."""
    recipe, own = candidate.recipe, metrics[candidate.label]
    lines = [
        f"# {recipe.name}",
        "",
        f"Recommender `{recipe.recommender}`, recipe {recipe.fingerprint}, data {plan.data}.",
        f"Signals: {', '.join(recipe.data.event_types)}. Item content: {_named(recipe.data.item_content)}. "
        f"Shopper attributes: {_named((*recipe.data.shopper_attributes, *recipe.data.shopper_features))}.",
        "",
        f"{_split(plan)} The serving artifact was fit on everything before {plan.end:%Y-%m-%d %H:%M}.",
        "",
        *(f"- {name}: {own[name]:.4f}" for name in SHOWN if name in own),
        "",
        f"Gate ({gate.kind}): {'passed' if gate.passed else 'refused'}.",
        *(f"- {reason}" for reason in gate.reasons),
        "",
        "It ranks what to show a shopper. It knows nothing of stock, prices or campaigns: those rules hold at serving. "
        "Its scores order items for one shopper and are no probabilities to compare between models.",
    ]
    return "\n".join(lines) + "\n"


def _named(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "none"


def _split(plan: Plan) -> str:
    return (
        f"Known before {plan.cut:%Y-%m-%d %H:%M} UTC, tested up to {plan.end:%Y-%m-%d %H:%M} UTC "
        f"on lists of {plan.rules.split.k}."
    )


def _reasons(label: str, decision: GateDecision) -> str:
    items = "".join(
        f"<li class='{'yes' if comparison.passed else 'no'}'>{escape(reason)}</li>"
        for reason, comparison in zip(decision.reasons, decision.comparisons, strict=True)
    )
    return f"<h3>{escape(label)}</h3><ul>{items}</ul>"


def _table(metrics: Mapping[str, Mapping[str, float]], chosen: str) -> str:
    columns = [name for name in SHOWN if any(name in own for own in metrics.values())]
    head = "".join(f"<th>{name.replace('_', ' ')}</th>" for name in columns)
    rows = []
    for label, own in metrics.items():
        cells = "".join(f"<td>{own[name]:.4f}</td>" if name in own else "<td>–</td>" for name in columns)
        rows.append(f"<tr{' class=chosen' if label == chosen else ''}><td>{escape(label)}</td>{cells}</tr>")
    return f"<table><thead><tr><th>candidate</th>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _plot(decisions: Mapping[str, GateDecision]) -> str:
    """A forest plot as inline SVG: one line a comparison, from the lower to the upper bound."""
    lines = [(label, comparison) for label, decision in decisions.items() for comparison in decision.comparisons]
    reach = max([1e-9, *(max(abs(comparison.lower), abs(comparison.upper)) for _, comparison in lines)]) * 1.1
    middle = _LABEL + (_WIDTH - _LABEL) / 2

    def across(value: float) -> float:
        return middle + value / reach * (_WIDTH - _LABEL) / 2

    rows = "".join(_bar(label, comparison, (rank + 1) * _ROW, across) for rank, (label, comparison) in enumerate(lines))
    height = (len(lines) + 2) * _ROW
    ticks = "".join(
        f"<text x='{across(value):.1f}' y='{height - 6}' text-anchor='middle' font-size='12'>{value:+.4f}</text>"
        for value in (-reach / 1.1, 0.0, reach / 1.1)
    )
    zero = f"<line x1='{middle}' x2='{middle}' y1='8' y2='{height - _ROW}' stroke='#888' stroke-dasharray='4 3'/>"
    title = "<title>Differences between challenger and reference</title>"
    return f"<svg viewBox='0 0 {_WIDTH} {height}' width='{_WIDTH}' role='img'>{title}{zero}{rows}{ticks}</svg>"


def _bar(label: str, comparison: Comparison, y: int, across: Callable[[float], float]) -> str:
    colour = "#0a6b2d" if comparison.passed else "#a3150f"
    name = f"{label} − {comparison.reference}" + ("" if comparison.scope == "all" else f", {comparison.scope}")
    low, mid, high = across(comparison.lower), across(comparison.difference), across(comparison.upper)
    return (
        f"<text x='0' y='{y + 4}' font-size='13'>{escape(name)}</text>"
        f"<line x1='{low:.1f}' x2='{high:.1f}' y1='{y}' y2='{y}' stroke='{colour}' stroke-width='3'/>"
        f"<circle cx='{mid:.1f}' cy='{y}' r='5' fill='{colour}'/>"
    )
