"""The last hundredths of a budget: two shoppers' moves at once, one that frees and one that takes.

What is left of a good when no single move fits any more is less than one option uses, and with many small budgets
these remainders add up. A pair of moves, one shopper to a cheaper option or to none and another to a dearer one, uses
the remainder nearly up; of all pairs near the shadow prices the one of the highest gain is taken.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipelines.offers.budgets.problem import Bools, Floats, Problem
from pipelines.offers.budgets.repair import fits_shopper

_SWEEPS, _PAIRS = 12, 4
_NEAR = 200  # moves each way for a good, those that lose least at its price
_SMALL = 1e-7  # a remainder worth less than this share of the plan is let be
Options = npt.NDArray[np.int64]


@dataclass(frozen=True)
class _Moves:
    shopper: Options
    slot: Options
    at: Options
    to: Options
    gain: Floats
    loss: Floats


def polish(problem: Problem, reduced: Floats, prices: list[Floats], picks: Options) -> None:
    """Use remainders up, in place; every step keeps the limits and gains."""
    total = float(problem.value[picks[picks >= 0]].sum())
    for _ in range(_SWEEPS):
        gained = _sweep(problem, reduced, prices, picks, _SMALL * total)
        total += gained
        if gained <= 10 * _SMALL * total:
            break


def _sweep(problem: Problem, reduced: Floats, prices: list[Floats], picks: Options, small: float) -> float:
    used = problem.used(picks[picks >= 0])
    left = [good.limits - one for good, one in zip(problem.goods, used, strict=True)]
    lost = [np.where(price > 0, price * np.where(price > 0, one, 0.0), 0.0)
            for price, one in zip(prices, left, strict=True)]  # fmt: skip
    worst = [(float(lost[number][code]), number, int(code)) for number in range(len(left))
             for code in np.flatnonzero(lost[number] > small)]  # fmt: skip
    if not worst:
        return 0.0
    moves = _moves(problem, reduced, picks)
    by_good = [_of_goods(problem, number, moves) for number in range(len(left))]
    gained = 0.0
    for _, number, code in sorted(worst, reverse=True):
        ups, downs = (index.get(code) for index in by_good[number])
        if ups is None:
            continue
        for _ in range(_PAIRS):
            gain = _pair(problem, moves, number, code, ups, downs, left, picks)
            if gain <= 0:
                break
            gained += gain
    return gained


def _moves(problem: Problem, reduced: Floats, picks: Options) -> _Moves:
    """Every move of one slot that keeps the shopper's own rules."""
    parts: list[tuple[Options, Options, Options, Options]] = []
    for slot in range(problem.slots):
        for width, options in problem.columns():
            who = np.flatnonzero(fits_shopper(problem, picks, slot, width, options))
            parts.append((who, np.full(len(who), slot), picks[who, slot], options.start + who))
        who = np.flatnonzero(picks[:, slot] >= 0)
        parts.append((who, np.full(len(who), slot), picks[who, slot], np.full(len(who), -1)))
    shopper, slot_, at, to = (np.concatenate(field) for field in zip(*parts, strict=True))
    gain = np.where(to >= 0, problem.value[to], 0.0) - np.where(at >= 0, problem.value[at], 0.0)
    loss = np.where(at >= 0, reduced[at], 0.0) - np.where(to >= 0, reduced[to], 0.0)
    return _Moves(shopper, slot_, at, to, gain, loss)


def _change(problem: Problem, number: int, code: int, at: Options, to: Options) -> Floats:
    """How much more of one good the moves use."""
    good = problem.goods[number]
    more: Floats = np.where((to >= 0) & (good.codes[to] == code), good.use[to], 0.0)
    return more - np.where((at >= 0) & (good.codes[at] == code), good.use[at], 0.0)


def _of_goods(problem: Problem, number: int, moves: _Moves) -> tuple[dict[int, Options], dict[int, Options]]:
    """For each good of a kind the moves that take more of it, and those that free some, the nearest first."""
    good = problem.goods[number]
    found = []
    to = np.where(moves.to >= 0, good.codes[moves.to], -1)
    at = np.where(moves.at >= 0, good.codes[moves.at], -1)
    use_to, use_at = np.where(to >= 0, good.use[moves.to], 0.0), np.where(at >= 0, good.use[moves.at], 0.0)
    more = use_to - np.where(to == at, use_at, 0.0)
    less = use_at - np.where(to == at, use_to, 0.0)
    for codes, amount in ((to, more), (at, less)):
        rows = np.flatnonzero((codes >= 0) & (amount > 0))
        order = rows[np.lexsort((moves.loss[rows] / amount[rows], codes[rows]))]
        names, starts = np.unique(codes[order], return_index=True)
        ends = [*starts[1:].tolist(), len(order)]
        groups = zip(names.tolist(), starts.tolist(), ends, strict=False)
        found.append({name: order[start : min(end, start + _NEAR)] for name, start, end in groups})
    return found[0], found[1]


def _fitting(problem: Problem, moves: _Moves, rows: Options, left: list[Floats], number: int, code: int) -> Bools:
    """Which moves are still there to make and fit into every good but this one."""
    at, to = moves.at[rows], moves.to[rows]
    fits = np.ones(len(rows), bool)
    for other, (good, room) in enumerate(zip(problem.goods, left, strict=True)):
        codes = np.where(to >= 0, good.codes[to], -1)
        same = (at >= 0) & (codes == good.codes[at])
        needs = np.where(codes >= 0, good.use[to], 0.0) - np.where(same, good.use[at], 0.0)
        exempt = (codes == code) if other == number else np.zeros(len(rows), bool)
        fits &= exempt | (codes < 0) | (needs <= np.maximum(0.0, room[codes]))
    return fits


def _pair(
    problem: Problem,
    moves: _Moves,
    number: int,
    code: int,
    ups: Options,
    downs: Options | None,
    left: list[Floats],
    picks: Options,
) -> float:
    """Make the best move into the good, alone or with one out of it; return what it gains, 0: there was none."""
    chosen = []
    for rows in (ups, np.zeros(0, np.int64) if downs is None else downs):
        rows = rows[picks[moves.shopper[rows], moves.slot[rows]] == moves.at[rows]]
        chosen.append(rows[_fitting(problem, moves, rows, left, number, code)])
    up, down = chosen
    if not len(up):
        return 0.0
    takes = _change(problem, number, code, moves.at[up], moves.to[up])
    frees = np.append(-_change(problem, number, code, moves.at[down], moves.to[down]), 0.0)
    gain = moves.gain[up][:, None] + np.append(moves.gain[down], 0.0)[None, :]
    who = np.append(moves.shopper[down], -1)
    may = (takes[:, None] - frees[None, :] <= left[number][code]) & (moves.shopper[up][:, None] != who[None, :])
    gain = np.where(may, gain, -np.inf)
    for best in np.argsort(-gain, axis=None, kind="stable")[:8].tolist():
        row, column = divmod(best, gain.shape[1])
        if gain[row, column] <= 1e-12:
            return 0.0
        pair = [int(up[row])] + ([int(down[column])] if column < len(down) else [])
        if _make(problem, moves, pair, left, picks):
            return float(gain[row, column])
    return 0.0


def _make(problem: Problem, moves: _Moves, rows: list[int], left: list[Floats], picks: Options) -> bool:
    """Make these moves together where everything still holds."""
    changed = []
    for row in rows:
        for good, room in zip(problem.goods, left, strict=True):
            for option, sign in ((int(moves.at[row]), 1.0), (int(moves.to[row]), -1.0)):
                if option >= 0 and good.codes[option] >= 0:
                    code = int(good.codes[option])
                    changed.append((room, code, float(room[code])))
                    room[code] += sign * good.use[option]
    if any(room[code] < 0 for room, code, _ in changed):
        for room, code, before in reversed(changed):
            room[code] = before
        return False
    for row in rows:
        picks[moves.shopper[row], moves.slot[row]] = moves.to[row]
    return True
