"""LightFM's fold-in: shoppers left out of the training, known by a few purchases only, in a shop of four tastes."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from models.base import Recommender
from models.dataset import Dataset
from models.registry import create, load

AS_OF = pd.Timestamp("2024-03-01", tz="UTC")
CONFIG = {"components": 12, "epochs": 15, "runs": 2}
TASTES, SIZE, SHOPPERS = 4, 15, 240


@cache
def purchases() -> pd.DataFrame:
    """Ten different items a shopper, eight of their taste; in each taste some sell far better than others."""
    random = np.random.default_rng(7)
    share = 1 / np.arange(1, SIZE + 1) ** 0.7
    rows = []
    for who in range(SHOPPERS):
        own = random.choice(SIZE, size=8, replace=False, p=share / share.sum())
        chosen = [f"t{who % TASTES}-{n:02}" for n in own]
        chosen += [f"t{random.integers(TASTES)}-{random.integers(SIZE):02}" for _ in range(2)]
        ages = random.uniform(0.1, 60, len(chosen))
        rows += [(f"s{who:03}", item, AS_OF - pd.Timedelta(days=age)) for item, age in zip(chosen, ages, strict=True)]
    table = pd.DataFrame(rows, columns=["shopper_id", "item_id", "event_time"])
    return table.drop_duplicates(["shopper_id", "item_id"]).sort_values("event_time", ignore_index=True)


LEFT_OUT = [f"s{who:03}" for who in range(SHOPPERS) if who // TASTES % 10 == 3]  # a tenth, of every taste alike


@cache
def without_them() -> Recommender:
    table = purchases()
    return create("lightfm", CONFIG).fit(Dataset.build(table[~table["shopper_id"].isin(LEFT_OUT)], as_of=AS_OF), seed=1)


def first(count: int) -> pd.DataFrame:
    table = purchases()
    return table[table["shopper_id"].isin(LEFT_OUT)].groupby("shopper_id").head(count)


def found(lists: pd.DataFrame, count: int) -> float:
    """Share of what they bought after their first `count` purchases that the lists of five hold."""
    table = purchases()
    later = table[table["shopper_id"].isin(LEFT_OUT)].groupby("shopper_id").tail(-count)
    return len(lists.merge(later, on=["shopper_id", "item_id"])) / len(later)


def test_a_few_purchases_of_a_stranger_beat_popularity_and_come_near_to_a_training() -> None:
    table, seen = purchases(), first(4)
    exclude = seen.groupby("shopper_id")["item_id"].agg(list).to_dict()
    folded = found(without_them().fold_in(seen, 5, new_only=True), 4)
    popular = found(without_them().recommend(LEFT_OUT, 5, exclude=exclude), 4)
    rest = table[~table["shopper_id"].isin(LEFT_OUT)]
    retrained = create("lightfm", CONFIG).fit(Dataset.build(pd.concat([rest, seen]), as_of=AS_OF), seed=1)
    trained = found(retrained.recommend(LEFT_OUT, 5, new_only=True), 4)
    assert folded > 2 * popular
    assert folded > 0.9 * trained


def test_one_purchase_helps_and_more_help_more() -> None:
    shares = [found(without_them().fold_in(first(count), 5, new_only=True), 4) for count in (1, 4)]
    exclude = first(1).groupby("shopper_id")["item_id"].agg(list).to_dict()
    assert found(without_them().recommend(LEFT_OUT, 5, exclude=exclude), 4) < shares[0] < shares[1]


def test_new_purchases_of_another_taste_move_a_known_shopper_there_the_more_they_are() -> None:
    model = without_them()
    rank = [mean_rank(model.recommend(["s000"], 99))]
    for count in (2, 12):
        items = [f"t2-{n:02}" for n in range(count)]
        events = pd.DataFrame({"shopper_id": "s000", "item_id": items, "event_time": AS_OF})
        rank.append(mean_rank(model.fold_in(events, 99)))
    assert rank[0] > rank[1] > rank[2]


def mean_rank(lists: pd.DataFrame) -> float:
    """Of the items of taste 2."""
    return float(lists["rank"][lists["item_id"].str.startswith("t2-")].mean())


def test_a_loaded_model_folds_in_the_same(tmp_path: Path) -> None:
    without_them().save(tmp_path / "model")
    again = load(tmp_path / "model")
    pd.testing.assert_frame_equal(again.fold_in(first(3), 8), without_them().fold_in(first(3), 8))
