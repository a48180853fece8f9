"""`facings plan`: files in, a file out; what does not hold is refused with a sentence that counts it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from tests.command import Outcome, facings

Frames = dict[str, pd.DataFrame]


def frames() -> Frames:
    values = pd.DataFrame(
        {
            "shopper_id": ["a", "a", "b", "b", "007", "c"],
            "offer_id": ["o1", "o2", "o1", "o2", "o1", "o3"],
            "item_id": ["milk", "milk", "milk", "milk", "milk", "wine"],
            "campaign_id": ["dairy"] * 5 + ["cellar"],
            "value": [5.0, 6.0, 4.0, 5.5, 3.0, -1.0],
            "cost": [1.0, 2.0, 1.0, 2.0, 1.0, 0.5],
        }
    )
    campaigns = pd.DataFrame({"campaign_id": ["dairy", "cellar"], "budget": [3.0, None], "max_per_shopper": [1, None]})
    stock = pd.DataFrame({"item_id": ["milk", "wine"], "units": [2, 9]})
    makers = pd.DataFrame({"maker_id": ["farm"], "budget": [2.5]})
    return {"values": values, "campaigns": campaigns, "stock": stock, "makers": makers}


def plan(folder: Path, tables: Frames, *more: object, kind: str = "csv", stock: bool = True) -> Outcome:
    for name, table in tables.items():
        path = folder / f"{name}.{kind}"
        table.to_csv(path, index=False) if kind == "csv" else table.to_parquet(path)
    given = ["--stock", folder / f"stock.{kind}"] if stock else []
    where = ["--values", folder / f"values.{kind}", "--campaigns", folder / f"campaigns.{kind}", *given]
    return facings("plan", *where, "--out", folder / f"plan.{kind}", *more)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_plan_is_written_and_told(tmp_path: Path, kind: str) -> None:
    told = plan(tmp_path, frames(), "--json", kind=kind).told
    path = tmp_path / f"plan.{kind}"
    out = pd.read_csv(path, dtype=str) if kind == "csv" else pd.read_parquet(path).astype(str)
    # Three units of money, two of milk: o2 for one of a and b and o1 for the other is worth 10.5 (b takes o2).
    assert out.to_dict("list") == {"shopper_id": ["a", "b"], "slot": ["1", "1"], "offer_id": ["o1", "o2"]}
    assert (told["value"], told["cost"], told["shoppers_served"], told["shoppers"]) == (10.5, 3.0, 2, 4)
    assert told["spent"] == {"dairy": 3.0, "cellar": 0.0} and told["unlimited"] == ["cellar"]
    assert told["dual_bound"] >= 10.5 and told["gap"] >= 0 and told["stock_rule"] == "on"


def test_without_stock_the_rule_is_off_and_said_to_be(tmp_path: Path) -> None:
    done = plan(tmp_path, frames(), stock=False)
    assert done.code == 0 and "no stock table: the rule is off" in done.out and "1 campaigns have no budget" in done.out
    assert len(pd.read_csv(tmp_path / "plan.csv")) == 3


def test_a_makers_budget_holds_over_its_campaigns(tmp_path: Path) -> None:
    tables = frames()
    refused = plan(tmp_path, tables, "--makers", tmp_path / "makers.csv")
    assert refused.code == 2 and "no column maker_id" in refused.sentence
    tables["campaigns"]["maker_id"] = ["farm", None]
    told = plan(tmp_path, tables, "--makers", tmp_path / "makers.csv", "--json").told
    assert told["spent_by_maker"] == {"farm": 2.0} and told["value"] == 9.0


def cell(table: str, column: str, value: object) -> Callable[[Frames], object]:
    def change(tables: Frames) -> None:
        tables[table][column] = [value, *tables[table][column][1:]]

    return change


def repeated(table: str) -> Callable[[Frames], object]:
    return lambda tables: tables.update({table: pd.concat([tables[table], tables[table].head(1)])})


@pytest.mark.parametrize(
    ("change", "code", "sentence"),
    [
        (cell("campaigns", "budget", -1.0), 1, "1 negative budgets"),
        (cell("campaigns", "max_per_shopper", -1), 1, "1 values of max_per_shopper below 0"),
        (cell("campaigns", "max_per_shopper", 1.5), 1, "no whole numbers"),
        (repeated("campaigns"), 1, "1 campaigns that are there twice"),
        (lambda t: t["campaigns"].drop(columns="budget", inplace=True), 2, "has no column budget"),
        (lambda t: t["campaigns"].update(t["campaigns"].assign(campaign_id="x")), 1, "campaigns that are there twice"),
        (cell("campaigns", "campaign_id", "fish"), 1, "5 rows of 1 campaigns that"),
        (lambda t: t["campaigns"].__setitem__("ends", ["2020-01-02T00:00:00Z", None]), 1, "1 campaigns that ended"),
        (
            lambda t: t.update(
                campaigns=t["campaigns"].assign(starts=["2099-01-02", None], ends=["2099-01-01", "2099-01-01"])
            ),
            1,
            "1 campaigns that end before they start",
        ),
        (cell("values", "value", None), 1, "1 missing values or costs"),
        (cell("values", "cost", -0.1), 1, "1 negative costs"),
        (cell("values", "cost", float("inf")), 1, "1 costs that are not finite"),
        (cell("values", "value", "much"), 1, "holds what is not a number"),
        (cell("values", "shopper_id", None), 1, "1 rows without shopper_id"),
        (repeated("values"), 1, "1 duplicate rows"),
        (lambda t: t["values"].drop(columns=["cost", "value"], inplace=True), 2, "has no column value, cost"),
        (cell("stock", "units", -3), 1, "1 negative values of units"),
        (cell("stock", "units", None), 1, "1 rows without units"),
        (repeated("stock"), 1, "1 rows whose item_id was there before"),
    ],
)
def test_what_does_not_hold_is_refused_and_counted(
    tmp_path: Path, change: Callable[[Frames], object], code: int, sentence: str
) -> None:
    tables = frames()
    change(tables)
    done = plan(tmp_path, tables)
    assert done.code == code and sentence in done.sentence, done.sentence
    assert code == 2 or "plan again" in done.sentence
    assert not list(tmp_path.glob("*plan*"))


def test_wrong_usage_and_unreadable_files(tmp_path: Path) -> None:
    assert plan(tmp_path, frames(), "--slots", 0).code == 2
    (tmp_path / "values.parquet").write_bytes(b"PAR1 no parquet")
    files = ["--campaigns", tmp_path / "campaigns.csv", "--out", tmp_path / "plan.csv"]
    assert facings("plan", "--values", tmp_path / "values.parquet", *files).code == 1
    assert "There is no file" in facings("plan", "--values", tmp_path / "none.csv", *files).sentence
    assert facings("plan", "--values", tmp_path / "values.txt", *files).code == 2
    (tmp_path / "values.csv").write_text("shopper_id,offer_id,item_id,campaign_id,value,cost\n")
    told = facings("plan", "--values", tmp_path / "values.csv", *files, "--json").told
    assert (told["offers"], told["shoppers"], told["value"], told["gap"]) == (0, 0, 0.0, 0.0)
    assert (tmp_path / "plan.csv").read_text().strip().replace('"', "") == "shopper_id,slot,offer_id"
