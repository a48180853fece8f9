"""A slate, slot by slot: the best candidate that is not too like those before it, or one that is drawn.

Candidates come in groups: the placement's own goods before others, the shopper's own before the neighbourhood's, what
loses money last. Within a group the worth counts, less a part for likeness to what the slate holds already (maximal
marginal relevance, the likeness taken from the worth as a factor, so that it weighs the same for cheap goods and dear
ones). At most so many items of one maker are on a slate, whatever is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from configs.policy import PolicySettings

# Of what two goods have in common: three levels of the category's path count half, maker and brand a quarter each.
_BY_LEVEL, _BY_NAME, _ALL = 2, 3, 12
_UNKNOWN = -1
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Goods:
    """What a slate's rules know of candidates, all of one length n, the best group first and in it the best worth.

    Attributes:
        group: int64, ascending: a lower one goes first.
        value: float64, what orders a group.
        makers, brands: int32 codes; -1: not known.
        paths: int32, shape (3, n): codes of the category's path, from its root; -1: not known.
        newcomers: float64, for each candidate the share of the slots that is its maker's by right.
    """

    group: npt.NDArray[np.int64]
    value: npt.NDArray[np.float64]
    makers: npt.NDArray[np.int32]
    brands: npt.NDArray[np.int32]
    paths: npt.NDArray[np.int32]
    newcomers: npt.NDArray[np.float64]

    def __len__(self) -> int:
        """How many candidates there are."""
        return len(self.group)


@dataclass(frozen=True)
class Drawn:
    """One slot.

    Attributes:
        at: the candidate that got it.
        propensity: with which probability it did, given the slots before.
        best: the candidate that gets it where nothing is drawn.
        open: which candidates could get it.
        exploring, newcomers: probabilities that it is drawn of all, and of new makers' items.
    """

    at: int
    propensity: float
    best: int
    open: Mask
    exploring: float
    newcomers: float

    def propensities(self, goods: Goods) -> npt.NDArray[np.float64]:
        """Of each candidate the probability to get this slot, given the slots before; they sum to one."""
        chances = self.open * (self.exploring / np.count_nonzero(self.open))
        if self.newcomers:
            weights = goods.newcomers * self.open
            chances += weights * (self.newcomers / weights.sum())
        chances[self.best] += 1.0 - self.exploring - self.newcomers
        return chances


def fill(
    goods: Goods,
    count: int,
    policy: PolicySettings,
    chance: npt.NDArray[np.float64],
    given: Sequence[int] | None = None,
) -> list[Drawn]:
    """Fill at most `count` slots.

    Args:
        goods: the candidates.
        count: how many slots there are.
        policy: the settings.
        chance: two uniform numbers of [0, 1) for each slot, shape (count, 2).
        given: what the slots got, whatever this policy would have drawn: to judge it by what another one showed; -1:
            what is no candidate here.
    """
    total = len(goods)
    left = np.ones(total, bool)
    value = goods.value.copy()  # less what likeness takes; -inf: it is not there any more
    loss, likeness = policy.diversity / _ALL * np.abs(value), np.zeros(total, np.int8)
    edges = [0, *(np.flatnonzero(goods.group[1:] != goods.group[:-1]) + 1).tolist(), total] if total else [0]
    group, held, promised = 0, dict[int, int](), bool(goods.newcomers.any())
    exploring, sum_to = policy.exploration, min(policy.newcomers_most, 1.0 - policy.exploration)
    found: list[Drawn] = []
    for number, (first, second) in enumerate(chance[: count if given is None else len(given)].tolist()):
        while group + 1 < len(edges) and value[edges[group] : edges[group + 1]].max() == -np.inf:
            group += 1
        if group + 1 >= len(edges):
            break
        best = edges[group] + int(value[edges[group] : edges[group + 1]].argmax())
        at, could = best, left.copy()
        rights = float(goods.newcomers @ left) if promised else 0.0
        fresh = min(rights, sum_to)
        if given is not None:
            at = given[number]
        elif first < exploring:
            places = np.flatnonzero(left)
            at = int(places[int(second * len(places))])
        elif first < exploring + fresh:
            places = np.flatnonzero(goods.newcomers * left)
            summed = np.cumsum(goods.newcomers[places])
            at = int(places[min(int(np.searchsorted(summed, second * summed[-1], "right")), len(places) - 1)])
        shown = 0.0
        if at >= 0 and could[at]:
            shown = exploring / np.count_nonzero(could) + (1.0 - exploring - fresh) * (at == best)
            if fresh:
                shown += float(goods.newcomers[at]) * (fresh / rights)
        found.append(Drawn(at, float(shown), best, could, exploring, fresh))
        if at < 0:
            continue
        left[at] = False
        maker = int(goods.makers[at])
        if maker != _UNKNOWN:
            held[maker] = held.get(maker, 0) + 1
            if held[maker] >= policy.maker_cap:
                left &= goods.makers != maker
        if policy.diversity:
            np.maximum(likeness, like(goods, at), out=likeness)
            np.subtract(goods.value, loss * likeness, out=value)
        np.putmask(value, ~left, -np.inf)
    return found


def like(goods: Goods, at: int) -> npt.NDArray[np.int8]:
    """How alike each candidate is to one of them, from 0 to _ALL: its category's path, its maker, its brand."""
    found = np.zeros(len(goods), np.int8)
    if goods.paths[0, at] != _UNKNOWN:
        for level in goods.paths:
            found += (level == level[at]).view(np.int8)
        found *= np.int8(_BY_LEVEL)
    for codes in (goods.makers, goods.brands):
        if codes[at] != _UNKNOWN:
            found += (codes == codes[at]).view(np.int8) * np.int8(_BY_NAME)
    return found


def fillable(makers: npt.NDArray[np.int32], cap: int) -> int:
    """How many slots these candidates can fill with at most `cap` of each maker."""
    counts = np.bincount(makers + 1)  # those without a maker first
    return int(np.minimum(counts[1:], cap).sum() + counts[0]) if len(counts) else 0
