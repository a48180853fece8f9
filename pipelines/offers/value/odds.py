"""What showing an item is worth, from a shopper's odds of buying it: expected incremental profit and discount spent.

Odds are five numbers for a shopper and an item (`pipelines.packed.ODDS`): log-odds of a purchase on a visit where the
item is not shown, and where it is shown at its usual price; what each unit of -log(1 - discount) adds to the latter;
the share of the profit of added sales that other sales of the shop do not lose, now or later; and what each unit of
-log(1 - discount) brings by other goods, which a discount may bring to mind as well.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipelines.compiled import FLOAT, INT, array, compiled
from pipelines.packed import ODDS

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
_DEEPEST = 0.95
UNSHOWN, SHOWN, SLOPE, KEEPS, LIFT = range(ODDS)


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
    return _each(odds, price, cost, discount).worth


def spend(odds: npt.NDArray[np.floating], price: npt.ArrayLike, discount: npt.ArrayLike | None) -> Floats:
    """Expected money that the discount gives away, p1 · price · discount; arguments and shapes as `gain`."""
    return _each(odds, price, 0, discount).given


def chance(odds: npt.NDArray[np.floating], discount: npt.ArrayLike | None = None) -> Floats:
    """Probability that an item is bought on a visit where it is shown and looked at; never falls with the discount."""
    return _each(odds, 0, 0, discount).chance


def cut_of(discount: npt.ArrayLike) -> Floats:
    """-log(1 - discount), what odds are told in; discounts deeper than _DEEPEST count as that."""
    return np.asarray(-np.log1p(-np.minimum(discount, _DEEPEST)), np.float64)


def _each(
    odds: npt.NDArray[np.floating], price: npt.ArrayLike, cost: npt.ArrayLike, discount: npt.ArrayLike | None
) -> Weight:
    """What showing each item, or each of its options, is expected to bring, in the shape of `gain`."""
    told, depth = np.ascontiguousarray(odds, np.float64), np.asarray(0.0 if discount is None else discount, np.float64)
    shape = (len(told), *depth.shape[1:])
    money = np.empty((len(told), 2))
    for column, values in enumerate((price, cost)):
        known = np.asarray(values, np.float64)
        money[:, column] = np.where(known < 0, np.nan, known)
    at = np.arange(len(told)).repeat(shape[1] if len(shape) > 1 else 1)
    each, cut = (np.broadcast_to(values, shape).ravel() for values in (depth, cut_of(depth)))
    return Weight(*(found.reshape(shape) for found in weigh(told, money, at, each, cut)))


@compiled()
def _likely(log_odds: float) -> float:
    """The probability of these log-odds."""
    return 1.0 / (1.0 + math.exp(-log_odds))


@compiled(array(FLOAT, 2), array(FLOAT, 2), array(INT), array(FLOAT), array(FLOAT))
def weigh(
    odds: Floats, money: Floats, at: Ints, discount: Floats, cut: Floats
) -> tuple[Floats, Floats, Floats, Floats]:
    """What showing is expected to bring (`Weight`) by n options of some items; shapes (n,).

    Args:
        odds: of the items, shape (items, 5).
        money: their price and cost in minor units, shape (items, 2); NaN: not known.
        at: the item of each option.
        discount: of each, a fraction below 1 of the price; 0: none.
        cut: `cut_of` these.
    """
    worth, given, chance, earned = np.empty(len(at)), np.empty(len(at)), np.empty(len(at)), np.empty(len(at))
    for option in range(len(at)):
        told, (price, cost) = odds[at[option]], money[at[option]]
        before = _likely(told[UNSHOWN])
        after = _likely(told[SHOWN] + told[SLOPE] * cut[option])
        profit = price - cost
        earned[option] = after * (price * (1.0 - discount[option]) - cost)
        others = (told[KEEPS] - 1.0) * (after - before) + told[LIFT] * cut[option]
        worth[option] = earned[option] - before * profit + others * profit
        given[option] = after * price * discount[option]
        chance[option] = after
    return worth, given, chance, earned
