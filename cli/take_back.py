"""`facings take-back`: take out again what files brought since the last accepted run."""

from __future__ import annotations

import click

from cli.output import json_option, progress, settings_of, show


@click.command("take-back", epilog="Example: facings take-back && facings ingest my-shop-corrected/")
@json_option
@click.pass_context
def take_back(context: click.Context, as_json: bool) -> None:
    """Take the rows that came since the last accepted run out of the tables without a key (interactions, …).

    For rows that were wrong, such as prices in another unit: correct the files and ingest them again, the right ones
    among them too. Tables with a key are left alone, because a later row replaces an earlier one; events that came over
    HTTP stay. `facings retrain` accepts the data when it ends, published or refused.
    """
    from pipelines.signals.lake.lake import Lake
    from pipelines.signals.quality.report import check_data
    from pipelines.signals.take_back import take_back as take
    from pipelines.snapshot import refresh_shop
    from state.engine import open_engine
    from state.events import arrived_among

    settings = settings_of(context)
    clock, engine, lake = settings.clock(), open_engine(settings.state_uri), Lake(settings.paths)
    taken = take(settings.paths, lambda event_ids: arrived_among(engine, event_ids))
    data = check_data(settings, lake, clock=clock, progress=progress)
    refresh_shop(settings.paths, lake, settings, now=clock.now(), progress=progress)
    lines = [f"{name:<15}{count:>12,} rows taken back" for name, count in taken.items()]
    lines = [*(lines or ["Nothing came since the last accepted run."]), f"Data: {data.verdict}; {data.page}"]
    show({"tables": taken, "data": data.told()}, lines, as_json=as_json)
