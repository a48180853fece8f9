"""Several people may stand there: what showing an item is worth over all of them, less the harm of telling of one.

A face match is never certain, and two people may look at one screen. Each possible shopper has a probability; what is
left of 1 is somebody else, of whom only the level (the neighbourhood) is known. With w the worth of an item to each
(`pipelines.offers.value.odds.gain` less what a scarce budget costs), its worth here is

    Σ_u P(u) w_u  -  harm · Σ_v P(v) Σ_p owed_p · max(0, 1 - q_v / q_p)

where u and v run over the shoppers and somebody else, p over the shoppers. q is how probably each buys the item anyway:
1 - q_v / q_p is the part of p's wish for it that v would not share (the attributable fraction), so it is 0 where the
good makes as much sense for whoever looks, and near 1 where it can only mean p. `owed_p` is the part of the item's
worth that comes from p. What the slate of nobody in particular would show tells of nobody: it has no harm.

So, in every probability continuously: at 1 the order is the shopper's own, at 0 the level's; the best items by this
worth have at least the expected worth of those of the anonymous slate, as these are always among the choices, harmless;
and what they have above that never falls as the probability of the one shopper grows. What goods of a slate take from
each other comes after it (`pipelines.offers.filling`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from configs.errors import UsageError
from pipelines.offers.value.odds import UNSHOWN
from pipelines.offers.worth import NO_OFFER, Options
from pipelines.packed import ODDS, Ranked

Floats = npt.NDArray[np.float64]
_SLACK = 1e-6  # of sums of probabilities
MOST = 5
"""So many shoppers, the likeliest, have a say; the others of a longer list count as somebody else."""
_MOSTLY = 0.5
_NEXT_TO_NOTHING = 1e-6  # minor units: what is worth nothing to anybody is owed to those who have it in their lists


def check_probabilities(shoppers: Sequence[tuple[str, float]]) -> None:
    """Refuse weights that are no probabilities of different people.

    Raises:
        UsageError: with counts: below 0, above 1 or no number; named twice; summing to more than 1.
    """
    if not shoppers:
        return
    told = np.array([probability for _, probability in shoppers], np.float64)
    wrong = int((~((told >= 0) & (told <= 1))).sum())
    if wrong:
        raise UsageError(f"{wrong} of {len(told)} shoppers have a probability that is not between 0 and 1.")
    if twice := len(told) - len({shopper for shopper, _ in shoppers}):
        raise UsageError(f"{twice} of {len(told)} shoppers are named twice; give each of them one probability.")
    if told.sum() > 1 + _SLACK:
        raise UsageError(
            f"The probabilities of {len(told)} shoppers sum to {told.sum():.3f}; one person looks, so at most to 1."
        )


@dataclass(frozen=True)
class Pool:
    """Candidates of everybody who may stand there.

    Attributes:
        items: positions, each once; the likeliest shopper's first, the level's last. Ties are left in this order.
        probability: of each shopper, and of somebody else as the last; shape (people,).
        odds: as of `Ranked`, NaN where the person's list does not have the item; shape (people, items, 5).
        scores, reasons: of each person's list, NaN and 0 where it does not have the item; shape (people, items).
    """

    items: npt.NDArray[np.int32]
    probability: Floats
    odds: npt.NDArray[np.float16]
    scores: npt.NDArray[np.float32]
    reasons: npt.NDArray[np.uint8]

    def take(self, rows: npt.NDArray[np.integer] | npt.NDArray[np.bool_]) -> Pool:
        """Some of the items, as those that no hard rule refuses."""
        return Pool(self.items[rows], self.probability, self.odds[:, rows], self.scores[:, rows], self.reasons[:, rows])


@dataclass(frozen=True)
class Weighed:
    """What each item of a pool is worth here.

    Attributes:
        worth: expected, less harm; NaN where an option is none; shape (items, options).
        harm: that was subtracted; shape (items, options).
        owed: which part of an item's worth, at its best option, comes from each person; shape (people, items), columns
            sum to 1.
        own: whether it stands there for named shoppers who have it in their own lists; shape (items,).
        reasons, scores: of the list that most of it is owed to; shape (items,).
    """

    worth: Floats
    harm: Floats
    owed: Floats
    own: npt.NDArray[np.bool_]
    reasons: npt.NDArray[np.uint8]
    scores: npt.NDArray[np.float32]


def pool(shoppers: Sequence[tuple[float, Ranked]], level: Ranked) -> Pool:
    """Put the candidates of all together.

    Args:
        shoppers: probability and own candidates of each; one of probability 0 is left out, and who is not among the
            MOST likeliest. Checked before (`check_probabilities`).
        level: candidates of somebody else.
    """
    likely = sorted((pair for pair in shoppers if pair[0] > 0), key=lambda pair: -pair[0])[:MOST]
    lists = [ranked for _, ranked in likely] + [level]
    every = np.concatenate([ranked.items for ranked in lists])
    items = every[np.sort(np.unique(every, return_index=True)[1])]
    order = np.argsort(items)
    shape = len(lists), len(items)
    odds = np.full((*shape, ODDS), np.nan, np.float16)
    scores, reasons = np.full(shape, np.nan, np.float32), np.zeros(shape, np.uint8)
    for person, ranked in enumerate(lists):
        at = order[np.searchsorted(items, ranked.items, sorter=order)]
        scores[person, at], reasons[person, at] = ranked.scores, ranked.reasons
        if ranked.odds is not None:
            odds[person, at] = ranked.odds
    named = [probability for probability, _ in likely]
    return Pool(items, np.array([*named, max(0.0, 1.0 - sum(named))]), odds, scores, reasons)


def weigh(people: Pool, worths: Floats, harm: float, anonymous: npt.NDArray[np.integer]) -> Weighed:
    """Expected worth of each item and option over who may stand there, less the harm of disclosure.

    What is not in a shopper's list is worth to them what it is to the level, but not more than the last of their own:
    their model put it below. What is not in the level's list is worth nothing to somebody else.

    Args:
        people: candidates that may be shown, to whichever of the people.
        worths: of each person's odds, item and option (for example no offer and each running offer); NaN where the
            odds are not known, or for all people where there is no such option; shape (people, items, options).
        harm: cost of showing somebody what can only be meant for another, in the units of `worths`; not negative.
        anonymous: positions of the items that would be shown to nobody in particular.
    """
    filled, listed = _filled(worths), ~np.isnan(people.scores)
    owed = _owed(people.probability, filled, listed)
    cost = harm * _telling(people, owed)
    cost[np.isin(people.items, anonymous)] = 0.0
    worth = np.einsum("u,uio->io", people.probability, filled) - cost
    columns = np.arange(len(people.items))
    at_best = owed[:, columns, np.where(np.isnan(worth), -np.inf, worth).argmax(axis=1)]
    whose = np.where(listed, at_best, -1.0).argmax(axis=0)
    own = (at_best * listed)[:-1].sum(axis=0) >= _MOSTLY
    return Weighed(worth, cost, at_best, own, people.reasons[whose, columns], people.scores[whose, columns])


def doubted(
    people: Pool, found: Sequence[Options], harm: float, anonymous: npt.NDArray[np.integer]
) -> tuple[Options, Weighed]:
    """What may be done with each item of a pool, and what that is worth here.

    Args:
        people: candidates that may be shown.
        found: `pipelines.offers.worth.options` of `people.items` with the odds of each person, in their order; the
            offers that may be had are the same for all.
        harm, anonymous: as of `weigh`.
    """
    one = found[0]
    items = len(people.items)
    order = np.argsort(one.at, kind="stable")
    column = np.empty(len(order), np.int64)
    column[order] = 1 + np.arange(len(order)) - np.searchsorted(one.at[order], one.at[order])
    worths = np.full((len(found), items, 1 + int(column.max(initial=0))), np.nan)
    rows = np.full(worths.shape[1:], NO_OFFER, np.int64)
    rows[one.at, column] = one.rows
    for person, options in enumerate(found):
        worths[person, :, 0] = options.plain
        worths[person, options.at, column] = options.worths
    weighed = weigh(people, worths, harm, anonymous)
    told = np.where(np.isnan(weighed.worth), -np.inf, weighed.worth)
    # Of equals the first offer, then none: an offer that costs as much as it brings only tells, and may.
    best = np.concatenate([told[:, 1:], told[:, :1]], axis=1).argmax(axis=1)
    best = np.where(best == told.shape[1] - 1, 0, best + 1)
    each = np.arange(items)
    known = np.isfinite(told[each, best])
    worth = np.where(known, told[each, best], np.nan)
    row = np.where(known, rows[each, best], one.row)
    plain, offered = weighed.worth[:, 0], weighed.worth[one.at, column]
    chance, earned = (_mean(people.probability, np.stack(told)) for told in zip(
        *((options.chance, options.earned) for options in found), strict=True
    ))  # fmt: skip
    return Options(worth, row, chance, earned, plain, one.at, one.rows, offered), weighed


def _mean(probability: Floats, told: Floats) -> Floats:
    """Over who may stand there, each by their own best option; who is not known is as somebody else, or 0.

    Args:
        probability: of each person. told: of each person and item.
    """
    filled = np.where(np.isnan(told), np.nan_to_num(told[-1]), told)
    return np.where(np.isnan(told).all(axis=0), np.nan, probability @ filled)


def _filled(worths: Floats) -> Floats:
    """What is not known of a person, from the level; options that nobody has stay NaN."""
    known = ~np.isnan(worths)
    exists = known.any(axis=0)
    best = np.where(known, worths, -np.inf).max(axis=2, initial=-np.inf)
    last = np.min(best, axis=1, where=np.isfinite(best), initial=np.inf)
    somebody = np.where(known[-1], worths[-1], min(0.0, float(last[-1])))
    found = np.where(known, worths, np.minimum(somebody, last[:, None, None]))
    found[-1] = somebody
    return np.where(exists, found, np.nan)


def _owed(probability: Floats, worths: Floats, listed: npt.NDArray[np.bool_]) -> Floats:
    """Parts of the expected worth, of what is positive, from each person; shape (people, items, options)."""
    positive = np.maximum(np.nan_to_num(worths), 0.0) + _NEXT_TO_NOTHING * listed[:, :, None]
    parts = probability[:, None, None] * positive
    parts[-1] = np.where(parts.sum(axis=0) > 0, parts[-1], 1.0)
    return np.asarray(parts / parts.sum(axis=0), np.float64)


def _telling(people: Pool, owed: Floats) -> Floats:
    """Σ_v P(v) Σ_p owed_p max(0, 1 - q_v / q_p); shape (items, options)."""
    wish = expit(people.odds[:, :, UNSHOWN].astype(np.float64))
    wish[-1] = np.where(np.isnan(wish[-1]), 0.0, wish[-1])
    wish[:-1] = np.where(np.isnan(wish[:-1]), wish[-1], wish[:-1])
    found = np.zeros(owed.shape[1:])
    for person in range(len(wish) - 1):
        shared = np.divide(wish, wish[person], out=np.ones_like(wish), where=wish[person] > 0)
        found += owed[person] * (people.probability @ np.maximum(0.0, 1.0 - shared))[:, None]
    return found
