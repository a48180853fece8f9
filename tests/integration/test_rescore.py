"""What serves is scored anew without training: by what is known now, under the same version, whole however it ends."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from configs.clock import FixedClock
from configs.errors import FacingsError
from configs.settings import Settings, load_settings
from pipelines import snapshot
from pipelines.offers.value.parameters import FOLDER
from pipelines.offers.view import open_view
from pipelines.simulation.config import START, TownConfig
from pipelines.simulation.history import write_history
from pipelines.training.intake import take_in
from pipelines.training.promote import champion, deployments, rollback
from pipelines.training.rescore import RescoreResult, rescore
from pipelines.training.retrain import retrain
from pipelines.training.tracking import Tracking
from state.ledger import Action, Status
from tests.command import facings

DAYS, LATER = 34, 2
BEGAN = datetime(START.year, START.month, START.day, tzinfo=UTC)
END = BEGAN + timedelta(days=DAYS + LATER)
CLOCK = FixedClock(END)
ROOT = Path(__file__).resolve().parents[2]
JOB = """
from configs.settings import load_settings
from pipelines.training.rescore import rescore
settings = load_settings()
rescore(settings, accept_data="simulated", clock=settings.clock(), progress=lambda _: None)
"""


def quiet(_: str) -> None:
    """Progress that nobody reads."""


def score(settings: Settings, folder: Path | None = None) -> RescoreResult:
    return rescore(settings, folder=folder, accept_data="simulated", clock=CLOCK, progress=quiet)


@pytest.fixture(scope="module")
def later(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All tables of a simulated shop, two days after it was trained on."""
    folder = tmp_path_factory.mktemp("rescore") / "town"
    config = TownConfig(shoppers=220, stores=2, days=DAYS + LATER, items=100)
    write_history(config, 7, folder, progress=quiet)
    return folder


@pytest.fixture(scope="module")
def trained_home(later: Path) -> Path:
    """A home in which a version with a value model serves, trained before the last two days."""
    early = later.with_name("early")
    shutil.copytree(later, early)
    cut = BEGAN + timedelta(days=DAYS)
    rows = pl.read_parquet(early / "interactions.parquet").filter(pl.col("event_time") < cut)
    rows.write_parquet(early / "interactions.parquet")
    settings = load_settings(home=later.with_name("home"))
    result = retrain(settings, ["personal_frequency"], folder=early, clock=CLOCK, progress=quiet)
    assert result.status == "published"
    return settings.home


@pytest.fixture
def shop(tmp_path: Path, trained_home: Path) -> Settings:
    shutil.copytree(trained_home, tmp_path / "home")
    return load_settings(home=tmp_path / "home")


def test_the_same_data_gives_the_very_odds_that_training_wrote(shop: Settings) -> None:
    before, rows = snapshot.current(shop.paths, "slates"), deployments(shop)
    result = score(shop)
    assert (result.status, result.version, result.snapshot) == ("unchanged", "1", before)
    assert deployments(shop) == rows


def test_a_day_that_went_by_changes_the_odds_and_not_the_version(shop: Settings, later: Path) -> None:
    before = odds_of_all(shop)
    result = score(shop, later)
    assert (result.status, result.version) == ("scored", "1")
    assert result.moment is not None and END - timedelta(days=1) < result.moment <= END
    assert result.snapshot == snapshot.current(shop.paths, "slates")
    newest, first = deployments(shop)
    assert (newest.action, newest.version, newest.status) == (Action.RESCORE, "1", Status.SERVING)
    assert first.status is Status.ENDED and Tracking(shop).version("1").aliases == ("champion",)
    after = odds_of_all(shop)
    assert after.keys() >= before.keys()
    moved = [name for name in before if not np.array_equal(after[name], before[name], equal_nan=True)]
    assert len(moved) > len(before) / 2
    assert not list(shop.paths.runs.glob(".draft-*"))  # odds of shoppers lie in the snapshot alone
    with pytest.raises(FacingsError, match="nothing to roll back to"):  # yesterday's odds are no version
        rollback(shop, reason="odd offers", clock=CLOCK, progress=quiet)
    assert score(shop).status == "unchanged"


def odds_of_all(settings: Settings) -> dict[str, np.ndarray]:
    """What the served slates tell of each shopper."""
    view = open_view(settings.paths)
    serving = champion(settings)
    assert view is not None and serving is not None
    shoppers = np.load(next(serving.serving.rglob("shopper_ids.npy")), allow_pickle=False)
    try:
        told = {str(name): view.candidates(str(name)).odds for name in shoppers}
        return {name: odds for name, odds in told.items() if odds is not None}
    finally:
        view.close()


def test_killed_while_slates_are_built_it_ends_as_undisturbed(shop: Settings, later: Path, tmp_path: Path) -> None:
    shutil.copytree(shop.home, tmp_path / "other")
    other = load_settings(home=tmp_path / "other")
    wanted = score(other, later).snapshot
    take_in(shop, later, clock=CLOCK, progress=quiet)
    before = snapshot.current(shop.paths, "slates")
    environment = {**os.environ, "FACINGS_HOME": str(shop.home), "OMP_NUM_THREADS": "1"}
    job = subprocess.Popen([sys.executable, "-c", JOB], cwd=ROOT, env=environment)
    deadline = time.monotonic() + 120
    while not list(shop.paths.root.glob("snapshots/slates/.draft-*")) and job.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    job.send_signal(signal.SIGKILL)
    assert job.wait() == -signal.SIGKILL
    assert snapshot.current(shop.paths, "slates") == before and list(shop.paths.runs.glob(".draft-scored-*"))
    assert score(shop).snapshot == wanted
    for settings in (shop, other):
        assert not list(settings.paths.runs.glob(".draft-*"))
        assert [row.action for row in deployments(settings)] == [Action.RESCORE, Action.PUBLISH]
    assert [path.name for path in (shop.paths.snapshots / "slates").iterdir()] == [wanted]


def test_a_version_that_kept_no_model_keeps_its_odds_and_says_so(
    shop: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    serving = champion(shop)
    assert serving is not None
    kept = Tracking(shop).artifact(serving.run_id, "value")
    before = snapshot.current(shop.paths, "slates")
    names = (kept / FOLDER / "names.json").read_text()
    (kept / FOLDER / "names.json").write_text(names.replace('"own_item"', '"another"'))
    with pytest.raises(FacingsError, match="told it other things"):
        score(shop)
    shutil.rmtree(kept / FOLDER)
    monkeypatch.setenv("FACINGS_HOME", str(shop.home))
    outcome = facings("rescore", "--accept-data", "simulated")
    assert outcome.code == 1 and "kept no model" in outcome.err and "facings retrain" in outcome.err
    (kept / "value.json").write_text('{"trained": false, "why": "too little was shown"}')
    outcome = facings("rescore", "--json")
    assert (outcome.code, outcome.told["status"]) == (0, "nothing") and "too little" in outcome.told["reasons"][0]
    assert snapshot.current(shop.paths, "slates") == before


def test_where_nothing_serves_it_says_what_to_do_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACINGS_HOME", str(tmp_path / "home"))
    outcome = facings("rescore")
    assert outcome.code == 1 and "facings retrain" in outcome.err
