"""What holds of the worth of showing an item, whatever the odds say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.offers.value.odds import chance, gain, spend

log_odds = st.floats(-8, 4)
money = st.integers(0, 100_000)
fraction = st.floats(0, 0.9)


def odds_of(unshown: float, shown: float, slope: float = 0.0, keeps: float = 1.0, lift: float = 0.0) -> np.ndarray:
    return np.array([[unshown, shown, slope, keeps, lift]])


@given(unshown=log_odds, shown=log_odds, slope=st.floats(0, 5), one=fraction, other=fraction)
def test_the_chance_of_a_purchase_never_falls_with_the_discount(
    unshown: float, shown: float, slope: float, one: float, other: float
) -> None:
    low, high = chance(odds_of(unshown, shown, slope), np.array([[min(one, other), max(one, other)]]))[0]
    assert 0 <= low <= high <= 1


@given(unshown=log_odds, shown=log_odds, keeps=st.floats(-1, 1), price=money, cost=money)
def test_no_offer_is_a_discount_of_nothing(unshown: float, shown: float, keeps: float, price: int, cost: int) -> None:
    odds = odds_of(unshown, shown, 1.3, keeps, 0.8)
    assert gain(odds, [price], [cost]) == gain(odds, [price], [cost], 0.0) == gain(odds, [price], [cost], [[0.0]])[0]
    assert spend(odds, [price], None) == 0


@given(unshown=log_odds, shown=log_odds, keeps=st.floats(-1, 1), price=money, cost=money, discount=fraction)
def test_where_showing_and_discounts_change_nothing_an_offer_costs_what_it_gives_away(
    unshown: float, shown: float, keeps: float, price: int, cost: int, discount: float
) -> None:
    same = odds_of(unshown, unshown, 0.0, keeps)
    assert gain(same, [price], [cost], discount)[0] == pytest.approx(-spend(same, [price], discount)[0], abs=1e-6)
    moved = odds_of(unshown, shown, 0.7, 0.0)  # every added sale is another's
    assert gain(moved, [price], [cost], discount)[0] == pytest.approx(-spend(moved, [price], discount)[0], abs=1e-6)


def test_a_good_sold_below_cost_loses_by_selling_more_and_what_is_not_known_is_worth_nan() -> None:
    odds = np.array([[-3.0, -2.0, 1.0, 1.0, 0.0]] * 4)
    price, cost = np.array([100, 300, -1, 300]), np.array([200, 200, 200, -1])
    told = gain(odds, price, cost, np.array([[0.0, 0.2]] * 4))
    assert told.shape == (4, 2)
    assert told[0, 1] < told[0, 0] < 0 < told[1, 0]
    assert np.isnan(told[2:]).all()
    assert np.isnan(gain(odds * np.nan, price, cost)).all()


def test_an_example_by_hand() -> None:
    half, three_quarters = 0.0, np.log(3.0)
    assert gain(odds_of(half, three_quarters, 0.0, 0.6), [1000], [400], 0.1)[0] == pytest.approx(
        0.75 * 500 - 0.5 * 600 - 0.4 * 0.25 * 600
    )
    assert gain(odds_of(half, three_quarters, 0.0, 0.6, 2.0), [1000], [400], 0.1)[0] == pytest.approx(
        0.75 * 500 - 0.5 * 600 - 0.4 * 0.25 * 600 - 2.0 * np.log(0.9) * 600
    )
    assert spend(odds_of(half, three_quarters), [1000], 0.1)[0] == pytest.approx(75)
