"""Homes that are costly to make are made once a session and copied."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from configs.clock import SystemClock
from configs.settings import Settings, load_settings
from tests.town import write_town


@pytest.fixture(scope="session")
def towns(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of tables: the town after 80 and after 110 days, and one whose till went wrong from day 60 to 81."""
    root = tmp_path_factory.mktemp("towns")
    return {
        "early": write_town(root / "early", days=80),
        "late": write_town(root / "late", days=110),
        "broken": write_town(root / "broken", days=110, broken=range(60, 82)),
    }


@pytest.fixture(scope="session")
def trained_home(tmp_path_factory: pytest.TempPathFactory, towns: dict[str, Path]) -> Path:
    """A home in which version 1 (personal_frequency) serves, made from the early town."""
    from pipelines.training.retrain import retrain

    root = tmp_path_factory.mktemp("trained") / "home"
    settings = load_settings(home=root)
    result = retrain(
        settings, ["personal_frequency"], folder=towns["early"], clock=SystemClock(), progress=lambda _: None
    )
    assert result.status == "published"
    return root


@pytest.fixture(scope="session")
def refreshed_home(tmp_path_factory: pytest.TempPathFactory, trained_home: Path, towns: dict[str, Path]) -> Path:
    """The trained home after a refresh: version 2, from the late town, serves, and version 1 did before."""
    from pipelines.training.retrain import retrain

    root = tmp_path_factory.mktemp("refreshed") / "home"
    shutil.copytree(trained_home, root)
    result = retrain(load_settings(home=root), folder=towns["late"], clock=SystemClock(), progress=lambda _: None)
    assert result.status == "published"
    return root


@pytest.fixture
def trained(tmp_path: Path, trained_home: Path) -> Settings:
    """Settings of a copy of the trained home."""
    shutil.copytree(trained_home, tmp_path / "home")
    return load_settings(home=tmp_path / "home")


@pytest.fixture
def refreshed(tmp_path: Path, refreshed_home: Path) -> Settings:
    """Settings of a copy of the refreshed home."""
    shutil.copytree(refreshed_home, tmp_path / "home")
    return load_settings(home=tmp_path / "home")
