"""Screens at which somebody said `not me`: until when nobody is recognised there. It is not known who said it."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Engine, String, Table, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from state.engine import metadata

_quiet = Table(
    "quiet_screens",
    metadata,
    Column("screen_id", String(2100), primary_key=True),
    Column("until", BigInteger, nullable=False, comment="microseconds since 1970, UTC"),
)


def keep_quiet(engine: Engine, screen_id: str, until: int, now: int) -> None:
    """Note a quiet period, never a shorter one than there is; those that are over at `now` go.

    Args:
        engine: of the state database.
        screen_id: where.
        until, now: microseconds since 1970.
    """
    make = postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert
    row = make(_quiet).values(screen_id=screen_id, until=until)
    with engine.begin() as connection:
        connection.execute(delete(_quiet).where(_quiet.c.until <= now))
        longer = _quiet.c.until < row.excluded.until
        connection.execute(
            row.on_conflict_do_update(index_elements=["screen_id"], set_={"until": row.excluded.until}, where=longer)
        )


def quiet_screens(engine: Engine) -> dict[str, int]:
    """Until when each screen is quiet, microseconds since 1970."""
    with engine.connect() as connection:
        return {str(row.screen_id): int(row.until) for row in connection.execute(select(_quiet))}
