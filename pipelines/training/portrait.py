"""What a candidate's lists look like, apart from what was bought of them: soundness, reach, exposure, scores.

A portrait is small, whatever the number of shoppers, so that the champion's can be laid beside the challenger's.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from models.dataset import Dataset, FloatArray
from pipelines.training.evaluate import Test
from pipelines.training.slices import ITEM_SLICES, NEW_DAYS

QUANTILES = np.linspace(0, 1, 101)
ELSE = "others"  # shoppers who bought nothing in the test window
_MOST_ELSE = 500
_ENOUGH_NEW = 3  # a shopper who bought so many new items in the window is foreseen whole by no accident


class Learned(BaseModel):
    """What a model was made of, written beside it when it was trained."""

    model_config = ConfigDict(frozen=True)

    newest: datetime = Field(description="the newest signal it learned from, UTC")
    signals: int
    features: dict[str, float] = Field(
        default_factory=dict, description="share of the shoppers of the last four weeks of whom a feature is known"
    )  # fmt: skip

    @classmethod
    def of(cls, dataset: Dataset) -> Learned:
        """What a model learns from this dataset."""
        past = dataset.interactions
        late = past["shopper_id"][past["event_time"] >= dataset.as_of - pd.Timedelta(days=NEW_DAYS)].unique()
        recent = dataset.shoppers[dataset.shoppers["shopper_id"].isin(late)]
        known = {name: float(recent[name].notna().mean()) for name in dataset.dated_attributes if len(recent)}
        return cls(newest=past["event_time"].max().to_pydatetime(), signals=len(past), features=known)


class Portrait(BaseModel):
    """See the module."""

    model_config = ConfigDict(frozen=True)

    as_of: datetime | None = Field(description="up to when the model says that it knows; null: it cannot be asked")
    learned: Learned | None = Field(description="null: an artifact of an earlier version")
    broken: str | None = Field(description="why it could not be asked for lists")
    faults: dict[str, int] = Field(description="places that no list may have, by what is wrong with them")
    served: dict[str, float] = Field(description="share of the shoppers who get a list, by slice")
    asked: dict[str, int] = Field(description="how many shoppers were asked for, by slice")
    full: float = Field(description="share of the lists of those served that are as long as they can be")
    in_stock: float | None = Field(description="share of the places that the shopper's store has in stock")
    places: int
    effective: float = Field(description="exp of the entropy of the items' shares of places: as if so many alike")
    distance: float = Field(description="1 - the expected share of places that two shoppers' lists have in common")
    head: float = Field(description="share of the places that hold one of the k best sold items")
    item_slices: dict[str, float] = Field(description="share of the places of each slice of items")
    makers: dict[str, float] = Field(description="share of the places by maker")
    flat: float = Field(description="share of the lists of two items and more whose scores are all alike")
    scores: list[float] = Field(description="quantiles of the scores less their mean, in standard deviations")
    foreseen: float = Field(
        description="share of the shoppers with three new items and more in the window whose list names as many as fit"
    )
    could_be_foreseen: int

    @property
    def measurable(self) -> bool:
        """Whether the lists are such that metrics can be computed of them."""
        worst = {"item twice in a list", "rank out of order", "score that is no number"}
        return self.broken is None and not worst & set(self.faults)


def portray(
    lists: pd.DataFrame,
    test: Test,
    slices: Mapping[str, npt.NDArray[np.bool_]],
    *,
    others: list[str],
    as_of: datetime | None = None,
    learned: Learned | None = None,
    broken: str | None = None,
) -> Portrait:
    """Look at lists.

    Args:
        lists: shopper_id, rank, item_id, score, of the shoppers of the test and of `others`; cut at test.k.
        test: what is known of the shop.
        slices: who of test.shoppers is in which slice.
        others: shoppers asked for who are not of the test.
        as_of, learned: what the model says of itself.
        broken: why there are no lists.
    """
    names = lists["shopper_id"].to_numpy(object)
    served = set(names)
    groups = {name: np.asarray(test.shoppers, dtype=object)[inside] for name, inside in slices.items()}
    groups = {"all": np.asarray(test.shoppers, dtype=object), **groups, ELSE: np.asarray(others, dtype=object)}
    groups = {name: members for name, members in groups.items() if len(members)}
    sizes = lists.groupby("shopper_id", sort=False)["item_id"].size()
    longest = min(test.k, test.items)
    counts = lists["item_id"].value_counts()
    shares = counts.to_numpy(np.float64) / max(1, len(lists))
    best = test.popularity.sort_index().sort_values(ascending=False, kind="stable").index[: test.k]
    foreseen, could = _foreseen(lists, test)
    return Portrait(
        as_of=as_of,
        learned=learned,
        broken=broken,
        faults=_faults(lists, test),
        served={name: float(np.mean([one in served for one in members])) for name, members in groups.items()},
        asked={name: len(members) for name, members in groups.items()},
        full=float((sizes >= longest).mean()) if len(sizes) else 0.0,
        in_stock=_in_stock(lists, test),
        places=len(lists),
        effective=float(np.exp(-(shares * np.log(shares)).sum())) if len(shares) else 0.0,
        distance=_distance(counts, len(sizes), test.k),
        head=float(lists["item_id"].isin(best).mean()) if len(lists) else 0.0,
        item_slices={
            name: float(lists["item_id"].isin(test.item_slices[name]).mean()) if len(lists) else 0.0
            for name in ITEM_SLICES
            if name in test.item_slices
        },
        makers={} if test.makers is None else _makers(lists, test.makers),
        flat=_flat(lists),
        scores=_spread(lists["score"].to_numpy(np.float64)),
        foreseen=foreseen,
        could_be_foreseen=could,
    )


def ask_also(test: Test) -> list[str]:
    """Up to 500 shoppers who bought before the cut and not in the test window, spread evenly over the ids."""
    quiet = sorted(set(test.counts.index) - set(test.shoppers))
    return quiet[:: max(1, -(-len(quiet) // _MOST_ELSE))]


def drift(before: list[float], now: list[float]) -> float:
    """How far two distributions lie apart, given by their QUANTILES: the mean distance of like quantiles.

    The Wasserstein distance (Villani, Optimal Transport, 2009), here in standard deviations. A stability index over
    bins would leap where scores are counts, as many equal values cross the edge of a bin together.

    >>> drift([0.0, 1.0], [0.0, 1.0]), drift([0.0, 1.0], [0.5, 1.5])
    (0.0, 0.5)
    """
    return float(np.abs(np.asarray(before) - np.asarray(now)).mean()) if before and now else 0.0


def _faults(lists: pd.DataFrame, test: Test) -> dict[str, int]:
    rank, score = lists["rank"].to_numpy(np.int64), lists["score"].to_numpy(np.float64)
    ordered = lists.sort_values(["shopper_id", "rank"], kind="stable")
    follows = ordered["shopper_id"].to_numpy(object)[1:] == ordered["shopper_id"].to_numpy(object)[:-1]
    steps = np.diff(ordered["rank"].to_numpy(np.int64))
    with np.errstate(invalid="ignore"):
        rises = np.diff(ordered["score"].to_numpy(np.float64)) > 0
    found = {
        "score that is no number": int((~np.isfinite(score)).sum()),
        "item twice in a list": int(lists.duplicated(["shopper_id", "item_id"]).sum()),
        "rank out of order": int(((rank < 1) | (rank > test.k)).sum() + (steps[follows] != 1).sum()),
        "score above that of a better rank": int((rises & follows).sum()),
        "item that may not be recommended": int((~lists["item_id"].isin(test.allowed)).sum()),
        "blocked item": int(lists["item_id"].isin(test.blocked).sum()),
    }
    return {name: count for name, count in found.items() if count}


def _distance(counts: pd.Series, lists: int, k: int) -> float:
    """1 - the mean over pairs of lists of |common items| / k, from the counts alone: Σ c (c - 1) / (n (n - 1) k)."""
    if lists < 2:
        return 0.0
    number = counts.to_numpy(np.float64)
    return float(1 - (number * (number - 1)).sum() / (lists * (lists - 1) * k))


def _makers(lists: pd.DataFrame, makers: pd.Series) -> dict[str, float]:
    shares = lists["item_id"].map(makers).value_counts() / max(1, len(lists))
    return {str(maker): float(share) for maker, share in shares.sort_index().items()}


def _flat(lists: pd.DataFrame) -> float:
    grouped = lists.groupby("shopper_id", sort=False)["score"].agg(["size", "nunique"])
    several = grouped[grouped["size"] > 1]
    return float((several["nunique"] <= 1).mean()) if len(several) else 0.0


def _spread(scores: FloatArray) -> list[float]:
    known = scores[np.isfinite(scores)]
    if len(known) == 0:
        return []
    deviation = float(known.std())
    return [float(value) for value in np.quantile((known - known.mean()) / (deviation or 1.0), QUANTILES)]


def _in_stock(lists: pd.DataFrame, test: Test) -> float | None:
    if test.stock is None or test.stores.empty:
        return None
    store = lists["shopper_id"].map(test.stores)
    placed = pd.MultiIndex.from_arrays([store[store.notna()], lists["item_id"][store.notna()]])
    held = pd.MultiIndex.from_frame(test.stock[["store_id", "item_id"]])
    return float(placed.isin(held).mean()) if len(placed) else None


def _foreseen(lists: pd.DataFrame, test: Test) -> tuple[float, int]:
    """Of the shoppers with enough new items in the window, those whose list names as many of them as it has places."""
    keys = ["shopper_id", "item_id"]
    bought = test.history[test.history["shopper_id"].isin(test.shoppers)]
    old: pd.MultiIndex = pd.MultiIndex.from_frame(bought[keys])
    truth: pd.MultiIndex = pd.MultiIndex.from_frame(test.truth[keys])
    new = test.truth[~truth.isin(old)]
    wanted = new.groupby("shopper_id").size()
    wanted = wanted[wanted >= _ENOUGH_NEW].clip(upper=test.k)
    if wanted.empty:
        return 0.0, 0
    listed: pd.MultiIndex = pd.MultiIndex.from_frame(lists[keys])
    hits: Any = lists[listed.isin(pd.MultiIndex.from_frame(new[keys]))].groupby("shopper_id").size()
    return float((hits.reindex(wanted.index).fillna(0) >= wanted).mean()), len(wanted)
