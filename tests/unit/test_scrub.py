"""What is erased leaves the database's files, also while a server uses them."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from configs.errors import FacingsError
from state import scrub as module
from state.engine import Engine, open_engine
from state.events import append_events, erase_events
from state.scrub import scrub

NOW = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    """Whose connections do not wait, as SQLite does not for another process's checkpoint."""

    def no_wait(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA busy_timeout=0")

    made = open_engine(f"sqlite:///{tmp_path / 'state.db'}")
    made.dispose()
    event.listen(made, "connect", no_wait)
    row = {"event_id": "e", "shopper_id": "ann-who-leaves", "item_id": "i", "event_type": "tap"}
    append_events(made, [row], NOW)
    return made


def held(tmp_path: Path) -> sqlite3.Connection:
    """Somebody reads, so that the log cannot be emptied."""
    reader = sqlite3.connect(tmp_path / "state.db", check_same_thread=False)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM events").fetchall()
    return reader


def test_a_database_that_is_busy_for_a_moment_is_scrubbed_after_it(engine: Engine, tmp_path: Path) -> None:
    with closing(held(tmp_path)) as reader:
        erase_events(engine, "ann-who-leaves")
        ends = threading.Timer(0.3, reader.rollback)
        ends.start()
        scrub(engine)
        ends.join()
    assert all(b"ann-who-leaves" not in file.read_bytes() for file in tmp_path.iterdir())


def test_one_that_stays_busy_is_told(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE_SECONDS", 0.0)
    with closing(held(tmp_path)):
        erase_events(engine, "ann-who-leaves")
        with pytest.raises(FacingsError, match="busy"):
            scrub(engine)
