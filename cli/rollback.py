"""`facings rollback`: put the champion before this one back."""

from __future__ import annotations

import click

from cli.output import json_option, progress, settings_of, show


@click.command(epilog='Example: facings rollback --reason "odd offers in store 12"')
@click.option("--reason", default="rolled back by hand", show_default=True, help="One line for the ledger.")
@json_option
@click.pass_context
def rollback(context: click.Context, reason: str, as_json: bool) -> None:
    """Serve again what served before the current champion; once more goes back further.

    The next retraining is judged against what serves then, and does not publish the same model from the same data
    again.
    """
    settings = settings_of(context)
    from pipelines.training.promote import rollback as put_back

    deployment = put_back(settings, reason=reason, clock=settings.clock(), progress=progress)
    lines = [f"Version {deployment.version} ({deployment.recipe}) serves again."]
    show(deployment.as_dict(), lines, as_json=as_json)
