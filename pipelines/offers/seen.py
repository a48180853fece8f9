"""Which places a decision came by, so that no later level brings one again."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_FEW = 4096


class Seen:
    """Places that a decision came by: a few lists, or, once there are many, a mark for each place of the shop."""

    def __init__(self, size: int) -> None:
        self._size, self._many = size, 0
        self._lists: list[npt.NDArray[np.int32]] = []
        self._marks: npt.NDArray[np.bool_] | None = None

    @property
    def empty(self) -> bool:
        """Whether there was none."""
        return not self._lists

    def add(self, places: npt.NDArray[np.int32]) -> None:
        """Remember places."""
        self._lists.append(places)
        self._many += len(places)
        if self._marks is not None:
            self._marks[places] = True
        elif self._many > _FEW:
            self._marks = np.zeros(self._size, bool)
            self._marks[np.concatenate(self._lists)] = True

    def among(self, places: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
        """Which of these it came by."""
        return np.isin(places, np.concatenate(self._lists)) if self._marks is None else self._marks[places]

    def copy(self) -> Seen:
        """Another that knows the same."""
        other = Seen(self._size)
        other.add(np.concatenate([np.zeros(0, np.int32), *self._lists]))
        return other


def fresh(
    places: npt.NDArray[np.int32], seen: Seen, wanted: npt.NDArray[np.int32] | None
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Candidates that no earlier level brought, in order, each once, and where they stood."""
    new, at = places, np.arange(len(places))
    if not seen.empty:
        at = np.flatnonzero(~seen.among(places))
        new = places[at]
    if wanted is not None:
        at = at[np.isin(new, wanted)]
        new = places[at]
    if len(set(new.tolist())) < len(new):
        first = np.sort(np.unique(new, return_index=True)[1])
        new, at = new[first], at[first]
    return new, at
