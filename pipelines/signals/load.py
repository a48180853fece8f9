"""One file of one table into the lake: check each row, drop duplicates, write a new part; no manifest is touched."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

import polars as pl

from configs.errors import FacingsError
from pipelines.signals.contract.campaigns import Usual
from pipelines.signals.contract.convert import convert, unreadable_reason
from pipelines.signals.contract.schemas import ROW, violations
from pipelines.signals.contract.tables import REFUSED, Table, unknown_reason
from pipelines.signals.lake.lake import Part
from pipelines.signals.lake.parts import Held, Staged, append, replace
from pipelines.signals.quarantine.corrected import PLACE, Corrected, json_lines
from pipelines.signals.quarantine.rows import FORGOTTEN, records
from pipelines.signals.sources.csv_files import Malformed
from pipelines.signals.sources.source import Rows

# What the texts of one row may have together.
MAX_ROW_BYTES = 1024 * 1024
# What may go to the quarantine from one file: its rows are read by people.
MAX_QUARANTINED = 1_000_000


@dataclass(frozen=True)
class Gate:
    """What a row is checked against.

    Attributes:
        now: the moment of this ingest.
        latest: times of events may not lie after this.
        known: for each table that was ever ingested and is referred to, the ids that it holds.
        forgotten: tells which of some shoppers were forgotten.
        usual: what offers are checked against.
        again: the rows come from the quarantine, and what the lake holds may be newer: it is not replaced.
    """

    now: datetime
    latest: datetime
    known: dict[str, pl.Series]
    forgotten: Callable[[list[str]], set[str]]
    usual: Usual = field(default_factory=Usual)
    again: bool = False


@dataclass(frozen=True)
class Loaded:
    """Outcome for one file: rows = kept + duplicates + quarantined.

    Attributes:
        rows, kept, duplicates: counts; the rest is in `quarantined`.
        quarantined: rows of the quarantine.
        parts: the table's parts after this file, the earlier ones included where they still hold.
        settled: rows that wait no longer: they came again, corrected in their place, and hold; or they wait on another
            line; or the file has one row for their key now.
    """

    rows: int
    kept: int
    duplicates: int
    quarantined: pl.DataFrame
    parts: tuple[Part, ...]
    settled: pl.DataFrame


def load(source: Rows, held: Held, gate: Gate, waiting: pl.DataFrame) -> Loaded:
    """Check and write one file.

    Args:
        source: the rows.
        held: what the table holds; its parts become those after this file.
        gate: what rows are checked against.
        waiting: rows of the same file that wait in the quarantine.

    Returns:
        Counts, quarantined rows and the table's new parts. Nothing counts before a manifest names the parts.

    Raises:
        FacingsError: there is no row at all where there must be one.
        RuntimeError: a row got lost on the way, which is a fault of this program.
    """
    table = source.table
    rows, refused, staged, corrected = 0, [], Staged(table, held, gate.now), Corrected(source, waiting)
    with closing(staged):
        for chunk in source.chunks():
            good, bad = _check(chunk, table, gate, rows)
            if not bad.is_empty():
                refused.append(bad)
                _check_number(source, refused)
            corrected.look(chunk, good[ROW], rows)
            staged.add(good)
            rows += chunk.height
    if refused:  # once for all chunks, because finding lines reads the file again
        whole = pl.concat(refused)
        refused = [whole.with_columns(source.lines(whole[ROW]).alias("line"))]
    malformed = [_malformed(row, table, gate) for row in source.malformed()]
    if malformed:
        refused.append(pl.DataFrame(malformed, schema=["line", "reason", "row"], orient="row"))
    rows += len(malformed)
    if rows == 0 and source.must_have_rows:
        raise FacingsError(f"{source.name} has no rows; export table {table.name} again or take the file out.")
    fold = partial(replace, overwrite=not gate.again) if table.key else _append
    parts, kept, duplicates, conflicts = fold(staged, held)
    if conflicts:
        where = "in the lake already" if gate.again else "in this file before"
        reason = f"the key ({', '.join(table.key)}) stands {where}, with other values"
        lines = source.lines(pl.Series(ROW, conflicts, pl.Int64))
        refused.append(
            pl.DataFrame([lines.alias("line"), _raw_rows(source, conflicts)]).with_columns(reason=pl.lit(reason))
        )
    empty = pl.DataFrame(schema={"line": pl.Int64, "reason": pl.String, "row": pl.String})
    told = pl.concat([empty, *(frame.select(pl.col("line").cast(pl.Int64), "reason", "row") for frame in refused)])
    if rows != kept + duplicates + told.height:
        raise RuntimeError(
            f"{source.name}: {rows} rows are not {kept} kept + {duplicates} duplicates + {told.height} quarantined"
        )
    quarantined = records(table.name, source.name, told, gate.now)
    settled = corrected.settled() if gate.again else pl.concat([corrected.settled(), _resolved(waiting, told)]).unique()
    return Loaded(rows, kept, duplicates, quarantined, parts, settled)


def _resolved(waiting: pl.DataFrame, told: pl.DataFrame) -> pl.DataFrame:
    """Rows of a file that came again which wait on another line now, or whose key stands in it only once now."""
    away = waiting.filter(pl.col("row") != "").join(told, on=["line", "row"], how="anti")
    again = pl.col("row").is_in(told["row"].implode())
    return away.filter(again | pl.col("reason").str.starts_with("the key (")).select(PLACE)


def _check_number(source: Rows, refused: list[pl.DataFrame]) -> None:
    """Refuse a file of which so much does not hold that it is the file's fault, or the mapping's."""
    if sum(frame.height for frame in refused) > MAX_QUARANTINED:
        reasons = pl.concat([frame.select("reason") for frame in refused])["reason"].drop_nulls()
        first = str(reasons.mode().first())
        raise FacingsError(
            f"More than {MAX_QUARANTINED:,} rows of {source.where} do not hold, most because {first}; "
            "nothing was taken. Correct or map the export (docs/data.md) and ingest again."
        )


def _append(staged: Staged, held: Held) -> tuple[tuple[Part, ...], int, int, list[int]]:
    return *append(staged, held), []


def _malformed(row: Malformed, table: Table, gate: Gate) -> tuple[int, str, str]:
    shopper = json.loads(row.row).get("shopper_id") if table.column("shopper_id") else None
    if shopper and gate.forgotten([shopper]):
        return row.line, FORGOTTEN, ""
    return row.line, row.reason, row.row


def _check(chunk: pl.DataFrame, table: Table, gate: Gate, offset: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Part a chunk into typed rows that hold (with _row) and refused ones (_row, reason, row)."""
    found = [_said_by_the_source(chunk), _too_long(chunk)]
    chunk = chunk.drop(REFUSED, strict=False)
    typed, unreadable = convert(chunk, table)
    broken = violations(typed, table.name, gate.latest)
    for name, marks in unreadable.items():
        column = table.column(name)
        assert column is not None
        at = marks.arg_true().cast(pl.Int64)
        broken = broken.filter(~((pl.col("reason") == f"{name} is missing") & pl.col(ROW).is_in(at.implode())))
        # What the source itself said about a column says more than that it cannot be read.
        told = [frame.filter(pl.col("reason").str.contains(rf"\b{name} ")) for frame in found]
        at = at.filter(~at.is_in(pl.concat(told)[ROW].implode()))
        broken = pl.concat([broken, pl.DataFrame({ROW: at, "reason": [unreadable_reason(column)] * len(at)})])
    above = [gate.usual.above(typed)] if table.name == "offers" else []
    reasons = pl.concat([*found, broken, *_unknown_references(typed, table, gate), *above])
    reasons = reasons.group_by(ROW, maintain_order=True).agg(pl.col("reason").str.join("; "))
    forgotten = _forgotten_rows(typed, gate)
    bad_rows = pl.concat([reasons[ROW], forgotten]).unique().sort()
    holds = pl.Series([True]).new_from_index(0, chunk.height) if chunk.height else pl.Series([], dtype=pl.Boolean)
    if len(bad_rows):
        holds = holds.scatter(bad_rows, False)
    numbered = typed.with_columns(pl.int_range(offset, offset + chunk.height, dtype=pl.Int64).alias(ROW))
    bad = pl.DataFrame({ROW: bad_rows}).join(reasons, on=ROW, how="left", maintain_order="left")
    lost = bad[ROW].is_in(forgotten.implode())
    texts = json_lines(chunk[bad_rows], table)
    bad = bad.with_columns(
        pl.when(lost).then(pl.lit(FORGOTTEN)).otherwise("reason").alias("reason"),
        pl.when(lost).then(pl.lit("")).otherwise(texts).alias("row"),
        pl.col(ROW) + offset,
    )
    return numbered.filter(holds), bad


def _said_by_the_source(chunk: pl.DataFrame) -> pl.DataFrame:
    """What the reader of the rows refused by itself."""
    if REFUSED not in chunk.columns:
        return pl.DataFrame(schema={ROW: pl.Int64, "reason": pl.String})
    return chunk.select(_numbered(), pl.col(REFUSED).alias("reason")).drop_nulls()


def _too_long(chunk: pl.DataFrame) -> pl.DataFrame:
    """Rows whose texts together are longer than a row may be."""
    texts = [
        pl.col(name).str.len_bytes().fill_null(0).cast(pl.Int64)
        for name, kind in chunk.schema.items()
        if kind == pl.String
    ]
    if not texts:
        return pl.DataFrame(schema={ROW: pl.Int64, "reason": pl.String})
    sizes = chunk.select(_numbered(), pl.sum_horizontal(texts).alias("size")).filter(pl.col("size") > MAX_ROW_BYTES)
    said = pl.format(f"the row has {{}} bytes and may have {MAX_ROW_BYTES}", "size").alias("reason")
    return sizes.select(ROW, said)


def _numbered() -> pl.Expr:
    return pl.int_range(pl.len(), dtype=pl.Int64).alias(ROW)


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


def _raw_rows(source: Rows, rows: list[int]) -> pl.Series:
    """Read rows again as they came; needed only for the few whose fault shows after the whole file was seen."""
    texts: dict[int, str] = {}
    start = 0
    for chunk in source.chunks():
        here = [row for row in rows if start <= row < start + chunk.height]
        some = chunk[[row - start for row in here]].drop(REFUSED, strict=False)
        texts.update(zip(here, json_lines(some, source.table), strict=True))
        start += chunk.height
    return pl.Series("row", [texts[row] for row in rows], pl.String)
