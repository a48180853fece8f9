"""The live guard takes back what does worse, seldom anything else however often it looks, and never on too little."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from configs.guard import GuardRules
from pipelines.training.guard import SERVED, sequence_radius, watch

START = datetime(2026, 5, 4, tzinfo=UTC)
RULES = GuardRules()


def hours(
    group: str,
    days: int,
    *,
    reward: float = 50.0,
    failed: float = 0.01,
    took: float | None = 1.0,
    stores: int = 5,
    seed: int = 0,
) -> pl.DataFrame:
    """Ten hours a day of some stores, each with about forty decisions."""
    random = np.random.default_rng(seed)
    rows = []
    for hour in range(days * 10):
        for store in range(stores):
            count = int(random.poisson(40)) + 1
            busy = random.gamma(8, 1 / 8)  # what an hour's shoppers share
            rows.append((START + timedelta(hours=hour), f"s{store}", group, count,
                         float(random.poisson(count * reward * busy / 10) * 10), int(random.binomial(count, failed)),
                         None if took is None else count * took))  # fmt: skip
    return pl.DataFrame(rows, schema=SERVED, orient="row")


def failing(served: pl.DataFrame) -> list[str]:
    return [check.name for check in watch(served, RULES).checks if not check.passed]


@pytest.mark.parametrize(
    ("change", "name"),
    [({"reward": 40.0}, "reward"), ({"failed": 0.08}, "failed"), ({"took": 5.0}, "milliseconds")],
)
def test_what_does_worse_is_told_by_what_is_worse(change: dict[str, float], name: str) -> None:
    served = pl.concat([hours("before", 7), hours("after", 4, seed=1, **change)])
    assert failing(served) == [name]
    assert name in watch(served, RULES).why


@pytest.mark.parametrize(
    "change", [{}, {"reward": 60.0}, {"reward": 49.0}, {"failed": 0.015}, {"took": 2.0}, {"took": None}]
)
def test_what_does_as_well_or_better_or_little_worse_goes_on(change: dict[str, float]) -> None:
    assert failing(pl.concat([hours("before", 7), hours("after", 4, seed=1, **change)])) == []


def test_too_little_is_not_judged_and_says_so() -> None:
    found = watch(pl.concat([hours("before", 7), hours("after", 1, reward=0.0, stores=1)]), RULES)
    assert not found.regressed
    assert {check.judged for check in found.checks} == {False}
    assert not watch(pl.DataFrame(schema=SERVED), RULES).regressed


def test_what_befell_the_holdout_as_well_is_no_fault_of_the_version() -> None:
    strike = [hours("before", 7), hours("after", 4, reward=35.0, seed=1)]
    assert failing(pl.concat(strike)) == ["reward"]
    holdout = [hours("holdout_before", 7, seed=2), hours("holdout_after", 4, reward=35.0, seed=3)]
    assert failing(pl.concat([*strike, *holdout])) == []


def test_of_60_versions_that_change_nothing_looked_at_every_hour_none_to_speak_of_is_taken_back() -> None:
    alarms = 0
    for trial in range(60):
        before, after = hours("before", 5, stores=2, seed=trial), hours("after", 3, stores=2, seed=10_000 + trial)
        alarms += any(
            watch(pl.concat([before, after.head(looked)]), RULES).regressed for looked in range(12, after.height, 10)
        )
    assert alarms <= 2  # 1 % for each of two rates, and chance


def test_the_bound_of_a_sequence_covers_the_mean_at_all_times_at_once() -> None:
    walks = np.random.default_rng(4).normal(size=(1000, 2000)).cumsum(axis=1) / np.arange(1, 2001)
    radius = np.array([sequence_radius(count, 1.0, 0.95, best_at=100) for count in range(1, 2001)])
    missed = (walks[:, 10:] > radius[10:]).any(axis=1).mean()
    assert 0.005 < missed <= 0.05
