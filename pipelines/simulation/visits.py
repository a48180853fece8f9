"""Who comes to which store when, and which categories they have in mind there."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from pipelines.simulation.catalogue import Catalogue
from pipelines.simulation.config import TownConfig
from pipelines.simulation.draws import Array, Draws, Stream, extend
from pipelines.simulation.tastes import HABITS, ORDINARY, WATCH_ONLY, Shoppers

WEEK = (0.85, 0.8, 0.85, 0.95, 1.25, 1.5, 0.8)
"""Visits on Monday to Sunday against the average day."""
WANDERED = 4
AT_HOME = 0.85
PASSES_SCREEN = 0.7
PLACEMENTS = ("entrance", "aisle", "checkout")


@dataclass(frozen=True)
class Visits:
    """Visits of one day, at most one for each shopper, in the order of their times.

    Attributes:
        day: the day, from 0.
        shopper, store: who and where.
        second: second of the day of coming in.
        placement: index of PLACEMENTS of the screen they pass, -1: none.
        recognised: whether a screen may know who passes.
        minds: categories that they have in mind: first HABITS habits (-1: none), then WANDERED others.
        key: hash of shopper and day.
    """

    day: int
    shopper: Array
    store: Array
    second: Array
    placement: Array
    recognised: Array
    minds: Array
    key: Array

    def __len__(self) -> int:
        """How many visits there are."""
        return len(self.shopper)

    def take(self, rows: Array) -> Visits:
        """Some of them."""
        kept = {field.name: getattr(self, field.name)[rows] for field in fields(self) if field.name != "day"}
        return Visits(day=self.day, **kept)


def visits_of(
    day: int, weekday: int, config: TownConfig, draws: Draws, shoppers: Shoppers, catalogue: Catalogue
) -> Visits:
    """Draw the visits of a day."""
    rate = shoppers.visits_a_day * WEEK[weekday]
    comes = draws.uniform(Stream.VISIT, np.arange(len(shoppers)), day, 0) < rate
    comes &= (shoppers.role == ORDINARY) | ((shoppers.role == WATCH_ONLY) & (day >= config.watch_only_days))
    who = np.flatnonzero(comes)
    hour = np.clip(shoppers.hour[who] + 0.8 * draws.normal(Stream.VISIT, who, day, 1), 7.5, 20.5)
    second = (hour * 3600).astype(np.int64)
    order = np.lexsort((who, second))
    who, second = who[order], second[order]
    elsewhere = draws.uniform(Stream.VISIT, who, day, 2) > AT_HOME
    store = np.where(elsewhere, draws.below(config.stores, Stream.VISIT, who, day, 3), shoppers.store[who])
    passes = draws.uniform(Stream.VISIT, who, day, 4) < PASSES_SCREEN
    placement = np.where(passes, draws.below(len(PLACEMENTS), Stream.VISIT, who, day, 5), -1)
    return Visits(
        day=day,
        shopper=who,
        store=store,
        second=second,
        placement=placement,
        recognised=shoppers.recognised[who],
        minds=np.concatenate([shoppers.habit[who], _wandered(day, draws, who, shoppers, catalogue)], axis=1),
        key=draws.keys(Stream.CHOICE, who, day),
    )


def _wandered(day: int, draws: Draws, who: Array, shoppers: Shoppers, catalogue: Catalogue) -> Array:
    """Other categories by their popularity; -1 where it is a habit or came already."""
    reach = np.cumsum(catalogue.popularity)
    luck = draws.uniform(Stream.WANDER, who[:, None], day, np.arange(WANDERED))
    drawn = np.minimum(np.searchsorted(reach, luck), len(reach) - 1)
    again = (shoppers.habit[who][:, None, :] == drawn[:, :, None]).any(axis=2)
    for turn in range(1, WANDERED):
        again[:, turn] |= (drawn[:, :turn] == drawn[:, turn : turn + 1]).any(axis=1)
    return np.where(again, -1, drawn)


def outside_key(visit_key: Array, category: Array) -> Array:
    """Hash of shopper, day and category, for buying nothing there."""
    return extend(extend(visit_key, int(Stream.OUTSIDE)), category)


MINDS = HABITS + WANDERED
