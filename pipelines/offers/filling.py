"""Filling a slate, slot by slot: the best candidate left, or one that is drawn; compiled (`pipelines.compiled`).

What each slot may be drawn for (`pipelines.offers.explore` tells why) are three numbers, with `owed` beside them:

- EVEN_ODDS: the probability that any that could get it does, each alike;
- LEANING_ODDS: that one behind the best does, by its rank;
- REST: that nothing is drawn, so that the best gets it;
- `owed`: of each new maker with a right, that it goes to its items: to the best of them, and a part to each alike.

A new maker whose item gets the slot on merit is owed nothing there, as far as that leaves it what it has a right to.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipelines.compiled import BOOL, FLOAT, INT, INT32, array, compiled, written

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.int32]
EVEN = 0.2
"""The part of the draws, of exploration as of a new maker's items, in which each is alike."""
REACH = 2
"""How far leaning draws reach behind the best, in lengths of the slate."""
SHARED = 0.5
"""The part of the leaning draws, at most, that are new makers' by right: of what is new least is known."""
NOBODY = -1
EVEN_ODDS, LEANING_ODDS, REST = range(3)
# Columns of traits; of what two goods have in common the path's three levels count half, maker and brand a quarter.
MAKER, BRAND, CATEGORY, PATH, PATH_END = 0, 1, 2, 3, 6
UNKNOWN = -1
_BY_LEVEL, _BY_NAME, _ALL = 2, 3, 12
_LEAST = 1e-9  # chance that nothing is bought


@compiled()
def _count(start: int, end: int, items: Ints, left: Mask) -> int:
    """How many of some items are left."""
    many = 0
    for item in items[start:end]:
        many += left[item]
    return many


@compiled()
def _nth(rank: int, left: Mask, without: int) -> int:
    """The candidate of this rank, from 0, among those left, of whom one may not count."""
    at = 0
    while not left[at] or at == without or rank:
        if left[at] and at != without:
            rank -= 1
        at += 1
    return at


@compiled(INT, INT, INT)
def leaning(rank: int, others: int, reach: int) -> float:
    """The probability of a leaning draw to take the one of this rank, from 0, of `others`; they sum to one.

    It falls as the square of the rank does once that is beyond `reach`.
    """
    return reach * (others + reach) / others / ((rank + reach) * (rank + reach + 1.0))


@compiled(FLOAT, INT, INT)
def leans_to(uniform: float, others: int, reach: int) -> int:
    """The rank that a leaning draw takes, given a uniform number of [0, 1): the inverse of the sum of `leaning`."""
    beyond = 1.0 - uniform * others / (others + reach)
    return min(int(reach / beyond) - reach, others - 1)


@compiled()
def _propensity(
    one: int, rank: int, best: int, many: int, reach: int, starts: Ints, items: Ints, left: Mask,
    odds: Floats, owed: Floats,
) -> float:  # fmt: skip
    """The probability that a slot gets this one; `rank`: from 0, among those that could, without the best."""
    shown: float = odds[EVEN_ODDS] / many
    if one != best:
        shown += odds[LEANING_ODDS] * leaning(rank, many - 1, reach)
    for right in range(len(owed)):
        theirs = _count(starts[right], starts[right + 1], items, left)
        foremost = True
        for item in items[starts[right] : starts[right + 1]]:
            if item == one:
                shown += owed[right] * EVEN / theirs
                if foremost:
                    shown += owed[right] * (1.0 - EVEN)
            if left[item]:
                foremost = False
    return shown + odds[REST] if one == best else shown


@compiled()
def _drawn(
    best: int, first: float, second: float, many: int, reach: int, starts: Ints, items: Ints, left: Mask,
    odds: Floats, owed: Floats,
) -> int:  # fmt: skip
    """What a slot gets that is drawn, given two uniform numbers."""
    if first < odds[EVEN_ODDS]:
        return _nth(int(second * many), left, NOBODY)
    edge = odds[EVEN_ODDS] + odds[LEANING_ODDS]
    if first < edge:
        return _nth(leans_to(second, many - 1, reach), left, best)
    for right in range(len(owed)):
        edge += owed[right]
        if first < edge:
            theirs = _count(starts[right], starts[right + 1], items, left)
            wanted = int(second / EVEN * theirs) if second < EVEN else 0
            for item in items[starts[right] : starts[right + 1]]:
                if left[item]:
                    if wanted == 0:
                        return int(item)
                    wanted -= 1
    return best


@compiled()
def _odds(
    merit: int, alone: bool, makers: Codes, shares: Floats, starts: Ints, items: Ints, left: Mask,
    exploration: float, newcomers_most: float, odds: Floats, owed: Floats,
) -> None:  # fmt: skip
    """Write down how a slot is drawn, of which the best is an item of the maker `merit`."""
    even = exploration * EVEN
    leans = exploration - even
    most = SHARED * leans  # of these draws are new makers'
    wanted, others, own = 0.0, 0.0, 0.0
    for right in range(len(makers)):
        if _count(starts[right], starts[right + 1], items, left):
            wanted += shares[right]
            if makers[right] == merit:
                own = shares[right]
            else:
                others += shares[right]
    # Who gets the slot on merit is owed nothing, as far as that leaves them their share.
    every = (
        own == 0.0 or 1.0 - exploration - max(min(others, newcomers_most, 1.0 - exploration + most) - most, 0.0) < own
    )
    if not every:
        wanted = others
    fresh = min(wanted, newcomers_most, 1.0 - exploration + most)
    odds[EVEN_ODDS], odds[LEANING_ODDS] = even, 0.0 if alone else leans - min(fresh, most)
    told = 0.0
    for right in range(len(makers)):
        owes = every or makers[right] != merit
        if owes and _count(starts[right], starts[right + 1], items, left):
            owed[right] = shares[right] * (fresh / (wanted if every else others))
            told += owed[right]
    odds[REST] = 1.0 - even - odds[LEANING_ODDS] - told


@compiled()
def _alike(one: Codes, other: Codes) -> int:
    """How alike two candidates are, from 0 to _ALL: their categories' paths, their makers, their brands."""
    alike = 0
    if other[PATH] != UNKNOWN:
        for level in range(PATH, PATH_END):
            alike += _BY_LEVEL * (one[level] == other[level])
    for name in (MAKER, BRAND):
        if one[name] == other[name] and one[name] != UNKNOWN:
            alike += _BY_NAME
    return alike


@compiled()
def _adds(one: int, value: Floats, bought: Floats, earned: Floats, traits: Codes, held: Ints) -> float:
    """What a candidate adds to a slate: its worth, less what it takes from those of its category, and they from it.

    Of them a visit buys one at most, by the odds of each where it is shown. What is taken off a sale's profit in the
    worth (what would be bought anyway, what telling of somebody harms) is taken off whole.
    """
    category, chance = traits[one, CATEGORY], bought[one]
    odds, gained, rivals = 0.0, 0.0, False  # the sums of their odds, and of their odds times the profit of a sale
    if category != UNKNOWN and earned[one] == earned[one]:
        for other in held:
            if traits[other, CATEGORY] == category and earned[other] == earned[other]:
                stays = max(1.0 - bought[other], _LEAST)
                odds, gained, rivals = odds + bought[other] / stays, gained + earned[other] / stays, True
    alone: float = value[one]
    if not rivals:
        return alone
    stays = max(1.0 - chance, _LEAST)
    theirs, taken = gained / (1.0 + odds), earned[one] - alone
    adds: float = (earned[one] - chance * theirs) / stays / (1.0 + odds + chance / stays) - taken
    return min(alone, adds)


@compiled()
def _best(
    first: int, group: Ints, value: Floats, bought: Floats, earned: Floats, traits: Codes, left: Mask,
    diversity: float, held: Ints, alike: Ints, compared: Ints,
) -> int:  # fmt: skip
    """The best of those left in the group of the first of them, of equal ones the first.

    What the slate holds takes from a worth, never adds: where the worth alone is no more, nothing need be looked at,
    nor what comes after it.
    """
    best, worth, loss, at = NOBODY, 0.0, diversity / _ALL, first
    while at < len(value) and group[at] == group[first]:
        if left[at]:
            if best != NOBODY and value[at] <= worth:
                break
            told = _adds(at, value, bought, earned, traits, held)
            if loss > 0.0:
                for other in held[compared[at] :]:
                    alike[at] = max(alike[at], _alike(traits[at], traits[other]))
                compared[at] = len(held)
                told -= loss * abs(told) * alike[at]
            if best == NOBODY or told > worth:
                best, worth = at, told
        at += 1
    return best


@compiled(
    array(INT), array(FLOAT), array(FLOAT), array(FLOAT), array(INT32, 2),
    array(INT32), array(FLOAT), array(INT), array(INT),
    INT, FLOAT, FLOAT, INT, FLOAT, array(FLOAT, 2), BOOL, array(INT),
)  # fmt: skip
def filled(
    group: Ints,
    value: Floats,
    bought: Floats,
    earned: Floats,
    traits: Codes,
    makers: Codes,
    shares: Floats,
    starts: Ints,
    items: Ints,
    count: int,
    exploration: float,
    diversity: float,
    maker_cap: int,
    newcomers_most: float,
    chance: Floats,
    follows: bool,
    given: Ints,
) -> tuple[Ints, Floats, Ints, npt.NDArray[np.bool_], Floats, Floats]:
    """Fill at most `count` slots of a slate.

    Args:
        group, value, bought, earned, traits: of the candidates (`slate.Goods`; `bought`: their chance).
        makers, shares, starts, items: rights of new makers (`slate.Rights`).
        count, exploration, diversity, maker_cap, newcomers_most: as asked and by the settings.
        chance: two uniform numbers for each slot.
        follows, given: whether the slots got what `given` tells, whatever would have been drawn; NOBODY: no candidate.

    Returns:
        Of each slot who got it, with which propensity, who is the best, who could get it, its odds, and what is owed.
    """
    slots, total = min(len(chance), len(given) if follows else count), len(value)
    at, shown, best = np.empty(slots, np.int64), np.zeros(slots), np.empty(slots, np.int64)
    could, odds, owed = np.empty((slots, total), np.bool_), np.empty((slots, 3)), np.zeros((slots, len(makers)))
    left, many, first = np.ones(total, np.bool_), total, 0
    alike, compared = np.zeros(total, np.int64), np.zeros(total, np.int64)  # with so many of those that are held
    held, holds = np.empty(slots, np.int64), 0
    for slot in range(slots):
        while first < total and not left[first]:
            first += 1
        if first == total:
            return at[:slot], shown[:slot], best[:slot], could[:slot], odds[:slot], owed[:slot]
        best[slot] = one = _best(
            first, group, value, bought, earned, traits, left, diversity, held[:holds], alike, compared
        )
        _odds(traits[one, MAKER], many == 1, makers, shares, starts, items, left, exploration, newcomers_most,
              odds[slot], owed[slot])  # fmt: skip
        if follows:
            one = given[slot]
        elif chance[slot, 0] < 1.0 - odds[slot, REST]:
            one = _drawn(one, chance[slot, 0], chance[slot, 1], many, REACH * count, starts, items, left,
                         odds[slot], owed[slot])  # fmt: skip
        at[slot], could[slot] = one, left
        if one == NOBODY:
            continue
        if left[one]:
            rank = 0
            for other in range(one):
                rank += left[other]
            shown[slot] = _propensity(one, rank - (best[slot] < one), best[slot], many, REACH * count,
                                      starts, items, left, odds[slot], owed[slot])  # fmt: skip
            many -= 1
            left[one] = False
        held[holds] = one
        holds += 1
        maker, theirs = traits[one, MAKER], 0
        for other in held[:holds]:
            theirs += traits[other, MAKER] == maker
        if maker != UNKNOWN and theirs >= maker_cap:
            for other in range(total):
                if left[other] and traits[other, MAKER] == maker:
                    left[other] = False
                    many -= 1
    return at, shown, best, could, odds, owed


@compiled(array(INT), array(INT), array(BOOL), INT, INT, array(FLOAT), array(FLOAT))
def propensities(
    starts: Ints, items: Ints, could: Mask, best: int, reach: int, odds: Floats, owed: Floats
) -> npt.NDArray[np.float64]:
    """Of each candidate the probability to get a slot, given the slots before; they sum to one.

    Args:
        starts, items: rights of new makers (`slate.Rights`).
        could, best, reach, odds, owed: of the slot, as `filled` tells them.
    """
    found, many, rank = np.zeros(len(could)), 0, 0
    for one in range(len(could)):
        many += could[one]
    for one in range(len(could)):
        if could[one]:
            found[one] = _propensity(one, rank, best, many, reach, starts, items, could, odds, owed)
            rank += one != best
    return found


@compiled(array(INT32, 2), array(BOOL), INT, INT, written(INT32))
def let_in(traits: Codes, wanted: Mask, left: int, maker_cap: int, taken: Codes) -> int:
    """Let candidates take the places of a slate, as far as there are any left; return how many are left then.

    Args:
        traits: of the candidates.
        wanted: which of them.
        left: how many places there are left, the last of `taken`; before them stand makers of who took one.
        maker_cap: items of one maker at most.
        taken: of each place the maker of who took it.
    """
    for one in range(len(wanted)):
        if left == 0:
            break
        if not wanted[one]:
            continue
        maker, theirs = traits[one, MAKER], 0
        for other in taken[: len(taken) - left]:
            theirs += other == maker
        if maker == UNKNOWN or theirs < maker_cap:
            taken[len(taken) - left] = maker
            left -= 1
    return left
