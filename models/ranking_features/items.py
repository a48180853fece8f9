"""Features of an item alone: how it sells at present, how often it is bought again, what it costs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from models.dataset import FloatArray, IntArray
from models.ranking_features.past import Past, gaps, medians

_RECENT = (3, 7, 14, 28, 84)  # days
_LEAST_GAPS = 5  # fewer gaps of an item say less than those of its group
_MONTH, _BEFORE = 30.0, 90.0  # kept: bought between 90 and 30 days ago, and again since
_RISE = 0.8  # the quantile of the prices paid for an item that is taken as its price without discount


@dataclass(frozen=True)
class ItemFeatures:
    """Arrays with a value for each item of a `Past`."""

    past: Past

    @cached_property
    def table(self) -> dict[str, FloatArray]:
        """All features by name; each of shape (items,), NaN: cannot be told."""
        past = self.past
        found = {f"shoppers_{days}": self.shoppers_of(days) for days in _RECENT}
        found["shoppers_all"] = np.bincount(past.pair_item, minlength=past.items).astype(np.float64)
        found["trend_week"] = (found["shoppers_7"] + 0.5) / (found["shoppers_28"] / 4 + 1)
        found["trend_month"] = (found["shoppers_28"] + 1) / (found["shoppers_84"] / 3 + 2)
        found["first_sold"] = _extreme(past, oldest=True)
        found["last_sold"] = _extreme(past, oldest=False)
        found["interval"] = self.interval
        found["repurchase_rate"] = self._repurchase_rate()
        found |= self._kept()
        found["new_shoppers_7"], found["new_shoppers_28"] = self.new_shoppers(7), self.new_shoppers(28)
        found["new_shoppers_84"] = self.new_shoppers(84)
        if past.price is not None:
            found |= self._prices(past.price)
        return found

    def shoppers_of(self, days: float) -> FloatArray:
        """Shoppers who bought the item in the last days; shape (items,)."""
        pairs = self.past.bought_since(days)
        return np.bincount(pairs % max(1, self.past.items), minlength=self.past.items).astype(np.float64)

    def new_shoppers(self, days: float) -> FloatArray:
        """Shoppers who bought the item for the first time in the last days; shape (items,)."""
        past = self.past
        oldest = np.zeros(len(past.pairs))
        np.maximum.at(oldest, past.place, past.age)
        return np.bincount(past.pair_item[oldest <= days], minlength=past.items).astype(np.float64)

    @cached_property
    def _gaps(self) -> tuple[IntArray, FloatArray]:
        """Item and length of every gap between two days of a pair."""
        owner, gap = gaps(*self.past.pair_days)
        return self.past.pair_item[owner], gap

    @cached_property
    def usual_interval(self) -> float:
        """Median gap over everything; 30 days where nothing was bought twice."""
        _, gap = self._gaps
        return float(np.median(gap)) if len(gap) else 30.0

    @cached_property
    def interval(self) -> FloatArray:
        """Median days between a shopper's purchases of the item; where few are known, of its finest category."""
        item, gap = self._gaps
        own = medians(item, gap, self.past.items)
        few = np.bincount(item, minlength=self.past.items) < _LEAST_GAPS
        levels = [groups for name, groups in self.past.groups.items() if name.startswith("category_")]
        if not levels:
            return np.where(few & np.isnan(own), self.usual_interval, own)
        finest = max(levels[:3], key=lambda groups: groups.count)
        shared = medians(finest.code[item], gap, finest.count)[finest.code]
        return np.where(few, shared, own)

    def _repurchase_rate(self) -> FloatArray:
        """Share of the item's shoppers who bought it on two days or more, shrunk to the mean by two shoppers."""
        past = self.past
        days = np.bincount(past.pair_days[0], minlength=len(past.pairs))
        again = np.bincount(past.pair_item, days > 1, past.items)
        everybody = np.bincount(past.pair_item, minlength=past.items)
        mean = float((days > 1).mean()) if len(days) else 0.0
        return (again + 2 * mean) / (everybody + 2)

    def _kept(self) -> dict[str, FloatArray]:
        """Share of those who bought the item one to three months ago that bought it in the last month, too."""
        before, kept = self._kept_pairs
        item = before % max(1, self.past.items)
        levels = [groups for name, groups in self.past.groups.items() if name.startswith("category_")]
        mean = float(kept.mean()) if len(kept) else 0.0
        base = np.full(self.past.items, mean)
        if levels:
            finest = max(levels[:3], key=lambda groups: groups.count)
            code = finest.code[item]
            shared = (np.bincount(code, kept, finest.count) + 10 * mean) / (
                np.bincount(code, minlength=finest.count) + 10
            )
            base = shared[finest.code]
        own = (np.bincount(item, kept, self.past.items) + 5 * base) / (np.bincount(item, minlength=self.past.items) + 5)
        return {"kept": own, "kept_of_group": base}

    @cached_property
    def _kept_pairs(self) -> tuple[IntArray, FloatArray]:
        before = self.past.bought_since(_BEFORE, _MONTH)
        return before, np.isin(before, self.past.bought_since(_MONTH)).astype(np.float64)

    def kept_by_shopper(self) -> FloatArray:
        """As `kept`, of each shopper; shape (shoppers,)."""
        before, kept = self._kept_pairs
        shopper = before // max(1, self.past.items)
        mean = float(kept.mean()) if len(kept) else 0.0
        count = self.past.shoppers
        return (np.bincount(shopper, kept, count) + 5 * mean) / (np.bincount(shopper, minlength=count) + 5)

    def _prices(self, price: FloatArray) -> dict[str, FloatArray]:
        """Median price paid, and by how much of the usual price the last sales lay below it."""
        past = self.past
        known = ~np.isnan(price)
        item, paid = past.item[known], price[known]
        order = np.lexsort((paid, item))
        present, start, size = np.unique(item[order], return_index=True, return_counts=True)
        median, high = np.full(past.items, np.nan), np.full(past.items, np.nan)
        ordered = paid[order]
        median[present] = ordered[start + size // 2]
        high[present] = ordered[start + np.floor(_RISE * (size - 1)).astype(np.int64)]
        discount = np.clip(1 - paid / high[item], 0, 1)
        found = {"price": median}
        for days in (7, 56):
            recent = past.age[known] <= days
            found[f"discount_{days}"] = _means(item[recent], discount[recent], past.items)
        return found


def _means(owner: IntArray, values: FloatArray, count: int) -> FloatArray:
    number = np.bincount(owner, minlength=count)
    return np.where(number > 0, np.bincount(owner, values, count) / np.maximum(number, 1), np.nan)


def _extreme(past: Past, *, oldest: bool) -> FloatArray:
    """Days since the item's first (oldest) or last sale; NaN where it was never sold."""
    found = np.full(past.items, -np.inf if oldest else np.inf)
    (np.maximum if oldest else np.minimum).at(found, past.item, past.age)
    return np.where(np.isfinite(found), found, np.nan)
