"""Measure a trained model on the test window of the time split, shopper by shopper."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from models import metrics
from models.base import Recommender
from models.dataset import Dataset
from pipelines.training.slices import home_stores, item_slices

SLICE_METRICS = ("recall", "ndcg")


@dataclass(frozen=True)
class Test:
    """What every candidate of one run is measured on.

    Attributes:
        truth: shopper_id, item_id: the pairs bought in the test window that may be recommended at all.
        history: shopper_id, item_id: the pairs bought before the cut.
        counts: interactions before the cut, indexed by shopper_id.
        popularity: interactions before the cut, indexed by item_id.
        categories: category of each item, indexed by item_id; missing where unknown.
        attributes: shopper_id and attribute columns, for shoppers that a model did not see in training.
        item_slices: item ids by the name of a slice of items.
        stores: the store where a shopper bought most before the cut, indexed by shopper_id; empty where none is known.
        makers: maker of each item, indexed by item_id; None where none is known.
        sales: purchases before the cut by maker; empty without makers.
        newest: when the newest purchase before the cut was made.
        allowed: the items that may be recommended.
        blocked: items that may be shown nowhere, as of now.
        stock: store_id, item_id: what is in stock now; None: no stock table was ever ingested.
        k: length of the lists.
    """

    truth: pd.DataFrame
    history: pd.DataFrame
    counts: pd.Series
    popularity: pd.Series
    categories: pd.Series | None
    attributes: pd.DataFrame
    item_slices: Mapping[str, pd.Index]
    stores: pd.Series
    makers: pd.Series | None
    sales: pd.Series
    newest: pd.Timestamp
    allowed: pd.Index[Any]
    blocked: pd.Index[Any]
    stock: pd.DataFrame | None
    k: int

    @property
    def items(self) -> int:
        """How many items may be recommended."""
        return len(self.allowed)

    @property
    def shoppers(self) -> list[str]:
        """Whoever bought something in the test window, ordered by id."""
        return sorted(self.truth["shopper_id"].unique())


def make_test(
    dataset: Dataset,
    later: pd.DataFrame,
    k: int,
    *,
    blocked: Iterable[str] = (),
    stock: pd.DataFrame | None = None,
) -> Test:
    """Make the test from what was known at the cut and the purchases of the test window.

    Args:
        dataset: the purchases before the cut, with items and shoppers.
        later: purchases of the test window: shopper_id, item_id.
        k: length of the lists.
        blocked: items that may be shown nowhere.
        stock: store_id, item_id: what is in stock; None: it is not known.
    """
    never = pd.Index(dataset.items["item_id"][~dataset.recommendable])
    pairs = later[["shopper_id", "item_id"]].drop_duplicates()
    past = dataset.interactions
    described = dataset.items.set_index("item_id")
    categories = described["category"] if "category" in described.columns else None
    makers = described["maker_id"].dropna() if "maker_id" in described.columns else pd.Series(dtype=object)
    return Test(
        truth=pairs[~pairs["item_id"].isin(never)].reset_index(drop=True),
        history=past[["shopper_id", "item_id"]].drop_duplicates().reset_index(drop=True),
        counts=past["shopper_id"].value_counts(),
        popularity=past["item_id"].value_counts(),
        categories=categories,
        attributes=dataset.shoppers,
        item_slices=item_slices(past, dataset.items, pairs, dataset.as_of),
        stores=home_stores(past),
        makers=makers if len(makers) else None,
        sales=past["item_id"].map(makers).value_counts(),
        newest=past["event_time"].max(),
        allowed=pd.Index(dataset.items["item_id"][dataset.recommendable]),
        blocked=pd.Index(sorted(set(blocked)), dtype=object),
        stock=stock,
        k=k,
    )


def measure(model: Recommender, test: Test) -> tuple[pd.DataFrame, dict[str, float]]:
    """Rank for everybody of the test and measure the lists; see `measure_lists`."""
    return measure_lists(model.recommend(test.shoppers, test.k, attributes=test.attributes), test)


def measure_lists(lists: pd.DataFrame, test: Test) -> tuple[pd.DataFrame, dict[str, float]]:
    """Return the metrics of each shopper (one row each, shopper_id first) and of the lists as a whole.

    A shopper whom the model cannot serve counts with zeros: an empty list is a bad list. Of the repeat_, new_ and
    item_ columns, means are over the shoppers who have such purchases in the test window.
    """
    shoppers = test.shoppers
    frame = metrics.evaluate(lists, test.truth, k=test.k, history=test.history, shoppers=shoppers)
    for name, members in test.item_slices.items():
        part = test.truth[test.truth["item_id"].isin(members)]
        own = metrics.evaluate(lists, part, k=test.k, shoppers=shoppers)
        for metric in SLICE_METRICS:
            frame[f"{name}_{metric}"] = own[metric]
    whole = metrics.summary(lists, k=test.k, n_items=test.items, popularity=test.popularity, categories=test.categories)
    means = frame.drop(columns="shopper_id").mean()
    found = {str(name): float(value) for name, value in means.items()}
    return frame, {**found, **whole, "shoppers": float(len(frame))}
