"""A broken feed stops the retraining with its reason, and the champion stays; a mended or an accepted one goes on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from configs.clock import SystemClock
from configs.settings import Settings, load_settings
from pipelines import snapshot
from pipelines.shop_snapshot import Shop
from pipelines.signals.lake.lake import Lake
from pipelines.signals.quality.store import accepted_name, newest_report
from pipelines.training.intake import take_in
from pipelines.training.job import RetrainResult
from pipelines.training.promote import champion
from pipelines.training.retrain import retrain
from state.acceptances import noted_acceptances
from state.engine import open_engine
from state.events import append_events
from tests.command import facings
from tests.small_shop import END, STORES, write_small_shop

ROOT = Path(__file__).resolve().parents[2]
CLOCK = SystemClock()
Rows = Callable[[pl.DataFrame], pl.DataFrame]
NEWEST = pl.col("event_time").str.to_datetime(time_zone="UTC") >= END - timedelta(days=14)


def write(folder: Path, table: str, rows: pl.DataFrame) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rows.write_csv(folder / f"{table}.csv")
    return folder


@pytest.fixture(scope="module")
def feeds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The shop up to two weeks before its end, then those two weeks, whole and broken."""
    root = tmp_path_factory.mktemp("feeds")
    early = write_small_shop(root / "early")
    sales = pl.read_csv(early / "interactions.csv")
    write(early, "interactions", sales.filter(~NEWEST))
    newest, items = sales.filter(NEWEST), pl.read_csv(early / "items.csv")
    broken: dict[str, Rows] = {
        "whole": lambda rows: rows,
        "a store missing": lambda rows: rows.filter(pl.col("store_id") != STORES[1]),
        "prices times 100": lambda rows: rows.with_columns(pl.col("price") * 100),
        "half the rows": lambda rows: rows.sample(fraction=0.4, seed=1),
    }
    folders = {name: write(root / name, "interactions", change(newest)) for name, change in broken.items()}
    dear = items.with_columns(pl.col("price") * 100)
    return folders | {
        "early": early,
        "catalogue times 100": write(write(root / "dear", "interactions", newest), "items", dear),
        "catalogue": write(root / "catalogue", "items", items),
    }


@pytest.fixture(scope="module")
def accepted_home(tmp_path_factory: pytest.TempPathFactory, feeds: dict[str, Path]) -> Path:
    root = tmp_path_factory.mktemp("accepted") / "home"
    result = run(load_settings(home=root), "personal_frequency", folder=feeds["early"])
    assert result.status == "published"
    assert result.data_report is not None
    return root


@pytest.fixture
def settings(tmp_path: Path, accepted_home: Path) -> Settings:
    shutil.copytree(accepted_home, tmp_path / "home")
    return load_settings(home=tmp_path / "home")


def run(settings: Settings, *recipes: str, folder: Path | None = None, accept_data: str | None = None) -> RetrainResult:
    return retrain(settings, recipes, folder=folder, accept_data=accept_data, clock=CLOCK, progress=lambda _: None)


def prices(settings: Settings) -> list[int]:
    name = snapshot.current(settings.paths, "shop")
    assert name is not None
    shop = Shop(settings.paths.snapshots / "shop" / name, snapshot.check(settings.paths, "shop", name))
    try:
        return [int(price) for price in shop.prices]
    finally:
        shop.close()


def test_wrong_rows_are_taken_back_and_come_again_right(
    settings: Settings, feeds: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACINGS_HOME", str(settings.home))
    lake = Lake(settings.paths)
    accepted, engine = lake.fingerprint(), open_engine(settings.state_uri)
    tap = {"event_id": "tap-1", "shopper_id": "shopper-01", "item_id": "item-01", "event_type": "tap"}
    append_events(engine, [{**tap, "event_time": "2026-05-20T10:00:00+00:00"}], CLOCK.now())
    take_in(settings, feeds["prices times 100"], clock=CLOCK, progress=lambda _: None)
    wrong = len(lake.read("interactions"))
    done = facings("take-back", "--json")
    assert done.code == 0
    left = lake.read("interactions", ["event_id"])
    assert done.told["tables"] == {"interactions": wrong - len(left)}
    assert (left["event_id"] == "tap-1").sum() == 1
    assert done.told["data"]["verdict"] != "stop"
    take_in(settings, feeds["whole"], clock=CLOCK, progress=lambda _: None)
    report = newest_report(settings.paths)
    assert report is not None
    assert report.verdict != "stop"
    assert len(lake.read("interactions")) == wrong
    assert lake.fingerprint() != accepted
    assert facings("take-back", "--json").told["tables"] == {"interactions": wrong - len(left)}


def test_nothing_is_taken_back_where_nothing_was_accepted(home: Path, feeds: dict[str, Path]) -> None:
    assert facings("ingest", feeds["early"], "--json").told["data"]["verdict"] != "stop"
    told = facings("take-back")
    assert told.code == 1
    assert "No run was accepted yet" in told.sentence


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a store missing", "1 store went silent (s2 since"),
        ("prices times 100", "The median item was paid ×100 its usual price"),
        ("half the rows", "where such days have"),
    ],
)
def test_a_broken_feed_stops_before_training_and_a_mended_one_goes_on(
    settings: Settings, feeds: dict[str, Path], name: str, words: str
) -> None:
    slates, baseline = snapshot.current(settings.paths, "slates"), accepted_name(settings.paths)
    result = run(settings, folder=feeds[name])
    assert (result.status, result.version, result.gate) == ("stopped", "1", None)
    assert any(words in reason for reason in result.reasons)
    assert not [step for step in result.timings if step.startswith(("train", "materialise"))]
    assert (snapshot.current(settings.paths, "slates"), accepted_name(settings.paths)) == (slates, baseline)
    page = Path(result.data_report or "").read_text()
    assert "The data is broken" in page
    assert (settings.paths.reports / "data-report.html").read_text() == page
    assert run(settings).status == "stopped"
    if name != "a store missing":
        return
    mended = run(settings, folder=feeds["whole"])
    assert mended.status in {"published", "refused"}
    assert accepted_name(settings.paths) != baseline


def test_catalogue_prices_in_doubt_do_not_reach_the_screens_until_they_are_mended(
    settings: Settings, feeds: dict[str, Path]
) -> None:
    before = prices(settings)
    result = run(settings, folder=feeds["catalogue times 100"])
    assert result.status == "stopped"
    assert "The catalogue's prices are ×100 the accepted ones" in " ".join(result.reasons)
    assert prices(settings) == before
    take_in(settings, feeds["catalogue"], clock=CLOCK, progress=lambda _: None)
    report = newest_report(settings.paths)
    assert report is not None
    assert report.verdict != "stop"
    assert prices(settings) == before


def test_a_person_may_accept_the_data_and_it_is_written_down(settings: Settings, feeds: dict[str, Path]) -> None:
    before = prices(settings)
    result = run(settings, folder=feeds["catalogue times 100"], accept_data="we count in cents now")
    assert result.status in {"published", "refused"}
    assert prices(settings) == [price * 100 if price >= 0 else price for price in before]
    (row,) = noted_acceptances(open_engine(settings.state_uri))
    assert row["reason"] == "we count in cents now"
    assert "×100" in str(row["findings"])
    take_in(settings, None, clock=CLOCK, progress=lambda _: None)
    report = newest_report(settings.paths)
    assert report is not None
    assert report.verdict != "stop"  # what was accepted is the new normal


def test_a_run_that_died_before_it_noted_the_data_is_repaired(settings: Settings) -> None:
    serving = champion(settings)
    assert serving is not None
    (settings.paths.quality / "accepted.json").unlink()
    assert run(settings).status == "unchanged"
    report = newest_report(settings.paths)
    assert report is not None
    assert (accepted_name(settings.paths) or "").startswith(report.key)


def test_the_verb_exits_with_1_and_one_sentence_and_tells_the_status(
    settings: Settings, feeds: dict[str, Path]
) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    told = subprocess.run(
        [sys.executable, "-m", "cli.main", "retrain", "--json", "--folder", str(feeds["half the rows"])],
        cwd=ROOT,
        env={**environment, "FACINGS_HOME": str(settings.home), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert told.returncode == 1, told.stderr
    result = json.loads(told.stdout)
    assert (result["status"], result["version"]) == ("stopped", "1")
    assert Path(result["data_report"]).is_file()
    assert len([line for line in told.stderr.splitlines() if line.startswith("facings: ")]) == 1
    assert "Traceback" not in told.stderr
