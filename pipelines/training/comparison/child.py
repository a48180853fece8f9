"""One training in a process of its own, so that its time and its memory are its own: `python -m …child < task.json`.

The task comes on standard input (settings may hold a password); a failure goes to standard output as one JSON object.
"""

from __future__ import annotations

import ctypes
import json
import resource
import signal
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import AwareDatetime, BaseModel, ConfigDict

from configs import telemetry
from configs.errors import FacingsError, UsageError
from configs.recipe import Recipe
from configs.settings import Settings, load_settings
from features.store import FeatureStore
from models.dataset import Dataset
from models.registry import create
from pipelines.signals.lake.lake import Lake
from pipelines.training.dataset import training_dataset
from state.files import build_folder, exclusive

LOCK = "compare-training.lock"
_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)
LISTS, COSTS = "lists.parquet", "costs.json"


class Task(BaseModel):
    """What to train, and for whom to rank."""

    model_config = ConfigDict(frozen=True)

    settings: dict[str, Any]
    recipe: Recipe
    seed: int
    cut: AwareDatetime
    k: int
    shoppers: Path  # parquet with a column shopper_id
    out: Path  # appears whole or not at all, with LISTS and COSTS


class Costs(BaseModel):
    """What a training took; memory is that of the process, in MiB."""

    model_config = ConfigDict(frozen=True)

    fit_seconds: float
    fit_cpu_seconds: float  # of all threads
    lists_seconds: float
    before_mb: float  # in use when the training began: Python, libraries and the data
    peak_mb: float  # the most in use until the training ended
    interactions: int


def run(task: Task) -> None:
    """Train on what was known at the cut, rank for the shoppers, and leave lists and costs.

    Raises:
        UsageError: the recipe names an unknown recommender or config key.
        FacingsError: it cannot be trained on this data.
    """
    settings = load_settings(**task.settings)
    # Held by the child itself: it may outlive a comparison that was killed, and `facings forget` waits for it, too.
    with exclusive(settings.paths.runs / LOCK, "training of a comparison", wait=True):
        if not task.out.exists():  # another comparison may have trained it while this one waited
            _train(settings, task)


def _train(settings: Settings, task: Task) -> None:
    lake = Lake(settings.paths)
    dataset = _dataset(settings, lake, task)
    asked = [str(shopper) for shopper in pd.read_parquet(task.shoppers)["shopper_id"]]
    before, wall, cpu = _in_use_mb(), time.perf_counter(), time.process_time()
    model = create(task.recipe.recommender, task.recipe.config).fit(dataset, seed=task.seed)
    fit_seconds, fit_cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak, wall = _peak_mb(), time.perf_counter()
    lists = model.recommend(asked, task.k, attributes=lake.read("shoppers"))
    costs = Costs(
        fit_seconds=fit_seconds,
        fit_cpu_seconds=fit_cpu,
        lists_seconds=time.perf_counter() - wall,
        before_mb=before,
        peak_mb=peak,
        interactions=len(dataset.interactions),
    )

    def build(draft: Path) -> None:
        lists.to_parquet(draft / LISTS, index=False)
        (draft / COSTS).write_text(costs.model_dump_json())

    build_folder(task.out, build)


def _dataset(settings: Settings, lake: Lake, task: Task) -> Dataset:
    cut = pd.Timestamp(task.cut)
    if not task.recipe.data.shopper_features:
        return training_dataset(settings, lake, task.recipe, cut)
    with closing(FeatureStore(settings)) as features:
        return training_dataset(settings, lake, task.recipe, cut, features)


def _in_use_mb() -> float:
    return _status("VmRSS") or _most_mb()


def _peak_mb() -> float:
    """On Linux of this program alone: getrusage also counts the parent, whose memory it shared at its start."""
    return _status("VmHWM") or _most_mb()


def _status(field: str) -> float | None:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((float(line.split()[1]) / 1024 for line in lines if line.startswith(f"{field}:")), None)


def _most_mb() -> float:
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**20 if sys.platform == "darwin" else 2**10)


def _end_with_parent() -> None:
    """Where the kernel can tell (Linux), end when the comparison that asked for this ends, however it ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)


def main() -> None:
    """Do the task on standard input; exit code 0 done, 1 could not."""
    _end_with_parent()
    telemetry.turn_off()
    try:
        run(Task.model_validate_json(sys.stdin.read()))
    except FacingsError as error:
        sys.stdout.write(json.dumps({"error": str(error), "usage": isinstance(error, UsageError)}))
        sys.exit(1)


if __name__ == "__main__":
    main()
