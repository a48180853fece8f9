"""What one event says of interest: the stated formula, the same in both engines."""

from __future__ import annotations

import duckdb
import polars as pl
import pytest

from features.engagement import ENGAGEMENT

CASES = [
    ("view", 30.0, 60.0, 0.5),
    ("content_view", 60.0, 60.0, 1.0),
    ("view", 500.0, 60.0, 1.0),  # an open page is no more than the whole
    ("view", 15.0, None, 0.5),
    ("view", 90.0, 0.0, 1.0),
    ("view", None, 60.0, 0.5),
    ("view", 2.9, 60.0, 0.0),  # a bounce
    ("view", 2.0, None, 0.0),
    ("view", 2.0, 2.5, 0.8),  # short, and watched nearly whole
    ("like", None, None, 2.0),
    ("comment", 1.0, 60.0, 2.0),
    ("share", None, 60.0, 3.0),
    ("impression", 20.0, 60.0, 0.0),
    ("tap", None, None, 0.0),
]


@pytest.mark.parametrize(("event", "dwell", "duration", "expected"), CASES)
def test_an_event_says_what_the_formula_states(
    event: str, dwell: float | None, duration: float | None, expected: float
) -> None:
    row = pl.DataFrame(
        {"event_type": [event], "dwell_seconds": [dwell], "duration_seconds": [duration]},
        schema={"event_type": pl.String, "dwell_seconds": pl.Float64, "duration_seconds": pl.Float64},
    )
    assert row.select(pl.sql_expr(ENGAGEMENT)).item() == pytest.approx(expected)
    with duckdb.connect() as duck:
        duck.register("rows", row.to_arrow())
        found = duck.execute(f"SELECT {ENGAGEMENT} FROM rows").fetchone()
    assert found is not None and found[0] == pytest.approx(expected)
