"""A town's history as a folder of tables, written day by day in bounded memory."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, Self

import polars as pl
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from configs.errors import FacingsError
from pipelines.simulation.config import TownConfig
from pipelines.simulation.tables import displays
from pipelines.simulation.town import Town
from pipelines.simulation.truth import truth_of
from state.files import build_folder, replace_folder

Format = Literal["parquet", "csv"]
TRUTH = "truth.json"
_FLUSH_ROWS = 250_000


class HistoryReport(BaseModel):
    """What was written: rows by table. Everything in it is simulated."""

    model_config = ConfigDict(frozen=True)
    simulated: bool = True
    folder: str
    variant: str
    seed: int
    shoppers: int
    stores: int
    days: int
    tables: dict[str, int]


def write_history(
    config: TownConfig, seed: int, folder: Path, *, form: Format = "parquet", progress: Callable[[str], None]
) -> HistoryReport:
    """Run a town through its days and write what a shop would know of it, and `truth.json` beside.

    The folder appears whole or not at all. The same arguments write the same bytes.

    Args:
        config, seed: of the town.
        folder: new, empty, or one that this function wrote before, which is then replaced.
        form: of the tables.
        progress: is told about every tenth of the days.

    Raises:
        FacingsError: the folder holds something else.
    """
    _check_free(folder)
    counts: dict[str, int] = {}

    def build(draft: Path) -> None:
        counts.update(_write(config, seed, draft, form, progress))

    (replace_folder if folder.exists() else build_folder)(folder, build)
    return HistoryReport(
        folder=str(folder),
        variant=config.variant,
        seed=seed,
        shoppers=config.shoppers,
        stores=config.stores,
        days=config.days,
        tables=dict(sorted(counts.items())),
    )


def _write(
    config: TownConfig, seed: int, folder: Path, form: Format, progress: Callable[[str], None]
) -> dict[str, int]:
    town = Town.build(config, seed)
    writers: dict[str, _Writer] = {}

    def add(table: str, frame: pl.DataFrame) -> None:
        if frame.height:
            if table not in writers:
                writers[table] = _Writer(folder / f"{table}.{form}")
            writers[table].add(frame)

    for day in range(config.days):
        for table, frame in town.step(day).items():
            add(table, frame)
        if day % 7 == 0:
            add("promotions", displays(town.names, day, town.encounters.displayed))
        if (day + 1) % max(1, config.days // 10) == 0:
            progress(f"simulated day {day + 1} of {config.days}: {writers['interactions'].rows:,} interactions")
    for table, frame in town.standing().items():
        add(table, frame)
    for writer in writers.values():
        writer.close()
    (folder / TRUTH).write_text(json.dumps(truth_of(town), ensure_ascii=False, indent=1) + "\n")
    return {table: writer.rows for table, writer in writers.items()}


class _Writer:
    """One table's file, written in row groups as rows come."""

    def __init__(self, path: Path) -> None:
        self._path, self._waiting, self.rows = path, list[pl.DataFrame](), 0
        self._parquet: Any = None

    def add(self, frame: pl.DataFrame) -> Self:
        """Take rows; they are on disk when enough have come, or at the end."""
        self._waiting.append(frame)
        self.rows += frame.height
        if sum(one.height for one in self._waiting) >= _FLUSH_ROWS:
            self._flush()
        return self

    def close(self) -> None:
        """Write what waits and end the file."""
        self._flush()
        if self._parquet is not None:
            self._parquet.close()

    def _flush(self) -> None:
        if not self._waiting:
            return
        whole, self._waiting = pl.concat(self._waiting), []
        if self._path.suffix == ".csv":
            first = not self._path.exists()
            with self._path.open("ab") as file:
                whole.write_csv(file, include_header=first, datetime_format="%Y-%m-%dT%H:%M:%S%.6fZ")
            return
        table = whole.to_arrow()
        if self._parquet is None:
            self._parquet = pq.ParquetWriter(self._path, table.schema, compression="zstd", compression_level=1)
        self._parquet.write_table(table)


def _check_free(folder: Path) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise FacingsError(f"{folder} is a file; name a folder for the simulated tables.")
    if any(folder.iterdir()) and not _is_ours(folder / TRUTH):
        raise FacingsError(f"{folder} holds something that was not simulated; name a new folder.")


def _is_ours(truth: Path) -> bool:
    try:
        told = json.loads(truth.read_text())
    except (OSError, ValueError):
        return False
    return isinstance(told, dict) and told.get("simulated") is True
