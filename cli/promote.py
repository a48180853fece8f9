"""`facings promote`: make a registered version the champion."""

from __future__ import annotations

import click

from cli.output import json_option, progress, settings_of, show


@click.command(epilog="Example: facings promote 7")
@click.argument("version")
@click.option("--force", is_flag=True, help="Publish even a version that the gate refused.")
@json_option
@click.pass_context
def promote(context: click.Context, version: str, force: bool, as_json: bool) -> None:
    """Publish VERSION of the registered model and make it the champion. `facings rollback` undoes it."""
    settings = settings_of(context)
    from pipelines.training.promote import promote as put_in_force

    chosen, snapshot = put_in_force(settings, version, force=force, clock=settings.clock(), progress=progress)
    result = {"version": chosen.version, "recipe": chosen.tags["recipe"], "snapshot": snapshot}
    show(result, [f"Version {chosen.version} ({chosen.tags['recipe']}) serves now."], as_json=as_json)
