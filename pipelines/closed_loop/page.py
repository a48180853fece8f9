"""The closed loop as one page for people: profit by policy over time, what each policy knows, and every training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from itertools import accumulate

from pipelines.closed_loop.figures import CONFIDENCE, DARK, ORACLE, PRODUCT, Estimate, Figures, PolicyFigures
from pipelines.closed_loop.loop import LoopResult
from pipelines.training.document import document, table
from pipelines.training.plots import Interval, forest, lines

DRAWN = (PRODUCT, ORACLE, "random", "popularity", "response_model", DARK)
NAMES = {
    PRODUCT: "Facings",
    ORACLE: "oracle",
    "oracle_of_habits": "oracle of habits",
    "omniscient": "omniscient",
    "random": "random",
    "popularity": "popularity",
    "response_model": "response model",
    DARK: "no offer",
}


def loop_page(result: LoopResult) -> str:
    """Return the page."""
    policies = result.figures.policies
    order = sorted(policies, key=lambda name: -(policies[name].incremental.value or 0.0))
    parts = [
        *_summary(result),
        "<h2>Profit over time</h2>",
        *_over_time(policies),
        "<h2>All days</h2>",
        *_all_days(result.figures, order),
        "<h2>What each policy knows</h2>",
        table("Policies", ["policy", "knows"], [[NAMES[name], policies[name].knows] for name in order]),
        "<h2>Trainings</h2>",
        table(
            "What the product's training came to",
            ["before day", "outcome", "version", "seconds", "why"],
            [
                [f"{one.day}", one.status, one.version or "–", f"{one.seconds:.0f}", _why(one.reasons)]
                for one in result.trainings
            ],
        ),
        "<h2>Slates</h2>",
        f"<p>{sum(result.fallbacks.values()):,} slates broke {sum(result.broken.values()):,} hard rules (stock, age, "
        "sensitive goods, offers, floors, margins, makers), counted from the town's own truth.</p>",
        table(
            "Why slates were not the shopper's own",
            ["fallback", "slates"],
            [[name, f"{count:,}"] for name, count in result.fallbacks.items()],
        ),
    ]
    return document("Closed loop (simulated)", parts)


def _summary(result: LoopResult) -> list[str]:
    """What was played, and what came of it."""
    config, told = result.config, result.figures
    own = told.policies[PRODUCT]
    return [
        "<h1>Closed loop</h1>",
        "<p><strong>Simulated: nothing in it is real.</strong> "
        f"{config.shoppers:,} shoppers, {config.stores:,} stores, variant {config.variant}, seed {config.seed}: "
        f"{config.history_days} days of history with random goods and offers, then {config.days} days played, "
        f"{config.places} places on a screen. The product trained every {config.retrain_every} days.</p>",
        f"<p>Over dark screens Facings earned {_sum(own.incremental)}: {_share(own.share_of_oracle)} of what "
        f"the oracle did, and {_times(told.ratio_to_targeting)} of {NAMES[told.best_targeting]}, the better of "
        "popularity and response-model targeting.</p>",
    ]


def _over_time(policies: Mapping[str, PolicyFigures]) -> list[str]:
    return [
        lines(
            "Incremental profit so far, by policy",
            {NAMES[name]: _so_far(policies[name]) for name in DRAWN},
            across="day",
            upwards="expected profit over no offer",
        ),
        lines(
            "Profit of each day, by policy",
            {NAMES[name]: [(day.day, day.profit) for day in policies[name].days] for name in DRAWN},
            across="day",
            upwards="profit as it happened",
        ),
    ]


def _all_days(told: Figures, order: Sequence[str]) -> list[str]:
    policies = told.policies
    heads = ["policy", "profit", "over no offer", "interval", "of the oracle's", "interval"]
    return [
        forest(
            "Incremental profit of each policy",
            [_interval(NAMES[name], policies[name].incremental) for name in order if name != DARK],
        ),
        table(
            f"{told.visits:,} visits, {told.screen_visits:,} of which pass a screen that recognises "
            f"{told.recognised_visits:,}; intervals of {CONFIDENCE:.0%} over shoppers",
            [*heads, "a screen visit", "recognised", "unrecognised"],
            [_row(NAMES[name], policies[name]) for name in order],
            chosen=NAMES[PRODUCT],
        ),
        "<p>Every policy plays in its own copy of the town: the same shoppers, visits and luck, under the same hard "
        f"rules. Shoppers of the permanent holdout ({told.holdout_visits:,} visits) get no personal slate from any "
        "policy and are left out of all figures. Profit is price paid less cost of whole baskets; over no offer is the "
        "exact expectation before the luck of the day. A screen visit is what a slate adds to the visit itself; over "
        "no offer also has what follows from it, as goods bought today are not bought tomorrow.</p>",
    ]


def _why(reasons: Sequence[str]) -> str:
    """What did not hold; where all did, what decided."""
    return "; ".join([reason for reason in reasons if reason.endswith("does not hold")] or reasons[:1])


def _so_far(policy: PolicyFigures) -> list[tuple[float, float]]:
    sums = accumulate(day.incremental for day in policy.days)
    return [(0.0, 0.0), *((float(day.day), value) for day, value in zip(policy.days, sums, strict=True))]


def _row(name: str, one: PolicyFigures) -> list[str]:
    return [
        name,
        f"{one.profit:,.0f}",
        f"{one.incremental.value or 0.0:,.0f}",
        _between(one.incremental, lambda value: f"{value:,.0f}"),
        _share(one.share_of_oracle),
        _between(one.share_of_oracle, lambda value: f"{value:.0%}"),
        f"{one.a_visit:.2f}",
        f"{one.recognised:.2f}",
        f"{one.unrecognised:.2f}",
    ]


def _interval(label: str, one: Estimate) -> Interval:
    value, low, high = one.value or 0.0, one.low or 0.0, one.high or 0.0
    return Interval(escape(label), low, value, high, "up" if low > 0 else "down" if high < 0 else "even")


def _between(one: Estimate, form: Callable[[float], str]) -> str:
    return "–" if one.low is None or one.high is None else f"{form(one.low)} to {form(one.high)}"


def _sum(one: Estimate) -> str:
    return f"{one.value or 0.0:,.0f} ({_between(one, lambda value: f'{value:,.0f}')})"


def _share(one: Estimate) -> str:
    return "no share" if one.value is None else f"{one.value:.0%}"


def _times(one: Estimate) -> str:
    return "no multiple" if one.value is None else f"{one.value:.2f} times that"
