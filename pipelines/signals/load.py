"""One file of one table into the lake: check each row, drop duplicates, write a new part; no manifest is touched."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Protocol

import polars as pl

from configs.errors import FacingsError
from pipelines.signals.contract import Table, unknown_reason
from pipelines.signals.convert import convert, unreadable_reason
from pipelines.signals.csv_files import Malformed
from pipelines.signals.lake import Part
from pipelines.signals.parts import Staged, append, replace
from pipelines.signals.quarantine import FORGOTTEN, records
from pipelines.signals.schemas import ROW, violations


class Rows(Protocol):
    """Rows of one table as they came, in chunks."""

    @property
    def table(self) -> Table:
        """The table that the rows belong to."""
        ...

    @property
    def name(self) -> str:
        """The file's name, for the quarantine."""
        ...

    def chunks(self) -> Iterator[pl.DataFrame]:
        """Yield the rows in order."""
        ...

    def malformed(self) -> list[Malformed]:
        """Rows that could not be parted into columns; asked for after the chunks."""
        ...

    def lines(self, rows: list[int]) -> list[int]:
        """Where rows (counted from 0) stand in the file."""
        ...


@dataclass(frozen=True)
class Gate:
    """What a row is checked against.

    Attributes:
        now: the moment of this ingest.
        latest: times of events may not lie after this.
        known: for each table that was ever ingested and is referred to, the ids that it holds.
        forgotten: tells which of some shoppers were forgotten.
        again: the rows come from the quarantine, and what the lake holds may be newer: it is not replaced.
    """

    now: datetime
    latest: datetime
    known: dict[str, pl.Series]
    forgotten: Callable[[list[str]], set[str]]
    again: bool = False


@dataclass(frozen=True)
class Loaded:
    """Outcome for one file: rows = kept + duplicates + quarantined.

    Attributes:
        rows, kept, duplicates: counts; the rest is in `quarantined`.
        quarantined: rows of the quarantine.
        parts: the table's parts after this file, the earlier ones included where they still hold.
    """

    rows: int
    kept: int
    duplicates: int
    quarantined: pl.DataFrame
    parts: tuple[Part, ...]


def load(source: Rows, lake_folder: Path, held: tuple[Part, ...], gate: Gate) -> Loaded:
    """Check and write one file.

    Args:
        source: the rows.
        lake_folder: root of the lake; new parts are written below it.
        held: the table's parts so far.
        gate: what rows are checked against.

    Returns:
        Counts, quarantined rows and the table's new parts. Nothing counts before a manifest names the parts.

    Raises:
        FacingsError: there is no row at all.
    """
    table = source.table
    rows, refused, staged = 0, [], Staged(table, lake_folder, gate.now)
    with closing(staged):
        for chunk in source.chunks():
            good, bad = _check(chunk, table, gate, rows)
            if not bad.is_empty():
                refused.append(bad)
            staged.add(good)
            rows += chunk.height
    if refused:  # once for all chunks, because finding lines reads the file again
        whole = pl.concat(refused)
        refused = [whole.with_columns(pl.Series("line", source.lines(whole[ROW].to_list()), pl.Int64))]
    malformed = [_malformed(row, table, gate) for row in source.malformed()]
    if malformed:
        refused.append(pl.DataFrame(malformed, schema=["line", "reason", "row"], orient="row"))
    rows += len(malformed)
    if rows == 0:
        raise FacingsError(f"{source.name} has no rows; export table {table.name} again or take the file out.")
    fold = partial(replace, overwrite=not gate.again) if table.key else _append
    parts, kept, conflicts = fold(staged, held)
    if conflicts:
        where = "in the lake already" if gate.again else "in this file before"
        reason = f"the key ({', '.join(table.key)}) stands {where}, with other values"
        texts = _raw_rows(source, conflicts)
        refused.append(pl.DataFrame({"line": source.lines(conflicts), "reason": [reason] * len(texts), "row": texts}))
    quarantined = _quarantine(table, source.name, refused, gate.now)
    duplicates = rows - kept - quarantined.height
    return Loaded(rows, kept, duplicates, quarantined, parts)


def _append(staged: Staged, held: tuple[Part, ...]) -> tuple[tuple[Part, ...], int, list[int]]:
    return *append(staged, held), []


def _malformed(row: Malformed, table: Table, gate: Gate) -> tuple[int, str, str]:
    shopper = json.loads(row.row).get("shopper_id") if table.column("shopper_id") else None
    if shopper and gate.forgotten([shopper]):
        return row.line, FORGOTTEN, ""
    return row.line, row.reason, row.row


def _quarantine(table: Table, file: str, refused: list[pl.DataFrame], at: datetime) -> pl.DataFrame:
    if not refused:
        return records(table.name, file, [], [], [], at)
    whole = pl.concat([frame.select(pl.col("line").cast(pl.Int64), "reason", "row") for frame in refused])
    lines, reasons, texts = (whole[name].to_list() for name in ("line", "reason", "row"))
    return records(table.name, file, lines, reasons, texts, at)


def _check(chunk: pl.DataFrame, table: Table, gate: Gate, offset: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Part a chunk into typed rows that hold (with _row) and refused ones (_row, reason, row)."""
    typed, unreadable = convert(chunk, table)
    found = [violations(typed, table.name, gate.latest)]
    for name, marks in unreadable.items():
        column = table.column(name)
        assert column is not None
        at = marks.arg_true().cast(pl.Int64)
        found[0] = found[0].filter(~((pl.col("reason") == f"{name} is missing") & pl.col(ROW).is_in(at.implode())))
        found.append(pl.DataFrame({ROW: at, "reason": [unreadable_reason(column)] * len(at)}))
    found.extend(_unknown_references(typed, table, gate))
    reasons = pl.concat(found).group_by(ROW, maintain_order=True).agg(pl.col("reason").str.join("; "))
    forgotten = _forgotten_rows(typed, gate)
    bad_rows = pl.concat([reasons[ROW], forgotten]).unique().sort()
    holds = pl.Series([True]).new_from_index(0, chunk.height) if chunk.height else pl.Series([], dtype=pl.Boolean)
    if len(bad_rows):
        holds = holds.scatter(bad_rows, False)
    numbered = typed.with_columns(pl.int_range(offset, offset + chunk.height, dtype=pl.Int64).alias(ROW))
    bad = pl.DataFrame({ROW: bad_rows}).join(reasons, on=ROW, how="left", maintain_order="left")
    lost = bad[ROW].is_in(forgotten.implode())
    texts = pl.Series("row", _json_lines(chunk[bad_rows.to_list()], table), pl.String)
    bad = bad.with_columns(
        pl.when(lost).then(pl.lit(FORGOTTEN)).otherwise("reason").alias("reason"),
        pl.when(lost).then(pl.lit("")).otherwise(texts).alias("row"),
        pl.col(ROW) + offset,
    )
    return numbered.filter(holds), bad


def _unknown_references(typed: pl.DataFrame, table: Table, gate: Gate) -> list[pl.DataFrame]:
    found = []
    for column in table.columns:
        known = gate.known.get(column.refers_to or "")
        if known is None:
            continue
        value = typed[column.name]
        rows = (value.is_not_null() & ~value.is_in(known.implode())).arg_true()
        reasons = [unknown_reason(column, one) for one in value[rows]]
        found.append(pl.DataFrame({ROW: rows, "reason": reasons}, schema={ROW: pl.Int64, "reason": pl.String}))
    return found


def _forgotten_rows(typed: pl.DataFrame, gate: Gate) -> pl.Series:
    if "shopper_id" not in typed.columns:
        return pl.Series(ROW, [], pl.Int64)
    gone = gate.forgotten(typed["shopper_id"].drop_nulls().unique().to_list())
    return typed["shopper_id"].is_in(list(gone)).fill_null(False).arg_true().cast(pl.Int64).alias(ROW)


def _json_lines(frame: pl.DataFrame, table: Table) -> list[str]:
    """Each row as JSON; a number that JSON cannot write (NaN, infinite) as text, lest it be taken for missing."""
    odd = [
        name
        for name, kind in frame.schema.items()
        if kind.is_float() and not frame[name].is_finite().all() and not _is_id(table, name)
    ]
    plain = frame.with_columns(pl.col(odd).cast(pl.String))
    return plain.write_ndjson().removesuffix("\n").split("\n") if frame.height else []


def _is_id(table: Table, name: str) -> bool:
    """Where ids came as floats, NaN is how a missing one is written."""
    column = table.column(name)
    return column is not None and column.kind in ("id", "text")


def _raw_rows(source: Rows, rows: list[int]) -> list[str]:
    """Read rows again as they came; needed only for the few whose fault shows after the whole file was seen."""
    texts: dict[int, str] = {}
    start = 0
    for chunk in source.chunks():
        here = [row for row in rows if start <= row < start + chunk.height]
        texts.update(zip(here, _json_lines(chunk[[row - start for row in here]], source.table), strict=True))
        start += chunk.height
    return [texts[row] for row in rows]
