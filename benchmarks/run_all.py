"""Run every benchmark that has a figure to reach, one after another, and write dated result files.

Run it: make bench   (about two hours, most of it the published tables; `batch_topk` needs faiss-cpu, and
`faces_lfw_small` and most published tables need FACINGS_BENCHMARK_DATA or ../shared/data)
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
# A search over settings is no benchmark, nor is what they all share.
OTHERS = {"frame.py", "run_all.py", "tune_lightfm_complete_journey.py", "tune_sequential_beauty.py"}


def main() -> None:
    failed = []
    for script in sorted(FOLDER.glob("*.py")):
        if script.name in OTHERS:
            continue
        print(f"== {script.name}", flush=True)
        command = [sys.executable, str(script), "--out", str(FOLDER / "results")]
        if subprocess.run(command, cwd=FOLDER.parent, check=False).returncode:
            failed.append(script.name)
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
