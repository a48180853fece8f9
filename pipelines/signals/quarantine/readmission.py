"""Quarantined rows on their way back: as they are, under a mapping, or corrected by hand in a CSV file."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl

from configs.errors import FacingsError
from pipelines.signals.contract.tables import TABLES, Table
from pipelines.signals.quarantine.corrected import PLACE
from pipelines.signals.quarantine.rows import FORGOTTEN
from pipelines.signals.sources.arrived import Arrived
from pipelines.signals.sources.csv_files import MALFORMED, CsvFile
from pipelines.signals.sources.description import Description
from pipelines.signals.sources.mapping import MappedRows
from pipelines.signals.sources.source import FrameSource, Rows, frame_of

# Columns of an exported row that are no values of it.
ROW_ID, REASON, SURPLUS = "quarantine_id", "quarantine_reason", "quarantine_surplus"
_NOTES = (ROW_ID, "quarantine_file", "quarantine_line", REASON, SURPLUS)
# Rows that cannot be tried as they are: their content is gone, or was never parted into columns.
_STAYS = (pl.col("reason") == FORGOTTEN) | pl.col("reason").str.starts_with(MALFORMED)
# Rows whose values could mean two things under the mapping by which they came.
_LOCAL_HOUR = pl.col("reason").str.contains("clocks repeat or skip")
_LONE_POINT = pl.col("reason").str.contains("decimal comma is expected")


def from_quarantine(waiting: pl.DataFrame, description: Description | None) -> Arrived:
    """Every row that has its content and was parted into columns, file by file."""
    stays = _STAYS | (pl.lit(description is None) & _LOCAL_HOUR)
    if description is None or description.csv.decimal == ",":
        stays |= _LONE_POINT
    tried = waiting.filter(~stays)
    sources = [
        _rows(str(table), str(file), [json.loads(row) for row in group["row"]], group["line"].to_list(), description)
        for (table, file), group in tried.group_by("table", "file", maintain_order=True)
    ]
    return Arrived(sources, tried=tried.select(PLACE))


def export_quarantine(waiting: pl.DataFrame, out: Path) -> dict[str, Path]:
    """Write the rows that wait, a CSV file for each table, for somebody to correct; those without content are left out.

    The columns quarantine_id, _file, _line and _reason come first and are to be left alone. What a row had too many
    stands in quarantine_surplus, which is to be emptied.

    Returns:
        The file of each table.
    """
    files = {}
    known = waiting.filter(pl.col("reason") != FORGOTTEN)
    for (table,), group in known.group_by("table", maintain_order=True):
        rows = [
            dict(zip(_NOTES, (_id(entry), entry["file"], entry["line"], entry["reason"], None), strict=True))
            | _cells(json.loads(entry["row"]))
            for entry in group.iter_rows(named=True)
        ]
        out.mkdir(parents=True, exist_ok=True)
        files[str(table)] = out / f"{table}.csv"
        names = list(dict.fromkeys([*_NOTES, *(name for row in rows for name in row), *TABLES[str(table)].required]))
        frame = pl.DataFrame(
            {name: [_cell(row.get(name)) for row in rows] for name in names}, schema=dict.fromkeys(names, pl.String)
        )
        frame.write_csv(files[str(table)])
    return files


def from_corrections(folder: Path, waiting: pl.DataFrame, description: Description | None) -> Arrived:
    """The corrected rows of a folder that `export_quarantine` wrote, each in the place of the row that waits.

    Raises:
        FacingsError: there is no such folder, no table in it, or a file is not what was written.
    """
    if not folder.is_dir():
        raise FacingsError(f"There is no folder {folder}; give the one that `facings quarantine export` wrote.")
    files = [path for path in sorted(folder.glob("*.csv")) if path.stem in TABLES]
    if not files:
        raise FacingsError(f"{folder} holds no table; give the folder that `facings quarantine export` wrote.")
    entries = {_id(entry): entry for entry in waiting.iter_rows(named=True)}
    sources: list[Rows] = []
    tried: list[dict[str, Any]] = []
    left: Counter[str] = Counter()
    for path in files:
        by_file: dict[str, tuple[list[dict[str, Any]], list[int]]] = {}
        for row in _corrections(path):
            entry = entries.get(str(row[ROW_ID]))
            if entry is None or entry["table"] != path.stem:
                left["wait in the quarantine no longer"] += 1
                continue
            if row.get(SURPLUS) or _is_as_it_was(row, entry):
                left["were not corrected"] += 1
                continue
            tried.append({name: entry[name] for name in PLACE})
            some, lines = by_file.setdefault(entry["file"], ([], []))
            some.append({name: value for name, value in row.items() if name not in _NOTES})
            lines.append(entry["line"])
        sources += [_rows(path.stem, name, some, lines, description) for name, (some, lines) in by_file.items()]
    told = tuple(f"{count} rows {what} and were left alone" for what, count in left.items())
    return Arrived(sources, told, tried=pl.DataFrame(tried, schema=waiting.select(PLACE).schema))


def _corrections(path: Path) -> list[dict[str, Any]]:
    file = CsvFile(path)
    if ROW_ID not in file.header:
        raise FacingsError(f"{path} has no column {ROW_ID}; correct the file that `facings quarantine export` wrote.")
    rows = [row for chunk in file.chunks() for row in chunk.to_dicts()]
    for bad in file.malformed():
        raise FacingsError(f"{path}, line {bad.line}: {bad.reason}.")
    return rows


def _is_as_it_was(row: dict[str, Any], entry: dict[str, Any]) -> bool:
    before = {name: _cell(value) for name, value in _cells(json.loads(entry["row"])).items()} if entry["row"] else {}
    names = {*row, *before} - {*_NOTES}
    return all((row.get(name) or None) == (before.get(name) or None) for name in names)


def _rows(table: str, file: str, rows: list[dict[str, Any]], lines: list[int], description: Description | None) -> Rows:
    contract: Table = TABLES[table]
    if description is None:
        return FrameSource(contract, file, frame_of(rows), tuple(lines))
    # Rows that wait have the contract's names already; a mapping of names holds for those that still have theirs.
    there = {name for row in rows for name in row}
    mapping = description.table(table)
    fitting = mapping.model_copy(
        update={
            "columns": {
                ours: theirs for ours, theirs in mapping.columns.items() if theirs in there and ours not in there
            },
            "leave_out": tuple(name for name in mapping.leave_out if name in there),
            "constants": {name: value for name, value in mapping.constants.items() if name not in there},
        }
    )
    fitted = description.model_copy(update={"tables": {**description.tables, table: fitting}})
    return MappedRows(FrameSource(contract, file, frame_of(rows), tuple(lines)), fitted, again=True)


def _id(entry: dict[str, Any]) -> str:
    text = json.dumps([entry[name] for name in PLACE], ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _cells(row: dict[str, Any]) -> dict[str, Any]:
    """The values of a row; those without a name, of a row that had too many, together in one column."""
    named = {name: value for name, value in row.items() if name}
    return named | ({SURPLUS: row[""]} if "" in row else {})


def _cell(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list):
        return "|".join(str(one) for one in value)
    return json.dumps(value)
