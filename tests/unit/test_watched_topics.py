"""Watched topics on a town whose truth is planted: better than popularity where tastes show, harmless where not."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from features.engagement import ENGAGEMENT
from models import metrics
from models.base import Recommender
from models.dataset import Dataset
from models.reasons import Reason
from models.recommenders.watched_topics import WatchedTopics
from models.registry import create, load
from tests.watching_town import CUT, Town, town

SMALL = {"recommender": "lightfm", "config": {"components": 4, "epochs": 2}}


def dataset_of(place: Town) -> Dataset:
    views = pl.from_pandas(place.tables["content_views"])
    durations = pl.from_pandas(place.tables["contents"][["content_id", "duration_seconds"]])
    watched = views.join(durations, on="content_id").with_columns(pl.sql_expr(ENGAGEMENT).alias("engagement"))
    return Dataset.build(
        place.tables["interactions"],
        items=place.tables["items"],
        shoppers=place.tables["shoppers"],
        as_of=CUT,
        item_content=["category"],
        watched=watched.filter(pl.col("engagement") > 0).to_pandas(),
        contents=place.tables["contents"],
    )


@cache
def made(taste: float = 3.0, linked: bool = True) -> tuple[Town, Dataset]:
    place = town(taste=taste, linked=linked)
    return place, dataset_of(place)


@cache
def trained(taste: float = 3.0, linked: bool = True) -> WatchedTopics:
    model = create("watched_topics").fit(made(taste, linked)[1], seed=1)
    assert isinstance(model, WatchedTopics)
    return model


def ndcg(model: Recommender, place: Town) -> float:
    """Of the lists of those who only watched, against what they bought later."""
    truth = place.later[["shopper_id", "item_id"]].drop_duplicates()
    who = sorted(truth["shopper_id"].unique())
    return float(metrics.evaluate(model.recommend(who, 10), truth, k=10, shoppers=who)["ndcg"].mean())


@pytest.mark.parametrize("linked", [True, False], ids=["ids and tags", "titles alone"])
def test_who_only_watched_gets_better_lists_than_popularity_s(linked: bool) -> None:
    place, dataset = made(linked=linked)
    popular = create("popularity", {"window_days": 28}).fit(dataset)
    assert ndcg(trained(linked=linked), place) > 1.2 * ndcg(popular, place)


def test_what_says_nothing_is_given_no_weight_and_costs_little() -> None:
    place, dataset = made(taste=0.0)
    model, loving = trained(taste=0.0), trained()
    for kind in ("id", "tags", "text", "sales"):
        assert model.slopes[kind] < 0.35 * max(loving.slopes[kind], 1.0), model.slopes
    alone = create("watched_topics").fit(replace(dataset, watched=None, contents=None), seed=1)
    assert ndcg(model, place) > 0.93 * ndcg(alone, place)


def test_without_contents_the_list_is_popularity_s() -> None:
    place, dataset = made()
    model = create("watched_topics").fit(replace(dataset, watched=None, contents=None), seed=1)
    assert isinstance(model, WatchedTopics) and model.choices == 0
    lists = model.recommend(place.watch_only[:3], 5)
    assert lists.groupby("rank")["item_id"].nunique().eq(1).all()


def test_the_neighbourhood_moves_the_list_of_one_who_did_nothing_yet() -> None:
    attributes = pd.DataFrame({"shopper_id": ["a", "b", "c"], "home_store_id": ["store-0", "store-1", "elsewhere"]})
    lists = trained().recommend(["a", "b", "c"], 10, attributes=attributes)
    own = lists.groupby("shopper_id")["item_id"].agg(list)
    assert own["a"] != own["b"] != own["c"]
    near = lists[lists["shopper_id"] != "c"]
    assert (near["reason"] == Reason.POPULAR_IN_NEIGHBOURHOOD).any()
    assert not (lists[lists["shopper_id"] == "c"]["reason"] == Reason.POPULAR_IN_NEIGHBOURHOOD).any()


def test_watched_is_told_of_what_a_watched_content_is_linked_to_and_names_the_content() -> None:
    place, dataset = made()
    lists = trained().recommend(place.watch_only, 10, explain=True)
    told = lists[lists["reason"] == Reason.WATCHED]
    assert len(told) > 0.3 * len(lists)
    links = set(dataset.content_links[["content_id", "item_id"]].itertuples(index=False, name=None))
    assert dataset.watched is not None
    seen = set(dataset.watched[["shopper_id", "content_id"]].itertuples(index=False, name=None))
    for row in told.itertuples():
        assert (row.about, row.item_id) in links and (row.shopper_id, row.about) in seen


@pytest.mark.parametrize("name", ["ranker", "blend"])
def test_what_serves_by_default_gives_watchers_these_lists_and_others_what_they_had(name: str, tmp_path: Path) -> None:
    place, dataset = made()
    part = {"ranker": "fallback", "blend": "discovery"}[name]
    config: dict[str, Any] = {part: SMALL}
    if name == "ranker":
        config |= {"windows": 1, "repeat_trees": {"rounds": 5}, "new_trees": {"rounds": 5}}
    model = create(name, config).fit(dataset, seed=1)
    lists = model.recommend(place.watch_only, 10, explain=True)
    ours = trained().recommend(place.watch_only, 10, explain=True)
    assert lists["item_id"].tolist() == ours["item_id"].tolist()
    told = ["shopper_id", "item_id", "reason", "about"]
    pd.testing.assert_frame_equal(lists[told], ours[told])
    assert {Reason.WATCHED, Reason.POPULAR_IN_NEIGHBOURHOOD} <= set(lists["reason"])
    buyers = [shopper for shopper in dataset.interactions["shopper_id"].unique() if shopper not in place.watch_only]
    without = create(name, {**config, "watched": None}).fit(dataset, seed=1)
    pd.testing.assert_frame_equal(model.recommend(buyers, 10), without.recommend(buyers, 10))
    now = pd.DataFrame({"shopper_id": place.watch_only[:1], "item_id": ["item-000"], "event_time": [CUT]})
    folded = model.fold_in(now.assign(event_type="view"), 10, explain=True)
    named = ours[ours["shopper_id"] == place.watch_only[0]].set_index("item_id")[["reason", "about"]]
    both = folded[folded["item_id"].isin(named.index)].set_index("item_id")[["reason", "about"]]
    assert both["reason"].tolist() == named.loc[both.index, "reason"].tolist()
    assert both["about"].tolist() == named.loc[both.index, "about"].tolist()
    if name == "ranker":  # what happens now moves the list, and what was watched stays in it
        assert len(set(folded["item_id"]) & set(lists["item_id"][:10])) >= 3
    model.save(tmp_path / "model")
    again = load(tmp_path / "model")
    pd.testing.assert_frame_equal(again.recommend(place.watch_only, 10, explain=True), lists)
    gone, others = place.watch_only[0], place.watch_only[1:]
    again.forget([gone])
    again.save(tmp_path / "after")
    kept = lists[lists["shopper_id"] != gone].reset_index(drop=True)
    pd.testing.assert_frame_equal(load(tmp_path / "after").recommend(others, 10, explain=True), kept)
    assert not any(gone.encode("utf-32-le") in path.read_bytes() for path in (tmp_path / "after").rglob("*.npy"))


def test_the_order_of_rows_does_not_matter() -> None:
    place, dataset = made()
    assert dataset.watched is not None
    random = np.random.default_rng(4)
    other = replace(
        dataset,
        interactions=dataset.interactions.sample(frac=1, random_state=random).reset_index(drop=True),
        watched=dataset.watched.sample(frac=1, random_state=random).reset_index(drop=True),
    )
    again = create("watched_topics").fit(other, seed=1)
    lists, mine = again.recommend(place.watch_only, 10), trained().recommend(place.watch_only, 10)
    assert lists["item_id"].tolist() == mine["item_id"].tolist()


def test_a_forgotten_watcher_is_in_no_array() -> None:
    place, dataset = made()
    model = create("watched_topics").fit(dataset, seed=1)
    assert isinstance(model, WatchedTopics)
    before = model.recommend(place.watch_only[1:], 10)
    assert model.forget(place.watch_only[:1]) == 1
    rows = len(dataset.shoppers) - 1
    assert len(model.shopper_ids) == rows
    assert all(
        len(array) in (rows, rows + 1)
        for name, array in model._state()[1].items()
        if name in {"home", "engaged_ends", "seen_ends"}
    )
    pd.testing.assert_frame_equal(model.recommend(place.watch_only[1:], 10), before)
