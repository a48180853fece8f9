"""Tombstones of forgotten shoppers: only a keyed hash of the id, so that the same data cannot bring them back."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from functools import lru_cache

from sqlalchemy import Column, DateTime, Engine, String, Table, delete, func, insert, select

from configs.clock import Clock
from state.engine import metadata

_forgotten = Table(
    "forgotten",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("at", DateTime(timezone=True), nullable=False),
)
_CHUNK = 500


def pseudonym(shopper_id: str, key: bytes) -> str:
    """Keyed SHA-256 of a shopper's id, as hex; without the key it tells nothing."""
    begun = _keyed(key).copy()
    begun.update(shopper_id.encode())
    return begun.hexdigest()


@lru_cache(maxsize=8)
def _keyed(key: bytes) -> hmac.HMAC:
    """What is the same for every shopper; `hmac.digest` would also let go of the interpreter for each."""
    return hmac.new(key, digestmod="sha256")


def remember_forgotten(engine: Engine, shopper_id: str, key: bytes, clock: Clock) -> bool:
    """Leave a tombstone; False when there was one already."""
    digest = pseudonym(shopper_id, key)
    with engine.begin() as connection:
        if connection.execute(select(_forgotten.c.digest).where(_forgotten.c.digest == digest)).first():
            return False
        connection.execute(insert(_forgotten).values(digest=digest, at=clock.now()))
    return True


def lift_tombstone(engine: Engine, shopper_id: str, key: bytes) -> None:
    """Take a tombstone away, e.g. one that was left for an id of which nothing was known."""
    with engine.begin() as connection:
        connection.execute(delete(_forgotten).where(_forgotten.c.digest == pseudonym(shopper_id, key)))


def count_forgotten(engine: Engine) -> int:
    """How many tombstones there are."""
    with engine.connect() as connection:
        return int(connection.execute(select(func.count()).select_from(_forgotten)).scalar_one())


def forgotten_among(engine: Engine, shopper_ids: Iterable[str], key: bytes) -> set[str]:
    """Return those of `shopper_ids` who were forgotten; costs nothing while nobody was."""
    if not _anybody(engine):
        return set()
    asked = {pseudonym(shopper, key): shopper for shopper in shopper_ids}
    return {asked[digest] for digest in tombstones_among(engine, asked)}


def tombstones_among(engine: Engine, digests: Iterable[str]) -> set[str]:
    """Return those of these keyed hashes that are of somebody who was forgotten."""
    asked, found = list(digests), set[str]()
    if not asked or not _anybody(engine):
        return set()
    with engine.connect() as connection:
        for start in range(0, len(asked), _CHUNK):
            some = select(_forgotten.c.digest).where(_forgotten.c.digest.in_(asked[start : start + _CHUNK]))
            found.update(connection.execute(some).scalars())
    return found


def _anybody(engine: Engine) -> bool:
    with engine.connect() as connection:
        return connection.execute(select(_forgotten.c.digest).limit(1)).first() is not None
