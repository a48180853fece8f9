"""Blend: what the shopper buys again and what they may discover, from two recommenders, in one list.

Each part ranks what it is good at: `repeats` the items that the shopper bought before, `discovery` all others. To merge
the two orders, both are read as a rate: the item is bought in the coming weeks with probability 1 - exp(-rate).

- A repeat's rate comes from its score, raised for what many shoppers buy at present (a promotion, a season):
  scale × (score × (1 + recent shoppers) ** trend) ** power.
- A discovery's rate comes from its rank among the shopper's unseen items: first × rank ** -fall.

Rates, not probabilities, are the scores: a probability near 1 would make equals of what a shopper buys very often.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import Field

from configs.errors import UsageError
from models.artifact import Arrays
from models.base import Capabilities, Events, Recommender, RecommenderConfig
from models.dataset import Dataset, FloatArray, IntArray
from models.explanation.evidence import Rules
from models.explanation.explain import Evidence
from models.parts import Part
from models.ranking import top_k
from models.registry import create, load
from models.watch_only import WatchOnly

# Both parts score so many shoppers at a time: merging takes several arrays of shoppers × items.
_ROWS = 64


class BlendConfig(RecommenderConfig):
    """The two parts and how their scores become rates."""

    repeats: Part = Part(recommender="personal_frequency")
    discovery: Part = Part(recommender="lightfm")
    watched: Part | None = Field(
        Part(recommender="watched_topics"), description="serves who watched contents and never bought; none: nobody is"
    )
    trend_weight: float = Field(0.0, ge=0, description="power of (1 + recent shoppers) by which a repeat's score grows")
    trend_days: float = Field(7.0, gt=0, description="how many days back is recent")
    repeat_scale: float = Field(0.1, gt=0, description="a repeat's rate is scale × score ** power")
    repeat_power: float = Field(1.0, gt=0, description="see repeat_scale")
    discovery_first: float = Field(0.05, gt=0, description="a new item's rate is first × rank ** -fall")
    discovery_fall: float = Field(0.3, gt=0, description="see discovery_first")
    discovery_depth: int = Field(1000, ge=1, description="new items ranked exactly; the others follow in order")
    reasons: Rules = Field(Rules(), description="when a reason counts as true")


class Blend(Recommender):
    """Repeats and discoveries by the rate at which they are bought."""

    Config: ClassVar[type[RecommenderConfig]] = BlendConfig
    capabilities: ClassVar[Capabilities] = Capabilities(cold_shoppers=True, cold_items=True, fold_in=True, repeats=True)

    def __init__(self, config: BlendConfig) -> None:
        super().__init__(config)
        self.config: BlendConfig = config
        self._trend: FloatArray = np.zeros(0)  # factor of each item
        self._evidence = Evidence()
        self._repeats = create(config.repeats.recommender, config.repeats.config)
        self._discovery = create(config.discovery.recommender, config.discovery.config)
        self._watch_only = WatchOnly()

    def save(self, folder: Path) -> None:
        """Write each part into a folder of its own below `folder`, which holds what the whole keeps."""
        super().save(folder)
        self._repeats.save(folder / "repeats")
        self._discovery.save(folder / "discovery")
        self._watch_only.save(folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            FacingsError: the folder or a part's folder holds no model, a damaged one, or one of another format.
        """
        model = super().load(folder)
        model._repeats = load(folder / "repeats")
        model._discovery = load(folder / "discovery")
        model._watch_only.load(folder)
        return model

    def _fit(self, dataset: Dataset, seed: int) -> None:
        recent = dataset.matrix((dataset.age_days <= self.config.trend_days).astype(np.float64))
        recent.eliminate_zeros()
        self._trend = (1.0 + recent.getnnz(axis=0)) ** self.config.trend_weight
        self._repeats.fit(dataset, seed=seed)
        self._discovery.fit(dataset, seed=seed)
        self._evidence = Evidence.learn(dataset, self.history, self.config.reasons)
        self._watch_only.fit(self.config.watched, dataset, self.history, seed)

    def _score(self, shopper_rows: IntArray) -> FloatArray:
        scores = np.empty((len(shopper_rows), len(self.item_ids)))
        for start in range(0, len(shopper_rows), _ROWS):
            scores[start : start + _ROWS] = self._merge(shopper_rows[start : start + _ROWS])
        self._watch_only.set_scores(scores, shopper_rows)
        return scores

    def _merge(self, shopper_rows: IntArray) -> FloatArray:
        """Rate of every item for a few known shoppers."""
        bought = self.history[shopper_rows].nonzero()
        return self._rates(bought, self._repeats._score(shopper_rows), self._discovery._score(shopper_rows))

    def _score_fold_in(self, shopper_rows: IntArray, events: Sequence[Events], attributes: pd.DataFrame) -> FloatArray:
        """Both parts fold in; what the events bought is a repeat, and what they only looked at tells of a taste."""
        for part in (self._repeats, self._discovery):
            if not part.capabilities.fold_in:
                raise UsageError(f"Part {part.name} of the blend cannot take new events without training; retrain it.")
        known = np.flatnonzero(shopper_rows >= 0)
        line, column = self.history[shopper_rows[known]].nonzero()
        purchases = [own.purchases() for own in events]
        new = np.repeat(np.arange(len(events)), [len(own.items) for own in purchases])
        lines, columns = np.r_[known[line], new], np.r_[column, np.concatenate([own.items for own in purchases])]
        return self._rates(
            (lines, columns),
            self._repeats._score_fold_in(shopper_rows, purchases, attributes),
            self._discovery._score_fold_in(shopper_rows, events, attributes),
        )

    def _rates(self, bought: tuple[IntArray, IntArray], repeats: FloatArray, scores: FloatArray) -> FloatArray:
        """Merge the scores of both parts; `bought` holds the cells that are repeats."""
        again = repeats[bought] * self._trend[bought[1]]
        scores[bought] = -np.inf
        rates = self._discovery_rates(scores)
        # A score of zero or below says no more than that the item was bought once.
        rates[bought] = self.config.repeat_scale * np.maximum(again, 0.0) ** self.config.repeat_power
        return rates

    def _score_cold(self, attributes: pd.DataFrame) -> FloatArray:
        scores = self._discovery._score_cold(attributes)
        for start in range(0, len(scores), _ROWS):
            scores[start : start + _ROWS] = self._discovery_rates(scores[start : start + _ROWS])
        return scores

    def _discovery_rates(self, scores: FloatArray) -> FloatArray:
        """Rates by rank in each row, exact down to `discovery_depth`, in the same order below; -inf stays."""
        scores[:, ~self.recommendable] = -np.inf
        first, fall = self.config.discovery_first, self.config.discovery_fall
        columns, _ = top_k(scores, self.config.discovery_depth)
        ranked = np.arange(1, columns.shape[1] + 1, dtype=np.float64)
        last = first * (len(ranked) + 1) ** -fall
        highest = np.max(scores, axis=1, keepdims=True)
        # Keeps the order of what lies below the exact ranks and never exceeds `last`.
        rates: FloatArray = last / (1.0 + np.where(np.isfinite(highest), highest, 0.0) - scores)
        rates[scores == -np.inf] = -np.inf
        rows, slots = np.nonzero(columns >= 0)
        rates[rows, columns[rows, slots]] = first * ranked[slots] ** -fall
        return rates

    def _reasons(self, shopper_rows: IntArray, columns: IntArray) -> npt.NDArray[np.object_]:
        return self._explain(shopper_rows, columns)[0]

    def _explain(
        self, shopper_rows: IntArray, columns: IntArray
    ) -> tuple[npt.NDArray[np.object_], npt.NDArray[np.object_]]:
        """By the evidence; where there is none, the discovery part's reason."""
        otherwise = self._discovery._reasons(shopper_rows, columns)
        codes, about = self._evidence.reasons(self.history, self.item_ids, shopper_rows, columns, otherwise)
        self._watch_only.set_reasons(codes, about, shopper_rows, columns)
        return codes, about

    def _cold_reasons(self, attributes: pd.DataFrame, columns: IntArray) -> npt.NDArray[np.object_]:
        return self._discovery._cold_reasons(attributes, columns)

    def _state(self) -> tuple[dict[str, Any], Arrays]:
        return {}, {"trend": self._trend, "watch_only": self._watch_only.served, **self._evidence.state()}

    def _restore(self, state: dict[str, Any], arrays: Arrays) -> None:
        self._trend = np.asarray(arrays["trend"])
        self._evidence = Evidence.restore(arrays)
        self._watch_only.served = np.asarray(arrays["watch_only"])

    def _keep_shoppers(self, rows: IntArray) -> None:
        gone = self.shopper_ids.delete(rows).tolist()
        self._evidence.keep_shoppers(rows, self.history)
        self._watch_only.keep_shoppers(rows, gone)
        self._repeats.forget(gone)
        self._discovery.forget(gone)
