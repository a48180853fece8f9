"""Reading a table's file as it came, in chunks, and saying on which line a row stands."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from configs.errors import FacingsError
from pipelines.signals.contract import TABLES, Table

CHUNK_ROWS = 1_000_000


@dataclass(frozen=True)
class Source:
    """One file of one table."""

    table: Table
    path: Path

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.name

    def columns(self) -> list[str]:
        """Names of the file's columns.

        Raises:
            FacingsError: the file cannot be read, or a name stands twice.
        """
        if self.path.suffix == ".parquet":
            return [str(name) for name in self._parquet().schema_arrow.names]
        names = _read_csv(self.path, rows=0).columns
        if any("_duplicated_" in name for name in names):
            raise FacingsError(f"{self.path} names a column twice; rename one of them.")
        return names

    def chunks(self) -> Iterator[pl.DataFrame]:
        """Yield the rows in order, at most CHUNK_ROWS at a time; CSV values as text.

        Raises:
            FacingsError: the file cannot be read, or a column holds what no table has (lists, structures).
        """
        if self.path.suffix == ".parquet":
            yield from self._parquet_chunks()
        else:
            whole = _read_csv(self.path)
            for start in range(0, whole.height, CHUNK_ROWS):
                yield whole.slice(start, CHUNK_ROWS)

    def lines(self, rows: list[int]) -> list[int]:
        """Line in a CSV file (the header is line 1) or row number from 1 in a parquet file, for rows counted from 0."""
        if self.path.suffix == ".parquet":
            return [row + 1 for row in rows]
        wanted = set(rows)
        found: dict[int, int] = {}
        with self.path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            next(reader, None)
            line, row = reader.line_num + 1, 0
            for record in reader:
                if record:  # a blank line is no row
                    if row in wanted:
                        found[row] = line
                    row += 1
                line = reader.line_num + 1
        return [found.get(row, row + 2) for row in rows]

    def _parquet(self) -> pq.ParquetFile:
        try:
            return pq.ParquetFile(self.path)
        except (pa.ArrowException, OSError) as error:
            raise FacingsError(
                f"{self.path} is not a readable parquet file ({_short(error)}); export it again."
            ) from None

    def _parquet_chunks(self) -> Iterator[pl.DataFrame]:
        file = self._parquet()
        for field in file.schema_arrow:
            kind = column.kind if (column := self.table.column(field.name)) else "text"
            if pa.types.is_nested(field.type) and not (kind == "list" and pa.types.is_list(field.type)):
                what = f"{self.path}: column {field.name} is of type {field.type}"
                raise FacingsError(f"{what}, which no table holds; write plain values.")
        try:
            for batch in file.iter_batches(batch_size=CHUNK_ROWS):
                frame = pl.from_arrow(batch)
                assert isinstance(frame, pl.DataFrame)
                yield frame
        except (pa.ArrowException, OSError) as error:
            raise FacingsError(f"{self.path} is damaged ({_short(error)}); export it again.") from None


@dataclass(frozen=True)
class FrameSource:
    """Rows that are no file: events that came over HTTP, or quarantined rows that are tried again.

    Attributes:
        table: the table that the rows belong to.
        name: what to call them in the quarantine.
        frame: the rows.
        numbers: the line of each row.
    """

    table: Table
    name: str
    frame: pl.DataFrame
    numbers: tuple[int, ...]

    def chunks(self) -> Iterator[pl.DataFrame]:
        """Yield all rows at once."""
        yield self.frame

    def lines(self, rows: list[int]) -> list[int]:
        """Return the stated lines."""
        return [self.numbers[row] for row in rows]


def find_sources(folder: Path) -> tuple[list[Source], list[str]]:
    """Find the tables of a folder.

    Returns:
        The sources, and the names of files that are no table of the contract.

    Raises:
        FacingsError: there is no such folder, no table in it, or one table in two formats.
    """
    if not folder.is_dir():
        raise FacingsError(f"There is no folder {folder}; give the folder that holds your tables.")
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    sources = [Source(TABLES[path.stem], path) for path in files if _is_table(path)]
    if not sources:
        raise FacingsError(f"{folder} holds no table; it should hold interactions.parquet or interactions.csv.")
    names = [source.table.name for source in sources]
    for name in names:
        if names.count(name) > 1:
            raise FacingsError(f"{folder} holds table {name} both as CSV and as parquet; keep one of them.")
    return sources, [path.name for path in files if not _is_table(path)]


def _is_table(path: Path) -> bool:
    return path.stem in TABLES and path.suffix in {".csv", ".parquet"}


def _read_csv(path: Path, rows: int | None = None) -> pl.DataFrame:
    try:
        return pl.read_csv(path, infer_schema=False, n_rows=rows)
    except pl.exceptions.NoDataError:
        raise FacingsError(f"{path} is empty; export it again or take it out of the folder.") from None
    except (pl.exceptions.PolarsError, UnicodeDecodeError, OSError) as error:
        raise FacingsError(
            f"{path} is not a readable CSV file ({_short(error)}); write it as UTF-8 with commas."
        ) from None


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
