"""`facings deploy`: register the scheduled jobs with a Prefect server."""

from __future__ import annotations

import click

from cli.output import json_option, progress, settings_of, show
from configs.schedule import load_schedule


@click.command(epilog="Example: PREFECT_API_URL=http://127.0.0.1:4200/api facings deploy --serve")
@click.option("--serve", is_flag=True, help="Then run here what the server schedules, until stopped.")
@json_option
@click.pass_context
def deploy(context: click.Context, serve: bool, as_json: bool) -> None:
    """Register the jobs of configs/schedule.yaml with the Prefect server at PREFECT_API_URL.

    Without --serve a worker runs them: `prefect worker start --pool facings`.
    """
    settings = settings_of(context)
    schedule = load_schedule()
    from flows.launch import register, work_here

    made = register(settings, schedule)
    lines = [f"{one['name']}: {one['cron']} ({one['timezone']}), work pool {one['work_pool']}" for one in made]
    show({"deployments": made}, lines, as_json=as_json)
    if serve:
        progress("Waiting for scheduled runs; stop with Ctrl+C")
        work_here(settings, schedule)
