"""Who agreed to be recognised by the face, to which text, and when; kept as evidence under a keyed pseudonym."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from datetime import datetime

from sqlalchemy import (
    Column,
    ColumnElement,
    DateTime,
    Engine,
    Index,
    Integer,
    String,
    Table,
    and_,
    insert,
    select,
    update,
)

from configs.home import Home
from configs.secrets import secret
from state.engine import metadata

RECOGNITION = "recognition"
# What the shopper agreed to; a change of the text is a new version, and old consents keep theirs.
TEXT_VERSION = "1"
TEXT = (
    "This shop may make templates (lists of numbers) of my face from my photographs, keep them encrypted on its own "
    "server, compare faces before its screens with them, and show me offers chosen from my purchases when it "
    "recognises me. No photograph is kept. I can withdraw at any time, and the templates are then erased."
)

consents = Table(
    "consents",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("shopper", String(64), nullable=False, comment="HMAC-SHA256 of the shopper's id, hex"),
    Column("purpose", String(32), nullable=False),
    Column("text_version", String(32), nullable=False),
    Column("given_at", DateTime(timezone=True), nullable=False, comment="UTC"),
    Column("withdrawn_at", DateTime(timezone=True), nullable=True, comment="UTC; null: in force"),
    Index("consents_by_shopper", "shopper", "purpose"),
)


class Consents:
    """The consent records of one home for one purpose."""

    def __init__(self, engine: Engine, home: Home, purpose: str = RECOGNITION) -> None:
        self._engine = engine
        self._key = secret(home, "consent")
        self._purpose = purpose

    def give(self, shopper_id: str, *, at: datetime, text_version: str = TEXT_VERSION) -> bool:
        """Record a consent; false when one to the same text is in force already."""
        shopper = self._pseudonym(shopper_id)
        same = and_(self._in_force(shopper), consents.c.text_version == text_version)
        with self._engine.begin() as connection:
            if connection.execute(select(consents.c.id).where(same)).first():
                return False
            row = {"shopper": shopper, "purpose": self._purpose, "text_version": text_version, "given_at": at}
            connection.execute(insert(consents).values(row))
        return True

    def withdraw(self, shopper_id: str, *, at: datetime) -> int:
        """End every consent of the shopper; return how many were in force. The records stay, as evidence."""
        ended = update(consents).where(self._in_force(self._pseudonym(shopper_id))).values(withdrawn_at=at)
        with self._engine.begin() as connection:
            return connection.execute(ended).rowcount

    def holds(self, shopper_id: str) -> bool:
        """Tell whether a consent is in force."""
        with self._engine.connect() as connection:
            found = connection.execute(select(consents.c.id).where(self._in_force(self._pseudonym(shopper_id))))
            return found.first() is not None

    def checker(self) -> Callable[[str], bool]:
        """Return `holds` as of now, answered from memory, for a whole gallery."""
        query = select(consents.c.shopper).where(
            and_(consents.c.purpose == self._purpose, consents.c.withdrawn_at.is_(None))
        )
        with self._engine.connect() as connection:
            agreed = frozenset(connection.execute(query).scalars())
        return lambda shopper_id: self._pseudonym(shopper_id) in agreed

    def _in_force(self, shopper: str) -> ColumnElement[bool]:
        return and_(
            consents.c.shopper == shopper, consents.c.purpose == self._purpose, consents.c.withdrawn_at.is_(None)
        )

    def _pseudonym(self, shopper_id: str) -> str:
        return hmac.new(self._key, f"{self._purpose}\0{shopper_id}".encode(), hashlib.sha256).hexdigest()
