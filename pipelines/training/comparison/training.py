"""Train every recipe of a comparison, one process after the other, and keep what each gave."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from configs.errors import FacingsError, UsageError
from configs.settings import Settings
from pipelines.training.comparison.child import COSTS, LISTS, Costs, Task
from pipelines.training.comparison.plan import ComparisonPlan, Entrant
from pipelines.training.plan import model_fingerprint

_CHILD = "pipelines.training.comparison.child"
_FOLDER = "compared"


class Trained(NamedTuple):
    """What one training gave: shopper_id, rank, item_id, score, reason for everybody of the test, and its costs."""

    lists: pd.DataFrame
    costs: Costs


def train_all(
    settings: Settings, plan: ComparisonPlan, shoppers: list[str], *, progress: Callable[[str], None]
) -> dict[str, list[Trained]]:
    """Train each recipe with each seed; what an earlier or a killed comparison on the same ground left is taken up.

    Args:
        settings: names the home.
        plan: what is compared.
        shoppers: whom to rank for.
        progress: told what is being trained.

    Returns:
        One `Trained` a seed by label.

    Raises:
        UsageError, FacingsError: a recipe cannot be trained; the sentence names it.
    """
    folder = settings.paths.runs / _FOLDER / plan.ground
    for other in folder.parent.iterdir() if folder.parent.is_dir() else ():
        if other != folder:  # of other data or code: nothing there can be used again
            shutil.rmtree(other)
    folder.mkdir(parents=True, exist_ok=True)
    asked = folder / "shoppers.parquet"
    pd.DataFrame({"shopper_id": shoppers}).to_parquet(asked, index=False)
    found: dict[str, list[Trained]] = {}
    for entrant in plan.entrants:
        for number in range(plan.seeds):
            seed = entrant.recipe.seed + number
            out = folder / f"{model_fingerprint(entrant.recipe)}-{seed}"
            if out.exists():
                progress(f"compare: {entrant.label}, seed {seed}, was trained before")
            else:
                progress(f"compare: training {entrant.label}, seed {seed}")
                _run(_task(settings, plan, entrant, seed, asked, out), entrant.label)
            costs = Costs.model_validate_json((out / COSTS).read_text())
            found.setdefault(entrant.label, []).append(Trained(pd.read_parquet(out / LISTS), costs))
    return found


def _task(settings: Settings, plan: ComparisonPlan, entrant: Entrant, seed: int, asked: Path, out: Path) -> Task:
    return Task(
        settings={**settings.model_dump(mode="json"), "home": str(settings.paths.root)},
        recipe=entrant.recipe,
        seed=seed,
        cut=plan.cut,
        k=plan.k,
        shoppers=asked,
        out=out,
    )


def _run(task: Task, label: str) -> None:
    """Run the child to its end; when this process is stopped, so is the child.

    Raises:
        UsageError, FacingsError: as the child says, or that it died.
    """
    command = [sys.executable, "-P", "-m", _CHILD]  # -P: no folder of the user's stands in for one of our packages
    done = subprocess.run(command, input=task.model_dump_json(), capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode == 0:
        return
    try:
        told = json.loads(done.stdout)
    except ValueError:
        told = {}
    if "error" in told:
        kind = UsageError if told["usage"] else FacingsError
        raise kind(f"Recipe {label}: {told['error']}")
    if done.returncode < 0:
        raise FacingsError(
            f"Training {label} was killed by signal {-done.returncode}; where that was for want of memory, give the "
            "machine more or the recipe less."
        )
    last = (done.stderr.strip().splitlines() or ["no word"])[-1]
    raise FacingsError(f"Training {label} ended with an unexpected error: {last[:300]}")
