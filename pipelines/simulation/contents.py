"""Contents and who watches them: what a shopper watches tells what it likes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipelines.simulation.catalogue import Catalogue
from pipelines.simulation.config import TownConfig
from pipelines.simulation.draws import Array, Draws, Stream
from pipelines.simulation.rows import TYPE, Log, moment
from pipelines.simulation.tastes import ORDINARY, WATCH_ONLY, Neighbourhoods, Shoppers
from pipelines.simulation.words import TOPICS

LINKED = 3
CURIOUS = 0.15
"""Share of views that follow the neighbourhood's fashion and not the shopper's own interest."""
REACTIONS = (("like", 0.04, 0.2), ("share", 0.01, 0.04), ("comment", 0.01, 0.03))


@dataclass(frozen=True)
class Contents:
    """Arrays over contents.

    Attributes:
        topic: index of TOPICS. seconds: duration.
        linked: items that it names, shape (contents, LINKED), -1: fewer; each of its topic.
        of_topic: contents of each topic, the most popular first.
    """

    topic: Array
    seconds: Array
    linked: Array
    of_topic: list[Array]


def build_contents(config: TownConfig, draws: Draws, catalogue: Catalogue) -> Contents:
    """Make the contents; every topic has some."""
    number = np.arange(config.contents)
    topic = number % len(TOPICS)
    linked = np.full((len(number), LINKED), -1)
    known = catalogue.launch < 0
    for one in range(len(TOPICS)):
        goods = np.flatnonzero((catalogue.topics == one).any(axis=1) & known)
        mine = np.flatnonzero(topic == one)
        if len(goods):
            pick = draws.below(len(goods), Stream.CONTENT, mine[:, None], np.arange(LINKED), 0)
            some = draws.uniform(Stream.CONTENT, mine[:, None], np.arange(LINKED), 1) < 0.5
            linked[mine] = np.where(some, goods[pick], -1)
    return Contents(
        topic=topic,
        seconds=np.round(60 * np.exp(1.5 + 0.8 * draws.normal(Stream.CONTENT, number, 2))),
        linked=linked,
        of_topic=[np.flatnonzero(topic == one) for one in range(len(TOPICS))],
    )


def watch(
    day: int, draws: Draws, shoppers: Shoppers, places: Neighbourhoods, fashion: Array, contents: Contents, log: Log
) -> None:
    """Log a day's views and reactions; who only watches, watches twice as much."""
    person = (shoppers.role == ORDINARY) | (shoppers.role == WATCH_ONLY)
    rate = np.where(person, shoppers.watches_a_day, 0.0) * np.where(shoppers.role == WATCH_ONLY, 2.0, 1.0)
    count = _poisson(draws.uniform(Stream.WATCH, np.arange(len(shoppers)), day, 0), rate)
    who = np.repeat(np.arange(len(shoppers)), count)
    turn = np.arange(len(who)) - np.repeat(np.cumsum(count) - count, count)
    place = shoppers.neighbourhood[who]
    curious = draws.uniform(Stream.WATCH, who, day, turn, 1) < CURIOUS
    pull = np.where(curious[:, None], places.watching[place], shoppers.interest[who]) * (1.0 + fashion[place])
    reach = np.cumsum(pull[:, :-1], axis=1)
    luck = draws.uniform(Stream.WATCH, who, day, turn, 2)
    topic = np.minimum((luck[:, None] * reach[:, -1:] > reach).sum(axis=1), len(TOPICS) - 1)
    content = np.empty(len(who), np.int64)
    rank = draws.uniform(Stream.WATCH, who, day, turn, 3) ** 2.5  # a few contents have most views
    for one, choices in enumerate(contents.of_topic):
        mine = topic == one
        content[mine] = choices[(rank[mine] * len(choices)).astype(np.int64)]
    interest = shoppers.interest[who, topic]
    completion = np.clip(0.3 + 0.9 * interest + 0.2 * draws.normal(Stream.WATCH, who, day, turn, 4), 0.02, 1.0)
    hour = np.clip(20.0 + 2.0 * draws.normal(Stream.WATCH, who, day, turn, 5), 0.0, 23.4)
    begins = (hour * 3600).astype(np.int64)
    dwell = np.round(completion * contents.seconds[content])
    columns = {"shopper": who, "content": content}
    log.add(
        "content_views", len(who), **columns, type=TYPE["content_view"], time=moment(day, begins) + turn, dwell=dwell
    )
    for number, (name, always, keen) in enumerate(REACTIONS):
        does = draws.uniform(Stream.WATCH, who, day, turn, 6 + number) < always + keen * interest
        when = moment(day, np.minimum(begins + dwell + 2 + number, 86_399))[does] + turn[does]
        log.add("content_views", int(does.sum()), shopper=who[does], content=content[does], type=TYPE[name], time=when)


def _poisson(luck: Array, rate: Array) -> Array:
    """Counts by inversion, at most 12."""
    count = np.zeros(len(luck), np.int64)
    term = np.exp(-rate)
    reach = term.copy()
    for number in range(1, 13):
        count += luck > reach
        term = term * rate / number
        reach += term
    return count
