"""How long it usually takes until a shopper buys again in a category."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipelines.offers.value.past import DAY

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_FIRST, _FEW = 30.0, 5.0
"""Days where nobody ever came back; what is usual in all categories counts in each as so many times of coming back."""
_OWN = 3.0
"""What is usual counts for a shopper as so many times of their own."""


def usual_gaps(shopper: Ints, category: Ints, time: Ints, moment: int, categories: int) -> Floats:
    """Of each category the usual days between two purchases of one shopper, shape (categories,).

    Of those who bought there twice or oftener the time since the first time, by how often they came back: the time
    since the last counts as well, or a short history would know short gaps only.

    Args:
        shopper, category, time: of each visit on which something of the category was bought, in seconds, all before
            `moment`.
        categories: how many there are.
    """
    pair = shopper * categories + category
    order = np.lexsort((time, pair))
    pair, first, times = np.unique(pair[order], return_index=True, return_counts=True)  # the oldest of each pair
    again = times > 1
    days = np.bincount(pair[again] % categories, (moment - time[order][first[again]]) / DAY, minlength=categories)
    back = np.bincount(pair[again] % categories, times[again] - 1.0, minlength=categories)
    usual = (days.sum() + _FIRST) / (back.sum() + 1.0)
    return np.asarray((days + _FEW * usual) / (back + _FEW))


def own_gaps(usual: Floats, between: Floats, times: Floats) -> Floats:
    """The days between two purchases that are expected of a shopper, shape (n,).

    Args:
        usual: of the category. between: days from the first to the last purchase of the shopper there; NaN: none.
        times: on how many visits they bought there.
    """
    return np.asarray((_OWN * usual + np.nan_to_num(between)) / (_OWN + np.maximum(times - 1.0, 0.0)))
