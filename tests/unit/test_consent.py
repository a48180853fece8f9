"""Consent records: under a pseudonym, with the text's version, kept after the withdrawal."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from configs.home import Home
from state.consent import TEXT_VERSION, Consents, consents
from state.engine import open_engine

MOMENT = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def book(state_uri: str, tmp_path: Path) -> Consents:
    return Consents(open_engine(state_uri), Home(tmp_path))


def test_a_consent_is_in_force_from_giving_to_withdrawal(book: Consents) -> None:
    assert not book.holds("zebra")
    assert book.give("zebra", at=MOMENT)
    assert book.holds("zebra")
    assert book.checker()("zebra")
    assert not book.checker()("other")
    assert book.withdraw("zebra", at=MOMENT + timedelta(days=1)) == 1
    assert not book.holds("zebra")
    assert not book.checker()("zebra")
    assert book.withdraw("zebra", at=MOMENT) == 0


def test_the_same_consent_given_twice_is_one_record_and_a_new_text_is_another(book: Consents) -> None:
    assert book.give("zebra", at=MOMENT)
    assert not book.give("zebra", at=MOMENT)
    assert book.give("zebra", at=MOMENT, text_version="2")
    assert book.withdraw("zebra", at=MOMENT) == 2


def test_the_record_stays_as_evidence_and_does_not_name_the_shopper(book: Consents, tmp_path: Path) -> None:
    book.give("zebra-4711", at=MOMENT)
    book.withdraw("zebra-4711", at=MOMENT + timedelta(days=1))
    with book._engine.connect() as connection:
        (row,) = connection.execute(select(consents)).all()
    assert (row.purpose, row.text_version, len(row.shopper)) == ("recognition", TEXT_VERSION, 64)
    assert row.withdrawn_at is not None
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or b"zebra-4711" not in file.read_bytes()


def test_a_consent_for_one_purpose_is_none_for_another(book: Consents, tmp_path: Path) -> None:
    book.give("zebra", at=MOMENT)
    other = Consents(book._engine, Home(tmp_path), purpose="newsletter")
    assert not other.holds("zebra")
