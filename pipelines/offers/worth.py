"""What showing a candidate is worth, and at which of its running offers it is worth most, or at none.

worth = expected incremental profit − the shadow price of the campaign's budget × what the discount gives away. Where
the odds of a purchase or the cost are not known nothing can be said of a profit: then an item has its deepest allowed
discount, and its place in its list ranks it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt

from configs.policy import PolicySettings
from pipelines.offers.eligibility import keeps_margin
from pipelines.offers.value.odds import gain, spend
from pipelines.offers.view import ShopReads

NO_OFFER = -1


@dataclass(frozen=True)
class Options:
    """What may be done with each of n candidates.

    Attributes:
        worth: float64 (n,), minor units, of the best option; nan where nobody can say.
        row: int64 (n,), the offer of the best option; NO_OFFER: none.
        plain: float64 (n,), the worth of showing it without an offer.
        at, rows, worths: every other option: the candidate, the offer, its worth.
    """

    worth: npt.NDArray[np.float64]
    row: npt.NDArray[np.int64]
    plain: npt.NDArray[np.float64]
    at: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]
    worths: npt.NDArray[np.float64]

    def take(self, rows: npt.NDArray[np.int64]) -> Options:
        """Some of the candidates, without their other options."""
        none = np.zeros(0, np.int64)
        return Options(self.worth[rows], self.row[rows], self.plain[rows], none, none, np.zeros(0))


def options(
    shop: ShopReads,
    places: npt.NDArray[np.int32],
    odds: npt.NDArray[np.float16] | None,
    now: datetime,
    store_id: str | None,
    *,
    shadow: Mapping[str, float],
    policy: PolicySettings,
) -> Options:
    """Weigh every candidate with no offer and with each offer that it may have here and now.

    An offer may be had if it runs, keeps its floor and the margin floor, and its campaign has money left.

    Args:
        shop: what is known of the items.
        places: the candidates, shape (n,).
        odds: of a purchase, shape (n, 5); nan: not known; None: of none.
        now, store_id: when and where.
        shadow: by campaign the price of a unit of its money; inf: all is spent; a campaign that is not there: 0.
        policy: the settings.
    """
    prices, costs, every = shop.prices[places], shop.costs[places], len(places)
    at, rows, told = shop.offers.running(places, now, store_id)
    scarce: npt.NDArray[np.float64] | None = None
    if len(rows):
        allowed = keeps_margin(told["price"], costs[at], policy.margin_floor)
        if shadow:
            scarce = shop.offers.by_campaign(shadow)[told["campaign"]]
            allowed &= scarce < np.inf
            scarce = scarce[allowed]
        at, rows, discount = at[allowed], rows[allowed], told["discount"][allowed]
        discount[discount != discount] = 0.0
    row = np.full(every, NO_OFFER, np.int64)
    if not len(rows):
        plain = np.full(every, np.nan) if odds is None else gain(odds, prices, costs)
        return Options(plain.copy(), row, plain, at, rows, np.zeros(0))
    if odds is None:
        plain, worths = np.full(every, np.nan), np.full(len(at), np.nan)
    else:
        both = np.concatenate([np.arange(every), at])  # without an offer and with each: weighed at once
        depths = np.concatenate([np.zeros(every), discount])
        weighed = gain(odds[both], prices[both], costs[both], depths)
        plain, worths = weighed[:every], weighed[every:]
        if scarce is not None:
            worths = worths - scarce * spend(odds[at], prices[at], discount)
    best = plain.copy()
    # Of one candidate the worth most first, then the smallest discount; where none can be told, as they lie.
    known = worths == worths
    order = np.lexsort((np.where(known, discount, 0.0), np.where(known, -worths, 0.0), at))
    whose = at[order]
    ahead = np.empty(len(order), bool)
    ahead[0] = True
    np.not_equal(whose[1:], whose[:-1], out=ahead[1:])
    first = order[ahead]
    of, most, usual = at[first], worths[first], plain[at[first]]
    better = (most > usual) | ((discount[first] == 0) & (most >= usual)) | (most != most)
    row[of[better]], best[of[better]] = rows[first[better]], most[better]
    return Options(best, row, plain, at, rows, worths)
