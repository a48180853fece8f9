"""Ingest all of Complete Journey (22.7 million rows) into a fresh home, then the same folder again.

Run it: .venv/bin/python benchmarks/ingest_complete_journey.py --out benchmarks/results
CPU seconds are those of the whole process over all its threads; the memory is its peak, the first ingest included.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.frame import frame, write
from configs.clock import SystemClock
from configs.settings import Settings
from pipelines.signals.ingest import ingest
from pipelines.signals.sources.complete_journey import write_complete_journey

COMMAND = ".venv/bin/python benchmarks/ingest_complete_journey.py --out benchmarks/results"


def peak_gib() -> float:
    """The process's largest resident memory so far (Linux counts it in KiB)."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)


def measure(folder: Path, home: Path) -> dict[str, Any]:
    """Ingest once; seconds, CPU seconds and counts."""
    settings = Settings(home=home)
    wall, cpu = time.perf_counter(), time.process_time()
    report = ingest(folder, settings.paths, clock=SystemClock(), settings=settings, progress=print)
    return {
        "seconds": round(time.perf_counter() - wall, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "peak_gib": peak_gib(),
        "rows": sum(count.rows for count in report.tables.values()),
        "kept": sum(count.kept for count in report.tables.values()),
        "duplicates": sum(count.duplicates for count in report.tables.values()),
        "quarantined": sum(count.quarantined for count in report.tables.values()),
        "fingerprint": report.fingerprint,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the dated result file")
    out: Path = parser.parse_args().out
    with tempfile.TemporaryDirectory() as root:
        folder, home = Path(root) / "tables", Path(root) / "home"
        start = time.process_time()
        write_complete_journey(folder, progress=print)
        adapter = round(time.process_time() - start, 1)
        first, again = measure(folder, home), measure(folder, home)
    assert first["fingerprint"] == again["fingerprint"] and again["kept"] == 0
    result = {
        **frame("ingest_complete_journey", COMMAND, "polars", "pyarrow", "pandera", "numpy"),
        "adapter_cpu_seconds": adapter,
        "first": first,
        "again": again,
    }
    write(result, "ingest_complete_journey", out)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
