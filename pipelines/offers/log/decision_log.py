"""Decisions are noted beside the answer and written behind it: no request waits for the disk, whatever the disk does.

`note` encodes a decision (some tens of microseconds) and puts it in a bounded queue; one thread writes what has come
together, a transaction for many. A full queue or a failing disk costs records, which are counted, and never an answer.
A killed process loses what it noted within the last fraction of a second.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import orjson

from configs.clock import Clock
from pipelines.offers.decide import Ask, Slate
from pipelines.offers.log.record import Asked, part_of, record
from pipelines.offers.view import View
from state.decisions import PartKey, Row, append_decisions, erase_decisions, part_day, prune_decisions, read_decision
from state.forgotten import pseudonym

_LOG = logging.getLogger("facings.decisions")
_GATHER_SECONDS = 0.1
_BATCH = 256
# Bytes of a transaction, and the pause after it: on one core requests wait for what writes, so it writes a little at a
# time. Where much waits it writes all at once, so that it keeps up.
_AT_ONCE, _PAUSE_SECONDS, _MUCH = 48_000, 0.001, 1_000
_CAPACITY = 20_000
_MOST_KNOWN = 50_000
_PRUNE_EVERY = timedelta(hours=1)
_TELL_EVERY_SECONDS = 60.0

Count = Callable[[str, int], None]
"""Is told outcomes: logged, dropped (the queue was full), failed (the disk or the encoding), forgotten."""


@dataclass
class _Noted:
    row: Row
    parts: list[tuple[PartKey, bytes]] = field(default_factory=list)


class DecisionLog:
    """Writes the decisions of one server."""

    def __init__(
        self,
        engine: Any,
        key: bytes,
        *,
        clock: Clock,
        keep_days: int,
        forgotten: Callable[[set[str]], set[str]],
        count: Count,
        capacity: int = _CAPACITY,
    ) -> None:
        """Take what it writes with; `start` begins.

        Args:
            engine: `state.decisions.open_decisions`.
            key: of the pseudonyms.
            clock: tells what is too old to be kept.
            keep_days: how long records are kept.
            forgotten: tells of keyed hashes of whom nothing may be written.
            count: is told outcomes.
            capacity: how many records may wait.
        """
        self._engine, self._key, self._clock, self._count = engine, key, clock, count
        self._keep, self._forgotten, self._capacity = timedelta(days=keep_days), forgotten, capacity
        self._waiting: deque[_Noted] = deque()
        self._lost, self._told = 0, -_TELL_EVERY_SECONDS
        # What names a part within this process → its key, once it was noted; ids of snapshots name their content.
        self._known: dict[tuple[Any, ...], PartKey] = {}
        self._noted, self._stopping, self._idle = threading.Event(), threading.Event(), threading.Event()
        self._idle.set()
        self._pruned: datetime | None = None
        self._thread = threading.Thread(target=self._run, name="decision log", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def note(self, asked: Asked, view: View, ask: Ask, slate: Slate, item_ids: Sequence[str]) -> None:
        """Take a decision down; never raises and never waits."""
        try:
            if len(self._waiting) >= self._capacity:
                self._count("dropped", 1)
                return
            new: list[tuple[PartKey, bytes]] = []
            found: list[tuple[tuple[Any, ...], PartKey]] = []

            def shared(name: tuple[Any, ...], content: Callable[[], bytes]) -> PartKey:
                key = self._known.get(name)
                if key is None or key[0] != part_day(asked.now):
                    body = content()
                    key = part_of(body, asked.now)
                    new.append((key, body))
                    found.append((name, key))
                return key

            row = record(asked, view, ask, slate, item_ids, named=lambda one: pseudonym(one, self._key), shared=shared)
            self._waiting.append(_Noted(row, new))
            self._idle.clear()  # after it: the thread sets it again once it has seen the row
            if found:
                if len(self._known) > _MOST_KNOWN:
                    self._known.clear()
                self._known.update(found)
            self._noted.set()
        except Exception as error:  # a fault of the log must not cost a shopper the answer
            self._failed(1, error)

    def shown(self, recommendation_id: str, shopper: str) -> list[str]:
        """Items that were shown to a shopper (keyed hash) under this id, in order; none if it was not theirs."""
        row = read_decision(self._engine, recommendation_id)
        if row is None and self.flush(1.0):  # a page may be as quick as the writing of what it shows
            row = read_decision(self._engine, recommendation_id)
        if row is None or row.shopper != shopper:
            return []
        return [str(item[0]) for item in orjson.loads(row.answer)["items"]]

    def flush(self, seconds: float = 10.0) -> bool:
        """Wait until all that was noted is written or given up; False when that takes longer."""
        self._noted.set()
        return self._idle.wait(seconds)

    def close(self) -> None:
        """Write what waits, and end."""
        self._stopping.set()
        self._noted.set()
        if self._thread.is_alive():
            self._thread.join(10)
        self._engine.dispose()

    def _run(self) -> None:
        while True:
            self._noted.wait(60)
            self._stopping.wait(_GATHER_SECONDS)
            self._noted.clear()
            whole = True
            while self._waiting and whole:
                self._write([self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))])
                whole = len(self._waiting) >= _BATCH  # what is less is gathered: to write a few costs as much as many
            if not self._waiting:
                self._idle.set()
            if self._waiting:
                self._idle.clear()
                self._noted.set()
            elif self._stopping.is_set():
                return
            self._prune()

    def _write(self, batch: list[_Noted]) -> None:
        written = 0
        try:
            everybody = {shopper for noted in batch for shopper in noted.row.everybody}
            gone = self._forgotten(everybody)
            kept = [noted.row for noted in batch if gone.isdisjoint(noted.row.everybody)]
            parts = {key: body for noted in batch for key, body in noted.parts}
            if parts:
                append_decisions(self._engine, (), list(parts.items()))
            many = len(self._waiting) >= _MUCH
            try:
                for some in [kept] if many else _apart(kept, _AT_ONCE):
                    append_decisions(self._engine, some, ())
                    written += len(some)
                    if not many:
                        self._stopping.wait(_PAUSE_SECONDS)
            finally:  # also of what was written before it failed
                # Who was forgotten between the look and the write: whoever erases after it finds the rows, else we do.
                for shopper in self._forgotten(everybody) - gone:
                    erase_decisions(self._engine, shopper)
        except Exception as error:
            self._known.clear()  # the parts that were lost are noted again
            self._failed(len(batch) - written, error)
        else:
            if len(kept) < len(batch):
                self._count("forgotten", len(batch) - len(kept))
        if written:
            self._count("logged", written)

    def _prune(self) -> None:
        now = self._clock.now()
        if self._pruned is not None and now - self._pruned < _PRUNE_EVERY:
            return
        try:
            while prune_decisions(self._engine, now - self._keep) and not self._waiting:
                pass
            self._pruned = now
        except Exception as error:
            _LOG.error("Old decisions could not be dropped (%s); it is tried again.", type(error).__name__)

    def _failed(self, rows: int, error: Exception) -> None:
        self._count("failed", rows)
        self._lost += rows
        if time.monotonic() - self._told > _TELL_EVERY_SECONDS:  # every answer may fail; a line for each hides the rest
            _LOG.error("%d decisions could not be logged (%s); answers go on.", self._lost, type(error).__name__)
            self._lost, self._told = 0, time.monotonic()


def _apart(rows: Sequence[Row], most: int) -> Iterator[Sequence[Row]]:
    """Rows in turn, so many that they have at most `most` bytes together, or one."""
    start, size = 0, 0
    for at, row in enumerate(rows):
        size += len(row.answer) + len(row.seen)
        if size > most and at > start:
            yield rows[start:at]
            start, size = at, len(row.answer) + len(row.seen)
    if rows:
        yield rows[start:]
