"""`facings history`: what served when."""

from __future__ import annotations

import click

from cli.output import json_option, settings_of, show


@click.command(epilog="Example: facings history --json")
@json_option
@click.pass_context
def history(context: click.Context, as_json: bool) -> None:
    """Show every deployment, the newest first: when, by what action, which version, from which recipe, and why."""
    settings = settings_of(context)
    from pipelines.training.promote import deployments

    rows = deployments(settings)
    lines = [
        f"{row.id:>4}  {row.at:%Y-%m-%d %H:%M}  {row.action:<8}  version {row.version:<4}  {row.recipe:<20}  "
        f"{row.status:<11}  {row.reason}"
        for row in rows
    ]
    show([row.as_dict() for row in rows], lines or ["Nothing was ever published."], as_json=as_json)
