"""How sure a difference between two recommenders is: the paired bootstrap over shoppers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from configs.errors import FacingsError
from models.dataset import FloatArray

# Draws are made in blocks of so many, so that memory does not grow with the number of resamples.
_BLOCK_CELLS = 4_000_000


@dataclass(frozen=True)
class PairedDifference:
    """The mean difference ours − theirs with two one-sided bounds.

    Attributes:
        difference: of the means over shoppers.
        lower: with the stated confidence the true difference is above this.
        upper: with the stated confidence the true difference is below this.
        not_better: share of resamples in which ours was not better; a one-sided p-value.
        shoppers: how many pairs there were.
    """

    difference: float
    lower: float
    upper: float
    not_better: float
    shoppers: int


def paired_difference(
    ours: FloatArray, theirs: FloatArray, *, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> PairedDifference:
    """Resample shoppers with replacement, each with both of their values, and take percentiles.

    Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13 (percentile interval). Both bounds are
    one-sided at `confidence`: for a two-sided interval of 95 % ask for 0.975.

    Args:
        ours: metric of each shopper; shape (shoppers,).
        theirs: the same shoppers in the same order.
        confidence: one-sided, above .5 and below 1.
        resamples: how many.
        seed: the same seed and values give the same bounds.

    Raises:
        FacingsError: no shopper, arrays of unlike length, or a value that is not finite.

    >>> found = paired_difference(np.array([1.0, 1.0, 0.0]), np.array([0.0, 0.0, 0.0]), confidence=0.9)
    >>> round(found.difference, 3), found.lower, found.upper
    (0.667, 0.333..., 1.0)
    """
    if len(ours) == 0 or ours.shape != theirs.shape:
        raise FacingsError(
            f"A paired comparison needs the same shoppers twice; it got {len(ours)} and {len(theirs)} values."
        )
    if not 0.5 < confidence < 1 or resamples < 1:
        raise FacingsError(f"Confidence {confidence} must lie between .5 and 1, resamples {resamples} above 0.")
    gaps = np.asarray(ours, dtype=np.float64) - np.asarray(theirs, dtype=np.float64)
    if not np.isfinite(gaps).all():
        raise FacingsError("A paired comparison needs a finite value of every shopper; leave out who has none.")
    means = _resampled_means(gaps, resamples, np.random.default_rng(seed))
    lower, upper = np.quantile(means, [1 - confidence, confidence])
    return PairedDifference(
        difference=float(gaps.mean()),
        lower=float(lower),
        upper=float(upper),
        not_better=float((means <= 0).mean()),
        shoppers=len(gaps),
    )


def _resampled_means(gaps: FloatArray, resamples: int, random: np.random.Generator) -> FloatArray:
    """Mean of each resample; shape (resamples,)."""
    means = np.empty(resamples)
    block = max(1, _BLOCK_CELLS // len(gaps))
    for start in range(0, resamples, block):
        count = min(block, resamples - start)
        means[start : start + count] = gaps[random.integers(len(gaps), size=(count, len(gaps)))].mean(axis=1)
    return means
