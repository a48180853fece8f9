"""Sequential: order and time decide, newest events count at once, and several processes train one model."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest

from configs.errors import FacingsError, UsageError
from models.base import Recommender
from models.dataset import Dataset
from models.reasons import Reason
from models.registry import create
from tests.sequential_on_a_ring import AS_OF, ring, step_of, step_times

CONFIG: dict[str, Any] = {"width": 16, "epochs": 40, "batch_rows": 1, "negatives": 16, "learning_rate": 0.01}


@cache
def trained(**config: Any) -> Recommender:
    return create("sequential", {**CONFIG, **config}).fit(ring(), seed=1)


def first_of(lists: pd.DataFrame) -> list[str]:
    return lists[lists["rank"] == 1]["item_id"].tolist()


def session(shopper: str, *items: str) -> pd.DataFrame:
    return pd.DataFrame({"shopper_id": shopper, "item_id": items, "event_time": step_times(len(items), AS_OF)})


def test_what_comes_next_on_a_ring_is_foreseen_from_the_last_item() -> None:
    model = trained()
    last = ring().interactions.sort_values("event_time", kind="stable").groupby("shopper_id")["item_id"].last()
    assert first_of(model.recommend(last.index.tolist(), 3)) == [step_of(item) for item in last]


@pytest.mark.parametrize("config", [{"negatives": 0}, {"temperature": 0.1}, {"runs": 2, "blocks": 2, "heads": 2}])
def test_every_way_to_train_learns_the_ring(config: dict[str, Any]) -> None:
    lists = trained(**config).fold_in(session("stranger", "item-03", "item-04", "item-05"), 3)
    assert first_of(lists) == ["item-06"]


def test_one_more_event_moves_the_next_item_on_without_a_refit() -> None:
    model = trained()
    items = [f"item-{n:02}" for n in range(2, 9)]
    for end, (_, following) in enumerate(pairwise(items), start=1):
        assert first_of(model.fold_in(session("stranger", *items[:end]), 1)) == [following]


def test_a_stranger_with_a_known_shopper_s_events_gets_the_known_shopper_s_list() -> None:
    model = trained()
    own = ring().interactions.query("shopper_id == 'shopper-04'")
    known = model.recommend(["shopper-04"], 10)
    folded = model.fold_in(own.assign(shopper_id="stranger"), 10, now=AS_OF)
    assert folded["item_id"].tolist() == known["item_id"].tolist()
    np.testing.assert_allclose(folded["score"], known["score"], rtol=1e-4)


def test_new_events_come_on_top_of_what_is_known_of_a_shopper() -> None:
    model = trained()
    assert first_of(model.fold_in(session("shopper-04", "item-07"), 1)) == ["item-08"]
    assert first_of(model.recommend(["shopper-04"], 1)) != ["item-08"]


def test_the_time_since_the_last_event_decides_where_it_decided_in_the_data() -> None:
    """An hour after tea comes milk; a month after tea comes tea."""
    rows = []
    for person in range(40):
        month, hours = AS_OF - pd.Timedelta(days=100 + person), pd.Timedelta(hours=1)
        for visit in range(3):
            begin = month + pd.Timedelta(days=30 * visit)
            rows += [(f"shopper-{person:02}", "tea", begin), (f"shopper-{person:02}", "milk", begin + hours)]
            if (person + visit) % 2:
                rows.pop()
    table = pd.DataFrame(rows, columns=["shopper_id", "item_id", "event_time"])
    model = create("sequential", {**CONFIG, "epochs": 60}).fit(Dataset.build(table, as_of=AS_OF), seed=0)
    events = pd.DataFrame({"shopper_id": ["stranger"], "item_id": ["tea"], "event_time": [AS_OF]})
    assert first_of(model.fold_in(events, 1, now=AS_OF + pd.Timedelta(hours=1))) == ["milk"]
    assert first_of(model.fold_in(events, 1, now=AS_OF + pd.Timedelta(days=30))) == ["tea"]


def test_without_repeats_neither_history_nor_newest_events_come_back() -> None:
    model = create("sequential", {**CONFIG, "epochs": 2, "repeats": False}).fit(ring(), seed=1)
    own = set(ring().interactions.query("shopper_id == 'shopper-04'")["item_id"])
    assert not own & set(model.recommend(["shopper-04"], 30)["item_id"])
    assert not (own | {"item-19"}) & set(model.fold_in(session("shopper-04", "item-19"), 30)["item_id"])


def test_a_shopper_of_whom_nothing_is_known_gets_the_best_sold_items_and_the_reason_says_so() -> None:
    sold = ring().interactions["item_id"].value_counts()
    lists = trained().recommend(["nobody"], 3)
    assert set(lists["reason"]) == {Reason.POPULAR}
    assert sold[lists["item_id"]].tolist() == sorted(sold, reverse=True)[:3]


def test_a_shop_without_a_second_event_is_refused_in_one_sentence() -> None:
    once = ring().interactions.drop_duplicates("shopper_id")
    with pytest.raises(FacingsError, match="no sequence to learn"):
        create("sequential", CONFIG).fit(Dataset.build(once, as_of=AS_OF))


def test_a_learning_rate_that_breaks_training_is_told() -> None:
    with pytest.raises(FacingsError, match="lower learning_rate"):
        create("sequential", {**CONFIG, "learning_rate": 1e30, "epochs": 3}).fit(ring())


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(UsageError, match="heads must divide width"):
        create("sequential", {"width": 16, "heads": 3})
