"""From the choice at shadow prices to a plan that holds: nothing over its limit, and what is left over put to use.

A move gives one slot of one shopper another option, or none, or fills an empty slot. What is used too much is brought
down by the moves that lose least, at the shadow prices, for each unit they free; what is left is spent by the moves
that lose least for each unit they take, as long as the plan gains.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipelines.offers.budgets.problem import Bools, Floats, Problem

_ROUNDS, _SWAPS = 40, 3  # of bringing down; afterwards only emptying a slot counts, which ends
_FILLS = 6
_SEARCHED = 50_000  # best moves of a round
_ONE_BY_ONE = 5_000
Options = npt.NDArray[np.int64]


@dataclass(frozen=True)
class _Moves:
    """Slot `slot` of `shopper` takes `to` for `at`; -1: none."""

    shopper: Options
    slot: Options
    at: Options
    to: Options

    def take(self, chosen: npt.NDArray[np.int64] | Bools) -> _Moves:
        return _Moves(self.shopper[chosen], self.slot[chosen], self.at[chosen], self.to[chosen])


def repair(problem: Problem, reduced: Floats, picks: Options) -> Options:
    """A plan within every limit near the choice `picks`; (shoppers, slots) options, -1: none.

    Args:
        problem: what to allocate.
        reduced: the options' values at shadow prices of its goods.
        picks: a choice within the rules of each shopper.
    """
    picks = picks.copy()
    for number in range(_ROUNDS):
        if not _bring_down(problem, reduced, picks, swaps=number < _SWAPS):
            break
    fill(problem, reduced, picks)
    return picks


def fill(problem: Problem, reduced: Floats, picks: Options) -> None:
    """Spend what is left, in place, while the plan gains; then see that nothing is over by a rounding."""
    for _ in range(_FILLS):
        if not _spend(problem, reduced, picks):
            break
    strict(problem, picks)


def _left(problem: Problem, picks: Options) -> list[Floats]:
    used = problem.used(picks[picks >= 0])
    return [good.limits - one for good, one in zip(problem.goods, used, strict=True)]


def _bring_down(problem: Problem, reduced: Floats, picks: Options, *, swaps: bool) -> bool:
    """One round of moves out of what is used too much, in place; false when nothing was."""
    over = [left < 0 for left in _left(problem, picks)]
    if not any(one.any() for one in over):
        return False
    left = _left(problem, picks)
    taken = []
    for number, good in enumerate(problem.goods):
        if not over[number].any():
            continue
        for slot in range(problem.slots):
            taken.append(_out_of(problem, reduced, picks, slot, over, number, swaps=swaps))
        moves, key, freed = _joined(taken)
        taken.clear()
        code = good.codes[moves.at]
        order = np.lexsort((key, code))
        gone = _sums(code[order], freed[order]) - freed[order]
        moves = moves.take(order[gone < -left[number][code[order]]])
        _apply(picks, moves)
        left = _left(problem, picks)
        over = [one < 0 for one in left]
    return True


def _joined(parts: list[tuple[_Moves, Floats, Floats]]) -> tuple[_Moves, Floats, Floats]:
    fields = [np.concatenate([getattr(moves, name) for moves, *_ in parts]) for name in ("shopper", "slot", "at", "to")]
    return _Moves(*fields), np.concatenate([key for _, key, _ in parts]), np.concatenate([free for *_, free in parts])


def _out_of(
    problem: Problem, reduced: Floats, picks: Options, slot: int, over: list[Bools], number: int, *, swaps: bool
) -> tuple[_Moves, Floats, Floats]:
    """For each option of `slot` that uses too much of good `number`: its cheapest way out, and what that frees."""
    good = problem.goods[number]
    at = picks[:, slot]
    hit = (at >= 0) & over[number][good.codes[at]] & (good.codes[at] >= 0) & (good.use[at] > 0)
    use = np.where(hit, good.use[at], 0.0)
    freed = use.copy()
    key = np.divide(reduced[at], use, out=np.full(len(at), np.inf), where=hit)
    to = np.full(len(at), -1, np.int64)
    for width, options in problem.columns() if swaps else ():
        mine = at[:width]
        may = hit[:width] & fits_shopper(problem, picks, slot, width, options)
        for other, is_over in zip(problem.goods, over, strict=True):
            code = other.codes[options]
            more = (code != other.codes[mine]) | (other.use[options] > other.use[mine])
            may &= ~((code >= 0) & is_over[code] & more & (other.use[options] > 0))
        frees = use[:width] - np.where(good.codes[options] == good.codes[mine], good.use[options], 0.0)
        may &= frees > 0
        cost = np.divide(reduced[mine] - reduced[options], frees, out=np.full(width, np.inf), where=may)
        better = cost < key[:width]
        np.copyto(key[:width], cost, where=better)
        np.copyto(freed[:width], frees, where=better)
        np.copyto(to[:width], np.arange(options.start, options.stop), where=better)
    who = np.flatnonzero(hit)
    return _Moves(who, np.full(len(who), slot), at[who], to[who]), key[who], freed[who]


def fits_shopper(problem: Problem, picks: Options, slot: int, width: int, options: slice) -> Bools:
    """Whether the options may stand in `slot` beside what is in the shopper's other slots."""
    fits: Bools = picks[:width, slot] != np.arange(options.start, options.stop)
    if problem.slots == 1:
        return fits
    same = np.zeros(width, np.int32)
    for other in range(problem.slots):
        if other != slot:
            beside = picks[:width, other]
            held = beside >= 0
            fits &= ~(held & (problem.item[beside] == problem.item[options]))
            same += held & (problem.campaign[beside] == problem.campaign[options])
    fits &= same < problem.caps[problem.campaign[options]]
    return fits


def _spend(problem: Problem, reduced: Floats, picks: Options) -> bool:
    """One round of moves that gain and for which there is room, in place; false when there was none."""
    left = _left(problem, picks)
    parts: list[tuple[_Moves, Floats, Floats]] = []
    for slot in range(problem.slots):
        for width, options in problem.columns():
            at = picks[:width, slot]
            held = at >= 0
            gain = problem.value[options] - np.where(held, problem.value[at], 0.0)
            may = (gain > 0) & fits_shopper(problem, picks, slot, width, options)
            for good, room in zip(problem.goods, left, strict=True):
                code = good.codes[options]
                needs = good.use[options] - np.where(held & (code == good.codes[at]), good.use[at], 0.0)
                may &= (code < 0) | (needs <= room[code])
            who = np.flatnonzero(may)
            to, at = options.start + who, at[who]
            moves = _Moves(who, np.full(len(who), slot), at, to)
            loss = np.where(at >= 0, reduced[at], 0.0) - reduced[to]
            priced = gain[who] + loss  # what the move takes of the priced goods
            key = np.where(priced > 0, loss / np.where(priced > 0, priced, 1.0), -np.inf)
            parts.append((moves, key, gain[who]))
    moves, key, gain = _joined(parts)
    if not len(key):
        return False
    if len(key) > _SEARCHED:
        best = np.argpartition(key, _SEARCHED)[:_SEARCHED]
        moves, key, gain = moves.take(best), key[best], gain[best]
    order = np.lexsort((-gain, key))
    moves = moves.take(order)
    first = np.sort(np.unique(moves.shopper, return_index=True)[1])
    moves = moves.take(first)
    fits: Bools = np.ones(len(first), np.bool_)
    for good, have in zip(problem.goods, left, strict=True):
        code = good.codes[moves.to]
        same = (moves.at >= 0) & (code == good.codes[moves.at])
        needs = np.maximum(0.0, good.use[moves.to] - np.where(same, good.use[moves.at], 0.0))
        fits &= (code < 0) | (_sums(code, needs) <= have[code])
    _apply(picks, moves.take(fits))
    _one_by_one(problem, picks, moves.take(np.flatnonzero(~fits)[:_ONE_BY_ONE]))
    return True


def _one_by_one(problem: Problem, picks: Options, moves: _Moves) -> None:
    """Take each move for which there is still room, in their order, in place."""
    left = [one.tolist() for one in _left(problem, picks)]
    goods = [(good.codes[moves.at], good.use[moves.at], good.codes[moves.to], good.use[moves.to])
             for good in problem.goods]  # fmt: skip
    kept = []
    for row, at in enumerate(moves.at.tolist()):
        needs = []
        for number, (code_at, use_at, code_to, use_to) in enumerate(goods):
            if at >= 0 and code_at[row] >= 0:
                needs.append((number, int(code_at[row]), -float(use_at[row])))
            if code_to[row] >= 0:
                needs.append((number, int(code_to[row]), float(use_to[row])))
        for number, code, use in needs:
            left[number][code] -= use
        if any(use > 0 and left[number][code] < 0 for number, code, use in needs):
            for number, code, use in needs:
                left[number][code] += use
        else:
            kept.append(row)
    _apply(picks, moves.take(np.array(kept, np.int64)))


def strict(problem: Problem, picks: Options) -> None:
    """Empty slots, the cheapest first, where sums without rounding error are above a limit; in place."""
    for good, left in zip(problem.goods, _left(problem, picks), strict=True):
        for code in np.flatnonzero(left <= 1e-9 * np.where(good.limits < np.inf, good.limits, 0.0)):
            while True:
                who, slot = np.nonzero((picks >= 0) & (good.codes[picks] == code))
                uses = good.use[picks[who, slot]]
                if math.fsum(uses) <= good.limits[code]:
                    break
                value = np.where(uses > 0, problem.value[picks[who, slot]], np.inf)
                out = int(np.argmin(value))
                picks[who[out], slot[out]] = -1


def _apply(picks: Options, moves: _Moves) -> None:
    picks[moves.shopper, moves.slot] = moves.to


def _sums(code: npt.NDArray[np.int32], amount: Floats) -> Floats:
    """Running sums within each code, in the order given, the own amount included."""
    order = np.argsort(code, kind="stable")
    total = np.cumsum(amount[order])
    sorted_codes = code[order]
    starts = np.flatnonzero(np.concatenate([[True], np.diff(sorted_codes) != 0])) if len(code) else np.zeros(0, int)
    before = np.concatenate([[0.0], total])[starts]
    sums = np.empty(len(code))
    sums[order] = total - np.repeat(before, np.diff(np.append(starts, len(code))))
    return sums
