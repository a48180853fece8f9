"""Features of a generated shop of more and more shoppers: seconds and peak memory to compute, store and bring online.

Run it: .venv/bin/python benchmarks/features_growth.py --out benchmarks/results
Each size in a process of its own. Ten purchases a shopper within a year; two moments a week apart, the first as a whole
and once more after 1 % of the purchases came late. CPU seconds count all threads, since wall time on a shared machine
says little.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.frame import frame, load, machine, write

COMMAND = ".venv/bin/python benchmarks/features_growth.py --out benchmarks/results"
SIZES = (10_000, 100_000, 1_000_000)
ONLINE_UP_TO = 100_000
LINES = 10
END = datetime(2026, 6, 1, tzinfo=UTC)


def write_shop(folder: Path, shoppers: int, late: bool) -> int:
    """Write one part of interactions: all but the last 1 %, or that; return its rows."""
    random = np.random.default_rng(1)
    rows = shoppers * LINES
    who = random.integers(0, shoppers, rows)
    seconds = np.sort(random.integers(1, 365 * 86_400, rows))[::-1]
    table = pl.DataFrame(
        {
            "shopper_id": pl.Series(who).cast(pl.String).str.zfill(9),
            "item_id": pl.Series(random.zipf(1.3, rows) % 20_000).cast(pl.String),
            "event_type": pl.Series(["purchase"]).new_from_index(0, rows),
            "event_time": pl.Series(int(END.timestamp()) - seconds).cast(pl.Int64) * 1_000_000,
            "store_id": pl.Series(who % 50).cast(pl.String),
            "price": pl.Series(random.integers(50, 2000, rows) / 100),
        }
    ).with_columns(pl.col("event_time").cast(pl.Datetime("us", "UTC")))
    came_late = pl.Series(random.random(rows) < 0.01)
    part = table.filter(came_late if late else ~came_late)
    folder.mkdir(parents=True, exist_ok=True)
    part.write_parquet(folder / f"{'late' if late else 'early'}.parquet")
    return part.height


def measure(shoppers: int) -> dict[str, Any]:
    """Materialise a shop of that many shoppers in this process."""
    import pandas as pd

    from configs.clock import FixedClock
    from configs.settings import Settings
    from features.store import FeatureStore
    from pipelines.signals.feature_store.materialise import materialise
    from pipelines.signals.lake.lake import Lake, Manifest, Part

    with tempfile.TemporaryDirectory() as root:
        settings = Settings(home=Path(root) / "home")
        lake, parts = Lake(settings.paths), list[Part]()
        found: dict[str, Any] = {"shoppers": shoppers}
        clock = FixedClock(END)
        for name, moments in (("first", [pd.Timestamp(END), pd.Timestamp(END) - pd.Timedelta(days=7)]), ("late", None)):
            rows = write_shop(lake.folder / "interactions", shoppers, late=name == "late")
            parts.append(
                Part(file=f"interactions/{'late' if name == 'late' else 'early'}.parquet", rows=rows, digest=rows)
            )
            lake.commit(Manifest(tables={"interactions": tuple(parts)}))
            wall, cpu = time.perf_counter(), time.process_time()
            report = materialise(
                settings,
                lake,
                as_of=moments or [pd.Timestamp(END)],
                clock=clock,
                progress=lambda _: None,
                online=False,
            )
            found[name] = {
                "moments": len(report.as_of),
                "rows": sum(view.computed for view in report.views.values()),
                "written": sum(view.written for view in report.views.values()),
                **_spent(wall, cpu),
            }
        if shoppers <= ONLINE_UP_TO:
            wall, cpu = time.perf_counter(), time.process_time()
            with closing(FeatureStore(settings, clock=clock)) as store:
                brought = store.materialise(END, progress=lambda _: None)
            found["online"] = {"rows": sum(brought.values()), **_spent(wall, cpu)}
    return found


def _spent(wall: float, cpu: float) -> dict[str, float]:
    return {
        "seconds": round(time.perf_counter() - wall, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "peak_gib_so_far": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the dated result file")
    parser.add_argument("--only", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="numbers of shoppers")
    given = parser.parse_args()
    if given.only:
        print(json.dumps(measure(given.only)))
        return
    results = []
    for size in given.sizes:
        command = [sys.executable, __file__, "--out", str(given.out), "--only", str(size)]
        ran = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        results.append(json.loads(ran.stdout.strip().splitlines()[-1]))
        print(results[-1], flush=True)
    record = {
        **frame(
            "features_growth",
            f"{COMMAND} --sizes {' '.join(map(str, given.sizes))}",
            "feast",
            "duckdb",
            "polars",
            "pandas",
            where=machine(load()),
        ),
        "results": results,
    }
    print(write(record, "features_growth", given.out))


if __name__ == "__main__":
    main()
