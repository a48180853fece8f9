"""The batch planner: shadow prices, a plan that holds, and a bound that says how far from the best it can be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pipelines.offers.budgets.dual import Bound, bound, settle, shadow_prices
from pipelines.offers.budgets.exact import solve
from pipelines.offers.budgets.polish import polish
from pipelines.offers.budgets.problem import Floats, Problem
from pipelines.offers.budgets.repair import fill, repair, strict

_MARGIN = 100_000  # shoppers whose choice is open when a plan is brought within its limits
_LINEAR = 4_000  # of them for HiGHS
_WHOLE = 100  # with so many at most, HiGHS is asked for the integer program as well
_GAP = 1e-4  # a plan so close to its bound, relatively, is good enough: a tenth of what is promised
_WIDE = 8e-4  # above it the integer program is asked in a larger plan too, for the shoppers that are most open
_OPEN = (100, 400)  # how many of them, in turn; each is seconds of HiGHS
_ROUNDS = 4
_SAME = 1e-6  # a bound that falls by less is as low as it gets
Options = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Allocation:
    """A plan: (shoppers, slots) options, -1: none; its value; an upper bound of every plan's; the goods' prices."""

    picks: Options
    value: float
    dual: float
    prices: list[Floats]

    @property
    def gap(self) -> float:
        """How far the value may be below the best, as a share of the bound."""
        return max(0.0, 1 - self.value / self.dual) if self.dual > 0 else 0.0


def _quiet(line: str) -> None:
    del line


def allocate(problem: Problem, *, seed: int = 0, progress: Callable[[str], None] = _quiet) -> Allocation:
    """Find a plan of nearly the highest value; it breaks no limit and no rule.

    The same problem and seed give the same plan.
    """
    if not problem.shoppers:
        return Allocation(
            np.zeros((0, problem.slots), np.int64), 0.0, 0.0, [np.zeros(len(good.limits)) for good in problem.goods]
        )
    at = settle(problem, shadow_prices(problem, np.random.default_rng(seed)))
    dual = at.dual
    progress(f"plan: shadow prices found, no plan is worth more than {dual:,.2f}")
    best = _repaired(problem, at)
    for _ in range(_ROUNDS):
        progress(f"plan: worth {_value(problem, best):,.2f}, {_gap(problem, best, dual):.4%} below the bound at most")
        if _gap(problem, best, dual) <= _GAP:
            break
        linear = _improved(problem, at, best, _LINEAR, whole=False)
        if linear is None:
            break
        best, prices = linear
        tried = settle(problem, bound(problem, prices or at.prices))
        if tried.dual >= dual * (1 - _SAME):
            break
        at, dual = tried, tried.dual
        best = max(best, _repaired(problem, at), key=lambda picks: _value(problem, picks))
    if _gap(problem, best, dual) > _GAP:
        best = _polished(problem, at, best)
        progress(f"plan: worth {_value(problem, best):,.2f}, {_gap(problem, best, dual):.4%} below the bound at most")
    small = problem.shoppers <= _WHOLE
    for size in (_WHOLE,) if small else _OPEN:
        if _gap(problem, best, dual) > (_GAP if small else _WIDE):
            integer = _improved(problem, at, best, size, whole=True)
            best = best if integer is None else integer[0]
    return Allocation(best, _value(problem, best), dual, at.prices)


def _value(problem: Problem, picks: Options) -> float:
    return float(problem.value[picks[picks >= 0]].sum())


def _gap(problem: Problem, picks: Options, dual: float) -> float:
    return 1 - _value(problem, picks) / dual if dual > 0 else 0.0


def _margin(problem: Problem, at: Bound, picks: Options) -> Floats:
    """(shoppers,) how large a change of all prices, as a share of them, could change a shopper's choice."""
    priced = problem.value - at.reduced
    near = np.full(problem.shoppers, np.inf)
    for pick in picks.T:
        held = pick >= 0
        worth, cost = np.where(held, at.reduced[pick], 0.0), np.where(held, priced[pick], 0.0)
        none = np.divide(np.abs(worth), cost, out=np.full(len(worth), np.inf), where=held & (cost > 0))
        np.minimum(near, none, out=near)
        for width, options in problem.columns():
            other = np.abs(worth[:width] - at.reduced[options])
            scale = cost[:width] + priced[options]
            may = (scale > 0) & (pick[:width] != np.arange(options.start, options.stop))
            share = np.divide(other, scale, out=np.full(width, np.inf), where=may)
            np.minimum(near[:width], share, out=near[:width])
    return near


def _nearest(near: Floats, size: int) -> Options:
    """The `size` shoppers of the smallest margin, ascending."""
    if len(near) <= size:
        return np.arange(len(near))
    return np.sort(np.argpartition(near, size)[:size])


def _rest(problem: Problem, picks: Options, shoppers: Options) -> tuple[Problem, Options, list[Floats]]:
    """The problem of some shoppers with what the others leave of every good, its options, and what is left."""
    part = problem.part(shoppers, 1.0)
    others = picks.copy()
    others[shoppers] = -1
    left = [good.limits - used for good, used in zip(problem.goods, problem.used(others[others >= 0]), strict=True)]
    goods = tuple(replace(good, limits=np.maximum(0.0, one)) for good, one in zip(part.goods, left, strict=True))
    return replace(part, goods=goods), problem.options_of(shoppers), left


def _repaired(problem: Problem, at: Bound) -> Options:
    """The choice at these prices, brought within the limits by the shoppers nearest to another choice."""
    near = _margin(problem, at, at.picks)
    size = _MARGIN
    while size < problem.shoppers:
        shoppers = _nearest(near, size)
        part, options, left = _rest(problem, at.picks, shoppers)
        if all((one >= 0).all() for one in left):
            own = _within(at.picks[shoppers], options)
            found = repair(part, at.reduced[options], own)
            picks = at.picks.copy()
            picks[shoppers] = np.where(found >= 0, options[found], -1)
            return picks
        size *= 4
    return repair(problem, at.reduced, at.picks)


def _polished(problem: Problem, at: Bound, picks: Options) -> Options:
    """The plan with the remainders of its goods used up."""
    shoppers = _nearest(_margin(problem, at, picks), _MARGIN)
    part, options, _ = _rest(problem, picks, shoppers)
    own = _within(picks[shoppers], options)
    polish(part, at.reduced[options], at.prices, own)
    strict(part, own)
    tried = picks.copy()
    tried[shoppers] = np.where(own >= 0, options[own], -1)
    return tried if _value(problem, tried) > _value(problem, picks) else picks


def _within(picks: Options, options: Options) -> Options:
    """Options of the whole problem as options of the part that has `options`."""
    order = np.argsort(options)
    return np.where(picks >= 0, order[np.searchsorted(options, np.maximum(picks, 0), sorter=order) % len(order)], -1)


def _improved(
    problem: Problem, at: Bound, picks: Options, size: int, *, whole: bool
) -> tuple[Options, list[Floats] | None] | None:
    """The plan with its most open shoppers solved by HiGHS, never worse; None: HiGHS gave up."""
    shoppers = _nearest(_margin(problem, at, picks), size)
    part, options, _ = _rest(problem, picks, shoppers)
    solved = solve(part, whole=whole)
    if solved is None:
        return None
    prices = None
    if solved.prices is not None:
        prices = []
        for good, price, before in zip(part.goods, solved.prices, at.prices, strict=True):
            seen = np.zeros(len(price), bool)
            seen[good.codes[good.codes >= 0]] = True
            prices.append(np.where(seen, price, before))
    found = solved.picks
    reduced = part.reduced(prices or at.prices)
    fill(part, reduced, found)
    tried = picks.copy()
    tried[shoppers] = np.where(found >= 0, options[found], -1)
    return (tried if _value(problem, tried) > _value(problem, picks) else picks), prices
