"""Empty SQLite's write-ahead log, where the bytes of erased rows outlive the rows."""

from __future__ import annotations

from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError

from configs.errors import FacingsError


def scrub(engine: Engine) -> None:
    """Carry the log over into the database, where `secure_delete` has overwritten the rows, and cut it to nothing.

    PostgreSQL needs none of it: its own vacuum does so.

    Raises:
        FacingsError: a reader kept the log busy for as long as the connection waits.
    """
    if engine.dialect.name != "sqlite":
        return
    try:
        with engine.connect() as connection:
            busy = bool(connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)")).one()[0])
    except OperationalError:
        busy = True
    if busy:
        raise FacingsError(
            "The state database is busy, so that the bytes of what was erased are still in its log; run this again."
        )
