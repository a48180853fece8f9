"""Result files of `facings benchmark`: read again in their format, and refused with a sentence in any other."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from configs.errors import FacingsError
from pipelines.training.published.earlier import change_lines, changes, read_result
from pipelines.training.published.table import FORMAT, LISTS, Figure, PublishedTable
from tests.command import facings


def table(value: float, name: str = "toy") -> PublishedTable:
    figures = (
        Figure(recipe="popular", setting="default", metric="recall", ours=0.1, reference=0.1),
        Figure(recipe="mine", setting="default", metric="recall", ours=value),
    )
    return PublishedTable(name=name, title="A toy", figures=figures, lists=pd.DataFrame(columns=LISTS))


def written(path: Path, content: object) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_result_is_compared_figure_by_figure_with_an_earlier_one(tmp_path: Path) -> None:
    earlier = read_result(written(tmp_path / "toy.json", table(0.25).result()), "toy")
    found = changes(table(0.30), earlier)
    assert [(change.recipe, change.before, change.now) for change in found] == [
        ("popular", 0.1, 0.1),
        ("mine", 0.25, 0.30),
    ]
    assert found[1].change == pytest.approx(0.05)
    assert "0.2500 → 0.3000  +0.0500" in change_lines(found)[-1]
    assert "no figure in common" in change_lines([])[-1]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (
            {**table(0.2).result(), "format": 1},
            f"older format 1, and this version reads format {FORMAT}; make it again",
        ),
        ({key: value for key, value in table(0.2).result().items() if key != "format"}, "older format 1"),
        ({**table(0.2).result(), "format": 99}, "unknown format 99"),
        (table(0.2, "another").result(), "is a result of table another, not of toy"),
        ({"format": FORMAT, "name": "toy", "figures": [{"recipe": "x"}]}, "damaged at `figures.0.setting`"),
        ({"rows": []}, "is no result of `facings benchmark`"),
        ("{", "cannot be read as a result file"),
    ],
)
def test_a_file_of_another_format_or_kind_is_refused_with_what_to_do(
    tmp_path: Path, content: object, sentence: str
) -> None:
    with pytest.raises(FacingsError) as failure:
        read_result(written(tmp_path / "old.json", content), "toy")
    assert sentence in str(failure.value) and "old.json" in str(failure.value)


def test_the_verb_refuses_an_older_file_before_it_measures_anything(tmp_path: Path, home: Path) -> None:
    old = written(tmp_path / "old.json", {"name": "complete-journey", "figures": []})
    outcome = facings("benchmark", "complete-journey", "--against", old)
    assert (outcome.code, outcome.out) == (1, "")
    assert "make it again with `facings benchmark complete-journey --json > old.json`" in outcome.sentence
    assert "There is no file" in facings("benchmark", "complete-journey", "--against", tmp_path / "none.json").sentence
