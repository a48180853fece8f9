"""A fresh PostgreSQL database for a test, on the server that FACINGS_TEST_POSTGRESQL names.

The URL names one who may create databases, e.g. postgresql+psycopg://postgres@localhost/postgres; its driver comes with
`pip install 'facings[postgresql]'`.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

SERVER = os.environ.get("FACINGS_TEST_POSTGRESQL")
BACKENDS = ["sqlite", "postgresql"] if SERVER else ["sqlite"]


@contextmanager
def fresh_database() -> Iterator[str]:
    """Yield the URL of an empty database, which goes with the block."""
    assert SERVER is not None
    name, admin = f"facings_{uuid.uuid4().hex}", create_engine(SERVER, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    try:
        yield make_url(SERVER).set(database=name).render_as_string(hide_password=False)
    finally:
        with admin.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
        admin.dispose()
