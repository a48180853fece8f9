"""`facings compare`: several recipes on the same split, one page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.output import json_option, progress, settings_of, show

if TYPE_CHECKING:
    from pipelines.training.comparison.compare import ComparisonResult


@click.command(epilog="Example: facings compare champion my-idea.yaml popularity --seeds 3 --out comparison.html")
@click.argument("recipes", nargs=-1, metavar="R1 R2 …")
@click.option("--out", type=click.Path(path_type=Path), help="Where the page goes; default: the home's reports.")
@click.option(
    "--seeds", type=click.IntRange(1, 100), default=1, show_default=True, help="Figures are means over seeds."
)
@click.option("--test-days", type=click.IntRange(min=1), help="Length of the test window; default: the first recipe's.")
@json_option
@click.pass_context
def compare(
    context: click.Context,
    recipes: tuple[str, ...],
    out: Path | None,
    seeds: int,
    test_days: int | None,
    as_json: bool,
) -> None:
    """Train recipes on the same past, judge them on the same test window, and write one page.

    R is a recipe's name or path; `champion` is the recipe that serves. Everything is compared with the first, with
    95 % intervals of the paired bootstrap over shoppers. The page is one file and opens without a server: metrics,
    repeats and new items, slices, exposure, time and memory, and twenty example shoppers. Nothing is published.
    """
    settings = settings_of(context)
    from pipelines.training.comparison.compare import compare as compare_recipes

    result = compare_recipes(
        settings,
        recipes,
        seeds=seeds,
        test_days=test_days,
        out=out,
        clock=settings.clock(),
        progress=progress,
    )
    show(result.model_dump(mode="json"), _lines(result), as_json=as_json)


def _lines(result: ComparisonResult) -> list[str]:
    width = max(len(recipe.label) for recipe in result.recipes)
    lines = [f"{result.shoppers:,} shoppers, at {result.k}; known before {result.cut}"]
    first = result.recipes[0].label
    for recipe in result.recipes:
        metrics, costs = recipe.metrics, recipe.costs
        shown = "  ".join(f"{name} {metrics[name] or 0:.4f}" for name in ("ndcg", "recall", "coverage"))
        lines.append(
            f"{recipe.label:<{width}}  {shown}  trained in {costs.fit_seconds:.1f} s, {costs.peak_mb:,.0f} MiB at most"
        )
    for line in result.lines:
        if line.scope == "all" and line.metric in {"ndcg", "recall"} and line.difference is not None:
            lines.append(
                f"{line.recipe} − {first}  {line.metric} {line.difference:+.4f} "
                f"[{line.lower:+.4f}, {line.upper:+.4f}] (95 %)"
            )
    return [*lines, f"Page: {result.page}"]
