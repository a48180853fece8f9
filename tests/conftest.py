"""Fixtures that every kind of test may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from configs import telemetry
from tests.postgresql import BACKENDS, fresh_database
from tests.small_shop import write_small_shop

telemetry.turn_off()

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh FACINGS_HOME that the process settings point to."""
    folder = tmp_path / "home"
    monkeypatch.setenv("FACINGS_HOME", str(folder))
    return folder


@pytest.fixture(scope="session")
def published_data() -> Path:
    """The folder of published benchmark data; tests that use it skip visibly where there is none."""
    folder = Path(os.environ.get("FACINGS_BENCHMARK_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip("no published benchmark data: set FACINGS_BENCHMARK_DATA to its folder")
    return folder


@pytest.fixture(params=BACKENDS)
def state_url(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """The setting for a fresh state, in each kind of database that there is a server for; None: SQLite in the home."""
    if request.param == "sqlite":
        yield None
    else:
        with fresh_database() as url:
            yield url


@pytest.fixture
def state_uri(state_url: str | None, tmp_path: Path) -> str:
    """The URL of an empty state database, in each kind of database that there is a server for."""
    return state_url or f"sqlite:///{tmp_path / 'state.db'}"


@pytest.fixture
def small_shop(tmp_path: Path) -> Path:
    """A folder of CSV tables of a tiny shop (tests/small_shop.py says what is in it)."""
    return write_small_shop(tmp_path / "shop")
