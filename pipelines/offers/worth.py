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
from pipelines.offers.derived import derived
from pipelines.offers.value.odds import weigh
from pipelines.offers.view import ShopReads

NO_OFFER = -1


@dataclass(frozen=True)
class Options:
    """What may be done with each of n candidates.

    Attributes:
        worth: float64 (n,), minor units, of the best option; nan where nobody can say.
        row: int64 (n,), the offer of the best option; NO_OFFER: none.
        chance: float64 (n,), that it is bought by the best option where it is looked at; nan where nobody can say.
        earned: float64 (n,), minor units: the profit of that sale less what a scarce budget costs, times its chance.
        plain: float64 (n,), the worth of showing it without an offer.
        at, rows, worths: every other option: the candidate, the offer, its worth.
    """

    worth: npt.NDArray[np.float64]
    row: npt.NDArray[np.int64]
    chance: npt.NDArray[np.float64]
    earned: npt.NDArray[np.float64]
    plain: npt.NDArray[np.float64]
    at: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]
    worths: npt.NDArray[np.float64]

    def take(self, rows: npt.NDArray[np.int64]) -> Options:
        """Some of the candidates, without their other options."""
        none = np.zeros(0, np.int64)
        return Options(
            self.worth[rows], self.row[rows], self.chance[rows], self.earned[rows], self.plain[rows],
            none, none, np.zeros(0),
        )  # fmt: skip


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
    known, offers = derived(shop), shop.offers
    at, rows = offers.running(places, now, store_id)
    scarce: npt.NDArray[np.float64] | None = None
    if len(rows):
        allowed = known.keeping(policy.margin_floor).offers[rows]
        if shadow:
            scarce = offers.by_campaign(shadow)[offers.campaign_codes[rows]]
            allowed &= scarce < np.inf
        if not allowed.all():
            at, rows = at[allowed], rows[allowed]
            scarce = None if scarce is None else scarce[allowed]
    every, discount = len(places), offers.depths[rows]
    if odds is None:
        chance = earned = worth = np.full(every + len(rows), np.nan)
    else:
        both = np.concatenate([np.arange(every), at])  # without an offer and with each: weighed at once
        told = odds.T.astype(np.float64, order="C").take(both, axis=1)
        price, cost = known.money.take(places.take(both), axis=0).T
        worth, given, chance, earned = weigh(told, price, cost, np.concatenate([np.zeros(every), discount]))
        if scarce is not None:
            worth[every:] -= scarce * given[every:]
            earned[every:] -= scarce * given[every:]
    plain, worths = worth[:every], worth[every:]
    row, best = np.full(every, NO_OFFER, np.int64), np.arange(every)
    if not len(rows):
        return Options(plain, row, chance, earned, plain, at, rows, worths)
    first = _first_best(at, worths, discount)
    of, most = at[first], worths[first]
    usual = plain[of]
    better = (most > usual) | ((discount[first] == 0) & (most >= usual)) | (most != most)
    row[of[better]], best[of[better]] = rows[first[better]], every + first[better]
    return Options(worth[best], row, chance[best], earned[best], plain, at, rows, worths)


def _first_best(
    at: npt.NDArray[np.int64], worths: npt.NDArray[np.float64], discount: npt.NDArray[np.float64]
) -> npt.NDArray[np.int64]:
    """Where each candidate's best option stands; of equals the smallest discount, then as they lie, as where unknown.

    Args:
        at: the candidate of each option, ascending, at least one.
        worths, discount: of each option.
    """
    ahead = np.empty(len(at), bool)
    ahead[0] = True
    np.not_equal(at[1:], at[:-1], out=ahead[1:])
    starts, known = np.flatnonzero(ahead), worths == worths
    if known.all():
        best = np.flatnonzero(worths == np.maximum.reduceat(worths, starts)[ahead.cumsum() - 1])
        if len(best) == len(starts):  # nowhere two alike: the order of the rest does not matter
            return best
    found: npt.NDArray[np.int64] = np.lexsort((np.where(known, discount, 0.0), -worths, at))[starts]
    return found
