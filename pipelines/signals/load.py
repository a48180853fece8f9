"""One file of one table into the lake: check each row, drop duplicates, write a new part; no manifest is touched."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import duckdb
import polars as pl

from pipelines.signals.contract import Table
from pipelines.signals.convert import convert, unreadable_reason
from pipelines.signals.lake import INGESTED_AT, KEY_COLUMNS, Part
from pipelines.signals.quarantine import FORGOTTEN, records
from pipelines.signals.schemas import ROW, violations

_SEPARATOR = "chr(31)"
# duckdb spills to disk beyond this, so that a table may be larger than memory.
_MEMORY = "2GB"


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
    """

    now: datetime
    latest: datetime
    known: dict[str, pl.Series]
    forgotten: Callable[[list[str]], set[str]]


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
    """
    table = source.table
    staging = lake_folder / "staging" / f"{table.name}-{secrets.token_hex(6)}"
    staging.mkdir(parents=True)
    rows, refused = 0, []
    for number, chunk in enumerate(source.chunks()):
        good, bad = _check(chunk, table, gate, rows)
        if not bad.is_empty():
            refused.append(bad.with_columns(pl.Series("line", source.lines(bad[ROW].to_list()), pl.Int64)))
        _with_keys(good).write_parquet(staging / f"{number:05d}.parquet")
        rows += chunk.height
    fold = _replace if table.key else _append
    parts, kept, conflicts = fold(table, staging, lake_folder, held, gate.now)
    if conflicts:
        reason = f"the key ({', '.join(table.key)}) stands in this file before, with other values"
        texts = _raw_rows(source, conflicts)
        refused.append(pl.DataFrame({"line": source.lines(conflicts), "reason": [reason] * len(texts), "row": texts}))
    quarantined = _quarantine(table, source.name, refused, gate.now)
    for file in staging.iterdir():
        file.unlink()
    staging.rmdir()
    duplicates = rows - kept - quarantined.height
    return Loaded(rows, kept, duplicates, quarantined, parts)


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
    texts = pl.Series("row", _json_lines(chunk[bad_rows.to_list()]), pl.String)
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
        rows = (value.is_not_null() & ~value.is_in(known.implode())).arg_true().cast(pl.Int64)
        reason = f"{column.name} is not in the {column.refers_to} table"
        found.append(
            pl.DataFrame({ROW: rows, "reason": [reason] * len(rows)}, schema={ROW: pl.Int64, "reason": pl.String})
        )
    return found


def _forgotten_rows(typed: pl.DataFrame, gate: Gate) -> pl.Series:
    if "shopper_id" not in typed.columns:
        return pl.Series(ROW, [], pl.Int64)
    gone = gate.forgotten(typed["shopper_id"].drop_nulls().unique().to_list())
    return typed["shopper_id"].is_in(list(gone)).fill_null(False).arg_true().cast(pl.Int64).alias(ROW)


def _json_lines(frame: pl.DataFrame) -> list[str]:
    return frame.write_ndjson().splitlines() if frame.height else []


def _raw_rows(source: Rows, rows: list[int]) -> list[str]:
    """Read rows again as they came; needed only for the few whose fault shows after the whole file was seen."""
    texts: dict[int, str] = {}
    start = 0
    for chunk in source.chunks():
        here = [row for row in rows if start <= row < start + chunk.height]
        texts.update(zip(here, _json_lines(chunk[[row - start for row in here]]), strict=True))
        start += chunk.height
    return [texts[row] for row in rows]


def _with_keys(frame: pl.DataFrame) -> pl.DataFrame:
    """Add the row's key: MD5 of its event_id, or of all its values. Stable over versions of every library."""
    content = ", ".join(
        f"""CASE WHEN "{name}" IS NOT NULL THEN '{name.replace("'", "''")}=' || "{name}"::VARCHAR END"""
        for name in sorted(frame.columns)
        if name != ROW and name != "event_id"
    )
    text = f"concat_ws({_SEPARATOR}, {content})"
    if "event_id" in frame.columns:
        text = f"CASE WHEN event_id IS NOT NULL THEN 'event_id=' || event_id ELSE {text} END"
    query = (
        "SELECT * EXCLUDE (t), md5_number_upper(t) AS _key_high, md5_number_lower(t) AS _key_low "  # noqa: S608
        f"FROM (SELECT *, {text} AS t FROM chunk)"
    )
    with _connect() as connection:
        connection.register("chunk", frame.to_arrow())
        whole = pl.from_arrow(connection.sql(query).to_arrow_table())
    assert isinstance(whole, pl.DataFrame)
    times = [
        pl.col(name).dt.convert_time_zone("UTC") for name, kind in whole.schema.items() if isinstance(kind, pl.Datetime)
    ]
    whole = whole.with_columns(times)
    if "event_id" not in frame.columns:
        return whole
    own = pl.format("auto-{}-{}", *(pl.col(name) for name in KEY_COLUMNS))
    return whole.with_columns(pl.coalesce("event_id", own).alias("event_id"))


def _append(
    table: Table, staging: Path, folder: Path, held: tuple[Part, ...], now: datetime
) -> tuple[tuple[Part, ...], int, list[int]]:
    """Write the staged rows whose key is new; the first of several stays."""
    part = _new_part(table, folder)
    nothing = "SELECT 0::UBIGINT AS _key_high, 0::UBIGINT AS _key_low LIMIT 0"
    earlier = _files([str(folder / entry.file) for entry in held])
    old = f"SELECT _key_high, _key_low FROM read_parquet({earlier})" if held else nothing  # noqa: S608
    fresh = f"read_parquet({_files([str(staging / '*.parquet')])}, union_by_name=true)"
    repeated = "SELECT _key_high, _key_low, min(_row) AS first FROM fresh GROUP BY 1, 2 HAVING count(*) > 1"
    query = (
        f"SELECT fresh.* EXCLUDE (_row), TIMESTAMPTZ '{now.isoformat()}' AS {INGESTED_AT} FROM fresh "  # noqa: S608
        f"ANTI JOIN ({old}) AS old USING (_key_high, _key_low) "
        "LEFT JOIN repeated USING (_key_high, _key_low) WHERE first IS NULL OR first = _row"
    )
    with _connect() as connection:
        connection.execute(f"CREATE VIEW fresh AS SELECT * FROM {fresh}")  # noqa: S608
        connection.execute(f"CREATE TEMP TABLE repeated AS {repeated}")
        connection.execute(f"COPY ({query}) TO '{_quoted(part)}' (FORMAT parquet, COMPRESSION zstd)")
    entry = _describe(part, folder)
    if entry.rows == 0:
        part.unlink()
        return held, 0, []
    return (*held, entry), entry.rows, []


def _replace(
    table: Table, staging: Path, folder: Path, held: tuple[Part, ...], now: datetime
) -> tuple[tuple[Part, ...], int, list[int]]:
    """Fold the staged rows into the table: a new key is added, a known one replaced, an equal row is a duplicate."""
    key = list(table.key)
    fresh = pl.concat([pl.read_parquet(file) for file in sorted(staging.glob("*.parquet"))], how="diagonal_relaxed")
    first = fresh.unique(key, keep="first", maintain_order=True)
    content = list(KEY_COLUMNS)
    conflicts = fresh.join(first, on=[*key, *content], how="anti")[ROW].to_list()
    old = pl.concat([pl.read_parquet(folder / part.file) for part in held] or [first.clear()], how="diagonal_relaxed")
    kept = first.join(old, on=content, how="anti").drop(ROW) if held else first.drop(ROW)
    if kept.is_empty():
        return held, 0, sorted(conflicts)
    kept = kept.with_columns(pl.lit(now).dt.convert_time_zone("UTC").dt.cast_time_unit("us").alias(INGESTED_AT))
    whole = kept if not held else pl.concat([old.join(kept, on=key, how="anti"), kept], how="diagonal_relaxed")
    part = _new_part(table, folder)
    whole.sort(key).write_parquet(part, compression="zstd")
    return (_describe(part, folder),), kept.height, sorted(conflicts)


def _new_part(table: Table, folder: Path) -> Path:
    path = folder / table.name / f"{secrets.token_hex(8)}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _describe(part: Path, folder: Path) -> Part:
    counted = pl.scan_parquet(part).select(pl.len(), pl.col("_key_low").cast(pl.Int128).sum().alias("sum")).collect()
    rows, total = counted.row(0)
    return Part(file=str(part.relative_to(folder)), rows=int(rows), digest=int(total or 0) % 2**64)


def _connect() -> Any:
    connection = duckdb.connect()
    connection.execute(f"SET memory_limit = '{_MEMORY}'; SET TimeZone = 'UTC'; SET preserve_insertion_order = false")
    return connection


def _files(paths: list[str]) -> str:
    return "[" + ", ".join(f"'{_quoted(path)}'" for path in paths) + "]"


def _quoted(path: Path | str) -> str:
    return str(path).replace("'", "''")
