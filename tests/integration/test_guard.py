"""The live guard on a home: what it reads of the log, that it takes back once, and that this stays away."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import orjson
import pytest

from configs.clock import FixedClock, SystemClock
from configs.errors import FacingsError
from configs.settings import Settings
from pipelines import snapshot
from pipelines.training.live_guard import guard
from pipelines.training.promote import deployments, rollback
from pipelines.training.retrain import retrain
from state.decisions import Row, append_decisions, new_id, open_decisions
from state.engine import open_engine
from state.events import append_events
from state.ledger import Action, Status
from tests.command import facings

ITEM = "i01"
ROOT = Path(__file__).resolve().parents[2]
DYING = """
import os, signal, sys
from datetime import timedelta
from configs.clock import FixedClock
from configs.settings import load_settings
from pipelines.training import promote
from pipelines.training.live_guard import guard

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

switch = promote.snapshot.switch
def switched(*args):
    switch(*args)
    promote.Ledger.settle = die

promote.snapshot.switch = die if sys.argv[1] == "before the pointer is switched" else switched
settings = load_settings()
at = promote.deployments(settings)[0].at
guard(settings, clock=FixedClock(at + timedelta(days=4)), progress=lambda _: None)
"""


def quiet(_: str) -> None:
    """Progress that nobody reads."""


def serve(settings: Settings, days: range, bought: float, version: str) -> None:
    """Log decisions of 3 stores around the newest promotion, and what a share of them led to within the hour."""
    promoted = deployments(settings)[0].at
    random = np.random.default_rng(days.start + 100)
    rows: list[Row] = []
    events = []
    for day in days:
        for hour in range(1, 11):
            for number in range(12):
                at = promoted + timedelta(days=day, hours=hour, minutes=number)
                name = new_id(at)
                answer = {
                    "model_version": version,
                    "store_id": f"s{number % 3}",
                    "items": [[ITEM]],
                    "fallback": None,
                }
                rows.append(Row(name, int(at.timestamp() * 1e6), None, orjson.dumps(answer), b""))
                if random.random() < bought:
                    then = (at + timedelta(minutes=20)).isoformat()
                    events.append({"event_id": name, "shopper_id": "s001", "item_id": ITEM, "event_type": "purchase",
                                   "event_time": then, "price": 2.0, "quantity": 1.0,
                                   "attribution_token": name})  # fmt: skip
    append_decisions(open_decisions(settings.decisions_uri), rows, [])
    append_events(open_engine(settings.state_uri), events, SystemClock().now())


def later(settings: Settings, days: int) -> FixedClock:
    at: datetime = deployments(settings)[0].at
    return FixedClock(at + timedelta(days=days))


@pytest.fixture
def worse(refreshed: Settings) -> Iterator[Settings]:
    """Version 1 sold by a third of its slates, version 2 by a twentieth."""
    serve(refreshed, range(-7, 0), 0.33, "1")
    serve(refreshed, range(3), 0.05, "2")
    yield refreshed


def test_a_version_that_does_as_well_goes_on_and_the_page_says_why(refreshed: Settings) -> None:
    serve(refreshed, range(-7, 0), 0.3, "1")
    serve(refreshed, range(3), 0.3, "2")
    found = guard(refreshed, clock=later(refreshed, 4), progress=quiet)
    assert (found.status, found.version) == ("fine", "2")
    assert found.decisions > 300
    assert found.report is not None and "goes on serving" in Path(found.report).read_text()
    assert deployments(refreshed)[0].version == "2"


def test_a_version_that_does_worse_is_taken_back_once_and_stays_away(worse: Settings) -> None:
    clock = later(worse, 4)
    found = guard(worse, clock=clock, progress=quiet)
    assert (found.status, found.taken_back, found.version) == ("rolled_back", "2", "1")
    newest = deployments(worse)[0]
    assert (newest.action, newest.version, newest.status) == (Action.ROLLBACK, "1", Status.SERVING)
    assert newest.reason.startswith("guard: reward: ")
    assert snapshot.current(worse.paths, "slates") == newest.snapshot_id
    assert found.report is not None and "taken back" in Path(found.report).read_text()
    again = guard(worse, clock=clock, progress=quiet)
    assert (again.status, again.version) == ("nothing", "1")
    assert len(deployments(worse)) == 3


def test_what_the_guard_took_back_is_not_published_again_from_the_same_data(refreshed: Settings) -> None:
    row = deployments(refreshed)[0]
    rollback(refreshed, reason="guard: reward", expected=row.id, clock=SystemClock(), progress=quiet)
    result = retrain(refreshed, (), clock=SystemClock(), progress=quiet)
    assert (result.status, result.version) == ("unchanged", "1")
    assert "rolled back" in result.reasons[0]


def test_only_what_was_judged_is_taken_back(refreshed: Settings) -> None:
    stale = deployments(refreshed)[-1].id
    with pytest.raises(FacingsError, match="came into force meanwhile"):
        rollback(refreshed, reason="guard", expected=stale, clock=SystemClock(), progress=quiet)
    assert deployments(refreshed)[0].version == "2"


def test_purchases_that_have_not_come_in_yet_are_no_regression(refreshed: Settings) -> None:
    serve(refreshed, range(-7, 0), 0.33, "1")
    serve(refreshed, range(3), 0.0, "2")
    assert guard(refreshed, clock=later(refreshed, 4), progress=quiet).status == "fine"


@pytest.mark.parametrize("moment", ["before the pointer is switched", "before the ledger is settled"])
def test_a_guard_that_is_killed_is_finished_by_the_next(worse: Settings, moment: str) -> None:
    environment = {**os.environ, "FACINGS_HOME": str(worse.home), "OMP_NUM_THREADS": "1"}
    killed = subprocess.run([sys.executable, "-c", DYING, moment], cwd=ROOT, env=environment, timeout=300, check=False)
    assert killed.returncode == -signal.SIGKILL
    guard(worse, clock=FixedClock(deployments(worse)[-2].at + timedelta(days=4)), progress=quiet)
    assert [(row.version, row.status) for row in deployments(worse)] == [
        ("1", Status.SERVING),
        ("2", Status.ROLLED_BACK),
        ("1", Status.ENDED),
    ]


def test_the_command_prints_one_json_object(refreshed: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACINGS_HOME", str(refreshed.home))
    told = facings("guard", "--json").told
    assert (told["status"], told["version"]) == ("fine", "2")
    assert {check["judged"] for check in told["checks"]} == {False}
