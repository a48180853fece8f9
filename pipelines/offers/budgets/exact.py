"""The allocation as a linear program for HiGHS (through SciPy), where it is small enough to be solved exactly.

Shoppers whose choice hangs on the last digits of the shadow prices are few; solved together against what the others
leave, they bring the last ten-thousandths of the value, and prices of the goods that are exact for them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import Bounds, LinearConstraint, linprog, milp
from scipy.sparse import coo_array, vstack

from pipelines.offers.budgets.problem import Floats, Problem

_NODES = 200  # of branch and bound: a count and not a time, so that the plan is the same on every machine
_CLOSE = 1e-5
_WHOLE = 1e-5  # a part so close to 1 is one: HiGHS holds its constraints to 1e-7


@dataclass(frozen=True)
class Solved:
    """What HiGHS found.

    Attributes:
        picks: (shoppers, slots) options of the solution's whole parts, -1: none.
        prices: of the goods; None for an integer program.
        value: of the program, fractions of options included.
    """

    picks: npt.NDArray[np.int64]
    prices: list[Floats] | None
    value: float


def solve(problem: Problem, *, whole: bool = False) -> Solved | None:
    """Solve the relaxation, or the integer program itself within so many nodes; None: HiGHS gave up."""
    rows, limits, counts = _constraints(problem)
    if whole:
        with _quiet():
            found = milp(
                -problem.value,
                integrality=np.ones(len(problem.value)),
                bounds=Bounds(0, 1),
                constraints=LinearConstraint(rows, ub=limits),
                options={"node_limit": _NODES, "mip_rel_gap": _CLOSE},
            )
    else:
        found = linprog(-problem.value, A_ub=rows, b_ub=limits, bounds=(0, 1), method="highs")
    if found.x is None:
        return None
    prices = None
    if not whole:
        marginals = np.maximum(0.0, -np.asarray(found.ineqlin.marginals))
        prices, start = [], 0
        for good, (held, count) in zip(problem.goods, counts, strict=True):
            price = np.zeros(len(good.limits))
            price[held] = marginals[start : start + count]
            prices.append(price)
            start += count
    return Solved(_whole(problem, np.asarray(found.x)), prices, -float(found.fun))


def _constraints(problem: Problem) -> tuple[coo_array, Floats, list[tuple[npt.NDArray[np.int64], int]]]:
    """Rows of the program, goods first, their limits, and for each kind of good which ones have a row."""
    options = np.arange(len(problem.value))
    blocks, limits, counts = [], [], []
    for good in problem.goods:
        drawn = (good.codes >= 0) & (good.use > 0) & (good.limits[good.codes] < np.inf)
        held, row = np.unique(good.codes[drawn], return_inverse=True)
        blocks.append(_block(row, options[drawn], good.use[drawn], len(held), len(options)))
        limits.append(good.limits[held])
        counts.append((held.astype(np.int64), len(held)))
    shopper = problem.shopper.astype(np.int64)
    blocks.append(_block(shopper, options, np.ones(len(options)), problem.shoppers, len(options)))
    limits.append(np.full(problem.shoppers, float(problem.slots)))
    rules = [(problem.item, np.ones(len(options))), (problem.campaign, problem.caps[problem.campaign].astype(float))]
    for codes, cap in rules if problem.slots > 1 else []:
        key = shopper * (int(codes.max(initial=0)) + 1) + codes
        _, first, row, size = np.unique(key, return_index=True, return_inverse=True, return_counts=True)
        binds = (size > cap[first]) & (cap[first] < problem.slots)
        bound = np.flatnonzero(binds[row])
        place = (np.cumsum(binds) - 1)[row[bound]]
        blocks.append(_block(place, bound, np.ones(len(bound)), int(binds.sum()), len(options)))
        limits.append(cap[first][binds])
    return vstack(blocks, format="csr"), np.concatenate(limits), counts


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what HiGHS prints from C++ while it branches off standard output, where a command's JSON goes."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def _block(
    row: npt.NDArray[np.int64], column: npt.NDArray[np.int64], use: Floats, rows: int, columns: int
) -> coo_array:
    return coo_array((use, (row, column)), shape=(rows, columns))


def _whole(problem: Problem, x: Floats) -> npt.NDArray[np.int64]:
    taken = np.flatnonzero(x > 1 - _WHOLE)
    picks = np.full((problem.shoppers, problem.slots), -1, np.int64)
    shopper = problem.shopper[taken]
    order = np.argsort(shopper, kind="stable")
    shopper, taken = shopper[order], taken[order]
    slot = np.arange(len(taken)) - np.searchsorted(shopper, shopper)
    picks[shopper, slot] = taken
    return picks
