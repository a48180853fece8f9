"""The process beside the server that pushes live features into Feast's online store.

Feast takes seconds of CPU to import, and writes rows in Python, cell by cell: in the server's own process both would
hold up requests. It follows the durable events as any process does, so the server hands it nothing, and ends with the
server, however that ends.
"""

from __future__ import annotations

import ctypes
import logging
import multiprocessing
import signal
import threading
import time
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from typing import Any

from configs.errors import FacingsError
from configs.secrets import secret
from configs.settings import Settings
from pipelines.signals.live.states import POLL_SECONDS, LiveFollower, LivePusher, LiveStates
from state.engine import open_engine
from state.files import exclusive

_LOG = logging.getLogger("facings.serving")
_AGAIN_SECONDS = 2.0
_LOOK_SECONDS = 0.5
_CONTEXT = multiprocessing.get_context("spawn")


class PushProcess:
    """One for each server; of several on one home one pushes, and another takes over when it ends.

    A thread starts it, again when something killed it, such as a machine short of memory.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        # Without a lock, which a killed process could keep for ever.
        self._took: Any = _CONTEXT.Value(ctypes.c_double, 0.0, lock=False)
        self._stopping = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="live features", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._keeper.start()

    def took(self) -> float:
        """Seconds that the last push took, from the reading of events until their rows were online; 0 before it."""
        return float(self._took.value)

    def stop(self) -> None:
        """End; what is not pushed yet is pushed when it starts again."""
        self._stopping.set()
        self._keeper.join(10)

    def _keep(self) -> None:
        while not self._stopping.is_set():
            # Ctrl-C is for the server, which then ends the process: that inherits this from its first moment.
            resource_tracker.ensure_running()  # itself lets signals through again
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            process = SpawnProcess(target=_push, args=(self._settings, self._took), name="live-features", daemon=True)
            try:
                process.start()
            except OSError as error:  # no memory or no place for another process
                _LOG.error("Live features cannot be pushed (%s); it is tried again.", type(error).__name__)
                self._stopping.wait(_AGAIN_SECONDS)
                continue
            while process.is_alive() and not self._stopping.wait(_LOOK_SECONDS):
                pass
            if self._stopping.is_set():
                process.terminate()
                process.join(5)
            else:
                _LOG.error("The push of live features ended (%s); it is started again.", process.exitcode)
                self._stopping.wait(_AGAIN_SECONDS)


def _push(settings: Settings, took: ctypes.c_double) -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    while True:
        try:
            with exclusive(settings.paths.features / ".pusher", "push of live features", wait=False):
                _push_until_alone(settings, took, parent.sentinel)
            return
        except FacingsError:  # another server's process pushes, or the store does not work now
            pass
        except Exception as error:  # its text may name a shopper
            _LOG.error("Live features could not be pushed (%s); it is tried again.", type(error).__name__)
        if wait([parent.sentinel], timeout=_AGAIN_SECONDS):
            return


def _push_until_alone(settings: Settings, took: ctypes.c_double, parent: int) -> None:
    engine = open_engine(settings.state_uri)
    follower = LiveFollower(engine, secret(settings.paths, "pseudonym"), LiveStates(settings.live_shoppers))
    pusher = LivePusher(settings, follower, settings.clock())
    try:
        pusher.open()
        while not wait([parent], timeout=0 if pusher.behind else POLL_SECONDS):
            started = time.monotonic()
            if pusher.push():
                took.value = time.monotonic() - started
    finally:
        pusher.close()
        engine.dispose()
