"""The closed loop in every variant of the response model: what the product earns of what an oracle would.

Run it: .venv/bin/python benchmarks/closed_loop.py --out benchmarks/results   (about four minutes a variant and seed)
Each run is a process of its own with the default sizes of `facings loop`. The goals: after 14 days at least 85 % of the
oracle's incremental profit, and at least 1.3 times the better of popularity and response-model targeting.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.frame import today, write
from pipelines.closed_loop.config import LoopConfig
from pipelines.closed_loop.figures import PRODUCT
from pipelines.closed_loop.loop import run_loop
from pipelines.closed_loop.report import summary
from pipelines.simulation.config import VARIANTS

COMMAND = ".venv/bin/python benchmarks/closed_loop.py --out benchmarks/results"
DAYS = 14
GOAL = {"share_of_oracle": 0.85, "ratio_to_targeting": 1.3}


def measure(variant: str, seed: int) -> dict[str, Any]:
    """Run one loop; its figures without the days of each policy, and what it took."""
    config = LoopConfig.model_validate({"variant": variant, "seed": seed, "days": DAYS})
    wall, cpu = time.perf_counter(), time.process_time()
    told = summary(run_loop(config, None, progress=lambda line: print(line, file=sys.stderr, flush=True)))
    for one in told["policies"].values():
        one.pop("knows")
        one["incremental_by_day"] = [day["incremental"] for day in one.pop("days")]
    told["trainings"] = [{**one, "reasons": one["reasons"][:1]} for one in told["trainings"]]
    return {
        "variant": variant,
        "seed": seed,
        "share_of_oracle": told["policies"][PRODUCT]["share_of_oracle"],
        "ratio_to_targeting": told["ratio_to_targeting"],
        **told,
        "seconds": round(time.perf_counter() - wall, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="folder of the dated result file")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[1])
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one is not None:
        print(json.dumps(measure(options.one[0], int(options.one[1]))))
        return
    if options.out is None:
        parser.error("--out is needed")
    runs = []
    for variant in options.variants:
        for seed in options.seeds:
            print(f"== {variant}, seed {seed}", file=sys.stderr, flush=True)
            command = [sys.executable, __file__, "--one", variant, str(seed)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            runs.append(json.loads(done.stdout))
            told = {
                "command": COMMAND,
                "date": today(),
                "simulated": True,
                "machine": {"python": platform.python_version(), "cpus": os.cpu_count()},
                "goal": GOAL,
                "runs": runs,
            }
            write(told, "closed_loop", options.out)


if __name__ == "__main__":
    main()
