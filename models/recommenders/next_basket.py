"""Next basket: a learned second stage over what a shopper buys again, what sells now and what others like them buy.

Each shopper's last visits are foreseen from what was known without them (their own last visits and everybody else's):
candidates and features by `models/baskets/features.py`, and gradient-boosted trees, a LambdaRank and a binary one,
learn which candidates were bought. The same features, computed for the visit to come, give its list. What `knows` says
of a visit's date is what training had, too: see `models/baskets/scenes.py`.

Candidates stand above 0, by the mean of the trees' standardised scores; every other item below, by its sales. Who never
bought gets the best sold: what the trees learned is of shoppers with a history.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import Field

from models.artifact import Arrays
from models.base import Capabilities, Recommender, RecommenderConfig
from models.baskets.features import Features, Kinds, Pool, labels
from models.baskets.log import Float32Array, Purchases, Visits, last_visits, next_day
from models.baskets.scenes import Knows
from models.content.vocabulary import Column, Vocabulary
from models.dataset import BoolArray, Dataset, FloatArray, IntArray
from models.estimators.boosting import Boosting
from models.reasons import Reason

_DAY = 86_400
_KINDS = 200  # words of one shopper attribute that are told apart


class NextBasketConfig(RecommenderConfig):
    """What is known, how much is learned from, and how the trees grow."""

    knows: Knows = Field("date_known_past", description="what is known of a visit's date and of which sales")
    learned_from: Literal["the_day_before", "last_visits_out"] = Field(
        "the_day_before",
        description="what is known of others when a visit is learned from: their sales until the day before, as a shop "
        "has it at night (date_known_past only), or these without each one's last visits, as leave-last-out has it",
    )
    levels: int = Field(4, ge=1, le=20, description="visits of each shopper to learn from, counted from the last")
    negatives: int = Field(40, ge=1, description="candidates not bought that a visit is learned with, about")
    neighbours: int = Field(300, ge=1, description="shoppers of like history whose purchases are looked at")
    objectives: tuple[Literal["lambdarank", "binary"], ...] = Field(("lambdarank", "binary"), min_length=1)
    rounds: int = Field(250, ge=1, description="trees of each objective")
    leaves: int = Field(31, ge=2, description="leaves of a tree")
    learning_rate: float = Field(0.06, gt=0, le=1)
    rows_in_leaf: int = Field(100, ge=1, description="fewest rows of a leaf")
    features_share: float = Field(0.5, gt=0, le=1, description="share of features that a tree may use")
    truncation: int = Field(20, ge=1, description="places that LambdaRank cares for")
    threads: int = Field(0, ge=0, description="0: as many as the machine has, one where rows are few")


class NextBasket(Recommender):
    """Ranks candidates by trees trained on earlier visits."""

    Config: ClassVar[type[RecommenderConfig]] = NextBasketConfig
    capabilities: ClassVar[Capabilities] = Capabilities(
        cold_shoppers=True, cold_items=False, fold_in=False, repeats=True, visit_date=True
    )

    def __init__(self, config: NextBasketConfig) -> None:
        super().__init__(config)
        self.config: NextBasketConfig = config
        self._trees: list[Boosting] = []
        self._scale: FloatArray = np.zeros((0, 2))  # mean and spread of each model's scores in training
        self._codes: IntArray = np.zeros(0, np.int64)  # row in the log of each shopper
        self._log = Purchases(*(np.zeros(0, np.int64),) * 3, np.zeros(0, np.float32), (0, 0))
        self._kinds = Kinds({}, {})
        self._features: Features | None = None

    def _fit(self, dataset: Dataset, seed: int) -> None:
        self._log, self._kinds = Purchases.of(dataset), kinds_of(dataset)
        self._codes = np.arange(len(dataset.shoppers))
        self._features, self._trees, self._scale = None, [], np.zeros((0, 2))
        rows = [
            self._lessons(level, np.random.default_rng([seed, level])) for level in range(1, self.config.levels + 1)
        ]
        rows = [row for row in rows if len(row[1])]
        if rows:
            features, label, groups = (np.concatenate(parts) for parts in zip(*rows, strict=True))
            self._learn(features, label, groups, seed)

    def _lessons(self, level: int, random: np.random.Generator) -> tuple[Float32Array, IntArray, IntArray]:
        """Features, labels and rows of each visit, of everybody's `level`-th last visit."""
        known, visits, bought = last_visits(self._log, level)
        nothing = np.zeros((0, 0), np.float32), np.zeros(0, np.int64), np.zeros(0, np.int64)
        if not len(visits):
            return nothing
        width = self._log.size[1]
        wanted = np.sort(np.searchsorted(visits.shoppers, bought.shoppers) * width + bought.items)
        found: list[tuple[Float32Array, IntArray, IntArray]] = []
        whole = self.config.learned_from == "the_day_before" and self.config.knows == "date_known_past"
        made = self._made(self._log if whole else known)
        for candidates in made.of(visits):
            label = labels(candidates, wanted, width)
            size = np.bincount(candidates.visits, minlength=len(visits))[candidates.visits]
            learned = np.bincount(candidates.visits, label, len(visits))[candidates.visits] > 0
            kept = learned & ((label == 1) | (random.random(len(label)) * size < self.config.negatives))
            groups = np.bincount(candidates.visits[kept], minlength=len(visits))
            found.append((candidates.features[kept], label[kept], groups[np.unique(candidates.visits[kept])]))
        features, label, groups = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return (features, label, groups) if len(label) else nothing

    def _learn(self, features: Float32Array, label: IntArray, groups: IntArray, seed: int) -> None:
        parameters = {
            "num_leaves": self.config.leaves,
            "learning_rate": self.config.learning_rate,
            "min_data_in_leaf": self.config.rows_in_leaf,
            "feature_fraction": self.config.features_share,
            "bagging_fraction": 0.8,
            "bagging_freq": 1,
            "lambda_l2": 5.0,
            "max_bin": 63,
        }
        scale = []
        for objective in self.config.objectives:
            own = {"lambdarank_truncation_level": self.config.truncation} if objective == "lambdarank" else {}
            trees = Boosting.train(
                features,
                label,
                objective=objective,
                rounds=self.config.rounds,
                groups=groups,
                parameters={**parameters, **own},
                seed=seed,
                threads=self.config.threads,
            )
            scores = _unbounded(trees.predict(features, threads=self.config.threads), objective)
            self._trees.append(trees)
            scale.append((scores.mean(), scores.std() + 1e-9))
        self._scale = np.array(scale)

    def _made(self, log: Purchases) -> Features:
        return Features(log, self._kinds, self.config.knows, Pool(), self.config.neighbours)

    # ------------------------------------------------------------------ scoring

    def _score(self, shopper_rows: IntArray) -> FloatArray:
        return self._scored(shopper_rows, np.full(len(shopper_rows), next_day(self.as_of)))

    def _score_at(self, shopper_rows: IntArray, moments: FloatArray) -> FloatArray:
        return self._scored(shopper_rows, (moments // _DAY).astype(np.int64))

    def _scored(self, shopper_rows: IntArray, days: IntArray) -> FloatArray:
        if self._features is None:
            self._features = self._made(self._log)
        codes = self._codes[shopper_rows]
        order = np.argsort(codes)
        order = order[self._bought()[codes[order]]]
        scores = np.tile(self._filling(), (len(codes), 1))
        for candidates in self._features.of(Visits(codes[order], days[order])):
            scores[order[candidates.visits], candidates.items] = _above_zero(self._valued(candidates.features))
        return scores

    def _valued(self, features: Float32Array) -> FloatArray:
        """Mean of the trees' standardised scores; without trees (nothing to learn from) own and others' purchases."""
        if not self._trees:
            assert self._features is not None
            names = self._features.names
            own, others = (features[:, names.index(name)].astype(np.float64) for name in ("own_rate", "others"))
            return np.log(own + others + 1e-6)
        values = np.zeros(len(features))
        for trees, objective, (mean, spread) in zip(self._trees, self.config.objectives, self._scale, strict=True):
            values += (_unbounded(trees.predict(features, threads=self.config.threads), objective) - mean) / spread
        return values / len(self._trees)

    def _score_cold(self, attributes: pd.DataFrame) -> FloatArray:
        return np.tile(self._filling(), (len(attributes), 1))

    def _bought(self) -> BoolArray:
        """Who of the log ever bought; shape (rows of the log's shoppers,)."""
        return np.bincount(self._log.shoppers, minlength=self._log.size[0]) > 0

    def _filling(self) -> FloatArray:
        """Scores below 0, by all sales; shape (items,)."""
        counts = np.bincount(self._log.items, minlength=len(self.item_ids))
        filling: FloatArray = counts / (counts.max(initial=0) + 1.0) - 1.0
        return filling

    def _reasons(self, shopper_rows: IntArray, columns: IntArray) -> npt.NDArray[np.object_]:
        """Bought before exactly for repeats; popular for the best sold of four weeks, and all of who never bought."""
        reasons = super()._reasons(shopper_rows, columns)
        recent = self._log.days >= self._log.days.max(initial=0) - 28
        counts = np.bincount(self._log.items[recent], minlength=len(self.item_ids))
        best = np.zeros(len(self.item_ids) + 1, dtype=bool)
        best[np.argsort(-counts, kind="stable")[:100]] = True
        best_sold = best[columns] | ~self._bought()[self._codes[shopper_rows]][:, None]
        reasons[(reasons == str(Reason.SIMILAR_TASTE)) & best_sold] = str(Reason.POPULAR)
        return reasons

    # ------------------------------------------------------------------ keeping

    def _keep_shoppers(self, rows: IntArray) -> None:
        self._codes = self._codes[rows]

    def _state(self) -> tuple[dict[str, Any], Arrays]:
        log, kinds = self._log, self._kinds
        arrays: Arrays = {
            "scale": self._scale,
            "codes": self._codes,
            "log_shoppers": log.shoppers,
            "log_items": log.items,
            "log_days": log.days,
            "log_prices": log.prices,
            **{f"trees_{number}": trees.to_array() for number, trees in enumerate(self._trees)},
            **{f"item_{number}": codes for number, codes in enumerate(kinds.items.values())},
            **{f"shopper_{number}": codes for number, codes in enumerate(kinds.shoppers.values())},
        }
        state = {
            "size": list(log.size),
            "trees": len(self._trees),
            "item_kinds": list(kinds.items),
            "shopper_kinds": list(kinds.shoppers),
        }
        return state, arrays

    def _restore(self, state: dict[str, Any], arrays: Arrays) -> None:
        kept = {name: np.asarray(array) for name, array in arrays.items()}
        self._scale, self._codes, self._features = kept["scale"], kept["codes"], None
        size = (int(state["size"][0]), int(state["size"][1]))
        self._log = Purchases(kept["log_shoppers"], kept["log_items"], kept["log_days"], kept["log_prices"], size)
        self._kinds = Kinds(
            {name: kept[f"item_{number}"] for number, name in enumerate(state["item_kinds"])},
            {name: kept[f"shopper_{number}"] for number, name in enumerate(state["shopper_kinds"])},
        )
        self._trees = [Boosting.from_array(kept[f"trees_{number}"]) for number in range(state["trees"])]


def kinds_of(dataset: Dataset) -> Kinds:
    """Codes of the content and attributes that the recipe names."""
    items = {name: _coded(dataset.items[name]) for name in dataset.item_content}
    # Of shoppers every kind has a row of all items: numbers are bucketed, and of words the commonest are kept.
    known = Vocabulary.learn(dataset.shoppers, dataset.lasting_attributes)
    shoppers = {column.name: _kind_codes(column, dataset.shoppers[column.name]) for column in known.columns}
    return Kinds(items, shoppers)


def _kind_codes(column: Column, values: pd.Series) -> IntArray:
    """Bucket of a number, or place among the commonest words; -1: neither known nor common."""
    if column.kind == "number":
        numbers = pd.to_numeric(values, errors="coerce").to_numpy(np.float64)
        return np.where(np.isnan(numbers), -1, np.searchsorted(np.asarray(column.bounds), numbers, side="right"))
    words = values.astype("string")
    common = words.value_counts().index[:_KINDS].sort_values()
    codes: IntArray = pd.Index(common).get_indexer(pd.Index(words)).astype(np.int64)
    return codes


def _coded(column: pd.Series) -> IntArray:
    codes: IntArray = pd.factorize(column.astype("string"), sort=True)[0].astype(np.int64)
    return codes


def _unbounded(scores: FloatArray, objective: str) -> FloatArray:
    """A probability as log odds; a rank score as it is."""
    if objective != "binary":
        return scores
    chance = np.clip(scores, 1e-9, 1 - 1e-9)
    return np.log(chance / (1 - chance))


def _above_zero(values: FloatArray) -> FloatArray:
    """Squeeze into (0, 1) without changing the order."""
    return 0.5 + np.arctan(values) / 3.2
