"""Erase one shopper from the lake and its quarantine: new parts without the rows, then one switch of the manifest."""

from __future__ import annotations

import json
import secrets
from typing import Any

import polars as pl

from configs.home import Home
from pipelines.signals.lake.lake import Lake, Manifest, Part, make_durable
from pipelines.signals.quarantine.rows import FORGOTTEN, read_quarantine, write_quarantine
from state.files import exclusive


def erase_in_lake(home: Home, shopper_id: str) -> dict[str, int]:
    """Erase a shopper's rows of every table, and the content of their quarantined rows.

    A reader sees the tables with the shopper or without. Waits for an ingest that is under way. Safe to cut off and to
    run again: what the manifest does not name is removed at the end, or by the next run.

    Returns:
        {"lake": rows erased, "quarantine": rows whose content was erased; they stay listed as forgotten}.
    """
    lake = Lake(home)
    if not lake.folder.is_dir():
        return {"lake": 0, "quarantine": 0}
    with exclusive(lake.folder / "ingest.lock", "ingest", wait=True):
        lake.clean()
        before = lake.manifest()
        tables = {
            name: tuple(_without(lake, part, shopper_id) for part in held) for name, held in before.tables.items()
        }
        quarantine, scrubbed = _scrub(lake, before, shopper_id)
        after = Manifest(
            format_version=before.format_version,
            tables={name: tuple(part for part in held if part.rows) for name, held in tables.items()},
            quarantine=quarantine,
            files=before.files,
        )
        if after != before:
            lake.commit(after)
        lake.clean()
    return {"lake": _rows(before) - _rows(after), "quarantine": scrubbed}


def _without(lake: Lake, part: Part, shopper_id: str) -> Part:
    """Write the part again without the shopper's rows, or return it as it is when it has none."""
    path = lake.folder / part.file
    if "shopper_id" not in pl.read_parquet_schema(path):
        return part
    theirs = pl.col("shopper_id").eq_missing(shopper_id)
    gone = pl.scan_parquet(path).filter(theirs).select(pl.col("_key_low").cast(pl.Int128)).collect()["_key_low"]
    if gone.is_empty():
        return part
    new = path.with_name(f"{secrets.token_hex(8)}.parquet")
    pl.scan_parquet(path).filter(~theirs).sink_parquet(new, compression="zstd")
    make_durable(new)
    digest = (part.digest - int(gone.sum())) % 2**64
    return Part(file=str(new.relative_to(lake.folder)), rows=part.rows - len(gone), digest=digest)


def _scrub(lake: Lake, manifest: Manifest, shopper_id: str) -> tuple[tuple[str, ...], int]:
    """Empty the content of the shopper's quarantined rows; return the manifest's entry and how many."""
    rows = read_quarantine(lake, manifest)
    theirs = pl.Series([_is_theirs(text, shopper_id) for text in rows["row"]], dtype=pl.Boolean)
    if not theirs.any():
        return manifest.quarantine, 0
    scrubbed = rows.with_columns(
        pl.when(theirs).then(pl.lit(FORGOTTEN)).otherwise("reason").alias("reason"),
        pl.when(theirs).then(pl.lit("")).otherwise("row").alias("row"),
    )
    return write_quarantine(lake, scrubbed), int(theirs.sum())


def _is_theirs(text: str, shopper_id: str) -> bool:
    """Tell whether a quarantined row, JSON as it came, is the shopper's; an id may have come as a number."""
    if not text:
        return False
    row: Any = json.loads(text)
    value = row.get("shopper_id") if isinstance(row, dict) else None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value is not None and str(value).strip() == shopper_id


def _rows(manifest: Manifest) -> int:
    return sum(part.rows for held in manifest.tables.values() for part in held)
