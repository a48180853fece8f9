"""Laws of the metrics that hold whatever the lists are."""

from __future__ import annotations

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from models import metrics

ITEMS = [f"i{number}" for number in range(12)]
ITEM_SETS = st.lists(st.sampled_from(ITEMS), unique=True, max_size=12)


@st.composite
def cases(draw: st.DrawFn) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, int]:
    ranked, truth, history = [], [], []
    for number in range(draw(st.integers(1, 4))):
        shopper = f"s{number}"
        ranked += [(shopper, rank, item) for rank, item in enumerate(draw(ITEM_SETS), start=1)]
        truth += [(shopper, item) for item in draw(ITEM_SETS)]
        history += [(shopper, item) for item in draw(ITEM_SETS)]
    truth.append(("s0", "i0"))
    return (
        pd.DataFrame(ranked, columns=["shopper_id", "rank", "item_id"]).astype({"rank": "int64"}),
        pd.DataFrame(truth, columns=["shopper_id", "item_id"]),
        pd.DataFrame(history, columns=["shopper_id", "item_id"]),
        draw(st.integers(1, 8)),
    )


@settings(max_examples=40, deadline=None)
@given(cases())
def test_every_value_lies_between_zero_and_one_and_parts_add_up(case: tuple) -> None:  # type: ignore[type-arg]
    lists, truth, history, k = case
    found = metrics.evaluate(lists, truth, k=k, history=history)
    values = found.drop(columns="shopper_id").to_numpy(float)
    assert ((values >= 0) & (values <= 1 + 1e-12) | np.isnan(values)).all()
    parts = found[["repeat_precision", "new_precision"]].fillna(0).sum(axis=1)
    np.testing.assert_allclose(parts, found["precision"])
    assert (found["mrr"] <= found["hit_rate"]).all()
    whole = metrics.evaluate(lists, truth, k=k, ideal="basket")["ndcg"]
    assert (whole <= found["ndcg"] + 1e-12).all()


@settings(max_examples=40, deadline=None)
@given(cases(), st.randoms(use_true_random=False))
def test_the_order_of_rows_and_the_names_of_items_do_not_matter(case: tuple, random: object) -> None:  # type: ignore[type-arg]
    lists, truth, history, k = case
    names = dict(zip(ITEMS, np.random.default_rng(random.randrange(1000)).permutation(ITEMS), strict=True))  # type: ignore[attr-defined]
    first = metrics.evaluate(lists, truth, k=k, history=history)
    renamed = [
        frame.assign(item_id=frame["item_id"].map(names)).sample(frac=1, random_state=1)
        for frame in (lists, truth, history)
    ]
    second = metrics.evaluate(renamed[0], renamed[1], k=k, history=renamed[2])
    pd.testing.assert_frame_equal(first, second)


@settings(max_examples=40, deadline=None)
@given(cases())
def test_a_perfect_list_has_ndcg_map_and_mrr_of_one(case: tuple) -> None:  # type: ignore[type-arg]
    _, truth, _, k = case
    perfect = truth.drop_duplicates().copy()
    perfect["rank"] = perfect.groupby("shopper_id").cumcount() + 1
    found = metrics.evaluate(perfect, truth, k=k)
    np.testing.assert_allclose(found[["ndcg", "map", "mrr", "hit_rate"]], 1.0)


@settings(max_examples=40, deadline=None)
@given(cases())
def test_a_hit_one_place_higher_never_lowers_a_value(case: tuple) -> None:  # type: ignore[type-arg]
    lists, truth, _, k = case
    mine = lists[lists["shopper_id"] == "s0"].sort_values("rank")["item_id"].tolist()
    wanted = set(truth[truth["shopper_id"] == "s0"]["item_id"])
    for place in range(1, len(mine)):
        if mine[place] in wanted and mine[place - 1] not in wanted:
            better = [*mine[: place - 1], mine[place], mine[place - 1], *mine[place + 1 :]]
            one, other = (
                metrics.evaluate(
                    pd.DataFrame({"shopper_id": "s0", "rank": range(1, len(line) + 1), "item_id": line}),
                    truth[truth["shopper_id"] == "s0"],
                    k=k,
                )[list(metrics.METRICS)].to_numpy()
                for line in (mine, better)
            )
            assert (other >= one - 1e-12).all()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=9).filter(any))
def test_gini_is_within_bounds_and_blind_to_order_and_scale(counts: list[int]) -> None:
    values = np.asarray(counts, dtype=np.float64)
    found = metrics.gini(values)
    assert -1e-12 <= found < 1
    assert np.isclose(found, metrics.gini(values[::-1] * 3))
