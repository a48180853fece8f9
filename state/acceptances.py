"""Data that a person accepted though the checks would have stopped the retraining: when, what, and why."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import Column, DateTime, Engine, Integer, String, Table, Text, insert, select

from state.engine import metadata

acceptances = Table(
    "data_acceptances",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at", DateTime(timezone=True), nullable=False, comment="UTC"),
    Column("report", String(32), nullable=False, index=True, comment="key of the data report"),
    Column("reason", Text, nullable=False),
    Column("findings", Text, nullable=False, comment="JSON: the sentences that would have stopped it"),
)


def note_acceptance(engine: Engine, *, report: str, reason: str, findings: Sequence[str], at: datetime) -> None:
    """Write down that a person accepted the data of a report; the same report and reason are written once."""
    if any(row["report"] == report and row["reason"] == reason for row in noted_acceptances(engine)):
        return
    row = {"at": at, "report": report, "reason": reason, "findings": json.dumps(list(findings), ensure_ascii=False)}
    with engine.begin() as connection:
        connection.execute(insert(acceptances).values(row))


def noted_acceptances(engine: Engine) -> list[dict[str, object]]:
    """Every acceptance, the newest first: at (ISO 8601), report, reason, findings."""
    query = select(acceptances).order_by(acceptances.c.id.desc())
    with engine.connect() as connection:
        return [
            {
                "at": (row.at if row.at.tzinfo else row.at.replace(tzinfo=UTC)).isoformat(),  # SQLite keeps no zone
                "report": row.report,
                "reason": row.reason,
                "findings": json.loads(row.findings),
            }
            for row in connection.execute(query)
        ]
