"""The published tables as `facings benchmark` prints them, with dated result files.

Run it: .venv/bin/python benchmarks/published_tables.py [NAME …] --out benchmarks/results
All but cold-items and the two of Complete Journey need FACINGS_BENCHMARK_DATA or ../shared/data; a table without data
is left out, and said so.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.frame import frame, write
from cli.benchmark import TABLES

PACKAGES = ("rectools-lightfm", "torch", "lightgbm", "numpy", "pandas", "scipy")
SEEDS = {
    "complete-journey": 1,
    "complete-journey-campaigns": 1,
    "cold-items": 1,
    "movielens-lightfm": 5,
    "amazon-loo": 3,
    "tafeng-taiw": 1,
    "taobao-taiw": 3,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="folder of dated result files")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"only these of {', '.join(SEEDS)}")
    options = parser.parse_args()
    if unknown := set(options.names) - set(SEEDS):
        parser.error(f"there is no table {', '.join(sorted(unknown))}; there are {', '.join(SEEDS)}")
    data = Path(os.environ.get("FACINGS_BENCHMARK_DATA") or "../shared/data")
    environment = {**os.environ, "FACINGS_BENCHMARK_DATA": str(data)}
    for name in options.names or SEEDS:
        folder = TABLES[name][1]
        if folder is not None and not (data / folder).exists():
            print(f"{name}: left out, there is no {data / folder} (set FACINGS_BENCHMARK_DATA)")
            continue
        words = ["benchmark", name, "--seeds", str(SEEDS[name]), "--json"]
        started = time.monotonic()
        command = [sys.executable, "-m", "cli.main", *words]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
        if not done.stdout:  # the verb has said why on standard error
            sys.exit(done.returncode or 1)
        table = json.loads(done.stdout)
        result = {
            **frame(name, f"facings {' '.join(words)}", *PACKAGES),
            "seconds": round(time.monotonic() - started, 1),
            **table,
        }
        print(json.dumps({key: result[key] for key in ("benchmark", "seconds", "reproduced")}))
        write(result, name, options.out)


if __name__ == "__main__":
    main()
