"""Two rows are the same if their event_id is, or all their values are, however these were written."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import polars as pl

from pipelines.signals.lake.keys import row_keys

ROW = {"item_id": "i", "price": 1.5, "at": datetime(2026, 1, 1, tzinfo=UTC), "size": 5, "new": True}


def _key(row: dict[str, object]) -> tuple[int, int]:
    high, low = row_keys(pl.DataFrame([row]))[0]
    return int(high), int(low)


def test_the_order_of_columns_and_empty_columns_do_not_matter() -> None:
    assert _key(dict(reversed(ROW.items()))) == _key(ROW)
    assert _key(ROW | {"colour": None}) == _key(ROW)


def test_a_number_is_the_same_in_a_csv_and_in_a_parquet_file() -> None:
    assert _key(ROW | {"size": "5"}) == _key(ROW | {"size": 5.0}) == _key(ROW)
    assert _key(ROW | {"size": "2.25"}) == _key(ROW | {"size": 2.25})


def test_any_other_value_makes_another_row() -> None:
    others = [ROW | {name: None} for name in ROW] + [ROW | {"price": 1.25}, ROW | {"new": False}, ROW | {"item_id": ""}]
    assert len({_key(row) for row in [ROW, *others]}) == len(others) + 1


def test_values_that_change_places_make_another_row() -> None:
    assert _key({"brand": "a", "title": "b"}) != _key({"brand": "b", "title": "a"})


def test_swapped_cells_of_two_rows_change_the_sum() -> None:
    straight = row_keys(pl.DataFrame({"a": ["1", "2"], "b": ["3", "4"]}))
    crossed = row_keys(pl.DataFrame({"a": ["1", "2"], "b": ["4", "3"]}))
    assert straight.sum(axis=0, dtype=np.uint64).tolist() != crossed.sum(axis=0, dtype=np.uint64).tolist()


def test_an_event_id_alone_makes_the_row() -> None:
    assert _key(ROW | {"event_id": "e"}) == _key({"event_id": "e", "price": 2.0})
    assert _key(ROW | {"event_id": None}) == _key(ROW)


def test_keys_do_not_depend_on_a_librarys_version() -> None:
    known = (14707786212319021554, 9811401455283849975)  # lakes on disk hold such keys
    assert _key({"item_id": "i1", "price": 2.5}) == known
