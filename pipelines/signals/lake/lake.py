"""The lake: ingested tables as immutable parquet parts behind one manifest, which is replaced in one step.

What the manifest names exists; everything else in the folder is a killed run's leftover.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from configs.errors import FacingsError
from configs.home import Home
from pipelines.signals.contract.tables import TABLES, Kind
from state.files import sync_folder, write_atomic

MANIFEST = "manifest.json"
# Columns that the lake keeps for itself beside the contract's: the row's 128-bit key, and when it came in.
KEY_COLUMNS = ("_key_high", "_key_low")
INGESTED_AT = "ingested_at"

_POLARS: dict[Kind, pl.DataType] = {
    "id": pl.String(),
    "text": pl.String(),
    "list": pl.String(),
    "time": pl.Datetime("us", "UTC"),
    "number": pl.Float64(),
    "integer": pl.Int64(),
    "boolean": pl.Boolean(),
}


def polars_type(kind: Kind) -> pl.DataType:
    """The polars type in which values of this kind are kept."""
    return _POLARS[kind]


class Part(BaseModel):
    """One parquet file of a table: `digest` is the sum of its rows' keys modulo 2^64, whatever their order."""

    model_config = ConfigDict(frozen=True)
    file: str
    rows: int
    digest: int


class Manifest(BaseModel):
    """What the lake holds at one moment."""

    model_config = ConfigDict(frozen=True)
    format_version: int = 1
    tables: dict[str, tuple[Part, ...]] = {}
    quarantine: tuple[str, ...] = ()
    files: str | None = None  # which files were read (pipelines/signals/lake/ledger.py)

    @property
    def named(self) -> set[str]:
        """Every file that counts."""
        parts = {part.file for held in self.tables.values() for part in held}
        return parts | set(self.quarantine) | ({self.files} if self.files else set())

    def fingerprint(self, tables: Sequence[str] | None = None) -> str:
        """Hex digest of the rows kept, whatever the order and the parts in which they came."""
        content = {
            name: (sum(part.rows for part in held), sum(part.digest for part in held) % 2**64)
            for name, held in sorted(self.tables.items())
            if tables is None or name in tables
        }
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def make_durable(file: Path) -> None:
    """Bring a written file, and its name in its folder, to the disk."""
    with file.open("rb") as handle:
        os.fsync(handle.fileno())
    sync_folder(file.parent)
    sync_folder(file.parent.parent)


def together(frames: Sequence[pl.LazyFrame]) -> pl.LazyFrame:
    """Put parts of one table under each other; an attribute whose type changed becomes a number or text.

    Left to itself, polars reads a date beside a number as a count of days and refuses a flag beside a time.
    """
    kinds: dict[str, set[pl.DataType]] = {}
    for frame in frames:
        for name, kind in frame.collect_schema().items():
            kinds.setdefault(name, set()).add(kind)
    common = {name: common_type(several) for name, several in kinds.items() if len(several - {pl.Null()}) > 1}
    alike = [
        frame.with_columns(pl.col(name).cast(kind) for name, kind in common.items() if name in frame.collect_schema())
        for frame in frames
    ]
    return pl.concat(alike, how="diagonal_relaxed")


def common_type(kinds: set[pl.DataType]) -> pl.DataType:
    """The type in which values of all these types can stand in one column: themselves, a number, or text."""
    known = kinds - {pl.Null()}
    if len(known) <= 1:
        return next(iter(known), pl.Null())
    if all(kind.is_integer() and kind != pl.UInt64 for kind in known):
        return pl.Int64()
    if all(kind.is_numeric() for kind in known) and any(kind.is_float() for kind in known):
        return pl.Float64()
    return pl.String()


class Lake:
    """Read access to the ingested tables of one home."""

    def __init__(self, home: Home) -> None:
        self.folder = home.lake

    def manifest(self) -> Manifest:
        """Read the manifest; an empty one before the first ingest.

        Raises:
            FacingsError: the manifest is damaged.
        """
        path = self.folder / MANIFEST
        try:
            return Manifest.model_validate_json(path.read_text())
        except FileNotFoundError:
            return Manifest()
        except ValueError:
            raise FacingsError(f"{path} is damaged; restore it from a backup or ingest into a new home.") from None

    def commit(self, manifest: Manifest) -> None:
        """Make `manifest` the truth in one step; the parts it names are already there and durable (`make_durable`)."""
        write_atomic(self.folder / MANIFEST, manifest.model_dump_json(indent=1))

    def has(self, table: str) -> bool:
        """Whether this table was ever ingested into this home."""
        return table in self.manifest().tables

    def tables(self) -> list[str]:
        """Names of the tables that were ever ingested."""
        return sorted(self.manifest().tables)

    def paths(self, table: str) -> list[Path]:
        """Parquet files that together hold every current row exactly once."""
        return [self.folder / part.file for part in self.manifest().tables.get(table, ())]

    def scan(self, table: str) -> pl.LazyFrame:
        """The table as a polars query, contract columns first; without rows when it was never ingested."""
        schema = {column.name: polars_type(column.kind) for column in TABLES[table].columns}
        whole = together([pl.LazyFrame(schema=schema), *(pl.scan_parquet(path) for path in self.paths(table))])
        return whole.drop([name for name in KEY_COLUMNS if name in whole.collect_schema().names()])

    def read(self, table: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Read a table: ids and texts as str, times as datetime64[us, UTC], numbers as float64.

        Args:
            table: a table of the contract.
            columns: only these; one that no ingest ever brought is an error.

        Raises:
            FacingsError: a column is unknown.
        """
        try:
            return self._read(table, columns)
        except FileNotFoundError:  # an ingest or a forget replaced a part after the manifest was read
            return self._read(table, columns)

    def _read(self, table: str, columns: Sequence[str] | None) -> pd.DataFrame:
        query = self.scan(table)
        known = query.collect_schema().names()
        unknown = [column for column in columns or () if column not in known]
        if unknown:
            raise FacingsError(f"Table {table} has no column {', '.join(unknown)}; it has {', '.join(known)}.")
        return query.select(list(columns) if columns is not None else known).collect().to_pandas()

    def fingerprint(self, tables: Sequence[str] | None = None) -> str:
        """Hex digest of the rows kept, whatever the order and the parts in which they came."""
        return self.manifest().fingerprint(tables)

    def missing(self, table: str) -> tuple[int, dict[str, int]]:
        """Rows of a table, and how many of them have no value, by plain column; read from the files' footers alone."""
        counts: list[tuple[int, dict[str, int]]] = []
        for path in self.paths(table):
            with pq.ParquetFile(path) as file:
                footer = file.metadata
                own: dict[str, int] = {}
                for group in range(footer.num_row_groups):
                    for place in range(footer.num_columns):
                        column = footer.row_group(group).column(place)
                        nulls = column.statistics.null_count if column.statistics is not None else 0
                        own[column.path_in_schema] = own.get(column.path_in_schema, 0) + (nulls or 0)
                counts.append((footer.num_rows, own))
        names = {name for _, own in counts for name in own if name not in KEY_COLUMNS and "." not in name}
        return sum(rows for rows, _ in counts), {
            name: sum(own.get(name, rows) for rows, own in counts) for name in sorted(names)
        }

    def latest_event_time(self) -> datetime | None:
        """Time of the newest interaction; None where there is none."""
        latest = self.scan("interactions").select(pl.col("event_time").max()).collect().item()
        return latest.astimezone(UTC) if isinstance(latest, datetime) else None

    def clean(self) -> None:
        """Remove what no manifest names: leftovers of killed runs. Call it only under the ingest's lock."""
        named = self.manifest().named
        for draft in list(self.folder.rglob(".draft-*")):
            shutil.rmtree(draft) if draft.is_dir() else draft.unlink(missing_ok=True)
        for file in list(self.folder.rglob("*.parquet")):
            if str(file.relative_to(self.folder)) not in named:
                file.unlink()
