"""What it costs to ask a model, in ratios: candidates and a yardstick are timed in turn on the same machine.

Absolute times of a busy machine say little; a model's own seconds (at work or asleep, but not while others had its
core), the least of several, taken in turn, and divided by what a fixed piece of arithmetic took meanwhile, say how
models compare.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from models.base import Recommender
from models.registry import load
from pipelines.training.evaluate import Test

REPEATS = 5
_YARDSTICKS = 8  # runs of the yardstick in a turn: it is short, and everything is divided by it
_SCHEDULED = Path("/proc/thread-self/schedstat")  # nanoseconds at work, nanoseconds ready but not at work, turns
_SECONDS = 3.0  # no further repetition is begun after so long
_SHOPPERS, _FOLDED, _EVENTS = 32, 4, 5
_NUMBERS, _LEAST, _MOST = 64, 10_000, 200_000  # of the yardstick: numbers of an item, and how many items


class Cost(BaseModel):
    """Own seconds (see `own_seconds`), each the least of several; `yardstick` was timed in between."""

    model_config = ConfigDict(frozen=True)

    batch: float = Field(description="of one shopper's list, asked for in a batch")
    fold_in: float | None = Field(description="of one shopper's list from newest events; null: it cannot")
    load: float | None = Field(description="of reading the artifact; null: it was not read")
    yardstick: float = Field(
        description="of scoring the catalogue (10,000 to 200,000 items) by 64 numbers and taking the best 100"
    )


def own_seconds() -> float:
    """A clock of this thread that stands still while it could run and others have the core, where the system tells."""
    try:
        waited = int(_SCHEDULED.read_bytes().split()[1])
    except (OSError, IndexError, ValueError):
        waited = 0
    return time.perf_counter() - waited * 1e-9


def measure_costs(
    models: Mapping[str, Recommender],
    test: Test,
    *,
    folders: Mapping[str, Path] | None = None,
    clock: Callable[[], float] = own_seconds,
    yardstick: Callable[[], object] | None = None,
) -> dict[str, Cost]:
    """Time models in turn.

    Args:
        models: by label; one that fails when it is asked is left out.
        test: whom to ask for.
        folders: where the artifacts lie, by label; loading is timed where one is given.
        clock: tells seconds.
        yardstick: a piece of work to divide by; by default, scoring a catalogue of the test's size.
    """
    asked = test.shoppers[:: max(1, len(test.shoppers) // _SHOPPERS)][:_SHOPPERS]
    events = _events(test)
    works: dict[tuple[str, str], Callable[[], object]] = {}
    for label, model in models.items():
        works[label, "batch"] = lambda model=model: model.recommend(asked, test.k, attributes=test.attributes)  # type: ignore[misc]
        if model.capabilities.fold_in and events:
            works[label, "fold_in"] = lambda model=model: [  # type: ignore[misc]
                model.fold_in(own, test.k, now=max(model.as_of, own["event_time"].max())) for own in events
            ]
        if folders and label in folders:
            works[label, "load"] = lambda label=label: load(folders[label])  # type: ignore[misc]
    measured_by = yardstick or _yardstick(test.items)
    took: dict[tuple[str, str], list[float]] = {}
    failed: set[str] = set()
    began = clock()
    for turn in range(REPEATS):
        if turn > 1 and clock() - began > _SECONDS:
            break
        for _ in range(_YARDSTICKS):
            start = clock()
            measured_by()
            took.setdefault(("", "yardstick"), []).append(clock() - start)
        for (label, part), work in works.items():
            if label in failed:
                continue
            start = clock()
            try:
                work()
            except Exception:  # its lists were asked for before, and the reason is told there
                failed.add(label)
            took.setdefault((label, part), []).append(clock() - start)
    least = {key: min(times) for key, times in took.items()}
    return {
        label: Cost(
            batch=least[label, "batch"] / len(asked),
            fold_in=least[label, "fold_in"] / len(events) if (label, "fold_in") in least else None,
            load=least.get((label, "load")),
            yardstick=least["", "yardstick"],
        )
        for label in models
        if label not in failed
    }


def _events(test: Test) -> list[pd.DataFrame]:
    """A few shoppers' purchases, as if they had just been made."""
    some = test.history.groupby("shopper_id", sort=True).head(_EVENTS)
    shoppers = sorted(some["shopper_id"].unique())[:_FOLDED]
    return [
        some[some["shopper_id"] == shopper].assign(event_time=test.newest, event_type="purchase")
        for shopper in shoppers
    ]


def _yardstick(size: int) -> Callable[[], object]:
    """What the plainest model of such a catalogue does for one shopper."""
    random = np.random.default_rng(0)
    shape = (min(_MOST, max(_LEAST, size)), _NUMBERS)
    items, taste = random.random(shape, np.float32), random.random(_NUMBERS, np.float32)
    return lambda: np.argpartition(items @ taste, -100)[-100:]
