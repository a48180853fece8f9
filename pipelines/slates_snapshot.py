"""The slates of one model: for each shopper the best candidates, with score and reason.

A model that can fold in lies beside them, for shoppers who did something since it was trained.
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
from pipelines.packed import MAX_ITEMS, NOBODY, REASON_CODES, LmdbFile, Ranked, key_of, pack, unpack, write_lmdb

FILE = "slates.mdb"
ITEMS = "item_ids.npy"
MODEL = "model"
_TABLE = "slates"
_BATCH = 1024


def write_slates(folder: Path, model: Recommender, candidates: int, progress: Callable[[str], None]) -> dict[str, Any]:
    """Write the candidates of every shopper that the model knows; return facts for the snapshot's meta."""
    if len(model.item_ids) > MAX_ITEMS:
        raise FacingsError(
            f"A slate can name {MAX_ITEMS:,} items, the model has {len(model.item_ids):,}; train on fewer."
        )
    np.save(folder / ITEMS, np.asarray(model.item_ids.astype(str), dtype=np.str_), allow_pickle=False)
    if model.capabilities.fold_in:
        model.save(folder / MODEL)
    counts = write_lmdb(folder / FILE, {_TABLE: sorted(_pairs(model, candidates, progress))})
    return {
        "shoppers": counts[_TABLE],
        "items": len(model.item_ids),
        "candidates": candidates,
        "entries": {FILE: counts},
    }


def _pairs(model: Recommender, candidates: int, progress: Callable[[str], None]) -> Iterator[tuple[bytes, bytes]]:
    shoppers = list(model.shopper_ids)
    for start in range(0, len(shoppers), _BATCH):
        lists = model.recommend(shoppers[start : start + _BATCH], candidates)
        items = model.item_ids.get_indexer(pd.Index(lists["item_id"])).astype(np.int32)
        scores = lists["score"].to_numpy(np.float32)
        reasons = lists["reason"].map(REASON_CODES).to_numpy().astype(np.uint8)
        names = lists["shopper_id"].to_numpy(object)
        starts = np.flatnonzero(np.r_[True, names[1:] != names[:-1]]) if len(names) else np.zeros(0, np.int64)
        for low, high in pairwise([*starts, len(names)]):
            part = slice(int(low), int(high))
            yield key_of(str(names[low])), pack(Ranked(items[part], scores[part], reasons[part]))
        progress(f"slates of {min(start + _BATCH, len(shoppers)):,} of {len(shoppers):,} shoppers")


class Slates:
    """Read-only access to one slates snapshot. Positions are those of its own `item_ids`."""

    def __init__(self, folder: Path) -> None:
        self._file = LmdbFile(folder / FILE, [_TABLE])
        self.item_ids: npt.NDArray[np.str_] = np.load(folder / ITEMS, mmap_mode="r", allow_pickle=False)

    def candidates(self, shopper_id: str) -> Ranked:
        """Return a shopper's candidates; none for one who was not in the training data."""
        content = self._file.get(_TABLE, key_of(shopper_id))
        return NOBODY if content is None else unpack(content)

    def close(self) -> None:
        """Let the file go."""
        self._file.close()
