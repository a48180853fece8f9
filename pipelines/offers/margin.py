"""The margin floor: nothing is sold for less than its cost and a share of that."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipelines.shop_offers import UNKNOWN_PRICE

_ROUNDING = 1e-12  # of what a float tells of cost · (1 + margin)


def keeps_margin(prices: npt.NDArray[np.int64], costs: npt.NDArray[np.int64], margin: float) -> npt.NDArray[np.bool_]:
    """Which prices are at least cost · (1 + margin), minor units; where either is not known the rule is off."""
    least = costs * (1.0 + margin)
    known = (prices != UNKNOWN_PRICE) & (costs != UNKNOWN_PRICE)
    return np.asarray(~known | (prices >= least - _ROUNDING * np.abs(least)), np.bool_)
