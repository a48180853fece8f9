"""Newcomers on planted shops: what is learned of how new items fare and who chooses them, and only from the past."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from configs.errors import UsageError
from models.content.newcomers import Kinds, Past, choices, past_windows
from models.dataset import Dataset
from models.recommenders.newcomers import Newcomers
from models.registry import create, load

AS_OF = pd.Timestamp("2024-07-01", tz="UTC")
DAYS = 180
CONFIG = {
    "groupings": [["maker_id"], ["brand"]],
    "windows": 3,
    "trees": {"rounds": 30, "leaves": 4, "least_rows": 5, "feature_share": 1.0},
}


def shop(seed: int = 0) -> Dataset:
    """Shoppers are loyal to one of two makers. A new item comes every day; those of the brand "dull" find no buyer.

    The last items of each maker and brand are never sold.
    """
    random = np.random.default_rng(seed)
    rows, items = [], []
    for number in range(400):
        maker, brand = f"m{number % 2}", ("bright", "dull")[number // 2 % 2]
        items.append((f"i{number:03}", "FOOD/TEA", maker, brand))
        starts = DAYS * (number - 40) / 340 if number >= 40 else 0.0
        buyers = 0 if number >= 380 or (brand == "dull" and number >= 40) else 6
        for _ in range(buyers):
            who = 2 * random.integers(0, 30) + (number % 2 if random.random() < 0.9 else 1 - number % 2)
            rows.append((f"s{who:02}", f"i{number:03}", AS_OF - pd.Timedelta(days=DAYS - starts - random.random())))
    table = pd.DataFrame(rows, columns=["shopper_id", "item_id", "event_time"])
    return Dataset.build(
        table[table["event_time"] < AS_OF],
        items=pd.DataFrame(items, columns=["item_id", "category", "maker_id", "brand"]),
        as_of=AS_OF,
        item_content=["category", "maker_id", "brand"],
    )


def past_of(dataset: Dataset) -> Past:
    kinds = Kinds.of(dataset, [["maker_id"], ["brand"]], 2)
    rows = dataset.shopper_rows, dataset.item_rows, dataset.age_days
    return Past(kinds, len(dataset.shoppers), *rows, float(dataset.age_days.max()), 60.0)


def test_it_learns_who_chooses_a_new_item_and_which_of_them_find_buyers() -> None:
    dataset = shop()
    model = create("newcomers", CONFIG).fit(dataset)
    assert isinstance(model, Newcomers) and model.learned
    cold = [f"i{number:03}" for number in range(380, 400)]
    lists = model.recommend(["s00", "s01"], 20, candidates=cold)
    about = dataset.items.set_index("item_id")
    for shopper, maker in (("s00", "m0"), ("s01", "m1")):
        best = lists.loc[lists["shopper_id"] == shopper, "item_id"].head(5)
        assert set(about.loc[best, "maker_id"]) == {maker} and set(about.loc[best, "brand"]) == {"bright"}


def test_a_shop_without_a_past_window_ranks_by_what_the_shopper_buys() -> None:
    young = shop()
    early = young.interactions["event_time"] < AS_OF - pd.Timedelta(days=DAYS - 50)
    moment = AS_OF - pd.Timedelta(days=DAYS - 50)
    dataset = Dataset.build(young.interactions[early], items=young.items, as_of=moment, item_content=young.item_content)
    model = create("newcomers", CONFIG).fit(dataset)
    assert isinstance(model, Newcomers) and not model.learned
    best = model.recommend(["s00"], 10, new_only=True)["item_id"]
    assert (dataset.items.set_index("item_id").loc[best, "maker_id"] == "m0").mean() >= 0.8


def test_a_window_knows_nothing_of_itself_or_later() -> None:
    dataset = shop()
    whole = past_of(dataset)
    (window,) = past_windows(whole, dataset.recommendable, 1, 30.0)
    moment = AS_OF - pd.Timedelta(days=30)
    known = dataset.interactions["event_time"] < moment
    then = past_of(
        Dataset.build(
            dataset.interactions[known],
            items=dataset.items,
            shoppers=dataset.shoppers,
            as_of=moment,
            item_content=dataset.item_content,
        )
    )
    np.testing.assert_allclose(window.past.prospects(), then.prospects(), rtol=1e-5)
    np.testing.assert_allclose(window.past.tastes(180.0).values, then.tastes(180.0).values)
    assert not then.sold[window.cold].any() and then.sold.sum() + len(window.cold) == len(dataset.items)
    later = dataset.interactions[~known]
    pairs = later[later["item_id"].isin(dataset.item_ids[window.cold])].drop_duplicates(["shopper_id", "item_id"])
    assert len(pairs) == len(window.item)


def test_a_choice_is_among_all_that_was_new_in_the_category() -> None:
    dataset = shop()
    (window,) = past_windows(past_of(dataset), dataset.recommendable, 1, 30.0)
    shopper, item, sizes, chosen = choices(window, 10_000, np.random.default_rng(0))
    assert (sizes == len(window.cold)).all() and len(sizes) == len(np.unique(window.shopper))
    assert chosen.sum() == len(window.item) and set(item) == set(window.cold)
    few = choices(window, 5, np.random.default_rng(0))
    assert few[3].sum() == chosen.sum() and len(few[0]) < len(shopper)
    assert few[2].sum() == len(few[0])


def test_there_is_no_window_before_the_data_had_settled() -> None:
    dataset = shop()
    spans = [window.past.span for window in past_windows(past_of(dataset), dataset.recommendable, 9, 30.0)]
    assert [round(span) for span in spans] == [150, 120, 90]


def test_it_ranks_the_same_after_it_was_saved_and_knows_nobody_after_forgetting(tmp_path: Path) -> None:
    model = create("newcomers", CONFIG).fit(shop())
    model.save(tmp_path)
    again = load(tmp_path)
    pd.testing.assert_frame_equal(again.recommend(["s00", "nobody"], 30), model.recommend(["s00", "nobody"], 30))
    again.forget(["s00"])
    forgotten = again.recommend(["s00"], 5)["item_id"].tolist()
    assert forgotten == model.recommend(["nobody"], 5)["item_id"].tolist()


def test_a_config_that_would_count_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="leave out counts"):
        create("newcomers", {"counts": "log"})
