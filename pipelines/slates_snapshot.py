"""The slates of one model: for each shopper the best candidates, with score, reason and odds.

A model that can fold in lies beside them, for shoppers who did something since it was trained. Where a value model was
trained beside it, candidates are the recommender's best and those that are most worth showing, and for each place
(neighbourhood, store, chain) the odds of an average shopper there are kept as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from configs.errors import FacingsError
from models.base import Recommender
from models.reasons import Reason
from pipelines.offers.value.kept import Kept, odds_of
from pipelines.packed import MAX_ITEMS, NOBODY, REASON_CODES, LmdbFile, Ranked, key_of, pack, unpack, write_lmdb

FILE, PLACES = "slates.mdb", "places.mdb"
ITEMS = "item_ids.npy"
MODEL = "model"
_TABLE, _PLACES = "slates", "places"
_BATCH = 1024


def write_slates(
    folder: Path,
    model: Recommender,
    candidates: int,
    progress: Callable[[str], None],
    value: Kept | None = None,
) -> dict[str, Any]:
    """Write the candidates of every shopper that the model knows; return facts for the snapshot's meta."""
    if len(model.item_ids) > MAX_ITEMS:
        raise FacingsError(
            f"A slate can name {MAX_ITEMS:,} items, the model has {len(model.item_ids):,}; train on fewer."
        )
    np.save(folder / ITEMS, np.asarray(model.item_ids.astype(str), dtype=np.str_), allow_pickle=False)
    if model.capabilities.fold_in:
        model.save(folder / MODEL)
    pairs = _pairs(model, candidates, progress) if value is None else _valued(model, candidates, value, progress)
    counts = write_lmdb(folder / FILE, {_TABLE: sorted(pairs)})
    places = write_lmdb(folder / PLACES, {_PLACES: [] if value is None else _places(model, value)})
    return {
        "shoppers": counts[_TABLE],
        "items": len(model.item_ids),
        "candidates": candidates,
        "value": value is not None,
        "entries": {FILE: counts, PLACES: places},
    }


def _pairs(model: Recommender, candidates: int, progress: Callable[[str], None]) -> Iterator[tuple[bytes, bytes]]:
    for _, lists in _lists(model, candidates, progress):
        for name, ranked in _ranked(model, lists):
            yield key_of(name), pack(ranked)


def _lists(
    model: Recommender, candidates: int, progress: Callable[[str], None]
) -> Iterator[tuple[list[str], pd.DataFrame]]:
    """Batches of shoppers and their lists."""
    shoppers = list(model.shopper_ids)
    for start in range(0, len(shoppers), _BATCH):
        batch = shoppers[start : start + _BATCH]
        yield batch, model.recommend(batch, candidates)
        progress(f"slates of {min(start + _BATCH, len(shoppers)):,} of {len(shoppers):,} shoppers")


def _ranked(model: Recommender, lists: pd.DataFrame) -> Iterator[tuple[str, Ranked]]:
    items = model.item_ids.get_indexer(pd.Index(lists["item_id"])).astype(np.int32)
    scores = lists["score"].to_numpy(np.float32)
    reasons = lists["reason"].map(REASON_CODES).to_numpy().astype(np.uint8)
    names = lists["shopper_id"].to_numpy(object)
    for part in _runs(names):
        yield str(names[part.start]), Ranked(items[part], scores[part], reasons[part])


def _runs(names: npt.NDArray[Any]) -> Iterator[slice]:
    starts = np.flatnonzero(np.r_[True, names[1:] != names[:-1]]) if len(names) else np.zeros(0, np.int64)
    for low, high in pairwise([*starts, len(names)]):
        yield slice(int(low), int(high))


def _valued(
    model: Recommender, candidates: int, value: Kept, progress: Callable[[str], None]
) -> Iterator[tuple[bytes, bytes]]:
    """The first of the recommender's list that value has not replaced, with odds, then what value adds."""
    for batch, lists in _lists(model, candidates, progress):
        frame = value.of_shoppers(batch)
        told = odds_of(frame)
        places = model.item_ids.get_indexer(pd.Index(frame["item_id"].to_numpy())).astype(np.int32)
        names = frame["shopper_id"].to_numpy()
        worth = {str(names[part.start]): (places[part], told[part]) for part in _runs(names)}
        own = dict(_ranked(model, lists))
        for row, name in zip(model.shopper_ids.get_indexer(pd.Index(batch)), batch, strict=True):
            ranked = own.get(name)
            if name in worth:
                bought = model.history[row].indices
                ranked = _joined(NOBODY if ranked is None else ranked, *worth[name], bought, candidates)
            if ranked is not None:
                yield key_of(name), pack(ranked)


def _joined(
    own: Ranked, items: npt.NDArray[np.int32], odds: npt.NDArray[np.float16], bought: npt.NDArray[Any], most: int
) -> Ranked:
    known = items >= 0
    items, odds = items[known], odds[known]
    half = np.arange(len(own)) < most - most // 2
    own = own.take(half | np.isin(own.items, items))
    order = np.argsort(items, kind="stable")
    at = order[np.minimum(np.searchsorted(items[order], own.items), len(items) - 1)] if len(items) else order
    told = np.full((len(own), odds.shape[1]), np.nan, np.float16)
    if len(items):
        hit = items[at] == own.items
        told[hit] = odds[at[hit]]
    extra = ~np.isin(items, own.items)
    extra &= np.cumsum(extra) <= max(0, most - len(own))
    last = float(own.scores.min()) if len(own) else 0.0
    again = np.isin(items[extra], bought)
    codes = np.where(again, REASON_CODES[Reason.BOUGHT_BEFORE], REASON_CODES[Reason.SIMILAR_TASTE])
    return Ranked(
        np.concatenate([own.items, items[extra]]),
        np.concatenate([own.scores, np.full(int(extra.sum()), last - 1.0, np.float32)]).astype(np.float32),
        np.concatenate([own.reasons, codes.astype(np.uint8)]),
        np.concatenate([told, odds[extra]]),
    )


def _places(model: Recommender, value: Kept) -> Iterator[tuple[bytes, bytes]]:
    for level, frame in value.of_places():
        items = model.item_ids.get_indexer(pd.Index(frame["item_id"].to_numpy())).astype(np.int32)
        known = items >= 0
        none, code = np.zeros(int(known.sum()), np.float32), REASON_CODES[Reason.POPULAR]
        yield key_of(level), pack(Ranked(items[known], none, np.full(len(none), code, np.uint8), odds_of(frame)[known]))


class Slates:
    """Read-only access to one slates snapshot. Positions are those of its own `item_ids`."""

    def __init__(self, folder: Path) -> None:
        self._file = LmdbFile(folder / FILE, [_TABLE])
        self._places = LmdbFile(folder / PLACES, [_PLACES])
        self.item_ids: npt.NDArray[np.str_] = np.load(folder / ITEMS, mmap_mode="r", allow_pickle=False)

    def candidates(self, shopper_id: str) -> Ranked:
        """Return a shopper's candidates; none for one who was not in the training data."""
        content = self._file.get(_TABLE, key_of(shopper_id))
        return NOBODY if content is None else unpack(content)

    def place(self, level: str) -> Ranked:
        """Items with the odds of an average shopper of `home:STORE`, `store:STORE` or `chain`; they bear no order."""
        content = self._places.get(_PLACES, key_of(level))
        return NOBODY if content is None else unpack(content)

    def close(self) -> None:
        """Let the files go."""
        self._file.close()
        self._places.close()
