"""Shadow prices of limited goods: what one more unit of each is worth to the whole plan.

The Lagrangian dual, Σ limits·prices + Σ over shoppers of their best choice at these prices, is an upper bound of every
plan's value, convex in the prices; its slope in a price is what is left of the good. Each price walks along the sign
of its own slope with its own step, longer while the sign holds and half as long when it turns (Riedmiller and Braun's
Rprop, 1993): all prices at once, whatever their units, first on a sample of the shoppers and then on all of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pipelines.offers.budgets.exact import solve
from pipelines.offers.budgets.problem import Floats, Problem

_LEVELS = ((20_000, 60), (200_000, 30))  # shoppers of a sample, steps on it
_LAST, _MOST, _WORK = 16, 60, 6_000_000  # steps on all: at least, at most, and between them so many shoppers a plan
_SETTLED, _CHUNK = 20_000, 2_000  # shoppers for HiGHS at fixed prices
_EXACT = 1e-9
_LONGER, _SHORTER = 1.3, 0.5
_FIRST, _NEXT = 0.2, 0.02  # a first step, as a share of what a unit of the good brings on average


@dataclass(frozen=True)
class Bound:
    """Prices, the dual there, and the choice and the use that it brings."""

    prices: list[Floats]
    dual: float
    picks: npt.NDArray[np.int64]
    reduced: Floats


def bound(problem: Problem, prices: list[Floats]) -> Bound:
    """The dual at these prices, with the choice of greed (exact but for `Problem.crossing`: see `settle`)."""
    reduced = problem.reduced(prices)
    picks = problem.choose(reduced)
    total = _sum(reduced, picks)
    for good, price in zip(problem.goods, prices, strict=True):
        priced = price > 0
        total += float(good.limits[priced] @ price[priced])
    return Bound(prices, total, picks, reduced)


def settle(problem: Problem, found: Bound) -> Bound:
    """The same where greed may have missed a shopper's best choice: an upper bound again, and that choice.

    Two relaxations, without the caps and without one option an item, tell for most of these shoppers that greed was
    right. HiGHS chooses for the others, who are solved apart from each other at fixed prices; beyond _SETTLED of them,
    the smaller relaxation stands in for their part of the bound.
    """
    crossing = np.flatnonzero(problem.crossing)
    if not len(crossing):
        return found
    part, options = problem.part(crossing, 1.0), problem.options_of(crossing)
    reduced = found.reduced[options]
    free = replace(part, caps=np.full_like(part.caps, part.slots))
    apart = replace(part, item=np.arange(len(options), dtype=np.int32))
    upper = np.minimum(_each(reduced, free.choose(reduced)), _each(reduced, apart.choose(reduced)))
    missing = upper - _each(found.reduced, found.picks[crossing])
    open_ = np.flatnonzero(missing > _EXACT * np.maximum(upper, 1e-300))
    dual, picks = found.dual, found.picks.copy()
    for start in range(0, len(open_), _CHUNK):
        chunk = open_[start : start + _CHUNK]
        solved = None
        if start < _SETTLED:
            mine = part.options_of(chunk)
            one = replace(part.part(chunk, 1.0), value=reduced[mine], goods=())
            solved = solve(one)
        if solved is None:
            dual += float(missing[chunk].sum())
        else:
            own = np.where(solved.picks >= 0, options[mine[solved.picks]], -1)
            before = _each(found.reduced, picks[crossing[chunk]])
            after = _each(found.reduced, own)
            better = after > before
            picks[crossing[chunk[better]]] = own[better]
            dual += float((after - before)[better].sum())
    return replace(found, dual=dual, picks=picks)


def shadow_prices(problem: Problem, random: np.random.Generator) -> Bound:
    """Prices close to the dual's lowest point, found on samples and then on all shoppers."""
    scale = [_per_unit(problem, number) for number in range(len(problem.goods))]
    prices = [np.zeros(len(one)) for one in scale]
    step = _FIRST
    for size, steps in _LEVELS:
        if problem.shoppers > 2 * size:
            chosen = np.sort(random.choice(problem.shoppers, size, replace=False))
            part = problem.part(chosen.astype(np.int64), size / problem.shoppers)
            prices = _walk(part, prices, scale, step, steps).prices
            step = _NEXT
    return _walk(problem, prices, scale, step, min(max(_LAST, _WORK // problem.shoppers), _MOST))


def _walk(problem: Problem, prices: list[Floats], scale: list[Floats], first: float, steps: int) -> Bound:
    best = found = bound(problem, prices)
    step = [first * one for one in scale]
    before = [np.zeros(len(one)) for one in scale]
    for _ in range(steps):
        used = problem.used(found.picks[found.picks >= 0])
        moved = []
        for number, good in enumerate(problem.goods):
            price = found.prices[number]
            sign = np.sign(used[number] - good.limits)
            sign[(sign < 0) & (price == 0)] = 0  # nothing to lower
            turned = sign * before[number]
            step[number] = np.where(turned > 0, step[number] * _LONGER, step[number])
            step[number] = np.where(turned < 0, step[number] * _SHORTER, step[number])
            before[number] = sign
            moved.append(np.maximum(0.0, price + sign * step[number]))
        if not any(sign.any() for sign in before):
            break
        found = bound(problem, moved)
        if found.dual < best.dual:
            best = found
    return best


def _per_unit(problem: Problem, number: int) -> Floats:
    """What a unit of each good brings where it is used, on average; 0 where its use is 0 or it has no limit."""
    good = problem.goods[number]
    uses = (good.codes >= 0) & (good.use > 0)
    size = len(good.limits)
    value = np.bincount(good.codes[uses], problem.value[uses], minlength=size)
    use = np.bincount(good.codes[uses], good.use[uses], minlength=size)
    scale: Floats = np.divide(value, use, out=np.zeros(size), where=(use > 0) & (good.limits < np.inf))
    return scale


def _each(reduced: Floats, picks: npt.NDArray[np.int64]) -> Floats:
    """(shoppers,) what each shopper's options are worth at the prices."""
    each: Floats = np.where(picks >= 0, reduced[picks], 0.0).sum(axis=1)
    return each


def _sum(reduced: Floats, picks: npt.NDArray[np.int64]) -> float:
    return float(reduced[picks[picks >= 0]].sum())
