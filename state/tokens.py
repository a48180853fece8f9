"""Tokens of devices and services: only a hash is kept, so that the database gives none away."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime
from typing import Any

from sqlalchemy import Column, DateTime, Engine, String, Table, insert, select, update

from configs.errors import UsageError
from state.engine import metadata

ADMIN = "admin"
_FIXED = (ADMIN, "recommend", "events")
_SCREEN = "screen:"

tokens = Table(
    "tokens",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("digest", String(64), nullable=False, unique=True, comment="SHA-256 of 256 random bits"),
    Column("scope", String(300), nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, comment="UTC"),
    Column("revoked_at", DateTime(timezone=True), nullable=True, comment="UTC; null: in force"),
)


def add_token(engine: Engine, name: str, scope: str, at: datetime) -> str:
    """Make a token; it is shown this once.

    Raises:
        UsageError: the scope is unknown, or a token in force has this name.
    """
    if scope not in _FIXED and not (scope.startswith(_SCREEN) and len(scope) > len(_SCREEN)):
        raise UsageError(f"There is no scope {scope!r}; use {', '.join(_FIXED)} or screen:<screen_id>.")
    if not name.strip() or len(name) > 200:
        raise UsageError("A token needs a name of 1 to 200 characters.")
    token = secrets.token_urlsafe(32)
    with engine.begin() as connection:
        if connection.execute(select(tokens.c.name).where(tokens.c.name == name)).first():
            raise UsageError(f"There is a token {name!r} already; choose another name.")
        row = {"name": name, "digest": _digest(token), "scope": scope, "created_at": at, "revoked_at": None}
        connection.execute(insert(tokens).values(**row))
    return token


def scope_of(engine: Engine, token: str) -> str | None:
    """The scope of a token in force; None for any other. Looked up by hash: timing tells nothing of the token."""
    query = select(tokens.c.scope).where(tokens.c.digest == _digest(token), tokens.c.revoked_at.is_(None))
    with engine.connect() as connection:
        return connection.execute(query).scalar()


def allows(scope: str, needed: str) -> bool:
    """Whether a token of `scope` may do what needs `needed`."""
    return scope in (ADMIN, needed)


def list_tokens(engine: Engine) -> list[dict[str, Any]]:
    """Names, scopes and times of all tokens, the oldest first."""
    columns = (tokens.c.name, tokens.c.scope, tokens.c.created_at, tokens.c.revoked_at)
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(select(*columns).order_by(tokens.c.created_at)).mappings()]


def revoke_token(engine: Engine, name: str, at: datetime) -> bool:
    """End a token; False when none in force has this name."""
    with engine.begin() as connection:
        found = update(tokens).where(tokens.c.name == name, tokens.c.revoked_at.is_(None)).values(revoked_at=at)
        return bool(connection.execute(found).rowcount)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
