"""Leave no bytes of erased rows in SQLite: neither in its pages nor in its write-ahead log."""

from __future__ import annotations

from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError

from configs.errors import FacingsError


def scrub(engine: Engine) -> None:
    """Build the database anew and empty its log.

    `secure_delete` overwrites erased rows, but not the copies that SQLite left when it moved rows from page to page.
    PostgreSQL's own vacuum does this by itself.

    Raises:
        FacingsError: others kept the database busy for as long as the connection waits.
    """
    if engine.dialect.name != "sqlite":
        return
    try:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM"))
            busy = bool(connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)")).one()[0])
    except OperationalError:
        busy = True
    if busy:
        raise FacingsError(
            "The state database is busy, so that the bytes of what was erased may still be in it; run this again."
        )
