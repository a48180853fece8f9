"""Slopes of sets of different sizes: the weights that choices were made by."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from models.estimators.choice import conditional_logit


def made_by(weights: list[float], sets: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sets of two to nine alternatives, of which one is chosen with the logit's probabilities."""
    random = np.random.default_rng(seed)
    sizes = random.integers(2, 10, size=sets)
    features = random.normal(size=(int(sizes.sum()), len(weights))) * [1.0, 5.0, 0.2][: len(weights)]
    utility = features @ weights + random.gumbel(size=len(features))
    starts = np.concatenate([[0], np.cumsum(sizes)])
    chosen = np.zeros(len(features), dtype=bool)
    for first, last in pairwise(starts):
        chosen[first + utility[first:last].argmax()] = True
    return features, sizes, chosen


def test_it_finds_the_weights_that_choices_were_made_by_whatever_the_scale_of_a_feature() -> None:
    truth = [1.0, -0.3, 4.0]
    assert conditional_logit(*made_by(truth, 8000)) == pytest.approx(truth, rel=0.1)


def test_what_is_the_same_within_every_set_gets_no_weight_by_a_constant() -> None:
    features, sizes, chosen = made_by([1.0], 500)
    constant = np.column_stack([features, np.full(len(features), 7.0)])
    found = conditional_logit(constant, sizes, chosen)
    assert found[1] == 0 and found[0] > 0.5


def test_the_gradient_is_that_of_the_likelihood_at_the_optimum() -> None:
    features, sizes, chosen = made_by([1.0, -0.3], 400)
    best = conditional_logit(features, sizes, chosen, ridge=0.0)

    def likelihood(weights: np.ndarray) -> float:
        scores, starts = features @ weights, np.concatenate([[0], np.cumsum(sizes)[:-1]])
        return float(scores[chosen].sum() - np.log(np.add.reduceat(np.exp(scores), starts)).sum())

    around = [likelihood(best + step) for step in np.vstack([np.eye(2), -np.eye(2)]) * 0.05]
    assert likelihood(best) > max(around)


def test_no_choice_and_no_feature_that_varies_give_no_weight() -> None:
    features, sizes, _ = made_by([1.0, -0.3], 5)
    assert not conditional_logit(features, sizes, np.zeros(len(features), dtype=bool)).any()
    assert not conditional_logit(np.ones((4, 2)), np.array([4]), np.array([True, False, False, False])).any()
