"""From values as they came to values of the contract's kinds; what cannot be read is told apart, never guessed."""

from __future__ import annotations

import polars as pl

from pipelines.signals.contract.tables import Column, Kind, Table
from pipelines.signals.lake.lake import polars_type

_WORDS: dict[Kind, str] = {
    "id": "an id",
    "text": "text",
    "list": "a list",
    "time": "a time (write 2026-01-31T09:30:00Z)",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
}
_TRUE, _FALSE = ["true", "1", "yes", "t", "y"], ["false", "0", "no", "f", "n"]


def convert(frame: pl.DataFrame, table: Table) -> tuple[pl.DataFrame, dict[str, pl.Series]]:
    """Bring the contract's columns to their kinds, adding those that are absent; other columns stay as they are.

    Returns:
        The typed frame, and for each contract column with unreadable values a boolean series that marks them.
    """
    typed = frame.with_columns(
        _expression(column, frame.schema[column.name]).alias(column.name)
        for column in table.columns
        if column.name in frame.columns
    ).with_columns(
        pl.lit(None, polars_type(column.kind)).alias(column.name)
        for column in table.columns
        if column.name not in frame.columns
    )
    typed = typed.with_columns(_plain(name, kind) for name, kind in frame.schema.items() if name not in table.names)
    unreadable = {}
    for column in table.columns:
        if column.name not in frame.columns:
            continue
        lost = typed[column.name].is_null()
        if lost.any():
            raw = frame[column.name]
            lost &= (raw.str.strip_chars() != "").fill_null(False) if raw.dtype == pl.String else raw.is_not_null()
        if lost.any():
            unreadable[column.name] = lost
    return typed, unreadable


def _plain(name: str, kind: pl.DataType) -> pl.Expr:
    """An attribute in a type that every engine behind the lake keeps."""
    value = pl.col(name)
    if isinstance(kind, pl.Datetime):
        return _time(value, kind)
    if isinstance(kind, pl.Decimal):
        return value.cast(pl.Float64)
    if kind.is_numeric() or kind in (pl.Boolean, pl.Date):
        return value
    if isinstance(kind, pl.List):
        joined = value.cast(pl.List(pl.String)).list.join("|")
        return pl.when(joined != "").then(joined).alias(name)
    text = value.cast(pl.String, strict=False)
    return pl.when(text != "").then(text).alias(name)


def unreadable_reason(column: Column) -> str:
    """The reason of a row whose value could not be read."""
    return f"{column.name} is not {_WORDS[column.kind]}"


def _expression(column: Column, source: pl.DataType) -> pl.Expr:
    value = pl.col(column.name)
    if isinstance(source, pl.List) and column.kind != "list":
        return pl.lit(None, polars_type(column.kind))
    match column.kind:
        case "id" | "text":
            return plain_text(value, source)
        case "list":
            a_list = isinstance(source, pl.List)
            joined = value.cast(pl.List(pl.String)).list.join("|") if a_list else plain_text(value, source)
            return joined.str.replace_all(r"\s*[|;,]\s*", "|")
        case "time":
            return _time(value, source)
        case "boolean":
            return _boolean(value, source)
        case "integer":
            number = _number(value, source)
            return pl.when(number == number.floor()).then(number.cast(pl.Int64, strict=False))
        case _:
            return _number(value, source)


def plain_text(value: pl.Expr, source: pl.DataType) -> pl.Expr:
    """Whole floats lose their `.0`: a column of ids becomes floats as soon as one value is missing."""
    if source.is_float():
        whole = value.cast(pl.Int64, strict=False)
        plain = pl.when(whole.cast(source) == value).then(whole.cast(pl.String)).otherwise(value.cast(pl.String))
        return pl.when(value.is_nan()).then(None).otherwise(plain)
    text = value.cast(pl.String, strict=False)
    return pl.when(text.str.strip_chars() != "").then(text)


def _number(value: pl.Expr, source: pl.DataType) -> pl.Expr:
    if source == pl.String:
        value = value.str.strip_chars()
    return value.cast(pl.Float64, strict=False) if source != pl.Boolean else pl.lit(None, pl.Float64)


def _boolean(value: pl.Expr, source: pl.DataType) -> pl.Expr:
    if source == pl.Boolean:
        return value
    word = value.cast(pl.String, strict=False).str.to_lowercase()
    return pl.when(word.is_in(_TRUE)).then(True).when(word.is_in(_FALSE)).then(False)


def _time(value: pl.Expr, source: pl.DataType) -> pl.Expr:
    """UTC with microseconds; a time without a zone is taken as UTC."""
    if isinstance(source, pl.Datetime):
        aware = value if source.time_zone else value.dt.replace_time_zone("UTC")
        return aware.dt.convert_time_zone("UTC").dt.cast_time_unit("us")
    if source == pl.Date:
        return value.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    if source != pl.String:
        return pl.lit(None, pl.Datetime("us", "UTC"))  # a bare number could be seconds, days or milliseconds
    zoned, local = iso_times(value.str.strip_chars())
    return pl.coalesce(zoned, local.dt.replace_time_zone("UTC"))


def iso_times(text: pl.Expr) -> tuple[pl.Expr, pl.Expr]:
    """Moments that name their zone, in UTC, and moments without one, of texts in ISO 8601; null where it is neither."""
    text = text.str.replace(r"^(\d{4}-\d{2}-\d{2})[ t]", "${1}T").str.replace(r"[zZ]$", "+00:00")
    zoned = text.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%:z", time_unit="us", time_zone="UTC", strict=False)
    local = [
        text.str.to_datetime(form, time_unit="us", strict=False) for form in ("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M")
    ]
    day = text.str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("us"))
    return zoned, pl.coalesce(*local, day)
