"""Which files were read, and what was in them: so that a file of yesterday is not read again unless it changed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import polars as pl

from configs.errors import FacingsError
from pipelines.signals.lake.lake import Lake, Manifest, make_durable
from pipelines.signals.sources.folder import TableFile
from state.files import draft_beside

_SCHEMA = pl.Schema(
    {
        "table": pl.String(),
        "path": pl.String(),
        "size": pl.Int64(),
        "sha256": pl.String(),
        "reading": pl.String(),
        "rows": pl.Int64(),
        "quarantined": pl.Int64(),
        "missing": pl.Boolean(),
    }
)
_BLOCK_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True)
class FileRecord:
    """One file as it was last read.

    Attributes:
        table: the table that it was read as.
        path: absolute path.
        size: bytes.
        sha256: hex digest of its content.
        reading: digest of the mapping by which it was read.
        rows, quarantined: counts of that reading.
        missing: it was missing from its folder since, which was told.
    """

    table: str
    path: str
    size: int
    sha256: str
    reading: str
    rows: int = 0
    quarantined: int = 0
    missing: bool = False

    def same(self, other: FileRecord) -> bool:
        """Whether the content and the mapping are those of `other`."""
        return (self.size, self.sha256, self.reading) == (other.size, other.sha256, other.reading)


Records = dict[tuple[str, str], FileRecord]


def look_at(file: TableFile, reading: str) -> FileRecord:
    """Hash a file as it is now; without counts.

    Raises:
        FacingsError: the file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with file.path.open("rb") as handle:
            while block := handle.read(_BLOCK_BYTES):
                digest.update(block)
            size = handle.tell()
    except OSError as error:
        raise FacingsError(f"{file.path} cannot be read ({error.strerror}); check its permissions.") from None
    return FileRecord(file.table, str(file.path.resolve()), size, digest.hexdigest(), reading)


def read_records(lake: Lake, manifest: Manifest) -> Records:
    """Read the records that the manifest names, by table and path."""
    if manifest.files is None:
        return {}
    rows = pl.read_parquet(lake.folder / manifest.files).to_dicts()
    return {(row["table"], row["path"]): FileRecord(**row) for row in rows}


def write_records(lake: Lake, records: Iterable[FileRecord]) -> str | None:
    """Write the records as one new file, named by its content; return the manifest's entry."""
    ordered = sorted(records, key=lambda record: (record.table, record.path))
    if not ordered:
        return None
    frame = pl.DataFrame([asdict(record) for record in ordered], schema=_SCHEMA)
    name = f"files/{hashlib.sha256(frame.write_json().encode()).hexdigest()[:16]}.parquet"
    path: Path = lake.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        draft = draft_beside(path)
        frame.write_parquet(draft)
        draft.replace(path)
        make_durable(path)
    return name


def vanished(records: Records, folder: Path, present: Iterable[FileRecord]) -> list[FileRecord]:
    """Records of files that lay below this folder and are missing now, and were not told to be."""
    here = {(record.table, record.path) for record in present}
    root = folder.resolve()
    return [
        replace(record, missing=True)
        for key, record in records.items()
        if key not in here
        and not record.missing
        and root in Path(record.path).parents
        and not Path(record.path).exists()
    ]
