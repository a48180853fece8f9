"""Take out again what came since the last accepted run: the way back from rows that were wrong.

Tables with a key need no way back: their rows are replaced when they come again.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

import polars as pl

from configs.errors import FacingsError
from configs.home import Home
from pipelines.signals.contract.tables import TABLES
from pipelines.signals.lake.lake import INGESTED_AT, Lake, Manifest, Part, make_durable
from pipelines.signals.quality.store import accepted
from state.files import exclusive

Arrived = Callable[[list[str]], set[str]]


def take_back(home: Home, arrived: Arrived) -> dict[str, int]:
    """Take the rows that files brought since the last accepted run out of every table without a key.

    Events that came over HTTP stay, as no file can bring them again. Every file is read anew at the next ingest, so
    that right rows of the same files come back. A reader sees the tables before or after; safe to kill and run again.

    Args:
        home: whose lake.
        arrived: tells which of some event ids came over HTTP.

    Returns:
        Rows taken out of each table; tables without any are not named.

    Raises:
        FacingsError: no run was accepted yet.
    """
    known = accepted(home)
    if known is None:
        raise FacingsError("No run was accepted yet, so there is no state to go back to; ingest into a new home.")
    lake = Lake(home)
    since = pl.lit(known.meta.at).dt.cast_time_unit("us")
    with exclusive(lake.folder / "ingest.lock", "ingest", wait=True):
        lake.clean()
        before = lake.manifest()
        tables = {
            name: held
            if TABLES[name].key
            else tuple(left for part in held if (left := _without(lake, part, since, arrived)).rows)
            for name, held in before.tables.items()
        }
        taken = {
            name: count
            for name, held in before.tables.items()
            if (count := sum(part.rows for part in held) - sum(part.rows for part in tables[name]))
        }
        if taken:
            lake.commit(
                Manifest(format_version=before.format_version, tables=tables, quarantine=before.quarantine, files=None)
            )
        lake.clean()
    return taken


def _without(lake: Lake, part: Part, since: pl.Expr, arrived: Arrived) -> Part:
    """Write the part again without its newer rows, or return it as it is when it has none."""
    path = lake.folder / part.file
    rows = pl.scan_parquet(path)
    newer = rows.filter(pl.col(INGESTED_AT) > since)
    columns = rows.collect_schema().names()
    wanted = ["_key_low", *(name for name in ("event_id",) if name in columns)]
    found = newer.select(wanted).collect()
    stay = arrived(found["event_id"].drop_nulls().to_list()) if "event_id" in wanted and len(found) else set()
    leave = pl.col(INGESTED_AT) > since
    if stay:
        leave &= ~pl.col("event_id").is_in(list(stay)).fill_null(False)
        found = found.filter(~pl.col("event_id").is_in(list(stay)).fill_null(False))
    if found.is_empty():
        return part
    gone = int(found["_key_low"].cast(pl.Int128).sum())
    if len(found) == part.rows:
        return Part(file=part.file, rows=0, digest=0)
    new = path.with_name(f"{secrets.token_hex(8)}.parquet")
    rows.filter(~leave).sink_parquet(new, compression="zstd")
    make_durable(new)
    return Part(
        file=str(new.relative_to(lake.folder)), rows=part.rows - len(found), digest=(part.digest - gone) % 2**64
    )
