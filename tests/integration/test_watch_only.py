"""The promise end to end: who only watched gets slates of their own, better than popularity's."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import yaml

from configs.recipe import load_recipe
from configs.settings import load_settings
from models import metrics
from models.metrics.bootstrap import paired_difference
from models.reasons import Reason
from models.registry import create
from pipelines.signals.lake.lake import Lake
from pipelines.slates_snapshot import Slates, write_slates
from pipelines.training.dataset import training_dataset
from tests.command import facings
from tests.watching_town import CUT, Town, town

RECIPE = {
    "name": "small-ranker",
    "recommender": "ranker",
    "config": {
        "windows": 1,
        "fallback": {"recommender": "lightfm", "config": {"components": 4, "epochs": 2}},
        "repeat_trees": {"rounds": 5},
        "new_trees": {"rounds": 5},
    },
    "data": {"item_content": ["category"], "contents": True},
}


@pytest.fixture(scope="module")
def place() -> Town:
    return town(seed=3)


@pytest.fixture
def recipe(tmp_path: Path, home: Path, place: Town) -> Path:
    """The town in a home; of those who only watch, every second one is in no table but the views'."""
    folder = tmp_path / "town"
    folder.mkdir()
    stated = place.tables["shoppers"]
    hidden = place.watch_only[::2]
    for name, table in {**place.tables, "shoppers": stated[~stated["shopper_id"].isin(hidden)]}.items():
        table.to_parquet(folder / f"{name}.parquet", index=False)
    done = facings("ingest", folder, "--json")
    assert done.code == 0 and not any(table["quarantined"] for table in done.told["tables"].values())
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(RECIPE))
    return path


def ndcg(path: Path, place: Town) -> pd.Series:
    lists = pd.read_csv(path, dtype={"shopper_id": str, "item_id": str})
    truth = place.later[["shopper_id", "item_id"]].drop_duplicates()
    who = sorted(truth["shopper_id"].unique())
    return metrics.evaluate(lists, truth, k=10, shoppers=who)["ndcg"]


def test_who_only_watched_gets_a_list_of_their_own_that_beats_popularity(
    recipe: Path, place: Town, tmp_path: Path
) -> None:
    at = ("--all", "--k", 10, "--as-of", CUT.isoformat())
    assert facings("recommend", *at, "--recipe", recipe, "--out", tmp_path / "ours.csv").code == 0
    assert facings("recommend", *at, "--recipe", "popularity", "--out", tmp_path / "popular.csv").code == 0
    lists = pd.read_csv(tmp_path / "ours.csv", dtype=str)
    assert set(place.watch_only) <= set(lists["shopper_id"])  # also those whom only the views name
    mine = lists[lists["shopper_id"].isin(place.watch_only)]
    assert mine.groupby("shopper_id")["item_id"].agg(tuple).nunique() > 0.8 * len(place.watch_only)
    assert (mine["reason"] == Reason.WATCHED).mean() > 0.3
    gain = paired_difference(
        ndcg(tmp_path / "ours.csv", place).to_numpy(),
        ndcg(tmp_path / "popular.csv", place).to_numpy(),
        confidence=0.975,
    )
    assert gain.lower > 0 and gain.shoppers > 50


def test_what_serving_reads_holds_a_list_for_each_of_them(
    recipe: Path, place: Town, home: Path, tmp_path: Path
) -> None:
    settings = load_settings(home=home)
    chosen = load_recipe(recipe)
    dataset = training_dataset(settings, Lake(settings.paths), chosen, CUT)
    model = create(chosen.recommender, chosen.config).fit(dataset)
    (tmp_path / "slates").mkdir()
    write_slates(tmp_path / "slates", model, 20, lambda _: None)
    slates = Slates(tmp_path / "slates")
    assert all(len(slates.candidates(shopper).items) == 20 for shopper in place.watch_only)
    slates.close()
