"""What shoppers do now, in memory: their last events, read from the durable ones in the order in which these came.

Every process that needs them follows the table of events by its sequence numbers. So one that was killed begins anew
from what is on the disk, and one that took no event itself sees those that another took as soon.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

import pandas as pd

from configs.clock import Clock
from configs.settings import Settings
from features import live
from features.live import LiveEvent, State
from features.store import FeatureStore
from features.tables import LIVE_TTL_MINUTES, SHOPPER_LIVE
from pipelines.signals.live import recent
from pipelines.signals.live.recent import NOTHING_RECENT, Recent
from state.engine import Engine
from state.events import events_after, events_of_shopper
from state.forgotten import count_forgotten, forgotten_among

_BATCH = 2_000  # events read at a time: what runs beside it is not held up for long
_RECALLED = 10_000  # events of a shopper who made room: their purchases are among them, however much they looked at
_PUSH = 1_000  # rows pushed at a time
POLL_SECONDS = 0.1


class Known(NamedTuple):
    """A shopper's last events, and a number that is another one after each change."""

    state: State
    version: int


class LiveStates:
    """The last events of the shoppers who did something last; for any thread.

    Of the others it is only known that there is something on the disk.
    """

    def __init__(self, capacity: int) -> None:
        """Hold at most so many shoppers."""
        self._capacity = capacity
        self._known: dict[str, Known] = {}
        self._recent: dict[str, Recent] = {}
        self._dropped: set[int] = set()  # hashes of shoppers who made room
        self._version = 0
        self._writing = threading.Lock()

    def __len__(self) -> int:
        """How many shoppers are in memory."""
        return len(self._known)

    def get(self, shopper_id: str) -> Known | None:
        """What is known of a shopper in memory."""
        return self._known.get(shopper_id)

    def recent(self, shopper_id: str) -> Recent | None:
        """What a shopper bought and was shown of late, by what is in memory."""
        return self._recent.get(shopper_id)

    def dropped(self, shopper_id: str) -> bool:
        """Whether there may be more of a shopper on the disk than in memory."""
        return bool(self._dropped) and hash(shopper_id) in self._dropped

    def forgot(self, shopper_id: str) -> bool:
        """Whether a shopper made room and did not come back since."""
        return self.dropped(shopper_id) and shopper_id not in self._known and shopper_id not in self._recent

    def shoppers(self) -> list[str]:
        """Everybody in memory."""
        return list({**self._known, **self._recent})

    def take(self, rows: Iterable[dict[str, Any]]) -> set[str]:
        """Take checked interactions in; return whose state changed. Who is not in memory must not have been dropped."""
        fresh: dict[str, list[LiveEvent]] = {}
        news: dict[str, list[dict[str, Any]]] = {}
        for row in rows:
            event = live.event_of(row)
            if event is not None:
                fresh.setdefault(str(row["shopper_id"]), []).append(event)
            if row["event_type"] in recent.KINDS:
                news.setdefault(str(row["shopper_id"]), []).append(row)
        changed = set()
        with self._writing:
            for shopper, events in fresh.items():
                old = self._known.get(shopper)
                state = live.update(old.state if old else (), events)
                if old is None or state != old.state:
                    changed.add(shopper)
                    self._version += 1
                    self._known.pop(shopper, None)  # to the end: who did something last stays longest
                    self._known[shopper] = Known(state, self._version)
            for shopper, own in news.items():
                self._recent[shopper] = recent.take(self._recent.pop(shopper, NOTHING_RECENT), own)
            for held in (self._known, self._recent):
                while len(held) > self._capacity:
                    shopper = next(iter(held))
                    self._known.pop(shopper, None)
                    self._recent.pop(shopper, None)
                    self._dropped.add(hash(shopper))
        return changed

    def remove(self, shoppers: Iterable[str]) -> None:
        """Keep nothing of these."""
        with self._writing:
            for shopper in shoppers:
                self._known.pop(shopper, None)
                self._recent.pop(shopper, None)


class LiveFollower:
    """Keeps the states as new as the durable events.

    Args:
        engine: of the state database.
        pseudonym_key: knows the tombstones of who was forgotten.
        states: what it writes.
    """

    def __init__(self, engine: Engine, pseudonym_key: bytes, states: LiveStates) -> None:
        self._engine = engine
        self._key = pseudonym_key
        self.states = states
        self._reached = 0
        self.forgotten = 0

    def catch_up(self) -> set[str]:
        """Read what came since the last time and let go of who was forgotten since; return whose state changed."""
        changed: set[str] = set()
        while True:
            rows, reached = events_after(self._engine, self._reached, _BATCH)
            back = {str(row["shopper_id"]) for row in rows}
            for shopper in back:
                if self.states.forgot(shopper):
                    self.recall(shopper)
            changed |= self.states.take(rows)
            self._reached = reached
            if len(rows) < _BATCH:
                break
        # After the events: a tombstone is there before they are erased, so what was read of them goes now or next time.
        forgotten = count_forgotten(self._engine)
        if forgotten != self.forgotten:
            self.states.remove(self.gone(self.states.shoppers()))
            self.forgotten = forgotten
        return changed

    def recall(self, shopper_id: str) -> None:
        """Bring a shopper who made room back into memory."""
        self.states.take(events_of_shopper(self._engine, shopper_id, _RECALLED))
        if self.gone([shopper_id]):  # after reading, as in `catch_up`
            self.states.remove([shopper_id])

    def gone(self, shoppers: Iterable[str]) -> set[str]:
        """Those who were forgotten."""
        return forgotten_among(self._engine, shoppers, self._key)


class LivePusher:
    """Pushes rows of `shopper_live` into Feast's online store: of each shopper one, however many events they had.

    Args:
        settings: names the home and the online store.
        follower: reads the events.
        clock: the moment that a row speaks of.
    """

    def __init__(self, settings: Settings, follower: LiveFollower, clock: Clock) -> None:
        self._follower = follower
        self._clock = clock
        self._idle = settings.session_idle_minutes
        self._store = FeatureStore(settings, clock=clock)
        self._dirty: dict[str, None] = {}

    def open(self) -> None:
        """Get ready, so that the first push does not wait for it."""
        self._store.open()

    def push(self) -> int:
        """Push what changed, of `_PUSH` shoppers at most, those first who wait longest; return how many rows."""
        since = live.micros(self._clock.now() - timedelta(minutes=LIVE_TTL_MINUTES))
        for shopper in self._follower.catch_up():
            known = self._follower.states.get(shopper)
            if known is not None and known.state[-1].time >= since:  # an older row would be shown to nobody
                self._dirty[shopper] = None
        part = list(islice(self._dirty, _PUSH))
        pushed = self._store.push(SHOPPER_LIVE.name, partial(self._frame, part)) if part else 0
        for shopper in part:
            del self._dirty[shopper]
        return pushed

    @property
    def behind(self) -> bool:
        """Whether there is more to push."""
        return bool(self._dirty)

    def close(self) -> None:
        """Let go of the store."""
        self._store.close()

    def _frame(self, shoppers: list[str]) -> pd.DataFrame:
        gone = self._follower.gone(shoppers)
        now, rows = live.micros(self._clock.now()), list[tuple[str, int, dict[str, Any]]]()
        for shopper in shoppers:
            known = self._follower.states.get(shopper)
            if known is None or shopper in gone:
                continue
            moment = max(now, known.state[-1].time + 1)  # clocks differ: a row speaks of what was before it
            features = live.features_of(known.state, moment, self._idle)
            if features is not None:
                rows.append((shopper, moment, features))
        return live.frame(rows)


def follow(
    follower: LiveFollower,
    woken: threading.Event,
    *,
    stopped: Callable[[], bool],
    current: Callable[[set[str]], None],
    failed: Callable[[Exception], None],
) -> None:
    """Keep the states current until `stopped`: at once when `woken`, and every `POLL_SECONDS` for other processes.

    `current` is told whose state changed each time; `failed` of an error, after which it goes on.
    """
    while not stopped():
        try:
            current(follower.catch_up())
        except Exception as error:  # the database may be locked or away: requests go on on what is known
            failed(error)
        woken.wait(POLL_SECONDS)
        woken.clear()
