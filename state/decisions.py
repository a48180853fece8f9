"""The log of decisions: what was served, to whom under a pseudonym, and what the decision saw. Append-only.

It has a database file of its own where the default, SQLite, is used: it grows by every request, and events that wait
to be acknowledged must not wait for it. Commits may be lost in a power cut, never in a crash of the process.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from sqlalchemy import (
    BigInteger,
    Column,
    Engine,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    RowMapping,
    Select,
    String,
    Table,
    delete,
    insert,
    select,
    tuple_,
)
from sqlalchemy.dialects import postgresql, sqlite

from state.engine import open_engine

decision_tables = MetaData()

_decisions = Table(
    "decisions",
    decision_tables,
    Column("recommendation_id", String(32), primary_key=True, comment="begins with the time: see new_id"),
    Column("decided_at", BigInteger, nullable=False, comment="microseconds since 1970, UTC"),
    Column("shopper", String(64), nullable=True, comment="keyed hash, hex; null: for nobody in particular"),
    Column("answer", LargeBinary, nullable=False, comment="JSON in zlib: what was asked and what was answered"),
    Column("seen", LargeBinary, nullable=False, comment="in zlib: what the decision read"),
)
Index(
    "decisions_by_shopper",
    _decisions.c.shopper,
    sqlite_where=_decisions.c.shopper.is_not(None),
    postgresql_where=_decisions.c.shopper.is_not(None),
)
# Who may have stood there, where that was not sure: to find what tells of one of them.
_people = Table(
    "decision_people",
    decision_tables,
    Column("shopper", String(64), primary_key=True, comment="keyed hash, hex"),
    Column("recommendation_id", String(32), primary_key=True),
)
# What many decisions read alike, such as a store's best-sellers: kept once a day, named by its content.
_parts = Table(
    "decision_parts",
    decision_tables,
    Column("day", Integer, primary_key=True, comment="days since 1970"),
    Column("digest", String(32), primary_key=True),
    Column("body", LargeBinary, nullable=False),
)
_CHUNK = 64  # rows of a statement: what prepares them holds the interpreter, and requests wait for that
# Levels of zlib: words shrink by half; what is seen is numbers, which shrink by a tenth and take three times as long.
_PACKED = {"answer": 1, "seen": 0}
_PART_LEVEL = 1
_WINDOW, _MEMORY = 13, 6  # of zlib for rows: 8 KB, and as large a table
_DAY = 86_400_000_000
PartKey = tuple[int, str]


@dataclass(frozen=True)
class Row:
    """One decision as it is kept; `decided_at` in microseconds since 1970; `people`: who else may have stood there."""

    recommendation_id: str
    decided_at: int
    shopper: str | None
    answer: bytes
    seen: bytes
    people: tuple[str, ...] = ()

    @property
    def everybody(self) -> tuple[str, ...]:
        """All of whom it tells, by their keyed hashes."""
        return self.people if self.shopper is None else (self.shopper, *self.people)


def open_decisions(uri: str) -> Engine:
    """Connect to the log, and create its tables where they are missing.

    Raises:
        UsageError, FacingsError: as `open_engine`.
    """
    return open_engine(uri, decision_tables, synchronous="NORMAL")


def new_id(now: datetime) -> str:
    """A recommendation's id: 32 hex digits, milliseconds since 1970 in 12 and chance in 20.

    Ids grow with time, so the log grows at its end and its old rows are found by their ids.
    """
    return f"{max(0, int(now.timestamp() * 1000)):012x}{os.urandom(10).hex()}"


def append_decisions(engine: Engine, rows: Sequence[Row], parts: Sequence[tuple[PartKey, bytes]]) -> None:
    """Keep rows and the parts they refer to, in one transaction; what is there already stays as it is."""
    upsert = postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert
    statement, named = _inserting(engine)
    with engine.begin() as connection:
        for (day, digest), body in parts:
            part = {"day": day, "digest": digest, "body": zlib.compress(body, _PART_LEVEL)}
            connection.execute(upsert(_parts).values(part).on_conflict_do_nothing())
        for start in range(0, len(rows), _CHUNK):
            packed = [_packed(row) for row in rows[start : start + _CHUNK]]
            connection.exec_driver_sql(statement, packed if named else [tuple(row.values()) for row in packed])
        people = [
            {"shopper": shopper, "recommendation_id": row.recommendation_id} for row in rows for shopper in row.people
        ]
        if people:
            connection.execute(insert(_people), people)


def read_decision(engine: Engine, recommendation_id: str) -> Row | None:
    """Return one decision; None: it was not logged, was erased, or is older than what is kept."""
    with engine.connect() as connection:
        found = connection.execute(
            select(_decisions).where(_decisions.c.recommendation_id == recommendation_id)
        ).mappings()
        return next((_unpacked(row) for row in found), None)


def read_parts(engine: Engine, keys: Iterable[PartKey]) -> dict[PartKey, bytes]:
    """Return those of these parts that are there."""
    query = select(_parts).where(tuple_(_parts.c.day, _parts.c.digest).in_(list(keys)))
    with engine.connect() as connection:
        return {(row.day, row.digest): zlib.decompress(row.body) for row in connection.execute(query)}


def decisions_between(engine: Engine, since: datetime, until: datetime) -> Iterator[Row]:
    """Yield the decisions of [since, until), the oldest first."""
    query = (
        select(_decisions)
        .where(_decisions.c.recommendation_id >= _first_id(since), _decisions.c.recommendation_id < _first_id(until))
        .order_by(_decisions.c.recommendation_id)
    )
    with engine.connect() as connection:
        for row in connection.execution_options(yield_per=1000).execute(query).mappings():
            yield _unpacked(row)


def answers_between(engine: Engine, since: datetime, until: datetime) -> Iterator[tuple[str, int, bytes]]:
    """Yield (recommendation_id, decided_at, answer) of the decisions of [since, until), the oldest first."""
    columns = (_decisions.c.recommendation_id, _decisions.c.decided_at, _decisions.c.answer)
    query: Select[tuple[str, int, bytes]] = (
        select(*columns)
        .where(_decisions.c.recommendation_id >= _first_id(since), _decisions.c.recommendation_id < _first_id(until))
        .order_by(_decisions.c.recommendation_id)
    )
    with engine.connect() as connection:
        for row in connection.execution_options(yield_per=1000).execute(query):
            yield row.recommendation_id, row.decided_at, zlib.decompress(row.answer)


def erase_decisions(engine: Engine, pseudonym: str) -> int:
    """Erase a shopper's decisions, what they saw with them; return how many there were."""
    theirs = select(_people.c.recommendation_id).where(_people.c.shopper == pseudonym)
    of_them = (_decisions.c.shopper == pseudonym) | _decisions.c.recommendation_id.in_(theirs)
    with engine.begin() as connection:
        gone = int(connection.execute(delete(_decisions).where(of_them)).rowcount)
        connection.execute(delete(_people).where(_people.c.recommendation_id.in_(theirs)))
        return gone


def prune_decisions(engine: Engine, before: datetime, *, limit: int = 1000) -> int:
    """Drop at most `limit` decisions older than `before`, and the parts of earlier days; return how many rows went."""
    old = _decisions.c.recommendation_id < _first_id(before)
    chosen = select(_decisions.c.recommendation_id).where(old).limit(limit)
    with engine.begin() as connection:
        gone = int(connection.execute(delete(_decisions).where(_decisions.c.recommendation_id.in_(chosen))).rowcount)
        if gone < limit:
            connection.execute(delete(_people).where(_people.c.recommendation_id < _first_id(before)))
            gone += int(connection.execute(delete(_parts).where(_parts.c.day < part_day(before))).rowcount)
        return gone


def part_day(moment: datetime) -> int:
    """The day under which parts of a decision of this moment are kept."""
    return int(moment.timestamp() * 1_000_000) // _DAY


@lru_cache(maxsize=8)
def _inserting(engine: Engine) -> tuple[str, bool]:
    """The statement that keeps a row, as the driver takes it, and whether it names the values.

    To work out what a row's values become, SQLAlchemy would hold the interpreter for longer than the writing takes.
    """
    compiled = insert(_decisions).compile(dialect=engine.dialect)
    return str(compiled), not compiled.positional


def _packed(row: Row) -> dict[str, str | int | bytes | None]:
    """The row as it is kept, its values in the order of the columns."""
    return {
        "recommendation_id": row.recommendation_id,
        "decided_at": row.decided_at,
        "shopper": row.shopper,
        "answer": _compressed(row.answer, _PACKED["answer"]),
        "seen": _compressed(row.seen, _PACKED["seen"]),
    }


def _compressed(content: bytes, level: int) -> bytes:
    """A row's bytes in zlib, with a window that fits them.

    The usual one takes a quarter of a megabyte for each, to clear which costs ten times what there is to do, and more
    to whoever's memory it puts out of the processor's.
    """
    packing = zlib.compressobj(level, zlib.DEFLATED, _WINDOW, _MEMORY)
    return packing.compress(content) + packing.flush()


def _unpacked(row: RowMapping) -> Row:
    return Row(**{**row, **{name: zlib.decompress(row[name]) for name in _PACKED}})


def _first_id(moment: datetime) -> str:
    return f"{max(0, int(moment.timestamp() * 1000)):012x}"
