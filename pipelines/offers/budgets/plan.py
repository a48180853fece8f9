"""`facings plan`: tables of options, campaigns and stock in, one table of who gets which offer out."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as parquet

from configs.errors import FacingsError, UsageError
from pipelines.offers.budgets.allocate import Allocation, allocate
from pipelines.offers.budgets.problem import Floats, Good, Problem, in_columns
from pipelines.offers.budgets.tables import (
    CAMPAIGNS,
    CAMPAIGNS_MORE,
    MAKERS,
    STOCK,
    VALUES,
    Coded,
    check_amounts,
    check_campaigns,
    check_values,
    coded,
    matched,
    numbers,
    read_table,
    refuse,
)
from state.files import draft_beside


@dataclass(frozen=True)
class Files:
    """Where the tables are; None: there is none, and the rule is off."""

    values: Path
    campaigns: Path
    stock: Path | None = None
    makers: Path | None = None


@dataclass(frozen=True)
class Plan:
    """Who gets what.

    Attributes:
        table: shopper_id, slot (from 1), offer_id; shoppers in the order of the options, the best offer first.
        totals: value, cost, spent by campaign, bound and gap, as JSON.
    """

    table: pa.Table
    totals: dict[str, Any]


@dataclass(frozen=True)
class _Given:
    """The tables as codes and numbers; `limits` of every kind of good with the codes of the options' goods."""

    columns: pa.Table
    ids: dict[str, Coded]
    value: Floats
    cost: Floats
    campaign: Coded
    campaign_row: np.ndarray[Any, np.dtype[np.int32]]
    budgets: Floats
    caps: Floats
    units: Floats | None
    maker: Coded | None
    maker_row: np.ndarray[Any, np.dtype[np.int32]] | None
    maker_budgets: Floats | None


def plan_offers(files: Files, *, slots: int, now: datetime, progress: Callable[[str], None]) -> Plan:
    """Allocate offers to shoppers within budgets, stock and caps, for nearly the highest value.

    Args:
        files: the tables; parquet or CSV by extension.
        slots: offers for one shopper at most.
        now: campaigns that ended before are refused.
        progress: told how far it is.

    Raises:
        UsageError: fewer than one slot, an unknown extension or a missing column.
        FacingsError: a table cannot be read or does not hold.
    """
    if not 1 <= slots <= 100:
        raise UsageError(f"--slots is {slots}; it must lie between 1 and 100.")
    given = _read(files, now)
    progress(f"plan: {len(given.value):,} options of {len(given.ids['shopper_id'].names):,} shoppers")
    problem, options, ranked = _problem(given, slots)
    found = allocate(problem, progress=progress)
    return Plan(_table(given, found, options, ranked), _totals(given, problem, found, options, slots))


def write_plan(table: pa.Table, path: Path) -> None:
    """Write a plan as CSV or parquet, by the extension, whole or not at all.

    Raises:
        FacingsError: the place cannot be written.
    """
    draft = draft_beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".csv":
            csv.write_csv(table, draft, csv.WriteOptions(quoting_style="needed"))
        else:
            parquet.write_table(table, draft, compression="zstd", compression_level=1)
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        raise FacingsError(f"{path} cannot be written ({error.strerror}); choose another place.") from None
    finally:
        draft.unlink(missing_ok=True)


def _read(files: Files, now: datetime) -> _Given:
    table = read_table(files.values, VALUES)
    ids = {name: coded(table[name]) for name in VALUES[:4]}
    value, no_value = numbers(table, "value")
    cost, no_cost = numbers(table, "cost")
    check_values(str(files.values), ids, value, cost, int(no_value.sum() + no_cost.sum()))
    campaigns = read_table(files.campaigns, CAMPAIGNS, CAMPAIGNS_MORE)
    campaign = coded(campaigns["campaign_id"])
    budgets, caps = check_campaigns(str(files.campaigns), campaigns, campaign, now)
    row = matched(ids["campaign_id"], campaign)
    unknown = np.unique(ids["campaign_id"].codes[row[ids["campaign_id"].codes] < 0], return_counts=True)[1]
    refuse(
        str(files.values),
        [(int(unknown.sum()), f"rows of {len(unknown):,} campaigns that {files.campaigns} does not have")],
    )
    units = maker = maker_row = maker_budgets = None
    if files.stock is not None:
        stock = read_table(files.stock, STOCK)
        item = coded(stock["item_id"])
        held = check_amounts(str(files.stock), stock, item, "item_id", "units", whole=True)
        units = np.append(held, 0.0)[matched(ids["item_id"], item)]  # no row: none in stock
    if files.makers is not None:
        makers = read_table(files.makers, MAKERS)
        if "maker_id" not in campaigns.column_names:
            raise UsageError(f"{files.campaigns} has no column maker_id, which budgets of makers need.")
        maker = coded(makers["maker_id"])
        maker_budgets = check_amounts(str(files.makers), makers, maker, "maker_id", "budget", whole=False)
        of_campaign = coded(campaigns["maker_id"])
        maker_row = matched(of_campaign, maker)[of_campaign.codes]
    return _Given(
        table.select(["shopper_id", "offer_id"]), ids, value, cost, campaign, row, budgets, caps, units,
        maker, maker_row, maker_budgets,
    )  # fmt: skip


def _problem(given: _Given, slots: int) -> tuple[Problem, np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The problem, the row of each of its options, and its shoppers' codes."""
    campaign = given.campaign_row[given.ids["campaign_id"].codes]
    item = given.ids["item_id"].codes
    caps = np.minimum(given.caps, slots).astype(np.int32)
    # Not an option for anybody: nothing gained, a cap or a limit of 0.
    may = (given.value > 0) & (caps[campaign] > 0) & ((given.budgets[campaign] > 0) | (given.cost == 0))
    if given.units is not None:
        may &= given.units[item] > 0
    rows = np.arange(len(may)) if may.all() else np.flatnonzero(may)
    shopper = given.ids["shopper_id"].codes[rows]
    order, widths, ranked = in_columns(shopper.astype(np.int64), len(given.ids["shopper_id"].names))
    options = rows[order]
    campaign, item, cost = campaign[options], item[options], given.cost[options]
    goods = [Good(campaign, cost, given.budgets)]
    if given.maker_row is not None and given.maker_budgets is not None:
        goods.append(Good(given.maker_row[campaign], cost, given.maker_budgets))
    if given.units is not None:
        goods.append(Good(item, np.ones(len(options)), given.units[: len(given.ids["item_id"].names)]))
    return Problem(widths, given.value[options], item, campaign, caps, slots, tuple(goods)), options, ranked


def _table(given: _Given, found: Allocation, options: np.ndarray[Any, Any], ranked: np.ndarray[Any, Any]) -> pa.Table:
    place, column = np.nonzero(found.picks >= 0)
    rows = options[found.picks[place, column]]
    shopper = ranked[place]
    order = np.argsort(shopper, kind="stable") if found.picks.shape[1] == 1 else np.lexsort(
        (rows, -given.value[rows], shopper)
    )  # fmt: skip
    shopper, rows = shopper[order], rows[order]
    slot = np.arange(len(rows)) - np.searchsorted(shopper, shopper) + 1
    offers = given.ids["offer_id"]
    return pa.table(
        {
            "shopper_id": given.ids["shopper_id"].names.take(pa.array(shopper)),
            "slot": pa.array(slot, pa.int32()),
            "offer_id": offers.names.take(pa.array(offers.codes[rows])),
        }
    )


def _totals(
    given: _Given, problem: Problem, found: Allocation, options: np.ndarray[Any, Any], slots: int
) -> dict[str, Any]:
    taken = found.picks[found.picks >= 0]
    names = given.campaign.names.cast(pa.string()).to_pylist()
    spent = np.bincount(problem.campaign[taken], given.cost[options[taken]], minlength=len(names))
    told: dict[str, Any] = {
        "value": found.value,
        "cost": float(spent.sum()),
        "dual_bound": found.dual,
        "gap": found.gap,
        "shoppers": len(given.ids["shopper_id"].names),
        "shoppers_served": int((found.picks >= 0).any(axis=1).sum()),
        "offers": len(taken),
        "slots": slots,
        "spent": {name: float(one) for name, one in zip(names, spent, strict=True)},
        "shadow_prices": {name: float(one) for name, one in zip(names, found.prices[0], strict=True)},
        "unlimited": [name for name, one in zip(names, given.budgets, strict=True) if one == np.inf],
        "stock_rule": "off" if given.units is None else "on",
    }
    if given.maker is not None and given.maker_row is not None:
        by_maker = given.maker_row[problem.campaign[taken]]
        held = by_maker >= 0
        makers = given.maker.names.cast(pa.string()).to_pylist()
        money = np.bincount(by_maker[held], given.cost[options[taken]][held], minlength=len(makers))
        told["spent_by_maker"] = {name: float(one) for name, one in zip(makers, money, strict=True)}
    return told
