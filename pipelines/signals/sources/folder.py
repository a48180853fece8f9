"""Which files of a folder hold which table: one file a table, or files that are added day by day."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from configs.errors import FacingsError
from pipelines.signals.contract.tables import BESIDE, TABLES
from pipelines.signals.sources.description import Description

FORMATS = frozenset({".csv", ".parquet"})
# What lies beside tables and was never meant as one.
_NOTES = frozenset({".md", ".sql", ".yaml", ".yml"})


@dataclass(frozen=True)
class TableFile:
    """One file of one table.

    Attributes:
        table: the table's name.
        path: the file.
        name: its path below the folder.
        daily: it is one of many, and never read again while its content stays the same.
    """

    table: str
    path: Path
    name: str
    daily: bool


def find_files(folder: Path, description: Description) -> tuple[list[TableFile], list[str]]:
    """Find the tables of a folder, each table's files in the order of their names, its one file before the daily ones.

    A table is `<table>.csv` or `.parquet`; files added day by day are `<table>-*` beside it, or anything below a folder
    `<table>/`. Where the description names a table's files, only those are its.

    Returns:
        The files, and the names of those that belong to no table.

    Raises:
        FacingsError: there is no such folder, no table in it, no file that the description names, or the same file in
            two formats.
    """
    if not folder.is_dir():
        raise FacingsError(f"There is no folder {folder}; give the folder that holds your tables.")
    beside = [path for path in sorted(folder.iterdir()) if _counts(path)]
    found, strangers = [], []
    for path in beside:
        if path.is_file():
            table = path.stem.split("-", 1)[0]
            if table in TABLES and path.suffix in FORMATS and description.table(table).files is None:
                found.append(TableFile(table, path, path.name, daily=path.stem != table))
            else:
                strangers.append(path.name)
        elif path.name in TABLES and description.table(path.name).files is None:
            below = sorted(file for file in path.rglob("*") if file.is_file() and _counts(file))
            names = [(file, file.relative_to(folder).as_posix()) for file in below]
            found += [TableFile(path.name, file, name, daily=True) for file, name in names if file.suffix in FORMATS]
            strangers += [name for file, name in names if file.suffix not in FORMATS]
    found += _described(folder, description)
    if not found:
        raise FacingsError(f"{folder} holds no table; it should hold interactions.parquet or interactions.csv.")
    _check_formats(folder, found)
    taken = {file.name for file in found}
    order = sorted(found, key=lambda file: (file.table, file.daily, file.name))
    return order, [name for name in strangers if name not in taken]


def _described(folder: Path, description: Description) -> list[TableFile]:
    found = []
    for table, mapping in description.tables.items():
        if mapping.files is None:
            continue
        several = any(sign in mapping.files for sign in "*?[")
        paths = sorted(path for path in folder.glob(mapping.files) if path.is_file())
        if not paths:
            raise FacingsError(f"{folder} holds no file {mapping.files}, which the mapping names for table {table}.")
        for path in paths:
            name = path.relative_to(folder).as_posix()
            if path.suffix not in FORMATS:
                raise FacingsError(f"{path} is neither .csv nor .parquet; name such files for table {table}.")
            found.append(TableFile(table, path, name, daily=several))
    return found


def _counts(path: Path) -> bool:
    """Hidden files, what engines leave beside their parts (_SUCCESS), and notes are no tables."""
    return not path.name.startswith((".", "_")) and path.suffix not in _NOTES and path.name not in BESIDE


def _check_formats(folder: Path, files: list[TableFile]) -> None:
    stems = Counter((file.table, Path(file.name).with_suffix("").as_posix()) for file in files)
    for (table, stem), count in stems.items():
        if count > 1:
            what = f"table {table}" if stem == table else f"{stem} of table {table}"
            raise FacingsError(f"{folder} holds {what} both as CSV and as parquet; keep one of them.")
