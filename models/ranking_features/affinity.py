"""Features of a shopper and what an item is: how much they buy of its category, brand and maker, and whether it is due.

Shares are of purchases whose weight falls with their age; a lift is a share over that of everybody.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt

from models.dataset import FloatArray, IntArray
from models.ranking_features.cells import Cells
from models.ranking_features.items import ItemFeatures
from models.ranking_features.past import Groups, Past, distinct_days, gaps

Float32Array = npt.NDArray[np.float32]
_DECAY = 100.0  # days


class AffinityFeatures:
    """Tables over a `Past`, made once; `of` gives the features of pairs, shopper × items + item, ordered."""

    def __init__(self, past: Past, items: ItemFeatures) -> None:
        self._past = past
        decayed = np.exp(-past.age / _DECAY)
        self._total = np.bincount(past.shopper, decayed, past.shoppers)
        recent, fresh = items.table["shoppers_28"], items.table["new_shoppers_28"]
        self._cells: dict[str, Cells] = {}
        self._of_item: dict[str, tuple[FloatArray, FloatArray, FloatArray]] = {}
        for name, groups in past.groups.items():
            own = past.shopper * groups.count + groups.code[past.item]
            self._cells[name] = Cells.of(own, decayed)
            everybody = np.bincount(groups.code[past.item], decayed, groups.count)
            usual = np.maximum(everybody / max(everybody.sum(), 1e-9), 1e-9)[groups.code]
            part = recent / np.maximum(np.bincount(groups.code, recent, groups.count)[groups.code], 1)
            new_part = fresh / np.maximum(np.bincount(groups.code, fresh, groups.count)[groups.code], 1)
            self._of_item[name] = (usual, part, new_part)

    def of(self, pairs: IntArray, *, new: bool) -> dict[str, FloatArray]:
        """For each group: purchases in it, their lift, the item's share of its sales (`new`: to new shoppers, too)."""
        past = self._past
        shopper, item = pairs // past.items, pairs % past.items
        found: dict[str, FloatArray] = {}
        for name, groups in past.groups.items():
            own = self._cells[name].at(shopper * groups.count + groups.code[item])
            usual, part, new_part = (values[item] for values in self._of_item[name])
            share = own / np.maximum(self._total[shopper], 1e-9)
            found[f"bought_in_{name}"] = own
            found[f"lift_in_{name}"] = share / usual
            found[f"item_share_of_{name}"] = part
            found[f"expected_by_{name}"] = own * part
            if new:
                found[f"expected_new_by_{name}"] = own * new_part
        finest = finest_category(past)
        if finest is not None:
            own_category = shopper * finest.count + finest.code[item]
            found |= {name: cells.at(own_category) for name, cells in self._due.items()}
            found["category_since_over_interval"] = found["category_since_last"] / np.maximum(
                found["category_interval"], 1
            )
        return found

    def lift(self, name: str, shoppers: IntArray, items: IntArray, *, prior: float, power: float) -> Float32Array:
        """(Lift of each item's group) ** power, its share shrunk by `prior` purchases; shape (shoppers, items)."""
        groups = self._past.groups[name]
        usual = np.zeros(groups.count)
        usual[groups.code] = self._of_item[name][0]
        table = np.tile(prior * usual, (len(shoppers), 1))
        for line, shopper in enumerate(shoppers):
            codes, values = self._cells[name].between(shopper * groups.count, (shopper + 1) * groups.count)
            table[line, codes] += values
        table /= (self._total[shoppers][:, None] + prior) * np.maximum(usual, 1e-9)
        raised: Float32Array = (table**power).astype(np.float32)[:, groups.code[items]]
        return raised

    @cached_property
    def _due(self) -> dict[str, Cells]:
        """Of a shopper and a finest category: days since the last purchase, usual interval, days with one."""
        past, groups = self._past, finest_category(self._past)
        assert groups is not None
        owner, ago = distinct_days(past.shopper * groups.count + groups.code[past.item], past.days_ago)
        present, start, days = np.unique(owner, return_index=True, return_counts=True)
        gap_owner, gap = gaps(owner, ago)
        at = np.searchsorted(present, gap_owner)
        number = np.bincount(at, minlength=len(present))
        mean = np.bincount(at, gap, len(present)) / np.maximum(number, 1)
        return {
            "category_since_last": Cells(present, ago[start].astype(np.float64), np.nan),
            "category_interval": Cells(present, np.where(number > 0, mean, np.nan), np.nan),
            "category_days": Cells(present, days.astype(np.float64), 0.0),
        }


def finest_category(past: Past) -> Groups | None:
    """The deepest level of the category path; None where there is no category."""
    levels = [past.groups[name] for name in ("category_1", "category_2", "category_3") if name in past.groups]
    return levels[-1] if levels else None
