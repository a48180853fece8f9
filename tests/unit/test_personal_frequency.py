"""Personal frequency: whose count decides, how it decays, and what follows the repeats."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from models.dataset import Dataset
from models.reasons import Reason
from models.registry import create

AS_OF = pd.Timestamp("2024-03-01", tz="UTC")


def dataset(*purchases: tuple[str, str, float]) -> Dataset:
    """Rows of shopper, item and age in days."""
    rows = [(shopper, item, AS_OF - pd.Timedelta(days=age)) for shopper, item, age in purchases]
    return Dataset.build(pd.DataFrame(rows, columns=["shopper_id", "item_id", "event_time"]), as_of=AS_OF)


# ann bought tea twice long ago and milk once lately; the others make soap the best seller, then milk
SHOP = dataset(
    ("ann", "tea", 90), ("ann", "tea", 80), ("ann", "milk", 1), ("ann", "bread", 1),
    *[(f"other{n}", "soap", 2) for n in range(4)], ("other0", "milk", 2), ("other1", "milk", 2), ("other1", "salt", 3),
)  # fmt: skip


def ranked(shopper: str, **config: object) -> list[str]:
    return create("personal_frequency", config).fit(SHOP).recommend([shopper], 10)["item_id"].tolist()


def test_counted_the_more_frequent_item_comes_first_and_decayed_the_recent_one() -> None:
    assert ranked("ann")[0] == "tea"
    assert ranked("ann", decay_days=30)[0] == "milk"


def test_a_purchase_counts_by_the_exponential_of_its_age() -> None:
    lists = create("personal_frequency", {"decay_days": 60, "ties": "id"}).fit(SHOP).recommend(["ann"], 3)
    scores = dict(zip(lists["item_id"], lists["score"], strict=True))
    assert scores["tea"] == pytest.approx(np.exp(-90 / 60) + np.exp(-80 / 60), rel=1e-6)
    assert scores["bread"] == pytest.approx(np.exp(-1 / 60), rel=1e-6)


def test_equals_are_ordered_by_popularity_or_by_id() -> None:
    assert ranked("ann")[1:3] == ["milk", "bread"]
    assert ranked("ann", ties="id")[1:3] == ["bread", "milk"]


def test_sums_that_differ_only_by_rounding_are_equals() -> None:
    ages = (3.1, 17.7, 40.3)
    rows = [("ann", "zinc", age) for age in ages] + [("ann", "apple", age) for age in reversed(ages)]
    model = create("personal_frequency", {"decay_days": 60, "ties": "id"}).fit(dataset(*rows))
    assert model.recommend(["ann"], 2)["item_id"].tolist() == ["apple", "zinc"]


def test_no_best_seller_stands_above_a_repeat_however_old_the_repeat_is() -> None:
    model = create("personal_frequency", {"decay_days": 1}).fit(
        dataset(("ann", "tea", 5000), *[(f"other{n}", "soap", 1) for n in range(9)])
    )
    lists = model.recommend(["ann"], 2)
    assert lists["item_id"].tolist() == ["tea", "soap"]
    assert lists["reason"].tolist() == [Reason.BOUGHT_BEFORE, Reason.POPULAR]


def test_lists_are_completed_by_the_best_sold_and_strangers_get_only_those() -> None:
    assert ranked("ann") == ["tea", "milk", "bread", "soap", "salt"]
    assert ranked("stranger") == ["soap", "milk", "tea", "bread", "salt"]


def test_without_filling_a_list_ends_with_the_repeats_and_a_stranger_has_none() -> None:
    assert ranked("other1", fill=False) == ["soap", "milk", "salt"]
    assert ranked("stranger", fill=False) == []


def test_new_events_count_like_purchases_for_strangers_and_on_top_of_the_history_for_others() -> None:
    model = create("personal_frequency", {"decay_days": 60, "ties": "id"}).fit(SHOP)
    ages = [30.0, 1.0, 0.0]
    events = pd.DataFrame(
        {"item_id": ["salt", "salt", "milk"], "event_time": [AS_OF - pd.Timedelta(days=a) for a in ages]}
    )
    lists = model.fold_in(pd.concat([events.assign(shopper_id=who) for who in ("ann", "new")]), 2, now=AS_OF)
    scores = lists.set_index(["shopper_id", "item_id"])["score"]
    salt = np.exp(-30 / 60) + np.exp(-1 / 60)
    assert scores["new", "salt"] == scores["ann", "salt"] == pytest.approx(salt, rel=1e-6)
    assert scores["new", "milk"] == pytest.approx(1)
    assert scores["ann", "milk"] == pytest.approx(1 + np.exp(-1 / 60), rel=1e-6)


def test_new_only_falls_back_to_the_best_sold_that_the_shopper_never_bought() -> None:
    model = create("personal_frequency").fit(SHOP)
    lists = model.recommend(["ann"], 10, new_only=True)
    assert lists["item_id"].tolist() == ["soap", "salt"]
    assert set(lists["reason"]) == {Reason.POPULAR}
