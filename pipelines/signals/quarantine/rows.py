"""Rows that did not hold, each with its table, file, line and reason; kept as they came until they are re-admitted."""

from __future__ import annotations

import hashlib
from datetime import datetime
from pathlib import Path

import polars as pl

from pipelines.signals.lake.lake import Lake, Manifest, make_durable
from pipelines.signals.sources.csv_files import MALFORMED
from state.files import draft_beside

FORGOTTEN = "the shopper was forgotten; the row's content is not kept"
SCHEMA = pl.Schema(
    {
        "table": pl.String(),
        "file": pl.String(),
        "line": pl.Int64(),
        "reason": pl.String(),
        "row": pl.String(),  # the row as it came, as JSON; empty for a forgotten shopper
        "at": pl.Datetime("us", "UTC"),
    }
)
_SLICE_ROWS = 100_000
# How a reason names a value that another table does not hold (see contract.unknown_reason).
_NAMED = r"""(?<name>\w+) (?:'|")(?<value>[^'"]*)(?:'|") is not in the"""
# What to do about a reason, by how it ends; the first that fits is shown.
_WAYS_OUT = (
    ("is missing", "fill the column in your export and ingest again"),
    ("lies in the future", "check the clock and the time zone of the source; write UTC"),
    ("is not in the", "ingest the table that it refers to, then run `facings quarantine readmit`"),
    ("clocks repeat or skip", "write such times with their offset, as 2026-10-25T02:30:00+02:00"),
    ("in the lake already", "nothing, if the lake's row is newer; else bring the row in a folder of its own"),
    ("with other values", "keep one row for each key in your export and ingest again"),
    ("was forgotten", "nothing: the shopper asked to be forgotten"),
    (MALFORMED, "write each row with as many values as the header has names and ingest again"),
    ("is not one of the known values", "map the value (docs/data.md) or correct it, and ingest again"),
    ("is not a time", "name the format in a mapping (docs/data.md) or write UTC, and ingest again"),
    ("", "correct the value in your export and ingest again"),
)


def read_quarantine(lake: Lake, manifest: Manifest | None = None) -> pl.DataFrame:
    """Read all quarantined rows, in the order of table, file and line."""
    files = (manifest or lake.manifest()).quarantine
    frames = [pl.read_parquet(lake.folder / file) for file in files]
    return pl.concat([pl.DataFrame(schema=SCHEMA), *frames]).sort("table", "file", "line", "reason")


def write_quarantine(lake: Lake, rows: pl.DataFrame) -> tuple[str, ...]:
    """Write `rows` as one new part, each once however often its file came; return the manifest's entry.

    A row that comes again keeps the moment when it first came, and takes the reason that holds now.
    """
    place = ["table", "file", "line", "row"]
    told = rows.select(SCHEMA.names()).unique([*place, "reason"], keep="first", maintain_order=True)
    newest = rows.with_row_index("_order").group_by([*place, "reason"]).agg(pl.col("_order").max())
    kept = (
        told.join(newest, on=[*place, "reason"], maintain_order="left")
        .sort("_order")
        .unique(place, keep="last", maintain_order=True)
        .drop("_order")
    )
    if kept.is_empty():
        return ()
    digest = hashlib.sha256()
    for some in kept.drop("at").iter_slices(_SLICE_ROWS):
        digest.update(some.write_json().encode())
    file = f"quarantine/{digest.hexdigest()[:16]}.parquet"
    path: Path = lake.folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        draft = draft_beside(path)
        kept.write_parquet(draft)
        draft.replace(path)
        make_durable(path)
    return (file,)


def records(table: str, file: str, rows: pl.DataFrame, at: datetime) -> pl.DataFrame:
    """Make quarantine rows of one file from the columns line, reason and row."""
    place = pl.lit(table).alias("table"), pl.lit(file).alias("file")
    whole = rows.with_columns(*place, pl.lit(at).dt.convert_time_zone("UTC").dt.cast_time_unit("us").alias("at"))
    return whole.select(SCHEMA.names()).cast(SCHEMA)


def explain(rows: pl.DataFrame) -> pl.DataFrame:
    """Count quarantined rows by table and reason, most first, with the way out of each.

    A reason that names an unknown value counts with those that name others; `values` are up to three that were named.
    """
    parted = rows.with_columns(
        pl.col("reason").str.replace_all(_NAMED, "$name is not in the"),
        pl.col("reason").str.extract_groups(_NAMED).struct.field("value"),
    )
    counts = parted.group_by("table", "reason").agg(
        pl.len().alias("rows"),
        pl.col("line").min().alias("first_line"),
        pl.col("value").drop_nulls().unique().sort().head(3).alias("values"),
    )
    ways = [_way_out(reason) for reason in counts["reason"]]
    return counts.with_columns(pl.Series("way_out", ways, pl.String)).sort(
        "rows", "table", "reason", descending=[True, False, False]
    )


def _way_out(reasons: str) -> str:
    return next(way for ending, way in _WAYS_OUT if ending in reasons)
