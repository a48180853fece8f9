"""How far two distributions lie apart, from counts alone, so that days and machines can be added up.

Sources: population stability index: Siddiqi, Credit Risk Scorecards (2006), ch. 9, with its usual marks 0.1 and 0.25;
Kolmogorov-Smirnov: Smirnov (1948), by the asymptotic law. Over cells of a grid the distance is a lower bound of the
exact one.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.float64]
# A share of nothing has no logarithm: none is taken for smaller than this.
SMALLEST_SHARE = 1e-4
# Edges of the grid on which numbers are counted: zero by itself, then sixteen cells a power of ten.
EDGES = np.concatenate([[0.0], 10.0 ** np.arange(-2, 7 + 1 / 32, 1 / 16)])


def psi(expected: Counts, actual: Counts) -> float:
    """Population stability index of two counts over the same cells: sum of (a - e) ln(a / e) of the shares.

    NaN where one side has no rows.
    """
    if expected.sum() <= 0 or actual.sum() <= 0:
        return math.nan
    e = np.maximum(expected / expected.sum(), SMALLEST_SHARE)
    a = np.maximum(actual / actual.sum(), SMALLEST_SHARE)
    return float(((a - e) * np.log(a / e)).sum())


def kolmogorov_smirnov(expected: Counts, actual: Counts) -> tuple[float, float]:
    """Two-sample distance and its asymptotic p-value, from counts over the same ordered cells; NaN without rows."""
    from scipy.special import kolmogorov

    n, m = float(expected.sum()), float(actual.sum())
    if n <= 0 or m <= 0:
        return math.nan, math.nan
    distance = float(np.abs(expected.cumsum() / n - actual.cumsum() / m).max())
    return distance, float(kolmogorov(math.sqrt(n * m / (n + m)) * distance))


def chance_of_so_few(count: float, usual: float) -> float:
    """Chance that a Poisson count of mean `usual` is at most `count`; between whole numbers by the gamma function."""
    from scipy.special import gammaincc

    return float(gammaincc(count + 1, usual)) if usual > 0 else 1.0


def tenths(expected: Counts, actual: Counts, groups: int = 10) -> tuple[Counts, Counts]:
    """Gather the cells of a fine grid into about `groups` bins of equal share of `expected`, as the index wants."""
    if expected.sum() <= 0:
        return expected, actual
    middle = (expected.cumsum() - expected / 2) / expected.sum()
    group = np.minimum((middle * groups).astype(np.int64), groups - 1)
    first = np.flatnonzero(np.diff(group, prepend=-1))
    return np.add.reduceat(expected, first), np.add.reduceat(actual, first)


def clock_shift(expected: Counts, actual: Counts) -> tuple[int, float, float]:
    """By how many hours (−11 to 12) the curve of a day was moved.

    Args:
        expected, actual: rows by hour, 24 each.

    Returns:
        The shift that fits best, and the distance (sum of absolute differences of shares) without it and with it.
    """
    e, a = expected / max(expected.sum(), 1.0), actual / max(actual.sum(), 1.0)
    distances = {shift: float(np.abs(np.roll(e, shift) - a).sum()) for shift in range(-11, 13)}
    best = min(distances, key=lambda shift: (distances[shift], abs(shift)))
    return best, distances[0], distances[best]
