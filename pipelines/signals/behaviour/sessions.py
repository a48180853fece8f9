"""Sessions: what a shopper did without a pause. A session_id of the source wins; else a pause of 30 minutes ends one.

One shopper has one session at a time, over all stores and channels: who looks something up on the phone before the
shelf goes on shopping. Events that bear a session_id of their own are that session and neither prolong nor end another.
What the shop showed (impressions, promotions) is nothing that the shopper did.
"""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from features.live import CONTENT_TYPES, LOOKS, SHOWN


def sessions(interactions: pl.LazyFrame, *, idle: timedelta) -> pl.LazyFrame:
    """Return one row a session.

    Args:
        interactions: the interactions table: shopper_id, item_id, event_type, event_time, session_id.
        idle: without an event for so long a session ends (`session_idle_minutes`).

    Returns:
        shopper_id, session (the source's id, or the number of the session among the shopper's own, from 0, with a #),
        starts and ends (the first and the last event, UTC), events, looks, carts, purchases, contents (counts of
        events), items (distinct).
    """
    kind = pl.col("event_type")
    own = pl.col("session_id").is_null()
    done = interactions.filter(~kind.is_in(list(SHOWN))).select(
        "shopper_id", "item_id", "event_type", "event_time", "session_id"
    )
    paused = (pl.col("event_time").diff() >= idle).fill_null(False).cum_sum().over("shopper_id", order_by="event_time")
    alone = done.filter(own).with_columns(pl.concat_str(pl.lit("#"), paused).alias("session")).drop("session_id")
    named = done.filter(~own).rename({"session_id": "session"})
    return (
        pl.concat([alone.select(columns := ["shopper_id", "session", "item_id", "event_type", "event_time"]),
                   named.select(columns)])
        .group_by("shopper_id", "session")
        .agg(
            pl.col("event_time").min().alias("starts"),
            pl.col("event_time").max().alias("ends"),
            pl.len().alias("events"),
            kind.is_in(list(LOOKS)).sum().alias("looks"),
            (kind == "add_to_cart").sum().alias("carts"),
            (kind == "purchase").sum().alias("purchases"),
            kind.is_in(list(CONTENT_TYPES)).sum().alias("contents"),
            pl.col("item_id").n_unique().alias("items"),
        )
        .sort("shopper_id", "starts", "session")
    )  # fmt: skip
