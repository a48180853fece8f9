"""Empirical Bayes: how far the weights of one kind differ, told by the weights themselves."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_SURE = 4.0
"""What is expected counts as if it were known from so many weights."""


def deviation(weights: Floats, telling: Floats, ridge: Floats, usual: float) -> float:
    """The deviation of weights around 0 under which such weights are likeliest.

    Args:
        weights: of one kind, as found.
        telling: what the rows tell of each (their part of the curvature).
        ridge: what the prior tells of each (1 / variance).
        usual: the deviation that is expected of them.
    """
    sure = (telling / (telling + ridge)).sum() + _SURE
    return float(np.sqrt(((weights**2).sum() + _SURE * usual**2) / sure))
