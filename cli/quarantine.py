"""`facings quarantine`: list, explain, correct and re-admit rows that did not hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cli.output import json_option, progress, settings_of, show
from configs.errors import UsageError
from configs.settings import Settings

_EXAMPLES = """Examples: facings quarantine --json · facings quarantine explain · facings quarantine export --out fix/ ·
facings quarantine readmit --corrected fix/ · facings quarantine readmit"""


@click.command(epilog=_EXAMPLES)
@click.argument("action", type=click.Choice(["list", "explain", "export", "readmit"]), default="list")
@click.option("--table", help="Only rows of this table (not for readmit).")
@click.option("--out", type=click.Path(path_type=Path), help="export: the folder that takes a CSV file for each table.")
@click.option(
    "--corrected", type=click.Path(path_type=Path), help="readmit: the exported folder, with its rows corrected."
)
@click.option(
    "--mapping", type=click.Path(path_type=Path), help="readmit: read the rows' words and times by this YAML."
)
@json_option
@click.pass_context
def quarantine(
    context: click.Context,
    action: str,
    table: str | None,
    out: Path | None,
    corrected: Path | None,
    mapping: Path | None,
    as_json: bool,
) -> None:
    """Show the rows that ingest refused, why, and take them in after a fix.

    `list` names table, file, line and reason of each; `explain` counts reasons and tells the way out. `export` writes
    the rows as CSV files to be corrected; `readmit --corrected` takes these in. `readmit` alone tries every row again,
    for instance after the store they name was ingested; with --mapping, after a word or a time's format was mapped.
    """
    import polars as pl

    from pipelines.signals.contract.tables import TABLES
    from pipelines.signals.lake.lake import Lake
    from pipelines.signals.quarantine.readmission import export_quarantine
    from pipelines.signals.quarantine.rows import explain, read_quarantine

    settings = settings_of(context)
    if table is not None and table not in TABLES:
        raise UsageError(f"There is no table {table!r}; the tables are {', '.join(TABLES)}.")
    if (out is not None) != (action == "export"):
        raise UsageError("--out FOLDER belongs to export, which needs it: facings quarantine export --out fix/")
    if action != "readmit" and (corrected is not None or mapping is not None):
        raise UsageError("--corrected and --mapping belong to readmit.")
    if action == "readmit":
        if table is not None:
            raise UsageError("readmit tries all rows; leave --table out.")
        _readmit(settings, corrected, mapping, as_json=as_json)
        return
    rows = read_quarantine(Lake(settings.paths))
    if table is not None:
        rows = rows.filter(pl.col("table") == table)
    if out is not None:
        files = {name: str(file) for name, file in export_quarantine(rows, out).items()}
        lines = [
            f"{file}: correct its rows, then facings quarantine readmit --corrected {out}" for file in files.values()
        ]
        show({"files": files}, lines or ["There is no row to correct."], as_json=as_json)
        return
    if action == "explain":
        told = explain(rows).to_dicts()
        lines = [f"{row['rows']:>9,}  {row['table']}: {row['reason']}{_such_as(row)}; {row['way_out']}" for row in told]
    else:
        told = rows.select("table", "file", "line", "reason").to_dicts()
        lines = [f"{row['table']}  {row['file']}:{row['line']}  {row['reason']}" for row in told]
    show(told, lines or ["The quarantine is empty."], as_json=as_json)


def _readmit(settings: Settings, corrected: Path | None, mapping: Path | None, *, as_json: bool) -> None:
    from pipelines.signals.ingest import readmit
    from pipelines.signals.lake.lake import Lake
    from pipelines.signals.quality.report import check_data
    from pipelines.signals.quarantine.rows import read_quarantine
    from pipelines.snapshot import refresh_shop

    clock, lake = settings.clock(), Lake(settings.paths)
    report = readmit(
        settings.paths, clock=clock, settings=settings, progress=progress, mapping=mapping, corrected=corrected
    )
    if lake.has("interactions"):
        check_data(settings, lake, clock=clock, progress=progress)
        refresh_shop(settings.paths, lake, settings, now=clock.now(), progress=progress)
    left = read_quarantine(lake).height
    taken = sum(count.kept for count in report.tables.values())
    show(report.model_dump(), [f"{taken:,} rows taken in, {left:,} stay in quarantine"], as_json=as_json)


def _such_as(row: dict[str, Any]) -> str:
    return f" (such as {', '.join(row['values'])})" if row["values"] else ""
