"""What a closed loop came to: profit by policy and day, what it adds to dark screens, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict

from pipelines.closed_loop.config import LoopConfig
from pipelines.simulation.config import START
from pipelines.simulation.draws import Array
from pipelines.simulation.visits import Visits

DARK, ORACLE = "no_offer", "oracle"
TARGETING = ("popularity", "response_model")
PRODUCT = "facings"
RESAMPLES = 1_000
CONFIDENCE = 0.95


@dataclass
class Played:
    """What a policy's visits brought; each list has an array a day, over the visits of that day."""

    parts: dict[str, list[Array]] = field(default_factory=dict)

    @classmethod
    def empty(cls) -> Self:
        """Nothing yet."""
        return cls(
            {name: [] for name in ("day", "shopper", "screen", "known", "holdout", "expected", "dark", "profit")}
        )

    def add(self, visits: Visits, holdout: Array, *, expected: Array, dark: Array, profit: Array) -> None:
        """Note a day's visits.

        Args:
            visits: all of them.
            holdout: whose shopper is in the holdout.
            expected, dark: expected profit with what the screens showed, and had they shown nothing, in this state.
            profit: what the baskets brought.
        """
        rows = {
            "day": np.full(len(visits), visits.day),
            "shopper": visits.shopper,
            "screen": visits.placement >= 0,
            "known": visits.recognised,
            "holdout": holdout,
            "expected": expected,
            "dark": dark,
            "profit": profit,
        }
        for name, values in rows.items():
            self.parts[name].append(values)

    def total(self) -> float:
        """Expected profit so far, of all but the holdout."""
        return float(
            sum(part[~out].sum() for part, out in zip(self.parts["expected"], self.parts["holdout"], strict=True))
        )

    def column(self, name: str) -> Array:
        """One column over all visits."""
        return np.concatenate(self.parts[name])


class Estimate(BaseModel):
    """A value and its interval over shoppers; None: not defined."""

    model_config = ConfigDict(frozen=True)

    value: float | None
    low: float | None
    high: float | None


class DayFigures(BaseModel):
    """One day of one policy; money in major units, the holdout left out.

    Attributes:
        profit: of all baskets, as it happened. expected_profit: its expectation before the day's luck.
        incremental: expected profit less that of dark screens, each in its own town.
    """

    model_config = ConfigDict(frozen=True)

    day: int
    date: str
    visits: int
    profit: float
    expected_profit: float
    incremental: float


class PolicyFigures(BaseModel):
    """One policy over all days.

    Attributes:
        knows: what it knows.
        profit, expected_profit: sums over all visits.
        incremental: expected profit over that of dark screens, all days; what the shares are of.
        realised: the same of what happened.
        share_of_oracle: incremental over the oracle's.
        a_visit: expected profit that the slate adds to a visit that passes a screen, in its own town as it was then.
        recognised, unrecognised: the same for visits of shoppers whom a screen recognises, and of others.
    """

    model_config = ConfigDict(frozen=True)

    knows: str
    profit: float
    expected_profit: float
    incremental: Estimate
    realised: Estimate
    share_of_oracle: Estimate
    a_visit: float
    recognised: float
    unrecognised: float
    days: list[DayFigures]


class Figures(BaseModel):
    """All policies.

    Attributes:
        policies: by name.
        best_targeting: which of popularity and response-model targeting adds more.
        ratio_to_targeting: the product's incremental profit over that one's; no value where that adds nothing.
        visits, screen_visits, recognised_visits: that count. holdout_visits: left out for every policy.
    """

    model_config = ConfigDict(frozen=True)

    policies: dict[str, PolicyFigures]
    best_targeting: str
    ratio_to_targeting: Estimate
    visits: int
    screen_visits: int
    recognised_visits: int
    holdout_visits: int


def figures(config: LoopConfig, played: dict[str, Played], knows: dict[str, str]) -> Figures:
    """Sum up what was played; intervals are percentiles of a bootstrap over shoppers, the same draws for all."""
    any_one = played[DARK]
    counts = ~any_one.column("holdout")
    shopper = any_one.column("shopper")[counts]
    screen, known = any_one.column("screen")[counts], any_one.column("known")[counts]
    who, row = np.unique(shopper, return_inverse=True)
    weights = np.random.default_rng(config.seed).multinomial(len(who), np.full(len(who), 1 / len(who)), RESAMPLES)

    def sums(name: str, column: str) -> Array:
        return np.bincount(row, weights=played[name].column(column)[counts], minlength=len(who))

    expected = {name: sums(name, "expected") - sums(DARK, "expected") for name in played}
    realised = {name: sums(name, "profit") - sums(DARK, "profit") for name in played}
    best = max(TARGETING, key=lambda name: float(expected[name].sum()))
    told = {}
    for name, one in played.items():
        slate = (one.column("expected") - one.column("dark"))[counts]
        told[name] = PolicyFigures(
            knows=knows.get(name, "what was ingested into its home and what its own screens brought"),
            profit=_round(one.column("profit")[counts].sum()),
            expected_profit=_round(one.column("expected")[counts].sum()),
            incremental=_total(expected[name], weights),
            realised=_total(realised[name], weights),
            share_of_oracle=_ratio(expected[name], expected[ORACLE], weights),
            a_visit=_mean(slate[screen]),
            recognised=_mean(slate[screen & known]),
            unrecognised=_mean(slate[screen & ~known]),
            days=_days(one, any_one),
        )
    return Figures(
        policies=told,
        best_targeting=best,
        ratio_to_targeting=_ratio(expected[PRODUCT], expected[best], weights),
        visits=int(counts.sum()),
        screen_visits=int(screen.sum()),
        recognised_visits=int((screen & known).sum()),
        holdout_visits=int((~counts).sum()),
    )


def _days(one: Played, dark: Played) -> list[DayFigures]:
    found = []
    for number, day in enumerate(part[0] for part in one.parts["day"] if len(part)):
        keep = ~one.parts["holdout"][number]
        expected = one.parts["expected"][number][keep].sum()
        found.append(
            DayFigures(
                day=number + 1,
                date=str(START + timedelta(days=int(day))),
                visits=int(keep.sum()),
                profit=_round(one.parts["profit"][number][keep].sum()),
                expected_profit=_round(expected),
                incremental=_round(expected - dark.parts["expected"][number][keep].sum()),
            )
        )
    return found


def _total(values: Array, weights: Array) -> Estimate:
    low, high = np.quantile(weights @ values, _tails())
    return Estimate(value=_round(values.sum()), low=_round(low), high=_round(high))


def _ratio(ours: Array, theirs: Array, weights: Array) -> Estimate:
    """Of sums; without a value where the denominator is not above zero."""
    if theirs.sum() <= 0:
        return Estimate(value=None, low=None, high=None)
    above, below = weights @ ours, weights @ theirs
    known = below > 0
    low, high = np.quantile(above[known] / below[known], _tails())
    return Estimate(
        value=round(float(ours.sum() / theirs.sum()), 4), low=round(float(low), 4), high=round(float(high), 4)
    )


def _tails() -> list[float]:
    return [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]


def _mean(values: Array) -> float:
    return round(float(values.mean()), 4) if len(values) else 0.0


def _round(value: Any) -> float:
    return round(float(value), 2)
