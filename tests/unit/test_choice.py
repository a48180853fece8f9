"""Slopes of the conditional logit: found where there is data, the prior where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from models.estimators.choice import slopes


def choices(truth: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    """Signals of alternatives of which the first was chosen by the logit."""
    random = np.random.default_rng(seed)
    signals = random.normal(size=(count, 30, len(truth)))
    chosen = np.argmax(signals @ truth + random.gumbel(size=(count, 30)), axis=1)
    for line, place in enumerate(chosen):
        signals[line, [0, place]] = signals[line, [place, 0]]
    return signals


def test_the_slopes_that_made_the_choices_are_found() -> None:
    truth = np.array([1.0, 0.5, 0.0])
    found = slopes(choices(truth, 4000), np.zeros(3), np.full(3, 1.0), np.array([], dtype=np.int64))
    assert found == pytest.approx(truth, abs=0.07)


def test_without_choices_a_slope_stays_what_it_was_thought_to_be_and_few_move_it_little() -> None:
    prior, precision = np.array([1.0, 0.0]), np.full(2, 20.0)
    nobody = np.array([], dtype=np.int64)
    assert slopes(np.zeros((0, 30, 2)), prior, precision, nobody) == pytest.approx(prior)
    few = slopes(choices(np.array([1.0, 2.0]), 5), prior, precision, nobody)
    many = slopes(choices(np.array([1.0, 2.0]), 2000), prior, precision, nobody)
    assert 0 < few[1] < 1 < many[1] < 2.1


def test_a_signal_that_would_speak_against_what_it_says_is_left_out() -> None:
    found = slopes(choices(np.array([1.0, -0.8]), 1000), np.zeros(2), np.ones(2), np.array([1]))
    assert found[1] == 0 and found[0] > 0.5
