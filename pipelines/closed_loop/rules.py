"""What the hard rules allow on one morning, for policies that are not the product: the same rules, the same prices.

Each policy plays in a copy of the town, where other shelves are empty than in the product's: the rules read the
product's snapshot of the shop, which is the same for all but for the stock, and the stock of the policy's own town.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache, cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from pipelines.offers.eligibility import Placement, Setting, refusals, terms
from pipelines.offers.view import ShopReads, View
from pipelines.packed import NOBODY, Ranked
from pipelines.shop_snapshot import Offer
from pipelines.simulation.draws import Array
from pipelines.simulation.offers import Slates
from pipelines.simulation.town import Town
from pipelines.simulation.visits import PLACEMENTS

MAKER_CAP = 2
_NONE = np.zeros(0, np.int32)


@dataclass(frozen=True)
class _OwnStock:
    """A shop with the shelves of another town."""

    shop: ShopReads
    stocked: Mapping[str, npt.NDArray[np.int32]]

    @property
    def flags(self) -> npt.NDArray[np.uint8]:
        return self.shop.flags

    @property
    def prices(self) -> npt.NDArray[np.int64]:
        return self.shop.prices

    @property
    def size(self) -> int:
        return self.shop.size

    def positions(self, item_ids: list[str]) -> npt.NDArray[np.int32]:
        return self.shop.positions(item_ids)

    def cards(self, positions: list[int]) -> list[dict[str, Any]]:
        return self.shop.cards(positions)

    def offers(self, position: int) -> Sequence[Offer]:
        return self.shop.offers(position)

    def in_stock(self, store_id: str | None) -> npt.NDArray[np.int32] | None:
        return None if store_id is None else self.stocked[store_id]

    def popular(self, level: str, store_id: str | None) -> Ranked:
        return self.shop.popular(level, store_id)


@dataclass(frozen=True)
class _Reads:
    shop: ShopReads
    model_version: str

    def candidates(self, shopper_id: str) -> Ranked:
        return NOBODY


class Rules:
    """The rules of one morning in one town.

    Args:
        view: the product's, of this morning.
        town: the policy's; its day has begun.
        now: a moment of the day.
    """

    def __init__(self, view: View, town: Town, now: datetime) -> None:
        self._town, self._now = town, now
        self.places = view.shop.positions(town.names.items)
        units = town.shelves.units
        stocked = {}
        for number, store in enumerate(town.names.stores):
            here = self.places[(units[number] > 0) & (self.places >= 0)]
            stocked[store] = np.sort(here)
        self._reads = _Reads(_OwnStock(view.shop, stocked), view.model_version)
        self.allowed = cache(self._allowed)
        self.depths = cache(self._depths)

    def _allowed(self, store: int, placement: int, personal: bool) -> Array:
        """Which of the town's items may be shown there, shape (items,)."""
        known = np.flatnonzero(self.places >= 0)
        kind: Placement = PLACEMENTS[placement]  # type: ignore[assignment]
        setting = Setting(kind, self._town.names.stores[store], personal, _NONE)
        refused = np.logical_or.reduce(list(refusals(self._reads, self.places[known], setting).values()))
        found = np.zeros(len(self.places), bool)
        found[known] = ~refused
        return found

    def _depths(self, store: int) -> Array:
        """The deepest discount that may be shown of each item, shape (items,); 0: none."""
        found = np.zeros(len(self.places))
        for item in np.flatnonzero(self.places >= 0):
            place = int(self.places[item])
            offers = self._reads.shop.offers(place)
            if offers:
                told = terms(int(self._reads.shop.prices[place]), offers, self._town.names.stores[store], self._now)
                found[item] = told.offer.discount or 0.0 if told.offer else 0.0
        return found

    @cached_property
    def running(self) -> Array:
        """Items with an offer in any store."""
        depths = np.stack([self.depths(store) for store in range(len(self._town.names.stores))])
        return np.flatnonzero((depths > 0).any(axis=0))


def fill(scores: Array, depths: Array, allowed: Array, makers: Array, places: int) -> Slates:
    """The best allowed items of each visit in order, at most MAKER_CAP of one maker.

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
            if taken.get(maker, 0) < MAKER_CAP:
                taken[maker] = taken.get(maker, 0) + 1
                items[row, place] = item
                place += 1
    depth = np.where(items >= 0, np.take_along_axis(depths, np.maximum(items, 0), axis=1), 0.0)
    return Slates.of(items, depth)
