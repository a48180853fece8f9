"""Which 128-bit keys were seen: sorted runs of at most RUN_ROWS keys, 16 bytes a key, merged as they come."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipelines.signals.lake.keys import Keys

Words = npt.NDArray[np.uint64]
Marks = npt.NDArray[np.bool_]
RUN_ROWS = 2**24


class KnownKeys:
    """A growing set of keys, for chunks of rows that come one after the other."""

    def __init__(self) -> None:
        self._runs: list[tuple[Words, Words]] = []

    def add_new(self, keys: Keys) -> Marks:
        """Mark the rows whose key was not seen before, nor earlier in this chunk, and remember their keys.

        Args:
            keys: shape (rows, 2).
        """
        high, low = keys[:, 0], keys[:, 1]
        order = np.argsort(low, kind="stable")
        high, low = high[order], low[order]
        new = ~self._among_earlier(high, low)
        for run_high, run_low in self._runs:
            new &= ~_found(run_high, run_low, high, low)
        self._add(high[new], low[new])
        marks: Marks = np.zeros(len(keys), np.bool_)
        marks[order] = new
        return marks

    def _among_earlier(self, high: Words, low: Words) -> Marks:
        """Mark keys, sorted by their low half, that stand earlier in the same chunk."""
        again: Marks = np.zeros(len(low), np.bool_)
        back = 1
        while back < len(low):
            same = low[back:] == low[:-back]
            if not same.any():
                break
            again[back:] |= same & (high[back:] == high[:-back])
            back += 1
        return again

    def _add(self, high: Words, low: Words) -> None:
        if not len(low):
            return
        while self._runs and len(self._runs[-1][1]) <= 2 * len(low) and len(self._runs[-1][1]) + len(low) <= RUN_ROWS:
            other_high, other_low = self._runs.pop()
            low = np.concatenate([other_low, low])
            order = np.argsort(low, kind="stable")  # two sorted halves: a merge
            high, low = np.concatenate([other_high, high])[order], low[order]
        self._runs.append((high, low))


def _found(run_high: Words, run_low: Words, high: Words, low: Words) -> Marks:
    """Mark the keys that a run holds; both are sorted by their low half."""
    place = np.searchsorted(run_low, low)
    found: Marks = np.zeros(len(low), np.bool_)
    asked = np.arange(len(low))
    while len(asked):  # more than once only where low halves are equal
        inside = place < len(run_low)
        asked, place = asked[inside], place[inside]
        same = run_low[place] == low[asked]
        asked, place = asked[same], place[same]
        found[asked] |= run_high[place] == high[asked]
        place = place + 1
    return found
