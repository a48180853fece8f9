"""Live features: in whatever order and however often events come, they say what a slow reading of all of them says."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from features import live
from features.live import LiveEvent
from features.tables import KEPT_EVENTS, LISTED_EVENTS

MINUTE, HOUR = 60_000_000, 3_600_000_000
NOW = live.micros(datetime(2026, 6, 1, 12, tzinfo=UTC))
KINDS = ("view", "click", "add_to_cart", "purchase", "return", "content_view", "like", "tap", "scan", "redeem")


@st.composite
def histories(draw: st.DrawFn) -> list[LiveEvent]:
    """Events of two days around now; many at the same moment or exactly at the edges of a window."""
    gaps = draw(st.lists(st.sampled_from([0, 1, MINUTE, 29 * MINUTE, 30 * MINUTE, 3 * HOUR]), max_size=40))
    time = NOW + draw(st.sampled_from([-1, 0, 1, MINUTE, -29 * MINUTE, -30 * MINUTE]))
    found = []
    for number, gap in enumerate(gaps):
        found.append(LiveEvent(time, f"e{number}", draw(st.sampled_from(KINDS)), f"i{number % 3}"))
        time -= gap
    return found


def slow(events: list[LiveEvent], as_of: int, idle: float) -> dict[str, Any] | None:
    """The reference: one plain sentence of the documentation after the other, over all events."""
    day = sorted(event for event in events if as_of - 24 * HOUR <= event.time < as_of)
    if not day:
        return None
    session: list[LiveEvent] = []
    for event in day:
        if session and event.time - session[-1].time >= idle * MINUTE:
            session = []
        session.append(event)
    if as_of - session[-1].time >= idle * MINUTE:
        session = []
    about = ("content_view", "like", "share", "comment")
    items = [[e.item_id, e.event_type, e.time] for e in session if e.event_type not in about][-LISTED_EVENTS:]
    contents = [[e.item_id, e.event_type, e.time] for e in session if e.event_type in about][-LISTED_EVENTS:]
    return {
        "session_items": items or None,
        "session_contents": contents or None,
        "session_minutes": (as_of - session[0].time) / MINUTE if session else 0,
        "session_events": len(session),
        "session_looks": sum(e.event_type in ("view", "click", "tap", "scan") for e in session),
        "session_carts": sum(e.event_type == "add_to_cart" for e in session),
        "session_purchases": sum(e.event_type == "purchase" for e in session),
        "events_1h": sum(e.time >= as_of - HOUR for e in day),
        "events_24h": len(day),
        "purchases_24h": sum(e.event_type == "purchase" for e in day),
        "contents_24h": sum(e.event_type in about for e in day),
    }


def read(features: dict[str, Any] | None) -> dict[str, Any] | None:
    if features is None:
        return None
    lists = {name: features[name] and json.loads(features[name]) for name in ("session_items", "session_contents")}
    return {**features, **lists}


@given(histories(), st.randoms(use_true_random=False), st.sampled_from([30.0, 10.0, 200.0]))
@settings(max_examples=200, deadline=None)
def test_late_and_repeated_events_in_any_order_give_what_a_slow_reading_gives(
    events: list[LiveEvent], random: Any, idle: float
) -> None:
    sent = events + random.choices(events, k=len(events) // 2) if events else []
    random.shuffle(sent)
    state: live.State = ()
    for start in range(0, len(sent), 7):
        state = live.update(state, sent[start : start + 7])
    assert state == live.update((), events)
    assert read(live.features_of(state, NOW, idle)) == slow(events, NOW, idle)


@given(histories())
@settings(max_examples=25, deadline=None)
def test_a_batch_row_of_the_same_events_is_the_row_that_is_pushed(events: list[LiveEvent]) -> None:
    table = pd.DataFrame(
        [("ann", e.event_id, e.event_type, e.item_id, pd.Timestamp(e.time, unit="us", tz="UTC")) for e in events],
        columns=["shopper_id", "event_id", "event_type", "item_id", "event_time"],
    ).astype({"event_time": "datetime64[us, UTC]"})
    batch = live.live_features(table, pd.Timestamp(NOW, unit="us", tz="UTC"))
    own = live.features_of(live.update((), events), NOW, 30.0)
    pushed = live.frame([] if own is None else [("ann", NOW, own)])
    pd.testing.assert_frame_equal(batch, pushed)


def test_of_many_events_the_last_count_whatever_came_first() -> None:
    events = [LiveEvent(NOW - number, f"e{number:04d}", "view", "i") for number in range(1, KEPT_EVENTS + 100)]
    forwards, backwards = live.update((), events), ()
    for event in reversed(events):
        backwards = live.update(backwards, [event])
    assert forwards == backwards == tuple(sorted(events)[-KEPT_EVENTS:])
    assert live.update(forwards, events[-50:]) == forwards  # older than what is kept: it stays out
    features = live.features_of(forwards, NOW, 30.0)
    assert features is not None and len(json.loads(features["session_items"])) == LISTED_EVENTS


def test_what_the_shop_showed_is_nothing_that_the_shopper_did() -> None:
    row = {"event_id": "a", "shopper_id": "s", "item_id": "i", "event_time": "2026-06-01T12:00:00+00:00"}
    assert live.event_of(row | {"event_type": "impression"}) is None
    assert live.event_of(row | {"event_type": "tap"}) == LiveEvent(NOW, "a", "tap", "i")


def test_a_row_holds_the_session_that_a_recommender_folds_in() -> None:
    events = [LiveEvent(NOW - 3, "a", "view", "i1"), LiveEvent(NOW - 2, "b", "like", "c1")]
    features = live.features_of(live.update((), events), NOW, 30.0)
    assert features is not None
    told = live.events_of(features["session_items"], features["session_contents"])
    assert [event[0::2] for event in told] == [event[0::2] for event in events]
