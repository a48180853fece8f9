"""The published tables as `facings benchmark` prints them, with dated result files.

Run it: .venv/bin/python benchmarks/published_tables.py --out benchmarks/results
MovieLens needs FACINGS_BENCHMARK_DATA or ../shared/data; without it that table is left out, and said so.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

SEEDS = {"complete-journey": 1, "movielens-lightfm": 5}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="folder of dated result files")
    options = parser.parse_args()
    data = Path(os.environ.get("FACINGS_BENCHMARK_DATA") or "../shared/data")
    environment = {**os.environ, "FACINGS_BENCHMARK_DATA": str(data)}
    for name, seeds in SEEDS.items():
        if name == "movielens-lightfm" and not (data / "ml-100k").is_dir():
            print(f"{name}: left out, there is no MovieLens data (set FACINGS_BENCHMARK_DATA)")
            continue
        words = ["benchmark", name, "--seeds", str(seeds), "--json"]
        started = time.monotonic()
        command = [sys.executable, "-m", "cli.main", *words]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
        if not done.stdout:  # the verb has said why on standard error
            sys.exit(done.returncode or 1)
        table = json.loads(done.stdout)
        result = {
            "benchmark": name,
            "command": f"facings {' '.join(words)}",
            "date": datetime.now(UTC).date().isoformat(),
            "machine": f"{platform.machine()}, {platform.system()}, {os.cpu_count()} cores",
            "versions": {package: version(package) for package in ("rectools-lightfm", "numpy", "pandas", "scipy")},
            "seconds": round(time.monotonic() - started, 1),
            **table,
        }
        print(json.dumps({key: result[key] for key in ("benchmark", "seconds", "reproduced")}))
        if options.out:
            path = options.out / f"{name}-{result['date']}.json"
            path.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
