"""The contract of a recommender: public methods validate and split known from unknown shoppers, subclasses compute.

A new one is one file in models/recommenders/ with one config and one class; see `popularity.py` for the shortest.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError
from scipy import sparse

from configs.errors import FacingsError, UsageError
from models.artifact import Arrays, read_arrays, read_header, write_artifact
from models.asking import Capabilities as Capabilities
from models.asking import Events as Events
from models.asking import (
    Request,
    as_table,
    attributes_of,
    distinct_ids,
    group_events,
    join_lists,
    left_out,
    make_request,
    seconds_of,
    select,
    tell_events,
)
from models.dataset import BoolArray, Dataset, FloatArray, IntArray
from models.purchases.history import bought_by, repeat_reasons
from models.reasons import Reason

# Scores of one batch of shoppers stay below this many cells (float64: 64 MB), however many items there are.
_BATCH_CELLS = 8_000_000
# A batch may hold so many times more shoppers where no score of every item is kept.
_UNSCORED = 16


class RecommenderConfig(BaseModel):
    """Base of every recommender's config: frozen, unknown keys forbidden."""

    model_config = ConfigDict(frozen=True, extra="forbid")


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
        self.sold: BoolArray = np.zeros(0, dtype=bool)  # items that anybody bought
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
        self.sold = np.asarray(self.history.getnnz(axis=0)) > 0
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
        at: Mapping[str, pd.Timestamp] | None = None,
        explain: bool = False,
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
            at: the moment (UTC) of a shopper's visit, by shopper_id, where it is known; what the training data holds of
                that day or later is then not used for that shopper.
            explain: add a column `about`: the id that the reason names (an item, a maker, a store …), or "".

        Returns:
            shopper_id, rank (from 1), item_id, score (float64, higher is better), reason (a `Reason`). Its
            `attrs["fallbacks"]` counts what was served otherwise than asked: `unknown_shopper`, `no_history`,
            `unknown_item` (among the candidates).

        Raises:
            UsageError: k is out of range, a shopper is named twice (also in `attributes`), or `at` is given to a
                recommender that makes nothing of it.
            FacingsError: the model is broken: a score is not a number.
        """
        if at and not self.capabilities.visit_date:
            raise UsageError(f"Recommender {self.name} makes nothing of the moment of a visit; ask without `at`.")
        asked = distinct_ids(shopper_ids)
        request, unknown = make_request(self, k, new_only, candidates, exclude, attributes, explain)
        rows = self.shopper_ids.get_indexer(asked).astype(np.int64)
        moments, frames = seconds_of(asked, at or {}), list[pd.DataFrame]()
        fast = self._selects(k)
        for part in self._batches(np.flatnonzero((rows >= 0) & np.isnan(moments)), _UNSCORED if fast else 1):
            scores = None if fast else self._score(rows[part])
            frames.append(self._ranked(asked[part], part, rows[part], scores, request))
        for part in self._batches(np.flatnonzero((rows >= 0) & ~np.isnan(moments))):
            frames.append(
                self._ranked(asked[part], part, rows[part], self._score_at(rows[part], moments[part]), request)
            )
        if self.capabilities.cold_shoppers:
            for part in self._batches(np.flatnonzero(rows < 0)):
                frames.append(self._ranked_cold(asked[part], part, request))
        return join_lists(
            frames,
            explain,
            unknown_shopper=int((rows < 0).sum()),
            no_history=int((np.diff(self.history.indptr)[rows[rows >= 0]] == 0).sum()),
            unknown_item=unknown,
        )

    def fold_in(
        self,
        events: pd.DataFrame,
        k: int,
        *,
        now: pd.Timestamp | None = None,
        new_only: bool = False,
        candidates: Sequence[str] | None = None,
        exclude: Mapping[str, Sequence[str]] | None = None,
        attributes: pd.DataFrame | None = None,
        explain: bool = False,
    ) -> pd.DataFrame:
        """Rank items for shoppers by their newest events, without a refit.

        A known shopper's events come on top of what the model was trained on; of an unknown one they are all there is.

        Args:
            events: shopper_id, item_id, event_time (UTC) and where known event_type (without it, each is a purchase),
                in any order; every shopper named here is served, in the order of their first row. Events of unknown
                items are ignored and counted. What was not bought tells of a taste and makes no repeat.
            k: length of the lists, as in `recommend`.
            now: the moment of the request; None: that of the newest event. Later events are refused.
            new_only: leave out what the shopper bought before, also in these events.
            candidates, exclude, attributes, explain: as in `recommend`.

        Returns:
            As `recommend`, which serves a shopper none of whose events names a known item.

        Raises:
            UsageError: the recommender cannot fold in, an event lies after `now`, or k is out of range.
        """
        if not self.capabilities.fold_in:
            raise UsageError(f"Recommender {self.name} cannot take new events without training; retrain it instead.")
        asked = pd.Index(events["shopper_id"].astype(str).unique(), dtype=object)
        request, unknown = make_request(self, k, new_only, candidates, exclude, attributes, explain)
        grouped, ignored = group_events(self.item_ids, events, asked, now)
        rows = self.shopper_ids.get_indexer(asked).astype(np.int64)
        told = np.array([len(own.items) > 0 for own in grouped], dtype=bool)
        frames: list[pd.DataFrame] = []
        for part in self._batches(np.flatnonzero(told)):
            own = [grouped[position] for position in part]
            scores = self._score_fold_in(rows[part], own, attributes_of(asked[part], attributes))
            frames.append(self._ranked(asked[part], part, rows[part], scores, request, own))
        for part in self._batches(np.flatnonzero(~told & (rows >= 0))):
            frames.append(self._ranked(asked[part], part, rows[part], self._score(rows[part]), request))
        if self.capabilities.cold_shoppers:
            for part in self._batches(np.flatnonzero(~told & (rows < 0))):
                frames.append(self._ranked_cold(asked[part], part, request))
        return join_lists(
            frames,
            explain,
            unknown_shopper=int((rows < 0).sum()),
            no_history=int((~told).sum()),
            unknown_item=unknown + ignored,
        )

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
            "sold": self.sold,
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
        # An artifact of an earlier version does not say what was sold.
        model.sold = np.asarray(arrays.get("sold", np.asarray(model.history.getnnz(axis=0)) > 0))
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

    def _selects(self, k: int) -> bool:
        """Whether `_select` finds the best k, and faster than a score for every item and shopper would."""
        return False

    def _select(
        self, shopper_rows: IntArray, k: int, allowed: BoolArray, left_out: tuple[IntArray, IntArray]
    ) -> tuple[IntArray, FloatArray]:
        """The best k as `top_k` gives them, by the scores of `_score`. Called only where `_selects` says so.

        `allowed` says which items may be shown at all, shape (items,); `left_out` are rows (from 0) and columns.
        """
        raise TypeError(f"{self.name} declares that it selects and does not implement _select")

    def _score_at(self, shopper_rows: IntArray, moments: FloatArray) -> FloatArray:
        """Score as `_score` for visits at `moments` (seconds since 1970, UTC), by what was known before each.

        Called only where `capabilities.visit_date` says so.
        """
        raise TypeError(f"{self.name} declares visit_date and does not implement _score_at")

    def _score_fold_in(self, shopper_rows: IntArray, events: Sequence[Events], attributes: pd.DataFrame) -> FloatArray:
        """Score every item from newest events: shopper_rows is -1 where unknown, then `attributes` may say something.

        Called only where `capabilities.fold_in` says so. Shape (len(shopper_rows), items); -inf: never recommend.
        """
        raise TypeError(f"{self.name} declares fold_in and does not implement _score_fold_in")

    def _score_cold(self, attributes: pd.DataFrame) -> FloatArray:
        """Score every item for unknown shoppers; one row of `attributes` (shopper_id, known columns) each.

        Called only where `capabilities.cold_shoppers` says so.
        """
        raise TypeError(f"{self.name} declares cold_shoppers and does not implement _score_cold")

    def _reasons(self, shopper_rows: IntArray, columns: IntArray) -> npt.NDArray[np.object_]:
        """Reason codes for chosen items (columns, shape (n, k), -1: none) of known shoppers; default by history."""
        return repeat_reasons(self.history, shopper_rows, columns)

    def _explain(
        self, shopper_rows: IntArray, columns: IntArray
    ) -> tuple[npt.NDArray[np.object_], npt.NDArray[np.object_]]:
        """Reason codes as `_reasons`, and what each is about ("": nothing to name). Override where more is known."""
        return self._reasons(shopper_rows, columns), np.full(columns.shape, "", dtype=object)

    def _explain_fold_in(
        self, shopper_rows: IntArray, events: Sequence[Events], columns: IntArray
    ) -> tuple[npt.NDArray[np.object_], npt.NDArray[np.object_]]:
        """As `_explain`, for lists made from newest events: what these bought or watched is told, too."""
        reasons = np.full(columns.shape, str(Reason.SIMILAR_TASTE), dtype=object)
        about = np.full(columns.shape, "", dtype=object)
        known = shopper_rows >= 0
        reasons[known], about[known] = self._explain(shopper_rows[known], columns[known])
        # Of who has no history `popular` says that nothing tells their taste; now the events do.
        silent = np.array([len(bought_by(self.history, row)) == 0 for row in shopper_rows], dtype=bool)
        reasons[silent[:, None] & (reasons == str(Reason.POPULAR))] = str(Reason.SIMILAR_TASTE)
        tell_events(reasons, about, events, columns)
        return reasons, about

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

    def _batches(self, positions: IntArray, times: int = 1) -> Iterator[IntArray]:
        """Cut so that the scores of one batch stay below `times` × `_BATCH_CELLS` cells."""
        size = max(1, times * _BATCH_CELLS // max(1, len(self.item_ids)))
        for start in range(0, len(positions), size):
            yield positions[start : start + size]

    def _ranked_cold(self, ids: pd.Index, positions: IntArray, request: Request) -> pd.DataFrame:
        """Lists of unknown shoppers."""
        known_of = attributes_of(ids, request.attributes)
        columns, values = select(self, ids, self._score_cold(known_of), request)
        reasons = self._true(self._cold_reasons(known_of, columns), columns)
        return as_table(ids, positions, (self.item_ids, columns, values), reasons)

    def _ranked(
        self,
        ids: pd.Index,
        positions: IntArray,
        rows: IntArray,
        scores: FloatArray | None,
        request: Request,
        events: Sequence[Events] | None = None,
    ) -> pd.DataFrame:
        """Lists from scores (None: the recommender selects); `events` where these made them."""
        unwanted: list[IntArray] | None = None
        if request.new_only or not self.capabilities.repeats:
            unwanted = [bought_by(self.history, row) for row in rows]
            if events is not None:
                unwanted = [np.r_[own, new.items[new.bought]] for own, new in zip(unwanted, events, strict=True)]
        if scores is None:
            gone = left_out(self.item_ids, ids, request, unwanted)
            columns, values = self._select(rows, request.k, request.allowed, gone)
        else:
            columns, values = select(self, ids, scores, request, unwanted)
        about = None
        if events is not None:
            reasons, about = self._explain_fold_in(rows, events, columns)
        elif request.explain:
            reasons, about = self._explain(rows, columns)
        else:
            reasons = self._reasons(rows, columns)
        return as_table(ids, positions, (self.item_ids, columns, values), self._true(reasons, columns), about)

    def _true(self, reasons: npt.NDArray[np.object_], columns: IntArray) -> npt.NDArray[np.object_]:
        """Nothing that nobody bought is popular: of it nothing more is known than that the shop carries it."""
        never = ~self.sold[columns] & (reasons == str(Reason.POPULAR))
        return np.where(never, str(Reason.IN_ASSORTMENT), reasons).astype(object)
