"""Laws of attribution on random histories: once at most, within the window, never before, whatever the order."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipelines.signals.behaviour.attribution import SLATES, TOUCHES, attribute
from tests.small_shop import END

WINDOW = timedelta(hours=10)
ITEMS, SHOPPERS, DECISIONS = ("i0", "i1", "i2"), ("ann", "bob"), ("r0", "r1", "r2")
KINDS = (*TOUCHES, "purchase", "purchase", "return")
COLUMNS = {
    "event_id": pl.String(), "shopper_id": pl.String(), "item_id": pl.String(), "event_type": pl.String(),
    "event_time": pl.Datetime("us", "UTC"), "attribution_token": pl.String(), "quantity": pl.Float64(),
    "price": pl.Float64(), "currency": pl.String(), "order_id": pl.String(),
}  # fmt: skip

hours = st.integers(-5, 40).map(lambda hour: END + timedelta(hours=hour))
slates = st.lists(st.tuples(st.integers(0, 20), st.sets(st.sampled_from(ITEMS), min_size=1)), min_size=1, max_size=3)
events = st.lists(
    st.tuples(
        st.sampled_from(SHOPPERS), st.sampled_from(ITEMS), st.sampled_from(KINDS), hours,
        st.sampled_from([None, None, *DECISIONS, "of somebody else"]), st.sampled_from([None, 1.0, 2.0]),
    ),
    max_size=25,
)  # fmt: skip


def shown(made: list[tuple[int, set[str]]]) -> pl.DataFrame:
    rows = [
        (f"r{number}", item, rank, END + timedelta(hours=hour))
        for number, (hour, items) in enumerate(made)
        for rank, item in enumerate(sorted(items), start=1)
    ]
    return pl.DataFrame(rows, schema=SLATES, orient="row")


def table(rows: list[tuple[Any, ...]]) -> pl.DataFrame:
    whole = [
        (str(n), who, item, kind, at, token, quantity, 2.0, None, None)
        for n, (who, item, kind, at, token, quantity) in enumerate(rows)
    ]
    return pl.DataFrame(whole, schema=COLUMNS, orient="row")


def attributed(slate: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    return attribute(slate, rows.lazy(), window=WINDOW, currency="USD")


@settings(max_examples=60, deadline=None)
@given(made=slates, rows=events, seed=st.integers(0, 99))
def test_laws(made: list[tuple[int, set[str]]], rows: list[tuple[Any, ...]], seed: int) -> None:
    slate, happened = shown(made), table(rows)
    found = attributed(slate, happened)
    assert found.height == slate.height, "one row for each item shown"
    bought = happened.filter(pl.col("event_type") == "purchase")
    pieces = bought["quantity"].fill_null(1.0).sum()
    assert found["quantity"].sum() + found["returned"].sum() <= pieces, "each purchase counts once at most"
    assert (found["quantity"] >= 0).all() and (found["revenue"] == found["quantity"] * 200).all()
    for kind in (*TOUCHES, "purchase"):
        assert found.filter(pl.col(f"{kind}_time") < pl.col("decided_at")).is_empty(), "nothing before the decision"
    late = pl.col("purchase_time") >= pl.col("decided_at") + 2 * WINDOW
    assert found.filter(late).is_empty(), "nothing after the window of the last possible touch"
    shuffled = happened.sample(fraction=1.0, shuffle=True, seed=seed)
    assert_frame_equal(found, attributed(slate.sample(fraction=1.0, shuffle=True, seed=seed), shuffled))
    if happened.height:  # what came late counts as if it had been in time
        assert_frame_equal(found, attributed(slate, pl.concat([happened[1:], happened[:1]])))


@settings(max_examples=60, deadline=None)
@given(made=slates, rows=events)
def test_it_is_what_a_slow_and_simple_reading_of_the_rule_says(
    made: list[tuple[int, set[str]]], rows: list[tuple[Any, ...]]
) -> None:
    rows = [row for row in rows if row[2] != "return"]
    slate = shown(made)
    decided = {(r, i): at for r, i, _, at in slate.iter_rows()}
    touches = [
        (at, TOUCHES.index(kind), decided[token, item], token, who, item)
        for who, item, kind, at, token, _ in rows
        if kind in TOUCHES and (token, item) in decided
        and decided[token, item] <= at < decided[token, item] + WINDOW
    ]  # fmt: skip
    expected: dict[tuple[str, str], float] = {}
    for who, item, kind, at, token, quantity in rows:
        if kind != "purchase":
            continue
        owner = None
        if (token, item) in decided and decided[token, item] <= at:
            last = max((t[0] for t in touches if t[3] == token and t[5] == item and t[0] <= at), default=None)
            owner = token if at < (last or decided[token, item]) + WINDOW else None
        if owner is None:
            mine = max((t for t in touches if t[4] == who and t[5] == item and t[0] <= at), default=None)
            owner = mine[3] if mine is not None and at < mine[0] + WINDOW else None
        if owner is not None:
            expected[owner, item] = expected.get((owner, item), 0.0) + (quantity or 1.0)
    found = attributed(slate, table(rows)).filter(pl.col("quantity") > 0)
    assert {(r, i): q for r, i, q in found.select("recommendation_id", "item_id", "quantity").iter_rows()} == expected


def test_a_return_within_the_window_cancels_and_a_later_one_does_not() -> None:
    slate = shown([(0, {"i0"})])
    at = END + timedelta(hours=1)
    for hours_after, quantity, returned in ((9, 1.0, 1.0), (10, 2.0, 0.0)):
        rows = [("ann", "i0", "tap", at, "r0", None), ("ann", "i0", "purchase", at, None, 2.0),
                ("ann", "i0", "return", at + timedelta(hours=hours_after), None, 1.0)]  # fmt: skip
        found = attributed(slate, table(rows)).row(0, named=True)
        assert (found["quantity"], found["returned"], found["revenue"]) == (quantity, returned, int(quantity * 200))
        assert found["tap_time"] == found["purchase_time"] == at and found["impression_time"] is None
