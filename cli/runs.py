"""`facings runs`: what was tracked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cli.output import json_option, settings_of, show

if TYPE_CHECKING:
    from pipelines.training.tracking import Run


@click.command(epilog="Example: facings runs --json")
@click.option("--all", "everything", is_flag=True, help="Also the runs below a comparison or a search.")
@json_option
@click.pass_context
def runs(context: click.Context, everything: bool, as_json: bool) -> None:
    """List the tracked runs, the newest first: job, name, recipe, when, main metric, data and code.

    Jobs are retrain, compare, tune (its trials with --all) and benchmark. --json gives all of them, with commit and
    parent.
    """
    settings = settings_of(context)
    from pipelines.training.tracking import Tracking, tracked_before

    found = Tracking(settings).runs() if tracked_before(settings) else []
    lines = [_line(run) for run in found if everything or run.parent is None]
    show([run.model_dump(mode="json") for run in found], lines or ["Nothing was tracked yet."], as_json=as_json)


def _line(run: Run) -> str:
    metric = "" if run.value is None else f"{run.metric or 'main'} {run.value:.4f}"
    name = run.name if run.parent is None else f"  {run.name}"
    return (
        f"{run.at:%Y-%m-%d %H:%M}  {run.job:<9}  {name:<40}  {run.recipe or '–':<20}  {metric:<18}  "
        f"data {run.data or '–':<16}  code {run.code or '–'}"
    )
