"""One call of `retrain`: what its steps share, how each is run and timed, and what comes out."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict

from configs.clock import Clock
from configs.errors import FacingsError
from configs.settings import Settings
from pipelines.signals.lake.lake import Lake
from pipelines.training.gate import GateDecision
from pipelines.training.tracking import Tracking

Progress = Callable[[str], None]
T = TypeVar("T")


class Step(Protocol):
    """Runs one named piece of work; a flow makes a task of it."""

    def __call__(self, name: str, work: Callable[[], T]) -> T:
        """Do the work and return what it returns."""
        ...


def plain(name: str, work: Callable[[], T]) -> T:
    """Do the work here and now."""
    del name
    return work()


class RetrainResult(BaseModel):
    """What a run came to; `status` stopped: the data is broken, nothing was trained; each other one is a job done."""

    model_config = ConfigDict(frozen=True)

    status: Literal["published", "refused", "unchanged", "stopped"]
    version: str | None
    recipe: str
    gate: GateDecision | None
    others: dict[str, GateDecision]  # further candidates that were judged, by label
    metrics: dict[str, dict[str, float | None]]  # none: not defined on this data, as diversity without categories
    snapshot: str | None
    reasons: list[str]
    report: str | None  # the gate's page
    data_report: str | None = None  # the page about the data
    run: str
    seconds: float
    timings: dict[str, float]


class DataStoppedError(FacingsError):
    """The data is broken, so nothing was trained and what served goes on serving; `result` says the same in full."""

    def __init__(self, result: RetrainResult) -> None:
        super().__init__(
            f"The retraining stopped before training: {' '.join(result.reasons)} What served goes on serving; see "
            f"{result.data_report}. Mend the data and ingest it, or accept it with `facings retrain --accept-data`."
        )
        self.result = result


class Job:
    """One call of `retrain`: what every step needs, and how long each took."""

    def __init__(self, settings: Settings, clock: Clock, progress: Progress, step: Step) -> None:
        self.settings, self.clock, self.progress = settings, clock, progress
        self.lake = Lake(settings.paths)
        self.tracking = Tracking(settings)
        self.timings: dict[str, float] = {}
        self._step = step
        self._began = time.monotonic()

    def step(self, name: str, work: Callable[[], T]) -> T:
        """Run one step and note the seconds it took."""
        start = time.monotonic()
        self.progress(f"{name} …")
        done = self._step(name, work)
        self.timings[name] = round(time.monotonic() - start, 2)
        return done

    @property
    def seconds(self) -> float:
        """Seconds since the job began."""
        return round(time.monotonic() - self._began, 2)
