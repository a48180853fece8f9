"""What shoppers did with contents, from both places where it may stand; the same rule as in `features.history`."""

from __future__ import annotations

import polars as pl

from features.live import CONTENT_TYPES
from pipelines.signals.lake.lake import Lake

COLUMNS = ["shopper_id", "content_id", "event_type", "event_time"]


def watching(lake: Lake) -> pl.LazyFrame | None:
    """The rows of content_views, and the interactions that are a content's: by their type, and by a content's id.

    What stands in both counts once.

    Returns:
        shopper_id, content_id, event_type, event_time, dwell_seconds, duration_seconds; None: there are no contents.
    """
    if not lake.has("contents"):
        return None
    durations = lake.scan("contents").select("content_id", "duration_seconds")
    told = lake.scan("interactions").filter(pl.col("event_type").is_in(sorted(CONTENT_TYPES)))
    if "dwell_seconds" not in told.collect_schema().names():
        told = told.with_columns(pl.lit(None).alias("dwell_seconds"))
    told = told.rename({"item_id": "content_id"}).with_columns(pl.col("dwell_seconds").cast(pl.Float64, strict=False))
    rows = told.select(*COLUMNS, "dwell_seconds")
    if lake.has("content_views"):
        views = lake.scan("content_views").select(*COLUMNS, "dwell_seconds")
        rows = pl.concat([views, rows.join(views, on=COLUMNS, how="anti")], how="vertical_relaxed")
    return rows.join(durations, on="content_id")
