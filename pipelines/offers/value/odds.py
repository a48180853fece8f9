"""What showing an item is worth, from a shopper's odds of buying it: expected incremental profit and discount spent.

Odds are five numbers for a shopper and an item (`pipelines.packed.ODDS`): log-odds of a purchase on a visit where the
item is not shown, and where it is shown at its usual price; what each unit of -log(1 - discount) adds to the latter;
the share of the profit of added sales that other sales of the shop do not lose, now or later; and what each unit of
-log(1 - discount) brings by other goods, which a discount may bring to mind as well.
"""

from __future__ import annotations

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
    before, after, usual, left, others = _terms(odds, price, cost, discount)
    profit = usual - left
    value = after * (usual * (1.0 - _fraction(discount)) - left) - before * profit
    return np.asarray(value + others * profit, np.float64)


def spend(odds: npt.NDArray[np.floating], price: npt.ArrayLike, discount: npt.ArrayLike | None) -> Floats:
    """Expected money that the discount gives away, p1 · price · discount; arguments and shapes as `gain`."""
    _, after, usual, _, _ = _terms(odds, price, 0.0, discount)
    return np.asarray(after * usual * _fraction(discount), np.float64)


def chance(odds: npt.NDArray[np.floating], discount: npt.ArrayLike | None = None) -> Floats:
    """Probability that an item is bought on a visit where it is shown and looked at; never falls with the discount."""
    return _terms(odds, 0.0, 0.0, discount)[1]


def _fraction(discount: npt.ArrayLike | None) -> Floats:
    return np.asarray(0.0 if discount is None else discount, np.float64)


def _terms(
    odds: npt.NDArray[np.floating], price: npt.ArrayLike, cost: npt.ArrayLike, discount: npt.ArrayLike | None
) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """p0, p1, price, cost, and sales' worth of what others gain, each with as many axes as `discount` has."""
    fraction = _fraction(discount)
    told = np.asarray(odds, np.float64)
    usual, left = _known(price), _known(cost)
    columns = [told[:, column] for column in range(ODDS)]
    if fraction.ndim == 2:
        columns = [column[:, None] for column in columns]
        usual, left = (array[:, None] if array.ndim else array for array in (usual, left))
    unshown, shown, slope, keeps, lift = columns
    cut = -np.log1p(-np.minimum(fraction, _DEEPEST))
    before, after = expit(unshown), expit(shown + slope * cut)
    return before, after, usual, left, (keeps - 1.0) * (after - before) + lift * cut


def _known(values: npt.ArrayLike) -> Floats:
    array = np.asarray(values, np.float64)
    return np.where(array < 0, np.nan, array)
