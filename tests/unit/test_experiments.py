"""Experiments: no false alarm however often one looks, harm is stopped early, effects are found; units by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from scipy import stats

from configs.experiments import Experiment
from pipelines.offers.experiments.judge import HOLDOUT, LEAST_UNITS, UNITS, difference, judge, mean_of, mismatched
from pipelines.offers.experiments.page import experiments_page, lines
from pipelines.offers.experiments.results import outcomes

START = datetime(2026, 11, 1, tzinfo=UTC)
EXPERIMENT = Experiment.model_validate(
    {
        "layer": "a",
        "starts": START,
        "control": "old",
        "expected": 2000,
        "variants": {"old": {"share": 0.5}, "new": {"share": 0.5}},
    }
)
LEVEL = 1 - 0.05 / 2


def money(rng: np.random.Generator, shoppers: int, factor: float = 1.0) -> np.ndarray:
    """What shoppers bring: three of ten nothing, else skewed money."""
    return rng.lognormal(6, 1, shoppers) * (rng.random(shoppers) < 0.7) * factor


def units(rng: np.random.Generator, old: int, new: int, factor: float = 1.0, holdout: int = 0) -> pl.DataFrame:
    parts = {"old": money(rng, old), "new": money(rng, new, factor), HOLDOUT: money(rng, holdout, 0.8)}
    spent = np.concatenate(list(parts.values()))
    return pl.DataFrame(
        {
            "variant": np.repeat(list(parts), [len(part) for part in parts.values()]),
            "profit": spent * 0.3,
            "redeemed": (rng.random(len(spent)) < 0.1).astype(float),
            "spent": spent,
            "visits": (spent > 0) * 1.0 + (rng.random(len(spent)) < 0.3),
            "before": money(rng, len(spent)),
        },
        schema=UNITS,
    )


def looks(rng: np.random.Generator, shoppers: int, factor: float) -> list[tuple[float, float]]:
    """Intervals of the difference at every 100th shopper from the first that is judged on."""
    new = rng.random(shoppers) < 0.5
    values = money(rng, shoppers) * np.where(new, factor, 1.0)
    found = []
    for seen in range(2 * LEAST_UNITS + 50, shoppers, 100):
        one, other = mean_of(values[:seen][new[:seen]]), mean_of(values[:seen][~new[:seen]])
        assert one is not None and other is not None
        told = difference(one, other, LEVEL, 2000)
        found.append((told.low, told.high))
    return found


def test_looking_all_the_time_finds_nothing_where_nothing_differs() -> None:
    logs = 200
    alarms = sum(
        any(low > 0 or high < 0 for low, high in looks(np.random.default_rng([1, number]), 4000, 1.0))
        for number in range(logs)
    )
    assert alarms <= 0.05 * logs


def test_harm_is_stopped_long_before_the_end_and_an_effect_is_found() -> None:
    harmed, found, when = 0, 0, []
    for number in range(60):
        intervals = looks(np.random.default_rng([2, number]), 6000, 0.7)
        first = next((at for at, (_, high) in enumerate(intervals) if high < 0), None)
        harmed += first is not None
        when.append(6000 if first is None else 250 + 100 * first)
        found += any(low > 0 for low, _ in looks(np.random.default_rng([3, number]), 6000, 1.3))
    assert harmed >= 57 and np.median(when) < 3000, (harmed, np.median(when))
    assert found >= 54


def test_chances_of_a_a_checks_are_uniform() -> None:
    sizes, before = [], []
    for number in range(300):
        rng = np.random.default_rng([4, number])
        new = int(rng.binomial(800, 0.5))
        told = judge("x", EXPERIMENT, units(rng, 800 - new, new))
        assert told.mismatch_p is not None
        sizes.append(told.mismatch_p)
        before.append(told.before_p["new"])
    assert stats.kstest(before, "uniform").pvalue > 0.01
    assert 0.02 <= np.mean(np.array(sizes) < 0.05) <= 0.09 and 0.4 <= np.mean(sizes) <= 0.6  # sizes are whole numbers
    assert not any(mismatched([400, 400 + k], [0.5, 0.5], 2000) for k in range(-60, 60))


def test_wrong_sizes_harm_and_gain_are_concluded_and_told() -> None:
    rng = np.random.default_rng(5)
    wrong = judge("x", EXPERIMENT, units(rng, 2000, 1600))
    assert (wrong.status, wrong.stop) == ("mismatch", True) and "have not the sizes" in wrong.sentence
    harm = judge("x", EXPERIMENT, units(rng, 3000, 3000, 0.6, holdout=500))
    assert (harm.status, harm.stop, harm.decided_by) == (
        "harm",
        True,
        "profit",
    ) and "new loses in profit" in harm.sentence
    better = judge("x", EXPERIMENT, units(rng, 3000, 3000, 1.5, holdout=500))
    assert (better.status, better.stop) == ("better", False)
    new = next(arm for arm in better.arms if arm.name == "new")
    assert set(new.against_holdout) == {"profit", "redemption", "basket"} and new.against_holdout["profit"].low > 0
    few = judge("x", EXPERIMENT, units(rng, 60, 60, 0.1))
    assert (few.status, few.stop) == ("waiting", False)
    assert judge("x", EXPERIMENT, pl.DataFrame(schema=UNITS)).status == "waiting"
    costless = units(rng, 3000, 3000, 0.6).with_columns(profit=pl.lit(None, pl.Float64))
    assert judge("x", EXPERIMENT, costless).decided_by == "basket"
    page = experiments_page([wrong, harm, better, few])
    assert "new less old" in page and "new less holdout" in page and "src=" not in page
    assert "new loses in profit" in "\n".join(lines([harm]))


def test_three_arms_share_the_doubt() -> None:
    third = {"share": 1 / 3}
    told = {**EXPERIMENT.model_dump(by_alias=True), "variants": {"old": third, "new": third, "newer": third}}
    three = Experiment.model_validate(told)
    rng = np.random.default_rng(6)
    table = pl.concat([units(rng, 1000, 1000), units(rng, 0, 1000).with_columns(variant=pl.lit("newer"))])
    one, two = judge("x", EXPERIMENT, table.filter(pl.col("variant") != "newer")), judge("x", three, table)
    widths = [next(arm for arm in told.arms if arm.name == "new").against_control["profit"] for told in (one, two)]
    assert widths[1].high - widths[1].low > widths[0].high - widths[0].low


def test_what_a_shopper_did_is_counted_in_their_own_window() -> None:
    at = datetime(2026, 11, 10, 12, tzinfo=UTC)
    exposed = pl.DataFrame(
        {"shopper_id": ["a", "b", None], "at": [at, at, at], "variant": ["new", "old", HOLDOUT]},
        schema_overrides={"at": pl.Datetime("us", "UTC")},
    )

    def event(shopper: str, item: str, kind: str, days: float, price: float | None = None, order: str | None = None):
        return {
            "shopper_id": shopper, "item_id": item, "event_type": kind, "event_time": at + timedelta(days=days),
            "quantity": 2.0 if price else None, "price": price, "currency": "USD", "order_id": order, "basket_id": None,
            "attribution_token": None,
        }  # fmt: skip

    events = pl.DataFrame(
        [
            event("a", "x", "purchase", 1, 3.00, "o1"),
            event("a", "y", "purchase", 1, 1.00, "o1"),
            event("a", "x", "purchase", 6.9, 3.00, "o2"),
            event("a", "x", "purchase", 7.1, 3.00, "o3"),  # too late
            event("a", "x", "purchase", -1, 2.50, "o0"),  # before
            event("a", "x", "redeem", 1),
            event("b", "y", "purchase", 2, 1.00, "o4"),
            event("b", "y", "return", 3, 1.00, "o4"),
        ],
        schema_overrides={
            "event_time": pl.Datetime("us", "UTC"),
            "basket_id": pl.String(),
            "attribution_token": pl.String(),
        },
    ).lazy()
    costs = pl.DataFrame({"item_id": ["x", "y"], "cost": [100.0, 40.0]})
    found = outcomes(exposed, events, costs, timedelta(days=7), "USD").sort("variant", descending=True)
    assert found.rows() == [
        ("old", 0.0, 0.0, 0.0, 0.0, 0.0),
        ("new", 1400.0 - 480.0, 1.0, 1400.0, 2.0, 500.0),
        (HOLDOUT, 0.0, 0.0, 0.0, 0.0, 0.0),
    ]
    unknown = outcomes(exposed, events, costs.head(0), timedelta(days=7), "USD")
    assert unknown.filter(pl.col("variant") == "new")["profit"].to_list() == [None]


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_sizes_that_are_right_are_not_called_wrong_by_looking_often(share: float) -> None:
    alarms = 0
    for number in range(200):
        new = np.random.default_rng([7, number]).random(4000) < share
        counts = new.cumsum()
        alarms += any(
            mismatched([int(seen - counts[seen - 1]), int(counts[seen - 1])], [1 - share, share], 2000)
            for seen in range(100, 4000, 100)
        )
    assert alarms <= 3
