"""A visit meets a slate: what is looked at, what is bought, with which probability, and what is remembered."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from pipelines.simulation.catalogue import Catalogue
from pipelines.simulation.draws import Array, Draws, Stream
from pipelines.simulation.offers import Slates
from pipelines.simulation.response import (
    CYCLE,
    DISPLAY_LIFT,
    LIFT,
    NEED_OF_WANDERING,
    NEED_ON_IMPULSE,
    WEARING,
    Situations,
    choose,
    probabilities,
)
from pipelines.simulation.shops import Shelves
from pipelines.simulation.tastes import HABITS, Neighbourhoods, Shoppers, liking
from pipelines.simulation.visits import Visits, outside_key
from pipelines.simulation.words import TOPICS

LOOK = (0.8, 0.65, 0.9)
"""Probability of looking at the first place of a screen at the entrance, in the aisle, at the checkout."""
DECAY = 0.85
"""Each further place is looked at by that share of those who looked at the one before."""
MORE = (1.0, 0.15, 0.05)
"""Probability of buying at least one, two, three units, given a purchase."""
REMEMBERED = 8
MEMORY_DAYS = 14
CROWD_KEPT = 0.9
TREND = 1.2
CHUNK = 4_096


@dataclass
class Memory:
    """What changes from visit to visit: habits' last purchases, what was shown lately, what neighbourhoods bought.

    Attributes:
        last_day, last_item: shape (shoppers, HABITS); -1: no item yet.
        seen, seen_day: the last REMEMBERED items looked at on screens; -1: none.
        crowd: units bought lately, shape (neighbourhoods, items).
    """

    last_day: Array
    last_item: Array
    seen: Array
    seen_day: Array
    crowd: Array

    @classmethod
    def fresh(cls, draws: Draws, shoppers: Shoppers, places: int, items: int) -> Memory:
        """Before the first day: every habit is somewhere in its cycle."""
        who = np.arange(len(shoppers))[:, None]
        ago = 1.3 * draws.uniform(Stream.HABIT, who, np.arange(HABITS), 8) * shoppers.interval
        return cls(
            last_day=-ago.astype(np.float32),
            last_item=np.full((len(shoppers), HABITS), -1, np.int32),
            seen=np.full((len(shoppers), REMEMBERED), -1, np.int32),
            seen_day=np.full((len(shoppers), REMEMBERED), -1_000, np.int32),
            crowd=np.zeros((places, items)),
        )


@dataclass(frozen=True)
class Purchases:
    """Lines of baskets, arrays of one length.

    Attributes:
        visit: row of the visit. item, quantity: what and how many.
        price: asked for a unit that day. discount: noticed on the screen and taken off.
        place: on the screen where it was noticed, -1: it was not.
    """

    visit: Array
    item: Array
    quantity: Array
    price: Array
    discount: Array
    place: Array


@dataclass(frozen=True)
class _Pairs:
    """Which visit (row) stands before which category; slot: column of `minds`, -1: only what the screen showed."""

    visit: Array
    category: Array
    slot: Array


@dataclass
class Encounters:
    """The town's shoppers in front of its shelves, on one day at a time."""

    catalogue: Catalogue
    places: Neighbourhoods
    shoppers: Shoppers
    shelves: Shelves
    memory: Memory
    draws: Draws
    prices: Array = field(init=False)
    displayed: Array = field(init=False)
    fashion: Array = field(init=False)

    def open(self, day: int) -> None:
        """Set the day's prices, displays and fashions."""
        self.prices = self.catalogue.prices(self.draws, day)
        if day % 7 == 0:
            self.displayed = self.shelves.displayed(day)
        self.fashion = fashion(self.places, day)

    def close(self) -> None:
        """Let what neighbourhoods bought fade."""
        self.memory.crowd *= CROWD_KEPT

    # ------------------------------------------------------------------ what happens

    def meet(self, visits: Visits, slates: Slates) -> tuple[Purchases, Array]:
        """Let visits happen before their slates, in order; stock, habits and memory change.

        Returns:
            The purchases, and which places were looked at, shape (visits, places).
        """
        looks = self.looks(visits, slates)
        noticed = _masked(slates, looks)
        parts = [
            self._meet(visits, noticed, np.arange(start, min(start + CHUNK, len(visits))))
            for start in range(0, len(visits), CHUNK)
        ]
        names = ("visit", "item", "quantity", "price", "discount", "place")
        whole = {
            name: np.concatenate([np.empty(0, np.int64), *(getattr(part, name) for part in parts)]) for name in names
        }
        for name in ("visit", "item", "quantity", "place"):
            whole[name] = whole[name].astype(np.int64)
        self._remember_shown(visits, noticed)
        return Purchases(**whole), looks

    def looks(self, visits: Visits, slates: Slates) -> Array:
        """Which places a visit looks at: from the first down to a depth that is drawn by shopper and day."""
        luck = self.draws.uniform(Stream.LOOK, visits.shopper, visits.day)
        seen: Array = luck[:, None] < _reach(visits, slates.items.shape[1])
        return seen & (slates.items >= 0)

    def _meet(self, visits: Visits, noticed: Slates, rows: Array) -> Purchases:
        part, shown = visits.take(rows), noticed.take(rows)
        pairs, told = self._situations(part, shown)
        shopper = part.shopper[pairs.visit]
        form = self.shoppers.variant[shopper]
        column = choose(told, probabilities(told, form))
        line = np.flatnonzero(column >= 0)
        got = np.zeros(len(column), np.int64)
        while len(line):
            line = line[np.argsort(pairs.visit[line], kind="stable")]  # who comes first is served first
            item = told.items[line, column[line]]
            wanted = self._quantity(part, pairs.visit[line], item)
            got[line] = self.shelves.take(part.store[pairs.visit[line]], item, wanted)
            line = line[got[line] == 0]  # sold out since the shelf was looked at: choose again without it
            told.open[line, column[line]] = False
            again = told.take(line)
            column[line] = choose(again, probabilities(again, form[line]))
            line = line[column[line] >= 0]
        line = np.flatnonzero((column >= 0) & (got > 0))
        self._remember_bought(part, pairs, told, line, column[line], got[line])
        item, place = told.items[line, column[line]], told.place[line, column[line]]
        visit = pairs.visit[line]
        depth = np.zeros(len(line))
        was_shown = place >= 0
        depth[was_shown] = shown.discounts[visit[was_shown], place[was_shown]]
        return Purchases(rows[visit], item, got[line], self.prices[item], depth, place)

    def _quantity(self, visits: Visits, row: Array, item: Array) -> Array:
        luck = self.draws.uniform(Stream.QUANTITY, visits.shopper[row], visits.day, item)
        return 1 + (luck < MORE[1]).astype(np.int64) + (luck < MORE[2])

    def _remember_bought(
        self, visits: Visits, pairs: _Pairs, told: Situations, line: Array, column: Array, units: Array
    ) -> None:
        shopper = visits.shopper[pairs.visit[line]]
        item = told.items[line, column]
        own = (pairs.slot[line] >= 0) & (pairs.slot[line] < HABITS)
        self.memory.last_day[shopper[own], pairs.slot[line][own]] = visits.day
        self.memory.last_item[shopper[own], pairs.slot[line][own]] = item[own]
        np.add.at(self.memory.crowd, (self.shoppers.neighbourhood[shopper], item), units)

    def _remember_shown(self, visits: Visits, noticed: Slates) -> None:
        for place in range(noticed.items.shape[1]):
            rows = np.flatnonzero(noticed.items[:, place] >= 0)
            who = visits.shopper[rows]
            for table, value in (
                (self.memory.seen, noticed.items[rows, place]),
                (self.memory.seen_day, np.full(len(rows), visits.day)),
            ):
                table[who, 1:] = table[who, :-1]
                table[who, 0] = value

    # ------------------------------------------------------------------ what would happen

    def chances(self, visits: Visits, items: Array, discounts: Array, *, noticed: bool) -> Array:
        """Probability that each visit buys each item, shape of `items`, each item for itself.

        Args:
            visits: n of them.
            items: shape (n, m); -1: none, then the chance is 0.
            discounts: shape (n, m), or one fraction.
            noticed: the item alone stands on the screen and is looked at; false: nothing is shown.
        """
        told, form, at = self._alone(visits, items, discounts, noticed=noticed)
        found = np.zeros(items.shape)
        chance = probabilities(told, form)
        known = items >= 0
        found[known] = chance[np.arange(len(told)), at]
        return found

    def gain(self, visits: Visits, items: Array, discounts: Array | float) -> Array:
        """What showing an item alone adds to a visit's expected profit in its category, if it is looked at; exact."""
        told, form, _ = self._alone(visits, items, discounts, noticed=True)
        plain, _, _ = self._alone(visits, items, 0.0, noticed=False)
        category = self.catalogue.category[items[items >= 0]]
        store = np.broadcast_to(visits.store[:, None], items.shape)[items >= 0]
        depth = np.broadcast_to(discounts, items.shape)[items >= 0]
        shown = told.place >= 0
        with_it = probabilities(told, form) * self._margin(store, category, np.where(shown, depth[:, None], 0.0))
        without = probabilities(plain, form) * self._margin(store, category, np.zeros_like(told.value))
        found = np.zeros(items.shape)
        found[items >= 0] = (with_it - without).sum(axis=1)
        return found

    def expected_profit(self, visits: Visits, slates: Slates) -> Array:
        """Expected profit of each visit's whole basket before its slate, shape (n,); exact, nothing changes.

        Profit is price paid less cost, over everything bought, shown or not: an offer that only moves a purchase from
        one item to another, or is given to who would have bought anyway, costs what it gives away.
        """
        places = slates.items.shape[1]
        reach = np.concatenate([np.ones((len(visits), 1)), _reach(visits, places), np.zeros((len(visits), 1))], axis=1)
        total = np.zeros(len(visits))
        for depth in range(places + 1):
            weight = reach[:, depth] - reach[:, depth + 1]
            total += weight * self._profit_seen(visits, slates.first(depth))
        return total

    def _profit_seen(self, visits: Visits, noticed: Slates) -> Array:
        pairs, told = self._situations(visits, noticed)
        chance = probabilities(told, self.shoppers.variant[visits.shopper[pairs.visit]])
        depth = np.zeros(told.value.shape)
        row, column = np.nonzero(told.place >= 0)
        depth[row, column] = noticed.discounts[pairs.visit[row], told.place[row, column]]
        profit = (chance * self._margin(visits.store[pairs.visit], pairs.category, depth)).sum(axis=1)
        return np.bincount(pairs.visit, weights=profit, minlength=len(visits))

    def _margin(self, store: Array, category: Array, depth: Array) -> Array:
        """Expected profit of a purchase, units included, shape (n, width); 0 on an empty place."""
        item = self.catalogue.shelf[category]
        left = self.shelves.units[store[:, None], item]
        units = sum(chance * (left > number) for number, chance in enumerate(MORE))
        each = self.prices[item] * (1.0 - depth) - self.catalogue.cost[item]
        return np.where(item >= 0, each * units, 0.0)

    def _alone(
        self, visits: Visits, items: Array, discounts: Array | float, *, noticed: bool
    ) -> tuple[Situations, Array, Array]:
        """The situation of each (visit, item) by itself, its form and the item's column."""
        row, column = np.nonzero(items >= 0)
        item = items[row, column]
        category = self.catalogue.category[item]
        match = visits.minds[row] == category[:, None]
        slot = np.where(match.any(axis=1), match.argmax(axis=1), -1)
        told = self._told(visits, _Pairs(row, category, slot))
        at = self.catalogue.column[item]
        if noticed:
            depth = np.broadcast_to(discounts, items.shape)[row, column]
            self._show(visits, told, _Pairs(row, category, slot), np.arange(len(row)), at, depth, np.zeros_like(row))
        self._close_unminded(told, slot)
        return told, self.shoppers.variant[visits.shopper[row]], at

    # ------------------------------------------------------------------ situations

    def _situations(self, visits: Visits, noticed: Slates) -> tuple[_Pairs, Situations]:
        """All that visits have in mind, and what screens bring to mind."""
        row, slot = np.nonzero(visits.minds >= 0)
        category = visits.minds[row, slot]
        number = np.full(visits.minds.shape, -1)
        number[row, slot] = np.arange(len(row))
        at, place = np.nonzero(noticed.items >= 0)
        item = noticed.items[at, place]
        its = self.catalogue.category[item]
        match = visits.minds[at] == its[:, None]
        minded = match.any(axis=1)
        pair = np.where(minded, number[at, match.argmax(axis=1)], -1)
        codes = at * len(self.catalogue.paths) + its
        extra, inverse = np.unique(codes[~minded], return_inverse=True)
        pair[~minded] = len(row) + inverse
        pairs = _Pairs(
            visit=np.concatenate([row, extra // len(self.catalogue.paths)]),
            category=np.concatenate([category, extra % len(self.catalogue.paths)]),
            slot=np.concatenate([slot, np.full(len(extra), -1)]),
        )
        told = self._told(visits, pairs)
        self._show(visits, told, pairs, pair, self.catalogue.column[item], noticed.discounts[at, place], place)
        self._close_unminded(told, pairs.slot)
        return pairs, told

    def _told(self, visits: Visits, pairs: _Pairs) -> Situations:
        """Situations before anything is shown."""
        goods, shopper, store = self.catalogue, visits.shopper[pairs.visit], visits.store[pairs.visit]
        place = self.shoppers.neighbourhood[visits.shopper]
        follows = (self.shoppers.variant[visits.shopper] == SOCIAL)[:, None]
        worth = (
            self.places.liking[place]
            + self.places.slope[place] * self.shoppers.interest[visits.shopper]
            + TREND * follows * self.fashion[place]
        )
        items = goods.shelf[pairs.category]
        value = liking(self.draws, goods, shopper, worth, pairs.visit, items)
        value += DISPLAY_LIFT * self.displayed[store[:, None], items]
        usual = np.log(self.prices[items] / goods.reference[pairs.category][:, None])
        minds = self.shoppers.sensitivity[shopper] * goods.price_response[pairs.category]
        is_habit = (pairs.slot >= 0) & (pairs.slot < HABITS)
        slot = np.where(is_habit, pairs.slot, 0)
        due = (visits.day - self.memory.last_day[shopper, slot]) / self.shoppers.interval[shopper, slot]
        due = np.where(is_habit, np.minimum(due, 2.0), 1.0)
        need = np.where(is_habit, CYCLE * (due - 1.0), NEED_OF_WANDERING) - goods.allure[pairs.category]
        need = np.where(pairs.slot >= 0, need, NEED_ON_IMPULSE)
        last = np.where(is_habit, self.memory.last_item[shopper, slot], -1)
        visit_key = visits.key[pairs.visit]
        return Situations(
            value=value,
            dear=minds[:, None] * usual,
            open=(items >= 0) & (self.shelves.units[store[:, None], items] > 0),
            last=(items == last[:, None]) & (items >= 0),
            cut=np.zeros(items.shape),
            place=np.full(items.shape, -1),
            crowd=self.memory.crowd[place[pairs.visit][:, None], items],
            need=need,
            due=due,
            habit=is_habit,
            key=outside_key(visit_key, pairs.category),
            visit_key=visit_key,
            items=items,
        )

    def _show(
        self, visits: Visits, told: Situations, pairs: _Pairs, pair: Array, column: Array, depth: Array, place: Array
    ) -> None:
        """Put noticed items into their situations."""
        shopper = visits.shopper[pairs.visit[pair]]
        item = told.items[pair, column]
        recent = (self.memory.seen[shopper] == item[:, None]) & (
            visits.day - self.memory.seen_day[shopper] <= MEMORY_DAYS
        )
        told.value[pair, column] += LIFT * np.exp(-WEARING * recent.sum(axis=1))
        minds = self.shoppers.sensitivity[shopper] * self.catalogue.price_response[pairs.category[pair]]
        cut = -minds * np.log1p(-np.minimum(depth, 0.95))
        told.cut[pair, column] = cut
        told.dear[pair, column] -= cut
        told.place[pair, column] = place

    def _close_unminded(self, told: Situations, slot: Array) -> None:
        """What a shopper did not have in mind can be bought only if the screen showed it."""
        told.open[slot < 0] &= told.place[slot < 0] >= 0


SOCIAL = 3
"""Index in response.FORMS of those who follow fashions."""


def fashion(places: Neighbourhoods, day: int) -> Array:
    """How much topics are in fashion: a wave of 60 days, 0 to 1, shape (neighbourhoods, topics + 1)."""
    wave = np.maximum(0.0, np.sin(2 * np.pi * (day / 60.0 + places.phase)))
    wave[:, len(TOPICS)] = 0.0
    return np.asarray(wave)


def _reach(visits: Visits, places: int) -> Array:
    """Probability of looking at least as far as each place, shape (visits, places)."""
    first = np.append(LOOK, 0.0)[visits.placement]
    return np.asarray(first[:, None] * DECAY ** np.arange(places))


def _masked(slates: Slates, looks: Array) -> Slates:
    return Slates(np.where(looks, slates.items, -1), slates.discounts, slates.campaign)
