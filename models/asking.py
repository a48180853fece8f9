"""What a recommender can be asked, what one call asks for, checked, and the lists that it gives back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from configs.errors import FacingsError, UsageError
from models.dataset import BoolArray, FloatArray, IntArray
from models.ranking import top_k
from models.reasons import Reason

MAX_K = 10_000
COLUMNS = ["shopper_id", "rank", "item_id", "score", "reason"]


@dataclass(frozen=True)
class Capabilities:
    """What a recommender can do, declared instead of found out by failure."""

    cold_shoppers: bool  # serves a shopper who was not in the training data
    cold_items: bool  # can rank an item that nobody bought above others, by its content
    fold_in: bool  # takes a shopper's newest events at request time, without a refit
    repeats: bool  # recommends what the shopper bought before (else such items are left out)
    visit_date: bool = False  # uses the moment of a shopper's visit where `recommend` is told it


@dataclass(frozen=True)
class Events:
    """A shopper's newest events as a recommender that can fold in takes them.

    Attributes:
        items: columns of the items, the oldest event first; shape (events,), at least one.
        age_days: days from each event to the moment of the request, 0 or above, falling; shape (events,).
        bought: whether each is a purchase; what was only looked at tells of a taste, and is no repeat; shape (events,).
        watched: whether each is a content that was watched, which shows the item; shape (events,).
    """

    items: IntArray
    age_days: FloatArray
    bought: BoolArray
    watched: BoolArray

    def purchases(self) -> Events:
        """The purchases alone; there may be none."""
        kept = self.bought
        return Events(self.items[kept], self.age_days[kept], self.bought[kept], self.watched[kept])


@dataclass(frozen=True)
class Request:
    """What one call asks for, apart from the shoppers."""

    k: int
    new_only: bool
    allowed: BoolArray  # shape (items,)
    exclude: Mapping[str, Sequence[str]]
    attributes: pd.DataFrame | None
    explain: bool


class _Ranker(Protocol):
    """What is needed of a recommender here."""

    item_ids: pd.Index
    recommendable: BoolArray

    @property
    def name(self) -> str: ...


def make_request(
    model: _Ranker,
    k: int,
    new_only: bool,
    candidates: Sequence[str] | None,
    exclude: Mapping[str, Sequence[str]] | None,
    attributes: pd.DataFrame | None,
    explain: bool,
) -> tuple[Request, int]:
    """Check what a model is asked; also return how many of the candidates it does not know.

    Raises:
        UsageError: k is out of range.
    """
    if not 1 <= k <= MAX_K:
        raise UsageError(f"k is {k}; it must lie between 1 and {MAX_K}.")
    allowed = model.recommendable.copy()
    unknown = 0
    if candidates is not None:
        columns = model.item_ids.get_indexer(pd.Index(list(candidates), dtype=object))
        unknown = int((columns < 0).sum())
        named = np.zeros(len(allowed), dtype=bool)
        named[columns[columns >= 0]] = True
        allowed &= named
    return Request(k, new_only, allowed, exclude or {}, attributes, explain), unknown


def group_events(
    item_ids: pd.Index[Any], events: pd.DataFrame, asked: pd.Index[Any], now: pd.Timestamp | None
) -> tuple[list[Events], int]:
    """The events of each asked shopper, oldest first, and how many of all name an unknown item.

    Without a column event_type, all are purchases.

    Raises:
        UsageError: an event lies after `now`.
    """
    times = events["event_time"]
    moment = times.max() if now is None else now
    if (times > moment).any():
        raise UsageError(f"{int((times > moment).sum())} events lie after {moment}; give a later `now`.")
    columns = item_ids.get_indexer(pd.Index(events["item_id"].astype(str), dtype=object)).astype(np.int64)
    ages = ((moment - times).dt.total_seconds() / 86_400).to_numpy(np.float64)
    every = pd.Series("purchase", index=events.index)
    kinds = events.get("event_type", every).to_numpy(dtype=object)
    bought, watched = (np.asarray(kinds == kind, dtype=bool) for kind in ("purchase", "content_view"))
    owners = asked.get_indexer(pd.Index(events["shopper_id"].astype(str), dtype=object))
    order = np.lexsort((-ages, owners))
    order = order[columns[order] >= 0]
    bounds = np.searchsorted(owners[order], np.arange(len(asked) + 1))
    own = [order[start:end] for start, end in pairwise(bounds)]
    grouped = [Events(columns[part], ages[part], bought[part], watched[part]) for part in own]
    return grouped, int((columns < 0).sum())


def tell_events(
    reasons: npt.NDArray[np.object_], about: npt.NDArray[np.object_], events: Sequence[Events], columns: IntArray
) -> None:
    """Write over reasons, and what they are about, where the newest events bought or watched a shown item."""
    for line, own in enumerate(events):
        repeat = np.isin(reasons[line], (str(Reason.BOUGHT_BEFORE), str(Reason.DUE_AGAIN)))
        seen = np.isin(columns[line], own.items[own.watched]) & ~repeat
        named = np.isin(columns[line], own.items[own.bought])
        reasons[line, seen], about[line, seen] = str(Reason.WATCHED), ""
        reasons[line, named], about[line, named] = str(Reason.BOUGHT_BEFORE), ""


def select(
    model: _Ranker,
    ids: pd.Index[Any],
    scores: FloatArray,
    request: Request,
    unwanted: Sequence[IntArray] | None = None,
) -> tuple[IntArray, FloatArray]:
    """The best k of what may be shown to each shopper: columns and scores, as `top_k` gives them.

    Args:
        model: whose scores they are.
        ids: shoppers, one a row of `scores`.
        scores: shape (shoppers, items); it is overwritten.
        request: what is asked.
        unwanted: columns to leave out for each shopper; None: none.

    Raises:
        FacingsError: the model is broken: a score is not a number.
    """
    if np.isnan(scores).any():
        raise FacingsError(f"Recommender {model.name} gave a score that is not a number; train it again.")
    scores = np.asarray(scores, dtype=np.float64)
    scores[:, np.flatnonzero(~request.allowed)] = -np.inf
    scores[left_out(model.item_ids, ids, request, unwanted)] = -np.inf
    return top_k(scores, request.k)


def left_out(
    item_ids: pd.Index[Any], ids: pd.Index[Any], request: Request, unwanted: Sequence[IntArray] | None
) -> tuple[IntArray, IntArray]:
    """Rows and columns of what is left out for single shoppers; arguments as in `select`."""
    columns = [np.zeros(0, dtype=np.int64)] * len(ids) if unwanted is None else list(unwanted)
    for line, shopper in enumerate(ids):
        excluded = request.exclude.get(shopper)
        if excluded is not None:
            own = item_ids.get_indexer(pd.Index(list(excluded), dtype=object))
            columns[line] = np.concatenate([columns[line], own[own >= 0]])
    lines = np.repeat(np.arange(len(ids)), [len(own) for own in columns])
    return lines, np.concatenate([*columns, np.zeros(0, dtype=np.int64)]).astype(np.int64)


def as_table(
    ids: pd.Index[Any],
    positions: IntArray,
    chosen: tuple[pd.Index[Any], IntArray, FloatArray],
    reasons: npt.NDArray[np.object_],
    about: npt.NDArray[np.object_] | None = None,
) -> pd.DataFrame:
    """One row for each listed item; `chosen` is all item ids, the listed columns (-1: none) and their scores."""
    item_ids, columns, values = chosen
    line_of, slot_of = np.nonzero(columns >= 0)
    return pd.DataFrame(
        {
            "position": positions[line_of],
            "shopper_id": ids[line_of],
            "rank": slot_of + 1,
            "item_id": item_ids[columns[line_of, slot_of]],
            "score": values[line_of, slot_of],
            "reason": reasons[line_of, slot_of],
            "about": "" if about is None else about[line_of, slot_of],
        }
    )


def distinct_ids(shopper_ids: Sequence[str]) -> pd.Index[Any]:
    """Ids as text, in the order given.

    Raises:
        UsageError: one is named twice.
    """
    asked: pd.Index[Any] = pd.Index([str(shopper) for shopper in shopper_ids], dtype=object)
    if asked.has_duplicates:
        raise UsageError(f"Shopper {asked[asked.duplicated()][0]!r} is named more than once.")
    return asked


def seconds_of(asked: pd.Index[Any], at: Mapping[str, pd.Timestamp]) -> FloatArray:
    """Moment of each asked shopper's visit in seconds since 1970; NaN where it is not known."""
    return np.array([at[who].timestamp() if who in at else np.nan for who in asked], dtype=np.float64)


def join_lists(frames: Sequence[pd.DataFrame], explain: bool, **fallbacks: int) -> pd.DataFrame:
    """All lists in the order of the shoppers asked for."""
    shown = [*COLUMNS, *(["about"] if explain else [])]
    if frames:
        whole = pd.concat(frames, ignore_index=True)
        order = np.lexsort((whole["rank"].to_numpy(), whole["position"].to_numpy()))
        lists = whole.iloc[order].reset_index(drop=True)[shown]
    else:
        types = {"rank": "int64", "score": "float64"}
        lists = pd.DataFrame({column: pd.Series([], dtype=types.get(column, "object")) for column in shown})
    lists.attrs["fallbacks"] = fallbacks
    return lists


def attributes_of(ids: pd.Index[Any], attributes: pd.DataFrame | None) -> pd.DataFrame:
    """One row for each id, in order; what is not known is missing."""
    base = pd.DataFrame({"shopper_id": ids})
    if attributes is None:
        return base
    known = attributes.assign(shopper_id=attributes["shopper_id"].astype(str).astype(object))
    if known["shopper_id"].duplicated().any():
        raise UsageError("The attributes name a shopper more than once; give one row for each.")
    return base.merge(known, on="shopper_id", how="left", validate="one_to_one")
