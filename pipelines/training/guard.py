"""The live guard: whether what serves since the last promotion does worse than what served before. Pure.

It may be asked at any time and as often as one likes: the bound of the difference holds at all times at once, so that
looking every ten minutes does not end in a false alarm (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, Time-uniform
central limit theory and asymptotic confidence sequences, Annals of Statistics, 2024).
"""

from __future__ import annotations

from math import log, sqrt
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import BaseModel, ConfigDict
from scipy.stats import norm

from configs.guard import GuardRules
from pipelines.training.gate import Check

SERVED = {
    "hour": pl.Datetime("us", "UTC"),  # of the decisions
    "store_id": pl.String(),
    "group": pl.String(),  # one of GROUPS
    "decisions": pl.Int64(),
    "reward": pl.Float64(),  # sum over the decisions, minor units
    "failed": pl.Int64(),  # decisions without a slate, or for a shopper whom the model did not serve
    "milliseconds": pl.Float64(),  # sum over the decisions; null: not written down
}
"""Decisions summed up by hour and store: shoppers who come together are no independent witnesses, hours nearly are."""
GROUPS = ("before", "after", "holdout_before", "holdout_after")


class Watch(BaseModel):
    """What the guard says: `regressed` where anything is worse beyond its margin and beyond chance."""

    model_config = ConfigDict(frozen=True)

    regressed: bool
    checks: list[Check]

    @property
    def why(self) -> str:
        """One line for the ledger."""
        return "; ".join(check.sentence for check in self.checks if not check.passed)


class _Rate(NamedTuple):
    """A ratio of sums over units, with the variance of one unit's part of it."""

    value: float
    variance: float
    units: int


def watch(served: pl.DataFrame, rules: GuardRules) -> Watch:
    """Compare what was served since the promotion with what was before.

    Where the holdout, whom no model serves, was seen on both sides, what changed for it as well (a holiday, a strike)
    is taken off.

    Args:
        served: columns of SERVED.
        rules: bounds.
    """
    checks = [
        _worse(served, rules, "reward", "minor units a decision", rules.margin, relative=True, up=False),
        _worse(served, rules, "failed", "of the decisions failed", rules.failed_margin, relative=False, up=True),
        _worse(served, rules, "milliseconds", "ms a decision", rules.slower - 1, relative=True, up=True),
    ]
    return Watch(regressed=any(not check.passed for check in checks), checks=checks)


def sequence_radius(units: int, deviation: float, confidence: float, *, best_at: int) -> float:
    """Half the width of a confidence sequence of a mean, one-sided, valid at all numbers of units at once.

    σ sqrt(2 (t ρ² + 1) / (t² ρ²) · ln(1 + sqrt(t ρ² + 1) / (2 α))), equation 14 of the paper, with ρ² such that it is
    narrowest about `best_at` units (their appendix B.2).

    >>> sequence_radius(100, 1.0, 0.95, best_at=100) > norm.ppf(0.95) / 10
    True
    """
    alpha = 1 - confidence
    rho = (2 * log(1 / (2 * alpha)) + log(1 + 2 * log(1 / (2 * alpha)))) / best_at
    spread = units * rho + 1
    return deviation * sqrt(2 * spread / (units * units * rho) * log(1 + sqrt(spread) / (2 * alpha)))


def _worse(
    served: pl.DataFrame, rules: GuardRules, column: str, unit: str, margin: float, *, relative: bool, up: bool
) -> Check:
    rates = {group: _rate(served.filter(pl.col("group") == group), column) for group in GROUPS}
    before, after = rates["before"], rates["after"]
    if before is None or after is None or min(before.units, after.units) < rules.units:
        return Check.unjudged(column, f"fewer than {rules.units} hours of stores before or since the promotion")
    # One half of the doubt for what is looked at again and again, the other for what lies behind and stands still.
    part = 1 - (1 - rules.confidence) / 2
    radius = sequence_radius(after.units, sqrt(after.variance), part, best_at=10 * rules.units)
    settled = before.variance / before.units
    change, held = after.value - before.value, ""
    holdout = rates["holdout_before"], rates["holdout_after"]
    if all(one is not None and one.units >= rules.units for one in holdout):
        old, new = holdout
        assert old is not None and new is not None
        change -= new.value - old.value
        settled += old.variance / old.units + new.variance / new.units
        held = f", less {new.value - old.value:+.3g} that the holdout changed by"
    radius += float(norm.ppf(part)) * sqrt(settled)
    worse = change if up else -change
    allowed = margin * before.value if relative else margin
    lost = worse > allowed and worse - radius > 0
    sentence = (
        f"{after.value:.4g} {unit} in {after.units} hours of stores since, {before.value:.4g} in {before.units} "
        f"before, change {change:+.3g} ± {radius:.3g}{held}; a loss above {allowed:.3g} and beyond chance takes it back"
    )
    return Check.of(column, not lost, sentence)


def _rate(part: pl.DataFrame, column: str) -> _Rate | None:
    """Ratio of sums with the variance of its linearised parts (Cochran, Sampling Techniques, 1977, section 2.11)."""
    part = part.drop_nulls(column)
    count = part["decisions"].to_numpy().astype(np.float64)
    if part.height < 2 or count.sum() == 0:
        return None
    total: npt.NDArray[np.float64] = part[column].to_numpy().astype(np.float64)
    value = float(total.sum() / count.sum())
    parts = (total - value * count) / count.mean()
    return _Rate(value, float(parts.var(ddof=1)), part.height)
