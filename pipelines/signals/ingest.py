"""Take a folder of tables or a database's into the lake: all of it in one step, or nothing."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import BaseModel, ConfigDict

from configs.clock import Clock
from configs.errors import FacingsError, UsageError
from configs.home import Home
from configs.secrets import secret
from configs.settings import Settings
from pipelines.signals.contract import campaigns
from pipelines.signals.contract.tables import LOAD_ORDER, TABLES
from pipelines.signals.lake.lake import Lake, Manifest
from pipelines.signals.lake.ledger import FileRecord, read_records, write_records
from pipelines.signals.lake.parts import Held, join_small
from pipelines.signals.load import Gate, Loaded, load
from pipelines.signals.quarantine.corrected import PLACE
from pipelines.signals.quarantine.readmission import from_corrections, from_quarantine
from pipelines.signals.quarantine.rows import explain, read_quarantine, write_quarantine
from pipelines.signals.sources.arrived import Arrived, from_database, from_folder
from pipelines.signals.sources.description import Description, load_description
from pipelines.signals.sources.source import FrameSource, frame_of
from state.engine import open_engine
from state.files import exclusive
from state.forgotten import forgotten_among

Progress = Callable[[str], None]


class TableCount(BaseModel):
    """rows = kept + duplicates + quarantined."""

    model_config = ConfigDict(frozen=True)
    rows: int
    kept: int
    duplicates: int
    quarantined: int


class FileCount(BaseModel):
    """How the files of a folder stand to those of the last time."""

    model_config = ConfigDict(frozen=True)
    read: int = 0
    new: int = 0
    unchanged: int = 0
    changed: int = 0
    gone: int = 0


class IngestReport(BaseModel):
    """What an ingest did with each table, or would do.

    Attributes:
        tables: counts by table; the rows of an unchanged file that is not read are as they were counted.
        warnings: what a person should know.
        fingerprint: of the lake afterwards.
        files: how many files were read, and why.
        reasons: why rows of this run were quarantined: table, reason, rows, first line, and the way out.
        settled: rows that left the quarantine because the file came again with the row corrected.
        dry_run: whether nothing was changed.
    """

    model_config = ConfigDict(frozen=True)
    tables: dict[str, TableCount]
    warnings: tuple[str, ...]
    fingerprint: str
    files: FileCount = FileCount()
    reasons: tuple[dict[str, Any], ...] = ()
    settled: int = 0
    dry_run: bool = False


def ingest(
    folder: Path,
    home: Home,
    *,
    clock: Clock,
    settings: Settings,
    progress: Progress,
    mapping: Path | None = None,
    dry_run: bool = False,
) -> IngestReport:
    """Validate and load every table of a folder or a database.

    Args:
        folder: holds <table>.parquet or <table>.csv files, or files added day by day
            (pipelines/signals/sources/folder.py); or a YAML that names a folder or a database and its queries
            (pipelines/signals/sources/description.py).
        home: whose lake takes them.
        clock: tells what lies in the future.
        settings: state database and clock skew.
        progress: is told each table.
        mapping: a YAML of that kind for the folder's names, words and times.
        dry_run: do everything but change the home.

    Raises:
        FacingsError: the source or a file as a whole cannot be taken; the lake is as it was.
        UsageError: the YAML is wrong.
    """
    arrive = _asked(folder, mapping)
    with _lake_for(home, dry_run=dry_run) as lake:
        return _take(lambda: arrive(lake), home, lake, clock, settings, progress, dry_run=dry_run)


def ingest_events(rows: Sequence[dict[str, Any]], home: Home, *, clock: Clock, settings: Settings) -> IngestReport:
    """Load interactions that came over HTTP, each a mapping of the interactions columns, by the same checks.

    Waits for an ingest that is under way.
    """
    source = FrameSource(TABLES["interactions"], "events", frame_of(rows), tuple(range(1, len(rows) + 1)))
    arrived = Arrived([source] if rows else [])
    return _take(lambda: arrived, home, Lake(home), clock, settings, lambda _: None, wait=True)


def readmit(
    home: Home,
    *,
    clock: Clock,
    settings: Settings,
    progress: Progress,
    mapping: Path | None = None,
    corrected: Path | None = None,
) -> IngestReport:
    """Try quarantined rows again; those that hold now are taken in, the others stay.

    Args:
        home: whose quarantine is tried.
        clock: tells what lies in the future.
        settings: state database and clock skew.
        progress: is told each table.
        mapping: a YAML by which words and times are read now.
        corrected: a folder that `export_quarantine` wrote and somebody corrected; only its rows are tried. None: every
            row that has its content and was parted into columns.

    Raises:
        FacingsError: the folder holds no such table.
    """
    lake = Lake(home)
    description = load_description(mapping) if mapping else None

    def waiting() -> Arrived:
        rows = read_quarantine(lake)
        if corrected is not None:
            return from_corrections(corrected, rows, description)
        return from_quarantine(rows, description)

    return _take(waiting, home, lake, clock, settings, progress, again=True)


def _asked(place: Path, mapping: Path | None) -> Callable[[Lake], Arrived]:
    """Read the descriptions now; what they describe is opened under the lock."""
    if place.suffix in {".yaml", ".yml"}:
        if mapping is not None:
            raise UsageError(f"{place} is a mapping itself; leave --mapping out.")
        description = load_description(place)
        if description.url is not None:
            return lambda lake: from_database(description, place, lake)
        if description.folder is None:
            raise UsageError(f"{place} names neither a url nor a folder; add one, or give it with --mapping.")
        folder = place.parent / description.folder
        return lambda lake: from_folder(folder, description, lake)
    description = load_description(mapping) if mapping else Description()
    if description.url is not None or description.folder is not None:
        raise UsageError(f"{mapping} names a source of its own; ingest it as it is: facings ingest {mapping}")
    return lambda lake: from_folder(place, description, lake)


@contextmanager
def _lake_for(home: Home, *, dry_run: bool) -> Iterator[Lake]:
    """The home's lake; for a dry run on a home without one, an empty lake elsewhere, which is removed."""
    if not dry_run or home.lake.is_dir():
        yield Lake(home)
        return
    with tempfile.TemporaryDirectory(prefix="facings-dry-run-") as root:
        yield Lake(Home(Path(root)))


def _take(
    arrive: Callable[[], Arrived],
    home: Home,
    lake: Lake,
    clock: Clock,
    settings: Settings,
    progress: Progress,
    *,
    again: bool = False,
    wait: bool = False,
    dry_run: bool = False,
) -> IngestReport:
    with exclusive(lake.folder / "ingest.lock", "ingest", wait=wait):
        lake.clean()
        try:
            arrived = arrive()
            for warning in arrived.warnings:
                progress(f"warning: {warning}")
            _check_whole(arrived, lake)
            gate = _gate(home, lake, settings, clock.now(), again=again, dry_run=dry_run)
            after, report = _fold(arrived, lake, gate, progress)
            if dry_run:
                progress("dry run: nothing was changed")
            elif after != lake.manifest():
                lake.commit(after)
        finally:
            lake.clean()
    return report.model_copy(update={"dry_run": dry_run})


def _fold(arrived: Arrived, lake: Lake, gate: Gate, progress: Progress) -> tuple[Manifest, IngestReport]:
    """Load the sources; nothing counts before the manifest is committed."""
    before = lake.manifest()
    tables = {name: Held.of(lake.folder, parts) for name, parts in before.tables.items()}
    counts: dict[str, TableCount] = {}
    waiting = read_quarantine(lake, before).join(arrived.tried, on=list(PLACE), how="anti")
    quarantined, settled = [waiting], [waiting.select(PLACE).clear()]
    records = {**read_records(lake, before), **arrived.records}
    for source in sorted(arrived.sources, key=lambda source: LOAD_ORDER.index(source.table.name)):
        name = source.table.name
        held = tables.setdefault(name, Held.of(lake.folder, ()))
        if held.before and name in arrived.many:
            held.load_keys()
        there = waiting.filter(pl.col("table") == name, pl.col("file") == source.name)
        if name == "offers":
            gate.usual.learn(tables)
        loaded = load(source, held, gate, there)
        quarantined.append(loaded.quarantined)
        settled.append(loaded.settled)
        counts[name] = _add(counts.get(name), _count(loaded))
        gate.known.update(_known_ids(lake.folder, {name: loaded.parts}))
        if record := arrived.of(source):
            records[record.table, record.path] = replace(
                record, rows=loaded.rows, quarantined=loaded.quarantined.height
            )
            arrived.check_unchanged(source)
    for record in arrived.unchanged:
        counts[record.table] = _add(counts.get(record.table), _count_unread(record))
    counts = {name: counts[name] for name in LOAD_ORDER if name in counts}
    for name, count in counts.items():
        progress(_line(name, count))
    warnings = campaigns.told(tables, {source.table.name for source in arrived.sources}, gate.now)
    for warning in warnings:
        progress(f"warning: {warning}")
    for name, held in tables.items():
        if not TABLES[name].key:
            held.parts = join_small(TABLES[name], lake.folder, before.tables.get(name, ()), held.parts)
    gone = pl.concat(settled)
    rows = pl.concat([quarantined[0].join(gone, on=list(PLACE), how="anti"), *quarantined[1:]])
    after = Manifest(
        tables={name: held.parts for name, held in tables.items()},
        quarantine=write_quarantine(lake, rows),
        files=write_records(lake, records.values()),
    )
    report = IngestReport(
        tables=counts,
        warnings=(*arrived.warnings, *warnings),
        fingerprint=after.fingerprint(),
        files=FileCount(read=len(arrived.read), **arrived.standing),
        reasons=tuple(explain(pl.concat([waiting.clear(), *quarantined[1:]])).to_dicts()),
        settled=gone.height,
    )
    return after, report


def _gate(home: Home, lake: Lake, settings: Settings, now: datetime, *, again: bool, dry_run: bool) -> Gate:
    return Gate(
        now=now,
        latest=now + timedelta(seconds=settings.clock_skew_seconds),
        known=_known_ids(lake.folder, lake.manifest().tables),
        forgotten=_forgotten(home, settings, dry_run=dry_run),
        again=again,
    )


def _forgotten(home: Home, settings: Settings, *, dry_run: bool) -> Callable[[list[str]], set[str]]:
    """Tells who was forgotten. A home without a lake has forgotten nobody, and a dry run makes no database in it."""
    if dry_run and not home.lake.is_dir():
        return lambda _: set()
    key = secret(settings.paths, "pseudonym")
    engine = open_engine(settings.state_uri)
    return lambda shoppers: forgotten_among(engine, shoppers, key)


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


def _check_whole(arrived: Arrived, lake: Lake) -> None:
    """Refuse what can be refused before a row is read."""
    for source in arrived.sources:
        columns = source.columns()
        missing = [name for name in source.table.required if name not in columns]
        if missing and arrived.whole:
            raise FacingsError(
                f"{source.where} lacks the column {', '.join(missing)} of table {source.table.name}; "
                f"it has {', '.join(columns)}. Add or rename it, or map it (docs/data.md), and ingest again."
            )
    brought = {source.table.name for source in arrived.sources} | {record.table for record in arrived.unchanged}
    if arrived.whole and "interactions" not in brought and not lake.has("interactions"):
        found = ", ".join(source.name for source in arrived.sources)
        raise FacingsError(
            f"There is no table of interactions (found {found}); the first folder must bring interactions."
        )


def _count(loaded: Loaded) -> TableCount:
    return TableCount(
        rows=loaded.rows, kept=loaded.kept, duplicates=loaded.duplicates, quarantined=loaded.quarantined.height
    )


def _count_unread(record: FileRecord) -> TableCount:
    """An unchanged file brings nothing: its rows are known, or were quarantined when it was read."""
    known = record.rows - record.quarantined
    return TableCount(rows=record.rows, kept=0, duplicates=known, quarantined=record.quarantined)


def _add(one: TableCount | None, other: TableCount) -> TableCount:
    if one is None:
        return other
    return TableCount(**{name: value + getattr(other, name) for name, value in one.model_dump().items()})


def _line(name: str, count: TableCount) -> str:
    return (
        f"{name}: {count.rows:,} rows = {count.kept:,} kept + {count.duplicates:,} duplicates "
        f"+ {count.quarantined:,} quarantined"
    )
