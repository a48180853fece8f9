"""Parts of a table: written as the rows come, then kept whole, thinned of duplicates, or folded into a keyed table."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.signals.contract.schemas import ROW
from pipelines.signals.contract.tables import Table
from pipelines.signals.lake.keys import Keys, row_keys
from pipelines.signals.lake.known_keys import RUN_ROWS, KnownKeys
from pipelines.signals.lake.lake import INGESTED_AT, KEY_COLUMNS, Part, make_durable, together

_GROUP_ROWS = 250_000


@dataclass
class Held:
    """A table's parts, and the keys that are known of it in this ingest.

    Attributes:
        folder: root of the lake.
        parts: the parts so far.
        keys: of the rows that this ingest added, and of the parts before them where `load_keys` was called.
        before: parts whose keys are not in `keys`.
    """

    folder: Path
    parts: tuple[Part, ...]
    keys: KnownKeys = field(default_factory=KnownKeys)
    before: tuple[Part, ...] = ()

    @classmethod
    def of(cls, folder: Path, parts: tuple[Part, ...]) -> Self:
        """A table as an ingest finds it."""
        return cls(folder, parts, before=parts)

    def load_keys(self) -> None:
        """Take the keys of all parts into memory: worth it when the rows to come are many beside those held."""
        for part in self.before:
            with pq.ParquetFile(self.folder / part.file) as file:
                for batch in file.iter_batches(batch_size=RUN_ROWS, columns=list(KEY_COLUMNS)):
                    self.keys.add_new(np.stack([batch.column(name).to_numpy() for name in KEY_COLUMNS], axis=1))
        self.before = ()


class Staged:
    """The rows that hold, written as a part on their way; of a table without a key only those that are new.

    Args:
        held: what the table holds.
        table: the table.
        now: the moment of this ingest.
    """

    def __init__(self, table: Table, held: Held, now: datetime) -> None:
        self.table = table
        self.folder = held.folder
        self.path = _new_part(table, held.folder)
        self.rows = 0
        self.duplicates = 0
        self.digest = 0
        self._held = held
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
        """Keys in the order of the rows, as the columns of KEY_COLUMNS; kept where parts are still to be asked."""
        empty = np.zeros((0, 2), np.uint64)
        return pl.DataFrame(np.concatenate([empty, *self._keys]), schema=list(KEY_COLUMNS), orient="row")

    @property
    def numbers(self) -> pl.Series:
        """Where each row of a table with a key stands among the source's rows, counted from 0."""
        return pl.concat(self._numbers)

    def add(self, rows: pl.DataFrame) -> None:
        """Write rows with their keys, an event_id where they should have one, and the moment of this ingest."""
        keys = row_keys(rows, leave_out=[ROW])
        if self.table.key:
            self._numbers.append(rows[ROW])
        else:
            new = self._held.keys.add_new(keys)
            self.duplicates += len(new) - int(new.sum())
            rows, keys = rows.filter(pl.Series(new)), keys[new]
            if self._held.before:
                self._keys.append(keys)
            if rows.is_empty():
                return
        self.rows += rows.height
        self.digest = (self.digest + int(keys[:, 1].sum(dtype=np.uint64))) % 2**64
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


def append(staged: Staged, held: Held) -> tuple[tuple[Part, ...], int, int]:
    """Keep the staged rows whose key is new; the first of several stays.

    Returns:
        The table's parts, how many rows were kept, and how many were there before.
    """
    folder, digest, duplicates = staged.folder, staged.digest, staged.duplicates
    if held.before and staged.rows:
        # The keys of the parts go by a set of the new ones, which is small beside them.
        keys = staged.keys
        low = keys["_key_low"].implode()
        old = pl.concat(
            [
                pl.scan_parquet(folder / part.file).select(KEY_COLUMNS).filter(pl.col("_key_low").is_in(low))
                for part in held.before
            ]
        )
        again = keys.lazy().with_row_index(ROW).join(old, on=list(KEY_COLUMNS), how="semi").select(ROW).collect()[ROW]
        if len(again):
            digest = (digest - int(keys["_key_low"].gather(again).to_numpy().sum(dtype=np.uint64))) % 2**64
            duplicates += len(again)
        if 0 < len(again) < staged.rows:
            marks = pl.Series([True]).new_from_index(0, staged.rows)
            staged.keep(marks.scatter(again, False))
    kept = staged.rows + staged.duplicates - duplicates
    if kept == 0:
        staged.path.unlink(missing_ok=True)
        return held.parts, 0, duplicates
    make_durable(staged.path)
    entry = Part(file=str(staged.path.relative_to(folder)), rows=kept, digest=digest)
    held.parts = (*held.parts, entry)
    return held.parts, kept, duplicates


def replace(staged: Staged, held: Held, *, overwrite: bool) -> tuple[tuple[Part, ...], int, int, list[int]]:
    """Fold the staged rows into the table: a new key is added, a known one replaced, an equal row is a duplicate.

    Args:
        staged: the rows.
        held: what the table holds so far.
        overwrite: False leaves the rows that the table holds as they are.

    Returns:
        The table's parts, how many rows were kept, how many were there before, and where rows stand (counted from 0 in
        the source) that have the key of an earlier row of the same source, or of a row that may not be replaced, and
        other values.
    """
    if not staged.path.exists():  # not one row could be parted into columns
        return held.parts, 0, 0, []
    folder, key, content = staged.folder, list(staged.table.key), list(KEY_COLUMNS)
    fresh = pl.read_parquet(staged.path).with_columns(staged.numbers.alias(ROW))
    staged.path.unlink()
    first = fresh.unique(key, keep="first", maintain_order=True)
    odd = fresh.join(first, on=[*key, *content], how="anti")[ROW]
    conflicts = odd.to_list()
    duplicates = fresh.height - first.height - len(conflicts)
    old = [pl.read_parquet(folder / part.file) for part in held.parts]
    for frame in old:
        known = first.join(frame, on=content, how="semi").height
        duplicates += known
        if known:
            first = first.join(frame, on=content, how="anti")
        if not overwrite:
            taken = first.join(frame, on=key, how="semi")
            conflicts += taken[ROW].to_list()
            first = first.join(taken, on=key, how="anti")
    conflicts.sort()
    kept = first.drop(ROW)
    if kept.is_empty():
        return held.parts, 0, duplicates, conflicts
    rest = [frame.join(kept, on=key, how="anti").lazy() for frame in old]
    whole = together([*rest, kept.lazy()]).collect().sort(key)
    path = _new_part(staged.table, folder)
    whole.write_parquet(path, compression="zstd")
    make_durable(path)
    entry = Part(file=str(path.relative_to(folder)), rows=whole.height, digest=_digest(whole["_key_low"]))
    held.parts = (entry,)
    return held.parts, kept.height, duplicates, conflicts


def join_small(table: Table, folder: Path, before: tuple[Part, ...], after: tuple[Part, ...]) -> tuple[Part, ...]:
    """Put the small parts that one ingest added, a file each, into one part for each set of columns.

    Parts of earlier ingests stay as they are: somebody may be reading them.
    """
    small = [part for part in after if part not in before and part.rows < _GROUP_ROWS]
    alike: dict[str, list[Part]] = {}
    for part in small:
        alike.setdefault(str(pq.read_schema(folder / part.file)), []).append(part)
    joined = []
    for parts in alike.values():
        if len(parts) == 1:
            continue
        path = _new_part(table, folder)
        with _writer(path, pq.read_schema(folder / parts[0].file)) as writer:
            for part in parts:
                writer.write_table(pq.read_table(folder / part.file))
        make_durable(path)
        digest = sum(part.digest for part in parts) % 2**64
        whole = Part(file=str(path.relative_to(folder)), rows=sum(part.rows for part in parts), digest=digest)
        joined.append((parts, whole))
    gone = {part.file for parts, _ in joined for part in parts}
    return (*(part for part in after if part.file not in gone), *(whole for _, whole in joined))


def _new_part(table: Table, folder: Path) -> Path:
    path = folder / table.name / f"{secrets.token_hex(8)}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _digest(low: pl.Series) -> int:
    return int(low.to_numpy().sum(dtype=np.uint64))
