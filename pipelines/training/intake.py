"""The first steps of retraining: take new data in, and bring the features up to it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from configs.clock import Clock
from configs.settings import Settings
from pipelines.signals.lake.lake import Lake
from pipelines.training.plan import Plan
from state.engine import open_engine
from state.events import count_waiting, mark_taken, waiting_events
from state.files import write_atomic

_DONE = "materialised"
_BATCH = 100_000


def take_in(settings: Settings, folder: Path | None, *, clock: Clock, progress: Callable[[str], None]) -> None:
    """Ingest a folder of tables where one is given, and the events that arrived over HTTP since the last time.

    Then look at the data, so that prices in doubt do not reach the screens.

    Raises:
        FacingsError: the folder cannot be taken; nothing of it was.
    """
    from pipelines.signals.behaviour.suspicion import REASONS, count_flagged, suspicions
    from pipelines.signals.ingest import ingest
    from pipelines.signals.quality.report import check_data
    from pipelines.snapshot import refresh_shop

    if folder is not None:
        ingest(folder, settings.paths, clock=clock, settings=settings, progress=progress)
    _drain(settings, clock, progress)
    lake = Lake(settings.paths)
    if lake.has("interactions"):
        check_data(settings, lake, clock=clock, progress=progress)
        refresh_shop(settings.paths, lake, settings, now=clock.now(), progress=progress)
        for reason, rows in count_flagged(lake, suspicions(settings, lake)).items():
            progress(f"flagged and not counted: {rows:,} interactions, {REASONS[reason]}")


def waiting(settings: Settings) -> bool:
    """Tell whether events have arrived over HTTP that are not in the lake yet."""
    return count_waiting(open_engine(settings.state_uri)) > 0


def _drain(settings: Settings, clock: Clock, progress: Callable[[str], None]) -> None:
    """Take waiting events into the lake, then note them as taken; killed in between, the lake knows them again."""
    from pipelines.signals.ingest import ingest_events

    engine = open_engine(settings.state_uri)
    while rows := waiting_events(engine, _BATCH):
        report = ingest_events(rows, settings.paths, clock=clock, settings=settings)
        mark_taken(engine, (str(row["event_id"]) for row in rows))
        kept = sum(table.kept for table in report.tables.values())
        progress(f"events that arrived over HTTP: {len(rows):,}, of which {kept:,} are new and hold")


def materialise_for(
    settings: Settings, lake: Lake, plan: Plan, *, clock: Clock, progress: Callable[[str], None]
) -> None:
    """Compute the features at the end of the data, and at the cut where a candidate learns from them."""
    from pipelines.signals.feature_store.materialise import materialise

    done = plan.folder(settings.paths) / _DONE
    if done.exists():
        return
    moments = [plan.cut, plan.end] if plan.needs_features else [plan.end]
    materialise(settings, lake, as_of=[pd.Timestamp(moment) for moment in moments], clock=clock, progress=progress)
    write_atomic(done, "")
