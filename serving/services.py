"""What one server holds: settings, clock, snapshots, screens, and the doors to state and identity."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from typing import Any

from configs.clock import Clock
from configs.secrets import secret
from configs.settings import Settings
from identity.match import TrackDecider
from pipelines.faces import gallery_source, open_consents
from pipelines.offers.claims import Claims
from serving.answers import Answering
from serving.auth import Doorkeeper, is_loopback
from serving.current import CurrentView
from serving.screens import Screens
from state.engine import open_engine
from state.forgotten import forgotten_among


@dataclass
class Services:
    """Built once by the application's factory and handed to the routes."""

    answering: Answering
    current: CurrentView
    screens: Screens
    doorkeeper: Doorkeeper
    engine: Any
    pseudonym_key: bytes
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    event_lock: threading.Lock = field(default_factory=threading.Lock)
    _deciders: dict[str, TrackDecider] = field(default_factory=dict)

    def decider(self, store_id: str) -> TrackDecider:
        """Who decides over the tracks of one store: a store knows only those who enrolled there."""
        if store_id not in self._deciders:
            settings = self.answering.settings
            source = gallery_source(settings.paths, open_consents(settings), store_id)
            seconds = settings.sighting_seconds
            self._deciders[store_id] = TrackDecider(source.current, self.answering.clock, seconds=seconds)
        return self._deciders[store_id]

    def gone(self, shoppers: set[str]) -> set[str]:
        """Those who were forgotten."""
        return forgotten_among(self.engine, shoppers, self.pseudonym_key)


def build_services(settings: Settings, clock: Clock) -> Services:
    """Open what a server needs."""
    home = settings.paths
    engine = open_engine(settings.state_uri)
    public = (settings.public_url or f"http://{settings.host}:{settings.port}").rstrip("/")
    host = public.partition("://")[2].partition("/")[0].rpartition(":")[0] or public.partition("://")[2]
    claims = Claims(secret(home, "claims"))
    answering = Answering(settings, clock, claims, public, local_only=is_loopback(host.strip("[]")))
    current = CurrentView(home)
    everybody = gallery_source(home, open_consents(settings))
    screens = Screens(answering, current, lambda shopper: everybody.current().greeting(shopper))
    return Services(answering, current, screens, Doorkeeper(settings, engine), engine, secret(home, "pseudonym"))
