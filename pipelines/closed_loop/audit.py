"""Hard rules that slates broke, counted from the town's own truth: shares no code with the rules that should hold."""

from __future__ import annotations

import numpy as np

from pipelines.simulation.draws import Array
from pipelines.simulation.offers import Slates, floor_price
from pipelines.simulation.town import Town
from pipelines.simulation.visits import Visits

_CENT = 0.01


def broken(town: Town, visits: Visits, slates: Slates, maker_cap: int) -> dict[str, int]:
    """Count the items that may not stand where they do, by rule; nothing may have happened yet on this day.

    Args:
        town: its day has begun.
        visits: all before screens that everybody sees.
        slates: a row a visit.
        maker_cap: items of one maker on a screen at most.
    """
    goods = town.catalogue
    row, place = np.nonzero(slates.items >= 0)
    item, depth = slates.items[row, place], slates.discounts[row, place]
    offered = np.zeros(len(goods.price))
    for campaign in town.campaigns.running(town.day):
        covered = town.campaigns.items[campaign]
        offered[covered[covered >= 0]] = town.campaigns.discount[campaign]
    price = town.encounters.prices[item]
    category = goods.category[item]
    return {
        "out_of_stock": int((town.shelves.units[visits.store[row], item] <= 0).sum()),
        "age_restricted": int(goods.age_restricted[category].sum()),
        "sensitive": int((goods.sensitive[category] & visits.recognised[row]).sum()),
        "no_such_offer": int(((depth > 0) & ~np.isclose(depth, offered[item])).sum()),
        "below_floor": int(((depth > 0) & (price * (1 - depth) < floor_price(goods)[item] - _CENT)).sum()),
        "below_cost": int((price * (1 - depth) < goods.cost[item] - _CENT).sum()),
        "twice": _repeats(row, item, 1),
        "maker_cap": _repeats(row, goods.maker[item], maker_cap),
    }


def _repeats(row: Array, code: Array, most: int) -> int:
    """How many entries of rows go beyond `most` of one code."""
    _, counts = np.unique(np.stack([row, code]), axis=1, return_counts=True)
    return int(np.maximum(counts - most, 0).sum())
