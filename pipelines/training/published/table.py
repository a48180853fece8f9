"""The result of one published table: our figures beside the published ones, as data and as text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from configs.errors import UsageError
from configs.recipe import Recipe
from models.metrics.bootstrap import PairedDifference, paired_difference

# Of result files; 1 was without a number. `published/earlier.py` reads them.
FORMAT = 2
PAIRED = "difference to the baseline, 95 % interval of the paired bootstrap over users"
LISTS = ["recipe", "setting", "user", "rank", "item"]


class Figure(BaseModel):
    """One cell of the table."""

    model_config = ConfigDict(frozen=True)

    recipe: str
    setting: str
    metric: str
    ours: float
    reference: float | None = Field(None, description="the published value; none: nobody published one")
    tolerance: float = Field(0.00005, description="how far ours may lie from it: half of the last digit, or noise")

    @property
    def match(self) -> bool | None:
        """Whether ours is the published value; None where there is none. A half of the last digit may go either way."""
        return None if self.reference is None else abs(self.ours - self.reference) <= self.tolerance + 1e-9


class Difference(BaseModel):
    """Ours minus a baseline on the same users, with the paired bootstrap's interval."""

    model_config = ConfigDict(frozen=True)

    recipe: str
    against: str
    setting: str
    metric: str
    difference: float
    lower: float
    upper: float
    not_better: float = Field(description="share of resamples in which ours was not better")
    users: int


class PublishedTable(BaseModel):
    """Our figures, what they are compared with, and the lists behind them."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    name: str
    title: str
    figures: tuple[Figure, ...]
    differences: tuple[Difference, ...] = ()
    notes: tuple[str, ...] = ()
    intervals: str = Field(PAIRED, exclude=True, description="the line above the differences: what their intervals are")
    lists: pd.DataFrame = Field(exclude=True, description="columns LISTS: the first seed's test lists")

    @property
    def reproduced(self) -> bool:
        """Whether every published figure was met."""
        return all(figure.match is not False for figure in self.figures)

    def result(self) -> dict[str, Any]:
        """The table as one JSON object."""
        content = self.model_dump(mode="json")
        for row, figure in zip(content["figures"], self.figures, strict=True):
            row["match"] = figure.match
        return {"format": FORMAT, **content, "reproduced": self.reproduced}

    def text(self) -> list[str]:
        """The table as lines for people."""
        lines = [self.title]
        for setting in dict.fromkeys(figure.setting for figure in self.figures):
            lines += ["", *_block(setting, [figure for figure in self.figures if figure.setting == setting])]
        if self.differences:
            lines += ["", self.intervals]
            lines += _aligned([_difference_cells(row) for row in self.differences])
        return [*lines, "", *self.notes]


def distinct_names(recipes: Iterable[Recipe], taken: Iterable[str]) -> None:
    """Refuse recipes that could not be told apart in the table.

    Raises:
        UsageError: two recipes bear the same name, or one that is `taken`.
    """
    names = [*taken]
    for recipe in recipes:
        if recipe.name in names:
            raise UsageError(f"The table has a row {recipe.name!r} already; give the recipe another `name`.")
        names.append(recipe.name)


def difference(
    ours: pd.DataFrame, theirs: pd.DataFrame, *, recipe: str, against: str, setting: str, metric: str
) -> Difference:
    """Compare one metric of two `metrics.evaluate` frames of the same shoppers in the same order (NaN: left out)."""
    column = f"new_{metric}" if setting.startswith(NEW_ONLY) else metric
    one, other = ours[column].to_numpy(float), theirs[column].to_numpy(float)
    known = ours[column].notna().to_numpy()
    found: PairedDifference = paired_difference(one[known], other[known], confidence=0.975)
    return Difference(
        recipe=recipe,
        against=against,
        setting=setting,
        metric=metric,
        difference=found.difference,
        lower=found.lower,
        upper=found.upper,
        not_better=found.not_better,
        users=found.shoppers,
    )


NEW_ONLY = "new-only"


def _block(setting: str, figures: Sequence[Figure]) -> list[str]:
    """One setting: a row a recipe; for each metric ours, the published value and whether they agree."""
    metrics = list(dict.fromkeys(figure.metric for figure in figures))
    cells = [[setting] + [word for metric in metrics for word in (metric, "published", "match")]]
    for recipe in dict.fromkeys(figure.recipe for figure in figures):
        mine = {figure.metric: figure for figure in figures if figure.recipe == recipe}
        cells.append([recipe] + [word for metric in metrics for word in _figure_cells(mine.get(metric))])
    used = [column for column in range(len(cells[0])) if any(row[column] for row in cells[1:])]
    return _aligned([[row[column] for column in used] for row in cells])


def _figure_cells(figure: Figure | None) -> list[str]:
    if figure is None:
        return ["", "", ""]
    if figure.reference is None:
        return [_number(figure.ours), "", ""]
    return [_number(figure.ours), _number(figure.reference), "yes" if figure.match else "NO"]


def _difference_cells(row: Difference) -> list[str]:
    interval = f"[{row.lower:+.4f}, {row.upper:+.4f}]"
    return [
        f"{row.recipe} - {row.against}",
        row.setting,
        row.metric,
        f"{row.difference:+.4f}",
        interval,
        f"{row.users} users",
    ]


def _number(value: float) -> str:
    return f"{value:.4f}".removeprefix("0")


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(word.ljust(width) if column == 0 else word.rjust(width)
                  for column, (word, width) in enumerate(zip(row, widths, strict=True))).rstrip()
        for row in rows
    ]  # fmt: skip
