"""The second stage: no feature looks past its cut, it learns repeats and discoveries, it needs no column."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from configs.errors import UsageError
from models.base import Recommender
from models.dataset import Dataset
from models.ranking_features.past import Past, distinct_days, gaps, medians, rank_within
from models.ranking_features.stores import StoreFeatures
from models.ranking_features.taste import Taste
from models.ranking_features.windows import Sizes, Window, dataset_before, new_examples, repeat_examples
from models.reasons import Reason
from models.recommenders.ranker import Ranker
from models.registry import create, load

AS_OF = pd.Timestamp("2024-06-01", tz="UTC")
SHOPPERS, ITEMS, DAYS = 60, 48, 150
CONTENT = ("category", "brand")
CONFIG: dict[str, Any] = {
    "fallback": {"recommender": "popularity"},
    "parts": {"best_sold": {"recommender": "popularity", "config": {"window_days": 28}, "candidates": 5}},
    "crosses": [["category_3", "brand"]],
    "windows": 2,
    "least_shoppers": 1,
    "negatives": 1.0,
    "new": {"taste_slow": 20, "content": 20, "store": 10, "advertised": 5},
    "repeat_trees": {"rounds": 30, "leaves": 8, "least_rows": 10, "learning_rate": 0.1, "feature_share": 1.0},
    "new_trees": {"rounds": 30, "leaves": 8, "least_rows": 10, "learning_rate": 0.1, "feature_share": 1.0},
}
SIZES = Sizes(repeats=20, new={"taste_slow": 20, "content": 20, "best_sold": 5}, taste_items=40, least_shoppers=1)


def sales() -> pd.DataFrame:
    """Each shopper buys one of three categories: four of its items as often as each other, some of them regularly.

    Of the four, the first two are bought every ten days, the others on five days in a row, long ago. Now and then
    another item of the category is tried.
    """
    random = np.random.default_rng(5)
    rows = []
    for who in range(SHOPPERS):
        own = [3 * n + who % 3 for n in range(ITEMS // 3)]
        random.shuffle(own)
        regular, past_love, rest = own[:2], own[2:4], own[4:]
        for day in range(DAYS):
            bought = [thing for n, thing in enumerate(regular) if (day + who + 5 * n) % 10 == 0]
            bought += past_love if day < 15 else []
            bought += [rest[int(random.integers(len(rest)))]] if random.random() < 0.1 else []
            rows += [(f"s{who:02}", f"i{thing:02}", day, f"store-{who % 4}", 1.0 + thing % 7) for thing in bought]
    table = pd.DataFrame(rows, columns=["shopper_id", "item_id", "day", "store_id", "price"])
    hours = pd.to_timedelta(random.random(len(table)) * 0.9, unit="D")
    return table.assign(event_time=AS_OF - pd.to_timedelta(DAYS - table.pop("day"), unit="D") + hours)


def advertising() -> pd.DataFrame:
    """One item is displayed in each store each week, the plan of four weeks ahead included."""
    weeks = range(-(DAYS // 7), 4)
    rows = [
        (f"store-{store}", f"i{(7 * week + store) % ITEMS:02}", AS_OF + pd.Timedelta(days=7 * week + 3), "A", "0")
        for week in weeks
        for store in range(4)
    ]
    table = pd.DataFrame(rows, columns=["store_id", "item_id", "starts", "display", "mailer"])
    return table.assign(ends=table["starts"] + pd.Timedelta(days=7))


def shop(rows: pd.DataFrame, *, promotions: pd.DataFrame | None = None, bare: bool = False) -> Dataset:
    items = pd.DataFrame({"item_id": [f"i{n:02}" for n in range(ITEMS)]})
    items["category"] = [f"FOOD/{'abc'[n % 3]}/{'xy'[n % 2]}" for n in range(ITEMS)]
    items["brand"] = [f"b{n % 4}" for n in range(ITEMS)]
    people = pd.DataFrame({"shopper_id": [f"s{n:02}" for n in range(SHOPPERS)], "age": np.arange(SHOPPERS) % 5})
    if bare:
        return Dataset.build(rows[["shopper_id", "item_id", "event_time"]], as_of=AS_OF)
    return Dataset.build(
        rows,
        items=items,
        shoppers=people,
        as_of=AS_OF,
        item_content=CONTENT,
        shopper_attributes=["age"],
        promotions=promotions,
    )


@cache
def whole() -> Dataset:
    return shop(sales(), promotions=advertising())


@cache
def trained() -> Recommender:
    return create("ranker", CONFIG).fit(whole(), seed=1)


def scrambled_after(days: float) -> Dataset:
    """The same shop, in which everything of the last days went otherwise."""
    random = np.random.default_rng(8)
    rows = sales()
    late = (AS_OF - rows["event_time"]).dt.total_seconds() / 86_400 <= days
    other = rows[late].assign(
        item_id=random.permutation(rows["item_id"][late].to_numpy()),
        shopper_id=random.permutation(rows["shopper_id"][late].to_numpy()),
        store_id="store-3",
        price=99.0,
    )
    told = advertising()
    gone = told["starts"] >= AS_OF - pd.Timedelta(days=days)
    return shop(pd.concat([rows[~late], other], ignore_index=True), promotions=told[~gone])


def window(dataset: Dataset, days: float) -> Window:
    past = Past.read(dataset, [("category_3", "brand")])
    known = dataset_before(dataset, days, 30.0, planned=past.planned)
    parts = {"best_sold": create("popularity").fit(known)}
    return Window(past.before(days, 30.0), parts, SIZES, seed=0)


def seen(of: Window) -> list[np.ndarray]:
    """Everything that trees could learn from, but the labels."""
    pairs = of.repeat_pairs()
    new = of.new_pairs(0, SHOPPERS)
    return [pairs, of.repeats(pairs).values, new.pairs, of.discoveries(new).values]


# ---------------------------------------------------------------------- no leak


def test_no_feature_and_no_candidate_looks_past_the_cut() -> None:
    past_only = replace(whole(), promotions=advertising()[advertising()["starts"] < AS_OF])
    honest, changed = window(past_only, 30.0), window(scrambled_after(30.0), 30.0)
    for one, other in zip(seen(honest), seen(changed), strict=True):
        np.testing.assert_array_equal(one, other)


def test_only_the_labels_look_past_the_cut() -> None:
    honest, changed = Past.read(whole()), Past.read(scrambled_after(30.0))
    assert not np.array_equal(honest.bought_since(30.0), changed.bought_since(30.0))
    assert np.array_equal(honest.before(30.0, 30.0).pairs, changed.before(30.0, 30.0).pairs)


def test_labels_are_what_was_bought_in_the_window_and_nothing_later() -> None:
    past = Past.read(whole())
    rows = whole().interactions
    ago = (AS_OF - rows["event_time"]).dt.total_seconds() / 86_400
    inside = rows[(ago <= 60) & (ago > 30)]
    found = {
        (whole().shopper_ids[n // past.items], whole().item_ids[n % past.items]) for n in past.bought_since(60, 30)
    }
    assert found == set(zip(inside["shopper_id"], inside["item_id"], strict=True))


def test_a_dataset_put_back_knows_nothing_of_later() -> None:
    earlier = dataset_before(whole(), 45.0, 30.0, planned=False)
    assert (earlier.interactions["event_time"] < earlier.as_of).all()
    assert earlier.promotions is not None and (earlier.promotions["starts"] < earlier.as_of).all()


def test_a_plan_is_known_in_past_windows_only_as_far_as_it_reaches() -> None:
    past = Past.read(whole())
    assert past.planned
    told = past.before(40.0, 30.0).promotions
    assert told is not None
    assert told.starts.min() > -30.0 and (told.starts < 0).any()
    started = replace(whole(), promotions=advertising()[advertising()["starts"] < AS_OF])
    known = Past.read(started).before(40.0, 30.0).promotions
    assert known is not None and (known.starts > 0).all()
    assert "display_planned" in window(whole(), 30.0).features.stores.tables
    assert "display_planned" not in window(started, 30.0).features.stores.tables


# ---------------------------------------------------------------------- what it learns


def test_what_is_bought_regularly_stands_above_what_was_bought_more_often_long_ago() -> None:
    lists = trained().recommend([f"s{n:02}" for n in range(SHOPPERS)], 2)
    rows = whole().interactions
    late = rows[rows["event_time"] >= AS_OF - pd.Timedelta(days=30)]
    regular = late.groupby(["shopper_id", "item_id"]).size()
    kept = [regular.get((row.shopper_id, row.item_id), 0) >= 2 for row in lists.itertuples()]
    assert np.mean(kept) >= 0.95


def test_discoveries_are_of_the_shopper_s_own_category() -> None:
    lists = trained().recommend([f"s{n:02}" for n in range(SHOPPERS)], 3, new_only=True)
    own = lists["shopper_id"].str[1:].astype(int) % 3 == lists["item_id"].str[1:].astype(int) % 3
    assert own.mean() >= 0.75  # a third by chance; most of the sixteen of a category were tried before


def test_probabilities_are_near_the_share_that_is_bought() -> None:
    model = trained()
    assert isinstance(model, Ranker)
    earlier = create("ranker", CONFIG).fit(dataset_before(whole(), 30.0, 30.0, planned=True), seed=1)
    assert isinstance(earlier, Ranker)
    pairs = Past.read(whole()).bought_since(30.0)
    expected = earlier._slates.data.sum()
    assert 0.6 < expected / len(pairs) < 1.6


def test_candidates_stand_above_everything_else_and_all_items_are_ranked() -> None:
    lists = trained().recommend(["s00"], ITEMS)
    assert len(lists) == ITEMS
    assert (lists["score"] > 0).any() and (lists["score"] < 0).any()


def test_importance_names_the_features_that_decided() -> None:
    model = trained()
    assert isinstance(model, Ranker) and model.learned
    assert set(model.importance) == {"repeats", "new"}
    for shares in model.importance.values():
        assert sum(shares.values()) == pytest.approx(1.0)


# ---------------------------------------------------------------------- shops of all kinds


def test_a_shop_that_knows_no_price_store_category_or_promotion_is_learned_from() -> None:
    model = create("ranker", CONFIG).fit(shop(sales(), bare=True), seed=1)
    assert isinstance(model, Ranker) and model.learned
    assert len(model.recommend(["s00", "s01"], 10)) == 20


def test_a_shop_too_young_to_learn_from_says_so_and_serves_repeats_then_the_fallback() -> None:
    rows = sales()
    young = shop(rows[rows["event_time"] >= AS_OF - pd.Timedelta(days=40)])
    model = create("ranker", CONFIG).fit(young, seed=1)
    assert isinstance(model, Ranker) and not model.learned
    lists = model.recommend(["s00"], 20)
    reasons = lists["reason"].tolist()
    repeats = reasons.count(Reason.BOUGHT_BEFORE)
    assert 0 < repeats < 20 and reasons[:repeats] == [Reason.BOUGHT_BEFORE] * repeats


def test_a_learned_ranker_is_the_same_for_a_seed_and_after_loading(tmp_path: Path) -> None:
    asked = [f"s{n:02}" for n in range(SHOPPERS)]
    lists = trained().recommend(asked, 15)
    again = create("ranker", CONFIG).fit(whole(), seed=1)
    pd.testing.assert_frame_equal(again.recommend(asked, 15), lists)
    again.save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    pd.testing.assert_frame_equal(loaded.recommend(asked, 15), lists)
    assert isinstance(loaded, Ranker) and loaded.learned and loaded.importance == again.importance
    assert loaded.forget(["s07"]) == 1
    others = [who for who in asked if who != "s07"]
    pd.testing.assert_frame_equal(
        loaded.recommend(others, 15), lists[lists["shopper_id"] != "s07"].reset_index(drop=True)
    )


def test_drawn_negatives_keep_every_purchase() -> None:
    at = window(whole(), 30.0)
    bought = Past.read(whole()).bought_since(30.0)
    everything, drawn = new_examples(at, bought, 1.0, 3), new_examples(at, bought, 0.2, 3)
    assert everything.labels.sum() == drawn.labels.sum() > 0
    assert len(drawn.labels) < len(everything.labels) / 2
    assert int(drawn.groups.sum()) == len(drawn.labels)
    repeats = repeat_examples(at, bought)
    assert repeats.table.values.shape == (len(repeats.labels), len(repeats.table.names))


# ---------------------------------------------------------------------- pieces


def test_the_taste_is_ease_in_closed_form() -> None:
    past = Past.read(whole())
    columns = np.arange(past.items)
    weights = past.weights(400.0).toarray()
    weights = np.log1p(weights)
    inverse = np.linalg.inv(weights.T @ weights + 20.0 * np.eye(past.items))
    between = np.eye(past.items) - inverse / np.diag(inverse)
    expected = weights @ between
    found = Taste(past, columns, decay=400.0, regularisation=20.0).scores(np.arange(past.shoppers))
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_days_gaps_medians_and_ranks() -> None:
    owner, ago = distinct_days(np.array([1, 0, 1, 1, 1]), np.array([9, 4, 2, 2, 3]))
    assert owner.tolist() == [0, 1, 1, 1] and ago.tolist() == [4, 2, 3, 9]
    gap_owner, gap = gaps(owner, ago)
    assert gap_owner.tolist() == [1, 1] and gap.tolist() == [1.0, 6.0]
    np.testing.assert_array_equal(medians(gap_owner, gap, 2), [np.nan, 3.5])
    assert rank_within(np.array([0, 0, 1, 1, 1]), np.array([1.0, 2.0, 5.0, 9.0, 7.0])).tolist() == [1, 0, 2, 0, 1]


def test_advertising_counts_while_it_runs_whatever_its_columns_are() -> None:
    def promotion(item: str, starts: int, ends: int) -> tuple[str, str, pd.Timestamp, pd.Timestamp]:
        return "store-0", item, AS_OF + pd.Timedelta(days=starts), AS_OF + pd.Timedelta(days=ends)

    rows = [promotion("i01", -10, 20), promotion("i02", -4, -1), promotion("i03", -70, 5)]
    told = pd.DataFrame(rows, columns=["store_id", "item_id", "starts", "ends"])
    columns = np.arange(ITEMS)
    for table in (told, told.assign(display="A"), told.assign(mailer="front")):
        stores = StoreFeatures(Past.read(shop(sales(), promotions=table)))
        advertised = np.asarray(stores.advertised(columns).sum(axis=0)).ravel()
        assert set(np.flatnonzero(advertised)) == {1, 3}
    nothing = told.assign(display="0", mailer="False")
    assert StoreFeatures(Past.read(shop(sales(), promotions=nothing))).advertised(columns).nnz == 0


@pytest.mark.parametrize(
    ("config", "said"),
    [({"new": {"tatse": 5}}, "no source tatse"), ({"parts": {"content": {"recommender": "popularity"}}}, "a source")],
)
def test_a_source_that_is_unknown_or_taken_is_refused(config: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        create("ranker", config)
