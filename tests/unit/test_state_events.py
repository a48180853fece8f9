"""Interactions that came over HTTP: each once, durable before the answer, known again after they were taken."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from state.engine import open_engine
from state.events import append_events, count_waiting, erase_events, mark_taken, waiting_events

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def _row(name: str, shopper: str = "a", **more: Any) -> dict[str, Any]:
    return {"event_id": name, "shopper_id": shopper, "item_id": "i", "event_type": "tap", **more}


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return open_engine(f"sqlite:///{tmp_path / 'state.db'}")


def test_rows_wait_in_the_order_in_which_they_came(engine: Engine) -> None:
    assert append_events(engine, [_row("z", note="é")], NOW) == 1
    assert append_events(engine, [_row("b"), _row("a")], NOW + timedelta(seconds=1)) == 2
    assert [row["event_id"] for row in waiting_events(engine)] == ["z", "a", "b"]
    assert waiting_events(engine, limit=1) == [_row("z", note="é")]
    assert count_waiting(engine) == 3


def test_a_repeat_is_not_kept_again(engine: Engine) -> None:
    assert append_events(engine, [_row("a"), _row("b")], NOW) == 2
    assert append_events(engine, [_row("b"), _row("c")], NOW) == 1
    assert count_waiting(engine) == 3


def test_of_an_id_twice_in_a_batch_the_first_is_kept(engine: Engine) -> None:
    assert append_events(engine, [_row("a", item="first"), _row("a", item="second")], NOW) == 1
    assert [row["item"] for row in waiting_events(engine)] == ["first"]


def test_a_batch_may_be_empty_or_large(engine: Engine) -> None:
    assert append_events(engine, [], NOW) == 0
    rows = [_row(f"e{number}") for number in range(1201)]
    assert append_events(engine, rows, NOW) == 1201
    assert append_events(engine, rows, NOW) == 0


def test_of_batches_at_the_same_time_each_id_counts_once(engine: Engine) -> None:
    rows = [_row(f"e{number}") for number in range(300)]
    with ThreadPoolExecutor(8) as pool:
        kept = list(pool.map(lambda _: append_events(engine, rows, NOW), range(16)))
    assert sum(kept) == len(rows) == count_waiting(engine)


def test_taken_rows_are_known_again_and_their_content_is_gone(engine: Engine) -> None:
    append_events(engine, [_row("a"), _row("b")], NOW)
    mark_taken(engine, ["a"])
    assert [row["event_id"] for row in waiting_events(engine)] == ["b"]
    assert append_events(engine, [_row("a")], NOW) == 0
    with engine.connect() as connection:
        assert connection.execute(text("SELECT body FROM events WHERE event_id = 'a'")).scalar() == "{}"


def test_a_shoppers_rows_are_erased_taken_or_not(engine: Engine) -> None:
    append_events(engine, [_row("a"), _row("b"), _row("c", shopper="other")], NOW)
    mark_taken(engine, ["a"])
    assert erase_events(engine, "a") == 2
    assert erase_events(engine, "a") == 0
    assert [row["event_id"] for row in waiting_events(engine)] == ["c"]


def test_what_was_accepted_survives_a_kill(tmp_path: Path, engine: Engine) -> None:
    script = """
import os, signal, sys
from datetime import UTC, datetime
from state.engine import open_engine
from state.events import append_events
append_events(open_engine(sys.argv[1]), [{"event_id": "a", "shopper_id": "s"}], datetime(2026, 6, 1, tzinfo=UTC))
os.kill(os.getpid(), signal.SIGKILL)
"""
    run = subprocess.run(
        [sys.executable, "-c", script, str(engine.url)],
        cwd=Path(__file__).resolve().parents[2],
        env=dict(os.environ),
        timeout=60,
        check=False,
    )
    assert run.returncode == -signal.SIGKILL
    assert waiting_events(engine) == [{"event_id": "a", "shopper_id": "s"}]


def test_every_write_reaches_the_disk_before_it_is_acknowledged(engine: Engine) -> None:
    with engine.connect() as connection:
        assert connection.execute(text("PRAGMA synchronous")).scalar() == 2  # FULL
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
