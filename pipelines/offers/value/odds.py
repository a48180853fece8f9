"""What showing an item is worth, from a shopper's odds of buying it: expected incremental profit and discount spent.

Odds are five numbers for a shopper and an item (`pipelines.packed.ODDS`): log-odds of a purchase on a visit where the
item is not shown, and where it is shown at its usual price; what each unit of -log(1 - discount) adds to the latter;
the share of the profit of added sales that other sales of the shop do not lose, now or later; and what each unit of
-log(1 - discount) brings by other goods, which a discount may bring to mind as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from pipelines.packed import ODDS

Floats = npt.NDArray[np.float64]
_DEEPEST = 0.95
UNSHOWN, SHOWN, SLOPE, KEEPS, LIFT = range(ODDS)


def gain(
    odds: npt.NDArray[np.floating], price: npt.ArrayLike, cost: npt.ArrayLike, discount: npt.ArrayLike | None = None
) -> Floats:
    """Expected incremental profit of showing each item, alone and looked at, over showing nothing; in minor units.

    With p0 the probability of a purchase unshown and p1 shown at this discount, and added sales that take from other
    goods what they do not keep:

        p1 (price (1 - d) - cost) - p0 (price - cost)
            - (1 - keeps) (p1 - p0) (price - cost) - lift log(1 - d) (price - cost)

    So a discount to somebody who would have bought anyway costs what it gives away, and a good sold below cost loses.

    Args:
        odds: shape (n, 5).
        price: usual prices in minor units, shape (n,); negative: not known.
        cost: costs in minor units, shape (n,); negative: not known.
        discount: fractions below 1 of the usual price; None or 0: no offer. A number, shape (n,), or (n, m) for m
            options of each item.

    Returns:
        Shape (n,), or (n, m). NaN where odds, price or cost are not known.
    """
    depth = _fraction(discount)
    return weigh(_columns(odds, depth), _known(price, depth), _known(cost, depth), depth).worth


def spend(odds: npt.NDArray[np.floating], price: npt.ArrayLike, discount: npt.ArrayLike | None) -> Floats:
    """Expected money that the discount gives away, p1 · price · discount; arguments and shapes as `gain`."""
    depth = _fraction(discount)
    return weigh(_columns(odds, depth), _known(price, depth), np.zeros(()), depth).given


def chance(odds: npt.NDArray[np.floating], discount: npt.ArrayLike | None = None) -> Floats:
    """Probability that an item is bought on a visit where it is shown and looked at; never falls with the discount."""
    depth = _fraction(discount)
    columns = _columns(odds, depth)
    return np.asarray(_bought(columns, _cut(depth)), np.float64)


class Weight(NamedTuple):
    """What showing is expected to bring, arrays of one shape; money in minor units.

    Attributes:
        worth: as `gain`. given: as `spend`.
        chance: of a purchase where it is shown at its discount.
        earned: the profit of that purchase, times its chance: what it takes from other sales is not taken off.
    """

    worth: Floats
    given: Floats
    chance: Floats
    earned: Floats


def weigh(columns: Sequence[Floats] | Floats, price: Floats, cost: Floats, discount: Floats) -> Weight:
    """What is ready to be weighed.

    Args:
        columns: of the odds, each of one shape; shape (5, …).
        price, cost: in minor units; NaN: not known.
        discount: fractions below 1 of the price, 0: none.
    """
    cut = _cut(discount)
    before, after = expit(columns[UNSHOWN]), _bought(columns, cut)
    profit = price - cost
    earned = np.asarray(after * (price * (1.0 - discount) - cost), np.float64)
    others = (columns[KEEPS] - 1.0) * (after - before) + columns[LIFT] * cut
    worth = np.asarray(earned - before * profit + others * profit, np.float64)
    return Weight(worth, np.asarray(after * price * discount, np.float64), np.asarray(after, np.float64), earned)


def _cut(discount: Floats) -> Floats:
    return np.asarray(-np.log1p(-np.minimum(discount, _DEEPEST)), np.float64)


def _bought(columns: Sequence[Floats] | Floats, cut: Floats) -> Floats:
    """p1."""
    return np.asarray(expit(columns[SHOWN] + columns[SLOPE] * cut), np.float64)


def _fraction(discount: npt.ArrayLike | None) -> Floats:
    return np.asarray(0.0 if discount is None else discount, np.float64)


def _columns(odds: npt.NDArray[np.floating], depth: Floats) -> list[Floats]:
    """With as many axes as `depth` has."""
    told = np.asarray(odds, np.float64)
    columns = [told[:, column] for column in range(ODDS)]
    return [column[:, None] for column in columns] if depth.ndim == 2 else columns


def _known(values: npt.ArrayLike, depth: Floats) -> Floats:
    array = np.asarray(values, np.float64)
    found = np.where(array < 0, np.nan, array)
    return found[:, None] if depth.ndim == 2 and found.ndim else found
