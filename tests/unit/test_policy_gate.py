"""A policy takes over only where logged decisions can tell that it earns more; bad ones are refused for what is bad."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from configs.recipe import GateRecipe
from pipelines.training.gate import Check, Kind
from pipelines.training.policy_gate import judge_model, judge_policy
from tests.command import facings

RULES = GateRecipe()
DEPTHS = (0.0, 0.1, 0.2, 0.4)  # discounts among which a policy chooses; the profit of a sale falls with them
BUYS = np.array([0.10, 0.14, 0.17, 0.20])
PROFIT = 100 * (0.4 - np.array(DEPTHS))
VALUE = BUYS * PROFIT  # 4.0, 4.2, 3.4, 0.0


def log_of(
    logged: np.ndarray, target: np.ndarray, *, rows: int = 20_000, seed: int = 0, bold: float = 1.0
) -> pl.DataFrame:
    """Decisions of the policy `logged` (chances of the depths), with what `target` would do, and a model of the reward.

    With `bold` above 1 the model exaggerates how much better its favourites are.
    """
    random = np.random.default_rng(seed)
    keen = random.gamma(4, 1 / 4, rows)
    action = random.choice(len(DEPTHS), rows, p=logged)
    reward = (random.random(rows) < np.minimum(1, keen * BUYS[action])) * PROFIT[action]
    told = VALUE.mean() + bold * (keen[:, None] * VALUE - VALUE.mean())
    return pl.DataFrame({
        "decision_id": [f"d{number}" for number in range(rows)],
        "action": [f"{DEPTHS[one]:g}" for one in action],
        "propensity": logged[action],
        "reward": reward,
        "target_probability": target[action],
        "model_logged": told[np.arange(rows), action],
        "model_target": told @ target,
        "slice": np.where(np.arange(rows) % 4 == 0, "cold", "known"),
    })  # fmt: skip


LOGGED = np.array([0.4, 0.1, 0.1, 0.4])
BETTER = np.array([0.45, 0.45, 0.05, 0.05])


def refused(checks: list[Check]) -> list[str]:
    return [check.name for check in checks if not check.passed]


def test_a_policy_that_earns_more_takes_over_and_the_same_one_only_refreshes() -> None:
    assert refused(judge_policy(Kind.REPLACEMENT, log_of(LOGGED, BETTER), RULES)) == []
    assert refused(judge_policy(Kind.REPLACEMENT, log_of(LOGGED, LOGGED), RULES)) == ["value"]
    assert refused(judge_policy(Kind.REFRESH, log_of(LOGGED, LOGGED), RULES)) == []


def burns_discounts(seed: int = 0) -> pl.DataFrame:
    return log_of(LOGGED, np.array([0.0, 0.1, 0.1, 0.8]), seed=seed)


def without_propensities(seed: int = 0) -> pl.DataFrame:
    return log_of(LOGGED, BETTER, seed=seed).with_columns(propensity=pl.lit(None, pl.Float64))


def never_explored(seed: int = 0) -> pl.DataFrame:
    return log_of(np.array([0.0, 0.0, 0.0, 1.0]), BETTER, seed=seed)


def hardly_explored(seed: int = 0) -> pl.DataFrame:
    return log_of(np.array([0.0025, 0.0025, 0.0025, 0.9925]), np.array([0.0, 1.0, 0.0, 0.0]), seed=seed)


def propensities_that_are_wrong(seed: int = 0) -> pl.DataFrame:
    return log_of(LOGGED, BETTER, seed=seed).with_columns(propensity=pl.col("propensity") * 0.7)


def overconfident(seed: int = 0) -> pl.DataFrame:
    return log_of(LOGGED, BETTER, bold=3.0, seed=seed)


def too_few(seed: int = 0) -> pl.DataFrame:
    return log_of(LOGGED, BETTER, rows=500, seed=seed)


def bad_for_cold_shoppers(seed: int = 0) -> pl.DataFrame:
    return log_of(LOGGED, BETTER, seed=seed).with_columns(
        reward=pl.when((pl.col("slice") == "cold") & (pl.col("action") != "0.4")).then(0.0)
        .when(pl.col("slice") == "cold").then(4.0).otherwise(pl.col("reward")),
    ).drop("model_logged", "model_target")  # fmt: skip


BAD_POLICIES = {
    "burns_discounts": (burns_discounts, "value"),
    "without_propensities": (without_propensities, "logged decisions"),
    "never_explored": (never_explored, "mean weight"),
    "hardly_explored": (hardly_explored, "effective sample size"),
    "propensities_that_are_wrong": (propensities_that_are_wrong, "mean weight"),
    "overconfident": (overconfident, "calibration"),
    "too_few": (too_few, "logged decisions"),
    "bad_for_cold_shoppers": (bad_for_cold_shoppers, "value of cold"),
}


@pytest.mark.parametrize("name", sorted(BAD_POLICIES))
def test_a_bad_policy_is_refused_for_what_is_wrong_with_it(name: str) -> None:
    make, reason = BAD_POLICIES[name]
    assert reason in refused(judge_policy(Kind.REPLACEMENT, make(), RULES))


def test_a_log_that_cannot_tell_does_not_refuse_a_model_that_has_other_evidence() -> None:
    check = judge_model(hardly_explored(), RULES)[0]
    assert (check.judged, check.passed) == (False, True)
    assert "not judged" in check.sentence


def test_a_model_is_refused_where_the_log_is_sure_of_a_loss_and_passes_where_it_is_sure_of_none() -> None:
    assert refused(judge_model(burns_discounts(), RULES))[0] == "logged decisions"
    better = judge_model(log_of(LOGGED, BETTER), RULES)
    assert better[0].judged and not refused(better)


def test_a_model_is_not_refused_for_a_loss_that_may_lie_within_the_margin_however_sure_it_is() -> None:
    little, more = ([0.4, 0.1 - part, 0.1, 0.4 + part] for part in (0.01, 0.03))
    check = judge_model(log_of(LOGGED, np.array(little)), RULES)[0]
    assert (check.judged, check.passed) == (False, True)
    assert refused(judge_model(log_of(LOGGED, np.array(more)), RULES)) == ["logged decisions"]


def test_of_policies_that_earn_the_same_few_take_over() -> None:
    same = np.array([0.425, 0.0, 0.15, 0.425])  # 2.21 a slot, as the logged one earns with .1, .1
    logged = np.array([0.4, 0.05, 0.15, 0.4])
    assert same @ VALUE == pytest.approx(logged @ VALUE, abs=0.12)
    passed = [
        not refused(judge_policy(Kind.REPLACEMENT, log_of(logged, same, rows=1500, seed=seed), RULES))
        for seed in range(40)
    ]
    assert sum(passed) <= 4


def test_the_command_says_whether_the_policy_may_take_over(tmp_path: Path) -> None:
    for name, log, passed in (("better", log_of(LOGGED, BETTER), True), ("burns", burns_discounts(), False)):
        log.write_parquet(tmp_path / f"{name}.parquet")
        told = facings("evaluate-policy", tmp_path / f"{name}.parquet", "--gate", "replacement", "--json").told
        assert told["gate"]["passed"] is passed
    assert "Gate (refresh): refused." in facings("evaluate-policy", tmp_path / "burns.parquet", "--gate", "refresh").out
