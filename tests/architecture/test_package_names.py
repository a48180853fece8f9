"""Our plain top-level packages are ours: no installed wheel (Feast's brings `docs`) stands before them."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NAMES = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]


@pytest.mark.parametrize("name", NAMES)
def test_a_package_name_of_ours_is_imported_from_this_repository(name: str) -> None:
    found = importlib.util.find_spec(name)
    assert found is not None and found.submodule_search_locations is not None
    assert [Path(place).resolve() for place in found.submodule_search_locations] == [ROOT / name]


@pytest.mark.parametrize("name", NAMES)
def test_no_other_distribution_ships_a_package_of_ours(name: str) -> None:
    others = set(packages_distributions().get(name, [])) - {"facings"}
    assert not others, f"{name} is also shipped by {others}; one of the two would shadow the other"


def test_every_top_level_package_of_the_repository_is_in_the_wheel() -> None:
    assert sorted(path.parent.name for path in ROOT.glob("*/__init__.py")) == sorted(NAMES)


@pytest.mark.parametrize("name", ["docs", "benchmarks", "tests"])
def test_folders_that_are_not_packages_have_no_init_file(name: str) -> None:
    assert not (ROOT / name / "__init__.py").exists()


def test_a_package_of_ours_wins_from_any_folder(tmp_path: Path) -> None:
    code = f"import importlib.util as u; print([u.find_spec(n).origin for n in {NAMES!r}])"
    said = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert all(str(ROOT / name / "__init__.py") in said for name in NAMES)
