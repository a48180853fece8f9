"""How good an estimate of uplift is: average effects with intervals, whom the groups have in common, the order's worth.

Area under the uplift curve and Qini: Radcliffe, "Using control groups to target on predicted lift", 2007, here from
unbiased effects of rows (`models.uplift.meta_learners.row_effects`), so that levels of unequal chance count rightly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from configs.errors import FacingsError
from models.dataset import BoolArray, FloatArray, IntArray
from models.uplift.meta_learners import Experience, Nuisance


@dataclass(frozen=True)
class Interval:
    """An estimate and its 95 % interval."""

    value: float
    low: float
    high: float


def average_effect(effects: FloatArray, data: Experience, rows: BoolArray | None = None) -> Interval:
    """Mean of one level's effects of rows with its interval, by the groups' sums (normal approximation).

    Args:
        effects: of one level; shape (rows,).
        data: whose groups count.
        rows: mean over these only; shape (rows,).
    """
    chosen = np.ones(len(effects), bool) if rows is None else rows
    if not chosen.any():
        raise FacingsError("There is no row to take an average effect of.")
    mean = float(effects[chosen].mean())
    assert data.group is not None
    sums = np.bincount(data.group[chosen], effects[chosen] - mean)
    groups = len(np.unique(data.group[chosen]))
    error = float(np.sqrt((sums**2).sum() * groups / max(groups - 1, 1)) / chosen.sum())
    return Interval(mean, mean - 1.96 * error, mean + 1.96 * error)


def overlap(nuisance: Nuisance, data: Experience, *, level: int = 1, bins: int = 10) -> pd.DataFrame:
    """Whom the level and the control have in common: rows of each by propensity of the level.

    Where one of them is absent nothing is known of the effect, and where it is rare a few rows speak for many.

    Returns:
        low, high (bounds of the propensity among the two), rows, treated, control, weight (the largest inverse
        propensity of a row); a row for each of `bins` equal widths that is not empty.
    """
    pair = np.isin(data.level, [0, level])
    chance = nuisance.propensity[pair, level] / (nuisance.propensity[pair, level] + nuisance.propensity[pair, 0])
    treated = data.level[pair] == level
    place = np.minimum((chance * bins).astype(np.int64), bins - 1)
    table = pd.DataFrame(
        {
            "low": place / bins,
            "high": (place + 1) / bins,
            "rows": 1,
            "treated": treated.astype(np.int64),
            "control": (~treated).astype(np.int64),
            "weight": np.where(treated, 1 / chance, 1 / np.maximum(1 - chance, 1e-12)),
        }
    )
    sums = {name: (name, "sum") for name in ("rows", "treated", "control")}
    return table.groupby(["low", "high"]).agg(**sums, weight=("weight", "max")).reset_index()


def effective_sample(nuisance: Nuisance, data: Experience) -> FloatArray:
    """How many rows of equal weight the rows of each level are worth: (Σ w)² / Σ w²; shape (levels,)."""
    weight = 1 / nuisance.propensity[np.arange(len(data.level)), data.level]
    ones, squares = np.bincount(data.level, weight), np.bincount(data.level, weight**2)
    return np.asarray(ones**2 / squares, np.float64)


@dataclass(frozen=True)
class Targeting:
    """How good an order by uplift is; each with its 95 % interval by resampling groups.

    Attributes:
        auuc: mean, over shares from 0 to 1, of the effect per row of all when that share, best first, is treated.
        qini: auuc less that of a random order.
        at: the effect per treated row when this share is treated.
        curve: share, gain (the effect per row of all); a hundred steps.
    """

    auuc: Interval
    qini: Interval
    at: dict[float, Interval]
    curve: pd.DataFrame


def targeting(
    scores: FloatArray,
    effects: FloatArray,
    *,
    group: IntArray | None = None,
    shares: Sequence[float] = (0.1, 0.3, 0.5),
    resamples: int = 500,
    seed: int = 0,
) -> Targeting:
    """Judge an order on rows that it was not learned from.

    Args:
        scores: the higher, the sooner treated; equal ones are treated together. Shape (rows,).
        effects: unbiased effects of the same rows: `row_effects` of a level. Shape (rows,).
        group: rows that are not independent, as in `Experience`.
        shares: of `at`; above 0, at most 1.
        resamples: how many, of the percentile bootstrap.
        seed: of the resamples.

    Raises:
        FacingsError: no row, lengths differ, or values that are not finite.
    """
    if not len(scores) or scores.shape != effects.shape or not (np.isfinite(scores) & np.isfinite(effects)).all():
        raise FacingsError(f"Targeting needs finite scores and effects of the same rows, got {scores.shape} of them.")
    order = np.argsort(-scores, kind="stable")
    ordered, values = scores[order], effects[order]
    ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))  # of ties
    groups = np.arange(len(scores)) if group is None else np.unique(group, return_inverse=True)[1]
    of_row = groups[order]
    grid = np.unique(np.concatenate([np.linspace(0, 1, 101), shares]))
    random = np.random.default_rng(seed)
    count = int(of_row.max()) + 1

    def gains(weights: FloatArray) -> FloatArray:
        treated = np.concatenate([[0.0], np.cumsum(weights)[ends]]) / weights.sum()
        gained = np.concatenate([[0.0], np.cumsum(weights * values)[ends]]) / weights.sum()
        return np.asarray(np.interp(grid, treated, gained), np.float64)

    drawn = [
        gains(np.bincount(random.integers(count, size=count), minlength=count)[of_row].astype(np.float64) + 1e-12)
        for _ in range(resamples)
    ]
    curves = np.array([gains(np.ones(len(values))), *drawn])
    area = np.trapezoid(curves, grid, axis=1)
    places = np.searchsorted(grid, shares)
    return Targeting(
        auuc=_percentiles(area),
        qini=_percentiles(area - curves[:, -1] / 2),
        at={share: _percentiles(curves[:, place] / share) for share, place in zip(shares, places, strict=True)},
        curve=pd.DataFrame({"share": grid, "gain": curves[0]}),
    )


def _percentiles(values: FloatArray) -> Interval:
    """The first is the estimate, the others are its resamples."""
    low, high = np.quantile(values[1:], [0.025, 0.975])
    return Interval(float(values[0]), float(low), float(high))
