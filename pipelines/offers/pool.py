"""All that could be shown in one decision, with what it is worth, in the order in which slots take it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipelines.offers.slate import Goods
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


@dataclass(frozen=True)
class Pool:
    """All that could be shown, the best first: shapes (n,).

    Attributes:
        places: positions in the shop.
        levels: indices into `names`.
        names: the levels.
        scores, reasons: as the candidate's list tells them.
        options: what may be done with each, and what it is worth.
        goods: what the slate's rules know of each.
    """

    places: npt.NDArray[np.int32]
    levels: npt.NDArray[np.int64]
    names: tuple[str, ...]
    scores: npt.NDArray[np.float32]
    reasons: npt.NDArray[np.uint8]
    options: Options
    goods: Goods


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
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    starts = np.cumsum([0, *sizes])
    makers = shop.makers[places[order]]
    goods = Goods(
        group[order],
        value[order],
        makers,
        shop.brands[places[order]],
        paths[:, shop.categories[places[order]]],
        _rights(makers, shares),
    )
    found = [part.options for part in parts]
    return Pool(
        places[order],
        levels[order],
        tuple(part.level for part in parts),
        np.concatenate([part.scores for part in parts])[order],
        np.concatenate([part.reasons for part in parts])[order],
        Options(
            np.concatenate([one.worth for one in found])[order],
            np.concatenate([one.row for one in found])[order],
            np.concatenate([one.plain for one in found])[order],
            place[np.concatenate([one.at + start for one, start in zip(found, starts, strict=False)])],
            np.concatenate([one.rows for one in found]),
            np.concatenate([one.worths for one in found]),
        ),
        goods,
    )


def _rights(makers: npt.NDArray[np.int32], shares: Mapping[int, float]) -> npt.NDArray[np.float64]:
    """For each candidate its part of its maker's share of the slots, the same for all of a maker."""
    found = np.zeros(len(makers))
    if not shares:
        return found
    codes = np.array(sorted(shares), np.int32)
    which = np.minimum(np.searchsorted(codes, makers), len(codes) - 1)
    theirs = np.flatnonzero(codes[which] == makers)
    share = np.array([shares[code] for code in codes.tolist()])
    found[theirs] = (share / np.maximum(np.bincount(which[theirs], minlength=len(codes)), 1))[which[theirs]]
    return found
