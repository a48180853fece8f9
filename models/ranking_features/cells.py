"""A sparse table whose cells are looked up one by one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.dataset import FloatArray, IntArray
from models.ranking_features.past import find


@dataclass(frozen=True)
class Cells:
    """A sparse table as ordered cell numbers and their values; every other cell is `missing`."""

    keys: IntArray
    values: FloatArray
    missing: float = 0.0

    @classmethod
    def of(cls, keys: IntArray, weights: FloatArray) -> Cells:
        """Sum the weights of each cell."""
        present, place = np.unique(keys, return_inverse=True)
        return cls(present, np.bincount(place, weights, len(present)).astype(np.float64))

    def at(self, wanted: IntArray) -> FloatArray:
        """Values of cells; shape (wanted,)."""
        if not len(self.keys):
            return np.full(len(wanted), self.missing)
        place, known = find(self.keys, wanted)
        values: FloatArray = np.where(known, self.values[place], self.missing)
        return values

    def between(self, start: int, end: int) -> tuple[IntArray, FloatArray]:
        """Cells from start to end: their numbers counted from start, and values."""
        low, high = np.searchsorted(self.keys, [start, end])
        return self.keys[low:high] - start, self.values[low:high]
