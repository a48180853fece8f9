"""A slate, slot by slot: the best candidate that is not too like those before it, or one that is drawn.

Candidates come in groups: the placement's own goods before others, the shopper's own before the neighbourhood's, what
loses money last. Within a group counts what a candidate adds to the slate: its worth, as far as it does not
take from those of its category that stand there already, as a visit buys one of them at most; less a part for likeness
to what the slate holds (maximal marginal relevance, the likeness taken as a factor, so that it weighs the same for
cheap goods and dear ones). At most so many items of one maker are on a slate, whatever is drawn.
`pipelines.offers.filling` does it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import NamedTuple, overload

import numpy as np
import numpy.typing as npt

from configs.policy import PolicySettings
from pipelines.offers.filling import BRAND, CATEGORY, MAKER, PATH, PATH_END, REACH, filled, let_in, propensities

Codes = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]
_NOTHING_GIVEN = np.zeros(0, np.int64)


class Right(NamedTuple):
    """What a new maker has a right to.

    Attributes:
        maker: its code.
        share: of the slots, positive.
        items: its candidates, the best first.
    """

    maker: int
    share: float
    items: tuple[int, ...]


class Rights(NamedTuple):
    """Rights as arrays: of each the maker and the share; its items lie from its start on to that of the next."""

    makers: Codes
    shares: npt.NDArray[np.float64]
    starts: npt.NDArray[np.int64]
    items: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Goods:
    """What a slate's rules know of candidates, all of one length n, the best group first and in it the best worth.

    Attributes:
        group: int64, ascending: a lower one goes first.
        value: float64, what orders a group: the worth of each, alone on the screen.
        chance: float64, that it is bought where it is shown. earned: float64, the profit of that sale times its chance,
            as `worth.Options`. NaN where nobody can say: then nothing is known to take from another.
        traits: int32, shape (n, 6): codes of the maker, the brand, the category, and the category's path as far as each
            of its three levels, from its root, so that two with a level in common have those above it in common; -1:
            not known.
        rights: of new makers that have candidates.
    """

    group: npt.NDArray[np.int64]
    value: npt.NDArray[np.float64]
    chance: npt.NDArray[np.float64]
    earned: npt.NDArray[np.float64]
    traits: Codes
    rights: tuple[Right, ...] = ()

    def __len__(self) -> int:
        """How many candidates there are."""
        return len(self.group)

    @property
    def makers(self) -> Codes:
        """Of each the maker."""
        return self.traits[:, MAKER]

    @property
    def brands(self) -> Codes:
        """Of each the brand."""
        return self.traits[:, BRAND]

    @property
    def categories(self) -> Codes:
        """Of each the category."""
        return self.traits[:, CATEGORY]

    @property
    def paths(self) -> Codes:
        """Of each the category's path, shape (3, n)."""
        return self.traits[:, PATH:PATH_END].T

    @cached_property
    def owed(self) -> Rights:
        """The rights as arrays."""
        return _NO_RIGHTS if not self.rights else _rights(self.rights)


def _rights(told: Sequence[Right]) -> Rights:
    starts = [0, *accumulate(len(right.items) for right in told)]
    items = [item for right in told for item in right.items]
    return Rights(
        np.array([right.maker for right in told], np.int32),
        np.array([right.share for right in told], np.float64),
        np.array(starts, np.int64),
        np.array(items, np.int64),
    )


_NO_RIGHTS = _rights(())


class Drawn(NamedTuple):
    """One slot.

    Attributes:
        at: the candidate that got it.
        propensity: with which probability it did, given the slots before.
        best: the candidate that gets it where nothing is drawn.
        open: which candidates could get it.
        odds, owed: how it is drawn (`pipelines.offers.filling`).
        rights: of new makers.
        reach: how far behind the best a leaning draw reaches.
    """

    at: int
    propensity: float
    best: int
    open: Mask
    odds: npt.NDArray[np.float64]
    owed: npt.NDArray[np.float64]
    rights: Rights
    reach: int

    def propensities(self) -> npt.NDArray[np.float64]:
        """Of each candidate the probability to get this slot, given the slots before; they sum to one."""
        return propensities(
            self.rights.starts, self.rights.items, self.open, self.best, self.reach, self.odds, self.owed
        )


class Slots(Sequence[Drawn]):
    """The slots of a slate, in their order.

    Attributes:
        at: of each the candidate that got it.
        propensity: of each with which probability it did, given the slots before.
    """

    def __init__(self, found: tuple[npt.NDArray[np.generic], ...], rights: Rights, reach: int) -> None:
        """Take what `filling.filled` returns, rights of new makers, and the reach."""
        at, shown, *self._others = found
        self.at: list[int] = at.tolist()
        self.propensity: list[float] = shown.tolist()
        self._rights, self._reach = rights, reach

    def __len__(self) -> int:
        """How many there are."""
        return len(self.at)

    @overload
    def __getitem__(self, index: int) -> Drawn: ...

    @overload
    def __getitem__(self, index: slice) -> list[Drawn]: ...

    def __getitem__(self, index: int | slice) -> Drawn | list[Drawn]:
        """One of them, or some."""
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        best, could, odds, owed = self._others
        return Drawn(
            self.at[index],
            self.propensity[index],
            int(best[index]),
            could[index],
            odds[index],
            owed[index],
            self._rights,
            self._reach,
        )


NO_SLOTS = Slots((_NOTHING_GIVEN, *[np.zeros(0)] * 5), _NO_RIGHTS, 0)


def fill(
    goods: Goods,
    count: int,
    policy: PolicySettings,
    chance: npt.NDArray[np.float64],
    given: Sequence[int] | None = None,
) -> Slots:
    """Fill at most `count` slots.

    Args:
        goods: the candidates.
        count: how many slots there are.
        policy: the settings.
        chance: two uniform numbers of [0, 1) for each slot, shape (count, 2).
        given: what the slots got, whatever this policy would have drawn: to judge it by what another one showed; -1:
            what is no candidate here.
    """
    found = filled(
        goods.group,
        goods.value,
        goods.chance,
        goods.earned,
        goods.traits,
        *goods.owed,
        count,
        policy.exploration,
        policy.diversity,
        min(policy.maker_cap, count),
        policy.newcomers_most,
        chance,
        given is not None,
        _NOTHING_GIVEN if given is None else np.array(given, np.int64),
    )
    return Slots(found, goods.owed, REACH * count)


class Room:
    """The slots of a slate that candidates do not fill yet, with at most so many of each maker."""

    def __init__(self, count: int, cap: int) -> None:
        self.left, self._cap, self._taken = count, min(cap, count), np.empty(count, np.int32)

    def take(self, traits: Codes, wanted: Mask) -> None:
        """Let further candidates in, those of `wanted`, as far as there is room."""
        self.left = let_in(traits, wanted, self.left, self._cap, self._taken)
