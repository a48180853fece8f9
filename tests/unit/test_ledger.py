"""The ledger says what served when, and what a rollback goes back to."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from state.engine import open_engine
from state.ledger import Action, Deployment, Ledger, Status

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def ledger(state_uri: str) -> Ledger:
    return Ledger(open_engine(state_uri))


def begin(ledger: Ledger, version: str, previous: int | None, action: Action = Action.PUBLISH) -> Deployment:
    return ledger.begin(
        action, at=AT, version=version, recipe="blend", snapshot_id=f"s{version}", previous=previous, reason="why"
    )


def test_an_empty_ledger_says_that_nothing_serves(ledger: Ledger) -> None:
    assert ledger.history() == []
    assert ledger.serving() is None
    ledger.settle(None)


def test_a_row_reads_back_as_it_was_written_with_its_time_in_utc(ledger: Ledger) -> None:
    row = begin(ledger, "1", None)
    assert ledger.get(row.id) == row
    assert row.as_dict()["at"] == "2026-01-02T03:04:05+00:00"


def test_one_deployment_serves_at_a_time(ledger: Ledger) -> None:
    one = begin(ledger, "1", None)
    ledger.settle(one.id)
    two = begin(ledger, "2", one.id)
    ledger.settle(two.id)
    assert [(row.version, row.status) for row in ledger.history()] == [("2", Status.SERVING), ("1", Status.ENDED)]


def test_what_a_rollback_takes_back_is_marked(ledger: Ledger) -> None:
    one = begin(ledger, "1", None)
    ledger.settle(one.id)
    two = begin(ledger, "2", one.id)
    ledger.settle(two.id)
    ledger.settle(begin(ledger, "1", None, Action.ROLLBACK).id)
    statuses = [row.status for row in ledger.history()]
    assert statuses == [Status.SERVING, Status.ROLLED_BACK, Status.ENDED]


def test_a_publish_that_died_is_abandoned_and_taken_up_by_the_same_publish(ledger: Ledger) -> None:
    one = begin(ledger, "1", None)
    ledger.settle(one.id)
    dead = begin(ledger, "2", one.id)
    ledger.settle(one.id)
    assert [row.status for row in ledger.history()] == [Status.ABANDONED, Status.SERVING]
    again = begin(ledger, "2", one.id)
    assert again.id == dead.id
    ledger.settle(again.id)
    assert [row.status for row in ledger.history()] == [Status.SERVING, Status.ENDED]


def test_another_publish_does_not_take_up_a_dead_one(ledger: Ledger) -> None:
    begin(ledger, "1", None)
    ledger.settle(None)
    ledger.settle(begin(ledger, "2", None).id)
    assert [row.status for row in ledger.history()] == [Status.SERVING, Status.ABANDONED]


def test_settling_twice_changes_nothing(ledger: Ledger) -> None:
    one = begin(ledger, "1", None)
    ledger.settle(one.id)
    before = ledger.history()
    ledger.settle(one.id)
    assert ledger.history() == before
    assert ledger.of_snapshot("s1") == before[0]


def test_a_version_that_is_scored_anew_came_into_force_when_it_was_published(ledger: Ledger) -> None:
    one = begin(ledger, "1", None)
    ledger.settle(one.id)
    two = begin(ledger, "2", one.id)
    ledger.settle(two.id)
    for _ in range(2):
        newer = begin(ledger, "2", one.id, Action.RESCORE)
        ledger.settle(newer.id)
    assert ledger.begun(newer).id == ledger.begun(two).id == two.id
    assert newer.previous == two.previous
    back = begin(ledger, "1", None, Action.ROLLBACK)
    ledger.settle(back.id)
    assert ledger.history()[1].status is Status.ROLLED_BACK
    again = begin(ledger, "1", None, Action.RESCORE)
    assert ledger.begun(again).id == back.id
