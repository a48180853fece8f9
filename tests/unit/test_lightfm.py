"""LightFM on a small town of two tastes: tea people buy tea, coffee people buy coffee, everybody buys milk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from configs.errors import FacingsError, UsageError
from models.base import Recommender
from models.dataset import Dataset
from models.reasons import Reason
from models.registry import create, load

AS_OF = pd.Timestamp("2024-03-01", tz="UTC")
CONFIG = {"components": 8, "epochs": 20, "loss": "warp"}


def town(seed: int = 3) -> Dataset:
    random = np.random.default_rng(seed)
    items = [("milk", "DAIRY/MILK", 1.0)]
    items += [(f"{kind}{n:02}", f"DRINKS/{kind.upper()}", 2.0 + n) for kind in ("tea", "coffee") for n in range(12)]
    items += [("fuel", "FUEL/PETROL", 50.0)]
    shoppers, rows = [], []
    for number in range(40):
        taste = "tea" if number % 2 else "coffee"
        shoppers.append((f"s{number:02}", taste, 20.0 + number))
        chosen = [f"{taste}{n:02}" for n in random.choice(11, size=6, replace=False)] + ["milk", "fuel"]
        ages = random.uniform(0.1, 50, len(chosen))
        rows += [
            (f"s{number:02}", item, AS_OF - pd.Timedelta(days=float(age)), f"store-{taste}")
            for item, age in zip(chosen, ages, strict=True)
        ]
    return Dataset.build(
        pd.DataFrame(rows, columns=["shopper_id", "item_id", "event_time", "store_id"]),
        items=pd.DataFrame(items, columns=["item_id", "category", "price"]),
        shoppers=pd.DataFrame([*shoppers, ("silent", "tea", 30.0)], columns=["shopper_id", "taste", "age"]),
        as_of=AS_OF,
        item_content=["category", "price"],
        shopper_attributes=["taste", "age"],
        never_recommend=["FUEL"],
    )


def fitted(seed: int = 1, **config: object) -> Recommender:
    return create("lightfm", {**CONFIG, **config}).fit(town(), seed=seed)


@pytest.fixture(scope="module")
def model() -> Recommender:
    return fitted()


def ranks(model: Recommender, shopper: str, attributes: pd.DataFrame | None = None, **options: bool) -> pd.Series:
    lists = model.recommend([shopper], 50, attributes=attributes, **options)
    return lists.set_index("item_id")["rank"]


# tea11 and coffee11 were never sold: only their category and price say what they are.
@pytest.mark.parametrize("loss", ["warp", "bpr", "warp-kos", "logistic"])
def test_a_cold_item_of_the_liked_category_ranks_above_one_of_the_other(loss: str) -> None:
    model = fitted(loss=loss, epochs=40)
    for shopper, liked, disliked in (("s01", "tea11", "coffee11"), ("s00", "coffee11", "tea11")):
        ranked = ranks(model, shopper)
        assert ranked[liked] < ranked[disliked]


def test_a_cold_shopper_is_served_by_attributes(model: Recommender) -> None:
    strangers = pd.DataFrame({"shopper_id": ["x", "y"], "taste": ["tea", "coffee"], "age": [33.0, 33.0]})
    for shopper, taste in (("x", "tea"), ("y", "coffee")):
        top = model.recommend([shopper], 8, attributes=strangers)
        drinks = top["item_id"][top["item_id"] != "milk"]
        assert drinks.str.startswith(taste).mean() > 0.8
        assert set(top["reason"]) == {Reason.SIMILAR_TASTE}


def test_a_shopper_without_a_purchase_is_served_like_a_cold_one(model: Recommender) -> None:
    stranger = pd.DataFrame({"shopper_id": ["x"], "taste": ["tea"], "age": [30.0]})
    known, cold = ranks(model, "silent"), ranks(model, "x", stranger)
    pd.testing.assert_series_equal(known, cold)


def test_new_events_move_a_shopper_without_a_purchase_as_they_move_a_stranger_alike(model: Recommender) -> None:
    stranger = pd.DataFrame({"shopper_id": ["x"], "taste": ["tea"], "age": [30.0]})
    events = pd.DataFrame({"shopper_id": ["silent", "x"], "item_id": "coffee03", "event_time": AS_OF})
    lists = model.fold_in(events, 30, attributes=stranger).groupby("shopper_id")["item_id"].agg(list)
    assert lists["silent"] == lists["x"]


def test_a_stranger_of_whom_nothing_is_known_gets_the_best_sellers_and_is_told_so(model: Recommender) -> None:
    unknown = pd.DataFrame({"shopper_id": ["x"], "taste": ["mate"]})
    for attributes in (None, unknown):
        top = model.recommend(["x"], 5, attributes=attributes)
        assert top["item_id"].iloc[0] == "milk"
        assert set(top["reason"]) == {Reason.POPULAR}


def test_items_that_may_not_be_recommended_neither_appear_nor_teach(model: Recommender) -> None:
    assert "fuel" not in ranks(model, "s00").index
    only_fuel = pd.DataFrame({"shopper_id": ["s"], "item_id": ["fuel"], "event_time": [AS_OF - pd.Timedelta(days=1)]})
    items = pd.DataFrame({"item_id": ["fuel"], "category": ["FUEL"]})
    dataset = Dataset.build(only_fuel, items=items, as_of=AS_OF, never_recommend=["FUEL"])
    with pytest.raises(FacingsError, match="nothing to learn"):
        create("lightfm", CONFIG).fit(dataset)


def test_the_same_seed_gives_the_same_scores_and_another_seed_others() -> None:
    rows = np.arange(41)
    first, second, other = (fitted(seed=seed, profile_tags=3, profile_stores=2)._score(rows) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)


def test_several_runs_score_by_their_mean() -> None:
    first = int(np.random.SeedSequence(5).generate_state(1)[0])
    rows = np.arange(41)
    mean = (fitted(seed=5)._score(rows) + fitted(seed=first)._score(rows)) / 2
    np.testing.assert_allclose(fitted(seed=5, runs=2)._score(rows), mean, atol=1e-5)


def test_scores_do_not_depend_on_whom_else_a_call_asks_for(model: Recommender) -> None:
    together = model._score(np.arange(41))
    for row in range(41):
        np.testing.assert_array_equal(model._score(np.array([row]))[0], together[row])


def test_a_loaded_model_scores_exactly_the_same_also_for_strangers(model: Recommender, tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    again = load(tmp_path / "model")
    strangers = pd.DataFrame({"shopper_id": ["x", "y"], "taste": ["tea", None], "age": [33.0, None]})
    shoppers = [*model.shopper_ids, "x", "y"]
    pd.testing.assert_frame_equal(
        model.recommend(shoppers, 30, attributes=strangers), again.recommend(shoppers, 30, attributes=strangers)
    )


def test_a_forgotten_shopper_leaves_no_vector_and_no_id_behind(model: Recommender, tmp_path: Path) -> None:
    model.save(tmp_path / "before")
    forgetful = load(tmp_path / "before")
    vector = forgetful._shopper_vectors[forgetful.shopper_ids.get_loc("s07")].copy()  # type: ignore[attr-defined]
    others = [shopper for shopper in forgetful.shopper_ids if shopper != "s07"]
    lists = forgetful.recommend(others, 10)
    assert forgetful.forget(["s07", "nobody"]) == 1
    pd.testing.assert_frame_equal(forgetful.recommend(others, 10), lists)
    forgetful.save(tmp_path / "after")
    for path in (tmp_path / "after").iterdir():
        assert "s07".encode("utf-32-le") not in path.read_bytes()
        assert vector.tobytes() not in path.read_bytes()


def test_what_was_bought_before_is_left_out_where_the_config_says_so() -> None:
    model = fitted(repeats=False)
    bought = set(model.item_ids[model.history[model.shopper_ids.get_loc("s00")].indices])
    assert bought & set(ranks(fitted(), "s00").index)
    assert not bought & set(ranks(model, "s00").index)


def test_popularity_of_the_last_days_is_added_to_the_score() -> None:
    plain, pushed = fitted(), fitted(popularity_weight=2.0, popularity_days=10)
    dataset = town()
    pairs = dataset.interactions[dataset.age_days <= 10].drop_duplicates(["shopper_id", "item_id"])
    recent = pairs["item_id"].value_counts().reindex(dataset.item_ids, fill_value=0).to_numpy()
    expected = plain._score(np.array([0])) + 2 * np.log1p(recent)
    np.testing.assert_allclose(pushed._score(np.array([0])), expected, atol=1e-5)


def test_profiles_teach_a_shopper_with_no_identity_of_their_own() -> None:
    model = fitted(shopper_identity=False, profile_tags=2, epochs=40)
    assert ranks(model, "s01")["tea11"] < ranks(model, "s01")["coffee11"]


def test_a_loss_that_takes_no_weights_refuses_them() -> None:
    with pytest.raises(UsageError, match="warp-kos takes no weights"):
        create("lightfm", {"loss": "warp-kos", "decay_days": 30})


def test_a_learning_rate_that_explodes_is_one_clear_sentence() -> None:
    with pytest.raises(FacingsError, match="lower learning_rate"):
        fitted(learning_rate=1e30)
