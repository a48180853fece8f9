"""Bots and brushing in a simulated town, and returns in a small shop: what counts where, and from when on."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pandas as pd
import polars as pl
import pytest

from configs.clock import FixedClock
from configs.settings import Settings, load_settings
from configs.suspicion import SuspicionRules
from features.compute import COMPUTE
from features.history import History
from pipelines.offers.view import open_view
from pipelines.signals.behaviour.suspicion import COLUMNS, count_flagged, doubtful, find_suspicions, suspicions
from pipelines.signals.ingest import ingest
from pipelines.signals.lake.lake import Lake
from pipelines.training.dataset import signals, what_counts
from tests.command import facings
from tests.serving_town import ingest_shop, quiet
from tests.small_shop import END, write_small_shop

RULES = SuspicionRules()


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("town") / "town"
    asked = ("simulate", "--shoppers", 1500, "--stores", 2, "--days", 35, "--seed", 4, "--out", folder, "--json")
    assert facings(*asked).code == 0
    return folder


@pytest.fixture(scope="module")
def happened(town: Path) -> pd.DataFrame:
    columns = ["shopper_id", "item_id", "event_type", "event_time"]
    frame = pl.read_parquet(town / "interactions.parquet", columns=columns).to_pandas()
    return frame.assign(event_time=pd.to_datetime(frame["event_time"], utc=True))


def flags_of(town: Path) -> pd.DataFrame:
    return find_suspicions([town / "interactions.parquet"], [town / "items.parquet"], RULES)


def test_planted_bots_and_brushing_are_found_and_hardly_anybody_else(town: Path, happened: pd.DataFrame) -> None:
    truth = json.loads((town / "truth.json").read_text())
    bots = happened["shopper_id"].isin(truth["bots"])
    fakes = happened["shopper_id"].isin(truth["brushing"]["accounts"]) & (happened["event_type"] == "purchase")
    flagged = pd.Series(doubtful(happened, flags_of(town)) < 1)
    assert fakes.sum() > 50 and bots.sum() > 1000
    assert flagged[bots].mean() > 0.95 and flagged[fakes].mean() > 0.9
    assert flagged[~bots & ~fakes].mean() < 0.001


def test_what_is_flagged_at_a_moment_is_what_the_days_before_alone_give(
    town: Path, happened: pd.DataFrame, tmp_path: Path
) -> None:
    cut = pd.Timestamp(happened["event_time"].min()).normalize() + timedelta(days=25)
    whole = flags_of(town)
    early = pl.read_parquet(town / "interactions.parquet").filter(pl.col("event_time") < cut.to_pydatetime())
    early.write_parquet(tmp_path / "early.parquet")
    then = find_suspicions([tmp_path / "early.parquet"], [town / "items.parquet"], RULES)
    known = whole[whole["known_at"] <= cut]
    assert len(then) and len(known) < len(whole)
    pd.testing.assert_frame_equal(known.reset_index(drop=True), then[then["known_at"] <= cut].reset_index(drop=True))


def test_a_shop_of_which_no_makers_are_known_is_looked_at_as_well(town: Path, tmp_path: Path) -> None:
    pd.read_parquet(town / "items.parquet").drop(columns="maker_id").to_parquet(tmp_path / "items.parquet", index=False)
    for items in ([tmp_path / "items.parquet"], []):
        assert len(find_suspicions([town / "interactions.parquet"], items, RULES))


def shopper(number: int) -> str:
    return f"account-{number}"


def brushed(folder: Path) -> Path:
    """The small shop with twelve accounts that buy one item three times each, in separate orders, on one evening."""
    rows = pl.read_csv(folder / "interactions.csv", infer_schema=False)
    evening = END - timedelta(days=2, hours=5)
    fake = [
        {"shopper_id": shopper(n), "item_id": "item-58", "event_type": "purchase", "store_id": "s1", "quantity": "50",
         "price": "1.00", "event_time": (evening + timedelta(minutes=7 * n + turn)).isoformat()}
        for n in range(12) for turn in range(3)
    ]  # fmt: skip
    pl.concat([rows, pl.DataFrame(fake)], how="diagonal").write_csv(folder / "interactions.csv")
    return folder


def test_fake_purchases_stay_in_the_lake_and_move_neither_training_nor_best_sellers(tmp_path: Path) -> None:
    honest = ingest_shop(write_small_shop(tmp_path / "honest"), tmp_path / "h")
    settings = ingest_shop(brushed(write_small_shop(tmp_path / "shop")), tmp_path / "home")
    lake, end = Lake(settings.paths), pd.Timestamp(END)
    flags = suspicions(settings, lake)
    assert list(flags.columns) == COLUMNS and set(flags["reason"]) == {"burst"}
    assert count_flagged(lake, flags) == {"burst": 36}
    bought = signals(lake, ("purchase",), end)
    assert bought["shopper_id"].str.startswith("account-").sum() == 36, "nothing is deleted"
    assert not what_counts(settings, lake, bought, end)["shopper_id"].str.startswith("account-").any()
    before = pd.Timestamp(END - timedelta(days=2))  # the evening's flags are known from midnight on
    assert (
        what_counts(settings, lake, bought, before - timedelta(minutes=1)).shape[0]
        == (bought["event_time"] < before - timedelta(minutes=1)).sum()
    )
    for level in ("home", "store", "chain"):
        ours, theirs = best(settings, level), best(honest, level)
        assert ours == theirs
    off = settings.model_copy(update={"suspicion": SuspicionRules(on=False)})
    assert len(what_counts(off, lake, bought, end)) == len(bought)


def test_features_are_those_of_the_shop_without_the_fakes_once_these_are_known(tmp_path: Path) -> None:
    honest = ingest_shop(write_small_shop(tmp_path / "honest"), tmp_path / "h")
    settings = ingest_shop(brushed(write_small_shop(tmp_path / "shop")), tmp_path / "home")
    lake, end = Lake(settings.paths), pd.Timestamp(END)
    flags = suspicions(settings, lake)
    assert flags["known_at"].nunique() == 1
    with (
        History(lake.paths("interactions"), doubts=flags) as ours,
        History(Lake(honest.paths).paths("interactions")) as theirs,
    ):
        for name in ("shopper", "item", "store", "shopper_item"):
            for moment in (flags["known_at"][0], end):
                pd.testing.assert_frame_equal(COMPUTE[name](ours, moment), COMPUTE[name](theirs, moment))
        early = flags["known_at"][0] - timedelta(microseconds=1)
        assert len(COMPUTE["shopper"](ours, early)) == len(COMPUTE["shopper"](theirs, early)) + 12


def best(settings: Settings, level: str) -> list[str]:
    view = open_view(settings.paths)
    assert view is not None
    ranked = view.shop.popular(level, "s1")
    names = [card["item_id"] for card in view.shop.cards(ranked.items[:20].tolist())]
    view.close()
    return names


def test_a_return_cancels_from_its_own_time_on(tmp_path: Path) -> None:
    folder = write_small_shop(tmp_path / "shop")
    rows = pl.read_csv(folder / "interactions.csv", infer_schema=False)
    bought = rows.with_columns(pl.col("event_time").str.to_datetime(time_zone="UTC", strict=False).alias("at"))
    line = bought.filter(pl.col("at") < END - timedelta(days=30)).sort("at").tail(1).drop("at")
    at = END - timedelta(days=10)
    back = line.with_columns(event_type=pl.lit("return"), event_time=pl.lit(at.isoformat()), quantity=pl.lit("999"))
    back = back.with_columns(event_id=pl.lit("the-return")) if "event_id" in back.columns else back
    pl.concat([rows, back], how="diagonal").write_csv(folder / "interactions.csv")
    settings = load_settings(home=tmp_path / "home")
    ingest(folder, settings.paths, clock=FixedClock(END), settings=settings, progress=quiet)
    lake = Lake(settings.paths)
    pair = (pl.col("shopper_id") == line["shopper_id"][0]) & (pl.col("item_id") == line["item_id"][0])
    every = signals(lake, ("purchase",), pd.Timestamp(END))
    for moment, gone in ((at, False), (at + timedelta(microseconds=1), True)):
        counts = pl.from_pandas(what_counts(settings, lake, every, pd.Timestamp(moment)))
        stood = pl.from_pandas(every[every["event_time"] < pd.Timestamp(at)])
        assert (counts.filter(pair).height == 0) is gone or stood.filter(pair).height == 0


@pytest.mark.parametrize("every", [timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)])
def test_what_everybody_does_is_how_the_shop_is(tmp_path: Path, every: timedelta) -> None:
    """Twenty shoppers who buy the same ten items over and over; then one of them a hundred times as often."""
    rows = [(f"p{who}", f"i{turn % 10}", END + turn * every) for who in range(20) for turn in range(150)]
    whole = pl.DataFrame(rows, schema=["shopper_id", "item_id", "event_time"], orient="row")
    whole = whole.with_columns(
        pl.col("event_time").cast(pl.Datetime("us", "UTC")), pl.lit("purchase").alias("event_type")
    )
    whole.write_parquet(tmp_path / "all.parquet")
    assert find_suspicions([tmp_path / "all.parquet"], [], RULES).empty
    moment = pl.col("event_time")
    lone = whole.filter((pl.col("shopper_id") == "p0") | (moment == moment.min().over("shopper_id")))
    lone.write_parquet(tmp_path / "one.parquet")
    assert set(find_suspicions([tmp_path / "one.parquet"], [], RULES)["shopper_id"]) == {"p0"}
