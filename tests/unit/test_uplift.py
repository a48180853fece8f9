"""Uplift learners find an effect that is known, and what judges them is right on average."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import isotonic_regression
from scipy.special import expit

from configs.errors import FacingsError
from models.dataset import FloatArray
from models.estimators.learners import Learner, Predicts, linear, trees
from models.uplift.meta_learners import (
    Experience,
    Nuisance,
    Uplift,
    cross_fit,
    dr_learner,
    rising,
    row_effects,
    t_learner,
    x_learner,
)
from models.uplift.quality import average_effect, effective_sample, overlap, targeting

ROWS = 6000
SMALL = {"num_leaves": 15, "min_data_in_leaf": 40, "learning_rate": 0.08}
FOREST = trees(binary=False, rounds=60, parameters=SMALL, threads=1)
LINE = linear(binary=False)


class Flat:
    """A learner that is always wrong: it says one number whatever it is shown."""

    def __init__(self, value: float) -> None:
        self.value = value

    def __call__(self, features: FloatArray, target: FloatArray, weights: FloatArray | None) -> Predicts:
        return self

    def predict(self, features: FloatArray) -> FloatArray:
        return np.full(len(features), self.value)


def effect_of(features: FloatArray) -> FloatArray:
    """Of levels 1 and 2."""
    return np.stack([0.5 + features[:, 0], 1.0 + 2 * features[:, 0]], axis=1)


def drawn(seed: int, rows: int = ROWS, *, rare: bool = False) -> tuple[Experience, FloatArray]:
    """Three levels, given by features 0 and 1; feature 1 also moves the outcome: a plain difference is biased."""
    random = np.random.default_rng(seed)
    features = random.normal(size=(rows, 4))
    odds = np.stack([np.zeros(rows), 0.9 * features[:, 1], 0.6 * features[:, 1] - 0.4 * features[:, 0]], axis=1)
    if rare:
        odds[:, 1:] -= 2.5
    chance = np.exp(odds) / np.exp(odds).sum(axis=1, keepdims=True)
    level = (random.random(rows)[:, None] > np.cumsum(chance, axis=1)).sum(axis=1)
    gained = np.concatenate([np.zeros((rows, 1)), effect_of(features)], axis=1)[np.arange(rows), level]
    outcome = 3 * features[:, 1] + np.abs(features[:, 2]) + gained + random.normal(size=rows)
    return Experience(features, level, outcome), chance


def dr(data: Experience, learner: Learner = FOREST) -> Uplift:
    return dr_learner(data, cross_fit(data, FOREST, linear(binary=True)), learner)[0]


LEARNERS: dict[str, Callable[[Experience], Uplift]] = {
    "T": lambda data: t_learner(data, FOREST),
    "X": lambda data: x_learner(data, FOREST, FOREST),
    "DR": dr,
}


@pytest.mark.parametrize("name", LEARNERS)
def test_each_learner_finds_who_gains_and_how_much_at_each_level(name: str) -> None:
    data, _ = drawn(1)
    fresh = np.random.default_rng(2).normal(size=(2000, 4))
    found, truth = LEARNERS[name](data).effects(fresh), effect_of(fresh)
    assert found.shape == truth.shape
    for level in range(2):
        assert np.corrcoef(found[:, level], truth[:, level])[0, 1] > 0.8
        assert found[:, level].mean() == pytest.approx(truth[:, level].mean(), abs=0.2)


def test_x_is_nearer_than_t_where_few_were_treated() -> None:
    data, _ = drawn(3, rare=True)
    fresh = np.random.default_rng(4).normal(size=(2000, 4))
    errors = [
        np.abs(model.effects(fresh) - effect_of(fresh)).mean()
        for model in (t_learner(data, FOREST), x_learner(data, FOREST, LINE))
    ]
    assert errors[1] < 0.6 * errors[0]


@pytest.mark.parametrize("wrong", ["outcome", "propensity", "both"])
def test_the_doubly_robust_effect_is_right_while_one_nuisance_is(wrong: str) -> None:
    data, _ = drawn(5, 20_000)
    outcome = Flat(7.0) if wrong != "propensity" else linear(binary=False)
    flat = np.full((len(data.level), 3), 1 / 3)
    nuisance = cross_fit(data, outcome, linear(binary=True) if wrong == "outcome" else flat, folds=2)
    _, effects = dr_learner(data, nuisance, LINE)
    truth = effect_of(data.features).mean(axis=0)
    intervals = [average_effect(effects[:, level], data) for level in range(2)]
    missed = max(abs(one.value - true) for one, true in zip(intervals, truth, strict=True))
    if wrong == "both":
        assert missed > 1  # so the test can tell
    else:
        assert missed < 0.2
        assert all(one.low - 0.1 < true < one.high + 0.1 for one, true in zip(intervals, truth, strict=True))


def test_intervals_of_the_average_effect_hold_the_truth_as_often_as_they_say() -> None:
    held = 0
    for seed in range(200):
        data, chance = drawn(seed, 400)
        effects = row_effects(data, Nuisance(np.zeros((400, 3)), chance, 0.0))[:, 0]
        found = average_effect(effects - (effect_of(data.features)[:, 0] - 0.5), data)
        held += found.low <= 0.5 <= found.high
    assert 0.91 <= held / 200 <= 0.985


def test_rows_of_a_group_do_not_count_as_many() -> None:
    random = np.random.default_rng(6)
    values, group = np.repeat(random.normal(size=200), 10), np.repeat(np.arange(200), 10)
    level = np.arange(2000) % 2
    as_one = average_effect(values, Experience(np.zeros((2000, 1)), level, values, group))
    as_many = average_effect(values, Experience(np.zeros((2000, 1)), level, values))
    assert (as_one.high - as_one.low) > 3 * (as_many.high - as_many.low)


def test_known_propensities_are_used_and_what_is_clipped_is_told() -> None:
    data, chance = drawn(7, 3000, rare=True)
    assert np.array_equal(cross_fit(data, LINE, chance, clip=0.0001).propensity, chance)
    clipped = cross_fit(data, LINE, chance, clip=0.2)
    own = chance[np.arange(3000), data.level]
    assert clipped.propensity.min() == 0.2 and clipped.clipped == pytest.approx((own < 0.2).mean())
    assert (effective_sample(clipped, data) <= np.bincount(data.level) + 1e-9).all()
    table = overlap(clipped, data)
    assert table["rows"].sum() == np.isin(data.level, [0, 1]).sum() == (table["treated"] + table["control"]).sum()


@given(arrays(float, st.tuples(st.integers(1, 4), st.integers(1, 5)), elements=st.floats(-9, 9)))
def test_monotone_effects_are_the_isotonic_regression_not_below_nothing(effects: FloatArray) -> None:
    for row, found in zip(effects, rising(effects), strict=True):
        assert found == pytest.approx(np.maximum(isotonic_regression(row).x, 0), abs=1e-9)


def test_a_learner_is_monotone_in_the_level_where_asked() -> None:
    data, _ = drawn(8, 1500)
    told = t_learner(data, FOREST, monotone=True).effects(data.features)
    assert (np.diff(told, axis=1) >= 0).all() and told.min() >= 0
    assert (np.diff(t_learner(data, FOREST).effects(data.features), axis=1) < 0).any()


def test_an_order_by_the_true_effect_beats_a_random_one_and_the_reverse_loses() -> None:
    data, chance = drawn(9)
    truth = effect_of(data.features)[:, 0]
    effects = row_effects(data, cross_fit(data, FOREST, chance))[:, 0]
    right, wrong = targeting(truth, effects), targeting(-truth, effects)
    chancy = targeting(np.random.default_rng(10).random(ROWS), effects)
    assert right.qini.low > 0 > wrong.qini.high
    assert chancy.qini.low < 0 < chancy.qini.high
    best = np.sort(truth)[::-1]
    for share, found in right.at.items():
        assert found.low < best[: int(share * ROWS)].mean() < found.high
    assert right.auuc.value == pytest.approx((np.cumsum(best) / ROWS).mean(), abs=0.1)
    assert right.curve["gain"].iloc[-1] == pytest.approx(effects.mean())


def test_equal_scores_are_treated_together_whatever_their_order() -> None:
    random = np.random.default_rng(11)
    scores, effects = random.integers(0, 4, 500).astype(float), random.normal(size=500)
    order = random.permutation(500)
    one, other = targeting(scores, effects), targeting(scores[order], effects[order])
    assert np.allclose(one.curve, other.curve)
    assert targeting(np.zeros(500), effects).qini.value == pytest.approx(0, abs=1e-12)


def test_linear_learners_take_missing_features_weights_and_one_class() -> None:
    random = np.random.default_rng(12)
    features = random.normal(size=(4000, 3))
    bought = (random.random(4000) < expit(-1 + features[:, 0])).astype(float)
    features[::7, 1] = np.nan
    told = linear(binary=True)(features, bought, None).predict(features)
    assert told.mean() == pytest.approx(bought.mean(), abs=0.005)
    assert np.corrcoef(told, expit(-1 + features[:, 0]))[0, 1] > 0.99
    assert linear(binary=True)(features, np.zeros(4000), None).predict(features[:2]).tolist() == [0, 0]
    weights = np.where(bought == 1, 3.0, 1.0)
    assert trees(binary=True, rounds=5)(features, bought, weights).predict(features).mean() > told.mean()


def test_what_cannot_be_learned_from_is_refused_and_counted() -> None:
    one = np.ones((4, 1))
    with pytest.raises(FacingsError, match="level 0 and of each level"):
        Experience(one, np.array([0, 2, 2, 0]), np.ones(4))
    with pytest.raises(FacingsError, match="1 of 4 outcomes"):
        Experience(one, np.array([0, 1, 1, 0]), np.array([1, np.nan, 1, 1]))
    with pytest.raises(FacingsError, match="3 levels"):
        Experience(one, np.array([0, 1, 1]), np.ones(4))
    data = Experience(one, np.array([0, 1, 1, 0]), np.ones(4))
    for bad in (np.full((4, 2), 0.6), np.array([[1.0, 0.0]] * 4), np.array([[np.nan, 1.0]] * 4)):
        with pytest.raises(FacingsError, match="of 4 rows have propensities"):
            cross_fit(data, LINE, bad)
    with pytest.raises(FacingsError, match="9 folds"):
        cross_fit(data, LINE, np.full((4, 2), 0.5), folds=9)
    with pytest.raises(FacingsError, match="outside a fold"):
        cross_fit(Experience(one, np.array([0, 1, 0, 0]), np.ones(4)), LINE, np.full((4, 2), 0.5), folds=4)
    with pytest.raises(FacingsError, match="finite scores"):
        targeting(np.array([np.nan]), np.array([1.0]))
