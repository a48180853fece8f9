"""Stores: what they carry, how they order, what is left on the shelf, what they put on display."""

from __future__ import annotations

import numpy as np

from pipelines.simulation.catalogue import Catalogue
from pipelines.simulation.config import TownConfig
from pipelines.simulation.draws import Array, Draws, Stream

CARRIED = 0.85
DISPLAYED = 0.03
GAP_DAYS = 14
GAP_SHARE = 0.03
_FORGETTING = 0.92


class Shelves:
    """Stock of every store, day by day.

    A store orders once a week, on its own day, up to what the last weeks sold and a little more; a maker who has a
    supply gap delivers nothing for two weeks. So what sells better than before runs out.

    Attributes:
        carried: what a store has on its list, shape (stores, items); an item not launched yet is not on sale.
        units: what is on the shelf, shape (stores, items).
        days_out: days on which a carried item that was launched was not on the shelf at closing.
    """

    def __init__(self, config: TownConfig, draws: Draws, catalogue: Catalogue, shoppers_of: Array) -> None:
        self._draws, self._catalogue = draws, catalogue
        stores, items = np.arange(config.stores)[:, None], np.arange(len(catalogue.price))[None, :]
        self.carried = draws.uniform(Stream.ASSORTMENT, stores, items) < CARRIED
        share = np.exp(catalogue.appeal) * catalogue.popularity[catalogue.category]
        a_week = 13.0 * shoppers_of[:, None] * share / share[: config.items].sum()
        self._sold = a_week / 7.0  # smoothed units a day
        self.units = np.where(self.carried & (catalogue.launch < 0), np.ceil(1.5 * a_week) + 3, 0).astype(np.int32)
        self.days_out = np.zeros(self.units.shape, np.int32)
        self._today = np.zeros(self.units.shape, np.int32)
        self._order_day = draws.below(7, Stream.STORE, np.arange(config.stores), 0)

    def open(self, day: int) -> None:
        """Deliver what was ordered for this day."""
        catalogue = self._catalogue
        supplied = ~self.gap(np.arange(len(catalogue.since)), day)[catalogue.maker] & (catalogue.launch <= day)
        first = catalogue.launch == day
        due = self.carried & supplied & ((self._order_day == day % 7)[:, None] | first)
        rows, columns = np.nonzero(due)
        level = np.ceil(1.4 * 7.0 * self._sold[rows, columns]).astype(np.int32) + 3
        self.units[rows, columns] = np.maximum(self.units[rows, columns], level)

    def gap(self, makers: Array, day: int) -> Array:
        """Whether makers cannot deliver on a day."""
        return self._draws.uniform(Stream.SUPPLY, makers, day // GAP_DAYS) < GAP_SHARE

    def take(self, store: Array, item: Array, wanted: Array) -> Array:
        """Hand out units in the order of the rows; returns how many each got, never more than there are."""
        place = store * self.units.shape[1] + item
        order = np.argsort(place, kind="stable")
        sorted_place, sorted_wanted = place[order], wanted[order]
        before = np.cumsum(sorted_wanted) - sorted_wanted
        _, first, counts = np.unique(sorted_place, return_index=True, return_counts=True)
        before -= np.repeat(before[first], counts)
        units = self.units.ravel()
        got = np.empty(len(place), np.int64)
        got[order] = np.clip(units[sorted_place] - before, 0, sorted_wanted)
        np.subtract.at(units, place, got.astype(np.int32))
        np.add.at(self._today.ravel(), place, got.astype(np.int32))
        return got

    def close(self, day: int) -> None:
        """Count what is out, and learn from the day's sales; an empty shelf tells no store that it wants less."""
        self.days_out += (self.carried & (self.units == 0) & (self._catalogue.launch <= day)).astype(np.int32)
        seen = np.where(self.units == 0, np.maximum(self._sold, self._today), self._today)
        self._sold = _FORGETTING * self._sold + (1 - _FORGETTING) * seen
        self._today[:] = 0

    def displayed(self, day: int) -> Array:
        """What stands on a display this week, shape (stores, items)."""
        stores, items = np.arange(self.units.shape[0])[:, None], np.arange(self.units.shape[1])[None, :]
        luck = self._draws.uniform(Stream.DISPLAY, stores, items, day // 7)
        on_sale: Array = (luck < DISPLAYED) & self.carried & (self._catalogue.launch <= day - day % 7)
        return on_sale


def neighbourhood_count(stores: int) -> int:
    """About one neighbourhood for every two stores; at most 24."""
    return min(24, max(1, (stores + 1) // 2))
