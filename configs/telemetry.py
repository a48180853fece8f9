"""No byte of telemetry leaves the machine: the libraries that call home are told not to, before they are imported."""

from __future__ import annotations

import os
from collections.abc import MutableMapping

# MLflow ignores DO_NOT_TRACK=1: only `true` works for all of them.
QUIET = {
    "DO_NOT_TRACK": "true",
    "FEAST_USAGE": "False",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
}


def turn_off(environment: MutableMapping[str, str] = os.environ) -> None:
    """Set every switch in `environment`; call it before feast, mlflow or prefect is imported."""
    environment.update(QUIET)
