"""What a signal is worth: slopes of a conditional logit with a normal prior, learned from what was chosen.

The chance that a shopper buys an item out of several is proportional to exp(slopes · signals). Of the items that were
not bought a uniform sample is enough: the estimate stays consistent (McFadden, "Modelling the choice of residential
location", 1978). The prior is the shrinkage: with few purchases a slope stays where it is thought to be beforehand.
"""

from __future__ import annotations

import numpy as np

from models.dataset import FloatArray, IntArray

_STEPS = 30
_ENOUGH = 1e-6


def slopes(signals: FloatArray, prior: FloatArray, precision: FloatArray, positive: IntArray) -> FloatArray:
    """The slopes with the highest posterior density, by Newton's method.

    Args:
        signals: of each choice's alternatives, the chosen one first; shape (choices, alternatives, signals).
        prior: mean of each slope beforehand; shape (signals,).
        precision: one over its variance, above 0; shape (signals,).
        positive: signals whose slope may not be below 0; one that would be is left out (its slope is 0).

    Returns:
        shape (signals,); the prior where there is no choice.
    """
    free = np.ones(len(prior), dtype=bool)
    while True:
        found = np.where(free, prior, 0.0)
        found[free] = _newton(signals[:, :, free], prior[free], precision[free])
        wrong = positive[found[positive] < 0]
        if not len(wrong):
            return found
        free[wrong] = False


def _newton(signals: FloatArray, prior: FloatArray, precision: FloatArray) -> FloatArray:
    found = prior.astype(np.float64).copy()
    for _ in range(_STEPS):
        gradient, curvature = precision * (prior - found), np.diag(precision)
        for block in np.array_split(signals, max(1, len(signals) // 512)):
            odds = block @ found
            chance = np.exp(odds - odds.max(axis=1, keepdims=True))
            chance /= chance.sum(axis=1, keepdims=True)
            mean = np.einsum("ca,caf->cf", chance, block)
            gradient = gradient + (block[:, 0] - mean).sum(axis=0)
            apart = block - mean[:, None]
            curvature = curvature + np.einsum("ca,caf,cag->fg", chance, apart, apart, optimize=True)
        step = np.linalg.solve(curvature, gradient)
        # A long step overshoots where the odds are steep.
        found = found + step * min(1.0, 2.0 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < _ENOUGH:
            break
    return found
