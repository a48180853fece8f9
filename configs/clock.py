"""Where the time comes from: the machine, or a stated moment from which a replay runs on."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Tells the time; always UTC, with a zone."""

    def now(self) -> datetime:
        """Return the present moment."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the machine's time."""
        return datetime.now(UTC)


class ReplayClock:
    """Starts at `start` and runs on at the machine's pace, so that historical data is served as if it were today."""

    def __init__(self, start: datetime) -> None:
        self._start = start if start.tzinfo else start.replace(tzinfo=UTC)
        self._origin = time.monotonic()

    def now(self) -> datetime:
        """Return `start` plus the seconds since this clock was made."""
        return self._start + timedelta(seconds=time.monotonic() - self._origin)


class FixedClock:
    """Always the same moment; for tests and for one reproducible run."""

    def __init__(self, moment: datetime) -> None:
        self._moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)

    def now(self) -> datetime:
        """Return the fixed moment."""
        return self._moment
