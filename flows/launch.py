"""Run the flows in this process, register them with a Prefect server, and work for it.

Prefect reads its settings when it is imported, so they are set first and it is imported inside the functions.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from configs import telemetry
from configs.errors import FacingsError
from configs.schedule import Deployment, Schedule
from configs.settings import Settings

ROOT = Path(__file__).resolve().parents[1]


def retrain_here(
    settings: Settings, recipes: Sequence[str], folder: Path | None, accept_data: str | None
) -> dict[str, Any]:
    """Run the retraining flow in this process, against the server at PREFECT_API_URL or a private one in the home."""
    _prepare(settings, quiet=True)
    from flows.retraining import retrain

    place = None if folder is None else str(folder)
    result: dict[str, Any] = retrain(recipes=list(recipes), folder=place, accept_data=accept_data)
    return result


def register(settings: Settings, schedule: Schedule) -> list[dict[str, str]]:
    """Register every deployment of the schedule, and the work pool; done again, it updates them.

    Returns:
        name, cron, timezone, id and work_pool of each deployment.

    Raises:
        FacingsError: no Prefect server answers at PREFECT_API_URL.
    """
    address = _server()
    _prepare(settings, quiet=True)
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate

    with get_client(sync_client=True) as client:
        try:
            client.hello().raise_for_status()
        except Exception as error:
            raise FacingsError(
                f"No Prefect server answers at {address} ({type(error).__name__}); start one with "
                "`prefect server start` or correct PREFECT_API_URL."
            ) from None
        client.create_work_pool(WorkPoolCreate(name=schedule.work_pool, type="process"), overwrite=True)
    return [_apply(settings, schedule, deployment) for deployment in schedule.deployments]


def work_here(settings: Settings, schedule: Schedule) -> None:
    """Run what the server schedules, in processes of this machine, until stopped."""
    _server()
    _prepare(settings, quiet=False)
    from prefect.workers.process import ProcessWorker

    worker = ProcessWorker(work_pool_name=schedule.work_pool)
    asyncio.run(worker.start(printer=lambda *_: None))


def _apply(settings: Settings, schedule: Schedule, deployment: Deployment) -> dict[str, str]:
    from prefect.client.schemas.objects import ConcurrencyLimitConfig
    from prefect.deployments.runner import RunnerDeployment
    from prefect.flows import Flow, load_flow_from_entrypoint
    from prefect.runner.storage import LocalStorage
    from prefect.schedules import Cron

    flow: Flow[..., Any] = load_flow_from_entrypoint(f"{ROOT / deployment.entrypoint}", use_placeholder_flow=False)
    made = flow.to_deployment(
        name=deployment.name,
        schedule=Cron(deployment.cron, timezone=deployment.timezone),
        parameters=deployment.parameters,
        description=deployment.description,
        concurrency_limit=ConcurrencyLimitConfig(limit=1),
        work_pool_name=schedule.work_pool,
        job_variables={
            "working_dir": str(ROOT),
            # Whoever registers or works quietly, a scheduled run's log goes to the server.
            "env": {"FACINGS_HOME": str(settings.paths.root), "PREFECT_LOGGING_LEVEL": "INFO"},
        },
    )
    assert isinstance(made, RunnerDeployment)
    made.entrypoint = deployment.entrypoint
    made.storage = LocalStorage(path=str(ROOT))
    number = made.apply()
    return {
        "name": f"{flow.name}/{deployment.name}",
        "cron": deployment.cron,
        "timezone": deployment.timezone,
        "id": str(number),
        "work_pool": schedule.work_pool,
    }


def _server() -> str:
    address = os.environ.get("PREFECT_API_URL", "")
    if not address:
        raise FacingsError(
            "PREFECT_API_URL is not set: start a server with `prefect server start` and set it, "
            "e.g. to http://127.0.0.1:4200/api."
        )
    return address


def _prepare(settings: Settings, *, quiet: bool) -> None:
    """Set Prefect's settings where the user has not: state in the home, no telemetry, nothing but our own lines."""
    telemetry.turn_off()
    wanted = {"PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true", "PREFECT_CLI_PROMPT": "false"}
    # Its first start makes a database, and the machine may be busy: Prefect's own 20 s are not always enough.
    wanted["PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"] = "180"
    if "PREFECT_API_URL" not in os.environ:
        settings.paths.prefect.mkdir(parents=True, exist_ok=True)
        wanted["PREFECT_HOME"] = str(settings.paths.prefect)
    if quiet:
        # A failed step is told in one sentence by the command; Prefect would print its traceback as well.
        wanted |= {"PREFECT_LOGGING_LEVEL": "CRITICAL", "PREFECT_LOGGING_SERVER_LEVEL": "CRITICAL"}
    for name, value in wanted.items():
        os.environ.setdefault(name, value)
