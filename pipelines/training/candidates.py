"""Train and measure the candidates of one run, each kept in the run's work folder once it is whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import polars as pl

from configs.clock import Clock
from configs.errors import FacingsError
from configs.recipe import Recipe
from configs.settings import Settings
from features.store import FeatureStore
from models.base import Recommender
from models.dataset import Dataset
from models.registry import create, load
from pipelines.offers.value.job import train_value
from pipelines.offers.value.kept import ValueFacts
from pipelines.signals.lake.lake import Lake
from pipelines.training.checks import Evidence
from pipelines.training.cost import Cost, measure_costs
from pipelines.training.dataset import blocked_items, signals, training_dataset, what_counts
from pipelines.training.evaluate import Test, make_test, measure_lists
from pipelines.training.gate import slice_shoppers
from pipelines.training.plan import Candidate, Plan, Role
from pipelines.training.portrait import Learned, Portrait, ask_also, portray
from pipelines.training.train import train_into, what_it_learned
from state.files import build_folder, write_atomic

Progress = Callable[[str], None]

CHAMPION_LABEL = "champion"
_PURCHASES = ("purchase",)
_SHOPPERS, _SUMMARY, _PORTRAIT = "shoppers.parquet", "summary.json", "portrait.json"
_COSTS = "costs.json"


def check(recipe: Recipe) -> None:
    """Refuse a recipe that cannot be trained before any work is done.

    Raises:
        UsageError: its recommender or a key of its config does not exist.
    """
    create(recipe.recommender, recipe.config)


class Bench:
    """The candidates of one run side by side: the same data, the same cut, the same test."""

    def __init__(self, settings: Settings, lake: Lake, plan: Plan, clock: Clock, progress: Progress) -> None:
        self._settings, self._lake, self._plan, self._clock = settings, lake, plan, clock
        self._progress = progress
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
        self._measure(candidate.label, model, what_it_learned(folder))

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
        self._measure(CHAMPION_LABEL, model, None if unread else what_it_learned(artifact))
        return unread

    def costs(self, champion: Path | None) -> None:
        """Time what may be published and what it would take over from, in turn."""
        place = self._folder / _COSTS
        if place.exists():
            return
        folders = {
            one.label: evaluation_folder(self._folder, one.label)
            for one in self._plan.candidates
            if one.role is not Role.BASELINE or champion is None
        }
        if champion is not None:
            folders[CHAMPION_LABEL] = champion
        models = {}
        for label, folder in folders.items():
            try:
                models[label] = load(folder)
            except FacingsError:  # a champion of an earlier version: its recipe trained anew stands in for it
                continue
        found = measure_costs(models, self.test, folders={label: folders[label] for label in models})
        write_atomic(place, json.dumps({label: cost.model_dump() for label, cost in found.items()}, indent=1))

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
    def test(self) -> Test:
        """What every candidate is measured on."""
        purchases = self._signals(_PURCHASES)
        plain = self._plan.rules.model_copy(update={"data": type(self._plan.rules.data)()})
        known = training_dataset(self._settings, self._lake, plain, self._cut, interactions=purchases)
        bought = what_counts(self._settings, self._lake, purchases, self._end)
        later = bought[bought["event_time"] >= self._cut]
        stock = _in_stock(self._lake)
        blocked = blocked_items(self._settings, self._lake)
        return make_test(known, later, self._plan.rules.split.k, blocked=blocked, stock=stock)

    def _measure(self, label: str, model: Recommender, learned: Learned | None) -> None:
        lists, broken = _asked(model, self.test)
        found = examine(lists, self.test, as_of=model.as_of, learned=learned, broken=broken)

        def build(draft: Path) -> None:
            found.frame.to_parquet(draft / _SHOPPERS, index=False)
            (draft / _SUMMARY).write_text(json.dumps(found.summary))
            (draft / _PORTRAIT).write_text(found.portrait.model_dump_json())

        build_folder(measured(self._folder, label), build)

    def value(self, label: str) -> ValueFacts:
        """Train the value model beside the chosen candidate, on the same data up to the same moment."""
        recipe = next(candidate.recipe for candidate in self._plan.candidates if candidate.label == label)
        return train_value(
            value_folder(self._folder, label),
            self._settings,
            self._lake,
            load(serving_folder(self._folder, label)),
            cut=self._plan.cut,
            end=self._plan.end,
            candidates=recipe.slate.candidates,
            seed=recipe.seed,
            progress=self._progress,
        )


class Examined(NamedTuple):
    """A candidate's metrics by shopper (with `slice` and `neighbourhood`), as a whole, and its lists' portrait."""

    frame: pd.DataFrame
    summary: dict[str, float]
    portrait: Portrait


def examine(
    lists: pd.DataFrame,
    test: Test,
    *,
    as_of: pd.Timestamp | None = None,
    learned: Learned | None = None,
    broken: str | None = None,
) -> Examined:
    """Measure lists and look at them; lists that are not sound are worth nothing, and the portrait says why.

    Args:
        lists: shopper_id, rank, item_id, score, for the shoppers of the test and `ask_also`.
        test: what they are measured on.
        as_of, learned, broken: as in `portray`.
    """
    kind = slice_shoppers(test.shoppers, test.counts)
    slices = {name: (kind == name).to_numpy() for name in ("cold", "light", "heavy")}
    others = ask_also(test)
    known = None if as_of is None else as_of.to_pydatetime()
    portrait = portray(lists, test, slices, others=others, as_of=known, learned=learned, broken=broken)
    may = lists["shopper_id"].isin(test.shoppers) & lists["item_id"].isin(test.allowed)
    sound = lists[may] if portrait.measurable else lists.iloc[:0]
    frame, summary = measure_lists(sound, test)
    homes = test.stores.reindex(frame["shopper_id"]).to_numpy(object)
    return Examined(frame.assign(slice=kind.to_numpy(), neighbourhood=homes), summary, portrait)


def _asked(model: Recommender, test: Test) -> tuple[pd.DataFrame, str | None]:
    """The lists of a model; where it fails, none and why: one broken challenger does not end the night's run."""
    try:
        return model.recommend([*test.shoppers, *ask_also(test)], test.k, attributes=test.attributes), None
    except FacingsError as error:
        return pd.DataFrame({"shopper_id": [], "rank": [], "item_id": [], "score": []}).astype(
            {"shopper_id": object, "rank": "int64", "item_id": object}
        ), str(error)


def _in_stock(lake: Lake) -> pd.DataFrame | None:
    """store_id, item_id of what is in stock now; None: the rule is off."""
    if not lake.has("stock"):
        return None
    held = lake.scan("stock").filter(pl.col("units") > 0).select("store_id", "item_id")
    return held.unique().sort("store_id", "item_id").collect().to_pandas()


def evaluation_folder(folder: Path, label: str) -> Path:
    """Where a candidate fit before the cut lies in a work folder."""
    return folder / f"evaluation-{label}"


def serving_folder(folder: Path, label: str) -> Path:
    """Where a candidate fit on everything lies in a work folder."""
    return folder / f"serving-{label}"


def value_folder(folder: Path, label: str) -> Path:
    """Where what the value model tells beside a candidate lies in a work folder."""
    return folder / f"value-{label}"


def measured(folder: Path, label: str) -> Path:
    """Where a candidate's metrics lie in a work folder."""
    return folder / f"measured-{label}"


def read_shoppers(folder: Path, label: str) -> pd.DataFrame:
    """Return a candidate's metrics, one row a shopper, with the shopper's slice."""
    return pd.read_parquet(measured(folder, label) / _SHOPPERS)


def read_evidence(folder: Path, label: str) -> Evidence:
    """Return all that the gate looks at of a candidate."""
    costs = json.loads((folder / _COSTS).read_text())
    return Evidence(
        read_shoppers(folder, label),
        Portrait.model_validate_json((measured(folder, label) / _PORTRAIT).read_text()),
        Cost.model_validate(costs[label]) if label in costs else None,
    )


def read_summary(folder: Path, label: str) -> dict[str, float]:
    """Return a candidate's metrics over all shoppers and lists."""
    values: dict[str, float] = json.loads((measured(folder, label) / _SUMMARY).read_text())
    return values
