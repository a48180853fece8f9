"""`facings tune` and `facings runs`: settings are chosen before the test window, and a stopped search goes on."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from configs.clock import SystemClock
from configs.errors import FacingsError
from configs.recipe import Recipe, load_recipe
from configs.settings import Settings, load_settings
from pipelines.signals.ingest import ingest
from pipelines.training.published.runs import track_table
from pipelines.training.published.table import LISTS, Figure, PublishedTable
from pipelines.training.tracking import Tracking
from pipelines.training.tuning import Search, tune
from pipelines.training.tuning_runs import recipe_yaml
from pipelines.training.windows import Score, Validation
from tests.command import facings
from tests.small_shop import ITEMS, write_small_shop

CLOCK = SystemClock()
RECIPE = Recipe.model_validate(
    {
        "name": "mine",
        "recommender": "personal_frequency",
        "config": {"decay_days": 60},
        "split": {"test_days": 14},
        "ranges": {"decay_days": {"low": 2, "high": 200, "log": True}},
    }
)


def silent(_: str) -> None:
    """Progress that nobody reads."""


@pytest.fixture(autouse=True)
def _same_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests are of one code, also while somebody edits a file of the tree they run in."""
    monkeypatch.setattr("pipelines.training.tuning.code_digest", lambda: "0123456789abcdef")


@pytest.fixture(scope="module")
def shop_home(tmp_path_factory: pytest.TempPathFactory, trained_home: Path) -> Path:
    """A home with the small shop, and the database of runs already made."""
    root = tmp_path_factory.mktemp("tune")
    return home_of(root, write_small_shop(root / "shop"), trained_home)


def home_of(root: Path, folder: Path, trained_home: Path) -> Path:
    settings = load_settings(home=root / "home")
    ingest(folder, settings.paths, clock=CLOCK, settings=settings, progress=silent)
    shutil.copy(trained_home / "mlflow.db", settings.paths.mlflow_db)  # spares the first start's migrations
    return settings.home


@pytest.fixture
def settings(shop_home: Path, tmp_path: Path) -> Settings:
    """Settings of a copy of that home."""
    shutil.copytree(shop_home, tmp_path / "home")
    return load_settings(home=tmp_path / "home")


def search(settings: Settings, trials: int) -> Search:
    return tune(settings, RECIPE, trials=trials, clock=CLOCK, progress=silent)


def tried(found: Search) -> list[tuple[str, object, tuple[float, ...]]]:
    return [(trial.state, trial.settings["decay_days"], tuple(trial.windows)) for trial in found.trials]


@pytest.fixture(scope="module")
def whole(shop_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Search]:
    """Ten settings in one go."""
    root = tmp_path_factory.mktemp("whole") / "home"
    shutil.copytree(shop_home, root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipelines.training.tuning.code_digest", lambda: "0123456789abcdef")
        yield search(load_settings(home=root), 10)


def test_the_recipe_s_own_setting_is_tried_first_and_the_best_is_at_least_as_good(whole: Search) -> None:
    assert whole.own is not None and whole.own.number == 0
    assert whole.own.settings == {"decay_days": 60}
    assert whole.best.value is not None and whole.own.value is not None
    assert whole.best.value >= whole.own.value
    assert len(whole.best.windows) == 3
    assert any(trial.state == "pruned" and len(trial.windows) < 3 for trial in whole.trials)
    assert all(2 <= trial.settings["decay_days"] <= 200 for trial in whole.trials)


def test_a_search_in_two_parts_gives_what_one_gives(settings: Settings, whole: Search) -> None:
    first = search(settings, 6)
    assert tried(first) == tried(whole)[:6]
    assert tried(search(settings, 10)) == tried(whole)


def test_a_search_that_was_cut_off_within_a_trial_tries_it_again(
    settings: Settings, whole: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    score, calls = Validation.score, [0]

    def stopped(self: Validation, recipe: Recipe, window: object) -> Score:
        calls[0] += 1
        if calls[0] == 8:  # in the third setting
            raise KeyboardInterrupt
        return score(self, recipe, window)  # type: ignore[arg-type]

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Validation, "score", stopped)
        search(settings, 10)
    assert tried(search(settings, 10)) == tried(whole)


def test_a_setting_that_brings_the_search_down_each_time_counts_as_failed_and_the_search_ends(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    score, own = Validation.score, RECIPE.config["decay_days"]

    def stopped(self: Validation, recipe: Recipe, window: object) -> Score:
        if recipe.config["decay_days"] == own:
            raise KeyboardInterrupt
        return score(self, recipe, window)  # type: ignore[arg-type]

    monkeypatch.setattr(Validation, "score", stopped)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            search(settings, 3)
    found = search(settings, 3)
    assert len(found.trials) == 3 and "cut off" in str(found.trials[0].error)


def test_a_metric_that_is_defined_for_nobody_ends_the_search_in_a_sentence(settings: Settings) -> None:
    nobody = RECIPE.model_copy(update={"gate": RECIPE.gate.model_copy(update={"metric": "item_new_ndcg"})})
    with pytest.raises(FacingsError, match="defined for nobody"):
        tune(settings, nobody, trials=2, clock=CLOCK, progress=silent)


def test_a_metric_may_be_named_after_a_store_of_any_name(settings: Settings) -> None:
    tracking = Tracking(settings)
    run = tracking.run_for("key", "name", {}, at_ms=1)
    tracking.log(run, parameters={}, metrics={"store Käyrä #1 (A&B).ndcg": 0.5}, tags={}, artifacts={}, at_ms=1)
    assert tracking.finished(run)


def test_what_happens_in_the_test_window_changes_nothing(whole: Search, trained_home: Path, tmp_path: Path) -> None:
    folder = write_small_shop(tmp_path / "other")
    rows = pd.read_csv(folder / "interactions.csv", dtype=str)
    cut = pd.to_datetime(rows["event_time"]).max() + pd.Timedelta(1, unit="us") - pd.Timedelta(days=14)
    late = pd.to_datetime(rows["event_time"]) >= cut
    assert late.sum() > 100
    rows.loc[late, "item_id"] = [ITEMS[(number * 7) % 60] for number in range(int(late.sum()))]
    rows.loc[late, "shopper_id"] = rows.loc[late, "shopper_id"].iloc[::-1].to_numpy()
    more = rows[late].head(50).assign(event_id=[f"more-{number}" for number in range(50)], shopper_id="stranger")
    pd.concat([rows, more]).to_csv(folder / "interactions.csv", index=False)
    other = load_settings(home=home_of(tmp_path, folder, trained_home))
    found = search(other, 10)
    assert (found.study, found.data) == (whole.study, whole.data)
    assert tried(found) == tried(whole)


def test_the_study_and_its_trials_are_nested_runs_and_the_tuned_recipe_is_a_recipe(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACINGS_HOME", str(settings.home))
    given, out = tmp_path / "mine.yaml", tmp_path / "tuned.yaml"
    given.write_text(recipe_text())
    told = facings("tune", given, "--trials", 3, "--out", out, "--json").told
    assert load_recipe(out).model_dump(mode="json") == told["tuned"]
    assert told["tuned"]["name"] == "mine-tuned"
    assert told["tuned"]["config"] == {"decay_days": told["best"]["settings"]["decay_days"]}
    facings("tune", given, "--trials", 4)
    runs = [run for run in facings("runs", "--json").told if run["job"] != "retrain"]
    assert [run["job"] for run in runs] == ["tune", "trial", "trial", "trial", "trial"]
    assert {run["parent"] for run in runs[1:]} == {runs[0]["run_id"]} == {told["run"]}
    assert [run["value"] for run in runs[1:4]] == [trial["value"] for trial in told["trials"]]
    assert {(run["recipe"], run["metric"], run["data"], run["code"]) for run in runs} == {
        ("mine", "ndcg@10", told["data"], told["code"])
    }
    papers = Tracking(settings).artifact(told["run"], "")
    assert "no test figures" in (papers / "model-card.md").read_text()
    assert (papers / "plots" / "decay_days.svg").is_file()
    lines = facings("runs").out.splitlines()
    assert "tune mine" in lines[0]
    assert "trial" not in facings("runs").out and "trial 3" in facings("runs", "--all").out


def recipe_text() -> str:
    return (
        "name: mine\nrecommender: personal_frequency\nconfig: {decay_days: 60}\nsplit: {test_days: 14}\n"
        "ranges: {decay_days: {low: 2, high: 200, log: true}}\n"
    )


def test_the_printed_recipe_says_what_it_is_worth(whole: Search) -> None:
    first, second, *_ = recipe_yaml(whole).splitlines()
    assert first.startswith(f"# ndcg@10 {whole.best.value:.4f} in the mean of the windows 2026-")
    assert second.startswith("# Best of 10 settings") and "test window was not looked at" in second


@pytest.mark.parametrize(
    ("ranges", "more", "code", "sentence"),
    [
        ("{}", "", 2, "names no `ranges`"),
        ("{decay_days: {low: 90, high: 30}}", "", 2, "reversed or empty: low 90 is not below high 30"),
        ("{decay_days: {low: -5, high: 30}}", "", 2, "Range `decay_days` of recipe odd, value -5.0"),
        ("{half_life: {low: 5, high: 30}}", "", 2, "key `half_life`"),
        ("{decay_days: {low: 5, high: 30}}", "split: {test_days: 70}\n", 1, "shorten split.test_days"),
        ("{decay_days: {low: 5, high: 30}}", "gate: {metric: joy}\n", 1, "metric 'joy' is not measured"),
    ],
)
def test_what_cannot_be_searched_is_told_in_one_sentence(
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ranges: str,
    more: str,
    code: int,
    sentence: str,
) -> None:
    monkeypatch.setenv("FACINGS_HOME", str(settings.home))
    given = tmp_path / "odd.yaml"
    given.write_text(f"name: odd\nrecommender: personal_frequency\nranges: {ranges}\n{more}")
    outcome = facings("tune", given, "--trials", 1)
    assert (outcome.code, outcome.out) == (code, "")
    assert sentence in outcome.sentence


def test_a_home_without_data_has_nothing_to_search_and_no_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACINGS_HOME", str(tmp_path / "empty"))
    given = tmp_path / "mine.yaml"
    given.write_text(recipe_text())
    assert "facings ingest FOLDER" in facings("tune", given).sentence
    assert facings("tune", given, "--out", "best.txt").code == 2
    assert facings("runs", "--json").told == []
    assert facings("runs").out == "Nothing was tracked yet.\n"
    assert not (tmp_path / "empty" / "mlflow.db").exists(), "listing makes no database"


def test_a_benchmark_is_a_run_with_its_table_and_a_run_below_it_for_each_recipe(settings: Settings) -> None:
    figures = (
        Figure(recipe="popular, all", setting="default", metric="recall", ours=0.1, reference=0.1),
        Figure(recipe="mine", setting="default", metric="recall", ours=0.2),
    )
    table = PublishedTable(name="toy", title="A toy", figures=figures, lists=pd.DataFrame(columns=LISTS))
    run_id = track_table(settings, table, [RECIPE], None, seeds=2, clock=CLOCK)
    runs = [run for run in Tracking(settings).runs() if run.job == "benchmark"]
    assert [(run.name, run.value, run.parent) for run in runs] == [("toy", 0.2, None), ("mine", 0.2, run_id)]
    assert runs[0].metric == "mine, default, recall" and runs[0].data and runs[0].code
    papers = Tracking(settings).artifact(runs[1].run_id, "")
    assert "| default, recall | – | 0.2000 |" in (papers / "model-card.md").read_text()


def test_a_retraining_is_listed_with_its_metric_and_its_papers_are_whole(trained: Settings) -> None:
    tracking = Tracking(trained)
    (run,) = tracking.runs()
    assert (run.job, run.recipe, run.metric) == ("retrain", "personal_frequency", "ndcg@10")
    assert run.value is not None and 0 < run.value < 1
    assert run.data and run.code and run.commit
    papers = tracking.artifact(run.run_id, "")
    card = (papers / "model-card.md").read_text()
    assert "| slice | shoppers | ndcg |" in card and "| light |" in card and "Limits:" in card
    assert "<title>" in (papers / "plots" / "differences.svg").read_text()
