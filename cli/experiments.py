"""`facings experiments`: what variants of the policy brought, and whether to stop."""

from __future__ import annotations

from pathlib import Path

import click

from cli.output import json_option, progress, settings_of, show
from configs.errors import UsageError


@click.command(epilog="Example: facings experiments --out experiments.html")
@click.option("--look-only", is_flag=True, help="Stop nothing, whatever is found.")
@click.option("--out", type=click.Path(path_type=Path), help="Where to write a page with plots (.html).")
@json_option
@click.pass_context
def experiments(context: click.Context, look_only: bool, out: Path | None, as_json: bool) -> None:
    """Judge the experiments of configs/experiments.yaml (or FACINGS_EXPERIMENTS), and stop those that do harm.

    Profit, redemption and basket of each variant against the control and the permanent holdout, by shoppers whose time
    is over; intervals hold however often this is run. A variant that loses beyond chance, or arms of wrong sizes, stop
    an experiment: servers notice within a second, and everybody is served by the policy as it is.
    """
    if out is not None and out.suffix != ".html":
        raise UsageError(f"--out {out} must end in .html.")
    settings = settings_of(context)
    from pipelines.offers.experiments.page import experiments_page, lines
    from pipelines.offers.experiments.results import results
    from state.files import write_atomic

    found = results(settings, settings.clock().now(), progress=progress, act=not look_only)
    if out is not None:
        write_atomic(out, experiments_page(found))
    told = [*lines(found), *([] if out is None else [f"The page is {out}."])]
    show({"experiments": [one.model_dump(mode="json") for one in found]}, told, as_json=as_json)
