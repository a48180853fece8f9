"""How readily goods are clicked: what sales cannot tell, because nobody chooses between goods of two categories.

    log-odds that what is looked at in the app is clicked or put into a cart = category + item

with normal priors, whose widths the clicks themselves tell (empirical Bayes). Where shoppers take what stands first on
the shelf, clicks tell also what sales of goods in one category do not.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.optimize import minimize
from scipy.special import expit

from pipelines.offers.value.deviation import deviation

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_FEWEST = 200
"""Fewer looks tell nothing."""
_USUAL, _ROUNDS, _ITERATIONS = np.array([0.5, 0.6]), 3, 150
"""How far categories and goods are expected to differ (deviations)."""


def clicked(item: Ints, taken: Floats, category: Ints, categories: int) -> tuple[Floats, Floats]:
    """Log-odds of a click as differences from the mean, and the category's part of them, shape (items,) each.

    All 0 where too little was looked at or taken.

    Args:
        item: what was looked at. taken: whether it was clicked or put into a cart (0, 1), of the same length.
        category: of each item. categories: how many there are.
    """
    items = len(category)
    if len(item) < _FEWEST or not 0 < taken.sum() < len(item):
        return np.zeros(items), np.zeros(items)
    looks, clicks = np.bincount(item, minlength=items), np.bincount(item, taken, minlength=items)
    columns = np.stack([np.zeros(items, np.int64), 1 + category, 1 + categories + np.arange(items)], axis=1)
    shape = items, 1 + categories + items
    design = sparse.csr_matrix((np.ones(3 * items), columns.ravel(), np.arange(0, 3 * items + 1, 3)), shape=shape)
    turned = design.T.tocsr()
    sizes = np.array([categories, items])
    named = np.split(np.arange(1, shape[1]), [categories])
    spread, weights = _USUAL.copy(), np.zeros(shape[1])
    for _ in range(_ROUNDS):
        ridge = np.r_[0.0, np.repeat(spread, sizes) ** -2.0]

        def loss(weights: Floats, ridge: Floats = ridge) -> tuple[float, Floats]:
            margin = design @ weights
            value = looks @ np.logaddexp(0.0, margin) - clicks @ margin + 0.5 * (ridge * weights**2).sum()
            return float(value), np.asarray(turned @ (looks * expit(margin) - clicks) + ridge * weights)

        found = minimize(loss, weights, jac=True, method="L-BFGS-B", options={"maxiter": _ITERATIONS})
        weights = np.asarray(found.x, np.float64)
        chance = expit(design @ weights)
        telling = turned @ (looks * chance * (1.0 - chance))  # every entry of the design is 1
        for number, some in enumerate(named):
            spread[number] = deviation(weights[some], telling[some], ridge[some], _USUAL[number])
    of_category = weights[1:][:categories][category]
    return np.asarray(of_category + weights[1 + categories :]), np.asarray(of_category)
