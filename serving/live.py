"""What shoppers do now, for the request path: candidates from their newest events, kept until their next event.

A request reads memory alone. Where a shopper did something since the champion was trained, it waits a stated time for
their candidates; after that the stored ones are served, and the new ones are there for the next.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait

from configs.clock import Clock
from configs.settings import Settings
from pipelines.offers.fold import FoldIn
from pipelines.offers.view import View
from pipelines.packed import Ranked
from pipelines.signals.live.recent import Recent
from pipelines.signals.live.states import LiveFollower, follow
from serving.metrics import LIVE_FAILED, LIVE_LATE, LIVE_SECONDS, LIVE_SHOPPERS

_LOG = logging.getLogger("facings.serving")
_KEPT = 10_000  # shoppers whose candidates are kept
_WAITING = 64  # computations that may wait; more would be late anyway
_FIRST_SECONDS = 10.0  # a server that starts waits so long for the events on the disk
_AHEAD = 4  # where no more than so many shoppers did something at once, their candidates are made before anybody asks
_Key = tuple[str, int, int]  # shopper, the view's fold-in, the version of what is known


class Live:
    """Live states and candidates of one server.

    Args:
        settings: the deadline.
        follower: reads the events.
        clock: the moment of a request.
    """

    def __init__(self, settings: Settings, follower: LiveFollower, clock: Clock) -> None:
        self.states = follower.states
        self._follower = follower
        self._deadline = settings.live_deadline_ms / 1000
        self._clock = clock
        self._pool = ThreadPoolExecutor(1, "fold-in")
        self._ready: dict[str, tuple[_Key, Ranked | None]] = {}
        # Of one view: whoever is not asked for again would else keep files that nobody serves any more.
        self._weighed: tuple[View | None, dict[str, tuple[Ranked, Ranked]]] = (None, {})
        self._pending: dict[_Key, Future[None]] = {}
        self._submitting = threading.Lock()
        self._woken, self._caught_up, self._stopping = threading.Event(), threading.Event(), False
        self._view: View | None = None
        self._since: float | None = None
        self.forgotten = 0  # how many shoppers were
        self._thread = threading.Thread(target=self._follow, name="live", daemon=True)

    def start(self) -> None:
        """Read what is on the disk, so that the rules know it from the first request on, and follow it."""
        self._thread.start()
        self._caught_up.wait(_FIRST_SECONDS)

    def stop(self) -> None:
        """End."""
        self._stopping = True
        self._woken.set()
        self._thread.join(10)
        self._pool.shutdown(wait=True, cancel_futures=True)

    def arrived(self) -> None:
        """There are new events on the disk."""
        if self._since is None:
            self._since = time.monotonic()
        self._woken.set()

    def warm(self, view: View) -> None:
        """Take the view for what is made ahead, and rehearse its model, so that no request waits for a first time."""
        self._view, self._weighed = view, (view, {})
        if view.fold_in is not None and not self._stopping:
            self._pool.submit(self._guarded, view.fold_in.rehearse)

    def recent(self, shopper_id: str) -> Recent | None:
        """What the newest events say that a shopper bought and was shown; from the disk where they made room."""
        if self.states.forgot(shopper_id):
            try:
                self._follower.recall(shopper_id)
            except Exception as error:  # the database is away: what is in memory counts
                self._failed(error)
        return self.states.recent(shopper_id)

    def knows(self, view: View, shopper_id: str | None) -> bool:
        """Whether anything that this shopper did may count; costs a look into a table in memory."""
        if shopper_id is None or view.fold_in is None:
            return False
        return self.states.get(shopper_id) is not None or self.states.dropped(shopper_id)

    async def prepare(self, view: View, shopper_id: str | None) -> None:
        """Have the shopper's candidates ready, or give up after the deadline; nothing to do for most shoppers."""
        future = self._begun(view, shopper_id)
        if future is not None:
            done, _ = await asyncio.wait([asyncio.wrap_future(future)], timeout=self._deadline)
            if not done:
                LIVE_LATE.inc()

    def prepare_here(self, view: View, shopper_id: str | None) -> None:
        """The same for a thread that may wait."""
        future = self._begun(view, shopper_id)
        if future is not None and not wait([future], timeout=self._deadline).done:
            LIVE_LATE.inc()

    def _begun(self, view: View, shopper_id: str | None) -> Future[None] | None:
        """The computation of the shopper's candidates; None: there is nothing to wait for."""
        if not self.knows(view, shopper_id) or self._stopping:
            return None
        assert shopper_id is not None and view.fold_in is not None
        key = self._key(view.fold_in, shopper_id)
        if self._made(key):
            return None
        with self._submitting:
            future = self._pending.get(key)
            if future is None and len(self._pending) < _WAITING:
                future = self._pool.submit(self._guarded, self._compute, view.fold_in, shopper_id, key)
                self._pending[key] = future
        if future is None:
            LIVE_LATE.inc()
        else:
            future.add_done_callback(lambda _: self._pending.pop(key, None))
        return future

    def candidates(self, view: View, shopper_id: str | None) -> Ranked | None:
        """The shopper's candidates where they are ready and newer than the stored ones."""
        if not self.knows(view, shopper_id):
            return None
        assert shopper_id is not None and view.fold_in is not None
        of, known = self._weighed  # before the candidates: who is forgotten meanwhile is put where nobody looks
        key, entry = self._key(view.fold_in, shopper_id), self._ready.get(shopper_id)
        made = entry[1] if entry is not None and entry[0] == key else None
        if made is None:
            return None
        if of is not view:
            known = {}
            self._weighed = view, known
        weighed = known.get(shopper_id)
        if weighed is None or weighed[0] is not made:
            if len(known) >= _KEPT:
                known.clear()
            weighed = known[shopper_id] = made, view.weighed(shopper_id, made)
        return weighed[1]

    def version(self, view: View, shopper_id: str | None) -> int | None:
        """What the shopper's candidates are made of, another number after each change; None: they are not ready."""
        if not self.knows(view, shopper_id):
            return 0
        assert shopper_id is not None and view.fold_in is not None
        key = self._key(view.fold_in, shopper_id)
        return key[2] if self._made(key) else None

    def _key(self, fold_in: FoldIn, shopper_id: str) -> _Key:
        known = self.states.get(shopper_id)
        return shopper_id, fold_in.number, 0 if known is None else known.version

    def _made(self, key: _Key) -> bool:
        entry = self._ready.get(key[0])
        return entry is not None and entry[0] == key

    def _compute(self, fold_in: FoldIn, shopper_id: str, key: _Key) -> None:
        if self.states.get(shopper_id) is None:
            self._follower.recall(shopper_id)
            key = self._key(fold_in, shopper_id)
        known = self.states.get(shopper_id)
        ranked = None if known is None else fold_in.candidates(shopper_id, known.state, self._clock.now())
        self._ready.pop(shopper_id, None)
        self._ready[shopper_id] = key, ranked
        if ranked is not None and self.states.get(shopper_id) is None:  # forgotten meanwhile, or made room
            self._ready.pop(shopper_id, None)
        while len(self._ready) > _KEPT:
            self._ready.pop(next(iter(self._ready)), None)

    def _guarded(self, work: object, *arguments: object) -> None:
        """Whatever goes wrong here, the stored candidates are served."""
        try:
            work(*arguments)  # type: ignore[operator]
        except Exception as error:
            LIVE_FAILED.inc()
            _LOG.error("Live candidates could not be made: %s", type(error).__name__)

    def _follow(self) -> None:
        follow(
            self._follower,
            self._woken,
            stopped=lambda: self._stopping,
            current=self._current,
            failed=self._failed,
        )

    def _current(self, changed: set[str]) -> None:
        self._caught_up.set()
        since, self._since = self._since, None
        if since is not None and changed:
            LIVE_SECONDS.observe(time.monotonic() - since)
        LIVE_SHOPPERS.set(len(self.states))
        if self._follower.forgotten != self.forgotten:
            self.forgotten = self._follower.forgotten
            self._ready, self._weighed = {}, (None, {})
        if self._view is not None and len(changed) + len(self._pending) <= _AHEAD:
            for shopper in changed:
                self._begun(self._view, shopper)

    def _failed(self, error: Exception) -> None:
        self._caught_up.set()
        LIVE_FAILED.inc()
        _LOG.error("Newest events could not be read: %s", type(error).__name__)
