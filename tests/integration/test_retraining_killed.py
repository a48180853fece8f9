"""A retraining that is killed at any moment and run again ends where an undisturbed one ends."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from configs.clock import SystemClock
from configs.home import Home
from configs.settings import Settings, load_settings
from pipelines import snapshot
from pipelines.training.promote import deployments
from pipelines.training.retrain import retrain
from pipelines.training.tracking import Tracking

ROOT = Path(__file__).resolve().parents[2]
JOB = """
import sys
from pathlib import Path
from configs.clock import SystemClock
from configs.settings import load_settings
from pipelines.training.retrain import retrain
retrain(load_settings(), folder=Path(sys.argv[1]), clock=SystemClock(), progress=lambda _: None)
"""
DEADLINE = 120.0


def appeared(pattern: str, count: int = 1) -> Callable[[Home], bool]:
    return lambda home: len(list(home.root.glob(pattern))) >= count


def switched(home: Home) -> bool:
    return (snapshot.current(home, "slates") or "").startswith("v2")


# In the order in which a run comes by.
MOMENTS: dict[str, Callable[[Home], bool]] = {
    "a candidate is trained": appeared("runs/*/evaluation-personal_frequency"),
    "the gate has decided": appeared("runs/*/decision.json", 2),
    "the run is being logged": appeared("mlflow-artifacts/*/artifacts/evaluation", 2),
    "the slates are being built": appeared("snapshots/slates/.draft-v2*"),
    "the pointer is switched": switched,
}


def state(settings: Settings) -> dict[str, Any]:
    """What must be the same however the run went: what serves, the registry, the ledger, and no litter."""
    home = settings.paths
    return {
        "serves": snapshot.current(home, "slates"),
        "snapshots": sorted(path.name for path in (home.snapshots / "slates").iterdir()),
        "versions": [
            (version.version, version.aliases, version.tags["key"]) for version in Tracking(settings).versions()
        ],
        "runs": len(list(home.mlflow_artifacts.iterdir())),
        "ledger": [(row.id, row.action, row.version, row.snapshot_id, row.status) for row in deployments(settings)],
        "models left behind": sorted(path.name for path in home.runs.rglob("artifact.json")),
    }


def kill_when(moment: Callable[[Home], bool], settings: Settings, folder: Path) -> int:
    """Start the job in a process of its own and kill -9 it at the moment; return its exit code."""
    environment = {**os.environ, "FACINGS_HOME": str(settings.home), "OMP_NUM_THREADS": "1"}
    job = subprocess.Popen([sys.executable, "-c", JOB, str(folder)], cwd=ROOT, env=environment)
    deadline = time.monotonic() + DEADLINE
    while not moment(settings.paths) and job.poll() is None and time.monotonic() < deadline:
        time.sleep(0.001)
    job.send_signal(signal.SIGKILL)
    return job.wait()


@pytest.fixture(scope="module")
def undisturbed(refreshed_home: Path) -> dict[str, Any]:
    return state(load_settings(home=refreshed_home))


@pytest.mark.parametrize("moment", ["the run is being logged", "the pointer is switched"])
def test_a_killed_run_goes_on_and_ends_as_an_undisturbed_one(
    moment: str, trained: Settings, towns: dict[str, Path], undisturbed: dict[str, Any]
) -> None:
    assert kill_when(MOMENTS[moment], trained, towns["late"]) == -signal.SIGKILL
    result = retrain(trained, folder=towns["late"], clock=SystemClock(), progress=lambda _: None)
    assert result.status in {"published", "unchanged"}
    assert state(trained) == undisturbed


def test_a_run_killed_again_and_again_ends_all_the_same(
    tmp_path: Path, trained_home: Path, towns: dict[str, Path], undisturbed: dict[str, Any]
) -> None:
    shutil.copytree(trained_home, tmp_path / "home")
    settings = load_settings(home=tmp_path / "home")
    for moment in [*MOMENTS][:-1]:
        assert kill_when(MOMENTS[moment], settings, towns["late"]) == -signal.SIGKILL
    retrain(settings, folder=towns["late"], clock=SystemClock(), progress=lambda _: None)
    assert state(settings) == undisturbed
