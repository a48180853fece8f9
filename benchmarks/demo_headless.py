"""Time and memory of `facings demo --headless` in a fresh home: what a new user waits for after the installation.

Run it: .venv/bin/python benchmarks/demo_headless.py --out benchmarks/results
Memory is the largest resident set of any one process of the demonstration, as the operating system counts it.
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

from benchmarks.frame import frame, write

COMMAND = ".venv/bin/python benchmarks/demo_headless.py --out benchmarks/results"
LIMITS = {"seconds": 300, "peak_gib": 6.0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="folder of a dated result file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "FACINGS_HOME": home}
        started = time.monotonic()
        demo = [sys.executable, "-m", "cli.main", "demo", "--headless", "--json"]
        done = subprocess.run(demo, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        seconds = time.monotonic() - started
    shown = json.loads(done.stdout)
    result = {
        **frame("demo_headless", COMMAND, "feast", "mlflow", "prefect", "rectools-lightfm", "polars", "duckdb"),
        "seconds": round(seconds, 1),
        "peak_gib": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024**2, 2),
        "limits": LIMITS,
        "slate": {key: shown[key] for key in ("model_version", "fallback", "stock_rule")},
    }
    print(json.dumps(result, indent=1))
    write(result, "demo_headless", options.out)


if __name__ == "__main__":
    main()
