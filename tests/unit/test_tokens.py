"""Tokens: shown once, kept as a hash, in force until revoked, and good for one scope."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine

from configs.errors import UsageError
from state.engine import open_engine
from state.tokens import add_token, allows, list_tokens, revoke_token, scope_of

NOW = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture
def engine(state_uri: str) -> Engine:
    return open_engine(state_uri)


def test_a_token_has_its_scope_and_no_other_has_one(engine: Engine) -> None:
    token = add_token(engine, "till", "events", NOW)
    other = add_token(engine, "door", "screen:entrance-1", NOW)
    assert (scope_of(engine, token), scope_of(engine, other)) == ("events", "screen:entrance-1")
    assert scope_of(engine, token + "x") is None
    assert scope_of(engine, "") is None
    assert len(token) >= 43 and token != other


def test_a_revoked_token_is_worth_nothing(engine: Engine) -> None:
    token = add_token(engine, "till", "events", NOW)
    assert revoke_token(engine, "till", NOW)
    assert scope_of(engine, token) is None
    assert not revoke_token(engine, "till", NOW)
    assert not revoke_token(engine, "nobody", NOW)


def test_the_database_gives_no_token_away(engine: Engine, tmp_path: Path) -> None:
    token = add_token(engine, "till", "admin", NOW)
    assert all(token.encode() not in file.read_bytes() for file in tmp_path.iterdir())
    (listed,) = list_tokens(engine)
    assert listed.keys() == {"name", "scope", "created_at", "revoked_at"}


def test_a_name_is_used_once_even_when_its_token_was_revoked(engine: Engine) -> None:
    add_token(engine, "till", "events", NOW)
    revoke_token(engine, "till", NOW)
    with pytest.raises(UsageError, match="already"):
        add_token(engine, "till", "events", NOW)


@pytest.mark.parametrize("scope", ["", "root", "screen:", "Admin"])
def test_an_unknown_scope_is_refused(engine: Engine, scope: str) -> None:
    with pytest.raises(UsageError, match="no scope"):
        add_token(engine, "till", scope, NOW)
    assert list_tokens(engine) == []


@pytest.mark.parametrize("name", ["", "  ", "x" * 201])
def test_a_name_must_say_something(engine: Engine, name: str) -> None:
    with pytest.raises(UsageError, match="name"):
        add_token(engine, name, "admin", NOW)


def test_a_scope_allows_itself_and_admin_allows_all() -> None:
    assert allows("events", "events") and allows("admin", "events")
    assert not allows("events", "recommend") and not allows("screen:a", "screen:b")
