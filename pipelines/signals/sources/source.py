"""Reading a table's file as it came, in chunks, and saying on which line a row stands."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from configs.errors import FacingsError
from pipelines.signals.contract.tables import RESERVED, Table
from pipelines.signals.sources.csv_files import CsvFile, Malformed
from pipelines.signals.sources.description import CsvFormat

CHUNK_ROWS = 1_000_000
MAX_COLUMNS = 1000
MAX_NAME = 200
_PLAIN = (
    pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_integer, pa.types.is_floating,
    pa.types.is_decimal128, pa.types.is_boolean, pa.types.is_date, pa.types.is_timestamp, pa.types.is_time,
    pa.types.is_null,
)  # fmt: skip


class Rows(Protocol):
    """Rows of one table as they came, in chunks."""

    @property
    def table(self) -> Table:
        """The table that the rows belong to."""
        ...

    @property
    def name(self) -> str:
        """The file's name, for the quarantine."""
        ...

    @property
    def where(self) -> str:
        """What to call the source in a message."""
        ...

    @property
    def must_have_rows(self) -> bool:
        """Whether it is a fault that there is no row."""
        ...

    def columns(self) -> list[str]:
        """Names of the columns."""
        ...

    def chunks(self) -> Iterator[pl.DataFrame]:
        """Yield the rows in order."""
        ...

    def malformed(self) -> list[Malformed]:
        """Rows that could not be parted into columns; asked for after the chunks."""
        ...

    def lines(self, rows: pl.Series) -> pl.Series:
        """Where rows (counted from 0) stand in the source."""
        ...

    def rows_at(self, lines: Sequence[int]) -> dict[int, int]:
        """Which row (counted from 0) stands at each of these lines; lines without one are left out."""
        ...


class Source:
    """One file of one table.

    Args:
        table: the table that its rows belong to.
        path: the file.
        name: its name in the quarantine; default: the file's own.
        form: how it is written, where it is a CSV file.
        must_have_rows: whether a file without rows is a fault.
    """

    def __init__(
        self,
        table: Table,
        path: Path,
        name: str | None = None,
        form: CsvFormat | None = None,
        *,
        must_have_rows: bool = True,
    ) -> None:
        self.table = table
        self.path = path
        self.name = name or path.name
        self.form = form
        self.must_have_rows = must_have_rows

    @property
    def where(self) -> str:
        """The file's path."""
        return str(self.path)

    def columns(self) -> list[str]:
        """Names of the file's columns.

        Raises:
            FacingsError: the file cannot be read, has too many columns, or a name cannot be used.
        """
        names = self._csv.header if self._csv else [str(name) for name in self._parquet().schema_arrow.names]
        check_names(names, self.where)
        return names

    def chunks(self) -> Iterator[pl.DataFrame]:
        """Yield the rows in order, about CHUNK_ROWS at a time; CSV values as text.

        Raises:
            FacingsError: the file cannot be read, or a column holds what no table has (structures, bytes).
        """
        yield from self._csv.chunks() if self._csv else self._parquet_chunks()

    def malformed(self) -> list[Malformed]:
        """Rows that no chunk holds, because they have more or fewer values than there are columns."""
        return self._csv.malformed() if self._csv else []

    def lines(self, rows: pl.Series) -> pl.Series:
        """Line in a CSV file (the header is line 1) or row number from 1 in a parquet file, for rows counted from 0."""
        return self._csv.lines(rows) if self._csv else rows + 1

    def rows_at(self, lines: Sequence[int]) -> dict[int, int]:
        """Which row (counted from 0) stands at each line or row number; lines without one are left out."""
        return self._csv.rows_at(lines) if self._csv else {line: line - 1 for line in lines}

    @cached_property
    def _csv(self) -> CsvFile | None:
        return CsvFile(self.path, self.form) if self.path.suffix == ".csv" else None

    def _parquet(self) -> pq.ParquetFile:
        try:
            return pq.ParquetFile(self.path)
        except (pa.ArrowException, OSError) as error:
            raise FacingsError(
                f"{self.path} is not a readable parquet file ({_short(error)}); export it again."
            ) from None

    def _parquet_chunks(self) -> Iterator[pl.DataFrame]:
        with self._parquet() as file:
            for field in file.schema_arrow:
                column = self.table.column(field.name)
                if not _is_plain(field.type, a_list=column is None or column.kind == "list"):
                    what = f"{self.path}: column {field.name} is of type {field.type}"
                    raise FacingsError(f"{what}, which no table holds; write plain values.")
            try:
                for batch in file.iter_batches(batch_size=CHUNK_ROWS):
                    frame = pl.from_arrow(batch)
                    assert isinstance(frame, pl.DataFrame)
                    coded = [name for name, kind in frame.schema.items() if kind in (pl.Categorical, pl.Enum)]
                    yield frame.with_columns(pl.col(coded).cast(pl.String))
            except (pa.ArrowException, pl.exceptions.PolarsError, UnicodeDecodeError, OSError) as error:
                raise FacingsError(f"{self.path} is damaged ({_short(error)}); export it again.") from None


def check_names(names: Sequence[str], where: str) -> None:
    """Refuse too many columns, and names that could be taken for another.

    Raises:
        FacingsError: there are more than MAX_COLUMNS, or a name is empty, too long, stands twice, differs from another
            in case only, or is the lake's own.
    """
    if len(names) > MAX_COLUMNS:
        raise FacingsError(
            f"{where} has {len(names):,} columns and a table may have {MAX_COLUMNS}; leave out what you do not need."
        )
    seen: dict[str, str] = {}
    for place, name in enumerate(names, start=1):
        if not name.strip():
            raise FacingsError(f"{where} has no name for column {place}; name it or leave it out.")
        if len(name) > MAX_NAME:
            raise FacingsError(
                f"{where} has a name of {len(name):,} characters for column {place}; {MAX_NAME} are allowed."
            )
        if name.lower() in RESERVED:
            raise FacingsError(f"{where} has a column {name}, a name that the lake keeps for itself; rename it.")
        other = seen.get(name.lower())
        if other is not None:
            how = "twice" if other == name else f"and {other}, which differ in case only"
            raise FacingsError(f"{where} names a column {name} {how}; rename one of them.")
        seen[name.lower()] = name


def _is_plain(kind: pa.DataType, *, a_list: bool) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_plain(kind.value_type, a_list=False)
    if a_list and (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        return _is_plain(kind.value_type, a_list=False)
    return any(fits(kind) for fits in _PLAIN)


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
    must_have_rows: bool = True

    @property
    def where(self) -> str:
        """What to call the rows in a message."""
        return self.name

    def columns(self) -> list[str]:
        """Names of the columns."""
        return self.frame.columns

    def chunks(self) -> Iterator[pl.DataFrame]:
        """Yield all rows at once."""
        yield self.frame

    def malformed(self) -> list[Malformed]:
        """None: these rows have names."""
        return []

    def lines(self, rows: pl.Series) -> pl.Series:
        """Return the stated lines."""
        return pl.Series("line", self.numbers, pl.Int64).gather(rows)

    def rows_at(self, lines: Sequence[int]) -> dict[int, int]:
        """None: what is tried again or came by itself is no file that was corrected."""
        return {}


def frame_of(rows: Sequence[dict[str, Any]]) -> pl.DataFrame:
    """Make a frame of JSON objects; a column whose values are of several types becomes text, as in a CSV file."""
    names = dict.fromkeys(name for row in rows for name in row)
    return pl.DataFrame({name: _series(name, [row.get(name) for row in rows]) for name in names})


def _series(name: str, values: list[Any]) -> pl.Series:
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int, float}:
        values, kinds = [None if value is None else float(value) for value in values], {float}
    if kinds == {list}:
        return pl.Series(name, [None if value is None else [str(one) for one in value] for value in values])
    if len(kinds) == 1 and kinds <= {str, float, bool}:
        return pl.Series(name, values)
    if kinds == {int} and all(value is None or abs(value) < 2**63 for value in values):
        return pl.Series(name, values, pl.Int64)
    texts = [value if value is None or isinstance(value, str) else json.dumps(value) for value in values]
    return pl.Series(name, texts, pl.String)


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
