"""Whatever is asked of the planner: no limit broken, nothing given twice, and as good as HiGHS where that is exact."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import Bounds, LinearConstraint, linprog, milp
from scipy.sparse import csr_array, vstack

from pipelines.offers.budgets.plan import Files, Plan, plan_offers

NOW = datetime(2026, 5, 4, 9, tzinfo=UTC)
Tables = tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame | None]


def planned(tables: Tables, slots: int) -> Plan:
    values, campaigns, stock = tables
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        values.to_parquet(folder / "values.parquet")
        campaigns.to_csv(folder / "campaigns.csv", index=False)
        if stock is not None:
            stock.to_csv(folder / "stock.csv", index=False)
        units = None if stock is None else folder / "stock.csv"
        files = Files(folder / "values.parquet", folder / "campaigns.csv", units)
        return plan_offers(files, slots=slots, now=NOW, progress=lambda line: None)


def program(tables: Tables, slots: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The allocation written down again, straight from the tables: matrix, limits, values."""
    values, campaigns, stock = tables
    rows, limits = [], []

    def add(mask: pd.Series, use: Any, limit: float) -> None:
        rows.append(np.where(mask, use, 0.0))
        limits.append(limit)

    for shopper in values["shopper_id"].unique():
        own = values["shopper_id"] == shopper
        add(own, 1.0, slots)
        for item in values.loc[own, "item_id"].unique():
            add(own & (values["item_id"] == item), 1.0, 1)
        for campaign, cap in zip(campaigns["campaign_id"], campaigns["max_per_shopper"], strict=True):
            if not np.isnan(cap):
                add(own & (values["campaign_id"] == campaign), 1.0, cap)
    for campaign, budget in zip(campaigns["campaign_id"], campaigns["budget"], strict=True):
        if not np.isnan(budget):
            add(values["campaign_id"] == campaign, values["cost"], budget)
    if stock is not None:
        units = dict(zip(stock["item_id"], stock["units"], strict=True))
        for item in values["item_id"].unique():
            add(values["item_id"] == item, 1.0, units.get(item, 0))
    return np.array(rows), np.array(limits), values["value"].to_numpy()


def assert_holds(tables: Tables, slots: int, plan: Plan) -> pd.DataFrame:
    values, campaigns, stock = tables
    out = plan.table.to_pandas()
    assert list(out.columns) == ["shopper_id", "slot", "offer_id"]
    assert not out.duplicated(["shopper_id", "offer_id"]).any() and not out.duplicated(["shopper_id", "slot"]).any()
    given_ = out.merge(values, on=["shopper_id", "offer_id"], validate="1:1")
    assert len(given_) == len(out) and (given_["value"] > 0).all()
    assert not given_.duplicated(["shopper_id", "item_id"]).any()
    if len(out):
        slot = out.groupby("shopper_id")["slot"]
        assert (slot.max() == slot.size()).all() and slot.max().max() <= slots and out["slot"].min() == 1
    spent = given_.groupby("campaign_id")["cost"].sum()
    per_shopper = given_.groupby(["campaign_id", "shopper_id"]).size()
    for _, row in campaigns.iterrows():
        name = row["campaign_id"]
        assert np.isnan(row["budget"]) or spent.get(name, 0.0) <= row["budget"] + 1e-9
        if name in spent.index and not np.isnan(row["max_per_shopper"]):
            assert per_shopper[name].max() <= row["max_per_shopper"]
    if stock is not None:
        units = dict(zip(stock["item_id"], stock["units"], strict=True))
        assert all(count <= units.get(item, 0) for item, count in given_["item_id"].value_counts().items())
    assert plan.totals["value"] == pytest.approx(given_["value"].sum())
    assert plan.totals["cost"] == pytest.approx(given_["cost"].sum())
    assert plan.totals["spent"] == pytest.approx({c: spent.get(c, 0.0) for c in campaigns["campaign_id"]})
    return given_


@st.composite
def shops(draw: st.DrawFn) -> Tables:
    shoppers, offers = draw(st.integers(1, 9)), draw(st.integers(1, 6))
    items, campaigns = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    few = st.sampled_from([-1.0, 0.0, 0.1, 0.3, 1.0, 1.0, 2.0, 7.5])  # ties, nothing and less than nothing
    value = few | st.floats(-2, 10)
    cost = st.sampled_from([0.0, 0.1, 0.1, 0.5, 1.0, 3.0]) | st.floats(0.01, 5)
    pairs = draw(st.sets(st.tuples(st.integers(0, shoppers - 1), st.integers(0, offers - 1))))
    rows = [
        (f"s{s}", f"o{o}", f"i{draw(st.integers(0, items - 1))}", f"c{draw(st.integers(0, campaigns - 1))}",
         draw(value), draw(cost))
        for s, o in draw(st.permutations(sorted(pairs)))
    ]  # fmt: skip
    values = pd.DataFrame(rows, columns=["shopper_id", "offer_id", "item_id", "campaign_id", "value", "cost"])
    values = values.astype({"shopper_id": str, "offer_id": str, "item_id": str, "campaign_id": str})
    values = values.astype({"value": float, "cost": float})
    budget, cap = st.none() | st.sampled_from([0.0, 0.1, 0.3, 1.0, 4.0, 1e6]), st.none() | st.integers(0, 3)
    table = pd.DataFrame(
        {
            "campaign_id": [f"c{c}" for c in range(campaigns)],
            "budget": pd.Series([draw(budget) for _ in range(campaigns)], dtype=float),
            "max_per_shopper": pd.Series([draw(cap) for _ in range(campaigns)], dtype=float),
        }
    )
    stock = None
    if draw(st.booleans()):
        held = draw(st.sets(st.integers(0, items - 1)))
        stock = pd.DataFrame(
            {"item_id": [f"i{i}" for i in sorted(held)], "units": [draw(st.integers(0, 4)) for _ in held]}
        ).astype({"item_id": str, "units": int})
    return values, table, stock


@settings(max_examples=60, deadline=None)
@given(shops(), st.integers(1, 4))
def test_a_plan_breaks_nothing_and_is_as_good_as_the_exact_one(tables: Tables, slots: int) -> None:
    plan = planned(tables, slots)
    assert_holds(tables, slots, plan)
    if tables[0].empty:
        assert plan.totals["value"] == plan.totals["gap"] == 0
        return
    matrix, limits, value = program(tables, slots)
    linear = -linprog(-value, A_ub=matrix, b_ub=limits, bounds=(0, 1)).fun
    exact = -milp(
        -value, integrality=np.ones(len(value)), bounds=Bounds(0, 1), constraints=LinearConstraint(matrix, ub=limits)
    ).fun
    assert plan.totals["value"] <= linear + 1e-6
    assert plan.totals["dual_bound"] >= exact - 1e-6
    assert plan.totals["value"] >= exact * (1 - 2e-4) - 1e-6
    assert planned(tables, slots).table.equals(plan.table), "the same tables give the same plan"


def shop(shoppers: int, depths: int, campaigns: int, seed: int, *, caps: bool, slots: int) -> Tables:
    """Items at several depths of discount: deeper sells more and costs more."""
    draws = np.random.default_rng(seed)
    per = 2 * slots
    shopper = np.repeat(np.arange(shoppers), per * depths)
    own = draws.permuted(np.tile(np.arange(60), (shoppers, 1)), axis=1)[:, :per]
    item = np.repeat(own, depths)
    depth = np.tile(np.arange(1, depths + 1) / 10, shoppers * per)
    price = draws.gamma(3, 2, 60)[item] + 1
    chance = 1 / (1 + np.exp(2 - np.repeat(draws.normal(0, 1, shoppers * per), depths) - 5 * depth))
    campaign = (item * 5 + (depth > 0.25)) % campaigns if caps else item % campaigns
    values = pd.DataFrame(
        {
            "shopper_id": [f"s{s}" for s in shopper],
            "offer_id": [f"o{i}-{d:.1f}" for i, d in zip(item, depth, strict=True)],
            "item_id": [f"i{i}" for i in item],
            "campaign_id": [f"c{c}" for c in campaign],
            "value": chance * price * (0.5 - depth) - 0.02,
            "cost": chance * price * depth,
        }
    )
    budget = values.groupby("campaign_id")["cost"].sum() * 0.04
    table = pd.DataFrame({"campaign_id": budget.index, "budget": budget.round(2).to_numpy()})
    table["max_per_shopper"] = 1.0 if caps else np.nan
    units = pd.DataFrame({"item_id": [f"i{i}" for i in range(60)], "units": draws.integers(3, shoppers // 10, 60)})
    return values, table, units


@pytest.mark.parametrize(("slots", "caps"), [(1, False), (3, False), (2, True)])
def test_a_larger_plan_is_within_a_thousandth_of_the_linear_program(slots: int, caps: bool) -> None:
    tables = shop(1500, 3, 4, 5, caps=caps, slots=slots)
    plan = planned(tables, slots)
    assert_holds(tables, slots, plan)
    values, campaigns, stock = tables
    assert stock is not None
    blocks, limits = [], []
    for keys, use, limit in (
        (["campaign_id"], values["cost"], dict(zip(campaigns["campaign_id"], campaigns["budget"], strict=True))),
        (["item_id"], np.ones(len(values)), dict(zip(stock["item_id"], stock["units"], strict=True))),
        (["shopper_id"], np.ones(len(values)), slots),
        (["shopper_id", "item_id"], np.ones(len(values)), 1),
        (["shopper_id", "campaign_id"], np.ones(len(values)), 1 if caps else slots),
    ):
        groups = values.groupby(keys, sort=True)
        code = groups.ngroup().to_numpy()
        blocks.append(csr_array((use, (code, np.arange(len(values)))), shape=(groups.ngroups, len(values))))
        names = list(groups.groups)
        flat = [name[0] if isinstance(name, tuple) else name for name in names]
        limits += [limit[name] if isinstance(limit, dict) else limit for name in flat]
    linear = -linprog(-values["value"], A_ub=vstack(blocks), b_ub=limits, bounds=(0, 1)).fun
    assert plan.totals["dual_bound"] >= linear * (1 - 1e-9)
    assert linear * (1 - 1e-3) <= plan.totals["value"] <= linear * (1 + 1e-9)
    assert 1 - plan.totals["value"] / linear <= plan.totals["gap"] + 1e-9


@pytest.mark.parametrize("seed", [8, 25, 58])
def test_where_whole_offers_do_not_fit_the_integer_program_closes_the_gap(seed: int) -> None:
    draws = np.random.default_rng(seed)
    values = pd.DataFrame(
        {
            "shopper_id": [f"s{s}" for s in np.repeat(np.arange(300), 4)],
            "offer_id": [f"o{o}" for o in np.tile(np.arange(4), 300)],
            "item_id": [f"i{i}" for i in draws.integers(0, 12, 1200)],
            "campaign_id": [f"c{c}" for c in draws.integers(0, 3, 1200)],
            "value": draws.gamma(1, 2, 1200),
            "cost": draws.gamma(1, 1, 1200),
        }
    )
    budget = values.groupby("campaign_id")["cost"].sum() * draws.uniform(0.02, 0.3, 3)
    campaigns = pd.DataFrame({"campaign_id": budget.index, "budget": budget.to_numpy(), "max_per_shopper": 1.0})
    stock = pd.DataFrame({"item_id": [f"i{i}" for i in range(12)], "units": draws.integers(20, 200, 12) * 300 // 2000})
    tables = values, campaigns, stock
    plan = planned(tables, 2)
    assert_holds(tables, 2, plan)
    assert plan.totals["gap"] <= 1e-3, "of the bound that no plan exceeds"
