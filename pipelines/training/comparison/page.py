"""The comparison as one page that opens anywhere: tables, plots and examples; nothing is loaded, nobody is named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

import yaml

from pipelines.training.comparison.child import Costs
from pipelines.training.comparison.examples import Example, Place
from pipelines.training.comparison.measure import ALL, METRICS, PARTS, Line
from pipelines.training.comparison.plan import ComparisonPlan
from pipelines.training.document import document, table
from pipelines.training.plots import Interval, forest, lines
from pipelines.training.slices import ITEM_SLICES

_STYLE = """
.lists{display:grid;grid-template-columns:repeat(auto-fit,minmax(14rem,1fr));gap:1rem 1.5rem;font-size:.9rem}
.lists h4{margin:.5rem 0 .2rem}.lists ol,.lists ul{margin:0;padding-left:1.6rem}.lists li{overflow-wrap:anywhere}
.hit{font-weight:700;color:var(--yes)}details{border-top:1px solid var(--line);padding:.4rem 0}
summary{cursor:pointer}pre{overflow-x:auto}
nav ul{display:flex;flex-wrap:wrap;gap:.3rem 1.2rem;list-style:none;padding:0}
a{color:var(--s0)}
"""
_MOST_BOUGHT = 15  # of what an example shopper bought in the test window
_SECTIONS = {
    "figures": "All shoppers",
    "parts": "Repeats and new items",
    "slices": "Slices",
    "exposure": "Coverage and exposure",
    "costs": "Cost of training",
    "examples": "Example shoppers",
    "recipes": "Recipes",
}
_WHOLE = {
    "coverage": "coverage",
    "gini": "Gini of exposure",
    "novelty": "novelty (bits)",
    "diversity": "diversity",
}


@dataclass(frozen=True)
class Content:
    """What the page shows; by recipe's label where it is a mapping."""

    plan: ComparisonPlan
    test_shoppers: int
    items: int
    lines: Sequence[Line]
    summaries: Mapping[str, Mapping[str, float]]
    deciles: Mapping[str, Sequence[float]]
    curves: Mapping[str, Sequence[tuple[float, float]]]
    costs: Mapping[str, Costs]
    examples: Sequence[Example] = field(default_factory=tuple)


def comparison_page(content: Content) -> str:
    """Return the page. Shoppers bear the page's own numbers."""
    plan = content.plan
    labels = [entrant.label for entrant in plan.entrants]
    links = "".join(f"<li><a href='#{name}'>{title}</a></li>" for name, title in _SECTIONS.items())
    parts = [
        f"<h1>{escape(' · '.join(labels))}</h1>",
        f"<p>{plan.sentence} {content.test_shoppers:,} shoppers bought something in that window, "
        f"{content.items:,} items may be recommended. Data {plan.data}, code {plan.code}.</p>",
        f"<p>Everything is compared with the first recipe, <strong>{escape(labels[0])}</strong>: difference of the "
        "means over the same shoppers, with the two-sided 95 % interval of the paired bootstrap. An interval that "
        "leaves out 0 is marked ▲ (higher) or ▼ (lower). With many lines a few are marked by chance; decide by "
        "one metric chosen before.</p>",
        f"<nav aria-label='Sections'><ul>{links}</ul></nav>",
        _head("figures"),
        forest(f"Differences to {labels[0]}, all shoppers", _intervals(content.lines, ALL, ("ndcg", "recall"))),
        _metric_table(content.lines, METRICS, f"Means over {content.test_shoppers:,} shoppers, at {plan.k}"),
        _head("parts"),
        "<p>A repeat was bought by the same shopper before the cut; the same lists are judged against each part of "
        "what was bought, over the shoppers who bought something of it.</p>",
        forest(f"Differences to {labels[0]}, by part", _intervals(content.lines, ALL, PARTS)),
        _metric_table(content.lines, PARTS, f"Repeats and new items apart, at {plan.k}"),
        *_slices(content, labels[0]),
        *_exposure(content, labels),
        *_costs(content, labels),
        *_examples(content.examples),
        *_recipes(plan),
    ]
    return document(f"Comparison: {', '.join(labels)}", parts, style=_STYLE)


def plots(content: Content) -> dict[str, str]:
    """Return the page's plots by name, for files of their own."""
    first = content.plan.entrants[0].label
    slices = [line.scope for line in content.lines if line.scope != ALL]
    found = {
        "all": forest(f"Differences to {first}, all shoppers", _intervals(content.lines, ALL, (*METRICS, *PARTS))),
        "slices": forest(
            f"Differences to {first}, by slice",
            [row for scope in dict.fromkeys(slices) for row in _intervals(content.lines, scope, ("ndcg",))],
        ),
        "exposure": _curves(content),
    }
    return {name: plot for name, plot in found.items() if plot}


def _head(name: str) -> str:
    return f"<h2 id='{name}'>{_SECTIONS[name]}</h2>"


def _intervals(all_lines: Sequence[Line], scope: str, metrics: Sequence[str]) -> list[Interval]:
    rows = []
    for line in all_lines:
        if line.scope != scope or line.metric not in metrics or line.difference is None:
            continue
        assert line.lower is not None and line.upper is not None
        where = "" if scope == ALL else f", {_scope(scope)}"
        name = f"{line.recipe}: {_plain(line.metric)}{where}"
        rows.append(Interval(name, line.lower, line.difference, line.upper, line.mark))
    return rows


def _metric_table(all_lines: Sequence[Line], metrics: Sequence[str], caption: str) -> str:
    """Metrics as rows; for each recipe its mean, and from the second on the difference with its interval."""
    known = [line for line in all_lines if line.scope == ALL]
    recipes = list(dict.fromkeys(line.recipe for line in known))
    head = ["metric", "shoppers", recipes[0]] + [word for name in recipes[1:] for word in (name, "difference [95 %]")]
    rows = []
    for metric in metrics:
        own = [line for line in known if line.metric == metric]
        if own:
            rows.append([_plain(metric), f"{own[0].shoppers:,}", *_cells(own)])
    return table(caption, head, rows)


def _cells(own: Sequence[Line]) -> list[str]:
    cells = [f"{own[0].mean:.4f}"]
    for line in own[1:]:
        cells += [f"{line.mean:.4f}", _difference(line)]
    return cells


def _difference(line: Line) -> str:
    assert line.difference is not None and line.lower is not None and line.upper is not None
    text = f"{line.difference:+.4f} [{line.lower:+.4f}, {line.upper:+.4f}]"
    sign, style = {"up": ("▲", "yes"), "down": ("▼", "no"), "even": ("", "faint")}[line.mark]
    return f"<span class='{style}'>{text} {sign}</span>"


def _slices(content: Content, first: str) -> list[str]:
    scopes = list(dict.fromkeys(line.scope for line in content.lines if line.scope != ALL))
    recipes = list(dict.fromkeys(line.recipe for line in content.lines))
    parts = [
        _head("slices"),
        "<p>Cold shoppers had bought nothing before the cut; of the others, light ones bought up to the median, heavy "
        "ones more. A shopper's store is where they bought most before the cut. "
        + " ".join(f"{_scope(name).capitalize()}: {text}." for name, text in ITEM_SLICES.items() if name in scopes)
        + " Slices of items judge the same lists against that part of what was bought, over whoever bought some.</p>",
        forest(
            f"Differences in NDCG to {first}, by slice",
            [row for scope in scopes if not _is_store(scope) for row in _intervals(content.lines, scope, ("ndcg",))],
        ),
    ]
    head = ["slice", "shoppers", recipes[0]] + [word for name in recipes[1:] for word in (name, "difference [95 %]")]
    for metric in ("ndcg", "recall"):
        rows = []
        for scope in scopes:
            own = [line for line in content.lines if line.scope == scope and line.metric == metric]
            if own:
                rows.append([_scope(scope), f"{own[0].shoppers:,}", *_cells(own)])
        parts.append(table(f"{_plain(metric)} by slice, at {content.plan.k}", head, rows))
    return parts


def _exposure(content: Content, labels: Sequence[str]) -> list[str]:
    whole = [name for name in _WHOLE if any(name in content.summaries[label] for label in labels)]
    rows = [[label, *(f"{content.summaries[label][name]:.4f}" for name in whole)] for label in labels]
    tenths = [f"{number}." for number in range(1, 11)]
    shares = [[label, *(f"{share:.1%}" for share in content.deciles[label])] for label in labels]
    return [
        _head("exposure"),
        table("The lists of all shoppers together", ["recipe", *(_WHOLE[name] for name in whole)], rows),
        "<p>Coverage: share of the items that stand in a list at all. Gini: 0 when all items are shown alike, 1 when "
        "one has everything.</p>",
        _curves(content),
        table("Share of places by tenth of the items, the best sold first", ["recipe", *tenths], shares),
    ]


def _curves(content: Content) -> str:
    return lines(
        "Share of places held by the most shown items",
        content.curves,
        across="the so many most shown items",
        upwards="share of places",
        logarithmic=True,
    )


def _costs(content: Content, labels: Sequence[str]) -> list[str]:
    rows = []
    for label in labels:
        cost = content.costs[label]
        rate = cost.interactions / cost.fit_cpu_seconds if cost.fit_cpu_seconds else float("nan")
        rows.append(
            [
                label,
                f"{cost.interactions:,}",
                f"{cost.fit_seconds:.2f} s",
                f"{cost.fit_cpu_seconds:.2f} s",
                f"{rate:,.0f}",
                f"{cost.lists_seconds:.2f} s",
                f"{cost.peak_mb:,.0f} MiB",
                f"{max(0.0, cost.peak_mb - cost.before_mb):,.0f} MiB",
            ]
        )
    head = ["recipe", "interactions", "training", "CPU time", "interactions / CPU s", "lists"]
    head += ["peak memory", "of it by training"]
    return [
        _head("costs"),
        "<p>Each recipe was trained in a process of its own. Peak memory includes Python, libraries and data.</p>",
        table("Time and memory, on the machine that made this page", head, rows),
    ]


def _examples(shown: Sequence[Example]) -> list[str]:
    if not shown:
        return []
    parts = [
        _head("examples"),
        "<p>Chosen by chance, from each slice in turn. <span class='hit'>✓ bold</span>: bought in the test window; "
        "↻: bought before.</p>",
    ]
    for example in shown:
        hits = ", ".join(f"{escape(label)} {sum(place.hit for place in own)}" for label, own in example.lists.items())
        blocks = "".join(_list(label, own) for label, own in example.lists.items())
        past = "".join(
            f"<li>{escape(item.title)} <span class='faint'>{item.times} ×, {item.days_ago} d ago</span></li>"
            for item in example.past
        )
        bought = "".join(f"<li>{escape(title)}</li>" for title in example.bought[:_MOST_BOUGHT])
        if len(example.bought) > _MOST_BOUGHT:
            bought += f"<li class='faint'>and {len(example.bought) - _MOST_BOUGHT:,} more</li>"
        parts.append(
            f"<details{' open' if example.number <= 2 else ''}><summary>Shopper {example.number} ({example.slice}, "
            f"{example.purchases:,} purchases before): {len(example.bought)} items bought, hits {hits}</summary>"
            "<div class='lists'><section><h4>Bought before, newest first</h4>"
            f"<ul>{past or '<li>nothing</li>'}</ul><h4>Bought in the test window</h4><ul>{bought}</ul></section>"
            f"{blocks}</div></details>"
        )
    return parts


def _list(label: str, own: Sequence[Place]) -> str:
    places = "".join(
        f"<li{' class=hit' if place.hit else ''}>{'✓ ' if place.hit else ''}{escape(place.title)}"
        f"{' ↻' if place.again else ''} <span class='faint'>{escape(place.reason)}</span></li>"
        for place in own
    )
    inner = f"<ol>{places}</ol>" if places else "<p>no list: this recommender serves no unknown shopper</p>"
    return f"<section><h4>{escape(label)}</h4>{inner}</section>"


def _recipes(plan: ComparisonPlan) -> list[str]:
    parts = [_head("recipes")]
    for entrant in plan.entrants:
        content = entrant.recipe.model_dump(mode="json", exclude_defaults=True, exclude={"ranges"})
        text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
        parts.append(
            f"<details><summary>{escape(entrant.label)}, recipe {entrant.recipe.fingerprint}</summary>"
            f"<pre>{escape(text)}</pre></details>"
        )
    return parts


def _plain(metric: str) -> str:
    return metric.replace("ndcg", "NDCG").replace("map", "MAP").replace("mrr", "MRR").replace("_", " ")


def _is_store(scope: str) -> bool:
    return scope.startswith("store ") or scope == "other stores"


def _scope(scope: str) -> str:
    return {"item_new": "new items", "item_tail": "makers' tail"}.get(scope, scope)
