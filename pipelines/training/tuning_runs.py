"""A search in MLflow: one run for the study, one below it for each trial; and the tuned recipe as YAML."""

from __future__ import annotations

import re
import tempfile
from importlib.metadata import version as package_version
from pathlib import Path

import yaml

from configs.clock import Clock
from configs.settings import Settings
from pipelines.training.dataset import FEATURE_SERVICE
from pipelines.training.model_card import model_card
from pipelines.training.plan import commit
from pipelines.training.plots import lines, standalone
from pipelines.training.tracking import JOB, MAIN, METRIC, Tracking, parameters_of, write_recipe
from pipelines.training.tuning import Search, TrialResult


def recipe_yaml(search: Search) -> str:
    """Return the tuned recipe as a file that `facings compare` and `retrain` take, with its figures as comments."""
    content = search.tuned.model_dump(mode="json", exclude_defaults=True)
    own = "" if search.own is None else f"; the setting before: {search.own.value:.4f}"
    head = [
        f"# {search.metric} {search.best.value:.4f} in the mean of the windows {search.windows}{own}.",
        f"# Best of {len(search.trials)} settings, study {search.study}. The test window was not looked at.",
    ]
    return "\n".join([*head, yaml.safe_dump(content, sort_keys=False, allow_unicode=True)])


def track(settings: Settings, search: Search, clock: Clock) -> str:
    """Log the study and every trial that is not logged yet; return the id of the study's run."""
    tracking = Tracking(settings)
    at_ms = int(clock.now().timestamp() * 1000)
    recipe = search.recipe
    common = {
        "recipe": recipe.name,
        "data": search.data,
        "code": search.code,
        "commit": commit() or "none",
        "package": package_version("facings"),
        "split": f"validated on {search.windows}; the test window was not read",
        "feature_service": FEATURE_SERVICE if recipe.data.shopper_features else "none",
        METRIC: search.metric,
    }
    tags = {**common, JOB: "tune", "fingerprint": recipe.fingerprint}
    parent = tracking.run_for(f"tune-{search.study}", f"tune {recipe.name}", tags, at_ms=at_ms)
    for trial in search.trials:
        _track_trial(tracking, search, trial, {**common, JOB: "trial"}, parent, at_ms + 1 + trial.number)
    assert search.best.value is not None
    with tempfile.TemporaryDirectory() as scratch:
        papers = Path(scratch)
        write_recipe(papers, search.tuned)
        (papers / "tuned.yaml").write_text(recipe_yaml(search))
        (papers / "model-card.md").write_text(_card(search))
        (papers / "plots").mkdir()
        for name, plot in _plots(search).items():
            (papers / "plots" / f"{name}.svg").write_text(standalone(plot))
        tracking.log(
            parent,
            parameters=parameters_of(recipe),
            metrics={MAIN: search.best.value, "trials": float(len(search.trials))},
            tags=tags,
            artifacts={"": papers},
            at_ms=at_ms,
        )
    return parent


def _track_trial(
    tracking: Tracking, search: Search, trial: TrialResult, tags: dict[str, str], parent: str, at_ms: int
) -> None:
    run_id = tracking.run_for(
        f"tune-{search.study}-{trial.number}", f"trial {trial.number}", tags, at_ms=at_ms, parent=parent
    )
    if tracking.finished(run_id):
        return
    values = {f"window_{number}": value for number, value in enumerate(trial.windows, start=1)}
    if trial.value is not None:
        values[MAIN] = trial.value
    tracking.log(
        run_id,
        parameters=trial.settings,
        metrics=values,
        tags={**tags, "state": trial.state},
        artifacts={},
        at_ms=at_ms,
    )


def _card(search: Search) -> str:
    metric = search.metric.partition("@")[0]
    assert search.best.value is not None
    steps = list(zip(search.windows.split(", "), search.best.shoppers, search.best.windows, strict=True))
    return model_card(
        search.tuned,
        data=search.data,
        split=f"Chosen on the windows {search.windows}; the test window was not read, so these are no test figures.",
        metrics={metric: search.best.value},
        slices=[(f"windows up to {name}", count, value) for name, count, value in steps],
        metric=metric,
        verdict=[f"Best of {len(search.trials)} settings of {', '.join(search.recipe.ranges)}."],
    )


def _plots(search: Search) -> dict[str, str]:
    whole = [trial for trial in search.trials if trial.value is not None]
    best, running = [], float("-inf")
    for trial in whole:
        running = max(running, trial.value or 0.0)
        best.append((float(trial.number), running))
    found = {"history": lines("Best so far", {"best so far": best}, across="trial", upwards=search.metric)}
    for path in search.recipe.ranges:
        points = [
            (float(trial.settings[path]), trial.value or 0.0)
            for trial in whole
            if isinstance(trial.settings.get(path), int | float)
        ]
        name = re.sub(r"[^A-Za-z0-9_.-]", "_", path)
        found[name] = lines(path, {"trials": sorted(points)}, across=path, upwards=search.metric, points=True)
    return {name: plot for name, plot in found.items() if plot}
