"""What a policy would have earned, judged from what another one did: IPS, SNIPS, direct, doubly robust and switch.

With w = target_probability / propensity, r the reward, q the reward model of the logged action and m what it expects
under the target, each a mean over the rows:
- ips: w r. Unbiased where the propensities are true and positive wherever the target acts; its spread grows with w.
- snips: sum(w r) / sum(w). Slightly biased, steadier, never outside the rewards seen.
- dm (direct method): m. Steady, and as wrong as the model; its interval tells chance, never the model's error.
- dr (doubly robust): m + w (r - q). Unbiased where the propensities or the model are right.
- switch (Wang, Agarwal and Dudik 2017): dr where w is at most a threshold, dm beyond it; the threshold is the one with
  the least variance plus squared bound of the bias that leaving the correction out beyond it can bring.

Rows of one decision are taken together: decisions are what is independent (`pipelines.offers.evaluation.intervals`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from pipelines.offers.evaluation.intervals import Column, ratio_interval
from pipelines.offers.evaluation.policy_log import MODEL

ESTIMATORS = ("ips", "snips", "dm", "dr", "switch")
LEAST_ESS = 0.05
"""Below this share of effective rows an estimate rests on few of them: what the gate asks for, too."""
MEAN_WEIGHT_OFF = 0.1
"""The mean weight is 1 but for chance; further off, propensities are wrong or the target acts where the log did not."""
LEAST_EXPLORATION = 0.01
"""Below this smallest propensity, rare rows may decide everything."""
_TELLING = 30
_ENOUGH = 300  # effective rows; measured by benchmarks/ope_coverage.py
_BINS = 64
_BIASED = 0.25  # two-sided coverage of 95 % falls to 94.3 % at worst


@dataclass(frozen=True)
class Estimate:
    """A value with its interval; bounds are infinite where the log cannot bound it."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Estimates:
    """A policy, judged.

    Attributes:
        estimators: by name; None where it cannot be had (`why`).
        gains: the same less what the logged policy itself earned on the same rows.
        logged: the mean reward of the log.
        ess: effective sample size, sum(w)² / sum(w²), in rows.
        mean_weight: mean of w; 1 but for chance where the propensities are right.
        n, decisions: rows and different decisions.
        confidence: of the intervals; each bound alone holds with half the rest.
        switch_at: largest weight that switch corrects by; None: all, or no model.
        why: estimator → why there is none.
        warnings: sentences on what the numbers cannot be trusted for.
    """

    estimators: Mapping[str, Estimate | None]
    gains: Mapping[str, Estimate | None]
    logged: Estimate
    ess: float
    mean_weight: float
    n: int
    decisions: int
    confidence: float
    switch_at: float | None = None
    why: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def trusted(self) -> bool:
        """Whether effective sample size and mean weight allow to rely on an interval at all."""
        return self.ess >= LEAST_ESS * self.n and abs(self.mean_weight - 1) <= MEAN_WEIGHT_OFF

    def told(self) -> dict[str, Any]:
        """As JSON values; a bound that is infinite is null."""

        def one(estimate: Estimate | None) -> dict[str, float | None]:
            if estimate is None:
                return {"value": None, "low": None, "high": None}
            return {key: value if math.isfinite(value) else None for key, value in vars(estimate).items()}

        return {
            "estimators": {name: one(estimate) for name, estimate in self.estimators.items()},
            "gains": {name: one(estimate) for name, estimate in self.gains.items()},
            "logged": one(self.logged),
            "ess": self.ess,
            "mean_weight": self.mean_weight,
            "n": self.n,
            "decisions": self.decisions,
            "confidence": self.confidence,
            "switch_at": self.switch_at,
            "why": dict(self.why),
            "trusted": self.trusted,
            "warnings": list(self.warnings),
        }


def estimate(log: pl.DataFrame, *, confidence: float = 0.95) -> Estimates:
    """Judge the target policy of a checked log (`policy_log.check_log`).

    Args:
        log: a row for each action taken.
        confidence: of the intervals.
    """
    rewards, propensities = _column(log, "reward"), _column(log, "propensity")
    weights = _column(log, "target_probability") / propensities
    together = _grouping(log["decision_id"])
    counts = None if together is None else together(np.ones(log.height))
    squares = float(weights @ weights)
    total = float(weights.sum())
    ess = total * total / squares if squares else 0.0

    def judged(terms: Column, per: Column | None = None) -> Estimate:
        below = counts if per is None else _summed(per, together)
        return Estimate(*ratio_interval(_summed(terms, together), below, confidence=confidence))

    logged = judged(rewards)
    weighted = weights * rewards
    terms, threshold, why = _terms(log, rewards, weights)
    estimators: dict[str, Estimate | None] = dict.fromkeys(ESTIMATORS)
    gains: dict[str, Estimate | None] = dict.fromkeys(ESTIMATORS)
    for name, own in terms.items():
        estimators[name], gains[name] = judged(own), judged(own - rewards)
    if total > 0:
        seen = rewards[weights > 0]
        own_share = judged(weighted, weights)
        least, most = float(seen.min()), float(seen.max())
        estimators["snips"] = Estimate(own_share.value, max(own_share.low, least), min(own_share.high, most))
        # What each row adds to the difference of the two means, to first order.
        value, mean = own_share.value, total / log.height
        gains["snips"] = judged(weights * (rewards - value) / mean - (rewards - value))
    else:
        why["snips"] = "no row bears an action that the target ever takes: all weights are 0"
    return Estimates(
        estimators,
        gains,
        logged,
        ess,
        total / log.height,
        log.height,
        log.height if counts is None else len(counts),
        confidence,
        threshold if math.isfinite(threshold) else None,
        why,
        _warnings(log.height, ess, total / log.height, propensities, weighted),
    )


def _terms(log: pl.DataFrame, rewards: Column, weights: Column) -> tuple[dict[str, Column], float, dict[str, str]]:
    """What each row adds to each estimator that is a mean, switch's largest weight, and why there is no estimator."""
    terms = {"ips": weights * rewards}
    if MODEL[0] not in log.columns:
        reason = f"the log has no {' and '.join(MODEL)}: without a reward model there is nothing to expect from it"
        return terms, math.inf, dict.fromkeys(("dm", "dr", "switch"), reason)
    modelled, expected = (_column(log, name) for name in MODEL)
    correction = weights * (rewards - modelled)
    threshold = switch_threshold(weights, rewards - modelled, expected)
    terms |= {
        "dm": expected,
        "dr": expected + correction,
        "switch": expected + np.where(weights <= threshold, correction, 0.0),
    }
    return terms, threshold, {}


def switch_threshold(weights: Column, residuals: Column, expected: Column) -> float:
    """The largest weight that switch corrects by; infinite where it should correct all.

    Beyond a threshold the direct method stands alone. What that can cost is at most the model's error there, and this
    at most sqrt(P) sqrt(Q) (Cauchy-Schwarz), where P is the target's mass on those rows, mean(w), and Q is mean(w e²)
    there, e = r - q. The threshold has the least variance of the mean plus the square of this bound, of _BINS
    candidates between 1 and the largest weight for which the bound is at most _BIASED standard errors: more would show
    in the coverage of the interval. Corrections by weights below 1 are not worth leaving out.
    """
    most = float(weights.max(initial=0.0))
    if most <= 1:
        return math.inf
    edges = np.geomspace(1.0, most, _BINS)
    bins = np.searchsorted(edges, weights)  # bin b: edges[b - 1] < w <= edges[b]
    count = len(weights)

    def upto(values: Column) -> Column:
        """Sums over the rows with w <= edge, by edge."""
        return np.bincount(bins, values, minlength=_BINS + 1)[:_BINS].cumsum()

    correction = weights * residuals
    first = (expected.sum() + upto(correction)) / count
    second = (expected @ expected + upto(2 * expected * correction + correction * correction)) / count
    mass, squared = upto(weights), upto(correction * residuals)
    dropped, lost = (np.maximum(sums[-1] - sums, 0.0) / count for sums in (mass, squared))
    variance, bound = np.maximum(second - first**2, 0.0) / count, dropped * lost
    costs = np.where(bound <= _BIASED**2 * variance, variance + bound, np.inf)
    best = int(np.argmin(costs[::-1]))  # of equal ones the largest
    return math.inf if best == 0 else float(edges[_BINS - 1 - best])


def _column(log: pl.DataFrame, name: str) -> Column:
    return log[name].cast(pl.Float64).to_numpy()


def _grouping(ids: pl.Series) -> Callable[[Column], Column] | None:
    """What sums rows by decision; None where each row is a decision of its own."""
    if ids.n_unique() == len(ids):
        return None
    known = ids.unique().to_frame("id").with_row_index("code")
    codes = ids.to_frame("id").join(known, on="id", how="left", maintain_order="left")["code"].to_numpy()

    def together(values: Column) -> Column:
        return np.bincount(codes, values, minlength=known.height).astype(np.float64, copy=False)

    return together


def _summed(values: Column, together: Callable[[Column], Column] | None) -> Column:
    return values if together is None else together(values)


def _warnings(rows: int, ess: float, mean_weight: float, propensities: Column, weighted: Column) -> tuple[str, ...]:
    found = []
    if ess < LEAST_ESS * rows:
        found.append(
            f"Effective sample size is {ess:,.0f} of {rows:,} rows ({ess / rows:.1%}, below {LEAST_ESS:.0%}): the "
            "target does what was rarely tried, and a few rows decide; intervals may be far too narrow."
        )
    if abs(mean_weight - 1) > MEAN_WEIGHT_OFF:
        found.append(
            f"The mean weight is {mean_weight:.3f} and should be 1: propensities or target probabilities are wrong, "
            "the target acts where the log never did, or there are too few rows."
        )
    least = float(propensities.min())
    if least < LEAST_EXPLORATION:
        found.append(
            f"The smallest propensity is {least:.2g}: with so little exploration a single row may count for "
            f"{1 / least:,.0f}."
        )
    if LEAST_ESS * rows <= ess < _ENOUGH:
        found.append(
            f"Only {ess:,.0f} effective rows: where rewards are skewed, as money is, intervals hold less than they say "
            "(docs/evaluation.md)."
        )
    telling = int(np.count_nonzero(weighted))
    if telling < _TELLING:
        found.append(
            f"Only {telling:,} rows bear both a reward and a weight: too few for intervals to hold what they promise."
        )
    return tuple(found)
