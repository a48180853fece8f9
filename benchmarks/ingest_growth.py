"""How an ingest of interactions grows with their number: seconds and peak memory of a process of its own for each size.

Run it: .venv/bin/python benchmarks/ingest_growth.py --out benchmarks/results   (about ten minutes on two cores)

The data is synthetic and seeded. Each size is ingested as parquet, as CSV and as 365 parquet files, one a day, into a
fresh home, in a process whose largest resident memory is taken, and then once more, when every row is there (and no
daily file is read). The sizes are compared side by side on one machine, by CPU seconds; wall-clock seconds may be those
of a machine that has other things to do. A hundred million is not run: it is put on paper from the two largest.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from benchmarks.frame import frame, write

SIZES = (3_000_000, 10_000_000, 30_000_000)
CHUNK = 1_000_000
DAYS = 365
FORMATS = ("parquet", "csv", "daily")
GOAL_ROWS, GOAL_SECONDS, GOAL_GIB = 10_000_000, 120.0, 4.0
PAPER_ROWS = 100_000_000
# Linear: a row of the larger size may cost at most so much more than a row of the smaller one.
SLACK = 1.25


def write_tables(folder: Path, rows: int, form: str) -> None:
    """Interactions of rows / 50 shoppers, each with an id of its own, and the stores they name; in one pass."""
    folder.mkdir(parents=True)
    stores = [f"store-{number:04}" for number in range(500)]
    pl.DataFrame({"store_id": stores}).write_csv(folder / "stores.csv")
    size = -(-rows // DAYS) if form == "daily" else CHUNK
    starts = range(0, rows, size)
    parts = (_chunk(np.random.default_rng([7, start]), start, min(size, rows - start), rows) for start in starts)
    if form == "daily":
        (folder / "interactions").mkdir()
        for number, part in enumerate(parts):
            part.write_parquet(folder / "interactions" / f"day-{number:03}.parquet")
    elif form == "csv":
        with (folder / "interactions.csv").open("wb") as file:
            for number, part in enumerate(parts):
                part.write_csv(file, include_header=number == 0)
    else:
        first = next(parts).to_arrow()
        with pq.ParquetWriter(folder / "interactions.parquet", first.schema) as writer:
            writer.write_table(first)
            for part in parts:
                writer.write_table(part.to_arrow())


def _chunk(chance: np.random.Generator, start: int, rows: int, total: int) -> pl.DataFrame:
    shopper = (chance.random(rows) ** 2 * (total // 50)).astype(np.int64)
    item = (chance.random(rows) ** 3 * 50_000).astype(np.int64)
    seconds = chance.integers(0, 365 * 86_400 * 1_000_000, rows)
    return pl.DataFrame(
        {"number": np.arange(start, start + rows), "shopper": shopper, "item": item, "moment": seconds}
    ).select(
        pl.format("event-{}", "number").alias("event_id"),
        pl.format("shopper-{}", "shopper").alias("shopper_id"),
        pl.format("item-{}", "item").alias("item_id"),
        pl.Series("event_type", ["view", "click", "purchase"]).gather(chance.choice(3, rows, p=[0.6, 0.2, 0.2])),
        (pl.lit(datetime(2025, 1, 1)).dt.epoch("us") + pl.col("moment")).cast(pl.Datetime("us")).alias("event_time"),
        pl.format("store-{}", pl.Series(chance.integers(0, 500, rows)).cast(pl.String).str.zfill(4)).alias("store_id"),
        pl.format("basket-{}", pl.col("number") // 5).alias("basket_id"),
        pl.Series("quantity", chance.integers(1, 5, rows)),
        pl.Series("price", np.round(chance.gamma(2.0, 4.0, rows), 2)),
        pl.lit("EUR").alias("currency"),
    )


def measure(folder: Path, home: Path) -> dict[str, Any]:
    """Ingest in this process; called in a process of its own."""
    from configs.clock import SystemClock
    from configs.settings import Settings
    from pipelines.signals.ingest import ingest

    settings = Settings(home=home)
    wall, cpu = time.perf_counter(), time.process_time()
    report = ingest(folder, settings.paths, clock=SystemClock(), settings=settings, progress=lambda _: None)
    count = report.tables["interactions"]
    return {
        "seconds": round(time.perf_counter() - wall, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        **count.model_dump(),
        "fingerprint": report.fingerprint,
    }


def _child(folder: Path, home: Path) -> dict[str, Any]:
    run = subprocess.run(
        [sys.executable, __file__, "--measure", str(folder), str(home)], stdout=subprocess.PIPE, check=True
    )
    told: dict[str, Any] = json.loads(run.stdout)
    return told


def _run(rows: int, form: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as root:
        folder, home = Path(root) / "shop", Path(root) / "home"
        write_tables(folder, rows, form)
        size = round(sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 2**20)
        first = _child(folder, home)
        if form != "daily":  # the same file elsewhere is read, and every row of it is known
            folder = folder.rename(Path(root) / "again")
        again = _child(folder, home)
    assert first["kept"] == rows == again["duplicates"] and first["fingerprint"] == again["fingerprint"]
    return {"rows": rows, "format": form, "files_mb": size, "first": first, "again": again}


def verdict(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Compare each size with the next by what one row more costs, and put PAPER_ROWS on paper."""
    told: dict[str, Any] = {"met": True, "growth": []}
    for form in dict.fromkeys(run["format"] for run in runs):
        these = sorted((run for run in runs if run["format"] == form), key=lambda run: run["rows"])
        for which in ("first", "again"):
            for small, large in itertools.pairwise(these):
                factor = large["rows"] / small["rows"]
                seconds = large[which]["cpu_seconds"] / small[which]["cpu_seconds"]
                memory = large[which]["peak_gib"] / small[which]["peak_gib"]
                linear = seconds <= SLACK * factor and memory <= SLACK * factor
                told["growth"].append(
                    {
                        "format": form, "ingest": which, "from": small["rows"], "to": large["rows"],
                        "rows_times": round(factor, 2), "cpu_seconds_times": round(seconds, 2),
                        "peak_times": round(memory, 2), "linear": linear,
                    }
                )  # fmt: skip
                told["met"] &= linear
            if len(these) > 1:
                small, large = these[-2], these[-1]
                told.setdefault("on_paper", []).append(
                    {"format": form, "ingest": which, "rows": PAPER_ROWS}
                    | {key: round(_line(small, large, which, key), 1) for key in ("seconds", "cpu_seconds", "peak_gib")}
                )
            for run in these:
                if run["rows"] == GOAL_ROWS:
                    told["met"] &= run[which]["cpu_seconds"] <= GOAL_SECONDS and run[which]["peak_gib"] <= GOAL_GIB
    return told


def _line(small: dict[str, Any], large: dict[str, Any], which: str, key: str) -> float:
    slope = (large[which][key] - small[which][key]) / (large["rows"] - small["rows"])
    return float(large[which][key] + slope * (PAPER_ROWS - large["rows"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="folder of the dated result file")
    parser.add_argument("--rows", type=int, nargs="+", default=SIZES, help="sizes, in rows")
    parser.add_argument("--formats", nargs="+", default=FORMATS, choices=FORMATS)
    parser.add_argument("--measure", type=Path, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(*options.measure)))
        return
    runs: list[dict[str, Any]] = []
    for rows in options.rows:
        for form in options.formats:
            runs.append(_run(rows, form))
            print(json.dumps(runs[-1]), file=sys.stderr, flush=True)
            write(_result(runs), "ingest_growth", options.out)
    print(json.dumps(_result(runs), indent=1))


def _result(runs: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        **frame(
            "ingest_growth",
            " ".join([".venv/bin/python benchmarks/ingest_growth.py", *sys.argv[1:]]),
            "polars",
            "pyarrow",
            "pandera",
            "numpy",
        ),
        "data": "synthetic",
        "load_average": round(os.getloadavg()[2], 1),
        "goal": f"{GOAL_ROWS:,} rows in at most {GOAL_SECONDS:g} CPU s and {GOAL_GIB:g} GiB; linear within {SLACK:g}",
        **verdict(runs),
        "runs": runs,
    }


if __name__ == "__main__":
    main()
