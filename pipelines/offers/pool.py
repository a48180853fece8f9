"""All that could be shown in one decision, with what it is worth, in the order in which slots take it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from pipelines.offers.slate import Goods, Right
from pipelines.offers.view import ShopReads
from pipelines.offers.worth import Options


@dataclass(frozen=True)
class Part:
    """Allowed candidates of one level with what they are worth; shapes (n,).

    `told`: the worth is known. `first`: the placement is for such goods.
    """

    level: str
    places: npt.NDArray[np.int32]
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

    def source(self, at: int) -> tuple[Part, int]:
        """The part that a candidate came from, and its position there."""
        level = int(self.levels[at])
        return self.parts[level], int(self.order[at]) - sum(len(part.places) for part in self.parts[:level])

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
            np.concatenate([one.plain for one in found])[order],
            place[np.concatenate([one.at + start for one, start in zip(found, starts, strict=False)])],
            np.concatenate([one.rows for one in found]),
            np.concatenate([one.worths for one in found]),
        )


def joined(shop: ShopReads, parts: Sequence[Part], paths: npt.NDArray[np.int32], shares: Mapping[int, float]) -> Pool:
    """Put the parts together and in order.

    Args:
        shop: what is known of the items.
        parts: level by level, at least one.
        paths: of each category code the codes of its path, shape (3, codes + 1).
        shares: by maker code the share of the slots that is a new maker's by right.
    """
    sizes = [len(part.places) for part in parts]
    places = np.concatenate([part.places for part in parts])
    levels = np.repeat(np.arange(len(parts)), sizes)
    value = np.concatenate([part.value for part in parts])
    told = np.concatenate([part.told for part in parts])
    first = np.concatenate([part.first for part in parts])
    # What loses money last; the placement's own goods before others; level by level; what is of known worth first.
    group = (((value < 0) * 2 + ~first) * (len(parts) + 1) + levels) * 2 + ~told
    order = np.lexsort((-value, group))  # stable: what is alike stays in the order of its list
    places = places[order]
    makers = shop.makers[places]
    goods = Goods(
        group[order],
        value[order],
        makers,
        shop.brands[places],
        paths[:, shop.categories[places]],
        _rights(makers, shares),
    )
    return Pool(places, levels[order], goods, tuple(parts), order)


def _rights(makers: npt.NDArray[np.int32], shares: Mapping[int, float]) -> tuple[Right, ...]:
    """What new makers have a right to, by code."""
    if not shares:
        return ()
    codes = np.array(sorted(shares), np.int32)
    theirs = np.flatnonzero(codes[np.minimum(codes.searchsorted(makers), len(codes) - 1)] == makers)
    items: dict[int, list[int]] = {}
    for maker, place in zip(makers[theirs].tolist(), theirs.tolist(), strict=True):
        items.setdefault(maker, []).append(place)
    return tuple(Right(maker, shares[maker], tuple(items[maker])) for maker in sorted(items) if shares[maker] > 0)
