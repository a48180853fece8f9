"""All that could be shown in one decision, with what it is worth, in the order in which slots take it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from pipelines.compiled import BOOL, FLOAT, INT, array, compiled
from pipelines.offers.filling import MAKER
from pipelines.offers.slate import Goods, Right
from pipelines.offers.worth import Options

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Part:
    """Allowed candidates of one level with what they are worth; shapes (n,).

    `traits`: rows of `Derived.traits`. `told`: the worth is known. `first`: the placement is for such goods.
    """

    level: str
    places: npt.NDArray[np.int32]
    traits: npt.NDArray[np.int32]
    scores: npt.NDArray[np.float32]
    reasons: npt.NDArray[np.uint8]
    options: Options
    value: npt.NDArray[np.float64]
    told: npt.NDArray[np.bool_]
    first: npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Pool:
    """All that could be shown, the best first: shapes (n,).

    Attributes:
        places: positions in the shop.
        levels: indices into `names`.
        goods: what the slate's rules know of each.
        parts: where they came from, level by level.
        order: of each the position in the parts, one after another.
    """

    places: npt.NDArray[np.int32]
    levels: npt.NDArray[np.int64]
    goods: Goods
    parts: tuple[Part, ...]
    order: npt.NDArray[np.int64]

    @property
    def names(self) -> tuple[str, ...]:
        """The levels."""
        return tuple(part.level for part in self.parts)

    def within(self, rows: npt.NDArray[np.int64], levels: Sequence[int]) -> list[int]:
        """The positions of candidates in the parts that they came from, whose levels are these."""
        starts = [0]
        for part in self.parts:
            starts.append(starts[-1] + len(part.places))
        return [at - starts[level] for at, level in zip(self.order[rows].tolist(), levels, strict=True)]

    @property
    def scores(self) -> npt.NDArray[np.float32]:
        """As the candidate's list tells them."""
        return np.concatenate([part.scores for part in self.parts])[self.order]

    @property
    def reasons(self) -> npt.NDArray[np.uint8]:
        """As the candidate's list tells them."""
        return np.concatenate([part.reasons for part in self.parts])[self.order]

    @cached_property
    def options(self) -> Options:
        """What may be done with each, and what it is worth: for explanations, no slate needs it as a whole."""
        order, found = self.order, [part.options for part in self.parts]
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        starts = np.cumsum([0, *(len(part.places) for part in self.parts)])
        return Options(
            np.concatenate([one.worth for one in found])[order],
            np.concatenate([one.row for one in found])[order],
            np.concatenate([one.chance for one in found])[order],
            np.concatenate([one.earned for one in found])[order],
            np.concatenate([one.plain for one in found])[order],
            place[np.concatenate([one.at + start for one, start in zip(found, starts, strict=False)])],
            np.concatenate([one.rows for one in found]),
            np.concatenate([one.worths for one in found]),
        )


def joined(parts: Sequence[Part], shares: Mapping[int, float]) -> Pool:
    """Put the parts together and in order.

    Args:
        parts: level by level, at least one.
        shares: by maker code the share of the slots that is a new maker's by right.
    """
    places, traits, value, told, first, chance, earned = (
        np.concatenate(columns) if len(parts) > 1 else columns[0]
        for columns in zip(*(_columns(part) for part in parts), strict=True)
    )
    levels = np.arange(len(parts)).repeat([len(part.places) for part in parts])
    group = _groups(value, told, first, levels, len(parts))
    order = np.lexsort((-value, group))  # stable: what is alike stays in the order of its list
    traits = traits.take(order, axis=0)
    rights = _rights(traits, shares)
    goods = Goods(group.take(order), value.take(order), chance.take(order), earned.take(order), traits, rights)
    return Pool(places.take(order), levels.take(order), goods, tuple(parts), order)


def _columns(part: Part) -> tuple[npt.NDArray[Any], ...]:
    return part.places, part.traits, part.value, part.told, part.first, part.options.chance, part.options.earned


@compiled(array(FLOAT), array(BOOL), array(BOOL), array(INT), INT)
def _groups(
    value: npt.NDArray[np.float64], told: Mask, first: Mask, levels: npt.NDArray[np.int64], parts: int
) -> npt.NDArray[np.int64]:
    """Which candidates go before others, whatever these are worth; arguments as of `Part`, of all parts."""
    group = np.empty(len(value), np.int64)
    for one in range(len(value)):
        # What loses money last; the placement's own goods before others; level by level; what is of known worth first.
        loses, beside, guessed = value[one] < 0.0, not first[one], not told[one]
        group[one] = ((2 * loses + beside) * parts + levels[one]) * 2 + guessed
    return group


def _rights(traits: npt.NDArray[np.int32], shares: Mapping[int, float]) -> tuple[Right, ...]:
    """What new makers have a right to, by code."""
    if not shares:
        return ()
    makers = traits[:, MAKER]
    codes = np.array(sorted(shares), np.int32)
    theirs = np.flatnonzero(codes[np.minimum(codes.searchsorted(makers), len(codes) - 1)] == makers)
    items: dict[int, list[int]] = {}
    for maker, place in zip(makers[theirs].tolist(), theirs.tolist(), strict=True):
        items.setdefault(maker, []).append(place)
    return tuple(Right(maker, shares[maker], tuple(items[maker])) for maker in sorted(items) if shares[maker] > 0)
