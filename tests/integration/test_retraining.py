"""Retraining from a folder of tables to what serves: publish, refuse, leave, take back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from cli.main import facings
from configs.clock import SystemClock
from configs.errors import FacingsError, UsageError
from configs.settings import Settings, load_settings
from models.registry import load
from pipelines import snapshot
from pipelines.signals.lake.lake import Lake
from pipelines.training.dataset import Moments
from pipelines.training.job import RetrainResult
from pipelines.training.promote import champion, deployments, promote, publish, rollback
from pipelines.training.retrain import fair, peek, retrain
from pipelines.training.tracking import Tracking
from state.engine import open_engine
from state.events import append_events, count_waiting
from state.files import exclusive
from state.ledger import Action, Status

CLOCK = SystemClock()


def silent(_: str) -> None:
    """Progress that nobody reads."""


def run(settings: Settings, *recipes: str, folder: Path | None = None, accept_data: str | None = None) -> RetrainResult:
    return retrain(settings, recipes, folder=folder, accept_data=accept_data, clock=CLOCK, progress=silent)


def test_the_first_model_serves_with_everything_that_is_needed_to_explain_it(trained: Settings) -> None:
    serving = champion(trained)
    assert serving is not None
    assert (serving.version, serving.recipe.name) == ("1", "personal_frequency")
    assert load(serving.evaluation).as_of < load(serving.serving).as_of
    assert {"data", "code", "commit", "package", "split", "feature_service", "fingerprint"} <= serving.tags.keys()
    tracking = Tracking(trained)
    assert tracking.version("1").aliases == ("champion",)
    assert "passed" in (tracking.artifact(serving.run_id, "gate") / "report.html").read_text()
    assert not list(trained.paths.mlflow_artifacts.rglob("*.pkl"))
    assert [row.status for row in deployments(trained)] == [Status.SERVING]


def test_the_same_data_and_recipe_again_change_nothing(trained: Settings) -> None:
    result = run(trained)
    assert (result.status, result.version) == ("unchanged", "1")
    assert peek(trained, [], clock=CLOCK, progress=silent) is not None
    assert len(Tracking(trained).versions()) == 1


def test_newer_data_refreshes_the_champion_and_every_candidate_is_measured(
    trained: Settings, towns: dict[str, Path]
) -> None:
    result = run(trained, folder=towns["late"])
    assert (result.status, result.version) == ("published", "2")
    assert result.gate is not None
    assert result.gate.kind == "refresh"
    assert result.snapshot == snapshot.current(trained.paths, "slates")
    assert Tracking(trained).version("2").aliases == ("champion",)
    assert not [part for part in (trained.paths.runs / result.run).iterdir() if part.is_dir()]
    assert {"personal_frequency", "popularity", "champion"} == result.metrics.keys()
    assert {"ndcg", "repeat_recall", "new_recall", "coverage", "gini"} <= result.metrics["popularity"].keys()


def test_a_champion_that_this_version_cannot_read_is_replaced_by_its_recipe_trained_anew(
    trained: Settings, towns: dict[str, Path]
) -> None:
    serving = champion(trained)
    assert serving is not None
    header = serving.evaluation / "artifact.json"
    told_then = json.loads(header.read_text())
    header.write_text(json.dumps({**told_then, "config": {**told_then["config"], "a_key_of_then": 1}}))
    told: list[str] = []
    result = retrain(trained, (), folder=towns["late"], clock=CLOCK, progress=told.append)
    assert (result.status, result.version, result.gate and result.gate.kind) == ("published", "2", "refresh")
    assert sum("cannot be read" in line for line in told) == 1


def test_events_that_arrived_over_http_are_learned_from_once(trained: Settings) -> None:
    engine = open_engine(trained.state_uri)
    body = {"event_id": "tap-1", "shopper_id": "s001", "item_id": "i01", "event_type": "purchase"}
    append_events(engine, [{**body, "event_time": "2025-03-21T20:00:00+00:00"}], CLOCK.now())
    before = len(Lake(trained.paths).read("interactions"))
    assert peek(trained, [], clock=CLOCK, progress=silent) is None
    assert run(trained).run != champion_key(trained)
    after = Lake(trained.paths).read("interactions", ["event_id"])
    assert (len(after), (after["event_id"] == "tap-1").sum()) == (before + 1, 1)
    assert count_waiting(engine) == 0


def champion_key(settings: Settings) -> str:
    return Tracking(settings).version("1").tags["key"]


def test_a_feed_that_broke_does_not_reach_the_screens(trained: Settings, towns: dict[str, Path]) -> None:
    before = snapshot.current(trained.paths, "slates")
    assert run(trained, folder=towns["broken"]).status == "stopped"
    result = run(trained, accept_data="the till is right")
    assert result.status == "refused"
    assert "does not hold" in result.reasons[0]
    assert snapshot.current(trained.paths, "slates") == before
    tracking = Tracking(trained)
    assert tracking.version("1").aliases == ("champion",)
    assert tracking.version("2").aliases == ("challenger",)
    assert tracking.version("2").tags["gate"] == "refused"


def test_a_refusal_is_not_worked_out_twice_and_is_overruled_only_by_force(trained: Settings) -> None:
    first = run(trained, "popularity")
    again = run(trained, "popularity")
    assert (first.status, again.status) == ("refused", "refused")
    assert again.gate == first.gate
    assert "gate" not in again.timings
    assert len(Tracking(trained).versions()) == 2
    with pytest.raises(FacingsError, match=r"refused version 2.*--force"):
        promote(trained, "2", force=False, clock=CLOCK, progress=silent)
    version, built = promote(trained, "2", force=True, clock=CLOCK, progress=silent)
    assert (version.version, built) == ("2", snapshot.current(trained.paths, "slates"))
    assert Tracking(trained).version("2").aliases == ("champion",)
    assert deployments(trained)[0].action is Action.PROMOTE


def test_a_better_recipe_replaces_the_champion(trained: Settings) -> None:
    run(trained, "popularity")
    promote(trained, "2", force=True, clock=CLOCK, progress=silent)
    better = trained.paths.root / "better.yaml"
    better.write_text("name: better\nrecommender: personal_frequency\nconfig: {decay_days: 90}\n")
    result = run(trained, str(better))
    assert (result.status, result.version, result.recipe) == ("published", "3", "better")
    assert result.gate is not None
    assert [comparison.reference for comparison in result.gate.comparisons[:2]] == ["popularity", "champion"]


def test_popularity_does_not_replace_what_knows_its_shoppers(trained: Settings, towns: dict[str, Path]) -> None:
    result = run(trained, "popularity", folder=towns["late"])
    assert (result.status, result.recipe) == ("published", "personal_frequency")
    assert result.gate is not None
    assert result.gate.kind == "refresh"
    assert not result.others["popularity"].passed
    assert result.others["popularity"].kind == "replacement"


def test_a_rollback_goes_back_one_at_a_time_and_says_when_there_is_nothing_before(refreshed: Settings) -> None:
    row = rollback(refreshed, reason="odd offers", clock=CLOCK, progress=silent)
    assert (row.version, row.action, row.status) == ("1", Action.ROLLBACK, Status.SERVING)
    assert row.snapshot_id == snapshot.current(refreshed.paths, "slates")
    assert Tracking(refreshed).version("1").aliases == ("champion",)
    with pytest.raises(FacingsError, match="nothing to roll back to"):
        rollback(refreshed, reason="again", clock=CLOCK, progress=silent)
    statuses = [(row.version, row.status) for row in deployments(refreshed)]
    assert statuses == [("1", Status.SERVING), ("2", Status.ROLLED_BACK), ("1", Status.ENDED)]


def test_what_was_rolled_back_does_not_come_back_by_itself_but_by_hand(refreshed: Settings) -> None:
    rollback(refreshed, reason="odd offers", clock=CLOCK, progress=silent)
    result = run(refreshed)
    assert (result.status, result.version) == ("unchanged", "1")
    assert "rolled back" in result.reasons[0]
    promote(refreshed, "2", force=False, clock=CLOCK, progress=silent)
    serving = champion(refreshed)
    assert serving is not None
    assert serving.version == "2"
    assert rollback(refreshed, reason="no", clock=CLOCK, progress=silent).version == "1"


def test_after_a_rollback_new_data_is_judged_against_what_serves(refreshed: Settings, towns: dict[str, Path]) -> None:
    rollback(refreshed, reason="odd offers", clock=CLOCK, progress=silent)
    result = run(refreshed, folder=towns["broken"], accept_data="the till is right")
    assert result.status == "refused"
    assert deployments(refreshed)[0].version == "1"


def test_a_publish_decided_against_another_champion_does_not_happen(refreshed: Settings) -> None:
    tracking = Tracking(refreshed)
    before = snapshot.current(refreshed.paths, "slates")
    with pytest.raises(FacingsError, match="Version 2 came into force while this job ran, instead of 1"):
        publish(
            refreshed,
            tracking,
            tracking.version("1"),
            action=Action.PUBLISH,
            expected="1",
            reason="decided too early",
            clock=CLOCK,
            progress=silent,
        )
    assert snapshot.current(refreshed.paths, "slates") == before
    assert deployments(refreshed)[0].version == "2"


def test_the_test_window_begins_where_the_champion_s_knowledge_ends(trained: Settings) -> None:
    serving = champion(trained)
    assert serving is not None
    known = load(serving.evaluation).as_of
    day = pd.Timedelta(days=1)
    shrunk = Moments(cut=known - day, end=known + 27 * day)  # a forgotten shopper's last purchase is gone
    assert fair(shrunk, serving, 28) == Moments(cut=known, end=shrunk.end)
    with pytest.raises(FacingsError, match="ingest newer data"):
        fair(Moments(cut=known - 20 * day, end=known + 8 * day), serving, 28)


def test_a_pruned_snapshot_is_built_again_for_a_rollback(refreshed: Settings) -> None:
    first = deployments(refreshed)[-1].snapshot_id
    snapshot.prune(refreshed.paths, "slates", keep=set())
    rollback(refreshed, reason="odd offers", clock=CLOCK, progress=silent)
    assert snapshot.current(refreshed.paths, "slates") == first
    snapshot.check(refreshed.paths, "slates", first)


def test_a_version_that_is_not_there_or_serves_already_is_not_promoted(trained: Settings) -> None:
    with pytest.raises(UsageError, match=r"no version '9'.*registered: 1"):
        promote(trained, "9", force=False, clock=CLOCK, progress=silent)
    with pytest.raises(FacingsError, match="serves already"):
        promote(trained, "1", force=False, clock=CLOCK, progress=silent)


def test_two_retrainings_do_not_run_at_once(trained: Settings) -> None:
    with exclusive(trained.paths.runs / "retrain.lock", "test"), pytest.raises(FacingsError, match="Another retrain"):
        run(trained)


def test_a_home_without_data_says_how_to_load_some(trained: Settings, tmp_path: Path) -> None:
    empty = load_settings(home=tmp_path / "empty")
    empty.paths.root.mkdir()
    shutil.copy(trained.paths.mlflow_db, empty.paths.mlflow_db)  # spares the first start's migrations
    with pytest.raises(FacingsError, match="facings ingest FOLDER"):
        run(empty)


def test_the_verbs_print_one_json_object_and_an_unknown_recipe_is_wrong_usage(
    trained: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACINGS_HOME", str(trained.home))
    shell = CliRunner()
    told = shell.invoke(facings, ["retrain", "--json"])
    assert json.loads(told.stdout)["status"] == "unchanged"
    rows = json.loads(shell.invoke(facings, ["history", "--json"]).stdout)
    assert [(row["version"], row["status"]) for row in rows] == [("1", "serving")]
    assert "version 1" in shell.invoke(facings, ["history"]).stdout
    assert isinstance(shell.invoke(facings, ["retrain", "--recipe", "nonesuch"]).exception, UsageError)
    assert isinstance(shell.invoke(facings, ["rollback"]).exception, FacingsError)


def test_where_no_model_beats_the_best_sellers_they_are_published_until_one_does(tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    folder.mkdir()
    random = np.random.default_rng(1)
    times = pd.Timestamp("2025-03-01", tz="UTC") - pd.to_timedelta(random.random(400) * 80, unit="D")
    pd.DataFrame(
        {
            "shopper_id": random.integers(0, 25, 400).astype(str),
            "item_id": random.choice(30, 400, p=(weights := 0.8 ** np.arange(30)) / weights.sum()).astype(str),
            "event_type": "purchase",
            "event_time": times.astype("datetime64[us, UTC]"),
        }
    ).to_parquet(folder / "interactions.parquet")
    settings = load_settings(home=tmp_path / "home")
    first = run(settings, folder=folder)
    assert (first.status, first.recipe) == ("published", "popularity")
    assert first.reasons[0].startswith("ranker: first: ") and first.reasons[1].endswith("until a better model passes")
    assert first.metrics["ranker"]["diversity"] is None, "no categories: not defined, and JSON has no NaN"
    again = run(settings)
    assert (again.status, again.recipe) == ("refused", "ranker"), "the default recipe is tried beside the stand-in"
