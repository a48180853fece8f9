"""Interactions that come over HTTP are held to the same contract as those of a folder."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from pipelines.signals.contract.convert import convert
from pipelines.signals.contract.schemas import violations
from pipelines.signals.contract.tables import TABLES
from pipelines.signals.live.events import MAX_FIELDS, MAX_TEXT, check_interactions

NOW = datetime(2026, 6, 1, tzinfo=UTC)
GOOD = {"shopper_id": "a", "item_id": "i", "event_type": "tap", "event_time": "2026-05-31T12:00:00+02:00"}


def _check(*rows: Any, stores: frozenset[str] | None = None) -> tuple[list[dict[str, Any]], list[str]]:
    good, bad = check_interactions(rows, now=NOW, skew_seconds=60, known_stores=stores)
    return good, [one.reason for one in bad]


def test_a_good_row_is_normalised() -> None:
    (row,), reasons = _check({**GOOD, "item_id": 7, "price": 2, "store_id": "", "screen": "x1"})
    assert reasons == []
    assert row["event_time"] == "2026-05-31T10:00:00+00:00"
    assert (row["item_id"], row["price"], row["screen"]) == ("7", 2, "x1")
    assert "store_id" not in row


def test_a_row_without_an_event_id_gets_the_same_one_each_time() -> None:
    (first,), _ = _check(GOOD)
    (again,), _ = _check(dict(reversed(GOOD.items())))
    (other,), _ = _check({**GOOD, "item_id": "j"})
    assert first["event_id"] == again["event_id"] != other["event_id"]
    assert _check({**GOOD, "event_id": "e"})[0][0]["event_id"] == "e"


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"shopper_id": None}, "shopper_id is missing"),
        ({"item_id": ""}, "item_id is missing"),
        ({"item_id": True}, "item_id is not text"),
        ({"item_id": ["i"]}, "item_id is not text"),
        ({"item_id": "i" * (MAX_TEXT + 1)}, f"item_id has more than {MAX_TEXT} characters"),
        ({"item_id": "\ud800"}, "item_id is not valid text"),
        ({"item_id": "a\0b"}, "item_id is not valid text"),
        ({"note": "a\0b"}, "note is not valid text"),
        ({"shopper_id": " \t"}, "shopper_id is missing"),
        ({"event_type": "bought"}, "event_type is not one of the known values"),
        ({"event_time": "soon"}, "event_time is not a time (write 2026-01-31T09:30:00Z)"),
        ({"event_time": 1.5}, "event_time is not a time (write 2026-01-31T09:30:00Z)"),
        ({"event_time": "0001-01-01T00:00:00+14:00"}, "event_time lies outside the calendar"),
        ({"event_time": "2026-06-01T00:02:00Z"}, "event_time lies in the future"),
        ({"quantity": "2"}, "quantity is not a number"),
        ({"quantity": True}, "quantity is not a number"),
        ({"quantity": -1}, "quantity is less than 0"),
        ({"price": float("nan")}, "price is not a finite number"),
        ({"price": 10**400}, "price is not a finite number"),
        ({"position": 1.5}, "position is not a whole number"),
        ({"currency": "usd"}, "currency is not written as expected"),
        ({"currency": "USD\n"}, "currency is not written as expected"),
        ({"ingested_at": "x"}, "a field may not be called ingested_at, which is too near to a name that has a meaning"),
        ({"Shopper_ID": "x"}, "a field may not be called Shopper_ID, which is too near to a name that has a meaning"),
        ({"a b": "x"}, "a field's name must be letters, digits and _.- only"),
        ({"note": {"a": 1}}, "note is not text"),
    ],
)
def test_a_row_that_does_not_hold_is_rejected_with_its_reason(changed: dict[str, Any], reason: str) -> None:
    assert _check({**GOOD, **changed}) == ([], [reason])


def test_only_the_bad_rows_of_a_batch_are_rejected() -> None:
    good, bad = check_interactions([GOOD, 5, GOOD], now=NOW, skew_seconds=0, known_stores=None)
    assert len(good) == 2
    assert [(one.index, one.reason) for one in bad] == [(1, "an event must be an object with the interactions columns")]


def test_a_store_is_checked_only_where_stores_are_known() -> None:
    row = {**GOOD, "store_id": "s9"}
    assert _check(row)[1] == []
    assert _check(row, stores=frozenset({"s1"}))[1] == ["store_id 's9' is not in the stores table"]


def test_a_clock_that_is_a_little_fast_is_borne_with() -> None:
    row = {**GOOD, "event_time": (NOW + timedelta(seconds=59)).isoformat()}
    assert _check(row)[1] == []


def test_a_row_may_not_have_endless_fields() -> None:
    (reason,) = _check({**GOOD, **{f"f{number}": 1 for number in range(MAX_FIELDS)}})[1]
    assert reason.startswith(f"an event may have at most {MAX_FIELDS} fields")


def test_what_the_door_lets_in_holds_in_the_lake_too() -> None:
    good, _ = _check(GOOD, {**GOOD, "quantity": 0, "position": 2.0, "currency": "EUR", "colour": 5})
    typed, unreadable = convert(pl.DataFrame(good, infer_schema_length=None), TABLES["interactions"])
    assert not unreadable
    assert violations(typed, "interactions", NOW).is_empty()
