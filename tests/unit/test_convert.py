"""Values as they came become values of the contract's kinds, or are told apart."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest

from pipelines.signals.contract.convert import convert, unreadable_reason
from pipelines.signals.contract.tables import TABLES, Column, Kind, Table


def _read(kind: Kind, values: Any, dtype: pl.DataType | None = None) -> tuple[list[Any], list[bool]]:
    """Convert one column; return its values and the marks of what could not be read."""
    frame = pl.DataFrame({"x": pl.Series(values, dtype=dtype)})
    typed, unreadable = convert(frame, Table("t", (Column("x", kind),)))
    marks = unreadable["x"].to_list() if "x" in unreadable else [False] * len(values)
    return typed["x"].to_list(), marks


NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-01T00:00:00Z", NEW_YEAR),
        ("2026-01-01T00:00:00z", NEW_YEAR),
        ("2026-01-01T02:00:00+02:00", NEW_YEAR),
        ("2025-12-31 19:00:00-05:00", NEW_YEAR),
        ("2026-01-01 00:00:00", NEW_YEAR),
        ("2026-01-01T00:00", NEW_YEAR),
        ("2026-01-01", NEW_YEAR),
        (" 2026-01-01 ", NEW_YEAR),
        ("2026-01-01T00:00:00.000001", NEW_YEAR.replace(microsecond=1)),
        ("2026-01-01T00:00:00.123456789Z", NEW_YEAR.replace(microsecond=123456)),
    ],
)
def test_a_time_is_utc_with_microseconds(text: str, moment: datetime) -> None:
    assert _read("time", [text]) == ([moment], [False])


@pytest.mark.parametrize("text", ["01/02/2026", "2026-13-01", "2026-02-30", "1700000000", "soon", "2026-01-01T25:00"])
def test_what_is_no_time_is_told_apart(text: str) -> None:
    assert _read("time", [text, None, ""]) == ([None, None, None], [True, False, False])


def test_times_of_parquet_keep_their_moment() -> None:
    naive = datetime(2026, 1, 1)
    assert _read("time", [naive], pl.Datetime("ns"))[0] == [NEW_YEAR]
    assert _read("time", [naive], pl.Datetime("ms"))[0] == [NEW_YEAR]
    assert _read("time", [date(2026, 1, 1)])[0] == [NEW_YEAR]
    zoned = pl.Series([naive]).dt.replace_time_zone("Europe/Amsterdam")
    typed, _ = convert(pl.DataFrame({"x": zoned}), Table("t", (Column("x", "time"),)))
    assert typed["x"].to_list() == [datetime(2025, 12, 31, 23, tzinfo=UTC)]


def test_a_bare_number_is_no_time() -> None:
    assert _read("time", [1_700_000_000]) == ([None], [True])


def test_ids_are_text_and_whole_floats_lose_their_fraction() -> None:
    assert _read("id", [1, 2])[0] == ["1", "2"]
    assert _read("id", [1.0, None, float("nan")])[0] == ["1", None, None]
    assert _read("id", ["001", "é/\"'", "  "])[0] == ["001", "é/\"'", None]


def test_numbers_may_come_as_text() -> None:
    assert _read("number", ["1", " 2.5 ", "1e3", "", None]) == ([1.0, 2.5, 1000.0, None, None], [False] * 5)
    assert _read("number", ["two", "1,5", "1_000"]) == ([None] * 3, [True] * 3)
    assert _read("number", [True]) == ([None], [True])


def test_a_fraction_is_no_whole_number() -> None:
    assert _read("integer", ["3", "3.0", "1.5"]) == ([3, 3, None], [False, False, True])
    assert _read("integer", [1.5, 2.0]) == ([None, 2], [True, False])


def test_booleans_are_words_or_digits() -> None:
    assert _read("boolean", ["TRUE", "no", "1", "maybe"]) == ([True, False, True, None], [False, False, False, True])
    assert _read("boolean", [1, 0, 2]) == ([True, False, None], [False, False, True])


def test_lists_are_joined_by_bars() -> None:
    assert _read("list", ["a, b;c|d", None])[0] == ["a|b|c|d", None]
    assert _read("list", [["a", "b"], None])[0] == ["a|b", None]


def test_absent_columns_are_added_and_attributes_kept() -> None:
    frame = pl.DataFrame({"item_id": ["i"], "size": [5], "colour": [""], "made": [datetime(2026, 1, 1)]})
    typed, unreadable = convert(frame, TABLES["items"])
    assert set(typed.columns) == {*TABLES["items"].names, "size", "colour", "made"}
    assert typed["size"].to_list() == [5]
    assert typed["colour"].to_list() == [None]
    assert typed["made"].to_list() == [NEW_YEAR]
    assert not unreadable


def test_a_reason_names_the_column() -> None:
    assert unreadable_reason(Column("price", "number")) == "price is not a number"
