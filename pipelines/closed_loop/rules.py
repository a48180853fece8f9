"""What the hard rules allow on one morning, for policies that are not the product: the same rules, the same prices.

Each policy plays in a copy of the town, where other shelves are empty than in the product's: the rules read the
product's snapshot of the shop, which is the same for all but for the stock, and the stock of the policy's own town.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from functools import cache

import numpy as np
import numpy.typing as npt

from pipelines.offers.eligibility import Placement, Setting, refusals
from pipelines.offers.view import View
from pipelines.shop_snapshot import Shop
from pipelines.simulation.draws import Array
from pipelines.simulation.offers import Slates
from pipelines.simulation.town import Town
from pipelines.simulation.visits import PLACEMENTS

_NONE = np.zeros(0, np.int32)


class _OwnStock(Shop):
    """A shop, all of it but the shelves, which are those of another town."""

    def __init__(self, shop: Shop, stocked: Mapping[str, npt.NDArray[np.int32]]) -> None:
        self.__dict__.update(shop.__dict__)
        self._stocked = stocked
        self._stock = {}  # the shop's own is of its own shelves

    def in_stock(self, store_id: str | None) -> npt.NDArray[np.int32] | None:
        """Sorted positions of what is in stock."""
        return None if store_id is None else self._stocked[store_id]


class Rules:
    """The rules of one morning in one town.

    Args:
        view: the product's, of this morning.
        town: the policy's; its day has begun.
        now: a moment of the day.
        maker_cap: items of one maker on a screen at most.
    """

    def __init__(self, view: View, town: Town, now: datetime, *, maker_cap: int) -> None:
        self._town, self._now = town, now
        self.places = view.shop.positions(town.names.items)
        units = town.shelves.units
        stocked = {}
        for number, store in enumerate(town.names.stores):
            here = self.places[(units[number] > 0) & (self.places >= 0)]
            stocked[store] = np.sort(here)
        self._reads = replace(view, shop=_OwnStock(view.shop, stocked))
        self.maker_cap = maker_cap
        self.allowed = cache(self._allowed)
        self.depths = cache(self._depths)

    def _allowed(self, store: int, placement: int, personal: bool) -> Array:
        """Which of the town's items may be shown there, shape (items,)."""
        known = np.flatnonzero(self.places >= 0)
        kind: Placement = PLACEMENTS[placement]  # type: ignore[assignment]
        setting = Setting(kind, self._town.names.stores[store], personal, _NONE, self._now)
        refused = np.logical_or.reduce(list(refusals(self._reads, self.places[known], setting).values()))
        found = np.zeros(len(self.places), bool)
        found[known] = ~refused
        return found

    def _depths(self, store: int) -> Array:
        """The deepest discount that may be shown of each item, shape (items,); 0: none."""
        found = np.zeros(len(self.places))
        known = np.flatnonzero(self.places >= 0)
        shop = self._reads.shop
        at, rows = shop.offers.running(self.places[known], self._now, self._town.names.stores[store])
        np.maximum.at(found, known[at], np.nan_to_num(shop.offers.rows["discount"][rows]))
        return found


def fill(scores: Array, depths: Array, allowed: Array, makers: Array, places: int, maker_cap: int) -> Slates:
    """The best allowed items of each visit in order, at most `maker_cap` of one maker.

    Args:
        scores, depths, allowed: shape (visits, items).
        makers: of the items.
        places: of a screen.
    """
    items = np.full((len(scores), places), -1)
    order = np.argsort(np.where(allowed, -scores, np.inf), axis=1, kind="stable")
    for row in range(len(scores)):
        taken: dict[int, int] = {}
        place = 0
        for item in order[row]:
            maker = int(makers[item])
            if place == places or not allowed[row, item]:
                break
            if taken.get(maker, 0) < maker_cap:
                taken[maker] = taken.get(maker, 0) + 1
                items[row, place] = item
                place += 1
    depth = np.where(items >= 0, np.take_along_axis(depths, np.maximum(items, 0), axis=1), 0.0)
    return Slates.of(items, depth)
