"""Rows of an export under its own names and words, brought to the contract's."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import polars as pl

from configs.errors import FacingsError
from pipelines.signals.contract.convert import iso_times, plain_text
from pipelines.signals.contract.tables import REFUSED, Table
from pipelines.signals.sources.csv_files import Malformed
from pipelines.signals.sources.description import SINCE_1970, Description
from pipelines.signals.sources.source import Rows, check_names

_TIME = pl.Datetime("us", "UTC")
# A decimal comma, with or without points between the thousands; a lone point could be either, and is refused.
_GROUPED = r"^[+-]?\d{1,3}(\.\d{3})+,\d+$"


@dataclass(frozen=True)
class MappedRows:
    """Rows as a description says they are to be read; what cannot be read stays as it came."""

    rows: Rows
    description: Description
    again: bool = False

    @property
    def table(self) -> Table:
        """The table that the rows belong to."""
        return self.rows.table

    @property
    def name(self) -> str:
        """What to call the rows in the quarantine."""
        return self.rows.name

    @property
    def where(self) -> str:
        """What to call them in a message."""
        return self.rows.where

    @property
    def must_have_rows(self) -> bool:
        """Whether it is a fault that there is no row."""
        return self.rows.must_have_rows

    def columns(self) -> list[str]:
        """Names of the columns after the mapping.

        Raises:
            FacingsError: the mapping names a column that is not there, or two columns would have one name.
        """
        given = self.rows.columns()
        mapping = self.description.table(self.table.name)
        named = [*((theirs, f"takes as {ours}") for ours, theirs in mapping.columns.items())]
        named += [(name, "leaves out") for name in mapping.leave_out]
        for name, what in named:
            if name not in given:
                raise FacingsError(
                    f"{self.where} has no column {name}, which the mapping {what}; it has {', '.join(given)}."
                )
        names = self._names(given)
        for name in mapping.constants:
            if name in names:
                raise FacingsError(
                    f"{self.where} has a column {name}, which the mapping gives a constant; leave one of them out."
                )
        check_names([*names, *mapping.constants], self.where)
        return [*names, *mapping.constants]

    def chunks(self) -> Iterator[pl.DataFrame]:
        """Yield the rows in order, under the contract's names."""
        for chunk in self.rows.chunks():
            yield read(self._named(chunk), self.table, self.description, again=self.again)

    def malformed(self) -> list[Malformed]:
        """Rows that could not be parted into columns, under the contract's names."""
        return [replace(row, row=self._renamed(row.row)) for row in self.rows.malformed()]

    def lines(self, rows: pl.Series) -> pl.Series:
        """Where rows stand in the source."""
        return self.rows.lines(rows)

    def rows_at(self, lines: Sequence[int]) -> dict[int, int]:
        """Which row stands on each line."""
        return self.rows.rows_at(lines)

    def _names(self, given: Sequence[str]) -> list[str]:
        """The names after the mapping; a column that is taken under several names stands for each."""
        mapping = self.description.table(self.table.name)
        taken, gone = set(mapping.columns.values()), set(mapping.leave_out)
        kept = [name for name in given if name not in gone and name not in taken]
        return [*mapping.columns, *kept]

    def _named(self, chunk: pl.DataFrame) -> pl.DataFrame:
        mapping = self.description.table(self.table.name)
        return chunk.select(
            *(pl.col(mapping.columns.get(name, name)).alias(name) for name in self._names(chunk.columns)),
            *(pl.lit(value).alias(name) for name, value in mapping.constants.items()),
        )

    def _renamed(self, text: str) -> str:
        row = json.loads(text)
        mapping = self.description.table(self.table.name)
        named = {
            name: row[theirs] for name in self._names(list(row)) if (theirs := mapping.columns.get(name, name)) in row
        }
        return json.dumps(named | dict(mapping.constants), ensure_ascii=False)


def read(frame: pl.DataFrame, table: Table, description: Description, *, again: bool = False) -> pl.DataFrame:
    """Translate words, numbers and times; a column `_refused` says what of a row could be read in two ways.

    Args:
        frame: rows under the contract's names, values as they came.
        table: the table they belong to.
        description: what words and formats mean.
        again: the rows may have been translated before, as those of the quarantine were: a number with a decimal point
            is one.
    """
    words = description.table(table.name).event_types
    reasons: list[pl.Expr] = []
    columns: list[pl.Series] = []
    for column in table.columns:
        if column.name not in frame.columns:
            continue
        values = frame[column.name]
        if isinstance(values.dtype, pl.List):
            continue
        if column.name == "event_type" and words:
            text = plain_text(pl.col(column.name), values.dtype).str.strip_chars()
            columns.append(frame.select(text.replace(words).alias(column.name)).to_series())
        elif column.kind == "time":
            read_values, odd = _times(values, description.times_of(table.name), description.timezone)
            columns.append(read_values)
            if odd.any():
                said = f"{column.name} lies in the hour that clocks repeat or skip in {description.timezone}"
                reasons.append(pl.when(odd).then(pl.lit(said)))
        elif column.kind in ("number", "integer") and description.csv.decimal == "," and values.dtype == pl.String:
            read_values, odd = _decimals(values, again=again)
            columns.append(read_values)
            if odd.any():
                reasons.append(
                    pl.when(odd).then(pl.lit(f"{column.name} has a point where a decimal comma is expected"))
                )
    frame = frame.with_columns(columns)
    if reasons:
        frame = frame.with_columns(
            pl.concat_str(reasons, separator="; ", ignore_nulls=True).replace("", None).alias(REFUSED)
        )
    return frame


def _decimals(values: pl.Series, *, again: bool) -> tuple[pl.Series, pl.Series]:
    """Numbers with a decimal point, and which have a point that could mean either."""
    text = values.str.strip_chars()
    lone = (text.str.contains(".", literal=True) & ~text.str.contains(_GROUPED)).fill_null(False)
    plain = text.str.replace_all(".", "", literal=True).str.replace(",", ".", literal=True)
    read_values = values.to_frame("raw").select(pl.when(lone).then("raw").otherwise(plain)).to_series()
    return read_values.alias(values.name), lone & (not again)


def _times(values: pl.Series, formats: tuple[str, ...], zone: str) -> tuple[pl.Series, pl.Series]:
    """Moments in UTC where a format fits, else the value as it came; and which the zone shows twice or never."""
    never = pl.Series([False]).new_from_index(0, len(values)) if len(values) else pl.Series([], dtype=pl.Boolean)
    if values.dtype == pl.Date or (isinstance(values.dtype, pl.Datetime) and values.dtype.time_zone is None):
        naive = values.cast(pl.Datetime("us"))
        moments = naive.to_frame("naive").select(_in_zone(pl.col("naive"), zone)).to_series().alias(values.name)
        odd = naive.is_not_null() & moments.is_null()
        return (_or_text(moments, naive.dt.to_string("iso")).alias(values.name) if odd.any() else moments), odd
    frame = values.to_frame("raw")
    if values.dtype.is_numeric():
        since = [pl.col("raw").cast(pl.Float64) * SINCE_1970[form] for form in formats if form in SINCE_1970]
        return (frame.select(_since_1970(since[0])).to_series().alias(values.name) if since else values), never
    if values.dtype != pl.String:
        return values, never
    zoned, local = _read(pl.col("raw").str.strip_chars(), formats)
    found = frame.with_columns(zoned.alias("zoned"), local.alias("local")).with_columns(
        pl.coalesce("zoned", _in_zone(pl.col("local"), zone)).alias("moment")
    )
    odd = found.select(pl.col("moment").is_null() & pl.col("local").is_not_null()).to_series()
    lost = found.select(pl.col("moment").is_null() & (pl.col("raw").str.strip_chars() != "")).to_series()
    return (_or_text(found["moment"], values) if lost.any() else found["moment"]).alias(values.name), odd


def _read(text: pl.Expr, formats: tuple[str, ...]) -> tuple[pl.Expr, pl.Expr]:
    """Moments that name their zone, in UTC, and local ones; the formats in their order, then ISO 8601."""
    zoned, local = [], []
    for form in formats:
        if form in SINCE_1970:
            zoned.append(_since_1970(text.cast(pl.Float64, strict=False) * SINCE_1970[form]))
        elif form.endswith(("%z", "%:z")):
            zoned.append(text.str.to_datetime(form, time_unit="us", time_zone="UTC", strict=False))
        elif any(sign in form for sign in ("%H", "%I", "%T", "%R", "%X", "%c")):
            local.append(text.str.to_datetime(form, time_unit="us", strict=False))
        else:
            local.append(text.str.to_date(form, strict=False).cast(pl.Datetime("us")))
    iso_zoned, iso_local = iso_times(text)
    stated = pl.coalesce(*local) if local else pl.lit(None, pl.Datetime("us"))
    return (
        pl.coalesce(*zoned, pl.when(stated.is_null()).then(iso_zoned)),
        pl.coalesce(stated, iso_local),
    )


def _since_1970(microseconds: pl.Expr) -> pl.Expr:
    return microseconds.round().cast(pl.Int64, strict=False).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def _in_zone(local: pl.Expr, zone: str) -> pl.Expr:
    return local.dt.replace_time_zone(zone, ambiguous="null", non_existent="null").dt.convert_time_zone("UTC")


def _or_text(moments: pl.Series, raw: pl.Series) -> pl.Series:
    """Moments as ISO texts, and in the place of a missing one the text that came."""
    told = pl.col("moment").dt.replace_time_zone(None).dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
    return pl.DataFrame([moments.alias("moment"), raw.alias("raw")]).select(pl.coalesce(told, "raw")).to_series()
