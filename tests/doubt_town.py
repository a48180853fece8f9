"""A simulated town in which the screen takes one shopper for another, as often as it says: profit of four policies.

The odds are the town's own log-odds, an error of the given size added and shrunk for it: what a fair model might say.
Profit is the town's exact expectation, over who truly stands there: the one who is named with the stated probability,
else somebody else who visits the store that day.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit

from pipelines.offers.doubt import pool, weigh
from pipelines.offers.value.odds import gain
from pipelines.packed import Ranked
from pipelines.simulation.config import TownConfig, Variant
from pipelines.simulation.offers import Slates
from pipelines.simulation.town import Town
from pipelines.simulation.visits import Visits

Floats = npt.NDArray[np.float64]
SLOTS, LISTED, OTHERS = 4, 60, 8
DEPTH = 0.2
ON_OFFER = 0.3  # share of the items
SURE = 0.8


@dataclass(frozen=True)
class Case:
    """One visit before one screen, as the shop believes it to be.

    Attributes:
        named: row of each possible shopper among the day's visits, and probability of each; the rest is somebody else.
        others: rows of some who may stand there instead.
        odds: of each named shopper and of the level, over all items; shape (named + 1, items, 5).
        prices, costs: minor units; shape (items,).
        offered: whether an item may be offered at DEPTH.
    """

    named: tuple[tuple[int, float], ...]
    others: tuple[int, ...]
    odds: Floats
    prices: Floats
    costs: Floats
    offered: npt.NDArray[np.bool_]

    def lists(self) -> list[Ranked]:
        """Each one's list: of what they buy most."""
        return [self._list(odds) for odds in self.odds]

    def worths(self, items: npt.NDArray[np.int32], odds: npt.NDArray[np.floating]) -> Floats:
        """Worth of each item at its price, and at the discount where there is one."""
        found = gain(odds, self.prices[items], self.costs[items], np.tile([0.0, DEPTH], (len(items), 1)))
        found[~self.offered[items], 1] = np.nan
        return found

    def _list(self, odds: Floats) -> Ranked:
        told = odds.astype(np.float16)
        items = np.argsort(-odds[:, 1], kind="stable")[:LISTED].astype(np.int32)
        return Ranked(items, odds[items, 1].astype(np.float32), np.zeros(LISTED, np.uint8), told[items])


Shown = list[tuple[int, float]]


def best(items: npt.NDArray[np.int32], worths: Floats) -> Shown:
    """The best items at their best depth."""
    told = np.where(np.isnan(worths), -np.inf, worths)
    order = np.argsort(-told.max(axis=1), kind="stable")[:SLOTS]
    return [(int(items[at]), DEPTH * float(told[at].argmax())) for at in order]


def slates(case: Case, harm: float) -> tuple[dict[str, Shown], dict[str, float]]:
    """What each policy shows, and how much of it tells of a named shopper to somebody else, in items."""
    *own, level = case.lists()
    anonymous = best(level.items, case.worths(level.items, level.odds))  # type: ignore[arg-type]
    likeliest = int(np.argmax([probability for _, probability in case.named]))
    mine = own[likeliest]
    personal = best(mine.items, case.worths(mine.items, mine.odds))  # type: ignore[arg-type]
    people = pool([(chance, ranked) for (_, chance), ranked in zip(case.named, own, strict=True)], level)
    worths = np.stack([case.worths(people.items, odds) for odds in people.odds])
    nobody = np.array([item for item, _ in anonymous])
    weighed = weigh(people, worths, harm, nobody)
    found = {
        "anonymous": anonymous,
        "personal": personal,
        "threshold": personal if case.named[likeliest][1] >= SURE else anonymous,
        "doubt": best(people.items, weighed.worth),
        "doubt, no harm": best(people.items, weigh(people, worths, 0.0, nobody).worth),
    }
    telling = dict(zip(people.items.tolist(), weigh(people, worths, 1.0, nobody).harm[:, 0], strict=True))
    return found, {name: sum(telling.get(item, 0.0) for item, _ in shown) for name, shown in found.items()}


def profits(town: Town, visits: Visits, case: Case, shown: dict[str, Shown]) -> dict[str, float]:
    """Expected profit over who truly stands there, less that of an empty screen; minor units."""
    rows = [row for row, _ in case.named] + list(case.others)
    rest = 1.0 - sum(probability for _, probability in case.named)
    weights = np.array([probability for _, probability in case.named] + [rest / len(case.others)] * len(case.others))
    policies = [*shown.values(), []]
    items, discounts = np.full((len(policies), SLOTS), -1), np.zeros((len(policies), SLOTS))
    for number, slate in enumerate(policies):
        for slot, (item, discount) in enumerate(slate):
            items[number, slot], discounts[number, slot] = item, discount
    some = visits.take(np.tile(rows, len(policies)))
    each = Slates.of(np.repeat(items, len(rows), axis=0), np.repeat(discounts, len(rows), axis=0))
    expected = town.expected_profit(some, each).reshape(len(policies), len(rows)) @ weights
    return dict(zip(shown, (100 * (expected[:-1] - expected[-1])).tolist(), strict=True))


def cases(
    town: Town, visits: Visits, named: Sequence[float], *, error: float, most: int, random: np.random.Generator
) -> Iterator[Case]:
    """Cases of one day: visitors in turn are named with these probabilities, others of the store come instead."""
    goods = len(town.catalogue.price)
    passing = visits.take(np.flatnonzero(visits.placement >= 0))
    place = {int(shopper): row for row, shopper in enumerate(visits.shopper)}
    offered = random.random(goods) < ON_OFFER
    made = 0
    for store in np.unique(passing.store):
        here = passing.take(np.flatnonzero(passing.store == store))
        if len(here) < len(named) + OTHERS:
            continue
        items = np.tile(np.arange(goods), (len(here), 1))
        truth = _odds(town, here, items)
        level = np.concatenate([logit(expit(truth[:, :, :2]).mean(axis=0)), np.median(truth[:, :, 2:], axis=0)], axis=1)
        noisy = truth[:, :, :2] + random.normal(0, error, (*truth.shape[:2], 1))
        spread = truth[:, :, :2].var(axis=0)
        trust = spread / (spread + error**2)  # so that what is said is what is to be expected
        centre = truth[:, :, :2].mean(axis=0)
        wrong = truth.copy()
        wrong[:, :, :2] = centre + trust * (noisy - centre)
        rows = [place[int(shopper)] for shopper in here.shopper]
        prices, costs = 100 * town.encounters.prices, 100 * town.catalogue.cost
        for first in range(len(here)):
            if made == most:
                return
            mine, *rest = (first, *random.permutation(np.setdiff1d(np.arange(len(here)), [first])))
            who = [mine, *rest[: len(named) - 1]]
            yield Case(
                tuple((rows[one], probability) for one, probability in zip(who, named, strict=True)),
                tuple(rows[one] for one in rest[len(named) - 1 :][:OTHERS]),
                np.concatenate([wrong[who], level[None]]),
                prices,
                costs,
                offered,
            )
            made += 1


def _odds(town: Town, visits: Visits, items: npt.NDArray[np.int64]) -> Floats:
    """The town's own odds, as the value model tells them; shape (visits, items, 4)."""
    before = town.purchase_probability(visits, items, noticed=False)
    shown = town.purchase_probability(visits, items)
    cheaper = town.purchase_probability(visits, items, DEPTH)
    margin = np.maximum(town.margin(items), 1e-9)
    added = np.maximum(shown - before, 1e-9)
    keeps = np.clip(town.gain(visits, items) / (added * margin), 0, 1)
    log = [logit(np.clip(chance, 1e-6, 1 - 1e-6)) for chance in (before, shown, cheaper)]
    slope = np.maximum((log[2] - log[1]) / -np.log(1 - DEPTH), 0)
    return np.stack([log[0], log[1], slope, keeps, np.zeros_like(slope)], axis=2)


def measure(
    variant: Variant,
    named: Sequence[Sequence[float]],
    *,
    shoppers: int,
    stores: int,
    days: int,
    measured: int,
    harm: float,
    most: int,
    error: float = 0.7,
    seed: int = 1,
) -> list[tuple[tuple[float, ...], str, Floats, float]]:
    """Play the town for `days`, then measure on some more.

    Returns:
        For each `named` (probabilities of those who may stand there) and policy: profit of each case in minor units,
        shape (cases,), and how many items of a slate tell of somebody to another.
    """
    town = Town.build(TownConfig(shoppers=shoppers, stores=stores, days=days + measured, variant=variant), seed=seed)
    for day in range(days):
        town.step(day)
    gathered: dict[tuple[tuple[float, ...], str], list[float]] = {}
    told: dict[tuple[tuple[float, ...], str], list[float]] = {}
    for day in range(days, days + measured):
        visits = town.visits(day)
        for weights in named:
            random = np.random.default_rng([seed, day])
            for case in cases(town, visits, weights, error=error, most=most, random=random):
                shown, telling = slates(case, harm)
                for name, profit in profits(town, visits, case, shown).items():
                    gathered.setdefault((tuple(weights), name), []).append(profit)
                    told.setdefault((tuple(weights), name), []).append(telling[name])
        town.step(day)
    return [(*key, np.array(values), float(np.mean(told[key]))) for key, values in gathered.items()]
