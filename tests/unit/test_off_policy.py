"""Off-policy evaluation: golden numbers, laws, coverage on known truth, and what a log may not hold."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.errors import FacingsError
from pipelines.offers.evaluation.estimators import ESTIMATORS, estimate, switch_threshold
from pipelines.offers.evaluation.intervals import ratio_interval
from pipelines.offers.evaluation.policy_log import check_log
from tests.command import facings

SMALL = pl.DataFrame(
    {
        "decision_id": ["a", "b", "c", "d"],
        "action": ["x", "y", "x", "z"],
        "propensity": [0.5, 0.25, 0.5, 0.8],
        "reward": [1.0, 0.0, 3.0, 2.0],
        "target_probability": [0.25, 0.5, 1.0, 0.0],
        "model_logged": [0.8, 0.2, 2.5, 1.5],
        "model_target": [0.5, 0.4, 2.5, 1.0],
    }
)


def bandit(rng: np.random.Generator, rows: int, *, explored: float, money: bool, slots: int = 1) -> pl.DataFrame:
    """A log of five actions whose chance of a reward depends on a context; `truth`: the target's value in each row."""
    context = np.repeat(rng.normal(size=rows // slots), slots)
    chance = 1 / (1 + np.exp(1.5 - context[:, None] * np.linspace(-1, 1, 5)))
    every = np.arange(rows)
    logs = np.full((rows, 5), explored / 5)
    logs[every, np.where(context > 0.5, 4, 1)] += 1 - explored
    target = np.exp(3 * chance) / np.exp(3 * chance).sum(1, keepdims=True)
    action = (rng.random(rows)[:, None] > logs.cumsum(1)).sum(1).clip(0, 4)
    size = np.exp(0.32) if money else 1.0
    reward = (rng.random(rows) < chance[every, action]) * (rng.lognormal(0, 0.8, rows) if money else 1.0)
    return pl.DataFrame(
        {
            "decision_id": (every // slots).astype(str),
            "action": [f"{one}:{slot}" for one, slot in zip(action, every % slots, strict=True)],
            "propensity": logs[every, action],
            "reward": reward,
            "target_probability": target[every, action],
            "model_logged": chance[every, action] * size,
            "model_target": (target * chance).sum(1) * size,
            "truth": (target * chance).sum(1) * size,
        }
    )


def test_the_estimators_are_what_their_formulas_say() -> None:
    found = estimate(check_log(SMALL))
    weights, rewards = np.array([0.5, 2, 2, 0]), np.array([1.0, 0, 3, 2])
    assert found.estimators["ips"].value == pytest.approx(6.5 / 4)
    assert found.estimators["snips"].value == pytest.approx(6.5 / 4.5)
    assert found.estimators["dm"].value == pytest.approx(4.4 / 4)
    assert found.estimators["dr"].value == pytest.approx((4.4 + 0.1 - 0.4 + 1.0) / 4)
    assert found.ess == pytest.approx(4.5**2 / 8.25) and found.mean_weight == pytest.approx(4.5 / 4)
    assert found.logged.value == pytest.approx(1.5) and (found.n, found.decisions) == (4, 4)
    for name in ESTIMATORS:
        assert found.gains[name].value == pytest.approx(found.estimators[name].value - 1.5)
    low, high = found.estimators["snips"].low, found.estimators["snips"].high
    assert rewards[weights > 0].min() <= low <= high <= 3


def test_where_the_target_is_the_logging_policy_every_weighted_estimate_is_the_mean_reward() -> None:
    log = check_log(SMALL.with_columns(target_probability="propensity"))
    found = estimate(log)
    assert found.estimators["ips"].value == found.estimators["snips"].value == found.logged.value == 1.5
    assert (found.ess, found.mean_weight, found.trusted) == (4, 1, True)
    assert found.gains["ips"].low == found.gains["ips"].high == 0


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.floats(-5, 5), st.floats(0.1, 10))
def test_intervals_hold_the_value_move_with_the_rewards_and_widen_with_confidence(
    seed: int, shift: float, scale: float
) -> None:
    rng = np.random.default_rng(seed)
    terms, below = rng.lognormal(0, 1, 40) * (rng.random(40) < 0.5), rng.gamma(2, 0.5, 40)
    value, low, high = ratio_interval(terms, below)
    assert low <= value <= high
    moved = ratio_interval(scale * terms + shift * below, below)
    assert moved == pytest.approx([scale * one + shift for one in (value, low, high)], rel=2e-3, abs=2e-3 * scale)
    wider = ratio_interval(terms, below, confidence=0.99)
    assert wider[1] <= low and wider[2] >= high


def test_rows_in_any_order_and_ids_of_any_name_give_the_same() -> None:
    log = bandit(np.random.default_rng(0), 600, explored=0.5, money=True, slots=3)
    other = log.sample(fraction=1, shuffle=True, seed=1).with_columns(decision_id="d" + pl.col("decision_id"))
    one, two = estimate(check_log(log)), estimate(check_log(other))
    assert one.decisions == two.decisions == 200
    for name in ESTIMATORS:
        assert vars(one.estimators[name]) == pytest.approx(vars(two.estimators[name]), rel=1e-4)


@pytest.mark.parametrize(
    ("money", "explored", "slots"), [(False, 1.0, 1), (False, 0.3, 1), (True, 0.3, 1), (True, 0.5, 4)]
)
def test_intervals_hold_the_truth_as_often_as_they_say(money: bool, explored: float, slots: int) -> None:
    logs, size = 200, 600
    truth = bandit(np.random.default_rng(1), 200_000, explored=explored, money=money)["truth"].mean()
    held = dict.fromkeys(ESTIMATORS, 0)
    for number in range(logs):
        rng = np.random.default_rng([9, number])
        found = estimate(check_log(bandit(rng, size, explored=explored, money=money, slots=slots).drop("truth")))
        for name, one in found.estimators.items():
            held[name] += one.low <= truth <= one.high
    assert all(0.92 <= count / logs <= 0.98 for count in held.values()), held


def test_the_direct_method_is_as_wrong_as_its_model_and_the_others_are_not() -> None:
    log = bandit(np.random.default_rng(3), 4000, explored=0.5, money=False)
    wrong = log.with_columns(model_logged=pl.lit(0.5), model_target=pl.lit(0.5))
    found, truth = estimate(check_log(wrong)), log["truth"].mean()
    assert not found.estimators["dm"].low <= truth <= found.estimators["dm"].high
    for name in ("ips", "snips", "dr", "switch"):
        assert found.estimators[name].low <= truth <= found.estimators[name].high


def test_a_good_model_makes_dr_narrower_than_ips() -> None:
    found = estimate(check_log(bandit(np.random.default_rng(4), 4000, explored=0.3, money=False)))
    ips, dr = found.estimators["ips"], found.estimators["dr"]
    assert dr.high - dr.low < 0.9 * (ips.high - ips.low)


def test_switch_leaves_corrections_out_only_where_they_cannot_matter() -> None:
    rng = np.random.default_rng(0)
    signs = rng.choice([-1.0, 1.0], 5005)
    weights = np.concatenate([np.full(5000, 1.0), np.full(5, 60.0)])
    noise = np.concatenate([np.full(5000, 1.0), np.full(5, 0.001)])
    harmless = switch_threshold(weights, noise * signs, np.zeros(5005))
    assert harmless == np.inf or harmless < 60  # the extreme rows bring next to no variance: either will do
    assert switch_threshold(weights, signs, np.zeros(5005)) == np.inf
    assert switch_threshold(np.full(5005, 1.0), signs, np.zeros(5005)) == np.inf


def test_what_cannot_be_estimated_is_null_with_a_reason() -> None:
    bare = estimate(check_log(SMALL.drop("model_logged", "model_target"))).told()
    assert bare["estimators"]["dr"] == {"value": None, "low": None, "high": None}
    assert set(bare["why"]) == {"dm", "dr", "switch"} and set(bare["estimators"]) == set(ESTIMATORS)
    never = estimate(check_log(SMALL.with_columns(target_probability=pl.lit(0.0))))
    assert never.estimators["snips"] is None and never.estimators["ips"].value == 0 and never.ess == 0
    assert not never.trusted and len(never.warnings) >= 2
    single = estimate(check_log(SMALL.head(1))).told()
    assert single["estimators"]["ips"]["value"] == 0.5 and single["estimators"]["ips"]["high"] is None


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"propensity": [0.0, -0.1, 0.5, 0.5]}, "2 with a propensity that is not positive"),
        ({"propensity": [0.5, None, None, float("nan")]}, "3 without a finite number as propensity"),
        ({"propensity": [0.5, 1.5, 0.5, 0.5]}, "1 with a propensity above 1"),
        ({"reward": [float("nan"), 1, float("inf"), 1]}, "2 without a finite number as reward"),
        ({"target_probability": [-0.1, 1.1, 0.5, 0.5]}, "2 with a target_probability outside [0, 1]"),
        ({"decision_id": ["a", "a", "a", "a"], "action": ["x", "x", "y", "x"]}, "2 that repeat the action"),
        ({"action": ["x", None, "y", "z"]}, "1 without action"),
        ({"reward": ["1", "two", "3", ""]}, "2 without a finite number as reward"),
        ({"model_target": [None, 1, 1, 1]}, "1 without a finite number as model_target"),
    ],
)
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_rows_that_do_not_hold_are_counted_and_refused(
    tmp_path: Path, change: dict[str, list[object]], sentence: str, kind: str
) -> None:
    log = SMALL.with_columns(pl.Series(name, values, strict=False) for name, values in change.items())
    path = tmp_path / f"log.{kind}"
    log.write_csv(path) if kind == "csv" else log.write_parquet(path)
    outcome = facings("evaluate-policy", path)
    assert outcome.code == 1 and outcome.out == ""
    assert f"has 4 rows, of which {sentence}" in outcome.sentence


def test_a_log_without_rows_columns_or_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FacingsError, match="has no rows"):
        check_log(SMALL.head(0))
    with pytest.raises(FacingsError, match="no column propensity, reward"):
        check_log(SMALL.drop("propensity", "reward"))
    with pytest.raises(FacingsError, match="model_logged without the other"):
        check_log(SMALL.drop("model_target"))
    assert facings("evaluate-policy", tmp_path / "none.csv").code == 1
    (tmp_path / "log.parquet").write_text("no parquet")
    assert "cannot be read" in facings("evaluate-policy", tmp_path / "log.parquet").sentence


def test_the_command_prints_one_object_and_draws_a_page(tmp_path: Path) -> None:
    bandit(np.random.default_rng(5), 500, explored=0.3, money=True).write_csv(tmp_path / "log.csv")
    outcome = facings("evaluate-policy", tmp_path / "log.csv", "--json", "--out", tmp_path / "page.html")
    told = json.loads(outcome.out)
    assert outcome.code == 0 and told["n"] == 500
    assert all(one["low"] <= one["value"] <= one["high"] for one in told["estimators"].values())
    page = (tmp_path / "page.html").read_text()
    assert "Gain over the logged policy" in page and "src=" not in page
    words = facings("evaluate-policy", tmp_path / "log.csv").out
    assert "doubly robust" in words and "effective sample size" in words
