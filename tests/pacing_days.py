"""A day of slates on which campaigns compete, and the pacer that spends their budgets on it."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pipelines.offers.budgets.allocate import allocate
from pipelines.offers.budgets.pacing import (
    BUCKET,
    DAY,
    HOUR,
    Campaign,
    Committed,
    Price,
    account,
    shadow,
    step,
)
from pipelines.offers.budgets.problem import Good, Problem, in_columns

# A shop's visits by hour of the day.
USUAL = np.array([1, 1, 1, 1, 1, 2, 4, 8, 10, 12, 12, 14, 15, 12, 11, 12, 14, 18, 20, 15, 8, 4, 2, 1], float)
BEGIN = 20_000 * DAY
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Day:
    """Slates in time, and the offers that each may have. Shapes (slates,), (slates, offers)."""

    at: Array
    campaign: Array
    money: Array
    chance: Array
    gain: Array

    @property
    def spend(self) -> Array:
        """Expected money of each."""
        return self.chance * self.money


def draw_day(
    seed: int, slates: int, campaigns: int, *, days: int = 1, shock: tuple[int, int, float] = (0, 24, 1.0)
) -> Day:
    """Draw days; in the hours [first, end) of each there come so many times as many as usual."""
    draws = np.random.default_rng(seed)
    first, end, factor = shock
    mean = USUAL / USUAL.sum() * slates
    mean[first:end] *= factor
    hours = [(day, hour, int(draws.poisson(mean[hour]))) for day in range(days) for hour in range(24)]
    at = np.concatenate([day * DAY + hour * HOUR + draws.integers(0, HOUR, count) for day, hour, count in hours])
    shape = (len(at), 4)
    price, depth = draws.gamma(4, 100, shape) + 50, draws.choice([0.1, 0.2, 0.3], shape)
    chance = 1 / (1 + np.exp(2.5 - draws.normal(0, 0.8, shape) - 3 * depth))
    gain = chance * price * (0.45 - depth) * draws.lognormal(0, 0.4, shape)
    return Day(np.sort(at) + BEGIN, draws.integers(0, campaigns, shape), price * depth, chance, gain)


def budgets(day: Day, campaigns: int, share: float) -> Array:
    """That share of what each campaign would spend if its money were free."""
    best = day.gain.argmax(axis=1)
    rows = np.arange(len(best))
    spent = np.bincount(day.campaign[rows, best], day.spend[rows, best], minlength=campaigns)
    return np.maximum(spent * share, 1.0)


def best_possible(day: Day, budget: Array) -> float:
    """The value of the allocation of somebody who knows the whole day; an upper bound of it."""
    rows, options = day.gain.shape
    order, widths, _ = in_columns(np.repeat(np.arange(rows), options), rows)
    campaign, spend, gain = (
        values.reshape(-1)[order] for values in (day.campaign.astype(np.int32), day.spend, day.gain)
    )
    caps = np.ones(len(budget), np.int32)
    item = np.arange(len(order), dtype=np.int32)
    return allocate(Problem(widths, gain, item, campaign, caps, 1, (Good(campaign, spend, budget),))).dual


@dataclass(frozen=True)
class Paced:
    """What became of it: value shown (expected), money really spent, and what was promised at each beat."""

    value: float
    spent: Array
    shadows: list[tuple[int, list[float]]]


def pace(
    day: Day,
    budget: Array,
    *,
    days: int = 1,
    odds: float = 1.0,
    redeem_hours: float = 0.5,
    beat: int = HOUR // 60,
    seed: int = 1,
) -> Paced:
    """Spend the budgets on a day as the pacer does: a beat sets prices, each slate takes what is worth most.

    Args:
        day: what comes.
        budget: of each campaign.
        days: the campaigns end after so many.
        odds: what the shop believes of each chance, as a multiple of the truth.
        redeem_hours: mean time from shown to sold, of the shoppers and as the pacer believes.
        beat: microseconds between two beats.
        seed: of who buys.
    """
    luck = np.random.default_rng(seed)
    campaigns = [Campaign(str(number), float(much), BEGIN, BEGIN + days * DAY) for number, much in enumerate(budget)]
    prices, cost = [Price() for _ in campaigns], np.zeros(len(campaigns))
    committed: list[dict[int, Committed]] = [{} for _ in campaigns]
    spent, value, next_beat = np.zeros(len(campaigns)), 0.0, 0
    coming: list[tuple[int, int, float]] = []
    shadows = []
    believed = day.spend * odds
    for row, now in enumerate(day.at.tolist()):
        while coming and coming[0][0] <= now:
            _, number, money = heapq.heappop(coming)
            spent[number] += money
        if now >= next_beat:
            next_beat = now + beat
            for number, campaign in enumerate(campaigns):
                held = account(spent[number], committed[number].values(), now, redeem_hours)
                prices[number] = step(campaign, prices[number], held, USUAL.tolist(), now)
                cost[number] = shadow(campaign, prices[number], held)
            shadows.append((now, cost.tolist()))
        price = cost[day.campaign[row]]
        open_ = price < np.inf
        worth = np.where(open_, day.gain[row] - np.where(open_, price, 0.0) * believed[row], -np.inf)
        column = int(worth.argmax())
        if worth[column] <= 0:
            continue
        number, money = int(day.campaign[row, column]), float(day.money[row, column])
        likely, bucket = float(day.chance[row, column]) * odds, now // BUCKET * BUCKET
        value += float(day.gain[row, column])
        held_ = committed[number].get(bucket, Committed(bucket, 0, 0.0, 0.0))
        committed[number][bucket] = replace(
            held_,
            offers=held_.offers + 1,
            money=held_.money + likely * money,
            variance=held_.variance + likely * (1 - min(likely, 1)) * money**2,
        )
        if luck.random() < day.chance[row, column]:
            heapq.heappush(coming, (now + int(luck.exponential(redeem_hours) * HOUR), number, money))
    for _, number, money in coming:
        spent[number] += money
    return Paced(value, spent, shadows)
