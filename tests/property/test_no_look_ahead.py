"""Laws of the global time split: what happens from the cut on changes no list that was learned before it."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from configs.clock import SystemClock
from configs.recipe import Recipe
from configs.settings import Settings, load_settings
from models.dataset import Dataset
from models.registry import create, recommender_class, recommender_names
from pipelines.signals.ingest import ingest
from pipelines.signals.lake.lake import Lake
from pipelines.training.dataset import signals, training_dataset
from pipelines.training.evaluate import make_test
from tests.contract.test_recommenders import CONFIGS
from tests.small_shop import END, ITEMS, SHOPPERS, STORES, write_small_shop

CUT = pd.Timestamp(END) - timedelta(days=28)
ASKED = [*SHOPPERS, "newcomer", "nobody"]


def recipe(name: str) -> Recipe:
    """A recipe that learns from everything that a dataset may hold but Feast's features, which have their own laws."""
    data = {
        "event_types": ["purchase", "view"],
        "item_content": ["category", "brand", "maker_id", "price"],
        "shopper_attributes": ["age_band", "home_store_id"],
        "promotions": "past",
        "contents": True,
    }
    content = {"name": name, "recommender": name, "config": config_of(name), "data": data}
    return Recipe.model_validate(content)


def config_of(name: str) -> dict[str, Any]:
    """What the contract tests use; where a model learns in epochs, one is enough to look ahead in."""
    config = dict(CONFIGS.get(name, {}))
    return {**config, "epochs": 1} if "epochs" in recommender_class(name).Config.model_fields else config


def write_shop(folder: Path, future: np.random.Generator | None) -> None:
    """The small shop with views, promotions and contents; from the cut on nothing, or a world upside down."""
    write_small_shop(folder)
    rows = pd.read_csv(folder / "interactions.csv", dtype=str)
    late = pd.to_datetime(rows["event_time"]) >= CUT
    views = rows[~late].sample(300, random_state=1).assign(event_type="view")
    views["event_id"] = "v" + views["event_id"]
    past = [rows[~late], views]
    watched = pd.DataFrame(
        {
            "shopper_id": SHOPPERS[:20],
            "content_id": ["c1", "c2"] * 10,
            "event_type": "content_view",
            "event_time": (CUT - timedelta(days=3)).isoformat(),
        }
    )
    promotions = pd.DataFrame(
        {
            "store_id": "s1",
            "item_id": ITEMS[:10],
            "starts": (CUT - timedelta(days=10)).isoformat(),
            "ends": (CUT - timedelta(days=3)).isoformat(),
            "mailer": "A",
        }
    )
    if future is not None:
        other = rows[late].assign(
            shopper_id=future.permutation(rows.loc[late, "shopper_id"]),
            item_id=future.choice([*ITEMS, "item-99"], int(late.sum())),
            store_id=future.choice(STORES, int(late.sum())),
        )
        on_the_dot = other.head(40).assign(
            event_time=CUT.isoformat(), event_id=[f"d{number}" for number in range(40)], item_id="item-59"
        )
        strangers = other.head(30).assign(shopper_id="newcomer", event_id=[f"n{number}" for number in range(30)])
        past += [other, on_the_dot, strangers]
        later = {"event_time": (CUT + timedelta(days=1)).isoformat(), "content_id": "c2"}
        watched = pd.concat([watched, watched.assign(**later)])
        planned = {"item_id": ITEMS[20:30], "starts": CUT.isoformat(), "ends": (CUT + timedelta(days=9)).isoformat()}
        promotions = pd.concat([promotions, promotions.assign(**planned)])
        items = pd.read_csv(folder / "items.csv", dtype=str)
        new = items.head(1).assign(item_id="item-99", first_seen=(CUT + timedelta(days=2)).isoformat())
        pd.concat([items, new]).to_csv(folder / "items.csv", index=False)
    pd.concat(past).to_csv(folder / "interactions.csv", index=False)
    watched.to_csv(folder / "content_views.csv", index=False)
    promotions.to_csv(folder / "promotions.csv", index=False)
    contents = pd.DataFrame({"content_id": ["c1", "c2"], "item_ids": ["item-01|item-02", "item-30"]})
    contents.to_csv(folder / "contents.csv", index=False)


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Settings]:
    """A home that ends at the cut, and one with the same past and another world after it."""
    root = tmp_path_factory.mktemp("look-ahead")
    found = []
    for name, future in (("ends", None), ("goes-on", np.random.default_rng(5))):
        write_shop(root / f"shop-{name}", future)
        settings = load_settings(home=root / name)
        report = ingest(
            root / f"shop-{name}", settings.paths, clock=SystemClock(), settings=settings, progress=lambda _: None
        )
        assert not any(table.quarantined for table in report.tables.values())
        found.append(settings)
    return found[0], found[1]


@pytest.fixture(scope="module")
def datasets(homes: tuple[Settings, Settings]) -> tuple[Dataset, Dataset]:
    """What may be learned at the cut in either home."""
    one, other = (training_dataset(settings, Lake(settings.paths), recipe("popularity"), CUT) for settings in homes)
    return one, other


def test_the_dataset_of_the_cut_is_the_same_whatever_comes_after(datasets: tuple[Dataset, Dataset]) -> None:
    one, other = datasets
    assert len(one.interactions) > 2000 and one.promotions is not None and one.watched is not None
    for field in dataclasses.fields(Dataset):
        ours, theirs = getattr(one, field.name), getattr(other, field.name)
        if isinstance(ours, pd.DataFrame):
            order = [column for column in ours.columns if column != "ingested_at"]
            pd.testing.assert_frame_equal(
                ours[order].astype(object).sort_values(order, ignore_index=True),
                theirs[order].astype(object).sort_values(order, ignore_index=True),
                check_dtype=False,
            )
        else:
            assert np.array_equal(ours, theirs), field.name


@pytest.mark.parametrize("name", recommender_names())
def test_lists_learned_at_the_cut_are_the_same_whatever_comes_after(
    name: str, datasets: tuple[Dataset, Dataset]
) -> None:
    attributes = pd.DataFrame({"shopper_id": ["newcomer"], "age_band": ["65+"], "home_store_id": ["s2"]})
    ours, theirs = (
        create(name, config_of(name)).fit(dataset, seed=1).recommend(ASKED, 20, attributes=attributes)
        for dataset in datasets
    )
    assert len(ours) >= 20 * len(SHOPPERS)
    pd.testing.assert_frame_equal(ours, theirs)


def test_of_the_test_window_the_evaluation_knows_only_what_is_to_be_foreseen(
    homes: tuple[Settings, Settings],
) -> None:
    settings = homes[1]
    purchases = signals(Lake(settings.paths), ["purchase"], CUT + timedelta(days=60))
    late = purchases["event_time"] >= CUT
    known = training_dataset(settings, Lake(settings.paths), recipe("popularity"), CUT, interactions=purchases)
    other = purchases[late].assign(item_id=purchases.loc[late, "item_id"].iloc[::-1].to_numpy())
    whole, less = make_test(known, purchases[late], 10), make_test(known, other, 10)
    assert not whole.truth.equals(less.truth)
    for field in ("history", "counts", "popularity", "categories", "attributes", "stores"):
        assert getattr(whole, field).equals(getattr(less, field)), field
    assert (purchases.loc[late, "event_time"] == CUT).any(), "a row of exactly the cut is to be foreseen"
    assert whole.counts.sum() == (known.interactions["event_time"] < CUT).sum() == len(known.interactions)
