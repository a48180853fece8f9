"""Columns that the contract does not know, from the file to what a model learns of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from configs.errors import FacingsError
from configs.recipe import Recipe
from configs.settings import Settings
from models.registry import create
from pipelines.signals.lake.lake import Lake
from pipelines.training.dataset import training_dataset
from tests.command import facings

AS_OF = pd.Timestamp("2026-03-01", tz="UTC")
SHOPPERS, ITEMS = 40, 20


@pytest.fixture
def lake(home: Path, tmp_path: Path) -> Lake:
    """Shoppers with an even number buy wool, the others cotton; two items were never sold."""
    chance = np.random.default_rng(3)
    folder = tmp_path / "shop"
    folder.mkdir()
    bought = [
        (f"s{shopper:02}", f"i{item:02}", day)
        for shopper in range(SHOPPERS)
        for day, item in enumerate(chance.choice(np.arange(shopper % 2, ITEMS, 2), size=6, replace=False))
    ]
    pl.DataFrame(bought, schema=["shopper_id", "item_id", "day"], orient="row").select(
        "shopper_id",
        "item_id",
        pl.lit("purchase").alias("event_type"),
        (pl.lit("2026-02-0") + (pl.col("day") + 1).cast(pl.String)).alias("event_time"),
    ).write_csv(folder / "interactions.csv")
    materials = [["wool", "soft"] if item % 2 == 0 else ["cotton"] for item in range(ITEMS)]
    names = [*(f"i{item:02}" for item in range(ITEMS)), "new-wool", "new-cotton"]
    items = pl.DataFrame({"item_id": names, "material": [*materials, ["wool"], ["cotton"]]})
    items.write_parquet(folder / "items.parquet")
    diets = ["warm" if shopper % 2 == 0 else "light" for shopper in range(SHOPPERS)]
    pl.DataFrame({"shopper_id": [f"s{number:02}" for number in range(SHOPPERS)], "style": diets}).write_csv(
        folder / "shoppers.csv"
    )
    outcome = facings("ingest", folder, "--json")
    assert outcome.code == 0, outcome.err
    return Lake(Settings(home=home).paths)


def _recipe(**data: Any) -> Recipe:
    config = {"components": 8, "epochs": 30, "runs": 1}
    return Recipe.model_validate({"name": "mine", "recommender": "lightfm", "config": config, "data": data})


def test_an_unknown_column_is_content_where_the_recipe_names_it(lake: Lake, home: Path) -> None:
    assert lake.read("items").set_index("item_id")["material"]["i00"] == "wool|soft"
    recipe = _recipe(item_content=["material"], shopper_attributes=["style"])
    dataset = training_dataset(Settings(home=home), lake, recipe, AS_OF)
    model = create("lightfm", recipe.config).fit(dataset)
    lists = model.recommend(["s00", "s01", "s02", "s03"], ITEMS + 2)
    place = lists.set_index(["shopper_id", "item_id"])["rank"]
    for shopper, liked, other in (("s00", "wool", "cotton"), ("s01", "cotton", "wool"), ("s02", "wool", "cotton")):
        assert place[shopper, f"new-{liked}"] < place[shopper, f"new-{other}"]


def test_a_column_that_nobody_brought_is_named(lake: Lake, home: Path) -> None:
    with pytest.raises(FacingsError, match=r"names fabric, which the item table .* holds .*material"):
        training_dataset(Settings(home=home), lake, _recipe(item_content=["fabric"]), AS_OF)
