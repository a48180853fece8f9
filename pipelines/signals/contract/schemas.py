"""The contract as pandera schemas: each check's name is the reason that a row's quarantine shows."""

from __future__ import annotations

from datetime import datetime
from functools import cache

import pandera.polars as pa
import polars as pl

from pipelines.signals.contract.tables import MAX_NUMBER, TABLES, Column
from pipelines.signals.lake.lake import polars_type

ROW = "_row"
_SPAN_REASON = "starts lies after ends"


def violations(frame: pl.DataFrame, table: str, latest: datetime) -> pl.DataFrame:
    """Check typed rows.

    Args:
        frame: all contract columns, typed.
        table: which table it is.
        latest: times of events may not lie after this moment.

    Returns:
        _row (position in `frame`) and reason, one line a violation; no lines when every row holds.
    """
    found = []
    try:
        schema(table).validate(frame, lazy=True)
    except pa.errors.SchemaErrors as error:
        cases = error.failure_cases
        reason = pl.when(pl.col("check") == "not_nullable").then(pl.col("column") + " is missing").otherwise("check")
        found.append(cases.select(pl.col("index").cast(pl.Int64).alias(ROW), reason.cast(pl.String).alias("reason")))
    for column in TABLES[table].columns:
        if column.past:
            late = frame[column.name] > latest
            rows = late.fill_null(False).arg_true().cast(pl.Int64)
            found.append(pl.DataFrame({ROW: rows, "reason": [f"{column.name} lies in the future"] * len(rows)}))
    empty = pl.DataFrame(schema={ROW: pl.Int64, "reason": pl.String})
    whole: pl.DataFrame = pl.concat([empty, *found]).unique(maintain_order=True)
    return whole


@cache
def schema(table: str) -> pa.DataFrameSchema:
    """The pandera schema of one table; columns that the contract does not name are allowed."""
    columns = {column.name: _column(column) for column in TABLES[table].columns}
    spans = {"starts", "ends"} <= set(TABLES[table].names)
    checks = [pa.Check(_span_holds, error=_SPAN_REASON, name=_SPAN_REASON)] if spans else []
    return pa.DataFrameSchema(columns, checks=checks, strict=False)


def _column(column: Column) -> pa.Column:
    checks = []
    if column.choices:
        checks.append(
            _check(pl.col(column.name).is_in(list(column.choices)), f"{column.name} is not one of the known values")
        )
    if column.pattern:
        checks.append(
            _check(pl.col(column.name).str.contains(column.pattern), f"{column.name} is not written as expected")
        )
    if column.kind == "number":
        checks.append(_check(pl.col(column.name).abs() <= MAX_NUMBER, f"{column.name} is not a finite number"))
    if column.low is not None:
        checks.append(_check(~(pl.col(column.name) < column.low), f"{column.name} is less than {column.low:g}"))
    if column.high is not None:
        checks.append(_check(~(pl.col(column.name) > column.high), f"{column.name} is more than {column.high:g}"))
    return pa.Column(polars_type(column.kind), checks=checks, nullable=not column.required)


def _check(holds: pl.Expr, reason: str) -> pa.Check:
    """A missing value is the business of `required`, not of this check."""
    return pa.Check(lambda data: data.lazyframe.select(holds.fill_null(True)), error=reason, name=reason)


def _span_holds(data: pa.PolarsData) -> pl.LazyFrame:
    return data.lazyframe.select(~(pl.col("starts") > pl.col("ends")).fill_null(False))
