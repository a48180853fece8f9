"""Which places a decision came by, so that no later level brings one again."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipelines.compiled import INT32, array, compiled, written

Places = npt.NDArray[np.int32]
_LEAST = 512
_EMPTY, _SPREAD = -1, 2_654_435_769  # the golden ratio's fraction, in 32 bits: what lies together is spread by it


class Seen:
    """Places that a decision came by, in a hashed table of which at least half is empty."""

    def __init__(self) -> None:
        self._many, self._table = 0, np.full(_LEAST, _EMPTY, np.int32)

    def enter(self, places: Places) -> npt.NDArray[np.int64]:
        """Remember places; return which of them were not there before, the first of each."""
        most = self._many + len(places)
        if 2 * most > len(self._table):
            kept, size = self._table, len(self._table)
            while size < 4 * most:
                size *= 2
            self._table = np.full(size, _EMPTY, np.int32)
            _entered(kept[kept != _EMPTY], self._table)
        found = _entered(places, self._table)
        self._many += len(found)
        return found

    def copy(self) -> Seen:
        """Another that knows the same."""
        other = Seen()
        other._many, other._table = self._many, self._table.copy()
        return other


@compiled(array(INT32), written(INT32))
def _entered(places: Places, table: Places) -> npt.NDArray[np.int64]:
    """Enter places into a table whose size is a power of two; return where those stand that it did not hold."""
    found, many, last = np.empty(len(places), np.int64), 0, len(table) - 1
    for number, place in enumerate(places):
        at = (place * _SPREAD >> 16) & last
        while table[at] != _EMPTY and table[at] != place:
            at = (at + 1) & last
        if table[at] == _EMPTY:
            table[at] = place
            found[many] = number
            many += 1
    return found[:many]


def fresh(places: Places, seen: Seen, wanted: Places | None) -> tuple[Places, npt.NDArray[np.int64]]:
    """Candidates that no earlier level brought, in order, each once, and where they stood; they are seen then."""
    places = np.ascontiguousarray(places)
    if wanted is None:
        at = seen.enter(places)
    else:
        among = np.flatnonzero(np.isin(places, wanted))
        at = among[seen.enter(places[among])]
    return places.take(at), at
