"""Receipts of erasures: that it was done, when, and how much; never whose, except to who holds the key."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Column, DateTime, Engine, String, Table, Text, insert, select

from state.engine import metadata

receipts = Table(
    "erasure_receipts",
    metadata,
    Column("receipt_id", String(32), primary_key=True),
    Column("shopper", String(64), nullable=False, index=True, comment="the tombstone's keyed hash, hex"),
    Column("erased", Text, nullable=False, comment="JSON: counts by place"),
    Column("at", DateTime(timezone=True), nullable=False, comment="UTC"),
)


def keep_receipt(engine: Engine, *, receipt_id: str, shopper: str, erased: Mapping[str, int], at: datetime) -> None:
    """Write a receipt down."""
    row = {"receipt_id": receipt_id, "shopper": shopper, "erased": json.dumps(dict(erased)), "at": at}
    with engine.begin() as connection:
        connection.execute(insert(receipts).values(row))


def receipts_of(engine: Engine, shopper: str) -> list[dict[str, object]]:
    """All receipts under one keyed hash, the oldest first."""
    query = select(receipts).where(receipts.c.shopper == shopper).order_by(receipts.c.at)
    with engine.connect() as connection:
        return [
            {"receipt_id": row.receipt_id, "erased": json.loads(row.erased), "at": row.at}
            for row in connection.execute(query)
        ]
