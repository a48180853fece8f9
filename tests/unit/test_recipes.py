"""Recipes are found by name or by path, never the one for the other, and are named as their files."""

from __future__ import annotations

from pathlib import Path

import pytest

import configs
from configs.errors import UsageError
from configs.recipe import load_recipe

SHIPPED = sorted((Path(configs.__path__[0]) / "recipes").rglob("*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_recipe_bears_the_name_of_its_file_and_is_found_by_it(path: Path) -> None:
    assert load_recipe(path).name == path.stem
    assert load_recipe(path.stem) == load_recipe(path)


def test_no_two_recipes_bear_the_same_name() -> None:
    assert len({path.stem for path in SHIPPED}) == len(SHIPPED)


@pytest.mark.parametrize(
    "wrong", ["/nowhere/ranker.yaml", "drafts/ranker.yml", "ranker.yaml", "/etc/ranker", "**", "a/b"]
)
def test_a_path_that_is_not_there_is_refused_though_a_recipe_of_that_name_ships(wrong: str) -> None:
    with pytest.raises(UsageError, match="There is no recipe"):
        load_recipe(wrong)


def test_what_is_no_text_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_bytes(b"\xff\xfe\x00name")
    with pytest.raises(UsageError, match=r"cannot be read as text|not valid YAML"):
        load_recipe(tmp_path / "mine.yaml")
    with pytest.raises(UsageError, match="There is no recipe file"):
        load_recipe(tmp_path)
