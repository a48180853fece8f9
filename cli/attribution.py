"""`facings attribution`: what was shown, and what it led to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from cli.output import json_option, settings_of, show
from configs.errors import UsageError

_STEPS = ("impression", "tap", "scan", "redeem", "purchase")


@click.command(epilog="Example: facings attribution --since 2026-05-01 --until 2026-06-01 --out may.parquet")
@click.option("--since", metavar="T", help="ISO time (UTC) of the first decision; default: a day before --until.")
@click.option("--until", metavar="T", help="ISO time (UTC), exclusive; default: now.")
@click.option("--out", type=click.Path(path_type=Path), help="Where to write one row an item shown (.csv, .parquet).")
@json_option
@click.pass_context
def attribution(context: click.Context, since: str | None, until: str | None, out: Path | None, as_json: bool) -> None:
    """Join impressions, taps, scans, redemptions and purchases to the decisions of a span of time.

    From the log of decisions and the interactions that were ingested; what came late counts when this is run again. A
    purchase counts for one decision at most, within FACINGS_ATTRIBUTION_DAYS of the last touch. Nobody is named.
    """
    settings = settings_of(context)
    if out is not None and out.suffix not in {".csv", ".parquet"}:
        raise UsageError(f"--out {out} must end in .csv or .parquet.")
    end = settings.clock().now() if until is None else moment("--until", until)
    start = end - timedelta(days=1) if since is None else moment("--since", since)
    if start >= end:
        raise UsageError(f"--since {start:%Y-%m-%d %H:%M} is not before --until {end:%Y-%m-%d %H:%M}.")
    from pipelines.signals.behaviour.attribution import attribution as attribute
    from pipelines.signals.lake.lake import Lake
    from pipelines.training.batch import write_table
    from state.decisions import open_decisions

    found = attribute(settings, open_decisions(settings.decisions_uri), Lake(settings.paths), start, end)
    if out is not None:
        write_table(found.to_pandas(), out)
    told: dict[str, Any] = {
        "since": start.isoformat(),
        "until": end.isoformat(),
        "decisions": found["recommendation_id"].n_unique(),
        "shown": found.height,
        **{step: found[f"{step}_time"].count() for step in _STEPS},
        "quantity": found["quantity"].sum(),
        "returned": found["returned"].sum(),
        "revenue": found["revenue"].sum(),
        "currency": settings.currency,
        "out": None if out is None else str(out),
    }
    steps = ", ".join(f"{told[step]:,} with a {step}" for step in _STEPS)
    lines = [
        f"{told['decisions']:,} decisions showed {told['shown']:,} items: {steps}.",
        f"{told['quantity']:g} pieces were bought and kept for {told['revenue']:,} minor units of {told['currency']}, "
        f"{told['returned']:g} were taken back.",
    ]
    show(told, lines, as_json=as_json)


def moment(option: str, text: str) -> datetime:
    """The moment that an option names; without a zone in UTC.

    Raises:
        UsageError: it is none.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{option} {text!r} is not an ISO time; write e.g. 2026-01-31 or 2026-01-31T09:30Z.") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
