"""CSV files as they came: every value as text, rows of the wrong length told apart, and the line of each row."""

from __future__ import annotations

import codecs
import csv
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.csv as pc

from configs.errors import FacingsError
from pipelines.signals.sources.description import CsvFormat

# A row must fit in one block.
_BLOCK_BYTES = 64 * 1024 * 1024
MALFORMED = "the row has"


@dataclass(frozen=True)
class Malformed:
    """A row with more or fewer values than the header has names."""

    line: int
    reason: str
    row: str  # as JSON; values without a name are together under ""


class CsvFile:
    """One CSV file with a header: UTF-8 and commas where the format says nothing else; a blank line is no row."""

    def __init__(self, path: Path, form: CsvFormat | None = None) -> None:
        self.path = path
        self.form = form or CsvFormat()
        self._skipped = 0

    @cached_property
    def header(self) -> list[str]:
        """Names of the columns.

        Raises:
            FacingsError: the file cannot be read, is empty or is not UTF-8.
        """
        try:
            with self.path.open("rb") as file:
                if file.read(2) in (b"\xff\xfe", b"\xfe\xff"):
                    raise FacingsError(f"{self.path} is written in UTF-16; export it as UTF-8.")
            for _, record in self._records():
                return record
        except OSError as error:
            raise FacingsError(f"{self.path} cannot be read ({error.strerror}); check its permissions.") from None
        raise FacingsError(f"{self.path} is empty; export it again or take it out of the folder.")

    def chunks(self) -> Iterator[pl.DataFrame]:
        """Yield the rows of the right length in order, values as text, an empty value as null.

        Raises:
            FacingsError: the file is not UTF-8, or a quote is never closed.
        """
        self._check_whole()
        text = {name: pa.large_string() for name in self.header}
        skipped = 0

        def skip(_row: object) -> str:
            nonlocal skipped
            skipped += 1
            return "skip"

        try:
            with pc.open_csv(
                self.path,
                read_options=pc.ReadOptions(block_size=_BLOCK_BYTES, encoding=self.form.encoding),
                parse_options=pc.ParseOptions(
                    delimiter=self.form.separator, newlines_in_values=True, invalid_row_handler=skip
                ),
                convert_options=pc.ConvertOptions(
                    column_types=text, null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=True
                ),
            ) as reader:
                for batch in reader:
                    frame = pl.from_arrow(batch)
                    assert isinstance(frame, pl.DataFrame)
                    yield frame
        except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
            short = " ".join(str(error).split())[:160]
            raise FacingsError(
                f"{self.path} is not a readable CSV file ({short}); write it as {self._spelled}."
            ) from None
        self._skipped = skipped

    def malformed(self) -> list[Malformed]:
        """Rows of the wrong length; asked for after `chunks` has ended, which found out whether there are any."""
        if not self._skipped:
            return []
        width = len(self.header)
        found = []
        for line, record in self._rows():
            if len(record) != width:
                sign = "commas" if self.form.separator == "," else "separators"
                reason = f"{MALFORMED} {len(record)} values and the header {width} names; check {sign} and quotes"
                row: dict[str, object] = dict(zip(self.header, record, strict=False))
                if len(record) > width:
                    row[""] = record[width:]
                found.append(Malformed(line, reason, json.dumps(row, ensure_ascii=False)))
        if len(found) != self._skipped:
            raise FacingsError(f"{self.path} has quotes that can be read in two ways; write quotes in a value twice.")
        return found

    def lines(self, rows: pl.Series) -> pl.Series:
        """Line of each row, counted from 0 among the rows of the right length; the header's line is 1."""
        asked = np.unique(rows.to_numpy())
        found, place = np.zeros(len(asked), np.int64), 0
        for row, line in enumerate(self._right_lines()):
            if place == len(asked):
                break
            if row == asked[place]:
                found[place] = line
                place += 1
        return pl.Series("line", found[np.searchsorted(asked, rows.to_numpy())], pl.Int64)

    def rows_at(self, lines: Sequence[int]) -> dict[int, int]:
        """Which row of the right length, counted from 0, starts on each line; lines without one are left out."""
        wanted, last = set(lines), max(lines, default=0)
        found = {}
        for row, line in enumerate(self._right_lines()):
            if line > last:
                break
            if line in wanted:
                found[line] = row
        return found

    def _right_lines(self) -> Iterator[int]:
        width = len(self.header)
        return (line for line, record in self._rows() if len(record) == width)

    @property
    def _spelled(self) -> str:
        encoding = "UTF-8" if self.form.encoding == "utf-8" else self.form.encoding
        return f"{encoding} with commas" if self.form.separator == "," else f"{encoding} with {self.form.separator!r}"

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        records = self._records()
        next(records, None)
        return records

    def _records(self, *, strict: bool = False) -> Iterator[tuple[int, list[str]]]:
        """Yield each record that is no blank line, with the line on which it starts."""
        csv.field_size_limit(sys.maxsize)
        encoding = "utf-8-sig" if self.form.encoding == "utf-8" else self.form.encoding
        with self.path.open(newline="", encoding=encoding) as file:
            reader = csv.reader(file, strict=strict, delimiter=self.form.separator)
            line = 1
            try:
                for record in reader:
                    if record:
                        yield line, record
                    line = reader.line_num + 1
            except csv.Error:
                raise FacingsError(
                    f"{self.path} has a quote on line {line} that does not pair up; write quotes in a value twice."
                ) from None
            except UnicodeDecodeError:
                raise self._not_text() from None

    def _check_whole(self) -> None:
        """Refuse bytes that are no text, and a quote that is never closed: it would swallow the rows after it."""
        decoder, quotes = codecs.getincrementaldecoder(self.form.encoding)(), 0
        try:
            with self.path.open("rb") as file:
                for block in iter(lambda: file.read(_BLOCK_BYTES // 8), b""):
                    decoder.decode(block)
                    quotes += block.count(b'"')
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            raise self._not_text() from None
        if quotes % 2:
            for _ in self._records(strict=True):
                pass

    def _not_text(self) -> FacingsError:
        encoding = "UTF-8" if self.form.encoding == "utf-8" else self.form.encoding
        return FacingsError(
            f"{self.path} is not {encoding} text; export it as UTF-8 or name its encoding in a mapping (csv: encoding)."
        )
