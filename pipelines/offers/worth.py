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
from pipelines.compiled import BOOL, FLOAT, INT, INT32, array, compiled, written
from pipelines.offers.derived import derived
from pipelines.offers.running import running
from pipelines.offers.value.odds import weigh
from pipelines.offers.view import ShopReads
from pipelines.packed import ODDS

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
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

    worth: Floats
    row: Ints
    chance: Floats
    earned: Floats
    plain: Floats
    at: Ints
    rows: Ints
    worths: Floats

    def take(self, rows: Ints) -> Options:
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
    known, offers, many = derived(shop), shop.offers, len(places)
    at, rows = running(offers, places, now, store_id)
    keeps, prices = known.keeping(policy.margin_floor).offers, offers.by_campaign(shadow)
    at, rows, price = _choices(many, at, rows, keeps, offers.campaign_codes, prices)
    depth, cut = known.depths.take(rows), known.cuts.take(rows)  # NO_OFFER is the last
    told = np.full((many, ODDS), np.nan) if odds is None else odds.astype(np.float64, order="C")
    worth, given, chance, earned = weigh(told, known.money.take(places, axis=0), at, depth, cut)
    best = _best(many, at, worth, earned, given, depth, price)
    return Options(
        worth.take(best), rows.take(best), chance.take(best), earned.take(best),
        worth[:many], at[many:], rows[many:], worth[many:],
    )  # fmt: skip


@compiled(INT, array(INT), array(INT), array(BOOL), array(INT32), array(FLOAT))
def _choices(
    many: int, at: Ints, rows: Ints, keeps: Mask, campaigns: npt.NDArray[np.int32], prices: Floats
) -> tuple[Ints, Ints, Floats]:
    """Each of so many candidates without an offer, then with each of its running offers that it may have.

    Args:
        many: how many candidates there are.
        at, rows: running offers: the candidate, the row.
        keeps: of each row whether it keeps the margin floor.
        campaigns: of each row.
        prices: by campaign, of a unit of its money; inf: all is spent. At the end of no campaign.

    Returns:
        Of each choice the candidate, the row, and the price of its money.
    """
    most = many + len(at)
    whose, which, price = np.empty(most, np.int64), np.empty(most, np.int64), np.zeros(most)
    for candidate in range(many):
        whose[candidate], which[candidate] = candidate, NO_OFFER
    found = many
    for option, row in enumerate(rows):
        cost = prices[campaigns[row]]
        if keeps[row] and cost < np.inf:
            whose[found], which[found], price[found] = at[option], row, cost
            found += 1
    return whose[:found], which[:found], price[:found]


@compiled()
def _better(worth: float, depth: float, other: float, others_depth: float) -> bool:
    """Whether an offer is better than one before it; of equals the smallest discount, what is not known last."""
    if worth == other:
        return depth < others_depth
    return worth > other or (worth == worth and other != other)


@compiled(INT, array(INT), written(FLOAT), written(FLOAT), array(FLOAT), array(FLOAT), array(FLOAT))
def _best(many: int, at: Ints, worth: Floats, earned: Floats, given: Floats, depth: Floats, price: Floats) -> Ints:
    """Subtract what a campaign's money costs from `worth` and `earned`; return the best choice of each candidate.

    Args:
        many: so many choices are without an offer, one of each candidate; the others lie by candidate.
        at: of each choice the candidate.
        worth, earned, given, depth: of each choice; `given` is the money that its discount gives away.
        price: of each choice, of a unit of that money.
    """
    best = np.arange(many)
    option = many
    while option < len(at):
        whose, first = at[option], option
        while option < len(at) and at[option] == whose:
            worth[option] -= price[option] * given[option]
            earned[option] -= price[option] * given[option]
            if _better(worth[option], depth[option], worth[first], depth[first]):
                first = option
            option += 1
        told, usual = worth[first], worth[whose]
        # An offer without a discount only tells, and may; where nobody can say what is worth more, there is an offer.
        if told > usual or (depth[first] == 0.0 and told >= usual) or told != told:
            best[whose] = first
    return best
