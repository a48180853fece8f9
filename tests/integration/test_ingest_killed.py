"""An ingest that is killed leaves the old lake or the new one, and running it again ends as if nothing had happened."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from configs.clock import SystemClock
from configs.home import Home
from configs.settings import load_settings
from pipelines.signals.ingest import ingest
from pipelines.signals.lake.lake import Lake
from pipelines.signals.quarantine.rows import read_quarantine
from tests.small_shop import write_small_shop

ROOT = Path(__file__).resolve().parents[2]
# Runs the command and dies by SIGKILL at the n-th call of a function, before or after it.
DYING = """
import importlib, os, signal, sys
module, name, nth, moment = sys.argv.pop(1).split(":")
place = importlib.import_module(module)
real, calls = getattr(place, name), 0
def dying(*arguments, **options):
    global calls
    calls += 1
    if calls == int(nth) and moment == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    result = real(*arguments, **options)
    if calls == int(nth):
        os.kill(os.getpid(), signal.SIGKILL)
    return result
setattr(place, name, dying)
from cli.main import main
main()
"""
POINTS = {
    "before the first part is durable": ("pipelines.signals.lake.parts:make_durable:1:before", "old"),
    "between two tables": ("pipelines.signals.lake.parts:make_durable:3:after", "old"),
    "before the quarantine is durable": ("pipelines.signals.quarantine.rows:make_durable:1:before", "old"),
    "before the files are noted": ("pipelines.signals.lake.ledger:make_durable:1:before", "old"),
    "before the manifest": ("pipelines.signals.lake.lake:write_atomic:1:before", "old"),
    "after the manifest": ("pipelines.signals.lake.lake:write_atomic:1:after", "new"),
}


class State(NamedTuple):
    """What a reader of a home sees."""

    fingerprint: str
    rows: dict[str, int]
    quarantine: list[tuple[str, str, int, str]]


def _state(home: Path) -> State:
    lake = Lake(Home(home))
    quarantine = read_quarantine(lake).select("table", "file", "line", "reason").rows()
    return State(lake.fingerprint(), {table: len(lake.read(table)) for table in lake.tables()}, quarantine)


def _take(folder: Path, home: Path) -> State:
    settings = load_settings(home=home)
    ingest(folder, settings.paths, clock=SystemClock(), settings=settings, progress=lambda _: None)
    return _state(home)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path, State, State]:
    """A home, a later folder of the same shop, and what the home is like before and after."""
    root = tmp_path_factory.mktemp("killed")
    home, later = root / "home", root / "later"
    old = _take(write_small_shop(root / "early", purchases=500), home)
    write_small_shop(later, purchases=800, seed=8)
    with (later / "interactions.csv").open("a") as file:
        file.write("shopper-01,item-01,bought,2026-01-01,,,,,,\n")
    with (later / "stores.csv").open("a") as file:
        file.write("s4,East,Delft\n")
    with (later / "items.csv").open("a") as file:
        file.write("item-60,New,Meadow,maker-1,DAIRY/MILK,9\n")
    shutil.copytree(home, root / "undisturbed")
    return home, later, root, old, _take(later, root / "undisturbed")


@pytest.mark.parametrize("point", POINTS)
def test_a_killed_ingest_leaves_the_old_lake_or_the_new_one(
    folders: tuple[Path, Path, Path, State, State], tmp_path: Path, point: str
) -> None:
    base, later, _, old, new = folders
    assert old != new and new.quarantine
    where, left = POINTS[point]
    home = tmp_path / "home"
    shutil.copytree(base, home)
    run = subprocess.run(
        [sys.executable, "-c", DYING, where, "ingest", str(later)],
        cwd=ROOT,
        env={**os.environ, "FACINGS_HOME": str(home)},
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == -signal.SIGKILL, run.stderr.decode()
    assert _state(home) == (old if left == "old" else new)
    assert _take(later, home) == new
    manifest = Lake(Home(home)).manifest()
    lake = home / "lake"
    assert {str(file.relative_to(lake)) for file in lake.rglob("*") if file.is_file()} == manifest.named | {
        "manifest.json",
        "ingest.lock",
    }
