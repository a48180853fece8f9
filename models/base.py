"""The contract of a recommender: public methods validate and split known from unknown shoppers, subclasses compute.

A new one is one file in models/recommenders/ with one config and one class; see `popularity.py` for the shortest.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError
from scipy import sparse

from configs.errors import FacingsError, UsageError
from models.artifact import Arrays, read_arrays, read_header, write_artifact
from models.dataset import BoolArray, Dataset, FloatArray, IntArray
from models.ranking import top_k
from models.reasons import Reason

MAX_K = 10_000
# Scores of one batch of shoppers stay below this many cells (float64: 64 MB), however many items there are.
_BATCH_CELLS = 8_000_000
COLUMNS = ["shopper_id", "rank", "item_id", "score", "reason"]


class RecommenderConfig(BaseModel):
    """Base of every recommender's config: frozen, unknown keys forbidden."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class Capabilities:
    """What a recommender can do, declared instead of found out by failure."""

    cold_shoppers: bool  # serves a shopper who was not in the training data
    cold_items: bool  # can rank an item that nobody bought above others, by its content
    fold_in: bool  # takes a shopper's newest events at request time, without a refit
    repeats: bool  # recommends what the shopper bought before (else such items are left out)


class Recommender(ABC):
    """Scores items for shoppers. Subclasses implement `_fit`, `_score` and, where they keep more, the state methods."""

    Config: ClassVar[type[RecommenderConfig]]
    capabilities: ClassVar[Capabilities]

    def __init__(self, config: RecommenderConfig) -> None:
        self.config = config
        self.item_ids = pd.Index([], dtype=object)
        self.shopper_ids = pd.Index([], dtype=object)
        self.recommendable: BoolArray = np.zeros(0, dtype=bool)
        self.history = sparse.csr_matrix((0, 0), dtype=bool)
        self.as_of = pd.Timestamp(0, tz="UTC")

    @property
    def name(self) -> str:
        """The registry's key: the name of the file that holds the class."""
        return type(self).__module__.rpartition(".")[2]

    # ------------------------------------------------------------------ what callers use

    def fit(self, dataset: Dataset, *, seed: int = 0) -> Self:
        """Learn from `dataset`; a second fit forgets the first. The same dataset and seed give the same model."""
        self.item_ids = dataset.item_ids
        self.shopper_ids = dataset.shopper_ids
        self.recommendable = dataset.recommendable
        self.as_of = dataset.as_of
        self.history = dataset.matrix().astype(bool)
        self._fit(dataset, seed)
        return self

    def recommend(
        self,
        shopper_ids: Sequence[str],
        k: int,
        *,
        new_only: bool = False,
        candidates: Sequence[str] | None = None,
        exclude: Mapping[str, Sequence[str]] | None = None,
        attributes: pd.DataFrame | None = None,
    ) -> pd.DataFrame:
        """Rank items for shoppers.

        Args:
            shopper_ids: whom to serve; the output keeps their order. One who was not in the training data is served
                from `attributes` where the recommender can, and else has no rows.
            k: length of the lists, 1 to 10,000; shorter where fewer items may be recommended.
            new_only: leave out what the shopper bought before.
            candidates: rank these items only; unknown ones are ignored. None: all items.
            exclude: items to leave out, by shopper_id.
            attributes: shopper_id and attribute columns of shoppers who were not in the training data.

        Returns:
            shopper_id, rank (from 1), item_id, score (float64, higher is better), reason (a `Reason`).

        Raises:
            UsageError: k is out of range, or a shopper is named twice (also in `attributes`).
            FacingsError: the model is broken: a score is not a number.
        """
        if not 1 <= k <= MAX_K:
            raise UsageError(f"k is {k}; it must lie between 1 and {MAX_K}.")
        asked = pd.Index([str(shopper) for shopper in shopper_ids], dtype=object)
        if asked.has_duplicates:
            raise UsageError(f"Shopper {asked[asked.duplicated()][0]!r} is named more than once.")
        allowed = self.recommendable.copy()
        if candidates is not None:
            allowed &= self.item_ids.isin(list(candidates))
        rows = self.shopper_ids.get_indexer(asked)
        batch = max(1, _BATCH_CELLS // max(1, len(self.item_ids)))
        frames: list[pd.DataFrame] = []
        for known, positions in ((True, np.flatnonzero(rows >= 0)), (False, np.flatnonzero(rows < 0))):
            if not known and not self.capabilities.cold_shoppers:
                continue
            for start in range(0, len(positions), batch):
                part = positions[start : start + batch]
                frames.append(self._rank(asked, rows, part, known, k, new_only, allowed, exclude or {}, attributes))
        if not frames:
            return _no_rows()
        whole = pd.concat(frames, ignore_index=True)
        order = np.lexsort((whole["rank"].to_numpy(), whole.pop("position").to_numpy()))
        return whole.iloc[order].reset_index(drop=True)

    def forget(self, shopper_ids: Sequence[str]) -> int:
        """Erase all that is kept of these shoppers; return how many were known."""
        keep = ~self.shopper_ids.isin([str(shopper) for shopper in shopper_ids])
        kept = np.flatnonzero(keep)
        self._keep_shoppers(kept)
        self.shopper_ids = self.shopper_ids[keep]
        self.history = self.history[kept]
        return int((~keep).sum())

    def save(self, folder: Path) -> None:
        """Write the trained model as arrays and JSON into `folder`."""
        state, arrays = self._state()
        header = {
            "recommender": self.name,
            "config": self.config.model_dump(mode="json"),
            "as_of": self.as_of.isoformat(),
            "state": state,
        }
        history = self.history.tocsr()
        own = {
            "item_ids": np.asarray(self.item_ids.astype(str), dtype=np.str_),
            "shopper_ids": np.asarray(self.shopper_ids.astype(str), dtype=np.str_),
            "recommendable": self.recommendable,
            "history_indptr": history.indptr.astype(np.int64),
            "history_indices": history.indices.astype(np.int32),
        }
        write_artifact(folder, header, {**own, **{f"state_{name}": array for name, array in arrays.items()}})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; the model then ranks as before.

        Raises:
            FacingsError: the folder holds no model, a damaged one, or one of another format.
        """
        header = read_header(folder)
        arrays = read_arrays(folder, header)
        try:
            model = cls(cls.Config.model_validate(header["config"]))
        except ValidationError as error:
            key = ".".join(str(part) for part in error.errors()[0]["loc"])
            raise FacingsError(
                f"{folder} was trained with a config whose key `{key}` this version does not take; "
                "train again with `facings retrain`."
            ) from None
        model.as_of = pd.Timestamp(header["as_of"])
        model.item_ids = pd.Index(arrays["item_ids"].astype(object))
        model.shopper_ids = pd.Index(arrays["shopper_ids"].astype(object))
        model.recommendable = np.asarray(arrays["recommendable"])
        indices = np.asarray(arrays["history_indices"])
        model.history = sparse.csr_matrix(
            (np.ones(len(indices), dtype=bool), indices, np.asarray(arrays["history_indptr"])),
            shape=(len(model.shopper_ids), len(model.item_ids)),
        )
        own = {name.removeprefix("state_"): array for name, array in arrays.items() if name.startswith("state_")}
        model._restore(header["state"], own)
        return model

    # ------------------------------------------------------------------ what a subclass computes

    @abstractmethod
    def _fit(self, dataset: Dataset, seed: int) -> None:
        """Learn. `item_ids`, `shopper_ids`, `recommendable`, `history` and `as_of` are already set."""

    @abstractmethod
    def _score(self, shopper_rows: IntArray) -> FloatArray:
        """Score every item for known shoppers; shape (len(shopper_rows), items); -inf: never recommend it to them.

        The array is the caller's: return a new one, not a view of what the model keeps.
        """

    def _score_cold(self, attributes: pd.DataFrame) -> FloatArray:
        """Score every item for unknown shoppers; one row of `attributes` (shopper_id, known columns) each.

        Called only where `capabilities.cold_shoppers` says so.
        """
        raise TypeError(f"{self.name} declares cold_shoppers and does not implement _score_cold")

    def _reasons(self, shopper_rows: IntArray, columns: IntArray) -> npt.NDArray[np.object_]:
        """Reason codes for chosen items (columns, shape (n, k), -1: none) of known shoppers; default by history."""
        reasons = np.full(columns.shape, str(Reason.SIMILAR_TASTE), dtype=object)
        repeat = np.zeros(len(self.item_ids) + 1, dtype=bool)  # the last cell stands for column -1
        for position, row in enumerate(shopper_rows):
            bought = self.history.indices[self.history.indptr[row] : self.history.indptr[row + 1]]
            repeat[bought] = True
            reasons[position, repeat[columns[position]]] = str(Reason.BOUGHT_BEFORE)
            repeat[bought] = False
        return reasons

    def _cold_reason(self) -> Reason:
        """Reason code of every item shown to an unknown shopper."""
        return Reason.POPULAR

    def _cold_reasons(self, attributes: pd.DataFrame, columns: IntArray) -> npt.NDArray[np.object_]:
        """Reason codes as `_reasons`, for unknown shoppers. Override where they differ from shopper to shopper."""
        return np.full(columns.shape, str(self._cold_reason()), dtype=object)

    def _state(self) -> tuple[dict[str, Any], Arrays]:
        """What to save beyond what every recommender keeps: JSON values and arrays."""
        return {}, {}

    def _restore(self, state: dict[str, Any], arrays: Arrays) -> None:
        """Take back what `_state` gave (arrays are memory-mapped, read-only)."""

    def _keep_shoppers(self, rows: IntArray) -> None:
        """Keep only these rows of every array with a row per shopper. Override where there is one."""

    # ------------------------------------------------------------------ inner workings

    def _rank(
        self,
        asked: pd.Index,
        rows: IntArray,
        positions: IntArray,
        known: bool,
        k: int,
        new_only: bool,
        allowed: BoolArray,
        exclude: Mapping[str, Sequence[str]],
        attributes: pd.DataFrame | None,
    ) -> pd.DataFrame:
        ids = asked[positions]
        if known:
            scores = np.asarray(self._score(rows[positions]), dtype=np.float64)
        else:
            known_of = _attributes_of(ids, attributes)
            scores = np.asarray(self._score_cold(known_of), dtype=np.float64)
        if np.isnan(scores).any():
            raise FacingsError(f"Recommender {self.name} gave a score that is not a number; train it again.")
        scores[:, np.flatnonzero(~allowed)] = -np.inf
        for line, position in enumerate(positions):
            if known and (new_only or not self.capabilities.repeats):
                row = rows[position]
                scores[line, self.history.indices[self.history.indptr[row] : self.history.indptr[row + 1]]] = -np.inf
            unwanted = exclude.get(asked[position])
            if unwanted:
                columns = self.item_ids.get_indexer(pd.Index(list(unwanted), dtype=object))
                scores[line, columns[columns >= 0]] = -np.inf
        columns, values = top_k(scores, k)
        if known:
            reasons = self._reasons(rows[positions], columns)
        else:
            reasons = self._cold_reasons(known_of, columns)
        line_of, slot_of = np.nonzero(columns >= 0)
        return pd.DataFrame(
            {
                "position": positions[line_of],
                "shopper_id": ids[line_of],
                "rank": slot_of + 1,
                "item_id": self.item_ids[columns[line_of, slot_of]],
                "score": values[line_of, slot_of],
                "reason": reasons[line_of, slot_of],
            }
        )


def _attributes_of(ids: pd.Index, attributes: pd.DataFrame | None) -> pd.DataFrame:
    """One row for each id, in order; what is not known is missing."""
    base = pd.DataFrame({"shopper_id": ids})
    if attributes is None:
        return base
    known = attributes.assign(shopper_id=attributes["shopper_id"].astype(str).astype(object))
    if known["shopper_id"].duplicated().any():
        raise UsageError("The attributes name a shopper more than once; give one row for each.")
    return base.merge(known, on="shopper_id", how="left", validate="one_to_one")


def _no_rows() -> pd.DataFrame:
    """The empty answer, with the types of a full one."""
    types = {"rank": "int64", "score": "float64"}
    return pd.DataFrame({column: pd.Series([], dtype=types.get(column, "object")) for column in COLUMNS})
