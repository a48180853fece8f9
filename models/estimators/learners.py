"""Base learners that other models are built of: anything with `fit(features, target, weights)` that can predict.

A learner is a function that trains and returns what predicts; scikit-learn's estimators fit as
`lambda x, y, w: Ridge().fit(x, y, sample_weight=w)`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from models.dataset import FloatArray
from models.estimators.boosting import Boosting


class Predicts(Protocol):
    """A trained learner."""

    def predict(self, features: FloatArray) -> FloatArray:
        """Expected targets of rows, probabilities where the target is 0 or 1; shape (rows,)."""
        ...


Learner = Callable[[FloatArray, FloatArray, FloatArray | None], Predicts]
"""(features (rows, features), target (rows,), weights (rows,) or None) -> what predicts the target."""


def trees(
    *, binary: bool, rounds: int = 100, parameters: Mapping[str, Any] | None = None, seed: int = 0, threads: int = 0
) -> Learner:
    """Gradient-boosted trees (`models.estimators.boosting`), `monotone_constraints` among their parameters.

    Args:
        binary: the target is 0 or 1, and a probability is predicted; else any number, by squared error.
        rounds, seed, threads: as of `Boosting.train`.
        parameters: LightGBM's.
    """

    def fit(features: FloatArray, target: FloatArray, weights: FloatArray | None) -> Predicts:
        return Boosting.train(
            features,
            target,
            objective="binary" if binary else "regression",
            rounds=rounds,
            parameters=parameters,
            weights=weights,
            seed=seed,
            threads=threads,
        )

    return fit


def linear(*, binary: bool, penalty: float = 1.0) -> Learner:
    """Ridge regression, or logistic regression with the same penalty; a feature that is missing counts as its mean.

    Features are standardised, and the intercept is free. For few rows, and for targets that are sums of effects.

    Args:
        binary: the target is 0 or 1, and a probability is predicted.
        penalty: rows' worth of the squared slope of a feature of deviation 1; above 0.
    """

    def fit(features: FloatArray, target: FloatArray, weights: FloatArray | None) -> Predicts:
        from sklearn.dummy import DummyRegressor
        from sklearn.impute import SimpleImputer
        from sklearn.linear_model import LogisticRegression, Ridge
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        if binary and (target == target[0]).all():
            return _Estimator(DummyRegressor().fit(features, target), binary=False)
        last = LogisticRegression(C=1 / penalty, max_iter=1000) if binary else Ridge(alpha=penalty)
        before = SimpleImputer(keep_empty_features=True), StandardScaler()
        steps = make_pipeline(*before, last)
        steps.fit(features, target, **{f"{steps.steps[-1][0]}__sample_weight": weights})
        return _Estimator(steps, binary)

    return fit


@dataclass(frozen=True)
class _Estimator:
    """What scikit-learn fitted."""

    steps: Any
    binary: bool

    def predict(self, features: FloatArray) -> FloatArray:
        found = self.steps.predict_proba(features)[:, 1] if self.binary else self.steps.predict(features)
        return np.asarray(found, np.float64)
