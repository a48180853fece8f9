"""Sessions in batch: every act in exactly one, no pause within, and the last of them is the live features' session."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import Any

import pandas as pd
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from features.live import live_features
from pipelines.signals.behaviour.sessions import sessions
from tests.small_shop import END

IDLE = timedelta(minutes=30)
KINDS = ["view", "click", "add_to_cart", "purchase", "content_view", "impression"]
SCHEMA = {"shopper_id": pl.String(), "item_id": pl.String(), "event_type": pl.String(),
          "event_time": pl.Datetime("us", "UTC"), "session_id": pl.String()}  # fmt: skip
events = st.lists(
    st.tuples(st.sampled_from(["ann", "bob"]), st.sampled_from("xyz"), st.sampled_from(KINDS), st.integers(1, 300)),
    min_size=1,
    max_size=30,
    unique_by=lambda row: (row[0], row[3]),
)


def table(rows: list[tuple[Any, ...]], named: str | None = None) -> pl.DataFrame:
    whole = [(who, item, kind, END - timedelta(minutes=ago), named) for who, item, kind, ago in rows]
    return pl.DataFrame(whole, schema=SCHEMA, orient="row")


@settings(max_examples=60, deadline=None)
@given(rows=events, random=st.randoms(use_true_random=False))
def test_every_act_is_in_one_session_and_no_session_holds_a_pause(rows: list[tuple[Any, ...]], random: Any) -> None:
    frame = table(rows)
    found = sessions(frame.lazy(), idle=IDLE).collect()
    acts = frame.filter(pl.col("event_type") != "impression")
    assert found["events"].sum() == acts.height
    for who, of in found.group_by("shopper_id"):
        times = acts.filter(pl.col("shopper_id") == who[0])["event_time"].sort().to_list()
        starts = [times[0], *(b for a, b in pairwise(times) if b - a >= IDLE)]
        assert of["starts"].sort().to_list() == starts
    random.shuffle(rows)
    assert found.equals(sessions(table(rows).lazy(), idle=IDLE).collect())


@settings(max_examples=30, deadline=None)
@given(rows=events)
def test_the_session_of_the_live_features_is_the_last_one(rows: list[tuple[Any, ...]]) -> None:
    frame = table(rows)
    found = sessions(frame.lazy(), idle=IDLE).collect()
    live = live_features(frame.to_pandas(), pd.Timestamp(END)).set_index("shopper_id")
    for who, events_live in live["session_events"].items():
        last = found.filter((pl.col("shopper_id") == who) & (pl.col("ends") > END - IDLE))
        assert last["events"].sum() == events_live


def test_an_id_of_the_source_wins() -> None:
    rows = [("ann", "x", "view", 200), ("ann", "y", "purchase", 10)]
    frame = pl.concat([table(rows, "the app's own"), table([("ann", "z", "view", 100)])])
    found = sessions(frame.lazy(), idle=IDLE).collect()
    assert dict(found.select("session", "events").iter_rows()) == {"the app's own": 2, "#0": 1}
