"""Tables of a shop's database: each query's rows are put down once, as parquet chunks, and read from there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from configs.errors import UsageError
from pipelines.signals.contract.tables import TABLES, Table
from pipelines.signals.lake.lake import common_type
from pipelines.signals.sources.csv_files import Malformed
from pipelines.signals.sources.description import Description
from pipelines.signals.sources.source import check_names
from state.files import draft_beside
from state.queries import open_database, read_query


@dataclass(frozen=True)
class QuerySource:
    """The rows of one query; its rows are counted from 1 in the order of the answer."""

    table: Table
    name: str
    where: str
    parts: tuple[Path, ...]
    must_have_rows: bool = False

    def columns(self) -> list[str]:
        """Names of the query's columns.

        Raises:
            FacingsError: there are too many, or a name cannot be used.
        """
        names = list(self._types())
        check_names(names, self.where)
        return names

    def chunks(self) -> Iterator[pl.DataFrame]:
        """Yield the rows in order; a column that changes its type on the way is a number or text throughout."""
        types = self._types()
        for part in self.parts:
            frame = pl.read_parquet(part)
            yield frame.with_columns(pl.col(name).cast(kind) for name, kind in types.items())

    def malformed(self) -> list[Malformed]:
        """None: a query's rows have all its columns."""
        return []

    def lines(self, rows: pl.Series) -> pl.Series:
        """Number of each row, from 1."""
        return rows + 1

    def rows_at(self, lines: Sequence[int]) -> dict[int, int]:
        """None: the rows of a query have no fixed place."""
        return {}

    def _types(self) -> dict[str, pl.DataType]:
        kinds: dict[str, set[pl.DataType]] = {}
        for part in self.parts:
            for name, kind in pl.read_parquet_schema(part).items():
                kinds.setdefault(name, set()).add(kind)
        return {name: common_type(several) for name, several in kinds.items()}


def fetch(description: Description, file: Path, lake_folder: Path) -> list[QuerySource]:
    """Run every query of a description, all in one transaction, a chunk in memory at a time.

    Args:
        description: names the database and the queries.
        file: the YAML, for messages and for the relative path of an SQLite file.
        lake_folder: the rows wait there as drafts; whoever cleans the lake removes them.

    Raises:
        FacingsError: the database does not answer, a query fails, or a column holds what no table has.
    """
    if not description.tables:
        raise UsageError(f"{file} names no table; write tables: {{interactions: SELECT …}}.")
    sources = []
    with open_database(description.database_url(), file.parent) as connection:
        for name, mapping in description.tables.items():
            what = f"The query of table {name} in {file}"
            folder = draft_beside(lake_folder / name)
            folder.mkdir(parents=True)
            parts = []
            for number, frame in enumerate(read_query(connection, mapping.query or "", what)):
                parts.append(folder / f"{number:06}.parquet")
                frame.write_parquet(parts[-1])
            sources.append(QuerySource(TABLES[name], f"{file.name}#{name}", what, tuple(parts)))
    return sources
