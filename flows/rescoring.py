"""Scoring anew as a Prefect flow. Thin: `pipelines.training.rescore` does the work.

A flow file may be loaded twice under two names, so it holds no types and no state.
"""

from __future__ import annotations

from typing import Any

from configs import telemetry

telemetry.turn_off()  # before Prefect is imported

from prefect import flow  # noqa: E402
from prefect.logging import get_run_logger  # noqa: E402

from configs.errors import FacingsError  # noqa: E402
from configs.settings import load_settings  # noqa: E402


@flow(name="rescore", description="Tell what showing is worth by what is known now, without training.")
def rescore() -> dict[str, Any]:
    """Score anew what serves; safe to kill and to run again.

    Returns:
        What `facings rescore --json` prints.

    Raises:
        FacingsError: the data is broken, or there is nothing that could be scored. The run fails, so that whoever
            watches it notices; the odds stay.
    """
    from pipelines.training.rescore import rescore as run

    settings = load_settings()
    result = run(settings, clock=settings.clock(), progress=get_run_logger().info)
    if result.status == "stopped":
        raise FacingsError(f"The data is broken, so the odds stay as they are: {' '.join(result.reasons)}")
    return result.model_dump(mode="json")
