"""docs/notebooks: the example notebook runs from top to bottom on a small shop, and changes nothing in its home."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tests.command import facings

NOTEBOOK = Path(__file__).resolve().parents[2] / "docs" / "notebooks" / "first_look.py"


def files_of(home: Path) -> dict[Path, int]:
    """Files with the time of their last change; SQLite tidies its own whenever a connection closes."""
    return {file: file.stat().st_mtime_ns for file in home.rglob("*") if not file.name.startswith("state.db")}


def test_the_notebook_measures_two_recommenders_and_leaves_the_home_as_it_was(home: Path, small_shop: Path) -> None:
    pytest.importorskip("marimo", reason="no marimo: install the extra `dev`")
    assert facings("ingest", small_shop).code == 0
    before = files_of(home)
    spec = importlib.util.spec_from_file_location("first_look", NOTEBOOK)
    assert spec is not None and spec.loader is not None
    notebook = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(notebook)
    _, found = notebook.app.run()
    measured = found["measured"]
    assert measured.loc["ndcg", "personal_frequency"] > measured.loc["ndcg", "popularity"] > 0
    assert found["gap"].lower > 0, "the small shop's shoppers buy their favourites"
    assert found["split"].end < found["data_split"].end, "the test window is not looked at"
    assert len(found["scores"]) == 6 and all(0 < value < 1 for value in found["scores"].values())
    assert {len(own) for own in found["lists"].values()} == {10}
    assert files_of(home) == before
