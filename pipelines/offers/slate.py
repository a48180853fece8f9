"""A slate, slot by slot: the best candidate that is not too like those before it, or one that is drawn.

Candidates come in groups: the placement's own goods before others, the shopper's own before the neighbourhood's, what
loses money last. Within a group counts what a candidate adds to the slate: its worth, as far as it does not
take from those of its category that stand there already, as a visit buys one of them at most; less a part for likeness
to what the slate holds (maximal marginal relevance, the likeness taken as a factor, so that it weighs the same for
cheap goods and dear ones). At most so many items of one maker are on a slate, whatever is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush, heapreplace
from operator import eq
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from configs.policy import PolicySettings
from pipelines.offers.explore import EVEN, REACH, SHARED, leaning, leans_to

# Of what two goods have in common: three levels of the category's path count half, maker and brand a quarter each.
_BY_LEVEL, _BY_NAME, _ALL = 2, 3, 12
_UNKNOWN = -1
_LEAST = 1e-9  # chance that nothing is bought
Mask = npt.NDArray[np.bool_]


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


@dataclass(frozen=True)
class Goods:
    """What a slate's rules know of candidates, all of one length n, the best group first and in it the best worth.

    Attributes:
        group: int64, ascending: a lower one goes first.
        value: float64, what orders a group: the worth of each, alone on the screen.
        chance: float64, that it is bought where it is shown. earned: float64, the profit of that sale times its chance,
            as `worth.Options`. NaN where nobody can say: then nothing is known to take from another.
        makers, brands, categories: int32 codes; -1: not known.
        paths: int32, shape (3, n): codes of the category's path as far as each of its levels, from its root, so that
            two with a level in common have those above it in common; -1: not known.
        rights: of new makers that have candidates.
    """

    group: npt.NDArray[np.int64]
    value: npt.NDArray[np.float64]
    chance: npt.NDArray[np.float64]
    earned: npt.NDArray[np.float64]
    makers: npt.NDArray[np.int32]
    brands: npt.NDArray[np.int32]
    categories: npt.NDArray[np.int32]
    paths: npt.NDArray[np.int32]
    rights: tuple[Right, ...] = ()

    def __len__(self) -> int:
        """How many candidates there are."""
        return len(self.group)


class Odds(NamedTuple):
    """How a slot may be drawn; probabilities, which sum to one.

    Attributes:
        even: of all that could get it, each alike.
        leaning: of those behind the best, by their rank.
        owed: for new makers: by code the probability and the items of theirs that could get it, the best first.
        rest: not at all: the best gets it.
    """

    even: float
    leaning: float
    owed: Mapping[int, tuple[float, tuple[int, ...]]]
    rest: float


class Drawn(NamedTuple):
    """One slot.

    Attributes:
        at: the candidate that got it.
        propensity: with which probability it did, given the slots before.
        best: the candidate that gets it where nothing is drawn.
        open: which candidates could get it.
        odds: how it is drawn.
        reach: how far behind the best a leaning draw reaches (`explore.leaning`).
    """

    at: int
    propensity: float
    best: int
    open: Mask
    odds: Odds
    reach: int

    def propensities(self, goods: Goods) -> npt.NDArray[np.float64]:
        """Of each candidate the probability to get this slot, given the slots before; they sum to one."""
        odds, could = self.odds, np.flatnonzero(self.open)
        chances = np.zeros(len(goods))
        chances[could] = odds.even / len(could)
        others = could[could != self.best]
        if len(others):
            ranks = np.arange(len(others), dtype=np.float64)
            chances[others] += odds.leaning * leaning(ranks, len(others), self.reach)
        for chance, items in odds.owed.values():
            chances[list(items)] += _of_right(chance, len(items), first=False)
            chances[items[0]] += _of_right(chance, len(items), first=True)
        chances[self.best] += odds.rest
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
    marks, many = bytearray(b"\1") * total, total
    left = np.frombuffer(marks, np.bool_)  # the same bytes: one by one they are read quicker as such
    best_of = _Best(goods, policy.diversity)
    held = dict[int, int]()
    rights = {right.maker: right for right in goods.rights}
    odds, odds_for = None, _UNKNOWN
    reach = REACH * count
    found: list[Drawn] = []
    for number, (first, second) in enumerate(chance[: count if given is None else len(given)].tolist()):
        best = best_of.find(marks)
        if best is None:
            break
        makes = best_of.makers[best] if best_of.makers[best] in rights else _UNKNOWN
        if odds is None or many == 1 or makes != odds_for:
            odds, odds_for = _odds(policy, rights, makes, alone=many == 1), makes
        at = best
        if given is not None:
            at = given[number]
        elif first < 1.0 - odds.rest:
            at = _drawn(odds, left, many, best, reach, first, second)
        could, shown = left.copy(), 0.0
        if at >= 0 and marks[at]:
            shown = _propensity(odds, could, many, best, reach, at, best_of.makers[at])
        found.append(Drawn(at, shown, best, could, odds, reach))
        if at < 0:
            continue
        many -= marks[at]
        marks[at] = 0
        maker = best_of.makers[at]
        if maker != _UNKNOWN:
            held[maker] = held.get(maker, 0) + 1
            if held[maker] >= policy.maker_cap:
                left &= goods.makers != maker
                many = int(np.count_nonzero(left))
            if maker in rights:
                odds, items = None, tuple(item for item in rights[maker].items if left[item])
                rights[maker] = rights[maker]._replace(items=items)
                if not items:
                    del rights[maker]
        best_of.hold(at)
    return found


def _odds(policy: PolicySettings, rights: Mapping[int, Right], makes: int, *, alone: bool) -> Odds:
    """How a slot is drawn: rights of new makers, all but of who gets it on merit (`makes`), and exploration."""
    even = policy.exploration * EVEN
    leans = policy.exploration - even
    most = SHARED * leans  # of these draws are new makers'
    owed = [right for right in rights.values() if right.maker != makes]
    for some in (owed, rights.values()):
        wanted = sum(right.share for right in some)
        fresh = min(wanted, policy.newcomers_most, 1.0 - policy.exploration + most)
        rest = 1.0 - policy.exploration - max(fresh - most, 0.0)
        if len(owed) == len(rights) or rest >= rights[makes].share:
            break
    leaning = 0.0 if alone else leans - min(fresh, most)
    told = {right.maker: (right.share * (fresh / wanted), right.items) for right in some}
    return Odds(even, leaning, told, 1.0 - even - leaning - sum(one for one, _ in told.values()))


def _drawn(odds: Odds, left: Mask, many: int, best: int, reach: int, first: float, second: float) -> int:
    """What a slot gets that is drawn."""
    if first < odds.even:
        return int(np.flatnonzero(left)[int(second * many)])
    edge = odds.even + odds.leaning
    if first < edge:
        rank = leans_to(second, many - 1, reach)
        could = np.flatnonzero(left)
        return int(could[rank + (could[rank] >= best)])
    for chance, items in odds.owed.values():
        edge += chance
        if first < edge:
            return items[int(second / EVEN * len(items)) if second < EVEN else 0]
    return best


def _propensity(odds: Odds, could: Mask, many: int, best: int, reach: int, at: int, maker: int) -> float:
    """As `Drawn.propensities` tells it of one."""
    shown = odds.even / many
    if at != best:
        shown += odds.leaning * leaning(float(np.count_nonzero(could[:at]) - (best < at)), many - 1, reach)
    if maker in odds.owed:
        chance, items = odds.owed[maker]
        if at in items:
            shown += _of_right(chance, len(items), first=False)
        if at == items[0]:
            shown += _of_right(chance, len(items), first=True)
    return shown + odds.rest if at == best else shown


def _of_right(chance: float, items: int, *, first: bool) -> float:
    """The probability that a new maker's right goes to the best of its items, or, beside that, to each of them."""
    return chance * (1.0 - EVEN) if first else chance * EVEN / items


class _Best:
    """Finds the best of those left, slot after slot.

    What the slate holds takes from a worth, so what a candidate was worth when it was last looked at is the most that
    it can be worth now: looking again at those that lead by it, until one leads by what it is worth now, finds the best
    among hundreds by looking at a few.
    """

    def __init__(self, goods: Goods, diversity: float) -> None:
        self.makers: list[int] = goods.makers.tolist()
        self._brands: list[int] = goods.brands.tolist()
        self._categories: list[int] = goods.categories.tolist()
        self._paths = list(zip(*goods.paths.tolist(), strict=True))
        self._values: list[float] = goods.value.tolist()
        self._chances: list[float] = goods.chance.tolist()
        self._earned: list[float] = goods.earned.tolist()
        # Of each category that is held: the sum of the odds of its goods, and of their odds times the profit of a sale.
        self._rivals: dict[int, tuple[float, float]] = {}
        self._groups: list[int] = goods.group.tolist()
        self._loss = diversity / _ALL
        self._held: list[int] = []
        # Of those held: the roots of their paths, their makers, their brands. Who shares none is not alike at all.
        self._roots, self._by, self._named = set[int](), set[int](), set[int]()
        self._likeness = [0] * len(self._values)
        self._counted = [0] * len(self._values)  # of each candidate with how many of those held it was compared
        self._next = 0  # the first of those, in their order, that was never looked at
        self._leading: list[tuple[float, int]] = []  # a heap of the others of this group: less what they are worth

    def hold(self, at: int) -> None:
        """The slate holds this candidate from now on."""
        self._held.append(at)
        category, chance = self._categories[at], self._chances[at]
        if category != _UNKNOWN and chance == chance:
            again = category in self._rivals
            odds, gained = self._rivals.get(category, (0.0, 0.0))
            stays = max(1.0 - chance, _LEAST)
            self._rivals[category] = odds + chance / stays, gained + self._earned[at] / stays
            if again:  # a cheaper good takes from a dearer one that is held: a third may be worth more than it was
                self._leading = [(-self._worth(one), one) for _, one in self._leading]
                heapify(self._leading)
        self._roots.add(self._paths[at][0])
        self._by.add(self.makers[at])
        self._named.add(self._brands[at])

    def find(self, left: Sequence[int]) -> int | None:
        """The best of those left, of equal ones the first; None: there is none."""
        values, groups, leading, total, following = self._values, self._groups, self._leading, len(left), self._next
        while True:
            if not leading:
                while following < total and not left[following]:
                    following += 1
                if following == total:
                    self._next = following
                    return None
                # The first of its group has the greatest worth of it.
                heappush(leading, (-self._worth(following), following))
                following += 1
            group = groups[leading[0][1]]
            while following < total and groups[following] == group and -values[following] < leading[0][0]:
                heappush(leading, (-self._worth(following), following))
                following += 1
            at = leading[0][1]
            if not left[at]:
                heappop(leading)
            elif self._counted[at] == len(self._held):
                self._next = following
                return at
            else:
                heapreplace(leading, (-self._worth(at), at))

    def _worth(self, at: int) -> float:
        """What a candidate is worth beside those that the slate holds."""
        value, held = self._values[at], self._held
        if self._categories[at] in self._rivals:
            value = min(value, self._beside(at, *self._rivals[self._categories[at]]))
        if not self._loss:
            self._counted[at] = len(held)
            return value
        likeness = self._likeness[at]
        if self.makers[at] in self._by or self._brands[at] in self._named or self._paths[at][0] in self._roots:
            for other in held[self._counted[at] :]:
                likeness = max(likeness, self._alike(at, other))
            self._likeness[at] = likeness
        self._counted[at] = len(held)
        return value - self._loss * abs(value) * likeness

    def _beside(self, at: int, odds: float, gained: float) -> float:
        """What a candidate adds beside others of its category, of which a visit buys one at most.

        Args:
            at: the candidate.
            odds, gained: of those others, as `_rivals`.
        """
        chance, earned = self._chances[at], self._earned[at]
        if chance != chance:
            return self._values[at]
        stays = max(1.0 - chance, _LEAST)
        theirs, taken = gained / (1.0 + odds), earned - self._values[at]
        return (earned - chance * theirs) / stays / (1.0 + odds + chance / stays) - taken / (1.0 + odds)

    def _alike(self, one: int, other: int) -> int:
        """How alike two candidates are, from 0 to _ALL: their categories' paths, their makers, their brands."""
        path, alike = self._paths[other], 0
        if path[0] != _UNKNOWN:
            alike = _BY_LEVEL * sum(map(eq, self._paths[one], path))
        if self.makers[one] == self.makers[other] != _UNKNOWN:
            alike += _BY_NAME
        if self._brands[one] == self._brands[other] != _UNKNOWN:
            alike += _BY_NAME
        return alike


class Room:
    """The slots of a slate that candidates do not fill yet, with at most so many of each maker."""

    def __init__(self, count: int, cap: int) -> None:
        self.left, self._cap = count, cap
        self._held: dict[int, int] = {}

    def take(self, makers: npt.NDArray[np.int32]) -> None:
        """Let further candidates in, as far as there is room."""
        for maker in makers.tolist():
            if not self.left:
                return
            if maker != _UNKNOWN:
                held = self._held.get(maker, 0)
                if held == self._cap:
                    continue
                self._held[maker] = held + 1
            self.left -= 1
