"""The process beside the server that pushes live features into Feast's online store.

Feast takes seconds of CPU to import, and writes rows in Python, cell by cell: in the server's own process both would
hold up requests. It follows the durable events as any process does, so the server hands it nothing, and ends with the
server, however that ends.
"""

from __future__ import annotations

import multiprocessing
import signal
import time
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from multiprocessing.sharedctypes import Synchronized
from typing import Any

from configs.errors import FacingsError
from configs.secrets import secret
from configs.settings import Settings
from pipelines.signals.live import POLL_SECONDS, LiveFollower, LivePusher, LiveStates
from state.engine import open_engine
from state.files import exclusive

_AGAIN_SECONDS = 2.0
_CONTEXT = multiprocessing.get_context("spawn")


class PushProcess:
    """One for each server; of several on one home one pushes, and another takes over when it ends."""

    def __init__(self, settings: Settings) -> None:
        self._took: Any = _CONTEXT.Value("d", 0.0)
        self._process = SpawnProcess(target=_push, args=(settings, self._took), name="live-features", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._process.start()

    def took(self) -> float:
        """Seconds that the last push took, from the reading of events until their rows were online; 0 before it."""
        return float(self._took.value)

    def stop(self) -> None:
        """End; what is not pushed yet is pushed when it starts again."""
        self._process.terminate()
        self._process.join(5)


def _push(settings: Settings, took: Synchronized[float]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which then ends this
    parent = multiprocessing.parent_process()
    assert parent is not None
    while True:
        try:
            with exclusive(settings.paths.features / ".pusher", "push of live features", wait=False):
                _push_until_alone(settings, took, parent.sentinel)
            return
        except FacingsError:  # another server's process pushes, or the store does not work now
            if wait([parent.sentinel], timeout=_AGAIN_SECONDS):
                return


def _push_until_alone(settings: Settings, took: Synchronized[float], parent: int) -> None:
    engine = open_engine(settings.state_uri)
    follower = LiveFollower(engine, secret(settings.paths, "pseudonym"), LiveStates(settings.live_shoppers))
    pusher = LivePusher(settings, follower, settings.clock())
    pusher.open()
    while not wait([parent], timeout=0 if pusher.behind else POLL_SECONDS):
        started = time.monotonic()
        if pusher.push():
            took.value = time.monotonic() - started
