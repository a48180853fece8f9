"""The shop's app: sessions of views, clicks and carts between visits, and searches."""

from __future__ import annotations

import numpy as np

from pipelines.simulation.catalogue import Catalogue
from pipelines.simulation.config import TownConfig
from pipelines.simulation.draws import Array, Draws, Stream
from pipelines.simulation.rows import CHANNEL, TYPE, Log, moment
from pipelines.simulation.tastes import ORDINARY, WATCH_ONLY, Neighbourhoods, Shoppers, liking
from pipelines.simulation.words import ORIGINS, TOPICS

SESSIONS_TO_VISITS = 0.8
LONGEST = 6
FOUND = 5


def browse(
    day: int,
    config: TownConfig,
    draws: Draws,
    shoppers: Shoppers,
    places: Neighbourhoods,
    catalogue: Catalogue,
    log: Log,
) -> None:
    """Log a day's sessions. Nothing is bought in the app: what was put into a cart there is looked for in the store."""
    active = (shoppers.role == ORDINARY) | ((shoppers.role == WATCH_ONLY) & (day >= config.watch_only_days))
    rate = np.where(active, SESSIONS_TO_VISITS * shoppers.visits_a_day, 0.0)
    who = np.flatnonzero(draws.uniform(Stream.BROWSE, np.arange(len(shoppers)), day, 0) < rate)
    hour = np.clip(shoppers.hour[who] + 2.5 * draws.normal(Stream.BROWSE, who, day, 1), 0.5, 23.0)
    begins = (hour * 3600).astype(np.int64)
    _search(day, draws, shoppers, catalogue, who, begins, log)
    length = 1 + draws.below(LONGEST, Stream.BROWSE, who, day, 2)
    person, second = np.repeat(who, length), np.repeat(begins, length)
    turn = np.arange(len(person)) - np.repeat(np.cumsum(length) - length, length)
    item, value = _looked_at(day, draws, shoppers, places, catalogue, person, turn)
    luck = draws.uniform(Stream.BROWSE, person, day, turn, 3)
    clicks = luck < 0.5 / (1.0 + np.exp(1.0 - value))
    carts = luck < 0.15 / (1.0 + np.exp(1.0 - value))
    common = {"channel": CHANNEL["app"]}
    for name, does, later in (
        ("view", np.ones(len(person), bool), 0),
        ("click", clicks, 7),
        ("add_to_cart", carts, 15),
    ):
        log.add(
            "interactions",
            int(does.sum()),
            shopper=person[does],
            item=item[does],
            type=TYPE[name],
            time=moment(day, second[does] + 25 * turn[does] + later),
            session=day,
            **common,
        )


def _looked_at(
    day: int,
    draws: Draws,
    shoppers: Shoppers,
    places: Neighbourhoods,
    catalogue: Catalogue,
    who: Array,
    turn: Array,
) -> tuple[Array, Array]:
    """The best-liked of three random items on sale: of a habit, mostly, else of any category."""
    slot = draws.below(shoppers.habit.shape[1], Stream.BROWSE, who, day, turn, 4)
    anywhere = draws.below(len(catalogue.paths), Stream.BROWSE, who, day, turn, 5)
    usual = (draws.uniform(Stream.BROWSE, who, day, turn, 6) < 0.6) & (shoppers.habit[who, slot] >= 0)
    category = np.where(usual, shoppers.habit[who, slot], anywhere)
    on_sale = (catalogue.shelf >= 0) & (catalogue.launch[catalogue.shelf] <= day)  # the old ones stand first
    width = on_sale.sum(axis=1)[category][:, None]
    column = draws.below(width, Stream.BROWSE, who[:, None], day, turn[:, None], 7 + np.arange(3))
    items = catalogue.shelf[category[:, None], column]
    place = shoppers.neighbourhood[who]
    worth = places.liking[place] + places.slope[place] * shoppers.interest[who]
    value = liking(draws, catalogue, who, worth, np.arange(len(who)), items)
    best = value.argmax(axis=1)
    row = np.arange(len(who))
    return items[row, best], value[row, best]


def found(catalogue: Catalogue) -> Array:
    """What a search answers, shape (categories, origins, FOUND), -1: fewer; goods of that origin first."""
    shelf = np.where(catalogue.launch[catalogue.shelf] < 0, catalogue.shelf, -1)
    origin = np.where(shelf >= 0, catalogue.maker_origin[catalogue.brand[shelf]], -1)
    answers = np.full((len(shelf), len(ORIGINS), FOUND), -1)
    for one in range(len(ORIGINS)):
        order = np.argsort(np.where(shelf < 0, 2, origin != one), axis=1, kind="stable")[:, :FOUND]
        answers[:, one, : order.shape[1]] = np.take_along_axis(shelf, order, axis=1)
    return answers


def _search(
    day: int, draws: Draws, shoppers: Shoppers, catalogue: Catalogue, who: Array, begins: Array, log: Log
) -> None:
    """One session in four begins with a search for a habit's goods, half of them of the origin most watched."""
    does = draws.uniform(Stream.SEARCH, who, day, 0) < 0.25
    who, begins = who[does], begins[does]
    category = shoppers.habit[who, draws.below(shoppers.habit.shape[1], Stream.SEARCH, who, day, 1)]
    origin = np.array([max(0, topic.origin) for topic in TOPICS])[shoppers.interest[who, :-1].argmax(axis=1)]
    origin = np.where(draws.uniform(Stream.SEARCH, who, day, 2) < 0.5, origin, 0)
    answers = found(catalogue)[category, origin]
    place = draws.below(3, Stream.SEARCH, who, day, 3)
    clicks = draws.uniform(Stream.SEARCH, who, day, 4) < 0.6
    ok = category >= 0
    log.add(
        "searches",
        int(ok.sum()),
        shopper=who[ok],
        category=category[ok],
        origin=origin[ok],
        time=moment(day, np.maximum(begins[ok] - 20, 0)),
        clicked=np.where(clicks, answers[np.arange(len(who)), place], -1)[ok],
    )
