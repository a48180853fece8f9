"""`facings ingest`: validate and load a folder of tables."""

from __future__ import annotations

from pathlib import Path

import click

from cli.output import json_option, progress, settings_of, show


@click.command(epilog="Example: facings ingest my-shop/   (my-shop/ holds interactions.csv, items.csv, stores.csv, …)")
@click.argument("folder", type=click.Path(path_type=Path))
@json_option
@click.pass_context
def ingest(context: click.Context, folder: Path, as_json: bool) -> None:
    """Validate and load the tables of FOLDER (parquet or CSV).

    Rows that do not hold go to the quarantine with a reason (see `facings quarantine`). The same folder ingested twice
    changes nothing. A file that cannot be read, or lacks a required column, stops the ingest with nothing changed.
    """
    from pipelines.signals.ingest import ingest as take
    from pipelines.signals.lake import Lake
    from pipelines.snapshot import refresh_shop

    settings = settings_of(context)
    clock = settings.clock()
    report = take(folder, settings.paths, clock=clock, settings=settings, progress=progress)
    refresh_shop(settings.paths, Lake(settings.paths), settings, now=clock.now(), progress=progress)
    lines = [
        f"{name:<15}{count.rows:>12,} rows {count.kept:>12,} kept {count.duplicates:>12,} duplicates "
        f"{count.quarantined:>9,} quarantined"
        for name, count in report.tables.items()
    ]
    if any(count.quarantined for count in report.tables.values()):
        lines.append("Quarantined rows and their reasons: facings quarantine explain")
    show(report.model_dump(), lines, as_json=as_json)
