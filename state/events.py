"""Interactions that arrived over HTTP: durable before they are acknowledged, each once, until an ingest takes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    DateTime,
    Engine,
    Index,
    Integer,
    String,
    Table,
    Text,
    delete,
    func,
    inspect,
    select,
    text,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from state.engine import metadata

events = Table(
    "events",
    metadata,
    Column(
        "seq",
        BigInteger().with_variant(Integer, "sqlite"),
        primary_key=True,
        autoincrement=True,
        comment="in the order of commits and never given twice, so that who has read up to one goes on behind it",
    ),
    Column("event_id", String(2100), nullable=False, unique=True),
    Column("shopper_id", String(2100), nullable=False),
    Column("body", Text, nullable=False, comment="the interaction as JSON"),
    Column("received_at", DateTime(timezone=True), nullable=False, comment="UTC"),
    Column("taken", Boolean, nullable=False, default=False, comment="an ingest has it in the lake"),
    Index("events_waiting", "taken"),
    Index("events_by_shopper", "shopper_id"),
    sqlite_autoincrement=True,
)
_CHUNK = 500
_WRITERS = 7_219_044  # PostgreSQL's advisory lock of those who append: sequence numbers then follow the commits


def upgrade(connection: Connection) -> None:
    """Give a table that an earlier version made its sequence numbers, in the order in which its rows came."""
    if not _without_seq(connection):
        return
    if connection.dialect.name == "sqlite":  # whose driver begins no transaction for what changes tables
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        if not _without_seq(connection):  # another process was faster
            return
    for index in events.indexes:
        index.drop(connection, checkfirst=True)
    connection.execute(text("ALTER TABLE events RENAME TO events_without_seq"))
    events.create(connection)
    columns = "event_id, shopper_id, body, received_at, taken"
    connection.execute(
        text(f"INSERT INTO events ({columns}) SELECT {columns} FROM events_without_seq ORDER BY received_at, event_id")  # noqa: S608
    )
    connection.execute(text("DROP TABLE events_without_seq"))


def _without_seq(connection: Connection) -> bool:
    seen = inspect(connection)
    return seen.has_table(events.name) and all(column["name"] != "seq" for column in seen.get_columns(events.name))


def append_events(engine: Engine, rows: Sequence[dict[str, Any]], at: datetime) -> int:
    """Keep the rows whose event_id is new, in one transaction, as `append_batches` does; return how many were."""
    return len(append_batches(engine, [rows], at)[0])


def append_batches(
    engine: Engine,
    batches: Sequence[Sequence[dict[str, Any]]],
    at: datetime,
    beside: Callable[[Connection, list[dict[str, Any]]], object] | None = None,
) -> list[list[int]]:
    """Keep the rows whose event_id is new, all batches in one transaction with one write to the disk.

    When it returns, they survive a power cut (SQLite in WAL mode with synchronous=FULL).

    Args:
        engine: of the state database.
        batches: checked interactions.
        at: the moment of their arrival.
        beside: is given the new rows, and writes in the same transaction.

    Returns:
        For each batch the places of the rows that were new; of an id twice the first is.
    """
    first: dict[str, tuple[int, int]] = {}
    whole = []
    for number, rows in enumerate(batches):
        for place, row in enumerate(rows):
            name = str(row["event_id"])
            if name not in first:
                first[name] = number, place
                body = orjson.dumps(row).decode()
                values = {"event_id": name, "shopper_id": str(row["shopper_id"]), "body": body}
                whole.append({**values, "received_at": at, "taken": False})
    kept: list[list[int]] = [[] for _ in batches]
    if not whole:
        return kept
    make = postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(select(func.pg_advisory_xact_lock(_WRITERS)))
        # One statement tells new from known, so that two batches at once cannot both take an id for new.
        new = make(events).on_conflict_do_nothing().returning(events.c.event_id)
        for name in connection.execute(new, whole).scalars():
            number, place = first[name]
            kept[number].append(place)
        if beside is not None:
            beside(connection, [batches[number][place] for number, places in enumerate(kept) for place in places])
    return kept


def events_after(engine: Engine, seq: int, limit: int) -> tuple[list[dict[str, Any]], int]:
    """Return up to `limit` waiting interactions that came after `seq`, in their order, and how far that reaches."""
    with engine.connect() as connection:
        newest = connection.execute(select(func.max(events.c.seq))).scalar() or 0
        query = (
            select(events.c.seq, events.c.body)
            .where(events.c.seq > seq, events.c.seq <= newest, ~events.c.taken)
            .order_by(events.c.seq)
            .limit(limit)
        )
        found = connection.execute(query).all()
    reached = int(found[-1].seq) if len(found) == limit else max(seq, newest)
    return [orjson.loads(row.body) for row in found], reached


def events_of_shopper(engine: Engine, shopper_id: str, limit: int) -> list[dict[str, Any]]:
    """Return a shopper's waiting interactions, the last `limit` that came."""
    query = (
        select(events.c.body)
        .where(events.c.shopper_id == shopper_id, ~events.c.taken)
        .order_by(events.c.seq.desc())
        .limit(limit)
    )
    with engine.connect() as connection:
        return [orjson.loads(body) for body in connection.execute(query).scalars()]


def waiting_events(engine: Engine, limit: int = 100_000) -> list[dict[str, Any]]:
    """Return interactions that no ingest has taken yet."""
    query = select(events.c.body).where(~events.c.taken).order_by(events.c.received_at, events.c.event_id).limit(limit)
    with engine.connect() as connection:
        return [orjson.loads(body) for body in connection.execute(query).scalars()]


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


def arrived_among(engine: Engine, event_ids: Iterable[str]) -> set[str]:
    """Which of these came over HTTP."""
    ids = list(event_ids)
    found: set[str] = set()
    with engine.connect() as connection:
        if connection.execute(select(events.c.event_id).limit(1)).first() is None:
            return set()
        for start in range(0, len(ids), _CHUNK):
            asked = select(events.c.event_id).where(events.c.event_id.in_(ids[start : start + _CHUNK]))
            found.update(connection.execute(asked).scalars())
    return found
