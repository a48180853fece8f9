"""What a recipe is trained on at a moment: catalogue, advertising and contents of that moment, nothing later."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import polars as pl
import pytest

from configs.clock import SystemClock
from configs.recipe import Recipe, SplitRecipe
from configs.settings import Settings
from pipelines.signals.ingest import ingest
from pipelines.signals.lake.lake import Lake
from pipelines.training.dataset import data_fingerprint, moments, training_dataset
from tests.small_shop import write_small_shop

AS_OF = pd.Timestamp("2026-05-01", tz="UTC")


@pytest.fixture
def lake(home: Path, tmp_path: Path) -> Lake:
    """The small shop with advertising before, at and after AS_OF, contents, and an item that comes later."""
    folder = write_small_shop(tmp_path / "shop", purchases=600)
    items = pl.read_csv(folder / "items.csv")
    later = pl.when(pl.col("item_id") == "item-58").then(pl.lit("2026-05-20")).otherwise(pl.lit("2025-01-01"))
    items.with_columns(later.alias("first_seen")).write_csv(folder / "items.csv")
    pl.DataFrame(
        {
            "store_id": ["s1"] * 4,
            "item_id": ["item-01", "item-02", "item-03", "item-04"],
            "starts": ["2025-01-01", "2026-04-28", "2026-05-01", "2026-05-08"],
            "ends": ["2025-01-08", "2026-05-05", "2026-05-08", "2026-05-15"],
            "mailer": ["A"] * 4,
        }
    ).write_csv(folder / "promotions.csv")
    pl.DataFrame({"content_id": ["c1", "c2"], "item_ids": ["item-05|item-06", "item-07"]}).write_csv(
        folder / "contents.csv"
    )
    pl.DataFrame(
        {
            "shopper_id": ["shopper-00", "shopper-01"],
            "content_id": ["c1", "c2"],
            "event_type": ["content_view"] * 2,
            "event_time": ["2026-04-30", "2026-05-01"],
        }
    ).write_csv(folder / "content_views.csv")
    settings = Settings(home=home)
    ingest(folder, settings.paths, clock=settings.clock(), settings=settings, progress=lambda _: None)
    return Lake(settings.paths)


def recipe(**data: object) -> Recipe:
    return Recipe.model_validate({"name": "mine", "recommender": "popularity", "data": data})


def advertised(lake: Lake, home: Path, known: str) -> list[str] | None:
    found = training_dataset(Settings(home=home), lake, recipe(promotions=known), AS_OF).promotions
    return None if found is None else sorted(found["item_id"])


def test_advertising_is_known_as_the_recipe_says(lake: Lake, home: Path) -> None:
    assert advertised(lake, home, "none") is None
    assert advertised(lake, home, "past") == ["item-02"]
    assert advertised(lake, home, "planned") == ["item-02", "item-03", "item-04"]


def test_a_content_watched_at_the_moment_or_later_is_not_known(lake: Lake, home: Path) -> None:
    found = training_dataset(Settings(home=home), lake, recipe(contents=True), AS_OF)
    assert found.watched is not None and (found.watched["event_time"] < AS_OF).all()
    assert found.watched["shopper_id"].tolist() == ["shopper-00"]
    assert found.content_links[["item_id", "by"]].to_numpy().tolist() == [["item-05", "id"], ["item-06", "id"]]


def test_an_item_that_is_first_seen_later_is_not_in_the_catalogue(lake: Lake, home: Path) -> None:
    dataset = training_dataset(Settings(home=home), lake, recipe(), AS_OF)
    later = training_dataset(Settings(home=home), lake, recipe(), pd.Timestamp("2026-05-21", tz="UTC"))
    bought = set(dataset.interactions["item_id"])
    assert ("item-58" in set(dataset.item_ids)) == ("item-58" in bought)
    assert "item-58" in set(later.item_ids) and "item-59" in set(dataset.item_ids)


def test_the_data_s_fingerprint_follows_the_tables_that_a_recipe_learns_from(lake: Lake, home: Path) -> None:
    settings = Settings(home=home)
    prints = {
        data_fingerprint(lake, [one], settings) for one in (recipe(), recipe(promotions="past"), recipe(contents=True))
    }
    assert len(prints) == 3


def test_a_young_shop_is_judged_by_the_newer_half_of_its_days(lake: Lake) -> None:
    times = lake.read("interactions", ["event_time"])["event_time"]
    days = (times.max() - times.min()) / pd.Timedelta(days=1)
    for asked, given in ((1, 1.0), (28, 28.0), (1000, days / 2)):
        split = moments(lake, SplitRecipe(test_days=asked))
        assert (split.end - split.cut) / pd.Timedelta(days=1) == pytest.approx(given)


def test_a_look_on_a_day_without_sales_does_not_move_the_window(lake: Lake, home: Path, tmp_path: Path) -> None:
    before = moments(lake, SplitRecipe())
    (tmp_path / "later").mkdir()
    (tmp_path / "later" / "interactions.csv").write_text(
        "shopper_id,item_id,event_type,event_time\nlooker,item-01,view,2026-11-01T10:00:00Z\n"
    )
    settings = Settings(home=home)
    ingest(tmp_path / "later", settings.paths, clock=SystemClock(), settings=settings, progress=lambda _: None)
    after = Lake(settings.paths)
    assert after.latest_event_time() == pd.Timestamp("2026-11-01T10:00:00Z")
    assert moments(after, SplitRecipe()) == before


def test_a_content_watched_counts_once_whether_it_came_as_a_view_or_as_an_interaction(
    lake: Lake, home: Path, tmp_path: Path
) -> None:
    settings, by_content = Settings(home=home), recipe(contents=True)
    before = training_dataset(settings, lake, by_content, AS_OF + pd.Timedelta(days=9)).watched
    (tmp_path / "later").mkdir()
    (tmp_path / "later" / "interactions.csv").write_text(
        "shopper_id,item_id,event_type,event_time\n"
        "shopper-00,c1,content_view,2026-04-30\n"  # stands in content_views, too
        "shopper-02,c1,content_view,2026-05-02\n"
        "shopper-02,item-05,like,2026-05-02\n"  # no content
    )
    ingest(tmp_path / "later", settings.paths, clock=SystemClock(), settings=settings, progress=lambda _: None)
    after = training_dataset(settings, Lake(settings.paths), by_content, AS_OF + pd.Timedelta(days=9)).watched
    assert before is not None and after is not None
    assert list(zip(after["shopper_id"], after["content_id"], strict=True)) == [
        ("shopper-00", "c1"),
        ("shopper-01", "c2"),
        ("shopper-02", "c1"),
    ]
    assert len(before) == 2
