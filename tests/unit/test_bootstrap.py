"""The paired bootstrap over shoppers."""

from __future__ import annotations

import numpy as np
import pytest

from configs.errors import FacingsError
from models.metrics.bootstrap import paired_difference

RANDOM = np.random.default_rng(5)
BASE = RANDOM.random(400)


def test_the_same_seed_gives_the_same_bounds_in_blocks_too(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = BASE + RANDOM.normal(0.01, 0.1, 400)
    first = paired_difference(ours, BASE, resamples=300, seed=3)
    monkeypatch.setattr("models.metrics.bootstrap._BLOCK_CELLS", 900)
    assert paired_difference(ours, BASE, resamples=300, seed=3) == first


def test_pairing_removes_what_shoppers_have_in_common() -> None:
    found = paired_difference(BASE + 0.01, BASE)
    assert found.difference == pytest.approx(0.01)
    assert found.lower == pytest.approx(found.upper) == pytest.approx(0.01)
    assert found.not_better == 0


def test_equal_models_are_not_called_better() -> None:
    found = paired_difference(BASE, BASE)
    assert (found.difference, found.lower, found.upper, found.not_better) == (0, 0, 0, 1)


def test_the_lower_bound_is_near_that_of_the_normal_distribution() -> None:
    gaps = RANDOM.normal(0.05, 1.0, 2000)
    found = paired_difference(gaps, np.zeros(2000), confidence=0.95, resamples=4000)
    error = gaps.std() / np.sqrt(2000)
    assert found.lower == pytest.approx(gaps.mean() - 1.645 * error, abs=0.1 * error)
    assert found.upper == pytest.approx(gaps.mean() + 1.645 * error, abs=0.1 * error)


def test_swapping_the_two_mirrors_the_bounds() -> None:
    ours = BASE + RANDOM.normal(0.0, 0.1, 400)
    one, other = paired_difference(ours, BASE), paired_difference(BASE, ours)
    assert one.lower == pytest.approx(-other.upper)


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(FacingsError, match="same shoppers"):
        paired_difference(BASE, BASE[:-1])
    with pytest.raises(FacingsError, match="finite"):
        paired_difference(np.array([np.nan]), np.array([0.0]))
    with pytest.raises(FacingsError, match="between"):
        paired_difference(BASE, BASE, confidence=0.4)
