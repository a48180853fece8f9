"""Second stage: gradient-boosted trees rank the candidates of several sources; trained on past windows, without leak.

For each of several past windows, everything is put back to the moment before it: candidates and features are made
from what was known then, and what was bought in the window is the label. Repeats (pairs bought before) and discoveries
(pairs not bought before) have trees of their own, each in two kinds: LambdaRank gives the order in a shopper's list,
a binary model the probabilities. The k-th in the order gets the k-th highest probability, so both lists can be merged.

Scores of all candidates are made when it is trained, with all that is known then, and kept for each shopper: serving
reads them. Items that are no candidate follow below, as the fallback recommender ranks them; it also serves shoppers
who were not in the training data and ranks items that nobody bought. The candidates of who watched contents and never
bought are those of another recommender (`watched`). A shop too young to have a past window gets repeats by decayed
frequency and everything else from the fallback; `learned` tells.

LambdaRank: Burges, "From RankNet to LambdaRank to LambdaMART: an overview", Microsoft Research, 2010.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import Field, field_validator
from scipy import sparse

from configs.errors import UsageError
from models.artifact import Arrays
from models.base import Capabilities, Events, Recommender, RecommenderConfig
from models.candidates import SOURCES
from models.dataset import Dataset, FloatArray, IntArray
from models.explanation.evidence import Rules
from models.explanation.explain import Evidence
from models.parts import Part
from models.purchases.history import bought_by
from models.ranking import top_k
from models.ranking_features.forest import Forest, Trees
from models.ranking_features.past import Past, rank_within
from models.ranking_features.windows import (
    Examples,
    Sizes,
    Window,
    dataset_before,
    new_examples,
    repeat_examples,
)
from models.registry import create, load
from models.watch_only import WatchOnly

# Reciprocal rank fusion: a rank counts 1 / (60 + rank). Cormack, Clarke and Büttcher, SIGIR 2009.
_FUSION = 60
_STEP = 1e-9
_WATCHED = 300  # candidates of a shopper who watched and never bought


class CandidatePart(Part):
    """A recommender whose scores and ranks are features, and whose best unseen items are candidates."""

    candidates: int = Field(0, ge=0, description="so many of its best unseen items are candidates; 0: it only scores")


class RankerConfig(RecommenderConfig):
    """Where candidates come from, what the trees learn from and how they are grown."""

    fallback: Part = Part(recommender="lightfm")
    watched: Part | None = Field(
        Part(recommender="watched_topics"), description="serves who watched contents and never bought; none: nobody is"
    )
    parts: dict[str, CandidatePart] = Field(default_factory=dict, description="more recommenders, by a name of yours")
    crosses: tuple[tuple[str, str], ...] = Field(
        (), description="pairs of content columns (category_1 … category_3 are its levels) that are also one group"
    )
    windows: int = Field(4, ge=1, description="past windows to learn from, back to back")
    window_days: float = Field(30.0, gt=0, description="length of each")
    repeats: int = Field(70, ge=1, description="candidates bought before, for each shopper")
    new: dict[str, int] = Field(
        default_factory=lambda: {"taste_slow": 300, "content": 200, "store": 100, "trend": 100, "advertised": 60},
        description="unseen candidates of each source for each shopper; a source not named here only scores, and one "
        "that the shop's data lack is left out",
    )
    taste_items: int = Field(8000, ge=1, description="items with the most shoppers lately, which the taste scores")
    least_shoppers: int = Field(3, ge=1, description="of an unseen item in twelve weeks, to be a candidate")
    negatives: float = Field(
        0.15, gt=0, le=1, description="share of the unseen candidates not bought that is learned from"
    )
    repeat_trees: Trees = Trees()
    new_trees: Trees = Trees()
    rank_weight: float = Field(0.2, ge=0, description="LambdaRank's part in the order of repeats, beside the log odds")
    reasons: Rules = Field(Rules(), description="when a reason counts as true")

    @field_validator("new")
    @classmethod
    def _counts(cls, sizes: dict[str, int]) -> dict[str, int]:
        unknown = set(sizes) - set(SOURCES)
        if unknown:
            raise ValueError(f"there is no source {', '.join(sorted(unknown))}; there are {', '.join(SOURCES)}")
        if any(size < 0 for size in sizes.values()):
            raise ValueError("a number of candidates is negative")
        return sizes

    @field_validator("parts")
    @classmethod
    def _names(cls, parts: dict[str, CandidatePart]) -> dict[str, CandidatePart]:
        taken = set(parts) & set(SOURCES)
        if taken:
            raise ValueError(f"{', '.join(sorted(taken))} is a source already; give the part another name")
        return parts


class Ranker(Recommender):
    """Learned order over the union of candidates, for repeats and discoveries, in one list."""

    Config: ClassVar[type[RecommenderConfig]] = RankerConfig
    capabilities: ClassVar[Capabilities] = Capabilities(cold_shoppers=True, cold_items=True, fold_in=True, repeats=True)

    def __init__(self, config: RankerConfig) -> None:
        super().__init__(config)
        self.config: RankerConfig = config
        self._fallback = create(config.fallback.recommender, config.fallback.config)
        self._slates = sparse.csr_matrix((0, 0), dtype=np.float64)  # probability of each shopper's candidates
        self._importance: dict[str, dict[str, float]] = {}
        self._windows = 0
        self._evidence = Evidence()
        self._watch_only = WatchOnly()

    @property
    def learned(self) -> bool:
        """Whether there was a past window to learn from; else the order is that of decayed frequency and fallback."""
        return self._windows > 0

    @property
    def importance(self) -> dict[str, dict[str, float]]:
        """Share of each feature in the gains of the trees, for `repeats` and `new`."""
        return self._importance

    # ------------------------------------------------------------------ training

    def _fit(self, dataset: Dataset, seed: int) -> None:
        self._fallback.fit(dataset, seed=seed)
        self._evidence = Evidence.learn(dataset, self.history, self.config.reasons)
        self._watch_only.fit(self.config.watched, dataset, self.history, seed)
        past = Past.read(dataset, self.config.crosses)
        repeats, new = self._examples(dataset, past, seed)
        self._windows, self._importance = len(repeats), {}
        if not repeats:
            self._slates = self._watch_only.put_best(_by_frequency(past), _WATCHED)
            return
        window = Window(past, self._trained_parts(dataset, seed), self._sizes, seed)
        parts = [self._repeat_scores(Examples.join(repeats), window, seed)]
        if any(found.labels.any() for found in new):
            parts.append(self._new_scores(Examples.join(new), window, seed))
        pairs, scores = (np.concatenate(column) for column in zip(*parts, strict=True))
        cells = (scores, (pairs // past.items, pairs % past.items))
        slates = sparse.coo_matrix(cells, shape=(past.shoppers, past.items)).tocsr()
        self._slates = self._watch_only.put_best(slates, _WATCHED)

    @property
    def _sizes(self) -> Sizes:
        new = {**self.config.new, **{name: part.candidates for name, part in self.config.parts.items()}}
        return Sizes(self.config.repeats, new, self.config.taste_items, self.config.least_shoppers)

    def _trained_parts(self, dataset: Dataset, seed: int) -> dict[str, Recommender]:
        return {
            name: create(part.recommender, part.config).fit(dataset, seed=seed)
            for name, part in self.config.parts.items()
        }

    def _examples(self, dataset: Dataset, past: Past, seed: int) -> tuple[list[Examples], list[Examples]]:
        """Rows of every past window before which there is at least another window of data, the latest first."""
        repeats: list[Examples] = []
        new: list[Examples] = []
        length = self.config.window_days
        for number in range(1, self.config.windows + 1):
            days = number * length
            if past.age.max() < days + length:
                break
            bought = past.bought_since(days, days - length)
            earlier = past.before(days, length)
            if not len(bought) or not len(earlier.age):
                continue
            known = dataset_before(dataset, days, length, planned=past.planned)
            window = Window(earlier, self._trained_parts(known, seed), self._sizes, seed)
            found = repeat_examples(window, bought)
            if found.labels.any():
                repeats.append(found)
                new.append(new_examples(window, bought, self.config.negatives, seed + number))
        return repeats, new

    def _repeat_scores(self, examples: Examples, window: Window, seed: int) -> tuple[IntArray, FloatArray]:
        """Repeat candidates and their probabilities."""
        forest = Forest.train(examples, self.config.repeat_trees, seed=seed)
        self._importance["repeats"] = forest.importance()
        pairs = window.repeat_pairs()
        rows = window.repeats(pairs).values
        odds = forest.log_odds(rows)
        order = odds + self.config.rank_weight * forest.order(rows)
        return pairs, _in_order(pairs // window.past.items, order, 1 / (1 + np.exp(-odds)))

    def _new_scores(self, examples: Examples, window: Window, seed: int) -> tuple[IntArray, FloatArray]:
        """Unseen candidates and their probabilities, by blocks of shoppers."""
        forest = Forest.train(examples, self.config.new_trees, seed=seed)
        self._importance["new"] = forest.importance()
        found: list[tuple[IntArray, FloatArray]] = [(np.zeros(0, np.int64), np.zeros(0))]
        for first, last in window.blocks():
            candidates = window.new_pairs(first, last)
            if not len(candidates.pairs):
                continue
            rows = window.discoveries(candidates).values
            # Negatives were drawn: of the odds that the trees know, only their share is real.
            odds = forest.log_odds(rows) + np.log(self.config.negatives)
            chances = _in_order(candidates.pairs // window.past.items, forest.order(rows), 1 / (1 + np.exp(-odds)))
            found.append((candidates.pairs, chances))
        pairs, scores = (np.concatenate(column) for column in zip(*found, strict=True))
        return pairs, scores

    # ------------------------------------------------------------------ serving

    def _score(self, shopper_rows: IntArray) -> FloatArray:
        scores = _below_zero(self._fallback._score(shopper_rows))
        self._set_candidates(scores, shopper_rows)
        return scores

    def _set_candidates(self, scores: FloatArray, shopper_rows: IntArray) -> None:
        """Write the candidates' scores of known shoppers (row -1: unknown) over what is there."""
        for line, row in enumerate(shopper_rows):
            if row >= 0:
                own = slice(self._slates.indptr[row], self._slates.indptr[row + 1])
                scores[line, self._slates.indices[own]] = self._slates.data[own]

    def _score_fold_in(self, shopper_rows: IntArray, events: Sequence[Events], attributes: pd.DataFrame) -> FloatArray:
        """The fallback folds in, and a known shopper's discoveries follow both its order and that of the trees.

        Repeats keep their probabilities. The discoveries are those of the trees and as many that the fallback ranks
        highest now, in the order of the fused ranks; the k-th of them gets the k-th highest probability, so that they
        stay comparable with the repeats.
        """
        if not self._fallback.capabilities.fold_in:
            raise UsageError(f"The fallback {self._fallback.name} cannot take new events without training; retrain it.")
        fresh = self._fallback._score_fold_in(shopper_rows, events, attributes)
        scores = _below_zero(fresh)
        self._set_candidates(scores, shopper_rows)
        for line in np.flatnonzero(shopper_rows >= 0).tolist():
            self._fuse(scores[line], fresh[line], int(shopper_rows[line]), events[line])
        return scores

    def _fuse(self, scores: FloatArray, fresh: FloatArray, row: int, events: Events) -> None:
        """Order one shopper's discoveries anew in `scores`, where their candidates are; `fresh` is the fallback's."""
        own = slice(self._slates.indptr[row], self._slates.indptr[row + 1])
        repeats = np.union1d(bought_by(self.history, row), events.items[events.bought])
        trained, chances = self._slates.indices[own].astype(np.int64), self._slates.data[own]
        new = ~np.isin(trained, repeats)
        trained, chances = trained[new], chances[new]
        if not len(trained):
            return
        order = np.argsort(-chances, kind="stable")
        trained, chances = trained[order], chances[order]
        open_now = np.where(self.recommendable, fresh, -np.inf)
        open_now[repeats] = -np.inf
        best = top_k(open_now[None], len(trained))[0][0]
        best = best[best >= 0]
        columns = np.union1d(trained, best)
        fused = np.zeros(len(columns))
        for ranked in (trained, best):
            fused[np.searchsorted(columns, ranked)] += 1 / (_FUSION + np.arange(1, len(ranked) + 1))
        ordered = columns[np.lexsort((columns, -fused))]
        scores[ordered] = np.append(chances, np.full(len(ordered) - len(chances), chances[-1]))
        # Of equal chances the order tells; the steps are far below any difference between two chances.
        scores[ordered] *= 1 - _STEP * np.arange(len(ordered))

    def _score_cold(self, attributes: pd.DataFrame) -> FloatArray:
        return _below_zero(self._fallback._score_cold(attributes))

    def _reasons(self, shopper_rows: IntArray, columns: IntArray) -> npt.NDArray[np.object_]:
        return self._explain(shopper_rows, columns)[0]

    def _explain(
        self, shopper_rows: IntArray, columns: IntArray
    ) -> tuple[npt.NDArray[np.object_], npt.NDArray[np.object_]]:
        """By the evidence; where there is none, the fallback's reason, which says whether an item is just popular."""
        otherwise = self._fallback._reasons(shopper_rows, columns)
        codes, about = self._evidence.reasons(self.history, self.item_ids, shopper_rows, columns, otherwise)
        self._watch_only.set_reasons(codes, about, shopper_rows, columns)
        return codes, about

    def _cold_reasons(self, attributes: pd.DataFrame, columns: IntArray) -> npt.NDArray[np.object_]:
        return self._fallback._cold_reasons(attributes, columns)

    # ------------------------------------------------------------------ keeping

    def save(self, folder: Path) -> None:
        """Write the fallback into a folder of its own below `folder`, which holds what the whole keeps."""
        super().save(folder)
        self._fallback.save(folder / "fallback")
        self._watch_only.save(folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            FacingsError: the folder or the fallback's holds no model, a damaged one, or one of another format.
        """
        model = super().load(folder)
        model._fallback = load(folder / "fallback")
        model._watch_only.load(folder)
        return model

    def _state(self) -> tuple[dict[str, Any], Arrays]:
        return {"windows": self._windows, "importance": self._importance}, {
            "slate_ends": self._slates.indptr.astype(np.int64),
            "slate_items": self._slates.indices.astype(np.int32),
            "slate_scores": self._slates.data,
            "watch_only": self._watch_only.served,
            **self._evidence.state(),
        }

    def _restore(self, state: dict[str, Any], arrays: Arrays) -> None:
        self._windows, self._importance = state["windows"], state["importance"]
        self._evidence = Evidence.restore(arrays)
        self._watch_only.served = np.asarray(arrays["watch_only"])
        parts = (arrays["slate_scores"], arrays["slate_items"], arrays["slate_ends"])
        shape = (len(self.shopper_ids), len(self.item_ids))
        self._slates = sparse.csr_matrix(tuple(np.asarray(part) for part in parts), shape=shape)

    def _keep_shoppers(self, rows: IntArray) -> None:
        # What the trees learned was over everybody and is not kept; a shopper's own candidates go with them.
        gone = self.shopper_ids.delete(rows).tolist()
        self._fallback.forget(gone)
        self._watch_only.keep_shoppers(rows, gone)
        self._slates = self._slates[rows]
        self._evidence.keep_shoppers(rows, self.history)


def _in_order(shopper: IntArray, order: FloatArray, chances: FloatArray) -> FloatArray:
    """Give the k-th of each shopper in `order` the k-th highest of their chances."""
    ordered = np.empty(len(chances))
    ordered[np.lexsort((rank_within(shopper, order), shopper))] = chances[np.lexsort((-chances, shopper))]
    return ordered


def _by_frequency(past: Past) -> sparse.csr_matrix:
    """Repeats by their decayed count, as a number between 0 and 1."""
    found = past.weights(150.0)
    found.data = found.data / (1 + found.data)
    return found


def _below_zero(scores: FloatArray) -> FloatArray:
    """The same order, between -2 and 0, so that every candidate stands above; -inf stays."""
    finite = np.isfinite(scores)
    values = np.where(finite, scores, 0.0)
    below: FloatArray = np.where(finite, values / (1 + np.abs(values)) - 1, -np.inf)
    return below
