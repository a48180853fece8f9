"""The pacer on simulated days: overspending, money spent, and value beside somebody who knows the whole day.

Run it: .venv/bin/python benchmarks/pacing.py --out benchmarks/results

Days are drawn (tests/pacing_days.py): 60,000 slates by a shop's usual hours, each with four offers of random campaigns,
prices, depths, chances and profits; who buys is drawn, and told half an hour later on average. Budgets are a share of
what each campaign would spend if its money were free. Then the traffic does not come as usual. `value` is of the shown
offers' expected profit, as a share of the best allocation of the whole day (an upper bound of it).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks.frame import frame, write
from pipelines.offers.budgets.pacing import HOUR
from tests.pacing_days import best_possible, budgets, draw_day, pace

Shock = tuple[int, int, float]
NONE: Shock = (0, 24, 1.0)
# name: slates a day, campaigns, days, share of the free spending, shock, more for `pace`
CASES: dict[str, tuple[int, int, int, float, Shock, dict[str, Any]]] = {
    "as usual": (60_000, 10, 1, 0.4, NONE, {}),
    "twice the traffic all day": (60_000, 10, 1, 0.4, (0, 24, 2.0), {}),
    "twice from noon on": (60_000, 10, 1, 0.4, (12, 24, 2.0), {}),
    "half from noon on": (60_000, 10, 1, 0.4, (12, 24, 0.5), {}),
    "five times in one hour": (60_000, 10, 1, 0.4, (12, 13, 5.0), {}),
    "money enough but for 5 %": (60_000, 10, 1, 0.95, NONE, {}),
    "money for 5 %": (60_000, 10, 1, 0.05, NONE, {}),
    "odds twice too high": (60_000, 10, 1, 0.4, NONE, {"odds": 2.0}),
    "odds half as high": (60_000, 10, 1, 0.4, NONE, {"odds": 0.5}),
    "sales told six hours later": (60_000, 10, 1, 0.4, NONE, {"redeem_hours": 6.0}),
    "five days": (12_000, 10, 5, 0.4, NONE, {}),
    "five days of twice the traffic": (12_000, 10, 5, 0.4, (0, 24, 2.0), {}),
    "thirty small campaigns": (18_000, 30, 1, 0.4, NONE, {}),
    "thirty small, twice from noon on": (18_000, 30, 1, 0.4, (12, 24, 2.0), {}),
}
SEEDS = 1


def measured(name: str, seed: int) -> dict[str, Any]:
    slates, campaigns, days, share, shock, more = CASES[name]
    budget = budgets(draw_day(seed, slates, campaigns, days=days), campaigns, share)
    day = draw_day(seed, slates, campaigns, days=days, shock=shock)
    paced = pace(day, budget, days=days, seed=seed + 100, beat=HOUR // 60, **more)
    ratio = paced.spent / budget
    row = {
        "case": name, "seed": seed, "slates": len(day.at),
        "overspent_most": round(float(max(0.0, ratio.max() - 1)), 5),
        "overspent_money": round(float((paced.spent - budget).clip(0).sum() / budget.sum()), 6),
        "spent": round(float(paced.spent.sum() / budget.sum()), 4), "spent_least": round(float(ratio.min()), 4),
        "value": round(paced.value / best_possible(day, budget), 4),
    }  # fmt: skip
    print(json.dumps(row), flush=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="folder of dated result files")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    options = parser.parse_args()
    rows = [measured(name, seed) for name in CASES for seed in range(options.seeds)]
    result = {
        **frame("pacing", ".venv/bin/python benchmarks/pacing.py --out benchmarks/results"),
        "simulated": "days, offers, shoppers and sales are drawn",
        "rows": rows,
        "met": {"overspending of 2 % at most, in every campaign": max(row["overspent_most"] for row in rows) <= 0.02},
    }
    print(json.dumps(result["met"]))
    write(result, "pacing", options.out)


if __name__ == "__main__":
    main()
