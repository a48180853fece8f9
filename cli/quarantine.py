"""`facings quarantine`: list, explain and re-admit rows that did not hold."""

from __future__ import annotations

from typing import Any

import click

from cli.output import json_option, progress, settings_of, show
from configs.errors import UsageError


@click.command(epilog="Examples: facings quarantine --json · facings quarantine explain · facings quarantine readmit")
@click.argument("action", type=click.Choice(["list", "explain", "readmit"]), default="list")
@click.option("--table", help="Only rows of this table (list and explain).")
@json_option
@click.pass_context
def quarantine(context: click.Context, action: str, table: str | None, as_json: bool) -> None:
    """Show the rows that ingest refused, why, and take them in after a fix.

    `list` names table, file, line and reason of each; `explain` counts reasons and tells the way out; `readmit` tries
    every row again, for instance after the store they name was ingested.
    """
    import polars as pl

    from pipelines.signals.contract import TABLES
    from pipelines.signals.ingest import readmit
    from pipelines.signals.lake import Lake
    from pipelines.signals.quarantine import explain, read_quarantine
    from pipelines.snapshot import refresh_shop

    settings = settings_of(context)
    if table is not None and table not in TABLES:
        raise UsageError(f"There is no table {table!r}; the tables are {', '.join(TABLES)}.")
    if action == "readmit":
        if table is not None:
            raise UsageError("readmit tries all rows; leave --table out.")
        clock, lake = settings.clock(), Lake(settings.paths)
        report = readmit(settings.paths, clock=clock, settings=settings, progress=progress)
        if lake.has("interactions"):
            refresh_shop(settings.paths, lake, settings, now=clock.now(), progress=progress)
        left = read_quarantine(lake).height
        taken = sum(count.kept for count in report.tables.values())
        show(report.model_dump(), [f"{taken:,} rows taken in, {left:,} stay in quarantine"], as_json=as_json)
        return
    rows = read_quarantine(Lake(settings.paths))
    if table is not None:
        rows = rows.filter(pl.col("table") == table)
    if action == "explain":
        told = explain(rows).to_dicts()
        lines = [f"{row['rows']:>9,}  {row['table']}: {row['reason']}{_such_as(row)}; {row['way_out']}" for row in told]
    else:
        told = rows.select("table", "file", "line", "reason").to_dicts()
        lines = [f"{row['table']}  {row['file']}:{row['line']}  {row['reason']}" for row in told]
    show(told, lines or ["The quarantine is empty."], as_json=as_json)


def _such_as(row: dict[str, Any]) -> str:
    return f" (such as {', '.join(row['values'])})" if row["values"] else ""
