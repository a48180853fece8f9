"""Two-tower on a small town of two tastes: tea people buy tea, coffee people buy coffee, everybody buys milk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from configs.errors import FacingsError
from models.content.title_words import hashed_words
from models.dataset import Dataset
from models.reasons import Reason
from models.recommenders.two_tower import TwoTower
from models.registry import create, load
from tests.two_tower_on_two_tastes import AS_OF, CONFIG, TASTES, town

STRANGERS = pd.DataFrame({"shopper_id": ["x", "y"], "taste": ["tea", "coffee"]})


def fitted(seed: int = 1, **config: object) -> TwoTower:
    model = create("two_tower", {**CONFIG, **config}).fit(town(), seed=seed)
    assert isinstance(model, TwoTower)
    return model


@pytest.fixture(scope="module")
def model() -> TwoTower:
    return fitted()


def events(*rows: tuple[str, str], hours: int = 1) -> pd.DataFrame:
    times = [AS_OF + pd.Timedelta(hours=hours + n) for n in range(len(rows))]
    return pd.DataFrame(rows, columns=["shopper_id", "item_id"]).assign(event_time=times)


def drinks(lists: pd.DataFrame, shopper: str) -> pd.Series:
    return lists["item_id"][(lists["shopper_id"] == shopper) & (lists["item_id"] != "milk")]


def test_a_cold_item_is_placed_by_its_title_alone(model: TwoTower) -> None:
    for shopper, liked, other in (("s01", "coffee11", "tea11"), ("s00", "tea11", "coffee11")):
        place = model.recommend([shopper], 30).set_index("item_id")["rank"]
        assert place[liked] < place[other]


def test_a_cold_shopper_is_served_by_attributes(model: TwoTower) -> None:
    lists = model.recommend(["x", "y"], 8, attributes=STRANGERS)
    for shopper, taste in zip(("x", "y"), TASTES, strict=True):
        assert drinks(lists, shopper).str.startswith(taste).mean() > 0.8
    assert set(lists["reason"]) == {Reason.SIMILAR_TASTE}


def test_an_unknown_shopper_with_two_events_gets_a_personal_slate_without_a_refit(model: TwoTower) -> None:
    seen = events(("x", "tea01"), ("y", "coffee03"), ("x", "tea04"), ("y", "coffee02"))
    lists = model.fold_in(seen, 8)
    for shopper, taste in zip(("x", "y"), TASTES, strict=True):
        assert drinks(lists, shopper).str.startswith(taste).mean() > 0.8
    own = set(zip(seen["shopper_id"], seen["item_id"], strict=True))
    for row in lists.itertuples():
        assert (row.reason == Reason.BOUGHT_BEFORE) == ((row.shopper_id, row.item_id) in own)


def test_new_events_of_a_known_shopper_come_on_top_of_the_history(model: TwoTower) -> None:
    def lead(lists: pd.DataFrame) -> float:
        """How far new coffees score above new teas."""
        fresh = lists[lists["item_id"].isin(["coffee11", "tea11", *(f"coffee{n:02}" for n in range(5, 11))])]
        return float(fresh.groupby(fresh["item_id"].str.startswith("coffee"))["score"].mean().diff().iloc[-1])

    turned = model.fold_in(events(*[("s00", f"coffee{n:02}") for n in range(4)]), 30)
    assert lead(turned) > lead(model.recommend(["s00"], 30)) + 1


def test_events_are_taken_as_training_would_have_seen_them(model: TwoTower) -> None:
    """A shopper's own latest items, told as events of a stranger, give the stranger the same map of their mean."""
    row = int(model.shopper_ids.get_loc("s05"))
    latest = [model.item_ids[column] for column in model._latest_items(row)]
    told = model.fold_in(events(*[("x", item) for item in latest]), 30).set_index("item_id")["score"]
    known = pd.Series(model._score(np.array([row]))[0], index=model.item_ids)
    base = pd.Series((model._bases[row] - model._start) @ model._item_vectors.T, index=model.item_ids)
    np.testing.assert_allclose(told, (known - base)[told.index], atol=1e-4)


def test_shoppers_of_whom_nothing_is_known_get_the_best_sellers_and_are_told_so(model: TwoTower) -> None:
    lists = model.recommend(["nobody", "blank"], 5)
    for _, rows in lists.groupby("shopper_id"):
        assert rows["item_id"].iloc[0] == "milk"
        assert set(rows["reason"]) == {Reason.POPULAR}


def test_a_shopper_without_a_purchase_is_served_like_a_cold_one(model: TwoTower) -> None:
    known, cold = model.recommend(["silent"], 30), model.recommend(["x"], 30, attributes=STRANGERS)
    columns = ["rank", "item_id", "score"]
    pd.testing.assert_frame_equal(known[columns], cold[columns], rtol=1e-4)


def test_what_may_not_be_recommended_teaches_nothing() -> None:
    only_fuel = pd.DataFrame({"shopper_id": ["s"], "item_id": ["fuel"], "event_time": [AS_OF - pd.Timedelta(days=1)]})
    items = pd.DataFrame({"item_id": ["fuel"], "category": ["FUEL"]})
    dataset = Dataset.build(only_fuel, items=items, as_of=AS_OF, never_recommend=["FUEL"])
    with pytest.raises(FacingsError, match="nothing to learn"):
        create("two_tower", CONFIG).fit(dataset)


def test_another_seed_gives_another_model_and_a_loss_that_falls_is_kept(model: TwoTower) -> None:
    short = fitted(epochs=1)
    assert model.training_loss < short.training_loss
    assert not np.array_equal(model._item_vectors, fitted(seed=2)._item_vectors)


def test_without_history_content_and_attributes_it_still_learns() -> None:
    town_of_ids = Dataset.build(town().interactions, as_of=AS_OF)
    lists = create("two_tower", {**CONFIG, "history": 0}).fit(town_of_ids).recommend(["s00"], 8, candidates=[
        f"{taste}{n:02}" for taste in TASTES for n in range(11)
    ])  # fmt: skip
    assert lists["item_id"].str.startswith("tea").mean() > 0.8


def test_the_lists_of_a_large_catalogue_are_those_of_all_scores() -> None:
    """12,000 more items that nobody bought; two shoppers have no purchase, one of them not even an attribute."""
    small, random = town(), np.random.default_rng(0)
    words = [f"Number {a} {b}" for a, b in random.integers(0, 99, (12_000, 2))]
    more = pd.DataFrame({"item_id": [f"more{n:05}" for n in range(12_000)], "category": "DRINKS", "title": words})
    dataset = Dataset.build(
        small.interactions,
        items=pd.concat([small.items, more]),
        shoppers=small.shoppers,
        as_of=AS_OF,
        item_content=small.item_content,
        shopper_attributes=small.shopper_attributes,
        never_recommend=["FUEL"],
    )
    model = create("two_tower", {**CONFIG, "epochs": 1}).fit(dataset)
    assert isinstance(model, TwoTower) and model._selects(10) and not model._selects(100)
    asked = [*model.shopper_ids]
    gone = {who: ["milk", "tea01", "nothing"] for who in (asked[0], asked[-1], asked[7])}
    few, many = (model.recommend(asked, k, new_only=True, exclude=gone) for k in (10, 100))
    many = many[many["rank"] <= 10].reset_index(drop=True)
    assert (few["item_id"] == many["item_id"]).mean() > 0.99
    np.testing.assert_allclose(few["score"], many["score"], atol=1e-5)
    assert not few["item_id"].isin(["fuel"]).any()
    assert not few["item_id"][few["shopper_id"].isin(gone)].isin(["milk", "tea01"]).any()


def test_a_forgotten_shopper_leaves_no_vector_and_no_latest_items_behind(model: TwoTower, tmp_path: Path) -> None:
    model.save(tmp_path / "before")
    forgetful = load(tmp_path / "before")
    assert isinstance(forgetful, TwoTower)
    row = int(forgetful.shopper_ids.get_loc("s07"))
    traces = [forgetful._bases[row].tobytes(), forgetful._latest_items(row).astype(np.int32).tobytes()]
    assert all(any(trace in path.read_bytes() for path in (tmp_path / "before").iterdir()) for trace in traces)
    forgetful.forget(["s07"])
    forgetful.save(tmp_path / "after")
    for path in (tmp_path / "after").iterdir():
        assert not any(trace in path.read_bytes() for trace in traces)


def test_hashed_words_of_like_titles_overlap_and_a_missing_title_has_none() -> None:
    words = hashed_words(pd.Series(["Greek yoghurt", "yoghurts, GREEK", None, "petrol"]), 4096)
    alike = (words @ words.T).toarray()
    np.testing.assert_allclose(np.diag(alike), [1, 1, 0, 1], atol=1e-6)
    assert alike[0, 1] > 0.6 > alike[0, 3] + 0.5
