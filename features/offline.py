"""The offline rows of one view: immutable parquet parts in a folder, appended whole, rewritten only to forget.

A moment is written as a whole: what its rows say, and that nobody else has one. So a reader is never given an earlier
moment's row of somebody whom a later one left out, in whatever order the moments were computed. Feast reads the same
files through its duckdb store. A part appears by one rename: a killed job leaves no half of one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from configs.errors import FacingsError
from features.history import in_utc, tidy
from features.tables import CREATED_TIME, EVENT_TIME, View
from state.files import write_atomic

_FIRST = "0-columns.parquet"
_PART = re.compile(r"(-?\d+)_[0-9a-f]{24}\.parquet")
_EPOCH = pd.Timestamp(0, tz="UTC")


class OfflineTable:
    """Rows of `view` below `root` (the home's features folder)."""

    def __init__(self, view: View, root: Path) -> None:
        self.view = view
        self.folder = root / view.folder

    def prepare(self) -> None:
        """Make the folder readable before the first row: an empty part that carries the columns."""
        if not (self.folder / _FIRST).exists():
            write_atomic(self.folder / _FIRST, _parquet(schema(self.view).empty_table()))

    def moments(self) -> list[pd.Timestamp]:
        """Return the moments that were ever computed, ascending, UTC; also those at which nobody had a row."""
        return sorted({_moment_of(path) for path in self._parts()})

    def write(self, frame: pd.DataFrame, now: datetime, *, moment: datetime | None = None) -> int:
        """Make `frame` the whole view at its moment; return how many rows are new, changed, or vanished.

        A row of a moment that was never computed keeps its created_timestamp. A moment that was computed before gets
        its changed and additional rows with created_timestamp = `now`, so that no earlier reader can see them; a key
        that has no row any more gets one without features; rows that say the same again are not written.

        Args:
            frame: exactly the view's columns, each key once, all at one event_timestamp.
            now: since when corrections are known.
            moment: the frame's event_timestamp; needed where the frame may have no rows.

        Raises:
            FacingsError: other columns than the view's, a missing key, a key twice, or several moments.
        """
        rows = self._checked(frame, moment)
        if rows.empty and moment is None:
            return 0
        self.prepare()
        at = in_utc(pd.Timestamp(moment if moment is not None else rows[EVENT_TIME].iloc[0])).as_unit("us")
        known = self.moments()
        before = max((other for other in known if at - self._ttl <= other < at), default=None)
        after = min((other for other in known if at < other <= at + self._ttl), default=None)
        given = self._frame(pa.Table.from_pandas(rows, schema=schema(self.view), preserve_index=False))
        stored, first = self._newest(at), at not in known
        news = self._news(given, stored, self._rows(before), at, since=at if first else in_utc(pd.Timestamp(now)))
        # The later moment first: cut off in between, no reader takes this moment's row for the later one's.
        if after is not None:
            had = self._rows(after).filter(pl.col(CREATED_TIME) <= after)
            left_out = self._without_features(given.join(had, on=self.view.keys, how="anti"), after, after)
            if left_out.height:
                self._append(left_out, after)
        if news.height or first:
            self._append(news, at)
        return news.height

    def _news(
        self, given: pl.DataFrame, stored: pl.DataFrame, earlier: pl.DataFrame, at: pd.Timestamp, since: pd.Timestamp
    ) -> pl.DataFrame:
        """What is new when the rows `given` of a moment meet the newest ones stored of it.

        Rows that appeared or changed; keys that vanished; keys of the moment before it that this one never had. The
        last two become rows without any feature. A correction is newer than what it corrects, even when the clock
        stands still.
        """
        keys, names = self.view.keys, self.view.feature_names
        both = given.join(stored, on=keys, how="left", suffix="_old", validate="1:1")
        if both.height != given.height:
            raise FacingsError(
                f"The join with stored rows of {self.view.name} changed their number; nothing was written."
            )
        newer = pl.col(f"{CREATED_TIME}_old").dt.offset_by("1us")
        created = pl.max_horizontal(CREATED_TIME, newer, pl.lit(since))
        differs = pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"{name}_old")) for name in names)
        changed = both.filter(newer.is_null() | differs).with_columns(created.alias(CREATED_TIME))
        had = pl.any_horizontal(pl.col(name).is_not_null() for name in names)
        vanished = stored.filter(had).join(given, on=keys, how="anti")
        known = pl.max_horizontal(pl.col(CREATED_TIME).dt.offset_by("1us"), pl.lit(since))
        left_out = earlier.filter(had).join(given, on=keys, how="anti").join(stored, on=keys, how="anti")
        return pl.concat(
            [
                changed.select(self.view.columns),
                self._without_features(vanished, at, known),
                self._without_features(left_out.unique(keys), at, at),
            ]
        ).sort(keys)

    def _without_features(self, rows: pl.DataFrame, at: pd.Timestamp, created: pd.Timestamp | pl.Expr) -> pl.DataFrame:
        nothing = [pl.lit(None, rows.schema[name]).alias(name) for name in self.view.feature_names]
        since = created if isinstance(created, pl.Expr) else pl.lit(created)
        return rows.with_columns(since.alias(CREATED_TIME), pl.lit(at).alias(EVENT_TIME), *nothing).select(
            self.view.columns
        )

    def newest(self, end: datetime) -> pd.Timestamp | None:
        """Return the newest moment whose rows hold at `end`, both ends included; None where there is none."""
        upper = in_utc(pd.Timestamp(end))
        return max((moment for moment in self.moments() if upper - self._ttl <= moment <= upper), default=None)

    def rows_at(self, moment: pd.Timestamp | None, chunk_rows: int) -> Iterator[pd.DataFrame]:
        """Yield, in chunks, the newest version of every row of that moment; a key that it left out has no feature."""
        for chunk in self._newest(moment).iter_slices(chunk_rows):
            yield tidy(self.view, chunk.to_pandas())

    def keys_at(self, moment: pd.Timestamp) -> pd.DataFrame:
        """Return the keys of that moment's rows, each once, in order; those that it left out among them."""
        keys = list(self.view.keys)
        tables = [pq.read_table(path, columns=keys, partitioning=None) for path in self._parts_of(moment)]
        empty = pa.schema([(key, pa.string()) for key in keys]).empty_table()
        return self._frame(pa.concat_tables([empty, *tables])).unique().sort(keys).to_pandas()

    @property
    def _ttl(self) -> pd.Timedelta:
        return pd.Timedelta(days=self.view.ttl_days)

    def _parts(self) -> list[Path]:
        return [path for path in self.folder.glob("*.parquet") if _PART.fullmatch(path.name)]

    def _parts_of(self, moment: pd.Timestamp | None) -> list[Path]:
        return sorted(path for path in self._parts() if moment is not None and _moment_of(path) == moment)

    def _append(self, rows: pl.DataFrame, moment: pd.Timestamp) -> None:
        content = _parquet(rows.to_arrow().cast(schema(self.view)))
        name = f"{_microseconds(moment)}_{hashlib.sha256(content).hexdigest()[:24]}.parquet"
        write_atomic(self.folder / name, content)

    def _rows(self, moment: pd.Timestamp | None) -> pl.DataFrame:
        """Every version of every row at `moment`; no rows without one."""
        tables = [pq.read_table(path, partitioning=None) for path in self._parts_of(moment)]
        return self._frame(pa.concat_tables([schema(self.view).empty_table(), *tables]))

    def _newest(self, moment: pd.Timestamp | None) -> pl.DataFrame:
        """The newest version of each row at `moment`."""
        return self._rows(moment).sort(CREATED_TIME).unique(self.view.keys, keep="last").sort(self.view.keys)

    @staticmethod
    def _frame(table: pa.Table) -> pl.DataFrame:
        frame = pl.from_arrow(table)
        assert isinstance(frame, pl.DataFrame)
        return frame

    def _checked(self, frame: pd.DataFrame, moment: datetime | None) -> pd.DataFrame:
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
        moments = set(rows[EVENT_TIME].unique()) | ({in_utc(pd.Timestamp(moment))} if moment is not None else set())
        if len(moments) > 1:
            raise FacingsError(f"Rows for the view {self.view.name} speak of several moments; write one at a time.")
        if rows.duplicated([*self.view.keys]).any():
            raise FacingsError(
                f"Rows for the view {self.view.name} hold a key twice at one moment; nothing was written. "
                "Keep one row for each key and event_timestamp."
            )
        return rows


def _microseconds(moment: pd.Timestamp) -> int:
    return int((moment - _EPOCH) // pd.Timedelta(microseconds=1))


def _moment_of(part: Path) -> pd.Timestamp:
    return _EPOCH.as_unit("us") + pd.Timedelta(microseconds=int(part.name.partition("_")[0]))


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


def _parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue())
