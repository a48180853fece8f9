"""The snapshots in use, swapped between requests when a pointer changes; a damaged new one is not taken."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

from configs.errors import FacingsError
from configs.home import Home
from pipelines import snapshot
from pipelines.offers.budgets.pacing import Campaign
from pipelines.offers.view import View, open_view
from serving.metrics import SNAPSHOTS_REFUSED, SNAPSHOTS_TAKEN
from serving.problems import Problem

_LOG = logging.getLogger("facings.serving")
INTERVAL_SECONDS = 0.3
# A view that was swapped out stays open so long, for requests that still read it.
_GRACE_SECONDS = 10.0
_Signature = tuple[tuple[str, int, int] | None, ...]


class CurrentView:
    """Hands out the view in use; `changes` keeps it current."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._view: View | None = None
        self._seen: _Signature | None = None
        self.version = 0

    def get(self) -> View:
        """Return the view in use.

        Raises:
            Problem: 503, nothing was ingested yet.
        """
        if self._view is None:
            raise Problem(503, "Nothing to serve yet; run `facings ingest FOLDER` on this home.")
        return self._view

    @property
    def ready(self) -> bool:
        """Whether there is something to serve."""
        return self._view is not None

    def stores(self) -> frozenset[str] | None:
        """Ids of the stores; None: stores were never ingested."""
        shop = None if self._view is None else self._view.shop
        return frozenset(shop.stores) if shop is not None and shop.has_stores else None

    def campaigns(self) -> dict[str, Campaign]:
        """Campaigns with a budget."""
        shop = None if self._view is None else self._view.shop
        return {} if shop is None else {name: Campaign(name, *row) for name, row in shop.budgets.items()}

    def refresh(self) -> View | None:
        """Take the snapshots that the pointers name, if they changed; return the view that they replace."""
        signature = self._signature()
        if signature == self._seen:
            return None
        fresh = self._open()
        self._seen = signature
        if fresh is None:
            return None
        old, self._view = self._view, fresh
        self.version += 1
        SNAPSHOTS_TAKEN.inc()
        return old

    async def changes(self) -> AsyncIterator[int]:
        """Look for new snapshots for ever and yield after each that is taken; reading one holds up no request."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(INTERVAL_SECONDS)
            if self._signature() == self._seen:
                continue
            before = self.version
            old = await asyncio.to_thread(self.refresh)
            if old is not None:
                loop.call_later(_GRACE_SECONDS, old.close)
            if self.version != before:
                yield self.version

    def close(self) -> None:
        """Let the files go."""
        if self._view is not None:
            self._view.close()
            self._view = None

    def _open(self) -> View | None:
        """Open what the pointers name; None: not usable, so what is in use stays.

        A server that starts on damaged slates still has the shop, and answers by fallback.
        """
        try:
            return open_view(self._home)
        except (FacingsError, OSError) as error:
            SNAPSHOTS_REFUSED.inc()
            _LOG.error("A snapshot is not usable and is not taken: %s", error)
        if self._view is not None:
            return None
        try:
            return open_view(self._home, slates=False)
        except (FacingsError, OSError):
            return None

    def _signature(self) -> _Signature:
        return snapshot.signature(self._home, "shop"), snapshot.signature(self._home, "slates")
