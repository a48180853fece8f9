"""`facings simulate`: write a simulated town as a folder of tables."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from cli.output import json_option, progress, settings_of, show
from configs.errors import UsageError


@click.command(epilog="Example: facings simulate --shoppers 500 --stores 4 --days 60 --seed 1 --out town/")
@click.option("--shoppers", type=int, required=True, help="How many shoppers (10 to 5,000,000).")
@click.option("--stores", type=int, required=True, help="How many stores (1 to 2,000).")
@click.option("--days", type=int, required=True, help="How many days; more days begin with the same ones.")
@click.option("--seed", type=int, required=True, help="The same arguments and seed write the same bytes.")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="A new folder, or a simulated one to replace."
)
@click.option("--items", type=int, default=0, help="Items on the first day; default by the shoppers.")
@click.option("--makers", type=int, default=0, help="Makers; default a tenth of the items.")
@click.option("--contents", type=int, default=0, help="Contents; default a quarter of the items.")
@click.option("--variant", default="base", help="How shoppers decide: base, threshold, habit, social or mixed.")
@click.option("--start", type=click.DateTime(["%Y-%m-%d"]), help="First day; default 2025-01-06.")
@click.option("--watch-only-days", type=int, default=30, help="Day on which those who only watch begin to shop.")
@click.option("--format", "form", type=click.Choice(["parquet", "csv"]), default="parquet", show_default=True)
@json_option
@click.pass_context
def simulate(
    context: click.Context,
    shoppers: int,
    stores: int,
    days: int,
    seed: int,
    out: Path,
    items: int,
    makers: int,
    contents: int,
    variant: str,
    start: datetime | None,
    watch_only_days: int,
    form: str,
    as_json: bool,
) -> None:
    """Write a simulated town as a folder that `facings ingest` takes, with its planted truth in truth.json.

    Nothing in it is real, and every row says so (column simulated). docs/simulation.md tells how its shoppers decide.
    """
    from pydantic import ValidationError

    from pipelines.simulation.config import START, TownConfig
    from pipelines.simulation.history import write_history

    try:
        config = TownConfig.model_validate(
            {
                "shoppers": shoppers,
                "stores": stores,
                "days": days,
                "items": items,
                "makers": makers,
                "contents": contents,
                "variant": variant,
                "start": start.date() if start else START,
                "watch_only_days": watch_only_days,
            }
        )
    except ValidationError as error:
        first = error.errors()[0]
        name = "".join(f" --{part}".replace("_", "-") for part in first["loc"])
        raise UsageError(
            f"Such a town cannot be made:{name} {first['msg']}; correct it (facings simulate --help)."
        ) from None
    ends = datetime(config.start.year, config.start.month, config.start.day, tzinfo=UTC) + timedelta(days=days)
    if ends > settings_of(context).clock().now():
        raise UsageError(f"The history would end on {ends:%Y-%m-%d}, which is in the future; give an earlier --start.")
    report = write_history(config, seed, out, form="csv" if form == "csv" else "parquet", progress=progress)
    lines = [
        f"Simulated, nothing in it is real: {shoppers:,} shoppers, {stores:,} stores, {days:,} days, variant {variant}",
        *(f"{name:<15}{rows:>12,} rows" for name, rows in report.tables.items()),
        f"Planted effects: {out / 'truth.json'}. Next: facings ingest {out}",
    ]
    show(report.model_dump(), lines, as_json=as_json)
