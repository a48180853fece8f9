"""`facings rescore`: what is shown follows the day, without training."""

from __future__ import annotations

from pathlib import Path

import click

from cli.output import intake_options, json_option, progress, settings_of, show


@click.command(epilog="Example: facings rescore --json")
@intake_options("Score")
@json_option
@click.pass_context
def rescore(context: click.Context, folder: Path | None, accept_data: str | None, as_json: bool) -> None:
    """Take in what has arrived, and tell what showing is worth by what is known now: nothing is trained.

    The version that serves goes on serving; the odds of its slates are those of today. Exit code 0: done, or there was
    nothing to do (status unchanged, or nothing where the version has no value model); 1: nothing serves, the version is
    of an earlier Facings and kept no model, or the data is broken (status stopped): the odds stay as they are.
    Safe to stop at any moment and to run again.
    """
    settings = settings_of(context)
    from pipelines.training.rescore import rescore as run

    result = run(settings, folder=folder, accept_data=accept_data, clock=settings.clock(), progress=progress)
    head = {
        "scored": f"Scored: version {result.version} serves with the odds of {result.moment:%Y-%m-%d %H:%M} UTC."
        if result.moment
        else "",
        "unchanged": f"Unchanged: version {result.version} serves with these odds already.",
        "nothing": "Nothing to score.",
        "stopped": "Stopped: the data is broken; the odds stay as they are.",
    }[result.status]
    show(result.model_dump(mode="json"), [head, *(f"  {reason}" for reason in result.reasons)], as_json=as_json)
    if result.status == "stopped":
        context.exit(1)
