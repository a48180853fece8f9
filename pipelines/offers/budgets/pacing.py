"""The online pacer's law: what a unit of a campaign's money costs at this moment, and when it may not be spent at all.

Money is *spent* when a sale at a discount is told, which is long after the offer was shown. Until then what was shown
is a *commitment*: expected money, due little by little (exponentially in time, with a stated mean). What was due and
what was really spent, compared, correct the commitments that are still out.

The price follows the plan: what is left of the budget, spread over the usual traffic until the campaign ends. Each
step compares what was committed since the last one with the plan for that time and moves the price by the relative
error (dual mirror descent, as in Balseiro, Lu and Mirrokni, 2023); since the plan is made anew from what is left, an
earlier error is made good too. A campaign without an end has no plan; it is only stopped.

Money is in minor units, times are microseconds since 1970 (UTC). Nothing here reads a clock or a disk.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

HOUR = 3_600_000_000
DAY = 24 * HOUR
STEP = HOUR // 60
"""Between two steps of a price."""
BUCKET = HOUR // 6
"""Commitments of so long are kept as one sum."""

_GAIN, _EARLY = 0.12, 6.0  # a step moves the price's logarithm by this part of the error's; the first ones by more
_WILD = 1.5  # errors of more, as a logarithm, count as this
_START = 1.0  # the first price: too high a one saves what the plan spends later, too low a one burns it
_FLOOR = 0.02  # added to a price before its logarithm is taken: a price of 0 can rise again, and fall to 0
_MOST = 50.0
_TINY = 1e-6
_OFFERS = 8  # shown offers that the plan of a step should hold, else the step waits: few say nothing
_LONGEST = HOUR // 2
_LIKELY, _SURE, _MANY = 0.999, 3.1, 50.0  # what is out stays below the hard stop's reserve so likely; as deviations
_PRIOR = 0.02  # share of the budget that weighs for the odds being right, against what was really redeemed
_RATIO = (0.2, 5.0)
_QUIET = 0.05  # of the mean hour: no hour of the usual traffic is taken for less

EVEN: tuple[float, ...] = (1.0,) * 24
"""The usual traffic by hour of the day (UTC) where nothing is known."""


class OfferRefusal(StrEnum):
    """Why an item is shown without an offer that runs."""

    BUDGET_SPENT = "budget_spent"  # the campaign's money is spent, or may be by what is out


@dataclass(frozen=True)
class Campaign:
    """A campaign with a budget; `starts` and `ends` None: not stated."""

    campaign_id: str
    budget: float
    starts: int | None = None
    ends: int | None = None


@dataclass(frozen=True)
class Committed:
    """Offers shown within the bucket that begins at `at`: how many, expected money, and its variance."""

    at: int
    offers: int
    money: float
    variance: float


@dataclass(frozen=True)
class Account:
    """A campaign's money at one moment.

    Attributes:
        spent: told by sales.
        before: of it, what was spent before the pacer first saw the campaign.
        due: expected of all commitments by now.
        outstanding, variance: expected still, and how uncertain that is.
        committed, offers: expected of all commitments in the end, and how many there were.
        sale: what one sale takes, about; 0: none was committed yet.
    """

    spent: float = 0.0
    before: float = 0.0
    due: float = 0.0
    outstanding: float = 0.0
    variance: float = 0.0
    committed: float = 0.0
    offers: int = 0
    sale: float = 0.0


@dataclass(frozen=True)
class Price:
    """A price as of `at`; what was committed and used then, against which the next step measures.

    `before` is what was spent when the campaign was first seen, `steps` how many steps the price took.
    """

    price: float = 0.0
    at: int = 0
    committed: float = 0.0
    used: float = 0.0
    offers: int = 0
    steps: int = 0
    before: float = 0.0


def account(
    spent: float, commitments: Iterable[Committed], now: int, redeem_hours: float, *, before: float = 0.0
) -> Account:
    """Add a campaign's money up; `redeem_hours` is the mean time from an offer shown to its sale.

    `before`: see `Account`.
    """
    due = out = variance = total = squares = 0.0
    offers = 0
    for one in commitments:
        age = max(0, now - one.at - BUCKET // 2)
        left = math.exp(-age / (redeem_hours * HOUR))
        due += one.money * (1 - left)
        out += one.money * left
        variance += one.variance * left
        total += one.money
        squares += one.variance
        offers += one.offers
    return Account(spent, before, due, out, variance, total, offers, squares / total if total > 0 else 0.0)


def correction(campaign: Campaign, held: Account) -> float:
    """Money really spent for each unit that was expected by now, drawn to 1 while little was due."""
    prior = _PRIOR * campaign.budget
    ratio = (max(0.0, held.spent - held.before) + prior) / (held.due + prior) if held.due + prior > 0 else 1.0
    return min(max(ratio, _RATIO[0]), _RATIO[1])


def used(campaign: Campaign, held: Account) -> float:
    """Spent, and what is out as the correction sees it."""
    return held.spent + correction(campaign, held) * held.outstanding


def exhausted(campaign: Campaign, held: Account) -> bool:
    """Whether one more commitment might overspend the budget: of what is out more may come than expected.

    There must be room for one more sale, or the last of the budget would be overspent by it.
    """
    ratio = correction(campaign, held)
    worst = held.spent + _upper(ratio * held.outstanding, ratio * held.variance)
    return worst >= campaign.budget or worst + held.sale > campaign.budget


def traffic(profile: Sequence[float], since: int, until: int) -> float:
    """The usual traffic of a span, in days of it; `profile` are 24 weights by hour of the day (UTC)."""
    return max(0.0, _to(profile, until) - _to(profile, since))


def step(campaign: Campaign, before: Price, held: Account, profile: Sequence[float], now: int) -> Price:
    """The price from now on; `before` itself while too little has happened to learn from."""
    now_used = used(campaign, held)
    fresh = replace(before, at=now, committed=held.committed, used=now_used, offers=held.offers)
    if before.at == 0:
        return replace(fresh, before=held.spent, price=_START if campaign.ends is not None else 0.0)
    if now - before.at < STEP or (campaign.starts is not None and now <= campaign.starts):
        return before
    if campaign.ends is None or now >= campaign.ends:
        return fresh if campaign.ends is None else before
    left = max(0.0, campaign.budget - before.used)
    whole = traffic(profile, before.at, campaign.ends)
    plan = left * traffic(profile, before.at, now) / whole if whole > 0 else left
    really = correction(campaign, held) * max(0.0, held.committed - before.committed)
    each = held.committed / held.offers * correction(campaign, held) if held.offers else 0.0
    if max(plan, really) < _OFFERS * each and now - before.at < _LONGEST:
        return before
    error = math.log((really + _TINY) / (plan + _TINY))
    gain = max(_GAIN, 1 / (1 + before.steps / _EARLY))
    price = (before.price + _FLOOR) * math.exp(gain * min(max(error, -_WILD), _WILD)) - _FLOOR
    return replace(fresh, price=min(max(0.0, price), _MOST), steps=before.steps + 1)


def shadow(campaign: Campaign, price: Price, held: Account) -> float:
    """What one unit of the campaign's money costs now; inf: it is spent, or might be by what is out."""
    return math.inf if exhausted(campaign, held) else price.price


def _upper(mean: float, variance: float) -> float:
    """What rare sales stay below but once in a thousand times: of the mean size, in a Poisson number."""
    if variance <= 0 or mean <= 0:
        return mean
    size = variance / mean
    rate = mean / size
    if rate > _MANY:
        return mean + _SURE * math.sqrt(variance)
    count, term = 0, math.exp(-rate)
    below = term
    while below < _LIKELY:
        count += 1
        term *= rate / count
        below += term
    return max(mean, size * count)


def _to(profile: Sequence[float], moment: int) -> float:
    mean = sum(profile) / 24 or 1.0
    weights = [max(one / mean, _QUIET) for one in profile]
    days, rest = divmod(moment, DAY)
    hour, within = divmod(rest, HOUR)
    return days + (sum(weights[:hour]) + weights[hour] * within / HOUR) / sum(weights)
