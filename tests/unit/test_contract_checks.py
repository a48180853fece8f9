"""Each rule of the contract refuses the row that breaks it, with the column's name, and no other row."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from pipelines.signals.contract.convert import convert
from pipelines.signals.contract.schemas import violations
from pipelines.signals.contract.tables import LOAD_ORDER, TABLES

NOW = datetime(2026, 6, 1, tzinfo=UTC)
GOOD: dict[str, dict[str, Any]] = {
    "interactions": {"shopper_id": "a", "item_id": "i", "event_type": "view", "event_time": NOW},
    "items": {"item_id": "i"},
    "campaigns": {"campaign_id": "c"},
    "offers": {"offer_id": "o", "item_id": "i"},
    "screens": {"screen_id": "x", "store_id": "s"},
    "stock": {"store_id": "s", "item_id": "i", "units": 1.0, "as_of": NOW},
    "promotions": {"store_id": "s", "item_id": "i", "starts": NOW, "ends": NOW},
}


def _reasons(table: str, **changed: Any) -> list[str]:
    """Reasons against the second of three rows, which differs from the good ones by `changed`."""
    good = GOOD[table]
    frame = pl.DataFrame([good, good | changed, good], infer_schema_length=None)
    typed, _ = convert(frame, TABLES[table])
    found = violations(typed, table, NOW)
    assert set(found["_row"]) <= {1}
    return found["reason"].to_list()


@pytest.mark.parametrize("table", GOOD)
def test_good_rows_hold(table: str) -> None:
    assert _reasons(table) == []


@pytest.mark.parametrize(
    ("table", "changed", "reason"),
    [
        ("interactions", {"shopper_id": None}, "shopper_id is missing"),
        ("interactions", {"item_id": ""}, "item_id is missing"),
        ("interactions", {"event_type": "bought"}, "event_type is not one of the known values"),
        ("interactions", {"event_time": NOW + timedelta(seconds=1)}, "event_time lies in the future"),
        ("interactions", {"quantity": -1.0}, "quantity is less than 0"),
        ("interactions", {"price": float("nan")}, "price is not a finite number"),
        ("interactions", {"price": float("inf")}, "price is not a finite number"),
        ("interactions", {"price": -0.01}, "price is less than 0"),
        ("interactions", {"currency": "dollars"}, "currency is not written as expected"),
        ("interactions", {"position": -1}, "position is less than 0"),
        ("campaigns", {"budget": -1.0}, "budget is less than 0"),
        ("campaigns", {"starts": NOW, "ends": NOW - timedelta(1)}, "starts lies after ends"),
        ("offers", {"discount": 1.5}, "discount is more than 1"),
        ("offers", {"discount": -0.5}, "discount is less than 0"),
        ("screens", {"placement": "roof"}, "placement is not one of the known values"),
        ("screens", {"orientation": "round"}, "orientation is not one of the known values"),
        ("stock", {"as_of": NOW + timedelta(1)}, "as_of lies in the future"),
        ("stock", {"units": None}, "units is missing"),
        ("promotions", {"ends": NOW - timedelta(1)}, "starts lies after ends"),
    ],
)
def test_a_row_that_breaks_a_rule_is_refused_with_its_reason(table: str, changed: dict[str, Any], reason: str) -> None:
    assert _reasons(table, **changed) == [reason]


@pytest.mark.parametrize(
    ("table", "changed"),
    [
        ("interactions", {"quantity": 0.0, "price": 0.0}),
        ("interactions", {"event_time": NOW}),
        ("offers", {"discount": 1.0, "starts": NOW}),
        ("campaigns", {"starts": NOW + timedelta(365)}),  # only what has happened must lie in the past
        ("campaigns", {"starts": NOW, "ends": NOW}),
        ("stock", {"units": -3.0}),  # shops do count below nothing
    ],
)
def test_the_edge_of_a_rule_holds(table: str, changed: dict[str, Any]) -> None:
    assert _reasons(table, **changed) == []


def test_every_table_is_loaded_after_those_it_refers_to() -> None:
    assert sorted(LOAD_ORDER) == sorted(TABLES)
    for table in TABLES.values():
        for column in table.columns:
            if column.refers_to:
                assert LOAD_ORDER.index(column.refers_to) < LOAD_ORDER.index(table.name)


def test_every_key_is_required() -> None:
    for table in TABLES.values():
        assert set(table.key) <= set(table.required), table.name
