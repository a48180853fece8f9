"""How often, how lately and how much before a moment: exact counts for many (key, moment) questions at once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

DAY = 86_400


class Past:
    """Events of many keys, to be asked what lies strictly before a moment.

    Args:
        keys: whole numbers, not negative, shape (events,).
        times: seconds, shape (events,).
        weights: what each event counts; None: 1.
    """

    def __init__(self, keys: Ints, times: Ints, weights: Floats | None = None) -> None:
        self._keys, number = np.unique(keys, return_inverse=True)
        self._first = int(times.min(initial=0)) if len(times) else 0
        self._span = int(times.max(initial=self._first)) - self._first + 2 if len(times) else 2
        packed = number.astype(np.int64) * self._span + (times - self._first)
        order = np.argsort(packed, kind="stable")
        self._packed = packed[order]
        self._totals = None if weights is None else np.r_[0.0, np.cumsum(weights[order])]

    def count(self, keys: Ints, before: Ints, *, since: Ints | None = None) -> Floats:
        """Events (or their weights) of each key before each moment, and from `since` on where it is given."""
        number, known = self._numbers(keys)
        high = self._at(number, before)
        low = self._at(number, np.full(len(number), self._first) if since is None else since)
        low = np.minimum(low, high)
        found = high - low if self._totals is None else self._totals[high] - self._totals[low]
        return np.where(known, found, 0.0).astype(np.float64)

    def last(self, keys: Ints, before: Ints) -> Floats:
        """Days since the newest event of each key before each moment; NaN: there was none."""
        return self._days(keys, before, newest=True)

    def first(self, keys: Ints, before: Ints) -> Floats:
        """Days since the oldest event of each key before each moment; NaN: there was none."""
        return self._days(keys, before, newest=False)

    def _days(self, keys: Ints, before: Ints, *, newest: bool) -> Floats:
        number, known = self._numbers(keys)
        high = self._at(number, before)
        low = self._at(number, np.full(len(number), self._first))
        some = known & (high > low)
        at = np.where(some, high - 1 if newest else low, 0)
        when = self._packed[at] - number * self._span + self._first if len(self._packed) else np.zeros(len(at))
        return np.where(some, (before - when) / DAY, np.nan)

    def _numbers(self, keys: Ints) -> tuple[Ints, npt.NDArray[np.bool_]]:
        if not len(self._keys):
            return np.zeros(len(keys), np.int64), np.zeros(len(keys), bool)
        at = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1).astype(np.int64)
        return at, self._keys[at] == keys

    def _at(self, number: Ints, moment: Ints) -> Ints:
        """How many events lie before each (key, moment) in the order of keys, then times."""
        offset = np.clip(moment - self._first, 0, self._span - 1)
        return np.searchsorted(self._packed, number * self._span + offset).astype(np.int64)
