"""Quarantined rows that come again, corrected, in the place where they stood."""

from __future__ import annotations

import json
import re
from typing import Any

import polars as pl

from pipelines.signals.contract.tables import REFUSED, Table
from pipelines.signals.sources.source import Rows

PLACE = ("table", "file", "line", "row")


class Corrected:
    """Watches a file that is read again for the rows that wait in the quarantine.

    A row is settled when the row on its line holds now and has the same values in every column but those that the
    reason names. A file that was replaced by other rows settles nothing.
    """

    def __init__(self, source: Rows, waiting: pl.DataFrame) -> None:
        self._table = source.table
        self._waiting = waiting
        self._settled: list[int] = []
        at = source.rows_at(waiting["line"].to_list()) if not waiting.is_empty() else {}
        self._wanted: dict[int, list[int]] = {}
        for entry, line in enumerate(waiting["line"]):
            if line in at:
                self._wanted.setdefault(at[line], []).append(entry)

    def look(self, chunk: pl.DataFrame, holding: pl.Series, offset: int) -> None:
        """Compare the rows of a chunk that hold (their places counted from the file's first row)."""
        wanted = [row for row in self._wanted if offset <= row < offset + chunk.height]
        if not wanted:
            return
        rows = pl.Series(wanted, dtype=pl.Int64)
        rows = rows.filter(rows.is_in(holding.implode()))
        texts = json_lines(chunk[rows - offset].drop(REFUSED, strict=False), self._table)
        for row, text in zip(rows, texts, strict=True):
            now = json.loads(text)
            for entry in self._wanted[row]:
                if self._is_corrected(entry, now):
                    self._settled.append(entry)

    def settled(self) -> pl.DataFrame:
        """The rows that wait no longer, by table, file, line and row."""
        return self._waiting[self._settled].select(PLACE)

    def _is_corrected(self, entry: int, now: dict[str, Any]) -> bool:
        before, reason = self._waiting["row"][entry], self._waiting["reason"][entry]
        if not before:
            return False
        old: dict[str, Any] = json.loads(before)
        same = (name for name in old if not re.search(rf"\b{re.escape(name)}\b", reason))
        return all(_text(old[name]) == _text(now.get(name)) for name in same)


def json_lines(frame: pl.DataFrame, table: Table) -> pl.Series:
    """Each row as JSON; a number that JSON cannot write (NaN, infinite) as text, lest it be taken for missing."""
    odd = [
        name
        for name, kind in frame.schema.items()
        if kind.is_float() and not frame[name].is_finite().all() and not _is_id(table, name)
    ]
    if frame.is_empty():
        return pl.Series("row", [], pl.String)
    plain = frame.with_columns(pl.col(odd).cast(pl.String))
    return pl.Series("row", [plain.write_ndjson().removesuffix("\n")]).str.split("\n").explode()


def _is_id(table: Table, name: str) -> bool:
    """Where ids came as floats, NaN is how a missing one is written."""
    column = table.column(name)
    return column is not None and column.kind in ("id", "text")


def _text(value: Any) -> str:
    return "" if value is None else str(value)
