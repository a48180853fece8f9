"""Validation windows of the past: where a setting is chosen, so that the test window stays unseen.

The windows lie end to end before the cut of the time split, each as long as the test window. For each, a model learns
from what lies before the window and is judged on it. Nothing from the cut on is ever read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import closing, nullcontext
from functools import cached_property
from typing import NamedTuple

import pandas as pd

from configs.clock import Clock
from configs.errors import FacingsError
from configs.recipe import Recipe
from configs.settings import Settings
from features.store import FeatureStore
from models.dataset import Dataset
from models.registry import create
from pipelines.signals.lake.lake import Lake
from pipelines.training.dataset import FEATURE_TABLES, Moments, signals, training_dataset, what_counts
from pipelines.training.evaluate import Test, make_test, measure

WINDOWS = 3
_PURCHASES = ("purchase",)


class Window(NamedTuple):
    """Learned from what lies before `start`, judged on [start, end)."""

    start: pd.Timestamp
    end: pd.Timestamp


class Score(NamedTuple):
    """The mean of a metric over the shoppers of one window."""

    value: float
    shoppers: int


class Validation:
    """The windows of one recipe on one home's data, and what a setting scores on them.

    Args:
        settings: names the home.
        recipe: its split, data and gate's metric hold for every setting that is tried.
        split: cut and end of the data.
        clock: of the feature store.
    """

    def __init__(self, settings: Settings, recipe: Recipe, split: Moments, clock: Clock) -> None:
        self._settings, self._recipe, self._clock = settings, recipe, clock
        self._lake = Lake(settings.paths)
        self.cut = split.cut
        self.windows = self._windows()
        self._made: dict[Window, tuple[Dataset, Test]] = {}

    @property
    def needs_features(self) -> bool:
        """Whether the recipe learns from Feast's features, which must then be computed at the start of each window."""
        return bool(self._recipe.data.shopper_features)

    @property
    def metric(self) -> str:
        """What is maximised."""
        return self._recipe.gate.metric

    @cached_property
    def digest(self) -> str:
        """Hex digest of all data that any setting can see: nothing from the cut on shows in it."""
        rows = pd.util.hash_pandas_object(self._learned, index=False)
        judged = pd.util.hash_pandas_object(self._purchases, index=False)
        tables = ["items", "shoppers"]
        if self.needs_features or self._recipe.data.promotions != "none" or self._recipe.data.contents:
            tables += FEATURE_TABLES
        text = [str(len(rows)), str(rows.sum()), str(len(judged)), str(judged.sum()), self._lake.fingerprint(tables)]
        return hashlib.sha256("\n".join([*text, *self._settings.never_recommend]).encode()).hexdigest()[:16]

    def score(self, recipe: Recipe, window: Window) -> Score:
        """Train a setting on what lies before the window, and judge it on the window.

        Raises:
            FacingsError: it cannot be trained, or its metric is not measured.
        """
        dataset, test = self._data(window)
        model = create(recipe.recommender, recipe.config).fit(dataset, seed=recipe.seed)
        frame, _ = measure(model, test)
        if self.metric not in frame.columns:
            known = ", ".join(column for column in frame.columns if column != "shopper_id")
            raise FacingsError(
                f"The gate's metric {self.metric!r} is not measured; the recipe may name one of {known}."
            )
        values = frame[self.metric].dropna()
        if values.empty:
            raise FacingsError(
                f"The gate's metric {self.metric} is defined for nobody in the window from {window.start:%Y-%m-%d}; "
                "name another metric or a longer split.test_days."
            )
        return Score(float(values.mean()), len(values))

    @cached_property
    def _learned(self) -> pd.DataFrame:
        """Interactions that a model may learn from; none of the cut or later."""
        return signals(self._lake, tuple(self._recipe.data.event_types), self.cut)

    @cached_property
    def _purchases(self) -> pd.DataFrame:
        if tuple(self._recipe.data.event_types) == _PURCHASES:
            return self._learned
        return signals(self._lake, _PURCHASES, self.cut)

    def _windows(self) -> list[Window]:
        """Up to WINDOWS, the newest first; each has purchases in it, and as long a time before it as it is itself."""
        times, days = self._purchases["event_time"], pd.Timedelta(days=self._recipe.split.test_days)
        found: list[Window] = []
        end = self.cut
        while len(found) < WINDOWS and len(times) and end - days - days >= times.min():
            window = Window(end - days, end)
            if ((times >= window.start) & (times < window.end)).any():
                found.append(window)
            end = window.start
        if not found:
            raise FacingsError(
                f"There is too little before {self.cut:%Y-%m-%d} UTC, where the test window begins, to choose a "
                f"setting by: a window of {days.days} days needs as many days before it; shorten split.test_days of "
                "the recipe."
            )
        return found

    def _data(self, window: Window) -> tuple[Dataset, Test]:
        if window not in self._made:
            with (
                closing(FeatureStore(self._settings, clock=self._clock))
                if self.needs_features
                else nullcontext() as own
            ):
                dataset = self._dataset(self._recipe, window.start, self._learned, own)
            plain = self._recipe.model_copy(update={"data": type(self._recipe.data)()})
            known = self._dataset(plain, window.start, self._purchases, None)
            bought = what_counts(self._settings, self._lake, self._purchases, window.end)
            later = bought[bought["event_time"] >= window.start]
            self._made[window] = dataset, make_test(known, later, self._recipe.split.k)
        return self._made[window]

    def _dataset(
        self, recipe: Recipe, as_of: pd.Timestamp, interactions: pd.DataFrame, features: FeatureStore | None
    ) -> Dataset:
        return training_dataset(self._settings, self._lake, recipe, as_of, features, interactions=interactions)


def describe(windows: Sequence[Window]) -> str:
    """The windows in words."""
    return ", ".join(f"{window.start:%Y-%m-%d} to {window.end:%Y-%m-%d}" for window in windows)
