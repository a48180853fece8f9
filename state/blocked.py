"""What is kept from being shown: items and makers, each with the reason and since when; append-only, so it is told."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Literal, NamedTuple

from sqlalchemy import BigInteger, Column, DateTime, Engine, Integer, String, Table, func, insert, select

from state.engine import metadata

Kind = Literal["item", "maker"]

_blocks = Table(
    "blocks",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("kind", String(8), nullable=False, comment="item or maker"),
    Column("id", String(2100), nullable=False),
    Column("reason", String(200), nullable=True, comment="why it is blocked; null: it is not any more"),
    Column("at", DateTime(timezone=True), nullable=False, comment="UTC"),
)


class Blocked(NamedTuple):
    """Ids of what may not be shown, and a number that is another one after each change."""

    items: frozenset[str]
    makers: frozenset[str]
    version: int


def block(engine: Engine, kind: Kind, ids: Iterable[str], *, reason: str, at: datetime) -> None:
    """Keep items, or all items of makers, from being shown from now on."""
    _note(engine, kind, ids, reason, at)


def unblock(engine: Engine, kind: Kind, ids: Iterable[str], *, at: datetime) -> None:
    """Let them be shown again."""
    _note(engine, kind, ids, None, at)


def _note(engine: Engine, kind: Kind, ids: Iterable[str], reason: str | None, at: datetime) -> None:
    rows = [{"kind": kind, "id": one, "reason": reason, "at": at} for one in ids]
    if rows:
        with engine.begin() as connection:
            connection.execute(insert(_blocks), rows)


def blocks_version(engine: Engine) -> int:
    """How many changes there were: not the last one's number, before which another may still be committed."""
    with engine.connect() as connection:
        return int(connection.execute(select(func.count()).select_from(_blocks)).scalar_one())


def blocked_now(engine: Engine) -> Blocked:
    """What is blocked at present."""
    last = select(func.max(_blocks.c.seq)).group_by(_blocks.c.kind, _blocks.c.id)
    with engine.connect() as connection:
        version = int(connection.execute(select(func.count()).select_from(_blocks)).scalar_one())
        query = select(_blocks.c.kind, _blocks.c.id).where(_blocks.c.seq.in_(last), _blocks.c.reason.is_not(None))
        rows = connection.execute(query).all()
    found = {kind: frozenset(str(row.id) for row in rows if row.kind == kind) for kind in ("item", "maker")}
    return Blocked(found["item"], found["maker"], version)


def blocked_because(engine: Engine, kind: Kind, one: str) -> str | None:
    """Why an item or a maker is blocked; None: it is not."""
    of = (_blocks.c.kind == kind, _blocks.c.id == one)
    query = select(_blocks.c.reason).where(*of).order_by(_blocks.c.seq.desc()).limit(1)
    with engine.connect() as connection:
        reason: str | None = connection.execute(query).scalar()
    return reason
