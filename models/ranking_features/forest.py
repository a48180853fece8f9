"""Trees of the second stage: binary models give probabilities, LambdaRank the order; the mean over several of each.

Models that differ only by their seed err differently, so that their mean ranks better than one of as many trees.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from models.dataset import FloatArray
from models.estimators.boosting import Boosting, Objective
from models.ranking_features.windows import Examples

Float32Array = npt.NDArray[np.float32]


class Trees(BaseModel):
    """How trees are grown."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    binary: int = Field(1, ge=1, description="binary models, which give probabilities")
    ranking: int = Field(1, ge=1, description="LambdaRank models, which give the order")
    rounds: int = Field(120, ge=1, description="trees of a model")
    learning_rate: float = Field(0.07, gt=0, le=1)
    leaves: int = Field(31, ge=2, description="most leaves of a tree")
    least_rows: int = Field(100, ge=1, description="fewest rows of a leaf")
    feature_share: float = Field(0.3, gt=0, le=1, description="features each tree may use")
    truncation: int = Field(30, ge=1, description="LambdaRank looks at pairs of which one is above this rank")


class Forest:
    """Trained models of both kinds."""

    def __init__(self, names: Sequence[str], binary: list[Boosting], ranking: list[Boosting]) -> None:
        self._names = names
        self._binary = binary
        self._ranking = ranking

    @classmethod
    def train(cls, examples: Examples, trees: Trees, *, seed: int) -> Self:
        """Train each model with a seed of its own, counted from `seed`."""
        parameters = {
            "learning_rate": trees.learning_rate,
            "num_leaves": trees.leaves,
            "min_data_in_leaf": trees.least_rows,
            "feature_fraction": trees.feature_share,
            "bagging_fraction": 0.7,
            "bagging_freq": 1,
            "lambda_l2": 5.0,
            "max_bin": 63,
            "lambdarank_truncation_level": trees.truncation,
        }

        def grow(objective: Objective, number: int) -> Boosting:
            return Boosting.train(
                examples.table.values,
                examples.labels,
                objective=objective,
                rounds=trees.rounds,
                groups=examples.groups,
                parameters=parameters,
                seed=seed + number,
            )

        return cls(
            examples.table.names,
            [grow("binary", number) for number in range(trees.binary)],
            [grow("lambdarank", number) for number in range(trees.ranking)],
        )

    def log_odds(self, rows: Float32Array) -> FloatArray:
        """Mean log odds of each row; shape (rows,)."""
        chances = [np.clip(model.predict(rows), 1e-12, 1 - 1e-12) for model in self._binary]
        mean: FloatArray = np.mean([np.log(chance / (1 - chance)) for chance in chances], axis=0).astype(np.float64)
        return mean

    def order(self, rows: Float32Array) -> FloatArray:
        """Mean rank score of each row, higher is better; shape (rows,)."""
        scores = [model.predict(rows) for model in self._ranking]
        mean: FloatArray = np.mean(scores, axis=0).astype(np.float64)
        return mean

    def importance(self) -> dict[str, float]:
        """Share of each feature in the gains, mean over all models, the greatest first."""
        gains = [model.gains() for model in (*self._binary, *self._ranking)]
        shares = np.mean([gain / max(float(gain.sum()), 1e-12) for gain in gains], axis=0)
        order = np.argsort(-shares, kind="stable")
        return {self._names[place]: float(shares[place]) for place in order}
