"""Intervals of a mean or of a ratio of means that hold where the terms are skewed and few count.

Importance-weighted rewards are the worst case of a mean: most terms are nothing, some are very large, and an interval
of mean ± 1.96 standard errors misses the truth above it far too often. Here a value v is in the interval if the terms
a - v·b do not contradict a mean of zero, by Student's t with two corrections, each of which fades as n grows:
- for skewness, by Hall's monotone cubic transformation (P. Hall, On the removal of skewness by transformation, 1992),
- for a standard deviation that few terms decide: degrees of freedom that match the variance of the sample variance,
  2n / (kurtosis - 1) (Satterthwaite).
"""

from __future__ import annotations

from collections.abc import Callable
from math import comb, inf, sqrt

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import stdtrit

Column = npt.NDArray[np.float64]
_DOUBLINGS = 60


def ratio_interval(
    above: Column,
    below: Column | None = None,
    *,
    confidence: float = 0.95,
) -> tuple[float, float, float]:
    """Return (value, low, high) of mean(above) / mean(below) over independent terms.

    Args:
        above: (n,) numerators, such as sums over a decision's rows.
        below: (n,) denominators, their mean positive; None: all 1, so that the value is the mean.
        confidence: of the two-sided interval.

    A single term has an interval without bounds, and terms that do not differ have one without width.
    """
    count = len(above)
    mean = 1.0 if below is None else float(below.mean())
    value = float(above.mean()) / mean
    rest = above - value if below is None else above - value * below
    own = None if below is None else below - mean
    if count < 2:
        return value, -inf, inf
    moments = _moments(rest, own)
    if moments[2][0] <= 1e-28 * max(1.0, value * value):
        return value, value, value

    def scaled(step: float) -> float:
        """The corrected t of the terms about value + step, in units of its quantile."""
        second, third, fourth = (
            sum(comb(order, k) * moments[order][k] * (-step) ** k for k in range(order + 1)) for order in (2, 3, 4)
        )
        spread = sqrt(max(second, 1e-300))
        skew, peaked = third / spread**3, fourth / spread**4
        freedom = min(count - 1.0, max(1.0, 2 * count / max(peaked - 1, 1e-9) - 1))
        u = -step * mean / spread * sqrt((count - 1) / count)
        t = sqrt(count) * (u + skew * u * u / 3 + skew * skew * u**3 / 27 + skew / (6 * count))
        return t / float(stdtrit(freedom, (1 + confidence) / 2))

    width = sqrt(moments[2][0] / count) / mean
    return value, value + _reach(scaled, -1, width), value + _reach(scaled, 1, width)


def _moments(rest: Column, own: Column | None) -> dict[int, list[float]]:
    """Means of rest^(order-k) · own^k for order 2, 3 and 4: all that is needed of the terms about any value."""
    squares = rest * rest
    if own is None:
        plain = {2: squares.mean(), 3: (squares * rest).mean(), 4: (squares * squares).mean()}
        return {order: [float(moment), *[0.0] * order] for order, moment in plain.items()}
    rests, owns = [None, rest, squares, squares * rest, squares * squares], [None, own, own * own, own**3, own**4]
    found: dict[int, list[float]] = {}
    for order in (2, 3, 4):
        found[order] = []
        for k in range(order + 1):
            left, right = rests[order - k], owns[k]
            term = right if left is None else left if right is None else left * right
            assert term is not None
            found[order].append(float(term.mean()))
    return found


def _reach(scaled: Callable[[float], float], sign: int, width: float) -> float:
    """The step at which the interval ends on one side; infinite where it does not end."""
    low, high = 0.0, 2 * width
    for _ in range(_DOUBLINGS):
        if sign * scaled(sign * high) < -1:
            break
        low, high = high, 2 * high
    else:
        return sign * inf
    return sign * float(brentq(lambda step: sign * scaled(sign * step) + 1, low, high, xtol=1e-4 * width, rtol=1e-9))
