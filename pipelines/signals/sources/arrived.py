"""What came in: sources to read, files that need no reading, and what a person should know about them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import polars as pl

from configs.errors import FacingsError
from pipelines.signals.contract.tables import TABLES
from pipelines.signals.lake.lake import Lake, Manifest
from pipelines.signals.lake.ledger import FileRecord, Records, look_at, read_records, vanished
from pipelines.signals.quarantine.corrected import PLACE
from pipelines.signals.sources.database import fetch
from pipelines.signals.sources.description import Description
from pipelines.signals.sources.folder import TableFile, find_files
from pipelines.signals.sources.mapping import MappedRows
from pipelines.signals.sources.source import Rows, Source

# Of a table whose files are together larger than this share of its parts, the keys held are read into memory at once.
_MANY = 0.1


@dataclass(frozen=True)
class Arrived:
    """One batch of sources.

    Attributes:
        sources: to be read, in the order in which later ones win.
        warnings: sentences.
        whole: the sources are whole tables, which must have the required columns.
        tried: quarantined rows (table, file, line, row) that are among the sources and wait no longer.
        read: records of the files among the sources, without counts, by table and name.
        unchanged: records of files that are not read.
        records: what else is to be noted of files.
        standing: how many files are new, unchanged, changed and gone.
        many: tables of which much comes beside what is held.
    """

    sources: Sequence[Rows]
    warnings: tuple[str, ...] = ()
    whole: bool = False
    tried: pl.DataFrame = field(
        default_factory=lambda: pl.DataFrame(schema=dict.fromkeys(PLACE, pl.String) | {"line": pl.Int64})
    )
    read: dict[tuple[str, str], FileRecord] = field(default_factory=dict)
    unchanged: Sequence[FileRecord] = ()
    records: Records = field(default_factory=dict)
    standing: dict[str, int] = field(default_factory=dict)
    many: frozenset[str] = frozenset()

    def of(self, source: Rows) -> FileRecord | None:
        """The record of a source that is a file."""
        return self.read.get((source.table.name, source.name))

    def check_unchanged(self, source: Rows) -> None:
        """Refuse a file that was written to while it was read.

        Raises:
            FacingsError: its size is another now, or it is gone.
        """
        record = self.of(source)
        if record and not (Path(record.path).is_file() and Path(record.path).stat().st_size == record.size):
            raise FacingsError(f"{record.path} was written to while it was read; ingest again when it is whole.")


def from_folder(folder: Path, description: Description, lake: Lake) -> Arrived:
    """The files of a folder; one that is the same as when it was last read is left out where it says nothing new.

    Raises:
        FacingsError: there is no such folder, or no table in it that can be taken.
    """
    files, strangers = find_files(folder, description)
    manifest = lake.manifest()
    known = read_records(lake, manifest)
    warnings = [f"{name} is no table of the contract and was left alone" for name in strangers]
    standing: Counter[str] = Counter(new=0, unchanged=0, changed=0)
    sources: list[Rows] = []
    read, unchanged, present = {}, [], []
    for file in files:
        now = look_at(file, description.reading(file.table))
        before = known.get((now.table, now.path))
        present.append(now)
        how = "new" if before is None else "unchanged" if now.same(before) else "changed"
        standing[how] += 1
        if before is not None and how == "unchanged" and _says_nothing_new(file, before):
            unchanged.append(before)
            continue
        if before is not None and how == "changed" and file.daily:
            what = "content" if now.sha256 != before.sha256 else "mapping"
            warnings.append(f"{file.name} is read again, because its {what} changed since it was last read")
        sources.append(_source(file, description))
        read[now.table, file.name] = now
    gone = vanished(known, folder, present)
    if gone:
        names = ", ".join(sorted(Path(record.path).name for record in gone)[:3])
        warnings.append(f"{len(gone)} files that were read before are gone from {folder} ({names}); their rows stay")
    back = [replace(record, missing=False) for record in unchanged]
    return Arrived(
        sources,
        tuple(warnings),
        whole=True,
        read=read,
        unchanged=unchanged,
        records={(record.table, record.path): record for record in [*gone, *back]},
        standing={**standing, "gone": len(gone)},
        many=_many(read, lake, manifest),
    )


def from_database(description: Description, file: Path, lake: Lake) -> Arrived:
    """The answers of a database to the queries of a description.

    Raises:
        FacingsError: the database does not answer, or a query fails.
    """
    answers = fetch(description, file, lake.folder)
    empty = tuple(f"{source.where} returned no rows" for source in answers if next(source.chunks()).is_empty())
    many = frozenset(source.table.name for source in answers if not source.table.key)
    return Arrived([MappedRows(source, description) for source in answers], empty, whole=True, many=many)


def _says_nothing_new(file: TableFile, before: FileRecord) -> bool:
    """Whether an unchanged file need not be read.

    A file of its own is read where it may put another folder's rows of the same key right again, or where rows of it
    were refused that may hold by now.
    """
    return file.daily or not (TABLES[file.table].key or before.quarantined)


def _source(file: TableFile, description: Description) -> Rows:
    source = Source(TABLES[file.table], file.path, file.name, description.csv, must_have_rows=not file.daily)
    return source if description == Description() else MappedRows(source, description)


def _many(read: Records, lake: Lake, manifest: Manifest) -> frozenset[str]:
    coming: Counter[str] = Counter()
    for (table, _), record in read.items():
        coming[table] += record.size
    return frozenset(
        table
        for table, size in coming.items()
        if not TABLES[table].key
        and size > _MANY * sum((lake.folder / part.file).stat().st_size for part in manifest.tables.get(table, ()))
    )
