"""Experiments that were stopped: a small file in the home, which servers notice by themselves."""

from __future__ import annotations

import logging
import time
from datetime import datetime
from typing import Any

import orjson

from configs.errors import FacingsError
from configs.experiments import Experiments, load_experiments
from configs.home import Home
from configs.settings import Settings
from state.files import exclusive, write_atomic

_LOG = logging.getLogger("facings.experiments")
_EVERY = 1.0


def stopped(home: Home) -> dict[str, dict[str, Any]]:
    """Name → when (`at`, ISO) and why (`why`) it was stopped.

    Raises:
        FacingsError: the file is damaged.
    """
    try:
        found: dict[str, dict[str, Any]] = orjson.loads(home.stopped_experiments.read_bytes())
    except FileNotFoundError:
        return {}
    except orjson.JSONDecodeError:
        raise FacingsError(
            f"{home.stopped_experiments} is damaged; delete it, and take what shall not run out of its file."
        ) from None
    return found


def stop(home: Home, name: str, why: str, now: datetime) -> None:
    """Stop an experiment for good: everybody in it is served by the policy as it is from now on."""
    with exclusive(home.stopped_experiments.with_suffix(".lock"), "stopping an experiment", wait=True):
        known = stopped(home)
        if name not in known:
            known[name] = {"at": now.isoformat(), "why": why}
            write_atomic(home.stopped_experiments, orjson.dumps(known, option=orjson.OPT_INDENT_2))


class Running:
    """The experiments that run, for a server: what is stopped meanwhile is left out within a second.

    `known` are all of the file, stopped or not.
    """

    def __init__(self, settings: Settings) -> None:
        self.known, self._home = load_experiments(settings.experiments), settings.paths
        self._looked, self._seen = -_EVERY, -1
        self._now = self.known

    def current(self) -> Experiments:
        """Those that are not stopped."""
        if not self.known.experiments:
            return self.known
        moment = time.monotonic()
        if moment - self._looked >= _EVERY:
            self._looked = moment
            try:
                seen = self._home.stopped_experiments.stat().st_mtime_ns
            except FileNotFoundError:
                seen = 0
            if seen != self._seen:
                try:
                    gone = stopped(self._home) if seen else {}
                    left = {name: one for name, one in self.known.experiments.items() if name not in gone}
                except FacingsError as error:  # what was stopped for harm must not begin again, and answers go on
                    _LOG.error("%s No experiment runs until then.", error)
                    left = {}
                self._now, self._seen = self.known.model_copy(update={"experiments": left}), seen
        return self._now
