"""The model card of one trained recipe, as Markdown: what it is for, from what, how good for whom, and its limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from configs.recipe import Recipe
from pipelines.training.gate_page import SHOWN

LIMITS = (
    "It ranks what to show a shopper. It knows nothing of stock, prices or campaigns: those rules hold at serving.",
    "Its scores order items for one shopper and are no probabilities to compare between models.",
    "Its figures are of this shop and this test window; another season may give others.",
)


def model_card(
    recipe: Recipe,
    *,
    data: str,
    split: str,
    metrics: Mapping[str, float],
    slices: Sequence[tuple[str, int | None, float]],
    metric: str,
    verdict: Sequence[str] = (),
) -> str:
    """Return the card.

    Args:
        recipe: what was trained.
        data: fingerprint of the data.
        split: what was known, what was tested.
        metrics: means over the shoppers of the test window, by name.
        slices: name, number of shoppers where it is known, and mean of `metric` of each slice.
        metric: the metric by which slices are shown.
        verdict: sentences on what was decided.
    """
    rules = recipe.data
    attributes = (*rules.shopper_attributes, *rules.shopper_features)
    lines = [
        f"# {recipe.name}",
        "",
        f"Recommender `{recipe.recommender}`, recipe {recipe.fingerprint}, data {data}. Lists of "
        f"{recipe.split.k} items for each shopper of the shop.",
        f"Signals: {', '.join(rules.event_types)}. Item content: {_named(rules.item_content)}. "
        f"Shopper attributes: {_named(attributes)}.",
        "",
        split,
        "",
        *(f"- {name}: {metrics[name]:.4f}" for name in SHOWN if name in metrics),
        "",
        f"| slice | shoppers | {metric} |",
        "|---|---|---|",
        *(f"| {name} | {'–' if count is None else count} | {value:.4f} |" for name, count, value in slices),
        "",
        *verdict,
        *([""] if verdict else []),
        "Limits:",
        "",
        *(f"- {limit}" for limit in LIMITS),
    ]
    return "\n".join(lines) + "\n"


def _named(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "none"
