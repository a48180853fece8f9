"""The pacer's law: budgets hold under any traffic, money is spent as planned, and little value is lost."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.offers.budgets.pacing import (
    DAY,
    EVEN,
    HOUR,
    STEP,
    Account,
    Campaign,
    Committed,
    Price,
    account,
    correction,
    exhausted,
    shadow,
    step,
    traffic,
    used,
)
from tests.pacing_days import BEGIN, USUAL, best_possible, budgets, draw_day, pace

CAMPAIGN = Campaign("spring", 1000.0, BEGIN, BEGIN + DAY)


@pytest.mark.parametrize(
    ("shock", "least"),
    [((0, 24, 1.0), 0.93), ((12, 24, 2.0), 0.88), ((0, 24, 2.0), 0.9), ((12, 24, 0.5), 0.88), ((12, 13, 5.0), 0.82)],
)
def test_budgets_hold_and_are_spent_whatever_the_traffic(shock: tuple[int, int, float], least: float) -> None:
    budget = budgets(draw_day(0, 6000, 3), 3, 0.4)
    day = draw_day(0, 6000, 3, shock=shock)
    paced = pace(day, budget, beat=2 * STEP)
    assert (paced.spent <= 1.02 * budget).all()
    assert paced.spent.sum() >= 0.93 * budget.sum()
    assert paced.value >= least * best_possible(day, budget)


def test_odds_that_are_wrong_are_corrected_by_what_is_redeemed() -> None:
    day = draw_day(3, 6000, 2)
    budget = budgets(day, 2, 0.4)
    for odds in (0.5, 2.0):
        paced = pace(day, budget, odds=odds, beat=2 * STEP)
        assert (paced.spent <= 1.02 * budget).all() and paced.spent.sum() >= 0.9 * budget.sum()


def test_a_price_rises_when_more_is_committed_than_planned_and_falls_when_less_is() -> None:
    before = Price(1.0, BEGIN, 0.0, 0.0, 0, 100)
    now = BEGIN + HOUR
    plan = CAMPAIGN.budget / 24
    for share, rises in ((2.0, True), (0.5, False)):
        held = Account(outstanding=share * plan, committed=share * plan, offers=1000)
        after = step(CAMPAIGN, before, held, EVEN, now)
        assert (after.price > 1.0) is rises and after.at == now and after.steps == 101
    assert step(CAMPAIGN, before, Account(), EVEN, BEGIN + STEP - 1) == before, "too soon"
    endless = Campaign("always", 1000.0)
    assert step(endless, replace(before, price=0.0), Account(committed=900, offers=9), EVEN, now).price == 0.0


def test_what_is_out_is_due_little_by_little_and_corrected() -> None:
    shown = [Committed(BEGIN, 10, 100.0, 400.0)]
    early, late = account(0.0, shown, BEGIN, 1.0), account(0.0, shown, BEGIN + 20 * HOUR, 1.0)
    assert early.outstanding == 100 and early.due == 0
    assert late.outstanding == pytest.approx(0, abs=1e-4) and late.due == pytest.approx(100)
    assert correction(CAMPAIGN, early) == 1.0
    assert correction(CAMPAIGN, late) < 0.3, "nothing came of it"
    assert used(CAMPAIGN, early) == 100.0


def test_the_hard_stop_leaves_room_for_what_may_still_come() -> None:
    assert exhausted(CAMPAIGN, Account(spent=990.0, sale=11.0)) and not exhausted(
        CAMPAIGN, Account(spent=990.0, sale=9.0)
    )
    assert exhausted(CAMPAIGN, Account(spent=1000.0)) and not exhausted(CAMPAIGN, Account(spent=999.0))
    rare = Account(spent=950.0, outstanding=5.0, variance=5.0 * 50.0)  # one sale of 50 in ten times
    assert exhausted(CAMPAIGN, rare) and shadow(CAMPAIGN, Price(0.3), rare) == math.inf
    many = Account(spent=500.0, due=500.0, outstanding=400.0, variance=400.0)
    assert not exhausted(CAMPAIGN, many) and shadow(CAMPAIGN, Price(0.3), many) == 0.3


@settings(deadline=None, max_examples=60)
@given(
    st.floats(0, 2000), st.floats(0, 2000), st.floats(0, 1e5), st.floats(0, 3000), st.integers(0, 500),
    st.floats(0, 40), st.integers(1, 3 * DAY), st.sampled_from([None, BEGIN + DAY, BEGIN + 2 * DAY]),
)  # fmt: skip
def test_a_price_is_always_a_price(
    spent: float, out: float, variance: float, committed: float, offers: int, price: float, later: int, ends: int | None
) -> None:
    campaign = Campaign("any", 1000.0, BEGIN, ends)
    held = Account(spent, 0.0, committed, out, variance, committed, offers)
    after = step(campaign, Price(price, BEGIN, 0.0, 0.0, 0, 3), held, EVEN, BEGIN + later)
    assert 0 <= after.price <= 50 and after.at in (BEGIN, BEGIN + later)
    assert shadow(campaign, after, held) in (after.price, math.inf)
    if spent >= campaign.budget:
        assert shadow(campaign, after, held) == math.inf


def test_the_usual_traffic_of_a_span() -> None:
    assert traffic(EVEN, BEGIN, BEGIN + DAY) == pytest.approx(1.0)
    assert traffic(USUAL.tolist(), BEGIN, BEGIN + 3 * DAY) == pytest.approx(3.0)
    hours = [traffic(USUAL.tolist(), BEGIN + hour * HOUR, BEGIN + (hour + 1) * HOUR) for hour in range(24)]
    assert int(np.argmax(hours)) == 18 and sum(hours) == pytest.approx(1.0)
    assert traffic([0.0] * 24, BEGIN, BEGIN + DAY) == pytest.approx(1.0), "hours nobody counted are alike"
