"""What a signal is worth: slopes of a conditional logit with a normal prior, learned from what was chosen.

The chance that a shopper buys an item out of several is proportional to exp(slopes · signals). Of the items that were
not bought a uniform sample is enough: the estimate stays consistent (McFadden, "Modelling the choice of residential
location", 1978). The prior is the shrinkage: with few purchases a slope stays where it is thought to be beforehand.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from models.dataset import BoolArray, FloatArray, IntArray

_STEPS = 30
_ENOUGH = 1e-6
_SEARCH_STEPS = 100


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


def conditional_logit(
    features: npt.NDArray[np.floating], sizes: IntArray, chosen: BoolArray, *, ridge: float = 1e-4
) -> FloatArray:
    """Slopes where the sets of alternatives are of different sizes and several may be chosen, without a prior.

    They are those under which what was chosen is likeliest, by L-BFGS on float32: for a million alternatives.

    Args:
        features: of each alternative, set after set; shape (alternatives, features).
        sizes: alternatives of each set, at least 1, summing to `alternatives`.
        chosen: what was chosen; a set in which several were is as many choices. Shape (alternatives,).
        ridge: weight of the squared weights, of features of standard deviation 1.

    Returns:
        shape (features,); 0 where a feature is the same everywhere, and all 0 where nothing was chosen.
    """
    spread = features.std(axis=0).astype(np.float64) if len(features) else np.zeros(features.shape[1])
    varied = spread > 1e-9
    found = np.zeros(features.shape[1])
    total = int(chosen.sum())
    if not total or not varied.any():
        return found
    scaled = ((features[:, varied] - features[:, varied].mean(axis=0)) / spread[varied]).astype(np.float32)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    labels = chosen.astype(np.float64)
    choices = np.add.reduceat(labels, starts)

    def loss(weights: FloatArray) -> tuple[float, FloatArray]:
        scores = (scaled @ weights.astype(np.float32)).astype(np.float64)
        highest = np.maximum.reduceat(scores, starts)
        powers = np.exp(scores - np.repeat(highest, sizes))
        sums = np.add.reduceat(powers, starts)
        likelihood = scores @ labels - choices @ (np.log(sums) + highest)
        missed = labels - powers * np.repeat(choices / sums, sizes)
        gradient = -(scaled.T @ missed.astype(np.float32)).astype(np.float64) / total
        return -likelihood / total + ridge * float(weights @ weights), gradient + 2 * ridge * weights

    best = minimize(loss, np.zeros(int(varied.sum())), jac=True, method="L-BFGS-B", options={"maxiter": _SEARCH_STEPS})
    found[varied] = best.x / spread[varied]
    return found


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
