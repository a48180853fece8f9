"""From the lake to the feature store: what was known at stated moments, offline; the last of them online too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from configs.clock import Clock
from configs.errors import FacingsError, UsageError
from configs.settings import Settings
from pipelines.signals.behaviour.suspicion import BELIEVED, Tables, suspicions

if TYPE_CHECKING:
    from features.history import History
    from features.store import FeatureStore


class ViewReport(BaseModel):
    """Rows of one view: computed over all moments, written offline because new or changed, brought online."""

    model_config = ConfigDict(frozen=True)

    computed: int = Field(0, ge=0)
    written: int = Field(0, ge=0)
    online: int = Field(0, ge=0)


class MaterialiseReport(BaseModel):
    """What a run did."""

    model_config = ConfigDict(frozen=True)

    as_of: list[datetime] = Field(description="the moments, ascending, UTC")
    views: dict[str, ViewReport]


def materialise(
    settings: Settings,
    lake: Tables,
    *,
    as_of: Sequence[pd.Timestamp],
    clock: Clock,
    progress: Callable[[str], None],
    online: bool = True,
) -> MaterialiseReport:
    """Compute every view at each moment from rows with event_time before it, and store what is new or changed.

    A row of a moment that is computed for the first time is known since that moment (its value depends on nothing
    later). Rows that change, appear or vanish when a moment is computed again, because data came late or was corrected,
    are added with created_timestamp = clock.now(), and rows that stay the same are not written again: a second run
    writes nothing, and a killed one is finished by running it again. In whatever order moments are computed, the
    features end the same.

    Args:
        settings: names the home, the online store and the currency.
        lake: the ingested tables.
        as_of: moments, UTC when they have no zone; the newest that was ever computed is brought online.
        clock: dates corrections.
        progress: told what is done, a line a step.
        online: whether to bring anything online now.

    Raises:
        UsageError: no moment is given.
        FacingsError: no interactions were ever ingested.
    """
    from features.history import in_utc
    from features.store import FeatureStore

    moments = sorted({in_utc(moment).floor("us") for moment in as_of})
    if not moments:
        raise UsageError("There is no moment to materialise; give at least one as_of.")
    if not lake.has("interactions"):
        raise FacingsError("There are no interactions in this home; run `facings ingest FOLDER` first.")
    progress("features: reading what has happened")
    with closing(FeatureStore(settings, clock=clock)) as store, store.computing():
        with _history(settings, lake) as history:
            counts = _offline(history, store, moments, clock, progress)
        brought = store.materialise(moments[-1].to_pydatetime(), progress=progress) if online else {}
    views = {
        name: ViewReport(computed=computed, written=written, online=brought.get(name, 0))
        for name, (computed, written) in counts.items()
    }
    return MaterialiseReport(as_of=[moment.to_pydatetime() for moment in moments], views=views)


def _history(settings: Settings, lake: Tables) -> History:
    from features.history import History

    def files(table: str) -> list[Path] | None:
        return lake.paths(table) if lake.has(table) else None

    return History(
        lake.paths("interactions"),
        files("items"),
        promotions=files("promotions"),
        contents=files("contents"),
        content_views=files("content_views"),
        doubts=_doubts(settings, lake),
        shoppers=files("shoppers"),
        currency=settings.currency,
        idle_minutes=settings.session_idle_minutes,
    )


def _doubts(settings: Settings, lake: Tables) -> pd.DataFrame:
    flags = suspicions(settings, lake)
    return flags[flags["weight"] < BELIEVED]


def _offline(
    history: History,
    store: FeatureStore,
    moments: Sequence[pd.Timestamp],
    clock: Clock,
    progress: Callable[[str], None],
) -> dict[str, tuple[int, int]]:
    from features.compute import COMPUTE

    counts = dict.fromkeys(COMPUTE, (0, 0))
    # The newest first: a row that came late to several moments is then never a row without features in between.
    for moment in reversed(moments):
        for name, compute in COMPUTE.items():
            frame = compute(history, moment)
            written = store.write_offline(name, frame, moment=moment.to_pydatetime(), now=clock.now())
            counts[name] = (counts[name][0] + len(frame), counts[name][1] + written)
            progress(f"features of {name} at {moment:%Y-%m-%d %H:%M}: {len(frame)} rows, {written} new or changed")
    return counts
