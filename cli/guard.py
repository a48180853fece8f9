"""`facings guard`: look at what serves, and take back what does worse than what served before."""

from __future__ import annotations

import click

from cli.output import json_option, progress, settings_of, show


@click.command(epilog="Example: facings guard --json")
@json_option
@click.pass_context
def guard(context: click.Context, as_json: bool) -> None:
    """Compare what was served since the last promotion with what was before, and roll back on a regression.

    By reward, failed decisions and time of a decision, from the log and what it led to; the scheduled deployment does
    the same every ten minutes. Bounds hold however often one looks. Exit code 0 whether it rolled back or not.
    """
    settings = settings_of(context)
    from pipelines.training.live_guard import guard as look

    result = look(settings, clock=settings.clock(), progress=progress)
    head = {
        "fine": f"Fine: version {result.version} goes on serving.",
        "rolled_back": f"Rolled back: version {result.taken_back} does worse; version {result.version} serves again.",
        "nothing": "Nothing to judge.",
    }[result.status]
    lines = [head, *(f"  {reason}" for reason in result.reasons)]
    if result.report:
        lines.append(f"Report: {result.report}")
    show(result.model_dump(mode="json"), lines, as_json=as_json)
