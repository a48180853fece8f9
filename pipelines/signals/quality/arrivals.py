"""What came since the last accepted run: rows that were kept, and rows that went to the quarantine."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Protocol

import polars as pl


class Tables(Protocol):
    """The tables to look at; the lake is one."""

    def tables(self) -> list[str]:
        """Names of the tables that are there."""
        ...

    def scan(self, table: str) -> pl.LazyFrame:
        """One table, contract columns first."""
        ...

    def missing(self, table: str) -> tuple[int, dict[str, int]]:
        """Rows of a table, and how many of them have no value, by column."""
        ...


def quarantine_counts(rows: pl.DataFrame, since: datetime | None) -> pl.DataFrame:
    """Counts by reason; what a row held is cut out of the reason."""
    fresh = pl.col("at") > (since or datetime.min.replace(tzinfo=UTC))
    reason = pl.col("reason").str.replace_all(r"""'[^']*'|"[^"]*\"""", "…")
    return (
        rows.group_by("table", reason)
        .agg(pl.len().alias("rows"), fresh.sum().alias("fresh"))
        .sort("rows", "table", "reason", descending=[True, False, False])
    )


def arrived(tables: Tables, since: datetime | None) -> dict[str, int]:
    """Rows that the lake holds and that came after the accepted run's profile was made."""
    if since is None:
        return {name: tables.missing(name)[0] for name in tables.tables()}
    moment = pl.lit(since.astimezone(UTC).replace(tzinfo=None), pl.Datetime("us")).dt.replace_time_zone("UTC")
    names = [name for name in tables.tables() if "ingested_at" in tables.scan(name).collect_schema()]
    counts = [tables.scan(name).select((pl.col("ingested_at") > moment).sum().alias(name)) for name in names]
    return {frame.columns[0]: int(frame.item()) for frame in pl.collect_all(counts, engine="streaming")}
