"""`facings retrain`: the whole training flow, as the scheduled job runs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cli.output import intake_options, json_option, progress, settings_of, show
from configs.recipe import load_recipe


@click.command(epilog="Example: facings retrain --recipe blend --recipe my-idea.yaml --json")
@click.option("--recipe", "recipes", multiple=True, metavar="R", help="A recipe to try; may be given several times.")
@intake_options("Train")
@json_option
@click.pass_context
def retrain(
    context: click.Context, recipes: tuple[str, ...], folder: Path | None, accept_data: str | None, as_json: bool
) -> None:
    """Take in what has arrived, train, evaluate, and publish what passes the gate.

    Without --recipe the champion's own recipe is refreshed (the recipe `blend` where nothing serves yet). Exit code 0
    when the job did its work: status published, refused (the champion stays; the reasons are told) or unchanged; 1 when
    the data is broken: status stopped, nothing is trained, and the data report says why.
    Safe to stop at any moment and to run again.
    """
    settings = settings_of(context)
    for recipe in recipes:
        load_recipe(recipe)
    from pipelines.training.job import DataStoppedError
    from pipelines.training.retrain import peek

    known = None if folder is not None else peek(settings, recipes, clock=settings.clock(), progress=progress)
    if known is not None:
        result: dict[str, Any] = known.model_dump(mode="json")
    else:
        from flows.launch import retrain_here

        try:
            result = retrain_here(settings, recipes, folder, accept_data)
        except DataStoppedError as stopped:
            if as_json:
                show(stopped.result.model_dump(mode="json"), [], as_json=True)
            raise
    show(result, _lines(result), as_json=as_json)


def _lines(result: dict[str, Any]) -> list[str]:
    version = f"version {result['version']} ({result['recipe']})"
    head = {
        "published": f"Published: {version} serves now.",
        "refused": f"Refused: {version} is kept as the challenger; what served before goes on serving.",
        "unchanged": f"Unchanged: {version} goes on serving.",
    }[result["status"]]
    lines = [head, *(f"  {reason}" for reason in result["reasons"])]
    if result["report"]:
        lines.append(f"Report: {result['report']}")
    if result["data_report"]:
        lines.append(f"Data: {result['data_report']}")
    return [*lines, f"{result['seconds']:.1f} s"]
