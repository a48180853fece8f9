"""The look at experiments as a Prefect flow. Thin: `pipelines.offers.experiments.results` does the work.

A flow file may be loaded twice under two names, so it holds no types and no state.
"""

from __future__ import annotations

from typing import Any

from configs import telemetry

telemetry.turn_off()  # before Prefect is imported

from prefect import flow  # noqa: E402
from prefect.logging import get_run_logger  # noqa: E402

from configs.settings import load_settings  # noqa: E402


@flow(name="experiments", description="Judge experiments on the policy, and stop what does harm.")
def experiments() -> list[dict[str, Any]]:
    """Judge every experiment that has begun; safe to kill and to run again.

    Returns:
        The experiments, as `facings experiments --json` prints them.
    """
    from pipelines.offers.experiments.results import results

    settings = load_settings()
    found = results(settings, settings.clock().now(), progress=get_run_logger().info)
    return [one.model_dump(mode="json") for one in found]
