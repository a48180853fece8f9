"""Newcomers: which of a category's new items a shopper chooses, learned from how earlier newcomers fared.

An item that nobody has bought is known by its kinds: its type, its maker, its maker's goods of that type … Its score is

    category + sum over its kinds of weight × log(1 + the shopper's purchases of the kind) + weight × prospects

- The weights are those of a conditional logit (McFadden, 1974) over past windows: each time a shopper bought something
  that was new in a category then, it was one of the category's new items; what was known before is put back.
- The prospects are log odds that anybody buys the item in a window, by trees over how its kinds fare: their sales, and
  how many of their earlier newcomers found buyers. A window's prospects come from trees that were grown on the others.
- Weights tell the items of a category apart. Categories follow each other by how much the shopper buys there.

Items sold before are scored in the same way, by their kinds alone. A shop too young to have a past window gives every
kind the weight 1; `learned` tells.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator
from scipy import sparse

from models.artifact import Arrays
from models.base import Capabilities, RecommenderConfig
from models.collaborative import Collaborative, CollaborativeConfig
from models.content.newcomers import Kinds, Past, Window, choices, kinds_table, past_windows
from models.dataset import BoolArray, Dataset, FloatArray
from models.estimators.boosting import Boosting
from models.estimators.choice import conditional_logit

# Trees of two halves of the windows tell each other's prospects.
_FOLDS = 2


class ProspectTrees(BaseModel):
    """How the trees of the prospects are grown."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rounds: int = Field(150, ge=1, description="trees")
    learning_rate: float = Field(0.05, gt=0, le=1)
    leaves: int = Field(15, ge=2, description="most leaves of a tree")
    least_rows: int = Field(50, ge=1, description="fewest items of a leaf")
    feature_share: float = Field(0.3, gt=0, le=1, description="features each tree may use")


class NewcomersConfig(CollaborativeConfig):
    """What makes a kind, and which past windows are learned from."""

    decay_days: float | None = Field(
        180.0, gt=0, description="a purchase counts exp(-age / decay); none: each counts 1"
    )
    groupings: tuple[tuple[str, ...], ...] = Field(
        (("category",),), description="content columns; items that are alike in all of one grouping are of one kind"
    )
    shared_levels: int = Field(2, ge=0, description="a kind is within so many first steps of the category path")
    windows: int = Field(5, ge=1, description="past windows to learn from, back to back")
    window_days: float = Field(30.0, gt=0, description="length of each")
    settle_days: float = Field(60.0, gt=0, description="an item first seen in the data's first days may be an old one")
    alternatives: int = Field(60, ge=1, description="new items not chosen that each choice is learned against")
    trees: ProspectTrees = ProspectTrees()

    @model_validator(mode="after")
    def _counts_are_sums(self) -> Self:
        if self.counts != "count":
            raise ValueError("newcomers takes the logarithm of summed purchases itself; leave out counts")
        return self


class Newcomers(Collaborative):
    """Scores items by their kinds: who buys these, and how their newcomers fare."""

    Config: ClassVar[type[RecommenderConfig]] = NewcomersConfig
    capabilities: ClassVar[Capabilities] = Capabilities(cold_shoppers=True, cold_items=True, fold_in=True, repeats=True)

    def __init__(self, config: NewcomersConfig) -> None:
        super().__init__(config)
        self.config: NewcomersConfig = config
        self._of_items = sparse.csr_matrix((0, 0), dtype=np.float32)  # 1 where an item (row) is of a kind
        self._of_kinds = sparse.csr_matrix((0, 0), dtype=np.float32)  # the same, a row for each kind
        self._weights_of: npt.NDArray[np.float32] = np.zeros(0, np.float32)  # of each kind
        self._prospects: FloatArray = np.zeros(0)  # of each item, weighted
        self._windows = 0

    @property
    def learned(self) -> bool:
        """Whether there was a past window to learn from."""
        return self._windows > 0

    def _learn(self, weights: sparse.csr_matrix, dataset: Dataset, seed: int) -> None:
        config = self.config
        # The first grouping is the category itself: it orders categories, and no choice within one tells its weight.
        kinds = Kinds.of(dataset, ((), *config.groupings), config.shared_levels)
        age = dataset.age_days
        usable = dataset.recommendable[dataset.item_rows]
        past = Past(
            kinds,
            len(dataset.shoppers),
            dataset.shopper_rows[usable],
            dataset.item_rows[usable],
            age[usable],
            float(age.max()),
            config.settle_days,
        )
        windows = past_windows(past, dataset.recommendable, config.windows, config.window_days)
        self._windows = len(windows)
        of_grouping, of_prospects = np.ones(kinds.code.shape[1]), 0.0
        self._prospects = np.zeros(len(dataset.items))
        if windows:
            tables = [window.past.prospects()[window.cold] for window in windows]
            learned = self._choice_weights(windows, tables, seed)
            of_grouping[1:], of_prospects = learned[:-1], float(learned[-1])
            trees = self._trees(windows, tables, seed)
            self._prospects = of_prospects * _log_odds(trees, past.prospects())
        self._of_items, self._of_kinds = kinds.table, kinds.table.T.tocsr()
        self._weights_of = np.zeros(kinds.count, np.float32)
        self._weights_of[kinds.code] = of_grouping.astype(np.float32)

    def _choice_weights(self, windows: list[Window], tables: list[npt.NDArray[np.float32]], seed: int) -> FloatArray:
        """Weights of the groupings and, last, of the prospects."""
        random = np.random.default_rng(seed)
        parts = []
        for number, (window, table) in enumerate(zip(windows, tables, strict=True)):
            others = [other for other in range(len(windows)) if other % _FOLDS != number % _FOLDS]
            odds = np.zeros(len(window.past.kinds.category))
            if others:
                trees = self._trees([windows[other] for other in others], [tables[other] for other in others], seed)
                odds[window.cold] = _log_odds(trees, table)
            shopper, item, sizes, chosen = choices(window, self.config.alternatives, random)
            cells, kinds = window.past.tastes(self.config.decay_days), window.past.kinds
            tastes = [np.log1p(cells.at(shopper * kinds.count + code)) for code in kinds.code[item, 1:].T]
            parts.append((np.column_stack([*tastes, odds[item]]).astype(np.float32), sizes, chosen))
        features, sizes, chosen = (np.concatenate(column) for column in zip(*parts, strict=True))
        return conditional_logit(features, sizes, chosen)

    def _trees(self, windows: list[Window], tables: list[npt.NDArray[np.float32]], seed: int) -> Boosting | None:
        """Trees that tell whether anybody buys a new item in a window; none where all or none of them were bought."""
        labels = np.concatenate([np.isin(window.cold, window.item) for window in windows])
        if labels.all():
            return None
        grown = self.config.trees
        return Boosting.train(
            np.concatenate(tables),
            labels,
            objective="binary",
            rounds=grown.rounds,
            parameters={
                "learning_rate": grown.learning_rate,
                "num_leaves": grown.leaves,
                "min_data_in_leaf": grown.least_rows,
                "feature_fraction": grown.feature_share,
                "bagging_fraction": 0.7,
                "bagging_freq": 1,
                "lambda_l2": 5.0,
                "max_bin": 63,
            },
            seed=seed,
            threads=1,
        )

    # ------------------------------------------------------------------ scoring

    def _relevance(self, weights: sparse.csr_matrix) -> FloatArray:
        """By the kinds; of a shopper of whom nothing is known, 0."""
        tastes = (weights @ self._of_items).tocsr()
        tastes.data = np.log1p(tastes.data) * self._weights_of[tastes.indices]
        scores = np.asarray((tastes @ self._of_kinds).toarray(), dtype=np.float64) + self._prospects
        scores[weights.getnnz(axis=1) == 0] = 0.0
        return scores

    def _scored(self) -> BoolArray:
        return np.ones(len(self.item_ids), dtype=bool)

    # ------------------------------------------------------------------ keeping

    def _state(self) -> tuple[dict[str, Any], Arrays]:
        # What was learned was learned over everybody; what is kept of a shopper is the history that all of these keep.
        state, arrays = super()._state()
        return {**state, "windows": self._windows}, {
            **arrays,
            "kinds": self._of_items.indices.reshape(len(self.item_ids), -1).astype(np.int32),
            "kind_weights": self._weights_of,
            "prospects": self._prospects,
        }

    def _restore(self, state: dict[str, Any], arrays: Arrays) -> None:
        super()._restore(state, arrays)
        self._windows = state["windows"]
        self._weights_of, self._prospects = np.asarray(arrays["kind_weights"]), np.asarray(arrays["prospects"])
        self._of_items = kinds_table(np.asarray(arrays["kinds"]), len(self._weights_of))
        self._of_kinds = self._of_items.T.tocsr()


def _log_odds(trees: Boosting | None, table: npt.NDArray[np.float32]) -> FloatArray:
    if trees is None:
        return np.zeros(len(table))
    chances = np.clip(trees.predict(table, threads=1), 1e-6, 1 - 1e-6)
    found: FloatArray = np.log(chances / (1 - chances))
    return found
