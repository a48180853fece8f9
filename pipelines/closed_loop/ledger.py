"""What a shop counts of its shoppers, day by day, for policies that learn from counts alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import polars as pl

from pipelines.simulation.draws import Array
from pipelines.simulation.town import Town

RECENT_DAYS = 28
_FADE = 0.5 ** (1 / 14)
NEVER = 999.0
FEATURES = (
    "bought the item: times", "days since", "bought in its category: times", "days since", "from its maker: times",
    "lines bought", "sold in the store lately", "sold everywhere lately", "price", "price in its category",
    "discount", "home store",
)  # fmt: skip
SHOPPERS_OWN = np.array([0, 1, 2, 3, 4, 5, 11])
"""Columns of FEATURES that are not known of somebody who is not recognised."""


@dataclass
class Ledger:
    """Counts up to the end of a day.

    Attributes:
        times, last: purchases and the last day of them, shape (shoppers, items).
        sold: units sold lately, shape (stores, items), halved every two weeks.
        recent: units sold on each of the last RECENT_DAYS days, shape (RECENT_DAYS, stores, items).
        categories, makers: of the items.
        home: store of the shoppers.
    """

    times: Array
    last: Array
    sold: Array
    recent: Array
    categories: Array
    makers: Array
    home: Array

    @classmethod
    def of(cls, town: Town) -> Self:
        """An empty ledger of a town: what a shop's own tables say of its items and shoppers, and no sales."""
        goods, people = town.catalogue, town.shoppers
        shape, where = (len(people), len(goods.price)), (len(town.names.stores), len(goods.price))
        return cls(
            times=np.zeros(shape, np.float32),
            last=np.full(shape, -NEVER, np.float32),
            sold=np.zeros(where),
            recent=np.zeros((RECENT_DAYS, *where)),
            categories=goods.category,
            makers=goods.maker,
            home=people.store,
        )

    def add(self, day: int, interactions: pl.DataFrame) -> None:
        """Count the purchases of a day, the day after the last one."""
        self.sold *= _FADE
        self.recent[day % RECENT_DAYS] = 0.0
        bought = interactions.filter(pl.col("event_type") == "purchase", pl.col("store_id").is_not_null())
        shopper, item, store = (codes(bought[name]) for name in ("shopper_id", "item_id", "store_id"))
        units = bought["quantity"].to_numpy()
        np.add.at(self.times, (shopper, item), 1.0)
        self.last[shopper, item] = day
        np.add.at(self.sold, (store, item), units)
        np.add.at(self.recent[day % RECENT_DAYS], (store, item), units)

    def features(self, day: int, shopper: Array, store: Array, item: Array, price: Array, discount: Array) -> Array:
        """FEATURES of pairs on a day, from what was counted before it; shape (n, features).

        Args:
            day: the present day.
            shopper: codes; -1: not recognised.
            store, item: codes. price: of every item. discount: of each pair.
        """
        own = np.maximum(shopper, 0)
        of_category = _grouped(self.categories)
        category = self.categories[item]
        times, last = self._by_group(of_category)
        by_maker, _ = self._by_group(_grouped(self.makers))
        mean_price = np.bincount(self.categories, price) / np.maximum(np.bincount(self.categories), 1)
        table = np.stack(
            [
                self.times[own, item],
                np.minimum(day - self.last[own, item], NEVER),
                times[own, category],
                np.minimum(day - last[own, category], NEVER),
                by_maker[own, self.makers[item]],
                self.times.sum(axis=1)[own],
                self.sold[store, item],
                self.sold.sum(axis=0)[item],
                price[item],
                price[item] / mean_price[category],
                discount,
                (self.home[own] == store).astype(np.float64),
            ],
            axis=1,
        ).astype(np.float32)
        table[np.ix_(np.flatnonzero(shopper < 0), SHOPPERS_OWN)] = np.nan
        return table

    def _by_group(self, groups: tuple[Array, Array]) -> tuple[Array, Array]:
        order, starts = groups
        return (
            np.add.reduceat(self.times[:, order], starts, axis=1),
            np.maximum.reduceat(self.last[:, order], starts, axis=1),
        )


def codes(ids: pl.Series) -> Array:
    """Numbers of the town's ids: it000007 is 6."""
    return np.asarray(ids.str.slice(2).cast(pl.Int64).to_numpy() - 1)


def _grouped(group: Array) -> tuple[Array, Array]:
    """Columns in the order of their group, and where each of the groups 0 to the largest begins."""
    order = np.argsort(group, kind="stable")
    return order, np.searchsorted(group[order], np.arange(group.max() + 1))
