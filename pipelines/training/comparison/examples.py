"""A few shoppers of the test with what they bought before, what they bought then, and every recipe's list."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipelines.training.comparison.measure import Measured
from pipelines.training.evaluate import Test
from pipelines.training.gate import slice_shoppers

SHOWN = 20
_HISTORY = 10


@dataclass(frozen=True)
class Past:
    """An item that a shopper bought before the cut."""

    title: str
    times: int
    days_ago: int


@dataclass(frozen=True)
class Place:
    """One place of a list; `hit`: bought in the test window, `again`: bought before."""

    title: str
    reason: str
    hit: bool
    again: bool


@dataclass(frozen=True)
class Example:
    """One shopper, numbered on the page: their id stays out of it."""

    number: int
    slice: str
    purchases: int
    past: list[Past]
    bought: list[str]
    lists: dict[str, list[Place]]


def examples(
    measured: dict[str, Measured], test: Test, past: pd.DataFrame, cut: pd.Timestamp, titles: pd.Series, *, seed: int
) -> list[Example]:
    """Choose SHOWN shoppers by chance, those of each slice in turn, and show them.

    Args:
        measured: whose lists are shown.
        test: what they are measured on.
        past: purchases before the cut: shopper_id, item_id, event_time.
        cut: UTC.
        titles: what an item is called, indexed by item_id; one without a title goes by its id.
        seed: of the choice.
    """
    slices = slice_shoppers(test.shoppers, test.counts)
    chosen = _chosen(slices, np.random.default_rng(seed))
    own = past[past["shopper_id"].isin(chosen)]
    places = {
        label: dict(list(found.lists[found.lists["shopper_id"].isin(chosen)].groupby("shopper_id")))
        for label, found in measured.items()
    }
    shown = []
    for number, shopper in enumerate(chosen, start=1):
        before = own[own["shopper_id"] == shopper]
        bought = list(test.truth.loc[test.truth["shopper_id"] == shopper, "item_id"])
        known = set(before["item_id"])
        lists = {
            label: _places(by_shopper.get(shopper), titles, set(bought), known) for label, by_shopper in places.items()
        }
        shown.append(
            Example(
                number=number,
                slice=str(slices[shopper]),
                purchases=len(before),
                past=_past(before, cut, titles),
                bought=sorted(_title(item, titles) for item in bought),
                lists=lists,
            )
        )
    return shown


def _chosen(slices: pd.Series, random: np.random.Generator) -> list[str]:
    """One of each slice in turn, so that rare ones are seen too."""
    queues = []
    for name in ("heavy", "light", "cold"):
        ids = sorted(slices.index[slices == name])
        queues.append([ids[place] for place in random.permutation(len(ids))])
    chosen: list[str] = []
    while len(chosen) < SHOWN and any(queues):
        chosen += [queue.pop() for queue in queues if queue]
    return chosen[:SHOWN]


def _past(before: pd.DataFrame, cut: pd.Timestamp, titles: pd.Series) -> list[Past]:
    """The items bought last, the newest first."""
    if before.empty:
        return []
    of = before.groupby("item_id")["event_time"].agg(["size", "max"]).reset_index()
    newest = of.sort_values(["max", "item_id"], ascending=[False, True]).head(_HISTORY)
    return [
        Past(title=_title(item, titles), times=int(times), days_ago=int((cut - last) / pd.Timedelta(days=1)))
        for item, times, last in newest.itertuples(index=False)
    ]


def _places(own: pd.DataFrame | None, titles: pd.Series, bought: set[str], known: set[str]) -> list[Place]:
    if own is None:
        return []
    return [
        Place(title=_title(item, titles), reason=str(reason), hit=item in bought, again=item in known)
        for item, reason in own.sort_values("rank")[["item_id", "reason"]].itertuples(index=False)
    ]


def _title(item: str, titles: pd.Series) -> str:
    title = titles.get(item)
    return str(title) if isinstance(title, str) and title else str(item)
