"""Simulate towns: a million interactions, then 200,000 and a million shoppers, each in a process of its own.

Run it: .venv/bin/python benchmarks/simulate.py --out benchmarks/results   (about four minutes)

The goal is a million interactions in at most 20 seconds of wall time, the folder written and every table in it. CPU
seconds are the process's over all its threads; the memory is its peak.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.frame import frame, write
from pipelines.simulation.config import TownConfig
from pipelines.simulation.history import write_history

COMMAND = ".venv/bin/python benchmarks/simulate.py --out benchmarks/results"
# shoppers, stores, days, variant
SIZES = [
    (20_000, 40, 17, "base"),
    (20_000, 40, 17, "threshold"),
    (20_000, 40, 17, "habit"),
    (20_000, 40, 17, "social"),
    (20_000, 40, 17, "mixed"),
    (200_000, 200, 4, "base"),
    (200_000, 200, 8, "base"),
    (1_000_000, 500, 1, "base"),
]


def measure(shoppers: int, stores: int, days: int, variant: str) -> dict[str, Any]:
    """Write one town; seconds and peak of this process."""
    config = TownConfig.model_validate({"shoppers": shoppers, "stores": stores, "days": days, "variant": variant})
    wall, cpu = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as root:
        report = write_history(config, 1, Path(root) / "town", progress=lambda _: None)
        size = sum(path.stat().st_size for path in (Path(root) / "town").iterdir())
    seconds = time.perf_counter() - wall
    interactions = report.tables["interactions"]
    return {
        "shoppers": shoppers,
        "stores": stores,
        "items": config.items,
        "days": days,
        "variant": variant,
        "interactions": interactions,
        "rows": sum(report.tables.values()),
        "seconds": round(seconds, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "seconds_a_million_interactions": round(1e6 * seconds / interactions, 1),
        "peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        "folder_mib": round(size / 2**20, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="folder of the dated result file")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one is not None:
        print(json.dumps(measure(*SIZES[options.one])))
        return
    if options.out is None:
        parser.error("--out is needed")
    root = Path(__file__).resolve().parents[1]
    towns = []
    for number, size in enumerate(SIZES):
        print(f"{size}", flush=True)
        done = subprocess.run(
            [sys.executable, __file__, "--one", str(number)],
            env=os.environ | {"PYTHONPATH": str(root)},
            check=True,
            capture_output=True,
            text=True,
        )
        towns.append(json.loads(done.stdout))
        print(towns[-1], flush=True)
    result = {
        **frame("simulate", COMMAND, "numpy", "polars", "pyarrow"),
        "towns": towns,
    }
    write(result, "simulate", options.out)


if __name__ == "__main__":
    main()
