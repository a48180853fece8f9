"""Off-policy estimates on real logs agree with what the other policy earned (needs the data of the wheel `obp`)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("FACINGS_BENCHMARK_DATA", ROOT.parent / "shared" / "data")) / "obp"


@pytest.mark.skipif(
    not (DATA / "dataset" / "obd").is_dir(),
    reason=f"no Open Bandit sample at {DATA}; benchmarks/open_bandit.py says how to get it",
)
def test_each_policy_judged_from_the_others_log_agrees_with_what_it_earned(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "open_bandit.py"), "--data", str(DATA), "--out", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    (result,) = tmp_path.glob("open_bandit-*.json")
    rows = json.loads(result.read_text())["rows"]
    assert len(rows) == 24
    for row in rows:
        assert all(row["agrees"][name] for name in ("ips", "snips", "dr", "switch")), row
    whole = {(row["campaign"], row["logged"]): row for row in rows if row["position"] == "all"}
    for campaign in ("all", "men", "women"):
        assert whole[campaign, "random"]["trusted"], "of all that was drawn alike, much can be told"
    assert not whole["women", "bts"]["trusted"], "a propensity of a millionth in 10,000 rows is no exploration"
