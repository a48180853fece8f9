"""`facings backfill`: any window, in any order, interrupted at any step, ends in the features of one clean run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from configs.errors import FacingsError, UsageError
from configs.settings import load_settings
from pipelines.signals.lake.lake import Lake
from tests.command import facings
from tests.dying_backfill import EVERY, FIRST, LAST, NEW, OLD, answers, fill, keep

ROOT = Path(__file__).resolve().parents[2]


def test_windows_in_any_order_with_late_data_in_between_end_as_one_clean_run(tmp_path: Path) -> None:
    clean, ours = load_settings(home=tmp_path / "clean"), load_settings(home=tmp_path / "ours")
    report = fill(clean, keep(clean, NEW))
    assert (report.moments, report.computed) == (3, 3)
    fill(ours, keep(ours, OLD), LAST)
    fill(ours, keep(ours, OLD), FIRST, FIRST)
    lake = keep(ours, NEW)
    fill(ours, lake, FIRST + EVERY, FIRST + EVERY)
    fill(ours, lake, LAST)
    assert fill(ours, lake).computed == 1  # the other two were, from the same data
    assert answers(ours) == answers(clean)
    again = fill(ours, lake)
    assert again.computed == 0 and all(view.written == 0 for view in again.views.values())
    assert again.views["shopper"].online == report.views["shopper"].online + 1  # cy's row says: nothing


def test_a_backfill_killed_at_any_step_and_run_again_ends_as_one_clean_run(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "tests.dying_backfill", str(tmp_path), "2"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    said = json.loads(ran.stdout)
    assert said["steps"] > 20 and len(said["killed"]) == 2
    assert said["clean"]["shopper"]["recency_days"] == {"0": 42.0, "1": 20.0, "2": None, "3": 7.0}
    for step, answer in said["killed"].items():
        assert answer == said["clean"], step


def test_the_command_says_what_it_did_and_refuses_what_makes_no_sense(home: Path) -> None:
    lake = keep(load_settings(), NEW)
    ran = facings("backfill", "--from", "2024-05-04", "--to", "2024-05-20", "--every", "14d", "--json")
    assert ran.code == 0 and ran.told["moments"] == 2 and ran.told["computed"] == 2
    assert ran.told["last"] == "2024-05-18T00:00:00Z" and ran.told["views"]["shopper"]["written"] == 5
    assert "back-fill: 2 of 2 moments" in ran.err
    for wrong, said in (
        (("--from", "2024-05-04", "--to", "2024-05-01"), "The window is empty"),
        (("--from", "2024-05-04", "--to", "2999-05-01"), "lies in the future"),
        (("--from", "2024-05-04", "--to", "2024-06-01", "--every", "0d"), "longer than nothing"),
        (("--from", "1990-05-04", "--to", "2024-06-01", "--every", "1h"), "more than 5,000"),
        (("--from", "2024-05-04", "--to", "2024-06-01", "--every", "a week"), "is no length of time"),
        (("--from", "May", "--to", "2024-06-01"), "is no time"),
    ):
        refused = facings("backfill", *wrong)
        assert refused.code == 2 and said in refused.err, wrong
    assert Lake(load_settings().paths).fingerprint() == lake.fingerprint()


def test_an_empty_home_is_told(tmp_path: Path) -> None:
    empty = load_settings(home=tmp_path / "empty")
    with pytest.raises(FacingsError, match="facings ingest FOLDER"):
        fill(empty, Lake(empty.paths))
    with pytest.raises(UsageError, match="window is empty"):
        fill(empty, Lake(empty.paths), LAST, FIRST - timedelta(days=1))
    assert not empty.paths.features.exists()
