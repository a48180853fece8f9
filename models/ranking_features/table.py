"""The table that the second stage's trees see: a row a pair, a column a feature, for repeats and for discoveries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from models.dataset import FloatArray, IntArray
from models.ranking_features.affinity import AffinityFeatures
from models.ranking_features.history import history_features
from models.ranking_features.items import ItemFeatures
from models.ranking_features.past import Past
from models.ranking_features.shoppers import shopper_features
from models.ranking_features.stores import StoreFeatures

Float32Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Table:
    """Features of pairs: names, and float32 values of shape (pairs, names); NaN: not known."""

    names: tuple[str, ...]
    values: Float32Array

    @classmethod
    def of(cls, columns: Mapping[str, FloatArray]) -> Table:
        """Put columns side by side."""
        values = np.column_stack([np.asarray(column, np.float32) for column in columns.values()])
        return cls(tuple(columns), values)


@dataclass(frozen=True)
class Features:
    """All features of a `Past`; what does not depend on the pairs is made once."""

    past: Past

    @cached_property
    def items(self) -> ItemFeatures:
        """Of items alone."""
        return ItemFeatures(self.past)

    @cached_property
    def shoppers(self) -> dict[str, FloatArray]:
        """Of shoppers alone."""
        return shopper_features(self.past, self.items)

    @cached_property
    def affinity(self) -> AffinityFeatures:
        """Of a shopper and what an item is."""
        return AffinityFeatures(self.past, self.items)

    @cached_property
    def stores(self) -> StoreFeatures:
        """Of a shopper's stores and an item."""
        return StoreFeatures(self.past)

    def repeats(self, pairs: IntArray, more: Mapping[str, FloatArray]) -> Table:
        """Features of pairs (ordered) of `past`, and `more` columns of the same pairs."""
        history: dict[str, FloatArray] = {}
        if len(pairs):
            first, last = int(pairs[0]) // self.past.items, int(pairs[-1]) // self.past.items + 1
            history = history_features(self.past.part(first, last), self.items, pairs)
        return Table.of({**history, **self._common(pairs, new=False), **more})

    def discoveries(self, pairs: IntArray, more: Mapping[str, FloatArray]) -> Table:
        """Features of pairs (ordered) that are not in `past`, and `more` columns of the same pairs."""
        return Table.of({**self._common(pairs, new=True), **more})

    def _common(self, pairs: IntArray, *, new: bool) -> dict[str, FloatArray]:
        shopper, item = pairs // self.past.items, pairs % self.past.items
        found = {name: values[item] for name, values in self.items.table.items()}
        found |= {name: values[shopper] for name, values in self.shoppers.items()}
        found |= self.affinity.of(pairs, new=new)
        found |= self.stores.of(pairs)
        if "price" in found:
            found["price_level"] = np.log1p(found["price"]) - found["shopper_price"]
        return found
