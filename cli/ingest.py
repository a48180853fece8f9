"""`facings ingest`: validate and load a shop's tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.output import json_option, progress, settings_of, show

if TYPE_CHECKING:
    from pipelines.signals.ingest import IngestReport

_EXAMPLES = """Examples: facings ingest my-shop/ · facings ingest my-shop/ --dry-run · facings ingest export/ --mapping
map.yaml · facings ingest shop.yaml   (shop.yaml names a database and a query for each table: docs/data.md)"""


@click.command(epilog=_EXAMPLES)
@click.argument("folder", metavar="FOLDER|YAML", type=click.Path(path_type=Path))
@click.option(
    "--mapping", type=click.Path(path_type=Path), help="A YAML that maps the export's names, words and times."
)
@click.option("--dry-run", is_flag=True, help="Say what would happen, and change nothing.")
@json_option
@click.pass_context
def ingest(context: click.Context, folder: Path, mapping: Path | None, dry_run: bool, as_json: bool) -> None:
    """Validate and load the tables of FOLDER (parquet or CSV), or of the database or folder that YAML describes.

    Rows that do not hold go to the quarantine with a reason (see `facings quarantine`). The same folder ingested twice
    changes nothing. A file that cannot be read, or lacks a required column, stops the ingest with nothing changed.
    Rows that hold but are hardly real (bots, bursts of fake purchases) are kept, flagged and do not count.
    """
    from pipelines.signals.behaviour.suspicion import REASONS, count_flagged, suspicions
    from pipelines.signals.ingest import ingest as take
    from pipelines.signals.lake.lake import Lake
    from pipelines.signals.quality.report import check_data
    from pipelines.snapshot import refresh_shop

    settings = settings_of(context)
    clock = settings.clock()
    report = take(
        folder, settings.paths, clock=clock, settings=settings, progress=progress, mapping=mapping, dry_run=dry_run
    )
    told, lines = {**report.model_dump(), "data": None, "flagged": {}}, _lines(report)
    if not dry_run:
        lake = Lake(settings.paths)
        data = check_data(settings, lake, clock=clock, progress=progress)
        refresh_shop(settings.paths, lake, settings, now=clock.now(), progress=progress)
        told["data"], told["flagged"] = data.told(), count_flagged(lake, suspicions(settings, lake))
        lines += [
            f"flagged and not counted: {rows:,} interactions, {REASONS[reason]}"
            for reason, rows in told["flagged"].items()
        ]
        lines.append(f"Data: {data.verdict}; {data.page}")
    show(told, lines, as_json=as_json)


def _lines(report: IngestReport) -> list[str]:
    lines = [
        f"{name:<15}{count.rows:>12,} rows {count.kept:>12,} kept {count.duplicates:>12,} duplicates "
        f"{count.quarantined:>9,} quarantined"
        for name, count in report.tables.items()
    ]
    if report.files.unchanged or report.files.changed:
        told = ", ".join(f"{count} {what}" for what, count in report.files.model_dump().items() if count)
        lines.append(f"files: {told}")
    lines += [f"warning: {warning}" for warning in report.warnings]
    if report.settled:
        lines.append(f"{report.settled:,} rows left the quarantine: their file came again without the fault")
    if report.reasons:
        lines += [
            f"{row['rows']:>9,}  {row['table']}: {row['reason']}; {row['way_out']}" for row in report.reasons[:10]
        ]
        lines.append("Quarantined rows and their reasons: facings quarantine explain")
    return ["Dry run: nothing was changed.", *lines] if report.dry_run else lines
