"""`facings tune`: search the ranges that a recipe names."""

from __future__ import annotations

from pathlib import Path

import click

from cli.output import json_option, progress, settings_of, show
from configs.errors import FacingsError, UsageError
from configs.recipe import load_recipe


@click.command(epilog="Example: facings tune my-idea.yaml --trials 50 --out my-idea-tuned.yaml")
@click.argument("recipe", metavar="R")
@click.option(
    "--trials",
    type=click.IntRange(1, 10_000),
    default=30,
    show_default=True,
    help="Settings to try, earlier ones included.",
)
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), help="Begin no trial after so many seconds.")
@click.option("--out", type=click.Path(path_type=Path), help="Write the best recipe here (.yaml); default: print it.")
@json_option
@click.pass_context
def tune(
    context: click.Context, recipe: str, trials: int, timeout: float | None, out: Path | None, as_json: bool
) -> None:
    """Search the `ranges` of recipe R and give the best setting as a recipe.

    Settings are judged by the recipe's `gate.metric` on up to three past windows before the test window, which is not
    looked at: `facings compare` afterwards is a fair test. A search that was stopped goes on when it is called again;
    settings that fall behind are pruned; every trial is a run in MLflow.
    """
    settings = settings_of(context)
    if out is not None and out.suffix not in {".yaml", ".yml"}:
        raise UsageError(f"--out {out} must end in .yaml.")
    asked = load_recipe(recipe)
    from pipelines.training.tuning import tune as search_ranges
    from pipelines.training.tuning_runs import recipe_yaml, track
    from state.files import write_atomic

    clock = settings.clock()
    found = search_ranges(settings, asked, trials=trials, timeout=timeout, clock=clock, progress=progress)
    progress("tune: tracking the study and its trials")
    run = track(settings, found, clock)
    text = recipe_yaml(found)
    if out is not None:
        try:
            write_atomic(out, text)
        except OSError as error:
            progress(text)
            raise FacingsError(f"{out} cannot be written ({error.strerror}); choose another place.") from None
    result = {
        **found.model_dump(mode="json", exclude={"recipe"}),
        "recipe": asked.name,
        "tuned": found.tuned.model_dump(mode="json"),
        "run": run,
        "out": None if out is None else str(out),
    }
    show(result, [text.rstrip()] if out is None else [f"{text.splitlines()[0]}", f"Recipe: {out}"], as_json=as_json)
