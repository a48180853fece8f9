"""Result files of `facings benchmark NAME --json`: read again, and compared with a new table."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from configs.errors import FacingsError
from pipelines.training.published.table import FORMAT, Figure, PublishedTable


class EarlierResult(BaseModel):
    """What a result file says of a table."""

    model_config = ConfigDict(frozen=True)

    name: str
    figures: tuple[Figure, ...]


class Change(BaseModel):
    """One figure now and in an earlier result; `change` is now − before."""

    model_config = ConfigDict(frozen=True)

    recipe: str
    setting: str
    metric: str
    now: float
    before: float
    change: float


def read_result(path: Path, table: str) -> EarlierResult:
    """Read a result file of this format and of this table.

    Raises:
        FacingsError: there is no such file, it is no result file, or one of another format or table.
    """
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        raise FacingsError(f"There is no file {path}.") from None
    except (OSError, ValueError) as error:
        raise FacingsError(f"{path} cannot be read as a result file ({' '.join(str(error).split())[:200]}).") from None
    if not isinstance(content, dict) or "figures" not in content:
        raise FacingsError(f"{path} is no result of `facings benchmark`; give a file that `--json` wrote.")
    found = content.get("format", 1)
    if found != FORMAT:
        age = "older" if isinstance(found, int) and found < FORMAT else "unknown"
        raise FacingsError(
            f"{path} is a result file of the {age} format {found}, and this version reads format {FORMAT}; make it "
            f"again with `facings benchmark {content.get('name', 'NAME')} --json > {path.name}`."
        )
    try:
        earlier = EarlierResult.model_validate(content)
    except ValidationError as error:
        key = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise FacingsError(f"{path} is damaged at `{key}`; make it again with `facings benchmark`.") from None
    if earlier.name != table:
        raise FacingsError(f"{path} is a result of table {earlier.name}, not of {table}; give one of this table.")
    return earlier


def changes(table: PublishedTable, earlier: EarlierResult) -> list[Change]:
    """Return the figures that both have, in the table's order."""
    before = {(figure.recipe, figure.setting, figure.metric): figure.ours for figure in earlier.figures}
    return [
        Change(
            recipe=figure.recipe,
            setting=figure.setting,
            metric=figure.metric,
            now=figure.ours,
            before=before[key],
            change=figure.ours - before[key],
        )
        for figure in table.figures
        for key in ((figure.recipe, figure.setting, figure.metric),)
        if key in before
    ]


def change_lines(found: list[Change]) -> list[str]:
    """The changes as lines for people."""
    if not found:
        return ["", "The earlier result has no figure in common with this one."]
    names = [f"{change.recipe}  {change.setting}" for change in found]
    width = max(map(len, names))
    return ["", "against the earlier result"] + [
        f"{name:<{width}}  {change.metric:<10}  {change.before:.4f} → {change.now:.4f}  {change.change:+.4f}"
        for name, change in zip(names, found, strict=True)
    ]
