"""The live guard as a Prefect flow. Thin: `pipelines.training.live_guard` does the work.

A flow file may be loaded twice under two names, so it holds no types and no state.
"""

from __future__ import annotations

from typing import Any

from configs import telemetry

telemetry.turn_off()  # before Prefect is imported

from prefect import flow  # noqa: E402
from prefect.logging import get_run_logger  # noqa: E402

from configs.settings import load_settings  # noqa: E402


@flow(name="guard", description="Take back what does worse live than what served before.")
def guard() -> dict[str, Any]:
    """Judge what serves by what it led to; safe to kill and to run again.

    Returns:
        What `facings guard --json` prints.
    """
    from pipelines.training.live_guard import guard as look

    settings = load_settings()
    result = look(settings, clock=settings.clock(), progress=get_run_logger().info)
    return result.model_dump(mode="json")
