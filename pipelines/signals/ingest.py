"""Take a folder of tables into the lake: all of it in one step, or nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import BaseModel, ConfigDict

from configs.clock import Clock
from configs.errors import FacingsError
from configs.home import Home
from configs.secrets import secret
from configs.settings import Settings
from pipelines.signals.contract import LOAD_ORDER, TABLES
from pipelines.signals.csv_files import MALFORMED
from pipelines.signals.lake import Lake, Manifest
from pipelines.signals.load import Gate, Loaded, load
from pipelines.signals.quarantine import FORGOTTEN, read_quarantine, write_quarantine
from pipelines.signals.sources import FrameSource, Source, find_sources, frame_of
from state.engine import open_engine
from state.files import exclusive
from state.forgotten import forgotten_among

Progress = Callable[[str], None]
# Quarantined rows that cannot be tried again: their content is gone, or was never parted into columns.
_STAYS = (pl.col("reason") == FORGOTTEN) | pl.col("reason").str.starts_with(MALFORMED)


class TableCount(BaseModel):
    """rows = kept + duplicates + quarantined."""

    model_config = ConfigDict(frozen=True)
    rows: int
    kept: int
    duplicates: int
    quarantined: int


class IngestReport(BaseModel):
    """What an ingest did with each table."""

    model_config = ConfigDict(frozen=True)
    tables: dict[str, TableCount]
    warnings: tuple[str, ...]
    fingerprint: str


def ingest(folder: Path, home: Home, *, clock: Clock, settings: Settings, progress: Progress) -> IngestReport:
    """Validate and load every table of `folder`.

    Args:
        folder: holds <table>.parquet or <table>.csv files.
        home: whose lake takes them.
        clock: tells what lies in the future.
        settings: state database and clock skew.
        progress: is told each table.

    Raises:
        FacingsError: the folder or a file as a whole cannot be taken; the lake is as it was.
    """
    sources, strangers = find_sources(folder)
    warnings = tuple(f"{name} is no table of the contract and was left alone" for name in strangers)
    for warning in warnings:
        progress(f"warning: {warning}")
    _check_whole(sources, Lake(home))
    return _take(sources, home, clock, settings, progress, warnings)


def ingest_events(rows: Sequence[dict[str, Any]], home: Home, *, clock: Clock, settings: Settings) -> IngestReport:
    """Load interactions that came over HTTP, each a mapping of the interactions columns, by the same checks.

    Waits for an ingest that is under way.
    """
    source = FrameSource(TABLES["interactions"], "events", frame_of(rows), tuple(range(1, len(rows) + 1)))
    return _take([source] if rows else [], home, clock, settings, lambda _: None, (), wait=True)


def readmit(home: Home, *, clock: Clock, settings: Settings, progress: Progress) -> IngestReport:
    """Try every quarantined row again; those that hold now are taken in, the others stay."""
    waiting = read_quarantine(Lake(home))
    sources = []
    for (table, file), group in waiting.filter(~_STAYS).group_by("table", "file", maintain_order=True):
        frame = frame_of([json.loads(row) for row in group["row"]])
        sources.append(FrameSource(TABLES[str(table)], str(file), frame, tuple(group["line"])))
    return _take(sources, home, clock, settings, progress, (), again=True)


def _take(
    sources: Sequence[Source | FrameSource],
    home: Home,
    clock: Clock,
    settings: Settings,
    progress: Progress,
    warnings: tuple[str, ...],
    *,
    again: bool = False,
    wait: bool = False,
) -> IngestReport:
    lake = Lake(home)
    with exclusive(home.lake / "ingest.lock", "ingest", wait=wait):
        lake.clean()
        try:
            counts = _fold(sources, lake, _gate(lake, settings, clock.now(), again=again), progress)
        finally:
            lake.clean()
    return IngestReport(tables=counts, warnings=warnings, fingerprint=lake.fingerprint())


def _fold(sources: Sequence[Source | FrameSource], lake: Lake, gate: Gate, progress: Progress) -> dict[str, TableCount]:
    """Load the sources and commit; a fault on the way leaves the manifest as it was."""
    before = lake.manifest()
    tables = dict(before.tables)
    counts: dict[str, TableCount] = {}
    waiting = read_quarantine(lake, before)
    quarantined = [waiting.filter(_STAYS) if gate.again else waiting]
    for source in sorted(sources, key=lambda source: LOAD_ORDER.index(source.table.name)):
        name = source.table.name
        loaded = load(source, lake.folder, tables.get(name, ()), gate)
        tables[name] = loaded.parts
        quarantined.append(loaded.quarantined)
        counts[name] = _add(counts.get(name), loaded)
        gate.known.update(_known_ids(lake.folder, {name: loaded.parts}))
        progress(_line(name, counts[name]))
    after = Manifest(tables=tables, quarantine=write_quarantine(lake, pl.concat(quarantined)))
    if after != before:
        lake.commit(after)
    return counts


def _gate(lake: Lake, settings: Settings, now: datetime, *, again: bool) -> Gate:
    key = secret(settings.paths, "pseudonym")
    engine = open_engine(settings.state_uri)
    return Gate(
        now=now,
        latest=now + timedelta(seconds=settings.clock_skew_seconds),
        known=_known_ids(lake.folder, lake.manifest().tables),
        forgotten=lambda shoppers: forgotten_among(engine, shoppers, key),
        again=again,
    )


def _known_ids(folder: Path, tables: dict[str, Any]) -> dict[str, pl.Series]:
    """Ids of those tables that others refer to; none of a table whose rows all went to the quarantine."""
    none = pl.DataFrame({"id": []}, schema={"id": pl.String})
    referred = {column.refers_to for table in TABLES.values() for column in table.columns if column.refers_to}
    return {
        name: pl.concat(
            [
                none,
                *(
                    pl.read_parquet(folder / part.file, columns=[TABLES[name].key[0]]).rename(
                        {TABLES[name].key[0]: "id"}
                    )
                    for part in parts
                ),
            ]
        ).to_series()
        for name, parts in tables.items()
        if name in referred
    }


def _check_whole(sources: Sequence[Source], lake: Lake) -> None:
    """Refuse what can be refused before a row is read."""
    for source in sources:
        columns = source.columns()
        missing = [name for name in source.table.required if name not in columns]
        if missing:
            raise FacingsError(
                f"{source.path} lacks the column {', '.join(missing)} of table {source.table.name}; "
                f"it has {', '.join(columns)}. Add or rename it and ingest again."
            )
    if not any(source.table.name == "interactions" for source in sources) and not lake.has("interactions"):
        found = ", ".join(source.path.name for source in sources)
        raise FacingsError(
            f"There is no table of interactions (found {found}); the first folder must bring interactions."
        )


def _add(earlier: TableCount | None, loaded: Loaded) -> TableCount:
    base = earlier or TableCount(rows=0, kept=0, duplicates=0, quarantined=0)
    return TableCount(
        rows=base.rows + loaded.rows,
        kept=base.kept + loaded.kept,
        duplicates=base.duplicates + loaded.duplicates,
        quarantined=base.quarantined + loaded.quarantined.height,
    )


def _line(name: str, count: TableCount) -> str:
    return (
        f"{name}: {count.rows:,} rows = {count.kept:,} kept + {count.duplicates:,} duplicates "
        f"+ {count.quarantined:,} quarantined"
    )
