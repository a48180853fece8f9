"""Interactions that arrived over HTTP: durable before they are acknowledged, each once, until an ingest takes them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    DateTime,
    Engine,
    Index,
    String,
    Table,
    Text,
    delete,
    func,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from state.engine import metadata

events = Table(
    "events",
    metadata,
    Column("event_id", String(2100), primary_key=True),
    Column("shopper_id", String(2100), nullable=False),
    Column("body", Text, nullable=False, comment="the interaction as JSON"),
    Column("received_at", DateTime(timezone=True), nullable=False, comment="UTC"),
    Column("taken", Boolean, nullable=False, default=False, comment="an ingest has it in the lake"),
    Index("events_waiting", "taken"),
    Index("events_by_shopper", "shopper_id"),
)
_CHUNK = 500


def append_events(engine: Engine, rows: Sequence[dict[str, Any]], at: datetime) -> int:
    """Keep the rows whose event_id is new, in one transaction; return how many were.

    When it returns, they survive a power cut (SQLite in WAL mode with synchronous=FULL).
    """
    first = {str(row["event_id"]): row for row in reversed(rows)}
    whole = [
        {
            "event_id": name,
            "shopper_id": str(row["shopper_id"]),
            "body": json.dumps(row, ensure_ascii=False),
            "received_at": at,
            "taken": False,
        }
        for name, row in first.items()
    ]
    make = postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert
    kept = 0
    with engine.begin() as connection:
        for start in range(0, len(whole), _CHUNK):
            # One statement tells new from known, so that two batches at once cannot both take an id for new.
            new = make(events).values(whole[start : start + _CHUNK]).on_conflict_do_nothing()
            kept += len(connection.execute(new.returning(events.c.event_id)).all())
    return kept


def waiting_events(engine: Engine, limit: int = 100_000) -> list[dict[str, Any]]:
    """Return interactions that no ingest has taken yet."""
    query = select(events.c.body).where(~events.c.taken).order_by(events.c.received_at, events.c.event_id).limit(limit)
    with engine.connect() as connection:
        return [json.loads(body) for body in connection.execute(query).scalars()]


def count_waiting(engine: Engine) -> int:
    """How many interactions wait for an ingest."""
    with engine.connect() as connection:
        return int(connection.execute(select(func.count()).select_from(events).where(~events.c.taken)).scalar_one())


def mark_taken(engine: Engine, event_ids: Iterable[str]) -> None:
    """Note that these are in the lake; only their ids are needed from now on, to know a repeat."""
    ids = list(event_ids)
    with engine.begin() as connection:
        for start in range(0, len(ids), _CHUNK):
            part = events.c.event_id.in_(ids[start : start + _CHUNK])
            connection.execute(update(events).where(part).values(taken=True, body="{}"))


def erase_events(engine: Engine, shopper_id: str) -> int:
    """Erase a shopper's interactions; return how many there were."""
    with engine.begin() as connection:
        return int(connection.execute(delete(events).where(events.c.shopper_id == shopper_id)).rowcount)
