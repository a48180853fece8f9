"""Interactions that came over HTTP: each once, durable before the answer, known again after they were taken."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from state.engine import open_engine
from state.events import (
    append_batches,
    append_events,
    count_waiting,
    erase_events,
    events_after,
    events_of_shopper,
    mark_taken,
    waiting_events,
)

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def _row(name: str, shopper: str = "a", **more: Any) -> dict[str, Any]:
    return {"event_id": name, "shopper_id": shopper, "item_id": "i", "event_type": "tap", **more}


@pytest.fixture
def engine(state_uri: str) -> Engine:
    return open_engine(state_uri)


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


def test_of_several_batches_in_one_write_each_is_told_what_of_it_was_new(engine: Engine) -> None:
    append_events(engine, [_row("known")], NOW)
    batches = [[_row("a"), _row("known")], [], [_row("b"), _row("a"), _row("b")]]
    assert append_batches(engine, batches, NOW) == [[0], [], [0]]
    assert append_batches(engine, batches, NOW) == [[], [], []]


def test_who_has_read_up_to_a_number_goes_on_behind_it_even_after_rows_were_erased(engine: Engine) -> None:
    append_events(engine, [_row("a"), _row("b", shopper="other")], NOW)
    rows, reached = events_after(engine, 0, limit=1)
    assert [row["event_id"] for row in rows] == ["a"]
    rows, reached = events_after(engine, reached, limit=10)
    assert [row["event_id"] for row in rows] == ["b"]
    assert erase_events(engine, "other") == 1  # the last number: it must not be given again
    append_events(engine, [_row("c"), _row("d")], NOW)
    mark_taken(engine, ["c"])
    rows, reached = events_after(engine, reached, limit=10)
    assert [row["event_id"] for row in rows] == ["d"]
    assert events_after(engine, reached, limit=10) == ([], reached)
    assert [row["event_id"] for row in events_of_shopper(engine, "a", limit=1)] == ["d"]


def test_a_table_of_an_earlier_version_is_taken_over_with_all_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path)) as old, old:
        old.executescript(
            """
            CREATE TABLE events (event_id VARCHAR(2100) NOT NULL PRIMARY KEY, shopper_id VARCHAR(2100) NOT NULL,
                body TEXT NOT NULL, received_at DATETIME NOT NULL, taken BOOLEAN NOT NULL);
            CREATE INDEX events_waiting ON events (taken);
            CREATE INDEX events_by_shopper ON events (shopper_id);
            INSERT INTO events VALUES ('b', 's', '{"event_id":"b"}', '2026-06-01 00:00:01.000000', 0),
                ('a', 's', '{}', '2026-06-01 00:00:00.000000', 1);
            """
        )
    for _ in range(2):
        engine = open_engine(f"sqlite:///{path}")
        assert waiting_events(engine) == [{"event_id": "b"}]
        assert append_events(engine, [_row("a"), _row("b")], NOW) == 0
    assert events_after(engine, 1, limit=9) == ([{"event_id": "b"}], 2)


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
        if engine.dialect.name == "postgresql":
            assert connection.execute(text("SHOW synchronous_commit")).scalar() == "on"
        else:
            assert connection.execute(text("PRAGMA synchronous")).scalar() == 2  # FULL
            assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"


def test_the_text_of_a_refused_statement_holds_no_value(engine: Engine) -> None:
    with pytest.raises(SQLAlchemyError) as refused, engine.begin() as connection:
        connection.execute(text("INSERT INTO events (event_id, shopper_id) VALUES (:event, :who)"), {
            "event": "e", "who": "ann-of-the-shop"})  # fmt: skip
    assert "ann-of-the-shop" not in str(refused.value)
