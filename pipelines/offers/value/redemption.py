"""Who redeems something of a campaign that is sent to them: a probability, calibrated on shoppers it has not seen."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

import numpy as np
import polars as pl

from configs.errors import FacingsError
from models.dataset import FloatArray, IntArray
from models.estimators.calibration import Calibration
from models.estimators.learners import Learner, Predicts, linear
from pipelines.offers.value.campaign_history import features_of

# Trees were worse on unseen shoppers of Complete Journey's campaigns: 461 redemptions are little to learn from.
LEARNER = linear(binary=True, penalty=10)
FOLDS = 5


@dataclass(frozen=True)
class Redemption:
    """A trained model of `redeemed`; `fit` makes one."""

    features: tuple[str, ...]
    kinds: tuple[str, ...]
    model: Predicts
    calibration: Calibration

    @classmethod
    def fit(cls, history: pl.DataFrame, *, learner: Learner = LEARNER, seed: int = 0) -> Self:
        """Learn from those whom past campaigns were sent to.

        Args:
            history: of campaigns that are over (`campaign_history`, `ended_before`).
            learner: of the probability; what it says of shoppers of other folds is what is calibrated.
            seed: of the folds, which hold all rows of a shopper.

        Raises:
            FacingsError: fewer shoppers than folds.
        """
        sent = history.filter("targeted")
        shopper = np.unique(sent["shopper_id"].to_numpy(), return_inverse=True)[1].astype(np.int64)
        if sent.is_empty() or shopper.max() + 1 < FOLDS:
            raise FacingsError(
                f"Campaigns were sent to {sent['shopper_id'].n_unique()} shoppers; a redemption model needs {FOLDS}."
            )
        names, kinds = tuple(features_of(sent)), tuple(sorted(sent["kind"].unique()))
        features, redeemed = _matrix(sent, names, kinds), sent["redeemed"].to_numpy().astype(np.float64)
        fold = np.random.default_rng(seed).permutation(int(shopper.max()) + 1)[shopper] % FOLDS
        told = _from_others(learner, features, redeemed, fold)
        return cls(names, kinds, learner(features, redeemed, None), Calibration.fit(told, redeemed))

    def chance(self, history: pl.DataFrame) -> FloatArray:
        """Probability that each row's shopper redeems something, were the campaign sent to them; shape (rows,)."""
        return self.calibration.predict(self.model.predict(_matrix(history, self.features, self.kinds)))


def ended_before(history: pl.DataFrame, moment: datetime) -> pl.DataFrame:
    """Rows whose outcome was known at a moment."""
    return history.filter(pl.col("at") + pl.col("weeks") * timedelta(weeks=1) <= moment)


def _matrix(history: pl.DataFrame, features: tuple[str, ...], kinds: tuple[str, ...]) -> FloatArray:
    """Features as float64, then a column for each kind of campaign; shape (rows, features + kinds)."""
    columns = [(pl.col("kind") == kind).cast(pl.Float64).alias(f"kind {kind}") for kind in kinds]
    return history.select(*features, *columns).to_numpy().astype(np.float64)


def _from_others(learner: Learner, features: FloatArray, redeemed: FloatArray, fold: IntArray) -> FloatArray:
    told = np.empty(len(redeemed))
    for number in range(FOLDS):
        inside = fold == number
        told[inside] = learner(features[~inside], redeemed[~inside], None).predict(features[inside])
    return told
