"""What the value model is trained on: what was bought on visits where it was not shown, and what came of showings.

Each row knows what lay before its visit and no more. The history is cut into windows; the taste model that a window's
rows are told of was fitted on what lay before the window.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipelines.offers.value.data import DAY, Events, ValueData
from pipelines.offers.value.features import Asked, Known
from pipelines.offers.value.taste import Taste

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_WINDOW_DAYS, _MOST_WINDOWS = 7, 8
_MOST_NOT_BOUGHT, _MOST_BOUGHT, _MOST_SHOWN, _MOST_DRAWN = 200_000, 80_000, 200_000, 40_000
_MOST_OF_CATEGORIES = 80_000
_MOST_BESIDE = 30
"""Goods of a category beside an item that are told of one by one: those that sell most."""


@dataclass(frozen=True)
class Unshown:
    """Visits and items that were not shown on them: features, and whether the item was bought (0, 1).

    `log_rate`: log of (share of the bought that was kept / share of the others): what sampling added to the log-odds.
    """

    features: Floats
    bought: Floats
    log_rate: float


@dataclass(frozen=True)
class OfCategories:
    """Visits and categories of which nothing was shown on them: features of one of its goods, and whether any of them
    was bought (0, 1)."""

    features: Floats
    bought: Floats


@dataclass(frozen=True)
class Shown:
    """Showings, one for each visit and item: features, how it was shown, and what came of it.

    Attributes:
        features, shown: as `Known.features` and `Known.shown` give them.
        item, category: numbers.
        bought: 0 or 1. window: number of the window.
    """

    features: Floats
    shown: Floats
    item: Ints
    category: Ints
    bought: Floats
    window: Ints


@dataclass(frozen=True)
class Drawn:
    """Random offers: features, what was drawn and with which propensity, and what came of the visit.

    `others`: profit of the visit from other goods of the item's category; `own`: from the item, money of the shop.
    `beside`, `beside_row`, `beside_item`: features of those other goods on the visit, which row they belong to, and
    which they are.
    """

    features: Floats
    shown: Floats
    asked: Asked
    offered: Floats
    propensity: Floats
    bought: Floats
    others: Floats
    own: Floats
    beside: Floats
    beside_row: Ints
    beside_item: Ints


def windows(data: ValueData) -> list[tuple[int, int]]:
    """(start, end) of each window; the first begins when there is a window's history, or a third of the whole."""
    first = int(data.visits.start[0])
    step = max(1, min(_WINDOW_DAYS * DAY, (data.moment - first) // 3))
    count = max(1, (data.moment - first) // step - 1)
    step = step if count <= _MOST_WINDOWS else (data.moment - first - step) // _MOST_WINDOWS
    starts = [data.moment - step * (number + 1) for number in range(min(count, _MOST_WINDOWS))][::-1]
    return [(start, start + step) for start in starts]


def examples(known: Known, rng: np.random.Generator) -> tuple[Unshown, OfCategories, Shown, Drawn | None]:
    """Make the rows of all windows; None for the random draws where there are none."""
    data = known.data
    goods = len(data.item_ids)
    spans = windows(data)
    of_visit = data.visits.start
    used = int((of_visit >= spans[0][0]).sum())
    share = min(1.0, _MOST_NOT_BOUGHT / max(1, used * goods))
    bought, shown = data.purchases, data.showings
    kinds_sold, kinds_seen = (
        np.unique(events.visit * data.categories + data.category[events.item]) for events in (bought, shown)
    )
    sold = np.unique(bought.visit * goods + bought.item)
    seen = np.unique(shown.visit * goods + shown.item)
    plain = sold[~np.isin(sold, seen)]
    kept = min(1.0, _MOST_BOUGHT / max(1, len(plain)))
    goods_of = _best_sellers(data)
    some = min(1.0, _MOST_OF_CATEGORIES / max(1, used * data.categories))
    unshown, kinds, told, drawn = [], [], [], []
    for number, (start, end) in enumerate(spans):
        taste = known.taste(start, rng)
        visits = np.flatnonzero((of_visit >= start) & (of_visit < end))
        if len(visits):
            count = round(share * len(visits) * goods)
            blank = rng.choice(visits, count) * goods + rng.integers(0, goods, count)
            blank = blank[~np.isin(blank, sold) & ~np.isin(blank, seen)]
            blank = blank[data.launched[blank % goods] <= of_visit[blank // goods]]
            own = plain[(plain >= visits[0] * goods) & (plain < (visits[-1] + 1) * goods)]
            own = own[rng.random(len(own)) < kept]
            pair = np.concatenate([own, blank])
            features = known.features(_asked(data, pair // goods, pair % goods), taste, start)
            unshown.append((features, np.r_[np.ones(len(own)), np.zeros(len(blank))]))
            count = round(some * len(visits) * data.categories)
            asked = _asked(data, visit := rng.choice(visits, count), rng.integers(0, goods, count))
            key = visit * data.categories + data.category[asked.item]
            alone = np.flatnonzero(~np.isin(key, kinds_seen))
            features = known.features(asked.take(alone), taste, start)
            kinds.append((features, np.isin(key[alone], kinds_sold).astype(np.float64)))
        rows = _rows(shown, goods, of_visit, start, end)
        if len(rows) > _MOST_SHOWN // len(spans):
            rows = np.sort(rng.choice(rows, _MOST_SHOWN // len(spans), replace=False))
        told.append(_shown(known, shown.take(rows), sold, taste, start, number))
        random = _valid(data.draws, of_visit, start, end)
        if len(random) > _MOST_DRAWN // len(spans):
            random = random.take(np.sort(rng.choice(len(random), _MOST_DRAWN // len(spans), replace=False)))
        if len(random):
            drawn.append(_drawn(known, random, sold, taste, start, goods_of))
    first, second, third, fourth = (
        np.concatenate([part[column] for part in parts]) for parts in (unshown, kinds) for column in range(2)
    )
    columns = (
        np.concatenate([getattr(part, name) for part in told])
        for name in ("features", "shown", "item", "category", "bought", "window")
    )
    rate = float(np.log(kept / share))
    return (
        Unshown(first, second, rate),
        OfCategories(third, fourth),
        Shown(*columns),
        _joined(drawn) if drawn else None,
    )


def later(known: Known, taste: Taste, cut: int) -> tuple[Shown, Drawn | None]:
    """The showings and the random offers of the time since `cut`, with a taste model that was fitted then."""
    data, goods = known.data, len(known.data.item_ids)
    of_visit, sold = data.visits.start, np.unique(data.purchases.visit * goods + data.purchases.item)
    rows = _rows(data.showings, goods, of_visit, cut, data.moment)[:_MOST_SHOWN]
    random = _valid(data.draws, of_visit, cut, data.moment)
    shown = _shown(known, data.showings.take(rows), sold, taste, cut, 0)
    return shown, _drawn(known, random, sold, taste, cut, []) if len(random) else None


def _rows(shown: Events, goods: int, of_visit: Ints, start: int, end: int) -> Ints:
    when = of_visit[shown.visit]
    return _once(shown, goods, np.flatnonzero((when >= start) & (when < end)))


def _shown(known: Known, some: Events, sold: Ints, taste: Taste, start: int, number: int) -> Shown:
    data = known.data
    asked = _asked(data, some.visit, some.item)
    return Shown(
        features=known.features(asked, taste, start),
        shown=known.shown(asked, some.extra["position"], some.extra["placement"], _cut(some)),
        item=some.item,
        category=data.category[some.item],
        bought=np.isin(some.visit * len(data.item_ids) + some.item, sold).astype(np.float64),
        window=np.full(len(some), number),
    )


def _valid(random: Events, of_visit: Ints, start: int, end: int) -> Events:
    chance, when = random.extra["propensity"], of_visit[random.visit]
    return random.take(np.flatnonzero((chance > 0) & (chance < 1) & (when >= start) & (when < end)))


def _asked(data: ValueData, visit: Ints, item: Ints) -> Asked:
    visits = data.visits
    return Asked(visits.shopper[visit], item, visits.start[visit], visits.store[visit])


def _once(shown: Events, goods: int, rows: Ints) -> Ints:
    """The first showing of each item on a visit: the rows are in the order of times."""
    _, first = np.unique(shown.visit[rows] * goods + shown.item[rows], return_index=True)
    return np.asarray(rows[np.sort(first)])


def _cut(events: Events) -> Floats:
    return np.asarray(-np.log1p(-events.extra["discount"]))


def _best_sellers(data: ValueData) -> list[Ints]:
    """Of each category the goods that sell most."""
    sales = np.bincount(data.purchases.item, minlength=len(data.item_ids))
    order = np.argsort(-sales, kind="stable")
    return [order[data.category[order] == kind][:_MOST_BESIDE] for kind in range(data.categories)]


def _beside(known: Known, asked: Asked, taste: Taste, start: int, goods_of: list[Ints]) -> tuple[Floats, Ints, Ints]:
    """What else is in the category of each asked item; without `goods_of` nothing is told."""
    some = [goods_of[kind] if goods_of else asked.item[:0] for kind in known.data.category[asked.item]]
    row = np.repeat(np.arange(len(asked)), [len(goods) for goods in some])
    item = np.concatenate([asked.item[:0], *some])
    there = (item != asked.item[row]) & (known.data.launched[item] <= asked.time[row])
    row, item = row[there], item[there]
    pairs = Asked(asked.shopper[row], item, asked.time[row], asked.store[row])
    return known.features(pairs, taste, start), row, item


def _drawn(known: Known, random: Events, sold: Ints, taste: Taste, start: int, goods_of: list[Ints]) -> Drawn:
    data, bought = known.data, known.data.purchases
    goods, kinds = len(data.item_ids), data.categories
    asked = _asked(data, random.visit, random.item)
    each = np.nan_to_num((bought.extra["price"] - data.cost[bought.item]) * bought.extra["units"])
    kind, item = bought.visit * kinds + data.category[bought.item], bought.visit * goods + bought.item
    of_kind = _sums(kind, each, random.visit * kinds + data.category[random.item])
    own = _sums(item, each, random.visit * goods + random.item)
    ones = np.ones(len(random))
    beside, row, other = _beside(known, asked, taste, start, goods_of)
    return Drawn(
        features=known.features(asked, taste, start),
        shown=known.shown(asked, ones, np.full(len(random), -1.0), _cut(random)),
        asked=asked,
        offered=random.extra["offered"],
        propensity=random.extra["propensity"],
        bought=np.isin(random.visit * goods + random.item, sold).astype(np.float64),
        others=of_kind - own,
        own=own,
        beside=beside,
        beside_row=row,
        beside_item=other,
    )


def _sums(keys: Ints, values: Floats, asked: Ints) -> Floats:
    """Sum of the values of each asked key."""
    if not len(keys):
        return np.zeros(len(asked))
    names, number = np.unique(keys, return_inverse=True)
    totals = np.bincount(number, weights=values)
    at = np.minimum(np.searchsorted(names, asked), len(names) - 1)
    return np.where(names[at] == asked, totals[at], 0.0)


def _joined(parts: list[Drawn]) -> Drawn:
    asked = [part.asked for part in parts]
    whole = Asked(
        *(np.concatenate([getattr(one, name) for one in asked]) for name in ("shopper", "item", "time", "store"))
    )
    columns = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in (
            "features", "shown", "offered", "propensity", "bought", "others", "own", "beside", "beside_row",
            "beside_item",
        )
    }  # fmt: skip
    sizes = [len(part.own) for part in parts]
    columns["beside_row"] += np.repeat(np.cumsum([0, *sizes[:-1]]), [len(part.beside_row) for part in parts])
    return Drawn(asked=whole, **columns)
