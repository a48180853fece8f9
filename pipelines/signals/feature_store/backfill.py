"""Features of past moments, computed (again) from all that is known now: in any order, any number of times."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from configs.clock import Clock
from configs.errors import FacingsError, UsageError
from configs.settings import Settings
from pipelines.signals.behaviour import suspicion
from pipelines.signals.behaviour.suspicion import Tables
from pipelines.signals.feature_store.materialise import ViewReport, materialise
from state.files import write_atomic

MOST_MOMENTS = 5_000
_DONE = "backfilled.json"
# What has happened is read once for so many moments; a forget waits for no more of them.
_BATCH = 8
_FEATURES = Path(__file__).resolve().parents[2] / "features"


class BackfillReport(BaseModel):
    """What a back-fill did."""

    model_config = ConfigDict(frozen=True)

    moments: int = Field(ge=0, description="moments of the window")
    first: datetime
    last: datetime
    computed: int = Field(ge=0, description="moments computed by this run; the others were, from the same data")
    views: dict[str, ViewReport]


def backfill(
    settings: Settings,
    lake: Tables,
    *,
    start: datetime,
    end: datetime,
    every: timedelta,
    clock: Clock,
    progress: Callable[[str], None],
) -> BackfillReport:
    """Compute every view at start, start + every, … up to end, and bring the newest moment ever computed online.

    Ends in the features of one clean run over the same moments, whatever was computed before, in whatever order. Killed
    and run again, it goes on with what is missing; data or feature code that changed meanwhile is computed anew. What
    turns out different at a moment that was computed before is a correction, known since clock.now() (`materialise`).

    Args:
        settings: names the home, the online store and the currency.
        lake: the ingested tables.
        start: first moment, UTC when it has no zone.
        end: last moment that may be computed, included.
        every: the step, whole microseconds.
        clock: tells what lies in the future, and dates corrections.
        progress: told what is done, a line a step.

    Raises:
        UsageError: the window is empty, in the future, or has more than MOST_MOMENTS moments.
        FacingsError: no interactions were ever ingested.
    """
    from features.store import FeatureStore

    moments = _moments(start, end, every, latest=clock.now() + timedelta(seconds=settings.clock_skew_seconds))
    if not lake.has("interactions"):
        raise FacingsError("There are no interactions in this home; run `facings ingest FOLDER` first.")
    record = settings.paths.features / _DONE
    computed, counts = 0, dict[str, ViewReport]()
    while todo := _todo(moments, record, made_from := _made_from(settings, lake)):
        batch = todo[-_BATCH:]  # the newest first: what is asked for most, and what online needs
        report = materialise(settings, lake, as_of=batch, clock=clock, progress=progress, online=False)
        _note(record, made_from, batch)
        computed += len(batch)
        counts = {name: _add(counts.get(name), view) for name, view in report.views.items()}
        progress(f"back-fill: {len(moments) - len(todo) + len(batch)} of {len(moments)} moments")
    with closing(FeatureStore(settings, clock=clock)) as store:
        online = store.materialise(moments[-1].to_pydatetime(), progress=progress)
    views = {name: counts.get(name, ViewReport()).model_copy(update={"online": rows}) for name, rows in online.items()}
    return BackfillReport(
        moments=len(moments),
        first=moments[0].to_pydatetime(),
        last=moments[-1].to_pydatetime(),
        computed=computed,
        views=views,
    )


def _moments(start: datetime, end: datetime, every: timedelta, *, latest: datetime) -> list[pd.Timestamp]:
    from features.history import in_utc

    first, last = in_utc(pd.Timestamp(start)).floor("us"), in_utc(pd.Timestamp(end)).floor("us")
    if every <= timedelta(0):
        raise UsageError("The step between moments must be longer than nothing; give days or hours, such as 7d or 12h.")
    if first > last:
        raise UsageError(f"The window is empty: {first:%Y-%m-%d %H:%M} is later than {last:%Y-%m-%d %H:%M} UTC.")
    if last > latest:
        raise UsageError(f"{last:%Y-%m-%d %H:%M} UTC lies in the future; features speak of moments that have passed.")
    count = (last - first) // every + 1
    if count > MOST_MOMENTS:
        raise UsageError(
            f"The window has {count:,} moments, more than {MOST_MOMENTS:,}; give a longer step or less time."
        )
    return [first + number * every for number in range(count)]


def _made_from(settings: Settings, lake: Tables) -> str:
    """Hex digest of all that features depend on: the data, the code, the settings."""
    rules = f"{settings.currency} {settings.session_idle_minutes} {settings.suspicion.model_dump_json()}"
    digest = hashlib.sha256(f"{lake.fingerprint()} {rules}".encode())
    for file in [*sorted(_FEATURES.glob("*.py")), Path(suspicion.__file__)]:
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


def _todo(moments: list[pd.Timestamp], record: Path, made_from: str) -> list[pd.Timestamp]:
    done = _done(record, made_from)
    return [moment for moment in moments if moment.isoformat() not in done]


def _done(record: Path, made_from: str) -> set[str]:
    try:
        said = json.loads(record.read_text())
        return set(said["moments"]) if said["made_from"] == made_from else set()
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return set()  # nothing is lost: the moments are computed again


def _note(record: Path, made_from: str, moments: list[pd.Timestamp]) -> None:
    done = _done(record, made_from) | {moment.isoformat() for moment in moments}
    write_atomic(record, json.dumps({"made_from": made_from, "moments": sorted(done)}))


def _add(one: ViewReport | None, other: ViewReport) -> ViewReport:
    base = one or ViewReport()
    return ViewReport(computed=base.computed + other.computed, written=base.written + other.written)
