"""`facings plan` on one core: a million shoppers × four depths, and its distance from the linear program's optimum.

Run it: .venv/bin/python benchmarks/plan.py --out benchmarks/results

Shoppers, prices and chances are drawn: each shopper has one of 200 items at four depths of discount (for three slots
six items at two), items belong to 10 campaigns whose budgets bind or not, stock binds for some. All of it runs in a
process of its own on one core, from the start of Python to the plan on the disk; `plan_seconds` is CPU time without
reading and writing. HiGHS solves the same tables as one linear program where it is done within minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from scipy.optimize import linprog
from scipy.sparse import csr_array, vstack

from benchmarks.frame import frame, machine, write

ITEMS, CAMPAIGNS = 200, 10
SIZES = ((10_000, 1), (50_000, 1), (100_000, 1), (300_000, 1), (1_000_000, 1), (100_000, 3))
EXACT = 50_000
Frames = tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]


def tables(shoppers: int, slots: int, seed: int) -> Frames:
    draws = np.random.default_rng(seed)
    items, depths = (1, np.array([0.05, 0.1, 0.2, 0.3])) if slots == 1 else (6, np.array([0.1, 0.25]))
    rows = shoppers * items
    item = draws.permuted(np.tile(np.arange(ITEMS), (shoppers, 1)), axis=1)[:, :items].ravel() if items > 1 else (
        draws.integers(0, ITEMS, rows)
    )  # fmt: skip
    price, liking = draws.gamma(3, 2, ITEMS)[item] + 1, draws.normal(-2, 1, rows)
    shopper, item, price, liking = (
        np.repeat(part, len(depths)) for part in (np.repeat(np.arange(shoppers), items), item, price, liking)
    )
    depth = np.tile(depths, rows)
    chance, before = 1 / (1 + np.exp(-liking - 4 * depth)), 1 / (1 + np.exp(-liking + 0.5))
    campaign = item % CAMPAIGNS
    cost = chance * price * depth
    value = chance * price * (0.5 - depth) - before * price * 0.5 * 0.5

    def named(letter: str, codes: np.ndarray[Any, Any]) -> pd.Series:
        return pd.Series(pd.arrays.ArrowStringArray(pa.array(np.char.add(letter, codes.astype(str)))))

    offer = np.char.add(np.char.add("o", item.astype(str)), np.char.add("-", (depth * 100).astype(int).astype(str)))
    values = pd.DataFrame(
        {
            "shopper_id": named("s", shopper),
            "offer_id": pd.Series(offer),
            "item_id": named("i", item),
            "campaign_id": named("c", campaign),
            "value": value,
            "cost": cost,
        }
    )
    share = draws.uniform(0.03, 0.3, CAMPAIGNS)
    budget = np.bincount(campaign, np.where(value > 0, cost, 0), minlength=CAMPAIGNS) * share
    campaigns = pd.DataFrame({"campaign_id": [f"c{c}" for c in range(CAMPAIGNS)], "budget": budget.round(2)})
    units = (shoppers * items / ITEMS * draws.uniform(0.1, 1.0, ITEMS)).astype(int)
    return values, campaigns, pd.DataFrame({"item_id": [f"i{i}" for i in range(ITEMS)], "units": units})


def highs(frames: Frames, slots: int) -> tuple[float, dict[str, float], float]:
    """The optimum, what it spends by campaign, and the seconds."""
    values, campaigns, stock = frames
    started = time.perf_counter()
    blocks, limits = [], []
    columns = np.arange(len(values))
    budget, units = campaigns.set_index("campaign_id")["budget"], stock.set_index("item_id")["units"]
    for keys, use, limit in (
        (["campaign_id"], values["cost"].to_numpy(), budget),
        (["item_id"], np.ones(len(values)), units),
        (["shopper_id"], np.ones(len(values)), slots),
        *([(["shopper_id", "item_id"], np.ones(len(values)), 1)] if slots > 1 else []),
    ):
        code, names = pd.MultiIndex.from_frame(values[keys].astype(str)).factorize()
        blocks.append(csr_array((use, (code, columns)), shape=(len(names), len(values))))
        limits += [limit] * len(names) if isinstance(limit, int) else limit.loc[[name[0] for name in names]].tolist()
    done = linprog(-values["value"].to_numpy(), A_ub=vstack(blocks), b_ub=limits, bounds=(0, 1), method="highs")
    spent = (values["cost"] * done.x).groupby(values["campaign_id"].astype(str)).sum()
    return -float(done.fun), spent.to_dict(), time.perf_counter() - started


RUN = """
import json, sys, time
from datetime import UTC, datetime
from pathlib import Path
from pipelines.offers.budgets import plan
inner, timed = plan.allocate, []
def allocate(*a, **k):
    began = time.process_time()
    found = inner(*a, **k)
    timed.append(time.process_time() - began)
    return found
plan.allocate = allocate
folder, slots = Path(sys.argv[1]), int(sys.argv[2])
files = plan.Files(folder / "values.parquet", folder / "campaigns.csv", folder / "stock.csv")
found = plan.plan_offers(files, slots=slots, now=datetime.now(UTC), progress=lambda line: None)
plan.write_plan(found.table, folder / "plan.parquet")
import resource
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({**found.totals, "plan_seconds": timed[0], "cpu_seconds": used.ru_utime + used.ru_stime,
                  "peak_gb": used.ru_maxrss / 2**20}))
"""


def planned(folder: Path, slots: int) -> dict[str, Any]:
    """The plan of the folder's tables, in a process of its own on one core; wall, CPU and memory with it."""
    core = sorted(os.sched_getaffinity(0))[0]
    quiet = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(folder), str(slots)],
        env=quiet, capture_output=True, text=True, check=True, preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )  # fmt: skip
    return {**json.loads(done.stdout), "wall_seconds": time.perf_counter() - started}


def broken(frames: Frames, folder: Path, slots: int) -> int:
    """How many limits and rules the written plan breaks."""
    values, campaigns, stock = frames
    given = pd.read_parquet(folder / "plan.parquet").merge(
        values.astype(dict.fromkeys(("shopper_id", "offer_id", "item_id", "campaign_id"), str)),
        on=["shopper_id", "offer_id"],
        validate="1:1",
    )
    spent = given.groupby("campaign_id")["cost"].sum()
    over = int((spent > campaigns.set_index("campaign_id")["budget"].reindex(spent.index) + 1e-6).sum())
    units = given["item_id"].value_counts()
    over += int((units > stock.set_index("item_id")["units"].reindex(units.index)).sum())
    over += int((given.groupby("shopper_id").size() > slots).sum())
    return over + int(given.duplicated(["shopper_id", "item_id"]).sum()) + int((given["value"] <= 0).sum())


def measured(shoppers: int, slots: int) -> dict[str, Any]:
    frames = tables(shoppers, slots, seed=1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        frames[0].to_parquet(folder / "values.parquet")
        frames[1].to_csv(folder / "campaigns.csv", index=False)
        frames[2].to_csv(folder / "stock.csv", index=False)
        told = planned(folder, slots)
        row = {
            "shoppers": shoppers, "options": len(frames[0]), "slots": slots,
            "plan_seconds": round(told["plan_seconds"], 2), "cpu_seconds": round(told["cpu_seconds"], 2),
            "wall_seconds": round(told["wall_seconds"], 2), "peak_gb": round(told["peak_gb"], 2),
            "value": round(told["value"], 2), "gap_to_bound": told["gap"],
            "rules_broken": broken(frames, folder, slots),
            "spent_of_binding_budgets": spent_of_binding(told, frames[1]),
        }  # fmt: skip
    if shoppers <= EXACT:
        optimum, spent, seconds = highs(frames, slots)
        row |= {"gap_to_highs": 1 - told["value"] / optimum, "highs_seconds": round(seconds, 1)}
        row["spent_to_highs"] = round(sum(told["spent"].values()) / sum(spent.values()), 6)
    print(json.dumps(row), flush=True)
    return row


def spent_of_binding(told: dict[str, Any], campaigns: pd.DataFrame) -> float:
    """The least share of a budget that is spent, of those with a price."""
    budget = campaigns.set_index("campaign_id")["budget"]
    return round(min((told["spent"][c] / budget[c] for c, price in told["shadow_prices"].items() if price > 0)), 6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="folder of dated result files")
    options = parser.parse_args()
    rows = [measured(shoppers, slots) for shoppers, slots in SIZES]
    largest = next(row for row in rows if row["shoppers"] == 1_000_000)
    gaps = [row.get("gap_to_highs", row["gap_to_bound"]) for row in rows]
    result = {
        **frame(
            "plan",
            ".venv/bin/python benchmarks/plan.py --out benchmarks/results",
            "numpy",
            "pyarrow",
            "scipy",
            where=machine("one of them used"),
        ),
        "load_at_end": os.getloadavg()[0],
        "rows": rows,
        "met": {
            "gap of 0.1 % at most": max(gaps) <= 1e-3,
            "a million shoppers × 4 within 5 s of one core, whole command": largest["cpu_seconds"] <= 5,
            "no rule broken": not any(row["rules_broken"] for row in rows),
        },
    }
    print(json.dumps(result["met"], indent=1))
    write(result, "plan", options.out)


if __name__ == "__main__":
    main()
