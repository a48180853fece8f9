"""The ranges of a recipe: an interval or a list, and one sentence where they are neither."""

from __future__ import annotations

from pathlib import Path

import pytest

from configs.errors import UsageError
from configs.recipe import Recipe, load_recipe


def recipe(tmp_path: Path, ranges: str) -> Recipe:
    path = tmp_path / "mine.yaml"
    path.write_text(f"name: mine\nrecommender: popularity\nranges:\n  window_days: {ranges}\n")
    return load_recipe(path)


@pytest.mark.parametrize(
    ("ranges", "said"),
    [
        ("{low: 30, high: 7}", "reversed or empty: low 30 is not below high 7"),
        ("{low: 7, high: 7}", "reversed or empty"),
        ("{low: 0, high: 7, log: true}", "starts above 0"),
        ("{low: 1}", "either low and high, or choices"),
        ("{choices: []}", "at least one value"),
        ("{choices: [1], low: 1, high: 2}", "either low and high, or choices"),
        ("{low: 1, high: 2, stepp: 1}", "Extra inputs"),
    ],
)
def test_a_range_that_says_nothing_is_refused_with_its_key(tmp_path: Path, ranges: str, said: str) -> None:
    with pytest.raises(UsageError, match="window_days") as refused:
        recipe(tmp_path, ranges)
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_ranges_shape_no_model_and_change_no_fingerprint(tmp_path: Path) -> None:
    with_ranges = recipe(tmp_path, "{low: 7, high: 90, step: 1}")
    assert with_ranges.ranges["window_days"].whole
    assert with_ranges.fingerprint == Recipe(name="mine", recommender="popularity").fingerprint
