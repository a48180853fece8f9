"""Score anew what serves, without training: the weights that passed the gate stay, what they are told is of today.

Between two trainings what is due, what was bought and what goods cost moves on; the odds of what showing is worth
follow it here. The recommender's lists stay the version's. Safe to kill at any moment and to run again.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from configs.clock import Clock
from configs.errors import FacingsError
from configs.settings import Settings
from models.registry import load
from pipelines.offers.value.kept import read_facts
from pipelines.offers.value.parameters import FOLDER
from pipelines.offers.value.scored import score_anew
from pipelines.signals.lake.lake import Lake
from pipelines.signals.quality.report import check_data, note_data
from pipelines.training.dataset import moments
from pipelines.training.intake import take_in
from pipelines.training.job import Progress
from pipelines.training.promote import follow_pointer, publish
from pipelines.training.tracking import Tracking
from state.files import draft_beside, exclusive
from state.ledger import Action

LOCK = "retrain.lock"  # that of a retraining: both read all shoppers and publish


class RescoreResult(BaseModel):
    """What scoring anew came to; `status` nothing: the version has no value model, stopped: the data is broken."""

    model_config = ConfigDict(frozen=True)

    status: Literal["scored", "unchanged", "nothing", "stopped"]
    version: str  # serves, before and after
    snapshot: str
    moment: datetime | None = None  # up to which the odds know the shop
    reasons: list[str] = []
    seconds: dict[str, float] = {}  # of each step


def rescore(
    settings: Settings,
    *,
    folder: Path | None = None,
    accept_data: str | None = None,
    clock: Clock,
    progress: Progress,
) -> RescoreResult:
    """Take in what has arrived, tell the value model that serves what is known now, and publish what it says.

    Args:
        settings: names the home.
        folder: a folder of tables to ingest first.
        accept_data: why data that the checks would stop is as it should be; None: the odds stay then.
        clock: dates the run.
        progress: told how far it is.

    Raises:
        FacingsError: nothing serves, the version kept no model or one that cannot be read, a retraining runs, or a
            store does not answer.
    """
    seconds: dict[str, float] = {}
    with exclusive(settings.paths.runs / LOCK, "retraining"):
        began = time.monotonic()

        def timed(name: str) -> None:
            seconds[name] = round(time.monotonic() - began - sum(seconds.values()), 2)

        take_in(settings, folder, clock=clock, progress=progress)
        timed("ingest")
        tracking, lake = Tracking(settings), Lake(settings.paths)
        champion = follow_pointer(settings, tracking)
        if champion is None:
            raise FacingsError("Nothing is published yet, so there is nothing to score; run `facings retrain` first.")

        def told(status: Literal["scored", "unchanged", "nothing", "stopped"], snapshot: str | None = None,
                 moment: datetime | None = None, reasons: list[str] | None = None) -> RescoreResult:  # fmt: skip
            return RescoreResult(status=status, version=champion.version, moment=moment, reasons=reasons or [],
                                 snapshot=snapshot or champion.deployment.snapshot_id, seconds=seconds)  # fmt: skip

        kept = tracking.artifact_if_any(champion.run_id, "value")
        facts = None if kept is None else read_facts(kept)
        if kept is None or facts is None or not facts.trained:
            why = facts.why if facts and facts.why else "it was trained without a value model"
            return told("nothing", reasons=[f"version {champion.version} has no odds: {why}"])
        if not (kept / FOLDER).is_dir():
            raise FacingsError(
                f"Version {champion.version} is of an earlier version of Facings and kept no model that could be asked "
                "again; its odds stay until the next `facings retrain`."
            )
        data = check_data(settings, lake, clock=clock, progress=progress)
        if data.stops and accept_data is None:
            return told("stopped", reasons=[finding.sentence for finding in data.stops])
        if data.stops and accept_data is not None:
            note_data(settings, data, accept_data, clock=clock)
        moment = moments(lake, champion.recipe.split).end.to_pydatetime()
        timed("look")
        with _draft(settings.paths.runs / "scored") as draft:
            score_anew(draft, kept, settings, lake, load(champion.serving), moment=moment, progress=progress)
            timed("score")
            built = publish(
                settings,
                tracking,
                tracking.version(champion.version),
                action=Action.RESCORE,
                expected=champion.version,
                reason=f"scored anew by what is known up to {moment:%Y-%m-%d %H:%M}",
                clock=clock,
                progress=progress,
                value=draft,
            )
            timed("publish")
        return told("unchanged" if built == champion.deployment.snapshot_id else "scored", built, moment)


@contextmanager
def _draft(path: Path) -> Iterator[Path]:
    """A folder for odds until slates are made of them; what a killed scoring left is removed."""
    for left in path.parent.glob(f".draft-{path.name}-*"):
        shutil.rmtree(left)
    draft = draft_beside(path)
    draft.mkdir()
    try:
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)
