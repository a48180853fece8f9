"""The gate lets through what is better, keeps out what is worse, and is not talked over by luck."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from configs.errors import FacingsError
from configs.recipe import GateRecipe
from pipelines.training.gate import Kind, decide, slice_shoppers

SHOPPERS = [f"s{number:03d}" for number in range(400)]
RULES = GateRecipe(resamples=400)
SLICES = pd.Series(["light"] * 200 + ["heavy"] * 200, index=SHOPPERS)


def frame(values: np.ndarray, shoppers: list[str] = SHOPPERS) -> pd.DataFrame:
    return pd.DataFrame({"shopper_id": shoppers, "ndcg": values})


def taste(seed: int) -> np.ndarray:
    """What shoppers differ in, whichever model serves them."""
    return np.random.default_rng(seed).beta(2, 4, len(SHOPPERS))


def noisy(values: np.ndarray, seed: int, scale: float = 0.1) -> np.ndarray:
    return np.clip(values + np.random.default_rng(seed).normal(0, scale, len(values)), 0, 1)


def judged(kind: Kind, ours: np.ndarray, theirs: np.ndarray, rules: GateRecipe = RULES, **more: object):
    return decide(kind, frame(ours), {"champion": frame(theirs)}, slices=SLICES, rules=rules, **more)  # type: ignore[arg-type]


def test_of_200_comparisons_of_like_with_like_at_most_one_in_twenty_passes_as_a_replacement() -> None:
    passed = 0
    for trial in range(200):
        base = taste(trial)
        ours, refreshed, champion = (noisy(base, 10_000 * part + trial) for part in (1, 2, 3))
        references = {"refreshed": frame(refreshed), "champion": frame(champion)}
        passed += decide(Kind.REPLACEMENT, frame(ours), references, slices=SLICES, rules=RULES, seed=trial).passed
    assert passed <= 10


def test_a_refresh_that_changes_nothing_passes_and_the_same_as_a_replacement_does_not() -> None:
    base = taste(1)
    assert judged(Kind.REFRESH, base, base).passed
    assert not judged(Kind.REPLACEMENT, base, base).passed


def test_a_better_challenger_replaces_the_champion() -> None:
    base = taste(2)
    decision = judged(Kind.REPLACEMENT, np.clip(noisy(base, 3) + 0.03, 0, 1), base)
    assert decision.passed
    assert decision.interval[0] > 0
    assert decision.difference == pytest.approx(decision.mean_challenger - decision.mean_champion)


@pytest.mark.parametrize("kind", list(Kind))
def test_a_challenger_that_learned_shuffled_labels_is_refused(kind: Kind) -> None:
    base = taste(4)
    assert not judged(kind, noisy(base, 5, 0.02) * 0.05, base).passed


def test_popularity_in_disguise_does_not_replace_a_champion_that_knows_its_shoppers() -> None:
    base = taste(6)
    assert not judged(Kind.REPLACEMENT, np.full(len(SHOPPERS), base.mean() * 0.5), base).passed


def test_a_challenger_better_on_the_whole_that_breaks_a_slice_is_refused_for_that_slice() -> None:
    base = np.full(len(SHOPPERS), 0.3)
    ours = noisy(base, 7, 0.02)
    ours[:200] += 0.2
    ours[200:] -= 0.1
    decision = judged(Kind.REPLACEMENT, ours, base)
    assert decision.interval[0] > 0
    assert not decision.passed
    assert [comparison.scope for comparison in decision.comparisons if not comparison.passed] == ["heavy"]
    assert any("slice heavy" in reason and "does not hold" in reason for reason in decision.reasons)


def test_a_slice_that_is_too_small_is_reported_and_not_judged() -> None:
    slices = pd.Series(["cold"] * 10 + ["heavy"] * 390, index=SHOPPERS)
    base = np.full(len(SHOPPERS), 0.3)
    ours = base + 0.05
    ours[:10] = 0.0
    decision = decide(Kind.REPLACEMENT, frame(ours), {"champion": frame(base)}, slices=slices, rules=RULES)
    cold = next(comparison for comparison in decision.comparisons if comparison.scope == "cold")
    assert decision.passed
    assert not cold.judged
    assert cold.difference == pytest.approx(-0.3)


def test_a_refresh_may_be_a_little_worse_but_not_more_than_the_margin() -> None:
    base = np.full(len(SHOPPERS), 0.4)
    assert judged(Kind.REFRESH, base - 0.007, base).passed
    refused = judged(Kind.REFRESH, base - 0.009, base)
    assert not refused.passed
    assert "does not hold" in refused.reasons[0]


def test_a_refresh_that_cannot_be_told_from_worse_is_refused_and_says_that_shoppers_are_few() -> None:
    base = np.full(len(SHOPPERS), 0.4)
    decision = judged(Kind.REFRESH, base + np.tile([0.3, -0.3], len(SHOPPERS) // 2), base)
    assert not decision.passed
    assert "more shoppers are needed" in decision.reasons[0]


def test_a_replacement_must_also_hold_against_what_serves_now() -> None:
    refreshed, champion = np.full(len(SHOPPERS), 0.2), np.full(len(SHOPPERS), 0.4)  # half of the feed is gone
    ours = refreshed + 0.05
    decision = decide(
        Kind.REPLACEMENT,
        frame(ours),
        {"refreshed": frame(refreshed), "champion": frame(champion)},
        slices=SLICES,
        rules=RULES,
    )
    assert decision.comparisons[0].passed
    assert not decision.comparisons[1].passed
    assert not decision.passed


def test_the_more_challengers_are_tried_the_surer_each_must_be() -> None:
    base = taste(10)
    ours = noisy(base, 11) + 0.012
    one, many = (judged(Kind.REPLACEMENT, ours, base, challengers=count) for count in (1, 20))
    assert many.confidence == pytest.approx(0.9975)
    assert many.interval[0] < one.interval[0]


def test_the_first_model_passes_unless_its_mean_is_below_popularity() -> None:
    base = taste(12)
    assert judged(Kind.FIRST, noisy(base, 13, 0.05) + 0.01, base).passed
    assert not judged(Kind.FIRST, base * 0.9, base).passed


def test_a_metric_that_is_not_measured_is_named_with_those_that_are() -> None:
    with pytest.raises(FacingsError, match=r"'auc' is not measured.*ndcg"):
        judged(Kind.REFRESH, taste(1), taste(1), rules=GateRecipe(metric="auc"))


def test_frames_of_different_shoppers_are_not_compared() -> None:
    with pytest.raises(FacingsError, match="same shoppers"):
        decide(
            Kind.REFRESH,
            frame(np.zeros(2), ["a", "b"]),
            {"champion": frame(np.zeros(2), ["a", "c"])},
            slices=SLICES,
            rules=RULES,
        )


def test_slices_are_cold_light_up_to_the_median_and_heavy() -> None:
    counts = pd.Series({"a": 1, "b": 2, "c": 9, "x": 100})
    assert slice_shoppers(["a", "b", "c", "d"], counts).to_dict() == {
        "a": "light",
        "b": "light",
        "c": "heavy",
        "d": "cold",
    }
