"""PSI, KS and the shift of a day's curve against values worked out by hand and by SciPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import ks_2samp

from pipelines.signals.quality.statistics import EDGES, clock_shift, kolmogorov_smirnov, psi, tenths


def test_psi_of_a_worked_example() -> None:
    """0.1 ln(0.2 / 0.1) + 0 + (0.6 - 0.7) ln(0.6 / 0.7)."""
    value = psi(np.array([10.0, 20.0, 70.0]), np.array([40.0, 40.0, 120.0]))
    assert value == pytest.approx(0.1 * math.log(2) - 0.1 * math.log(0.6 / 0.7), abs=1e-12)
    assert value == pytest.approx(0.08473, abs=1e-5)


def test_psi_is_zero_for_equal_shares_symmetric_and_finite_for_empty_cells() -> None:
    one, other = np.array([5.0, 0.0, 95.0]), np.array([0.0, 30.0, 70.0])
    assert psi(one, one * 7) == pytest.approx(0.0)
    assert psi(one, other) == pytest.approx(psi(other, one))
    assert 0.25 < psi(one, other) < math.inf
    assert math.isnan(psi(one, np.zeros(3)))


@pytest.mark.parametrize(("size", "shift"), [(300, 0.0), (2000, 0.4), (5000, 1.0)])
def test_ks_equals_scipys_on_whole_numbers(size: int, shift: float) -> None:
    random = np.random.default_rng(3)
    one, other = random.poisson(9, size), random.poisson(9 + shift, size // 2)
    counts = [np.bincount(values, minlength=60).astype(float) for values in (one, other)]
    distance, chance = kolmogorov_smirnov(*counts)
    theirs = ks_2samp(one, other, method="asymp")
    assert distance == pytest.approx(theirs.statistic)
    assert chance == pytest.approx(theirs.pvalue, rel=0.15, abs=1e-4)


def test_tenths_hold_all_rows_in_bins_of_about_equal_share() -> None:
    values = np.random.default_rng(0).lognormal(1, 1, 20_000)
    before = np.histogram(values, bins=EDGES)[0].astype(float)
    bins, moved = tenths(before, before[::-1])
    assert 8 <= len(bins) <= 10
    assert (bins.sum(), moved.sum()) == (before.sum(), before.sum())
    assert bins.max() / bins.sum() < 0.2


@pytest.mark.parametrize("hours", [0, 1, 5, -7, 12])
def test_a_shift_of_the_clock_is_found(hours: int) -> None:
    curve = np.random.default_rng(1).poisson(200 * np.exp(-((np.arange(24) - 17.0) ** 2) / 18)).astype(float)
    shift, without, with_shift = clock_shift(curve, np.roll(curve, hours))
    assert shift == hours
    assert with_shift == pytest.approx(0.0)
    assert (without > 0.1) == (hours != 0)
