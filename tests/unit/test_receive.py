"""Batches that wait share one write; each is told what became of it, and a sender who has gone holds up nobody."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Engine, text

from configs.clock import FixedClock
from pipelines.signals.live.receive import Receiver, Taken
from state.engine import open_engine
from state.events import waiting_events
from state.forgotten import remember_forgotten

NOW = datetime(2026, 6, 1, tzinfo=UTC)
KEY = b"key"


def event(name: str, shopper: str = "s") -> dict[str, Any]:
    moment = "2026-05-31T00:00:00Z"
    return {"event_id": name, "shopper_id": shopper, "item_id": "i", "event_type": "view", "event_time": moment}


@pytest.fixture
def engine(state_uri: str) -> Engine:
    return open_engine(state_uri)


@pytest.fixture
def receiver(engine: Engine) -> Iterator[Receiver]:
    made = Receiver(engine, KEY, FixedClock(NOW), skew_seconds=0, known_stores=lambda: None, arrived=lambda: None)
    yield made
    made.stop()


def test_batches_that_wait_together_are_told_apart(receiver: Receiver) -> None:
    answers = [receiver.submit(rows) for rows in ([event("a"), event("b")], [event("b"), "no event"], [], [event("c")])]
    receiver.start()  # by now all four wait
    found = [answer.result(20) for answer in answers]
    assert [(one.accepted, one.duplicates, [entry.index for entry in one.rejected]) for one in found] == [
        (2, 0, []), (0, 1, [1]), (0, 0, []), (1, 0, []),
    ]  # fmt: skip


def test_who_was_forgotten_is_refused_and_named_by_place_alone(receiver: Receiver, engine: Engine) -> None:
    remember_forgotten(engine, "gone", KEY, FixedClock(NOW))
    (told,) = receiver.take([["bad", event("a", "gone"), event("b")]], NOW)
    assert (told.accepted, told.duplicates) == (1, 0)
    assert [(entry.index, "gone" in entry.reason) for entry in told.rejected] == [(0, False), (1, False)]
    assert [row["event_id"] for row in waiting_events(engine)] == ["b"]


def test_a_sender_who_has_gone_and_a_database_that_is_away_hold_up_nobody(receiver: Receiver, engine: Engine) -> None:
    assert receiver.submit([event("a")]).cancel()
    receiver.start()
    assert receiver.submit([event("b")]).result(20) == Taken(1, 0, [])
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE events RENAME TO away"))
    with pytest.raises(Exception, match="events"):
        receiver.submit([event("c")]).result(20)
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE away RENAME TO events"))
    assert receiver.submit([event("c")]).result(20) == Taken(1, 0, [])
