"""Interactions on their way in: handed to the one receiver, and told what became of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from serving.metrics import EVENTS
from serving.services import Services


async def take_events(services: Services, rows: Sequence[Any]) -> dict[str, Any]:
    """Check rows and make those that hold durable; return the answer of `POST /v1/events:batch`."""
    taken = await asyncio.wrap_future(services.receiver.submit(rows))
    counts = {"accepted": taken.accepted, "duplicate": taken.duplicates, "rejected": len(taken.rejected)}
    for outcome, count in counts.items():
        EVENTS.labels(outcome).inc(count)
    rejected = [{"index": entry.index, "reason": entry.reason} for entry in taken.rejected]
    return {"accepted": taken.accepted, "duplicates": taken.duplicates, "rejected": rejected}
