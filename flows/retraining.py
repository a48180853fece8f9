"""The scheduled retraining as a Prefect flow. Thin: every step is `pipelines.training.retrain`'s, run as a task.

A flow file may be loaded twice under two names, so it holds no types and no state.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from logging import INFO
from pathlib import Path
from typing import Any

from configs import telemetry

telemetry.turn_off()  # before Prefect is imported

from prefect import flow, task  # noqa: E402
from prefect.cache_policies import NO_CACHE  # noqa: E402
from prefect.logging import get_run_logger  # noqa: E402

from configs.settings import load_settings  # noqa: E402


@flow(name="retrain", description="Ingest, materialise, train, evaluate, gate and publish.", validate_parameters=True)
def retrain(
    recipes: list[str] | None = None, folder: str | None = None, accept_data: str | None = None
) -> dict[str, Any]:
    """Retrain and publish where the gate agrees; safe to kill and to run again.

    Args:
        recipes: names or paths of recipes to try; none: the champion's own.
        folder: a folder of tables to ingest first.
        accept_data: why data that the checks would stop is as it should be.

    Returns:
        What `facings retrain --json` prints.

    Raises:
        DataStoppedError: the data is broken; nothing was trained. The run fails, so that whoever watches it notices.
    """
    from pipelines.training.job import DataStoppedError
    from pipelines.training.retrain import retrain as run

    settings = load_settings()
    logger = get_run_logger()

    def tell(line: str) -> None:
        logger.info(line)
        if not logger.isEnabledFor(INFO):
            print(line, file=sys.stderr, flush=True)

    def step(name: str, work: Callable[[], Any]) -> Any:
        # No cache and no stored result: steps keep what they make in the run's own folder, by content.
        return task(name=name, persist_result=False, cache_policy=NO_CACHE)(work)()

    place = Path(folder) if folder is not None else None
    clock = settings.clock()
    result = run(settings, recipes or (), folder=place, accept_data=accept_data, clock=clock, progress=tell, step=step)
    if result.status == "stopped":
        raise DataStoppedError(result)
    return result.model_dump(mode="json")
