"""Interactions that arrive over HTTP: checked, durable before they are acknowledged, many batches in one write.

A write to the disk costs the same for one batch as for twenty. So one thread takes all batches that wait, in one
transaction; each is answered when that is committed, and those that come meanwhile wait for the next.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import datetime
from typing import Any, NamedTuple

from configs.clock import Clock
from pipelines.signals.live.events import Rejected, check_interactions
from state.budgets import Sale, note_sales
from state.engine import Engine
from state.events import append_batches, erase_events
from state.forgotten import forgotten_among

_ROWS = 10_000  # of one transaction, about
_FORGOTTEN = "the shopper was forgotten"
_Waiting = tuple[Sequence[Any], "Future[Taken]"]


class Taken(NamedTuple):
    """What became of a batch."""

    accepted: int
    duplicates: int
    rejected: list[Rejected]


class Receiver:
    """Takes batches of interactions from any thread.

    Args:
        engine: of the state database.
        pseudonym_key: knows the tombstones of who was forgotten.
        clock: the moment of arrival.
        skew_seconds: see `check_interactions`.
        known_stores: ids that store_id may have, as of now; None: any.
        arrived: called after each write that brought something new.
        sold: what sales among new rows took from campaigns; counted in the transaction that keeps the rows.
    """

    def __init__(
        self,
        engine: Engine,
        pseudonym_key: bytes,
        clock: Clock,
        *,
        skew_seconds: float,
        known_stores: Callable[[], frozenset[str] | None],
        arrived: Callable[[], None],
        sold: Callable[[Sequence[dict[str, Any]]], Sequence[Sale]] = lambda rows: (),  # noqa: ARG005
    ) -> None:
        self._engine = engine
        self._key = pseudonym_key
        self._clock = clock
        self._skew = skew_seconds
        self._known_stores = known_stores
        self._arrived = arrived
        self._sold = sold
        self._waiting: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="events", daemon=True)

    def start(self) -> None:
        """Begin to take."""
        self._thread.start()

    def stop(self) -> None:
        """Take what waits, then end."""
        self._waiting.put(None)
        if self._thread.is_alive():
            self._thread.join(10)

    def submit(self, rows: Sequence[Any]) -> Future[Taken]:
        """Hand a batch over; the answer is there once its rows would survive a power cut."""
        answer: Future[Taken] = Future()
        self._waiting.put((rows, answer))
        return answer

    def _work(self) -> None:
        while True:
            batches, ends = self._next()
            if batches:
                self._answer(batches)
            if ends:
                return

    def _next(self) -> tuple[list[_Waiting], bool]:
        """All batches that wait, and whether that was all for good; at least one or the end."""
        entry = self._waiting.get()
        found: list[_Waiting] = []
        while entry is not None:
            found.append(entry)
            if sum(len(rows) for rows, _ in found) >= _ROWS:
                return found, False
            try:
                entry = self._waiting.get_nowait()
            except queue.Empty:
                return found, False
        return found, True

    def _answer(self, batches: list[_Waiting]) -> None:
        batches = [entry for entry in batches if entry[1].set_running_or_notify_cancel()]  # a sender may have gone
        try:
            taken = self.take([rows for rows, _ in batches], self._clock.now())
        except Exception as error:  # the database is away: nothing was acknowledged, and each sender is told
            for _, answer in batches:
                answer.set_exception(error)
            return
        if any(one.accepted for one in taken):
            self._arrived()
        for (_, answer), one in zip(batches, taken, strict=True):
            answer.set_result(one)

    def take(self, batches: Sequence[Sequence[Any]], now: datetime) -> list[Taken]:
        """Check batches and keep what is new of them; what became of each."""
        stores = self._known_stores()
        good: list[list[dict[str, Any]]] = []
        bad: list[list[Rejected]] = []
        places: list[list[int]] = []
        for rows in batches:
            held, refused = check_interactions(rows, now=now, skew_seconds=self._skew, known_stores=stores)
            wrong = {entry.index for entry in refused}
            good.append(held)
            bad.append(refused)
            places.append([index for index in range(len(rows)) if index not in wrong])
        everybody = {row["shopper_id"] for held in good for row in held}
        gone = forgotten_among(self._engine, everybody, self._key)
        welcome = [[row for row in held if row["shopper_id"] not in gone] for held in good]
        kept = append_batches(
            self._engine, welcome, now, lambda connection, rows: note_sales(connection, self._sold(rows))
        )
        late = forgotten_among(self._engine, everybody, self._key) - gone
        for shopper in late:  # forgotten between the two: what was just written goes too
            erase_events(self._engine, shopper)
        gone |= late
        told = []
        for held, refused, where, rows, new in zip(good, bad, places, welcome, kept, strict=True):
            named = zip(where, held, strict=True)
            lost = [Rejected(place, _FORGOTTEN) for place, row in named if row["shopper_id"] in gone]
            accepted = sum(rows[place]["shopper_id"] not in gone for place in new)
            rejected = sorted([*refused, *lost], key=lambda entry: entry.index)
            told.append(Taken(accepted, len(held) - len(lost) - accepted, rejected))
        return told
