"""Laws of returns: never more than was bought, known from their own time on, the same in features and in training."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from features.compute import COMPUTE
from features.history import History
from features.returns import cancelled, left
from tests.small_shop import END

AS_OF = pd.Timestamp(END)
KINDS = ["purchase", "purchase", "return"]
rows = st.lists(
    st.tuples(
        st.sampled_from(["ann", "bob"]),
        st.sampled_from(["x", "y"]),
        st.sampled_from(KINDS),
        st.integers(1, 60),
        st.sampled_from([None, 1.0, 2.0, 3.0]),
        st.sampled_from([None, None, "o1", "o2"]),
    ),
    min_size=1,
    max_size=20,
)


def table(made: list[tuple[Any, ...]]) -> pd.DataFrame:
    columns = ["shopper_id", "item_id", "event_type", "ago", "quantity", "order_id"]
    frame = pd.DataFrame(made, columns=columns).astype({"quantity": "float64"})
    frame["event_time"] = AS_OF - pd.to_timedelta(frame.pop("ago"), unit="h")
    return frame.assign(price=2.0, basket_id=[f"b{n}" for n in range(len(frame))])


def parts(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    bought = frame["event_type"] == "purchase"
    return frame[bought].reset_index(drop=True), frame[~bought].reset_index(drop=True)


def slowly(bought: pd.DataFrame, back: pd.DataFrame) -> list[float]:
    """What is left of each line, as somebody with a pencil would do it."""
    rest = bought["quantity"].fillna(1.0).tolist()
    for _, one in back.sort_values(["event_time"], kind="stable").iterrows():
        todo = 1.0 if pd.isna(one["quantity"]) else one["quantity"]
        for line in bought.sort_values("event_time", ascending=False, kind="stable").index:
            own = bought.loc[line]
            fits = (own["shopper_id"], own["item_id"]) == (one["shopper_id"], one["item_id"])
            named = one["order_id"] is None or one["order_id"] == own["order_id"]
            if fits and named and own["event_time"] <= one["event_time"]:
                taken = min(todo, rest[line])
                rest[line] -= taken
                todo -= taken
    return rest


@settings(max_examples=40, deadline=None)
@given(made=rows)
def test_it_is_what_a_pencil_gives_where_no_two_rows_are_of_one_moment(made: list[tuple[Any, ...]]) -> None:
    frame = table([(*row[:3], 60 - n, *row[4:]) for n, row in enumerate(made)])
    bought, back = parts(frame)
    some, taken = left(bought, back)
    expected = slowly(bought, back)
    assert [pieces - gone for pieces, gone in zip(bought["quantity"].fillna(1.0), taken, strict=True)] == expected
    assert some.tolist() == [rest > 0 for rest in expected]


@settings(max_examples=40, deadline=None)
@given(made=rows, hour=st.integers(1, 60))
def test_what_was_known_at_a_moment_is_no_other_once_later_returns_are_known(
    made: list[tuple[Any, ...]], hour: int
) -> None:
    moment = AS_OF - timedelta(hours=hour)
    bought, back = parts(table(made))
    then = cancelled(bought[bought["event_time"] < moment], back[back["event_time"] < moment])
    later = cancelled(bought, back)
    known = later[later["returned_at"] < moment].groupby("row")["quantity"].sum()
    rows_then = bought.index[bought["event_time"] < moment].to_numpy()
    assert {int(rows_then[row]): q for row, q in then.groupby("row")["quantity"].sum().items()} == known.to_dict()


@settings(max_examples=4, deadline=None)
@given(made=rows, random=st.randoms(use_true_random=False))
def test_features_are_those_of_a_shop_where_what_was_returned_was_never_bought(
    made: list[tuple[Any, ...]], random: Any
) -> None:
    frame = table(made)
    bought, back = parts(frame)
    some, taken = left(bought, back)
    whole = taken == 0
    quiet = bought.assign(quantity=(bought["quantity"].fillna(1.0) - taken).where(~whole, bought["quantity"]))[some]
    order = list(range(len(frame)))
    random.shuffle(order)
    with History(frame.iloc[order]) as history, History(quiet) as other:
        for name in ("shopper", "item", "store", "shopper_item"):
            ours, theirs = COMPUTE[name](history, AS_OF), COMPUTE[name](other, AS_OF)
            pd.testing.assert_frame_equal(ours, theirs, check_exact=False, rtol=1e-9)
