"""`facings backfill`: features of past moments from all that is known now."""

from __future__ import annotations

from datetime import datetime, timedelta

import click

from cli.output import json_option, progress, settings_of, show


def _step(_context: click.Context, _parameter: click.Parameter, value: str) -> timedelta:
    units = {"d": "days", "h": "hours", "m": "minutes"}
    try:
        return timedelta(**{units[value[-1:]]: float(value[:-1])})
    except (KeyError, ValueError, OverflowError):
        said = f"{value!r} is no length of time; write days, hours or minutes, such as 7d, 12h or 30m."
        raise click.BadParameter(said) from None


def _moment(_context: click.Context, _parameter: click.Parameter, value: str) -> datetime:
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is no time; write it as 2026-05-01 or 2026-05-01T09:30Z.") from None


@click.command(epilog="Example: facings backfill --from 2026-01-04 --to 2026-05-31 --every 7d")
@click.option("--from", "start", callback=_moment, required=True, metavar="T", help="The first moment (UTC).")
@click.option("--to", "end", callback=_moment, required=True, metavar="T", help="The last moment, included.")
@click.option(
    "--every", callback=_step, default="7d", show_default=True, metavar="STEP", help="The step: 7d, 12h, 30m."
)
@json_option
@click.pass_context
def backfill(context: click.Context, start: datetime, end: datetime, every: timedelta, as_json: bool) -> None:
    """Compute the features of past moments from all that is known now.

    For a home that was filled with old data, or after data came late or was corrected. Ends in the same features as one
    clean run over these moments, in whatever order windows are filled. Stopped, it goes on where it was when it is run
    again; run twice, it changes nothing. Training sets of before keep what was known then.
    """
    from pipelines.signals.feature_store.backfill import backfill as fill
    from pipelines.signals.lake.lake import Lake

    settings = settings_of(context)
    report = fill(
        settings, Lake(settings.paths), start=start, end=end, every=every, clock=settings.clock(), progress=progress
    )
    lines = [
        f"{report.moments:,} moments from {report.first:%Y-%m-%d %H:%M} to {report.last:%Y-%m-%d %H:%M} UTC; "
        f"{report.computed:,} computed now, the others were already."
    ]
    lines += [
        f"{name:<17}{view.computed:>12,} rows {view.written:>12,} new or changed {view.online:>12,} online"
        for name, view in report.views.items()
    ]
    show(report.model_dump(mode="json"), lines, as_json=as_json)
