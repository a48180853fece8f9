"""Leave no bytes of erased rows in SQLite: neither in its pages nor in its write-ahead log."""

from __future__ import annotations

import time

from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError

from configs.errors import FacingsError

_PATIENCE_SECONDS, _PAUSE_SECONDS = 30.0, 0.1


def scrub(engine: Engine) -> None:
    """Build the database anew and empty its log.

    `secure_delete` overwrites erased rows, but not the copies that SQLite left when it moved rows from page to page.
    PostgreSQL's own vacuum does this by itself.

    Raises:
        FacingsError: others kept the database busy all the time.
    """
    if engine.dialect.name != "sqlite":
        return
    until, built = time.monotonic() + _PATIENCE_SECONDS, False
    while True:
        try:
            with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                if not built:
                    connection.execute(text("VACUUM"))
                    built = True
                if not connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)")).one()[0]:
                    return
        except OperationalError:
            pass  # somebody wrote for as long as the connection waits
        if time.monotonic() > until:
            break
        # A server's own checkpoint is under way: SQLite does not wait for that one.
        time.sleep(_PAUSE_SECONDS)
    raise FacingsError(
        "The state database is busy, so that the bytes of what was erased may still be in it; run this again."
    )
