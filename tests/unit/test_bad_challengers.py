"""Planted bad challengers are refused, each for what is wrong with it; the honest one passes; equals do not replace.

benchmarks/gate.py does the same on several towns, with 200 comparisons of like with like.
"""

from __future__ import annotations

import time

import numpy as np
import numpy.typing as npt
import pytest

from models.recommenders.personal_frequency import PersonalFrequency, PersonalFrequencyConfig
from pipelines.training.cost import measure_costs
from pipelines.training.gate import Kind
from pipelines.training.portrait import QUANTILES, drift
from tests.proving_ground import BAD, Bench, like_with_like, make_town


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench(make_town(1))


def test_the_honest_challenger_replaces_the_champion_and_every_check_is_told(bench: Bench) -> None:
    decision = bench.judge(bench.evidence(bench.good))
    assert decision.passed, decision.refusals
    assert len(decision.reasons) == len(decision.comparisons) + len(decision.checks)
    told = {check.name for check in decision.checks}
    assert {"sound", "knowledge", "freshness", "reach", "length", "range", "personal", "places of new makers", "makers",
            "stock", "foresight", "foreseen whole", "cost", "neighbourhoods"} <= told  # fmt: skip


@pytest.mark.parametrize("name", sorted(BAD))
def test_a_planted_bad_challenger_is_refused_for_what_is_wrong_with_it(bench: Bench, name: str) -> None:
    reasons, make = BAD[name]
    decision = bench.judge(make(bench))
    assert not decision.passed
    assert set(reasons.split(", ")) <= set(decision.refusals), decision.refusals


class Asleep(PersonalFrequency):
    """Waits before it answers, as one would that asks something far away."""

    def _score(self, shopper_rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        time.sleep(0.3)
        return super()._score(shopper_rows)


def test_a_challenger_that_waits_costs_its_waiting(bench: Bench) -> None:
    model = Asleep(PersonalFrequencyConfig(decay_days=25.0)).fit(bench.town.dataset)
    asked = len(bench.test.shoppers[:: max(1, len(bench.test.shoppers) // 32)][:32])
    assert measure_costs({"asleep": model}, bench.test)["asleep"].batch * asked >= 0.27


def test_a_refresh_of_the_same_passes_and_one_whose_scores_have_another_shape_does_not(bench: Bench) -> None:
    refreshed = bench.found["refreshed"]
    assert bench.judge(refreshed, Kind.REFRESH).passed
    lists = bench.champion.recommend(bench.test.shoppers, 10, attributes=bench.test.attributes)
    wild = np.where(np.arange(len(lists)) == 0, 1e6, -lists["rank"].astype(float))
    bent = bench.evidence(lists.assign(score=wild))
    assert "drift" in bench.judge(bent, Kind.REFRESH).refusals


def test_like_does_not_replace_like(bench: Bench) -> None:
    assert sum(decision.passed for decision in like_with_like(bench.town, 8, 5)) <= 1


def test_drift_tells_a_shift_from_none() -> None:
    same = list(QUANTILES)
    assert drift(same, same) == 0
    assert drift(same, list(QUANTILES + 0.2)) == pytest.approx(0.2)
    assert drift(same, list(1 - QUANTILES[::-1])) < 1e-9
