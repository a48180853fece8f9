"""The offline rows of one view: immutable parquet parts in a folder, appended whole, rewritten only to forget.

Feast reads the same files through its duckdb store. A part appears by one rename: a killed job leaves no half of one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from configs.errors import FacingsError
from features.history import in_utc, tidy
from features.tables import CREATED_TIME, EVENT_TIME, View
from state.files import write_atomic

_FIRST = "0-columns.parquet"


class OfflineTable:
    """Rows of `view` below `root` (the home's features folder)."""

    def __init__(self, view: View, root: Path) -> None:
        self.view = view
        self.folder = root / view.folder
        self.glob = str(self.folder / "*.parquet")

    def prepare(self) -> None:
        """Make the folder readable before the first row: an empty part that carries the columns."""
        if not (self.folder / _FIRST).exists():
            write_atomic(self.folder / _FIRST, _parquet(schema(self.view).empty_table()))

    def write(self, frame: pd.DataFrame, now: datetime) -> int:
        """Append what is new or has changed in `frame`; return how many rows.

        A row of a moment that was never computed keeps its created_timestamp. A moment that was computed before gets
        its changed and additional rows with created_timestamp = `now`, so that no earlier reader can see them; rows
        that say the same again are not written.

        Raises:
            FacingsError: other columns than the view's, a missing key, or a key twice at one moment.
        """
        rows = self._checked(frame)
        if rows.empty:
            return 0
        self.prepare()
        news = self._news(rows, in_utc(pd.Timestamp(now)))
        if news.num_rows:
            content = _parquet(news)
            write_atomic(self.folder / f"{hashlib.sha256(content).hexdigest()[:24]}.parquet", content)
        return int(news.num_rows)

    def latest(self, end: datetime, chunk_rows: int) -> Iterator[pd.DataFrame]:
        """Yield, in chunks, each key's newest row that still holds at `end`: latest moment, then latest version."""
        self.prepare()
        upper = in_utc(pd.Timestamp(end))
        keys = ", ".join(self.view.keys)
        with duckdb.connect(":memory:") as duck:
            found = (
                duck.read_parquet(self.glob)
                .filter(_between(upper - timedelta(days=self.view.ttl_days), upper))
                .project(
                    f"*, row_number() OVER (PARTITION BY {keys} ORDER BY {EVENT_TIME} DESC, {CREATED_TIME} DESC) AS n"
                )
                .filter("n = 1")
                .project(", ".join(self.view.columns))
            )
            for batch in found.to_arrow_reader(chunk_rows):
                yield tidy(self.view, batch.to_pandas())

    def _checked(self, frame: pd.DataFrame) -> pd.DataFrame:
        missing = [name for name in self.view.columns if name not in frame.columns]
        other = [name for name in frame.columns if name not in self.view.columns]
        if missing or other:
            raise FacingsError(
                f"Rows for the view {self.view.name} do not fit: missing {missing}, unknown {other}; "
                "give exactly its columns."
            )
        if frame[[*self.view.keys, EVENT_TIME, CREATED_TIME]].isna().any(axis=None):
            raise FacingsError(f"A row for the view {self.view.name} has no key or no time; nothing was written.")
        rows = tidy(self.view, frame)
        if rows.duplicated([*self.view.keys, EVENT_TIME]).any():
            raise FacingsError(
                f"Rows for the view {self.view.name} hold a key twice at one moment; nothing was written. "
                "Keep one row for each key and event_timestamp."
            )
        return rows

    def _news(self, rows: pd.DataFrame, now: pd.Timestamp) -> pa.Table:
        keys = [*self.view.keys, EVENT_TIME]
        moments = rows[EVENT_TIME]
        with duckdb.connect(":memory:") as duck:
            stored = (
                duck.read_parquet(self.glob)
                .filter(_between(moments.min(), moments.max()))
                .project(f"*, row_number() OVER (PARTITION BY {', '.join(keys)} ORDER BY {CREATED_TIME} DESC) AS n")
                .filter("n = 1")
                .project(", ".join(self.view.columns))
                .to_arrow_table()
                .to_pandas()
            )
        stored = tidy(self.view, stored)
        both = rows[keys].merge(stored, on=keys, how="left", validate="one_to_one", indicator=True)
        if len(both) != len(rows):
            raise FacingsError(
                f"The join with stored rows of {self.view.name} changed their number; nothing was written."
            )
        known = (both["_merge"] == "both").to_numpy()
        same = known & _equal(rows, both, self.view.feature_names)
        corrected = moments.isin(stored[EVENT_TIME].unique()).to_numpy()
        # A correction must be newer than what it corrects, even when the clock stands still.
        after = (both[CREATED_TIME] + pd.Timedelta(microseconds=1)).fillna(now)
        floor = rows[CREATED_TIME].where(rows[CREATED_TIME] > now, now)
        created = after.where(after > floor, floor)
        rows = rows.assign(**{CREATED_TIME: rows[CREATED_TIME].mask(corrected, created)})
        return pa.Table.from_pandas(rows[~same], schema=schema(self.view), preserve_index=False)


def schema(view: View) -> pa.Schema:
    """Return the arrow schema of a view's parts: strings, microseconds in UTC, float64."""
    moment = pa.timestamp("us", tz="UTC")
    fields = [(key, pa.string()) for key in view.keys] + [(EVENT_TIME, moment), (CREATED_TIME, moment)]
    fields += [(feature.name, pa.float64() if feature.kind == "number" else pa.string()) for feature in view.features]
    return pa.schema(fields)


def erase(root: Path, shopper_id: str) -> int:
    """Rewrite every part below `root` that holds the shopper, older sets of columns too; return the erased rows."""
    erased = 0
    for part in sorted((root / "offline").glob("*/*.parquet")):
        columns = pq.read_schema(part).names
        if (
            "shopper_id" not in columns
            or not pq.read_table(part, columns=["shopper_id"], filters=_is(shopper_id)).num_rows
        ):
            continue
        table = pq.read_table(part, partitioning=None)
        kept = table.filter(~_is(shopper_id))
        write_atomic(part, _parquet(kept))
        erased += table.num_rows - kept.num_rows
    return erased


def items_of(root: Path, shopper_id: str) -> list[str]:
    """Return the ids of the items that any row below `root` pairs with the shopper."""
    items: set[str] = set()
    for part in sorted((root / "offline").glob("*/*.parquet")):
        if {"shopper_id", "item_id"} <= set(pq.read_schema(part).names):
            items.update(pq.read_table(part, columns=["item_id"], filters=_is(shopper_id))["item_id"].to_pylist())
    return sorted(items)


def _is(shopper_id: str) -> pc.Expression:
    return pc.field("shopper_id") == shopper_id


def _between(first: pd.Timestamp, last: pd.Timestamp) -> str:
    """SQL condition on the event's time, both ends included, in whole microseconds."""
    lower, upper = ((moment - pd.Timestamp(0, tz="UTC")) // pd.Timedelta(microseconds=1) for moment in (first, last))
    return f"epoch_us({EVENT_TIME}) BETWEEN {lower} AND {upper}"


def _equal(rows: pd.DataFrame, stored: pd.DataFrame, names: list[str]) -> pd.Series[bool]:
    same = pd.Series(True, index=rows.index)
    for name in names:
        ours, theirs = rows[name], stored[name]
        same &= (ours == theirs) | (ours.isna() & theirs.isna())
    return same


def _parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue())
