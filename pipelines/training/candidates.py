"""Train and measure the candidates of one run, each kept in the run's work folder once it is whole."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path

import pandas as pd

from configs.clock import Clock
from configs.errors import FacingsError
from configs.recipe import Recipe
from configs.settings import Settings
from features.store import FeatureStore
from models.base import Recommender
from models.dataset import Dataset
from models.registry import create, load
from pipelines.signals.lake import Lake
from pipelines.training.dataset import signals, training_dataset, what_counts
from pipelines.training.evaluate import Test, make_test, measure
from pipelines.training.gate import slice_shoppers
from pipelines.training.plan import Candidate, Plan, Role
from pipelines.training.train import train_into
from state.files import build_folder

CHAMPION_LABEL = "champion"
_PURCHASES = ("purchase",)
_SHOPPERS, _SUMMARY = "shoppers.parquet", "summary.json"


def check(recipe: Recipe) -> None:
    """Refuse a recipe that cannot be trained before any work is done.

    Raises:
        UsageError: its recommender or a key of its config does not exist.
    """
    create(recipe.recommender, recipe.config)


class Bench:
    """The candidates of one run side by side: the same data, the same cut, the same test."""

    def __init__(self, settings: Settings, lake: Lake, plan: Plan, clock: Clock) -> None:
        self._settings, self._lake, self._plan, self._clock = settings, lake, plan, clock
        self._folder = plan.folder(settings.paths)
        self._cut, self._end = pd.Timestamp(plan.cut), pd.Timestamp(plan.end)
        self._read: dict[tuple[str, ...], pd.DataFrame] = {}

    def evaluation(self, candidate: Candidate) -> None:
        """Train on what was known at the cut, and measure on the test window."""
        if measured(self._folder, candidate.label).exists():
            return
        folder = evaluation_folder(self._folder, candidate.label)
        dataset = None if folder.exists() else self._dataset(candidate.recipe, self._cut)
        model = load(folder) if dataset is None else train_into(folder, candidate.recipe, dataset)
        self._measure(candidate.label, model)

    def champion(self, artifact: Path) -> str | None:
        """Measure the evaluation artifact of the version in force: it was fit before its own cut, never after ours.

        One that cannot be read, such as an earlier version's, would end all retraining: its recipe, trained anew
        beside the others, stands in for it. Call it after `evaluation` of every candidate.

        Returns:
            Why it could not be read; None: it was measured itself.
        """
        if measured(self._folder, CHAMPION_LABEL).exists():
            return None
        unread: str | None = None
        try:
            model = load(artifact)
        except FacingsError as error:
            unread = str(error)
            again = next(one for one in self._plan.candidates if one.role is Role.REFRESHED)
            model = load(evaluation_folder(self._folder, again.label))
        if model.as_of > self._cut:
            raise FacingsError("The champion knows a part of the test window; run `facings retrain` again.")
        self._measure(CHAMPION_LABEL, model)
        return unread

    def serving(self, label: str) -> None:
        """Train the chosen candidate on everything up to the end of the data."""
        folder = serving_folder(self._folder, label)
        if not folder.exists():
            recipe = next(candidate.recipe for candidate in self._plan.candidates if candidate.label == label)
            train_into(folder, recipe, self._dataset(recipe, self._end))

    def _dataset(self, recipe: Recipe, as_of: pd.Timestamp) -> Dataset:
        features = FeatureStore(self._settings, clock=self._clock) if recipe.data.shopper_features else None
        try:
            return training_dataset(
                self._settings,
                self._lake,
                recipe,
                as_of,
                features,
                interactions=self._signals(tuple(recipe.data.event_types)),
            )
        finally:
            if features is not None:
                features.close()

    def _signals(self, event_types: tuple[str, ...]) -> pd.DataFrame:
        """Interactions up to the end of the data; candidates with the same event types share one copy."""
        if event_types not in self._read:
            self._read[event_types] = signals(self._lake, event_types, self._end)
        return self._read[event_types]

    @cached_property
    def _test(self) -> Test:
        purchases = self._signals(_PURCHASES)
        plain = self._plan.rules.model_copy(update={"data": type(self._plan.rules.data)()})
        known = training_dataset(self._settings, self._lake, plain, self._cut, interactions=purchases)
        bought = what_counts(self._settings, self._lake, purchases, self._end)
        return make_test(known, bought[bought["event_time"] >= self._cut], self._plan.rules.split.k)

    def _measure(self, label: str, model: Recommender) -> None:
        frame, summary = measure(model, self._test)
        slices = slice_shoppers(list(frame["shopper_id"]), self._test.counts)
        frame = frame.assign(slice=slices.to_numpy())

        def build(draft: Path) -> None:
            frame.to_parquet(draft / _SHOPPERS, index=False)
            (draft / _SUMMARY).write_text(json.dumps(summary))

        build_folder(measured(self._folder, label), build)


def evaluation_folder(folder: Path, label: str) -> Path:
    """Where a candidate fit before the cut lies in a work folder."""
    return folder / f"evaluation-{label}"


def serving_folder(folder: Path, label: str) -> Path:
    """Where a candidate fit on everything lies in a work folder."""
    return folder / f"serving-{label}"


def measured(folder: Path, label: str) -> Path:
    """Where a candidate's metrics lie in a work folder."""
    return folder / f"measured-{label}"


def read_shoppers(folder: Path, label: str) -> pd.DataFrame:
    """Return a candidate's metrics, one row a shopper, with the shopper's slice."""
    return pd.read_parquet(measured(folder, label) / _SHOPPERS)


def read_summary(folder: Path, label: str) -> dict[str, float]:
    """Return a candidate's metrics over all shoppers and lists."""
    values: dict[str, float] = json.loads((measured(folder, label) / _SUMMARY).read_text())
    return values
