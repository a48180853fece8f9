"""Parts of a table: written as the rows come, then kept whole, thinned of duplicates, or folded into a keyed table."""

from __future__ import annotations

import secrets
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.signals.contract import Table
from pipelines.signals.keys import Keys, row_keys
from pipelines.signals.lake import INGESTED_AT, KEY_COLUMNS, Part, make_durable, together
from pipelines.signals.schemas import ROW

_GROUP_ROWS = 250_000


class Staged:
    """The rows that hold, written as a part on their way; it becomes the table's part as it is when all are new.

    Keys are held in memory: 16 bytes a row.
    """

    def __init__(self, table: Table, folder: Path, now: datetime) -> None:
        self.table = table
        self.folder = folder
        self.path = _new_part(table, folder)
        self._now = now
        self._writer: pq.ParquetWriter | None = None
        self._keys: list[Keys] = []
        self._numbers: list[pl.Series] = []

    def close(self) -> None:
        """End the file; only then may it be read."""
        if self._writer:
            self._writer.close()

    @property
    def keys(self) -> pl.DataFrame:
        """Keys in the order of the rows, as the columns of KEY_COLUMNS."""
        empty = np.zeros((0, 2), np.uint64)
        return pl.DataFrame(np.concatenate([empty, *self._keys]), schema=list(KEY_COLUMNS), orient="row")

    @property
    def numbers(self) -> pl.Series:
        """Where each row stands among the source's rows, counted from 0."""
        return pl.concat(self._numbers)

    def add(self, rows: pl.DataFrame) -> None:
        """Write rows with their keys, an event_id where they should have one, and the moment of this ingest."""
        keys = row_keys(rows, leave_out=[ROW])
        self._keys.append(keys)
        self._numbers.append(rows[ROW])
        whole = rows.drop(ROW).with_columns(
            *(pl.Series(name, keys[:, place]) for place, name in enumerate(KEY_COLUMNS)),
            pl.lit(self._now).dt.convert_time_zone("UTC").dt.cast_time_unit("us").alias(INGESTED_AT),
        )
        if "event_id" in rows.columns:
            own = pl.format("auto-{}-{}", *(pl.col(name) for name in KEY_COLUMNS))
            whole = whole.with_columns(pl.coalesce("event_id", own).alias("event_id"))
        table = whole.to_arrow()
        self._writer = self._writer or _writer(self.path, table.schema)
        self._writer.write_table(table.cast(self._writer.schema), row_group_size=_GROUP_ROWS)

    def keep(self, these: pl.Series) -> None:
        """Write the part again with only the rows that are marked."""
        whole = self.path.with_name(f".draft-{self.path.name}")
        self.path.rename(whole)
        start = 0
        with pq.ParquetFile(whole) as file, _writer(self.path, file.schema_arrow) as writer:
            for batch in file.iter_batches(batch_size=_GROUP_ROWS):
                marks = these.slice(start, batch.num_rows).to_arrow()
                writer.write_batch(batch.filter(marks))
                start += batch.num_rows
        whole.unlink()


def _writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """Keys are random: neither a dictionary nor compression would make them smaller."""
    content = [name for name in schema.names if name not in KEY_COLUMNS]
    compression = {name: "zstd" if name in content else "none" for name in schema.names}
    return pq.ParquetWriter(path, schema, compression=compression, use_dictionary=content)


def append(staged: Staged, held: tuple[Part, ...]) -> tuple[tuple[Part, ...], int]:
    """Keep the staged rows whose key is new; the first of several stays.

    Returns:
        The table's parts, and how many rows were kept.
    """
    folder = staged.folder
    keys = staged.keys
    new = _first_of_each(keys)
    if held:
        # Each by itself: parts may differ in their attributes.
        old = pl.concat([pl.scan_parquet(folder / part.file).select(KEY_COLUMNS) for part in held])
        again = keys.lazy().with_row_index(ROW).join(old, on=list(KEY_COLUMNS), how="semi").select(ROW).collect()
        new = new.scatter(again[ROW], False) if len(again) else new
    kept = int(new.sum())
    if kept == 0:
        staged.path.unlink(missing_ok=True)
        return held, 0
    if kept < len(new):
        staged.keep(new)
    make_durable(staged.path)
    digest = _digest(keys.filter(new)["_key_low"])
    entry = Part(file=str(staged.path.relative_to(folder)), rows=kept, digest=digest)
    return (*held, entry), kept


def _first_of_each(keys: pl.DataFrame) -> pl.Series:
    """Mark the first row of each key. Sorting one half of the keys tells most files' rows apart at once."""
    low = np.sort(keys["_key_low"].to_numpy())
    twice = pl.Series(np.unique(low[1:][low[1:] == low[:-1]]), dtype=pl.UInt64)
    marks = pl.Series("new", [True], pl.Boolean).new_from_index(0, keys.height)
    if twice.is_empty():
        return marks
    some = keys.with_row_index(ROW).filter(pl.col("_key_low").is_in(twice.implode()))
    later = some.filter(~pl.struct(KEY_COLUMNS).is_first_distinct())[ROW]
    return marks.scatter(later, False) if len(later) else marks


def replace(staged: Staged, held: tuple[Part, ...], *, overwrite: bool) -> tuple[tuple[Part, ...], int, list[int]]:
    """Fold the staged rows into the table: a new key is added, a known one replaced, an equal row is a duplicate.

    Args:
        staged: the rows.
        held: the table's parts so far.
        overwrite: False leaves the rows that the table holds as they are.

    Returns:
        The table's parts, how many rows were kept, and where rows stand (counted from 0 in the source) that have the
        key of an earlier row of the same source, or of a row that may not be replaced, and other values.
    """
    if not staged.path.exists():  # not one row could be parted into columns
        return held, 0, []
    folder, key, content = staged.folder, list(staged.table.key), list(KEY_COLUMNS)
    fresh = pl.read_parquet(staged.path).with_columns(staged.numbers.alias(ROW))
    staged.path.unlink()
    first = fresh.unique(key, keep="first", maintain_order=True)
    conflicts = sorted(fresh.join(first, on=[*key, *content], how="anti")[ROW].to_list())
    old = [pl.read_parquet(folder / part.file) for part in held]
    for frame in old:
        first = first.join(frame, on=content, how="anti")
        if not overwrite:
            taken = first.join(frame, on=key, how="semi")
            conflicts = sorted([*conflicts, *taken[ROW]])
            first = first.join(taken, on=key, how="anti")
    kept = first.drop(ROW)
    if kept.is_empty():
        return held, 0, conflicts
    rest = [frame.join(kept, on=key, how="anti").lazy() for frame in old]
    whole = together([*rest, kept.lazy()]).collect().sort(key)
    path = _new_part(staged.table, folder)
    whole.write_parquet(path, compression="zstd")
    make_durable(path)
    entry = Part(file=str(path.relative_to(folder)), rows=whole.height, digest=_digest(whole["_key_low"]))
    return (entry,), kept.height, conflicts


def _new_part(table: Table, folder: Path) -> Path:
    path = folder / table.name / f"{secrets.token_hex(8)}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _digest(low: pl.Series) -> int:
    return int(low.to_numpy().sum(dtype=np.uint64))
