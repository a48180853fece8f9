"""Neighbourhoods and shoppers: where they live, what they watch and like, how they mind prices, what they need."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipelines.simulation.catalogue import NO_TOPIC, SENSITIVITY, Catalogue
from pipelines.simulation.config import VARIANTS, TownConfig
from pipelines.simulation.draws import Array, Draws, Stream, extend, normal
from pipelines.simulation.words import AGE_BANDS, HOUSEHOLDS, TOPICS

HABITS = 22
PERSONAL = 0.5
"""Standard deviation of what only this shopper thinks of this item, for good."""
SEGMENTS = ("easy", "middle", "thrifty")
"""Thirds of the shoppers by price sensitivity."""
ORDINARY, WATCH_ONLY, BOT, FAKER = range(4)
"""Roles: shops from day 0; only watches at first; a robot that looks at pages; an account that fakes purchases."""


@dataclass(frozen=True)
class Neighbourhoods:
    """Arrays over neighbourhoods and topics (the last topic is NO_TOPIC, all zero).

    Attributes:
        watching: how much a topic is watched; rows sum to 1.
        liking: what everybody there thinks of a topic's goods, in units of utility.
        slope: planted: what a shopper's whole attention to a topic adds to the utility of its goods. A fifth are 0:
            there, watching does not sell.
        phase: when a topic is in fashion there, as a fraction of the period.
    """

    watching: Array
    liking: Array
    slope: Array
    phase: Array

    def __len__(self) -> int:
        """How many there are."""
        return len(self.watching)


@dataclass(frozen=True)
class Shoppers:
    """Arrays over shoppers; `habit` and `interval` have shape (shoppers, HABITS).

    Attributes:
        store: home store. neighbourhood: of that store.
        role: one of ORDINARY, WATCH_ONLY, BOT, FAKER.
        variant: which response model decides for them, an index of VARIANTS without `mixed`.
        interest: how they divide their attention among topics; rows sum to 1, shape (shoppers, topics + 1).
        sensitivity: price elasticity before a category's own factor. segment: third of the shoppers by it.
        visits_a_day, watches_a_day, hour: how often they shop and watch, and when.
        recognised: carries a phone whose code a screen may read. Faces are switched off: there are no images.
        habit: categories that they need again and again; -1: none.
        interval: days between two purchases of a habit.
        age, household: indexes of AGE_BANDS and HOUSEHOLDS.
    """

    store: Array
    neighbourhood: Array
    role: Array
    variant: Array
    interest: Array
    sensitivity: Array
    segment: Array
    visits_a_day: Array
    watches_a_day: Array
    hour: Array
    recognised: Array
    habit: Array
    interval: Array
    age: Array
    household: Array

    def __len__(self) -> int:
        """How many there are."""
        return len(self.store)


def build_neighbourhoods(count: int, draws: Draws) -> Neighbourhoods:
    """Make neighbourhoods that watch and like different things."""
    place, topic = np.arange(count)[:, None], np.arange(len(TOPICS))[None, :]
    keen = np.exp(1.3 * draws.normal(Stream.NEIGHBOURHOOD, place, topic, 0))
    slope = 2.0 + 5.0 * draws.uniform(Stream.NEIGHBOURHOOD, place, topic, 1)
    slope = np.where(draws.uniform(Stream.NEIGHBOURHOOD, place, topic, 2) < 0.2, 0.0, slope)
    return Neighbourhoods(
        watching=_with_no_topic(keen / keen.sum(axis=1, keepdims=True)),
        liking=_with_no_topic(0.5 * draws.normal(Stream.NEIGHBOURHOOD, place, topic, 3)),
        slope=_with_no_topic(np.round(slope, 3)),
        phase=_with_no_topic(draws.uniform(Stream.NEIGHBOURHOOD, place, topic, 4)),
    )


def build_shoppers(
    config: TownConfig, draws: Draws, places: Neighbourhoods, store_place: Array, catalogue: Catalogue
) -> Shoppers:
    """Make the shoppers; `store_place` is the neighbourhood of each store."""
    who = np.arange(config.shoppers)
    store = draws.below(config.stores, Stream.SHOPPER, who, 0)
    place = store_place[store]
    interest = _interests(draws, who, place, places)
    household = draws.below(len(HOUSEHOLDS), Stream.SHOPPER, who, 1)
    sensitivity = np.clip(SENSITIVITY * np.exp(0.6 * draws.normal(Stream.SHOPPER, who, 2)), 0.4, 10.0)
    thirds = np.quantile(sensitivity, [1 / 3, 2 / 3])
    peaks = np.array([9.5, 13.0, 18.0])[draws.below(3, Stream.SHOPPER, who, 4)]
    habit = _habits(draws, who, place, places, interest, catalogue)
    own = np.exp(0.25 * draws.normal(Stream.HABIT, who[:, None], np.arange(HABITS), 9))
    forms = len(VARIANTS) - 1
    variant = VARIANTS.index(config.variant)
    return Shoppers(
        store=store,
        neighbourhood=place,
        role=_roles(config, draws, who),
        variant=np.full(len(who), variant) if variant < forms else draws.below(forms, Stream.SHOPPER, who, 5),
        interest=interest,
        sensitivity=sensitivity,
        segment=np.searchsorted(thirds, sensitivity),
        visits_a_day=np.clip(0.22 * np.exp(0.4 * draws.normal(Stream.SHOPPER, who, 6)), 0.04, 0.7),
        watches_a_day=np.clip(0.45 * np.exp(0.6 * draws.normal(Stream.SHOPPER, who, 7)), 0.05, 3.0),
        hour=np.clip(peaks + 1.2 * draws.normal(Stream.SHOPPER, who, 8), 8.0, 20.0),
        recognised=draws.uniform(Stream.SHOPPER, who, 9) < 0.5,
        habit=habit,
        interval=np.clip(catalogue.interval[habit] * own, 3.0, 90.0).astype(np.float32),
        age=draws.below(len(AGE_BANDS), Stream.SHOPPER, who, 10),
        household=household,
    )


def liking(draws: Draws, catalogue: Catalogue, who: Array, worth: Array, row: Array, items: Array) -> Array:
    """What items are worth to shoppers, without price and display, shape of `items` (n, m).

    Args:
        draws, catalogue: of the town.
        who: (n,) the shoppers.
        worth: what the goods of each topic are worth, shape (rows, topics + 1).
        row: (n,) which row of `worth` is whose.
        items: what is looked at.
    """
    value = catalogue.appeal[items] + PERSONAL * normal(extend(draws.keys(Stream.LIKING, who)[:, None], items))
    for kind in (0, 1):
        value += worth[row[:, None], catalogue.topics[items, kind]]
    return np.asarray(value)


def _with_no_topic(table: Array) -> Array:
    return np.concatenate([table, np.zeros((len(table), 1))], axis=1)


def _interests(draws: Draws, who: Array, place: Array, places: Neighbourhoods) -> Array:
    """Three topics of the neighbourhood's with unequal weights; one may come twice."""
    reach = np.cumsum(0.8 * places.watching[:, :-1] + 0.2 / len(TOPICS), axis=1)
    interest = np.zeros((len(who), len(TOPICS) + 1), np.float32)
    for turn, weight in enumerate((0.6, 0.28, 0.12)):
        luck = draws.uniform(Stream.SHOPPER, who, 20 + turn)
        topic = np.minimum((luck[:, None] > reach[place]).sum(axis=1), len(TOPICS) - 1)
        interest[who, topic] += weight
    return interest


def _habits(
    draws: Draws, who: Array, place: Array, places: Neighbourhoods, interest: Array, catalogue: Catalogue
) -> Array:
    """Distinct categories by their popularity, by the neighbourhood's liking, and by what a shopper watches."""
    pull = catalogue.popularity * np.exp(places.liking[:, catalogue.category_topic])
    reach = np.cumsum(pull / pull.sum(axis=1, keepdims=True), axis=1)
    attention = np.cumsum(interest[:, :-1], axis=1)
    most = min(HABITS, 2 * len(catalogue.popularity) // 3)
    habit = np.full((len(who), HABITS), -1, np.int32)
    filled = np.zeros(len(who), np.int64)
    of_topic = [np.flatnonzero(catalogue.category_topic == topic) for topic in range(NO_TOPIC)]
    for turn in range(3 * HABITS):
        luck = draws.uniform(Stream.HABIT, who, turn, 0)
        drawn = np.empty(len(who), np.int64)
        for one in range(len(places)):
            here = place == one
            drawn[here] = np.searchsorted(reach[one], luck[here])
        drawn = np.minimum(drawn, reach.shape[1] - 1)
        topic = (draws.uniform(Stream.HABIT, who, turn, 1)[:, None] > attention).sum(axis=1)
        led = draws.uniform(Stream.HABIT, who, turn, 2) < 0.5
        for one, choices in enumerate(of_topic):
            mine = led & (topic == one)
            if len(choices):
                drawn[mine] = choices[(luck[mine] * len(choices)).astype(np.int64)]
        fresh = np.flatnonzero((filled < most) & ~(habit == drawn[:, None]).any(axis=1))
        habit[fresh, filled[fresh]] = drawn[fresh]
        filled[fresh] += 1
    return habit


def _roles(config: TownConfig, draws: Draws, who: Array) -> Array:
    """A few bots and fakers, some who only watch, and everybody else."""
    order = np.argsort(draws.uniform(Stream.ROLE, who))
    bots, fakers = max(1, config.shoppers // 1_000), max(min(4, config.shoppers // 5), config.shoppers // 250)
    watchers = round(config.watch_only_share * config.shoppers)
    role = np.full(len(who), ORDINARY)
    role[order[:bots]] = BOT
    role[order[bots : bots + fakers]] = FAKER
    role[order[bots + fakers : bots + fakers + watchers]] = WATCH_ONLY
    return role
