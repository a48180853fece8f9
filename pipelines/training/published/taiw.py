"""The TAIW protocol for next baskets, shared by `tafeng-taiw` and `taobao-taiw`.

Romanov et al., "Time-Aware Item Weighting for the Next Basket Recommendations", RecSys 2023:

- A user's baskets stand in order of time. With three or more of them the last is test; the rest is what is known (the
  last but one is what settings are chosen on, and then belongs to it). A user with fewer is known and not judged.
- All items are ranked, also those bought before; K = 10. Precision = hits / 10, recall = hits / rows of the basket,
  NDCG has binary gains and an ideal list as long as the whole basket; an item that stands twice in a basket makes it
  longer and can be hit once. Means over users.
- popular: rows of an item. personal frequency: rows of the user and item, equals by popularity.

Leave-last-out leaks time: other users' known baskets may be later than the visit. So it is said what a model knows:

- `date_unknown` (`default` where the data has no dates): every known basket, not the visit's date.
- `date_known_past`: the visit's date, and of all known baskets only those before it. A recommender that takes moments
  (`visit_date`) is told it. Any other is trained anew for each date on what lies before: the strict past-only variant.
- `same_day`: the visit's date and every known basket; a recommender without moments ranks as in `date_unknown`.

A recommender whose config has `knows` is trained for the setting. The trees of a learned ranker have seen the known
baskets of all users, whatever their dates; what it is told of a visit is as the setting says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from configs.errors import FacingsError, UsageError
from configs.recipe import DataRecipe, Recipe
from models import metrics
from models.dataset import Dataset
from models.registry import create, recommender_class
from pipelines.training.published.peers import NAMES as PEER_NAMES
from pipelines.training.published.peers import implicit_lists
from pipelines.training.published.table import (
    LISTS,
    Difference,
    Figure,
    PublishedTable,
    difference,
    distinct_names,
)

K = 10
UNKNOWN, PAST, SAME_DAY, DEFAULT = "date_unknown", "date_known_past", "same_day", "default"
AGAINST = "personal frequency"
_MEASURED = ("precision", "recall", "ndcg")
_POOL = 1000  # more candidates than any recommender of ours names


@dataclass(frozen=True)
class Protocol:
    """What differs between the two tables.

    Attributes:
        name: of the table.
        title: its first line; `{users}`, `{items}`, `{rows}`, `{judged}` are filled in.
        settings: measured, in this order.
        published: figures to be met, by baseline and metric, in the first setting.
        tolerance: how far a baseline's figure may lie from the published one, by baseline and metric, where that is
            more than half of the last digit: the publication leaves open in which order equals stand.
        fill: whether a personal list is completed with the best sold.
        notes: of the table.
    """

    name: str
    title: str
    settings: tuple[str, ...]
    published: Mapping[str, Mapping[str, float]]
    tolerance: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    fill: bool = True
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Baskets:
    """The rows of the protocol.

    Attributes:
        rows: shopper_id, item_id, event_time (UTC), basket_id (its number for the shopper, from 1) and what else the
            data holds (quantity, price); ordered by time.
        items: item_id and content.
        shoppers: shopper_id and attributes.
        as_of: a moment after everything.
    """

    rows: pd.DataFrame
    items: pd.DataFrame
    shoppers: pd.DataFrame
    as_of: pd.Timestamp

    @cached_property
    def is_test(self) -> pd.Series:
        """Which rows belong to a test basket."""
        count = self.rows.groupby("shopper_id")["basket_id"].transform("max")
        return (self.rows["basket_id"] == count) & (count >= 3)

    @cached_property
    def past(self) -> pd.DataFrame:
        """Every known row."""
        return self.rows[~self.is_test].reset_index(drop=True)

    @cached_property
    def test(self) -> pd.DataFrame:
        """The test baskets."""
        return self.rows[self.is_test].reset_index(drop=True)

    @cached_property
    def visits(self) -> pd.Series:
        """Moment of each judged user's test basket, by shopper_id, ordered by it."""
        return self.test.groupby("shopper_id", sort=True)["event_time"].first()

    def dataset(self, rules: DataRecipe, before: pd.Timestamp | None = None) -> Dataset:
        """What a recommender is trained on: every known row, or only those before a moment."""
        rows = self.past if before is None else self.past[self.past["event_time"] < before]
        return Dataset.build(
            rows,
            items=self.items,
            shoppers=self.shoppers,
            as_of=before or self.as_of,
            item_content=rules.item_content,
            shopper_attributes=rules.shopper_attributes,
        )


@dataclass(frozen=True)
class _Entry:
    """A row of the table: a baseline or a recipe."""

    name: str
    recommender: str
    config: dict[str, Any]
    rules: DataRecipe = field(default_factory=DataRecipe)
    seed: int = 0


_PLAIN = _Entry("lightfm-plain", "lightfm", {"components": 64, "epochs": 10})


def run(
    protocol: Protocol,
    source: Baskets,
    recipes: Sequence[Recipe],
    *,
    seeds: int,
    peers: bool,
    progress: Callable[[str], None],
) -> PublishedTable:
    """Reproduce the baselines and measure the recipes beside them, in every setting.

    Args:
        protocol: which table.
        source: its rows.
        recipes: ours.
        seeds: train each recipe with so many seeds, counted from the recipe's own; figures are means.
        peers: measure also what a peer's user would use instead.
        progress: told what is being done.

    Raises:
        UsageError: a recipe cannot be trained here, or two bear the same name.
        FacingsError: a recipe cannot learn from the rows.
    """
    baselines = _baselines(protocol)
    distinct_names(recipes, [*(entry.name for entry in baselines), *PEER_NAMES, _PLAIN.name])
    if source.visits.empty:
        raise FacingsError(
            f"{protocol.name}: no user has three baskets, so there is nobody to judge; it is not the raw file."
        )
    entries = [*baselines, *map(_entry, recipes)]
    table = _Table(protocol, source, progress)
    for entry in entries:
        table.measure(entry, 1 if entry in baselines else seeds)
    notes = [*protocol.notes, f"{seeds} seed{'s' * (seeds > 1)} a recipe.", table.ceiling()]
    if peers:
        users = list(source.visits.index)
        found, told = implicit_lists(source.past, users, K)
        for name, lists in found.items():
            table.add_peer(name, lists.whole)
        plain = create(_PLAIN.recommender, _PLAIN.config).fit(source.dataset(_PLAIN.rules))
        table.add_peer(_PLAIN.name, plain.recommend(users, K))
        table.measure(_Entry("popular-7-days", "popularity", {"window_days": 7}), 1)
        notes += told
    return PublishedTable(
        name=protocol.name,
        title=protocol.title.format(
            users=source.rows["shopper_id"].nunique(),
            items=source.rows["item_id"].nunique(),
            rows=len(source.rows),
            judged=len(source.visits),
        ),
        figures=tuple(table.figures),
        differences=tuple(table.differences),
        notes=tuple(notes),
        lists=pd.concat(table.lists, ignore_index=True),
    )


class _Table:
    """Lists, figures and differences as they come."""

    def __init__(self, protocol: Protocol, source: Baskets, progress: Callable[[str], None]) -> None:
        self.protocol, self.source, self.progress = protocol, source, progress
        self.figures: list[Figure] = []
        self.differences: list[Difference] = []
        self.lists: list[pd.DataFrame] = []
        self.pools: dict[str, float] = {}
        self._baseline: dict[str, pd.DataFrame] = {}
        pairs = ["shopper_id", "item_id"]
        self._history = source.past[pairs].drop_duplicates()
        self._blind: dict[tuple[str, int], pd.DataFrame] = {}

    def measure(self, entry: _Entry, seeds: int) -> None:
        """Rank with one row of the table in every setting, and judge."""
        for setting in self.protocol.settings:
            runs = [self._ranked(entry, setting, entry.seed + number) for number in range(seeds)]
            self._record(entry.name, setting, runs)

    def add_peer(self, name: str, lists: pd.DataFrame) -> None:
        """Judge lists that know no date, in the setting of such."""
        self._record(name, self.protocol.settings[0], [lists])

    def ceiling(self) -> str:
        """What no list of ten can pass, and what no order of a recommender's candidates can."""
        sizes = self.source.test.groupby("shopper_id").size().to_numpy()
        note = f"Oracle: ten right items for every user give R {np.mean(np.minimum(K, sizes) / sizes):.4f}"
        pools = [f"all candidates of {name} hold R {value:.4f}" for name, value in self.pools.items()]
        return "; ".join([note, *pools]) + "."

    def _record(self, name: str, setting: str, runs: Sequence[pd.DataFrame]) -> None:
        frames = [judge(lists, self.source.test, self._history, list(self.source.visits.index)) for lists in runs]
        frame = _mean(frames)
        first = setting == self.protocol.settings[0]
        published = self.protocol.published.get(name, {}) if first else {}
        tolerance = self.protocol.tolerance.get(name, {})
        parts = [f"{part}_{metric}" for part in metrics.PARTS for metric in ("recall", "ndcg")]
        for metric in (*_MEASURED, *parts):
            value = float(frame[metric].mean())
            if np.isnan(value):
                continue  # no user's basket has such a part
            self.figures.append(
                Figure(
                    recipe=name,
                    setting=setting,
                    metric=metric,
                    ours=value,
                    reference=published.get(metric),
                    tolerance=tolerance.get(metric, 0.00005),
                )
            )
        self.lists.append(
            runs[0].assign(recipe=name, setting=setting, user=runs[0]["shopper_id"], item=runs[0]["item_id"])[LISTS]
        )
        if name == AGAINST:
            self._baseline[setting] = frame
        elif name != "popular":
            self.differences += [
                difference(frame, self._baseline[setting], recipe=name, against=AGAINST, setting=setting, metric=metric)
                for metric in ("recall", "ndcg")
            ]

    def _ranked(self, entry: _Entry, setting: str, seed: int) -> pd.DataFrame:
        """The lists of one row in one setting: shopper_id, rank, item_id."""
        kind = recommender_class(entry.recommender)
        config, takes_moments = dict(entry.config), kind.capabilities.visit_date
        dated = setting not in (UNKNOWN, DEFAULT)
        if "knows" in kind.Config.model_fields:
            config["knows"] = UNKNOWN if setting == DEFAULT else setting
        elif setting == SAME_DAY and not takes_moments:
            return self._blind[entry.name, seed]
        self.progress(f"{self.protocol.name}: {entry.name}, {setting}, seed {seed}")
        if setting == PAST and not takes_moments:
            return self._by_date(entry, seed)
        model = create(entry.recommender, config).fit(self.source.dataset(entry.rules), seed=seed)
        visits = self.source.visits
        at = {str(user): moment for user, moment in visits.items()} if takes_moments and dated else None
        # asked in order of time, who has the same date comes in one batch; lists do not depend on the order
        asked = list((visits if dated else self._last_known).sort_values(kind="stable").index)
        second_stage = "knows" in kind.Config.model_fields
        found = model.recommend(asked, _POOL if second_stage else K, at=at)
        if second_stage and seed == entry.seed:
            candidates = found[found["score"] > 0]  # every other item stands below
            self.pools[f"{entry.name} ({setting})"] = _share_held(candidates, self.source.test)
        found = found[found["rank"] <= K].reset_index(drop=True)
        if not takes_moments:
            self._blind[entry.name, seed] = found
        return found

    @cached_property
    def _last_known(self) -> pd.Series:
        """Moment of each judged user's last known basket, by shopper_id."""
        last: pd.Series = self.source.past.groupby("shopper_id")["event_time"].max()
        return last[self.source.visits.index]

    def _by_date(self, entry: _Entry, seed: int) -> pd.DataFrame:
        """Train for each date on what lies before it, and rank for the users who come then."""
        parts = []
        for moment, users in self.source.visits.groupby(self.source.visits):
            model = create(entry.recommender, entry.config)
            model.fit(self.source.dataset(entry.rules, pd.Timestamp(moment)), seed=seed)
            parts.append(model.recommend(list(users.index), K))
        return pd.concat(parts, ignore_index=True)


def judge(lists: pd.DataFrame, test: pd.DataFrame, history: pd.DataFrame, users: Sequence[str]) -> pd.DataFrame:
    """Metrics of each user's list as `metrics.evaluate` gives them, with baskets as long as their rows.

    Args:
        lists: shopper_id, rank, item_id.
        test: shopper_id, item_id: every row of the test baskets.
        history: shopper_id, item_id known before.
        users: who is judged, in this order.
    """
    frame = metrics.evaluate(lists, test, k=K, history=history, shoppers=users, ideal="basket")
    groups = test.groupby("shopper_id")["item_id"]
    rows, distinct = (
        values.reindex(pd.Index(users)).to_numpy(np.int64) for values in (groups.size(), groups.nunique())
    )
    perfect = np.cumsum(1 / np.log2(np.arange(2, rows.max() + 2)))
    frame["recall"] *= distinct / rows
    frame["ndcg"] *= perfect[distinct - 1] / perfect[rows - 1]
    return frame


def number_baskets(rows: pd.DataFrame) -> pd.DataFrame:
    """Add basket_id: the number of the row's event_time among the shopper's, from 1."""
    number = rows.groupby("shopper_id")["event_time"].rank("dense").astype(np.int64)
    return rows.assign(basket_id=number)


def _baselines(protocol: Protocol) -> list[_Entry]:
    return [
        _Entry("popular", "popularity", {}),
        _Entry(AGAINST, "personal_frequency", {"ties": "popularity", "fill": protocol.fill}),
    ]


def _entry(recipe: Recipe) -> _Entry:
    if recipe.data.shopper_features:
        raise UsageError(
            f"Recipe {recipe.name} names shopper_features; the benchmark has no feature store, take them out."
        )
    return _Entry(recipe.name, recipe.recommender, recipe.config, recipe.data, recipe.seed)


def _share_held(pool: pd.DataFrame, test: pd.DataFrame) -> float:
    """Mean share of a test basket that is among the listed items."""
    held = test.merge(pool[["shopper_id", "item_id"]], on=["shopper_id", "item_id"], how="left", indicator=True)
    return float((held["_merge"] == "both").groupby(held["shopper_id"]).mean().mean())


def _mean(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Mean of each user's metrics over seeds."""
    if not frames:
        raise FacingsError("There is nothing to average; measure with at least one seed.")
    whole = frames[0].copy()
    columns = [column for column in whole.columns if column != "shopper_id"]
    whole[columns] = sum(frame[columns].to_numpy(np.float64) for frame in frames) / len(frames)
    return whole
