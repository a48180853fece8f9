"""What a showing does to other goods of its category: an added sale takes from them, a discount may bring them to mind.

    effect on their profit = - taken x (added chance of the item) x (what they bring where the item is not bought)
                             + brought x (slope x -log(1 - discount)) x (what they bring)
                               x (chance that nothing is bought there)

The second is the slope of odds: whoever buys in the category anyway cannot be brought to it, and who minds prices more
is brought to it more. Both factors are learned from random offers, whose propensities are known, and drawn towards what
is expected of them without any evidence.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_LEAST, _NOTHING = 0.05, 1e-12  # chance of not buying, and of buying
_ROUGHLY = 0.1  # of the mean variance is anybody's
_MOST_TAKEN, _MOST_LIFT = 2.0, 100.0
# Without any evidence: an added sale takes what else would be bought, a discount brings nothing; and how sure that is.
_EXPECTED, _SPREAD = np.array([1.0, 0.0]), np.array([0.3, 1.0])


@dataclass(frozen=True)
class Others:
    """The two factors, neither negative."""

    taken: float = 1.0
    brought: float = 0.0

    def told(
        self,
        shopper: Ints,
        category: Ints,
        chance: Floats,
        margin: Floats,
        slope: Floats | float,
        lasts: Floats | float = 1.0,
    ) -> tuple[Floats, Floats]:
        """What an item's showing does to others, shape (n,) each, in units of the item's own profit.

        What is bought more of a category and does not last is bought less later: of what is usual there.

        Args:
            shopper, category: of each item; what they have in common is weighed together.
            chance: of a purchase unshown.
            margin: profit of one, not negative.
            slope: what each unit of -log(1 - discount) adds to the log-odds.
            lasts: the share of more purchases in the category that later visits do not lose.

        Returns:
            The share of the profit of added sales that others do not lose, now or later, and what each unit of
            -log(1 - discount) brings by them, as a share of the profit of one.
        """
        _, number = np.unique(np.stack([shopper, category]), axis=1, return_inverse=True)
        group = number.ravel()
        total, bought = (np.bincount(group, weights=weights)[group] for weights in (chance * margin, chance))
        taken, brought = parts(chance, 1.0, slope, total - chance * margin, bought - chance)
        more = np.maximum(1.0 - self.taken * (bought - chance) / np.maximum(1.0 - chance, _LEAST), 0.0)
        later = (1.0 - lasts) * more * total / np.maximum(bought, _NOTHING)
        with np.errstate(divide="ignore", invalid="ignore"):
            lost = np.where(margin > 0, (later - self.taken * taken) / margin, 0.0)
            lift = np.where(margin > 0, lasts * self.brought * brought / margin, 0.0)
        return np.clip(1.0 - lost, -1.0, 1.0), np.minimum(lift, _MOST_LIFT)


def parts(
    chance: Floats, added: Floats | float, cut: Floats | float, usual: Floats, others: Floats
) -> tuple[Floats, Floats]:
    """The two terms without their factors, shape (n,) each.

    Args:
        chance: of a purchase of the item unshown. added: what showing adds to it. cut: slope x -log(1 - discount).
        usual: expected profit of the others unshown. others: chance that one of them is bought.
    """
    taken = -added * usual / np.maximum(1.0 - chance, _LEAST)
    return np.asarray(taken), np.asarray(cut * usual * np.maximum(1.0 - others - chance, 0.0))


def learn_others(
    taken: Floats, brought: Floats, *, usual: Floats, square: Floats, profit: Floats, offered: Floats,
    propensity: Floats,
) -> Others:  # fmt: skip
    """Learn the factors: the doubly robust effect of random offers on other goods, regressed on the two terms.

    Rows of which much is bought tell less, by the variance that their odds say.

    Args:
        taken, brought: the terms of each offer (`parts`), shape (n,).
        usual, square: expected profit of the others unshown, and expected sum of its squares.
        profit: that they brought. offered: 1 or 0. propensity: of what happened.
    """
    if not len(profit):
        return Others()
    design = np.stack([taken, brought], axis=1)
    foretold = design @ _EXPECTED
    rest = profit - usual
    rest = np.where(offered > 0, rest - foretold, -rest) / propensity
    weight = 1.0 / (square + square.mean() * _ROUGHLY + 1e-9)
    noise = float(np.mean(weight * rest**2)) + 1e-12
    prior = _SPREAD**-2
    sure = (design * weight[:, None]).T @ design / noise + np.diag(prior)
    pull = design.T @ (weight * (foretold + rest)) / noise + prior * _EXPECTED
    found = np.linalg.solve(sure, pull)
    if found[1] < 0:  # a discount that brings nothing leaves the first alone
        found = np.array([pull[0] / sure[0, 0], 0.0])
    return Others(float(np.clip(found[0], 0.0, _MOST_TAKEN)), float(found[1]))
