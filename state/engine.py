"""The SQL engine: SQLite in WAL mode by default, PostgreSQL by a URL; the same tables in both.

Each file of this room defines its tables on `metadata` and the functions that read and write them.
"""

from __future__ import annotations

from functools import partial
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, Literal

from sqlalchemy import Engine as Engine
from sqlalchemy import ExceptionContext, MetaData, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, OperationalError

from configs.errors import FacingsError, UsageError

metadata = MetaData()


def open_engine(uri: str, tables: MetaData = metadata, *, synchronous: Literal["FULL", "NORMAL"] = "FULL") -> Engine:
    """Connect, and create the tables that are missing.

    Args:
        uri: SQLAlchemy URL.
        tables: those that belong into this database.
        synchronous: of SQLite; NORMAL may lose the last commits in a power cut, and never the file.

    Raises:
        UsageError: the URL cannot be parsed.
        FacingsError: the database does not answer.
    """
    try:
        url = make_url(uri)
    except ArgumentError:
        raise UsageError(
            "FACINGS_STATE_URL is not a database URL; write e.g. postgresql+psycopg://user@host/db."
        ) from None
    if url.drivername.startswith("sqlite") and url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    # Without it the text of an error holds the statement's values, and with them ids of shoppers.
    engine = create_engine(url, pool_pre_ping=True, hide_parameters=True)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", partial(_tune_sqlite, synchronous=synchronous))
    else:
        event.listen(engine, "handle_error", _primary_message_only)
    package = import_module("state")
    modules = [import_module(f"state.{module.name}") for module in iter_modules(package.__path__)]
    try:
        with engine.begin() as connection:
            for module in modules if tables is metadata else ():
                if hasattr(module, "upgrade"):
                    module.upgrade(connection)
        tables.create_all(engine)
    except OperationalError as error:
        raise FacingsError(
            f"The state database {url.render_as_string()} does not answer: {error.orig}; check FACINGS_STATE_URL."
        ) from None
    return engine


def _primary_message_only(context: ExceptionContext) -> None:
    """Keep an error's first sentence: what PostgreSQL adds to it quotes the row that it refused."""
    original, raised = context.original_exception, context.sqlalchemy_exception
    primary = getattr(getattr(original, "diag", None), "message_primary", None)
    if primary is not None:
        original.args = (primary,)
        if raised is not None:
            raised.args = (f"({type(original).__name__}) {primary}",)


def _tune_sqlite(connection: Any, _record: object, *, synchronous: str) -> None:
    """Set each connection up.

    WAL lets readers go on beside a writer, FULL makes an acknowledged event durable before the answer, and
    secure_delete overwrites the bytes of what is erased.
    """
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute(f"PRAGMA synchronous={synchronous}")
    cursor.execute("PRAGMA busy_timeout=10000")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute("PRAGMA secure_delete=ON")
    cursor.close()
