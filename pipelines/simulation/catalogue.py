"""Makers, categories and items: what exists, what it costs, who made it, and what is not what it says it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipelines.simulation.config import TownConfig
from pipelines.simulation.draws import Array, Draws, Stream
from pipelines.simulation.words import AGE_RESTRICTED, GOODS, ORIGINS, SENSITIVE, SYLLABLES, TOPICS, kinds

ITEMS_PER_CATEGORY = 10
LAUNCH_DAYS = 30
LAUNCH_SHARE = 0.02
SENSITIVITY = 2.8
"""Median price elasticity of shoppers, before a category's own factor."""
NO_TOPIC = len(TOPICS)
"""Index of the topic of goods that no content is about; every array over topics has a last entry for it."""


@dataclass(frozen=True)
class Catalogue:
    """Columns of arrays; a category, maker or item is its position.

    Attributes:
        paths: category paths. kind: the word for what is in it.
        popularity: categories' share of needs; sums to 1.
        interval: days that one purchase of a category lasts a typical shopper.
        price_response: how strongly the price matters in a category (1: as a shopper's own sensitivity says).
        category_topic: topic of a category, or NO_TOPIC.
        reference: a usual price in a category.
        allure: log of what a category's goods attract together, less the average of all categories.
        age_restricted, sensitive: of a category.
        maker_origin, quality, since: of a maker; quality is standard normal, since is a day (negative: before day 0).
        brands: a maker's own brand. counterfeiter: sells under another's brand.
        maker, category, appeal, price, cost, launch, topics, brand, counterfeit: of an item. `topics` has shape
            (items, 2): by origin and by category. `launch` is the day from which it is sold. `brand` is the maker whose
            brand it bears.
        shelf: items of a category, shape (categories, width), -1: none. column: an item's place on its shelf.
    """

    paths: list[str]
    kind: list[str]
    popularity: Array
    interval: Array
    price_response: Array
    category_topic: Array
    reference: Array
    allure: Array
    age_restricted: Array
    sensitive: Array
    maker_origin: Array
    quality: Array
    since: Array
    brands: list[str]
    counterfeiter: Array
    maker: Array
    category: Array
    appeal: Array
    price: Array
    cost: Array
    launch: Array
    topics: Array
    brand: Array
    counterfeit: Array
    shelf: Array
    column: Array

    def prices(self, draws: Draws, day: int) -> Array:
        """What every item costs on a day: each week one in eight is dearer and one in eight cheaper by a tenth."""
        luck = draws.uniform(Stream.PRICE_WEEK, np.arange(len(self.price)), day // 7)
        return np.round(self.price * np.where(luck < 0.125, 0.9, np.where(luck > 0.875, 1.1, 1.0)), 2)


def build_catalogue(config: TownConfig, draws: Draws) -> Catalogue:
    """Make a town's catalogue; what exists on a day does not depend on how many days follow."""
    count = max(12, config.items // ITEMS_PER_CATEGORY)
    category = np.arange(count)
    words = kinds()
    roots = [words[number % len(words)][0] for number in category]
    kind = [words[number % len(words)][1] for number in category]
    ranges = [f"/Range {number // len(words) + 1}" if count > len(words) else "" for number in category]
    popularity = (1.0 + np.argsort(draws.uniform(Stream.CATEGORY, category, 0))) ** -0.6
    lasting = np.array([GOODS[root][1] for root in roots])
    interval = np.clip(14.0 * lasting * np.exp(0.3 * draws.normal(Stream.CATEGORY, category, 1)), 4.0, 60.0)
    of_root, of_origin = _topics()
    category_topic = np.array([of_root.get(root, NO_TOPIC) for root in roots])
    reference = np.exp(1.2 + 0.5 * draws.normal(Stream.CATEGORY, category, 2))

    origin, quality, since, counterfeiter = _makers(config, draws)
    launch = _launches(config)
    number = np.arange(len(launch))
    maker = _makers_of(draws, number, launch, since, counterfeiter)
    own_category = np.where(launch < 0, number % count, draws.below(count, Stream.LAUNCH, number, 1))
    brand, counterfeit = _brands(draws, maker, since, counterfeiter)

    appeal = 0.9 * draws.normal(Stream.ITEM, number, 0) + 0.25 * quality[brand]
    dear = np.exp(0.3 * draws.normal(Stream.ITEM, number, 1) + 0.1 * quality[brand])
    price = np.round(np.maximum(0.3, reference[own_category] * dear * np.where(counterfeit, 0.75, 1.0)), 2)
    cost = np.round(price * (0.4 + 0.35 * draws.uniform(Stream.ITEM, number, 2)), 2)
    shelf, column = _shelves(own_category, count)
    response = 0.7 + 0.6 * draws.uniform(Stream.CATEGORY, category, 3)
    old = launch < 0
    worth = np.exp(appeal - SENSITIVITY * response[own_category] * np.log(price / reference[own_category]))[old]
    allure = np.log(np.bincount(own_category[old], weights=worth, minlength=count))
    return Catalogue(
        paths=[f"{root}/{name}{more}" for root, name, more in zip(roots, kind, ranges, strict=True)],
        kind=kind,
        popularity=popularity / popularity.sum(),
        interval=np.round(interval, 1),
        price_response=response,
        category_topic=category_topic,
        reference=reference,
        allure=allure - allure.mean(),
        age_restricted=np.isin(kind, list(AGE_RESTRICTED)),
        sensitive=np.isin(kind, list(SENSITIVE)),
        maker_origin=origin,
        quality=quality,
        since=since,
        brands=[_name(draws, one) for one in range(config.makers)],
        counterfeiter=counterfeiter,
        maker=maker,
        category=own_category,
        appeal=appeal,
        price=price,
        cost=cost,
        launch=launch,
        topics=np.stack([of_origin[origin[brand]], category_topic[own_category]], axis=1),
        brand=brand,
        counterfeit=counterfeit,
        shelf=shelf,
        column=column,
    )


def _topics() -> tuple[dict[str, int], Array]:
    """The topic of each root of a category that has one, and of every origin."""
    of_root = {root: place for place, topic in enumerate(TOPICS) for root in topic.roots}
    of_origin = np.full(len(ORIGINS), NO_TOPIC)
    for place, topic in enumerate(TOPICS):
        if topic.origin >= 0:
            of_origin[topic.origin] = place
    return of_root, of_origin


def _brands(draws: Draws, maker: Array, since: Array, counterfeiter: Array) -> tuple[Array, Array]:
    """Each item's brand, as the maker behind it, and whether it is counterfeit: an older, honest maker's name on it."""
    brand = maker.copy()
    fakes = np.flatnonzero(counterfeiter[maker])
    honest = np.flatnonzero(~counterfeiter & (since < 0))
    brand[fakes] = honest[draws.below(max(1, len(honest) // 4), Stream.MAKER, fakes, 9)]
    counterfeit = np.zeros(len(maker), bool)
    counterfeit[fakes] = True
    return brand, counterfeit


def _makers(config: TownConfig, draws: Draws) -> tuple[Array, Array, Array, Array]:
    """Origin, quality, since and counterfeiter. The last tenth are new: one arrives every twelve days from day 10."""
    number = np.arange(config.makers)
    domestic = draws.uniform(Stream.MAKER, number, 0) < 0.3
    abroad = 1 + draws.below(len(ORIGINS) - 1, Stream.MAKER, number, 1)
    new = max(2, config.makers // 10)
    order = number - (config.makers - new)
    since = np.where(order >= 0, 10 + 12 * order, -1 - draws.below(2_000, Stream.MAKER, number, 2))
    counterfeiter = np.zeros(config.makers, bool)
    old = config.makers - new
    counterfeiter[old - max(1, config.makers // 40) : old] = True
    quality = draws.normal(Stream.MAKER, number, 3)
    quality[counterfeiter] = -1.5
    return np.where(domestic, 0, abroad), quality, since, counterfeiter


def _launches(config: TownConfig) -> Array:
    """Day of launch of each item; -1: there from the first day. New ones come in equal steps."""
    per_month = max(2, round(LAUNCH_SHARE * config.items))
    step = LAUNCH_DAYS / per_month
    new = np.ceil(np.arange(1, 1 + int(config.days / step)) * step).astype(np.int64)
    return np.concatenate([np.full(config.items, -1), new])


def _makers_of(draws: Draws, number: Array, launch: Array, since: Array, counterfeiter: Array) -> Array:
    """Makers of items: long-tailed; half of what is launched comes from makers who are new by then."""
    usual = np.flatnonzero((since < 0) & ~counterfeiter)
    weight = np.cumsum((1.0 + np.arange(len(usual))) ** -0.7)
    maker = usual[np.searchsorted(weight / weight[-1], draws.uniform(Stream.ITEM, number, 3))]
    false = np.flatnonzero(counterfeiter)
    fakes = np.flatnonzero((draws.uniform(Stream.ITEM, number, 4) < 0.03) & (launch < 0))
    maker[fakes] = false[draws.below(len(false), Stream.ITEM, fakes, 5)]
    maker[: len(false)] = false  # each has an item
    arrived = np.searchsorted(np.sort(since[since >= 0]), launch, side="right")
    fresh = np.flatnonzero((arrived > 0) & (draws.uniform(Stream.LAUNCH, number, 0) < 0.5))
    first = int(np.flatnonzero(since >= 0)[0])
    maker[fresh] = first + draws.below(arrived[fresh], Stream.LAUNCH, fresh, 2)
    return maker


def _shelves(category: Array, count: int) -> tuple[Array, Array]:
    order = np.argsort(category, kind="stable")
    sizes = np.bincount(category, minlength=count)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    column = np.empty(len(category), np.int64)
    column[order] = np.arange(len(category)) - starts[category[order]]
    shelf = np.full((count, int(sizes.max())), -1)
    shelf[category, column] = np.arange(len(category))
    return shelf, column


def _name(draws: Draws, number: int) -> str:
    """A word that is no trademark that we know of; the number keeps it apart from every other."""
    picks = draws.below(len(SYLLABLES), Stream.NAMES, number, np.arange(3))
    return "".join(SYLLABLES[pick] for pick in picks).capitalize() + f" {number + 1}"
