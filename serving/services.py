"""What one server holds: settings, clock, snapshots, screens, and the doors to state and identity."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from configs.clock import Clock
from configs.policy import load_policy
from configs.secrets import secret
from configs.settings import Settings
from identity.match import TrackDecider
from pipelines.faces import gallery_source, open_consents
from pipelines.offers.budgets.pacer import Pacer
from pipelines.offers.budgets.sales import sales_of
from pipelines.offers.claims import Claims
from pipelines.offers.experiments.stops import Running
from pipelines.offers.log.decision_log import DecisionLog
from pipelines.signals.live.receive import Receiver
from pipelines.signals.live.states import LiveFollower, LiveStates
from serving.answers import Answering
from serving.auth import Doorkeeper, is_loopback
from serving.current import CurrentView
from serving.live import Live
from serving.metrics import BUDGET_LEFT, DECISIONS
from serving.moment import Moment
from serving.screens import Screens
from state.consent import Consents
from state.decisions import open_decisions
from state.engine import open_engine
from state.forgotten import forgotten_among, tombstones_among


@dataclass
class Services:
    """Built once by the application's factory and handed to the routes."""

    answering: Answering
    current: CurrentView
    screens: Screens
    doorkeeper: Doorkeeper
    engine: Any
    pseudonym_key: bytes
    consents: Consents
    live: Live
    receiver: Receiver
    stopping: bool = False
    _deciders: dict[str, TrackDecider] = field(default_factory=dict)

    def decider(self, store_id: str) -> TrackDecider:
        """Who decides over the tracks of one store: a store knows only those who enrolled there."""
        if store_id not in self._deciders:
            settings = self.answering.settings
            source = gallery_source(settings.paths, self.consents, store_id)
            seconds = settings.sighting_seconds
            self._deciders[store_id] = TrackDecider(source.current, self.answering.clock, seconds=seconds)
        return self._deciders[store_id]

    def gone(self, shoppers: set[str]) -> set[str]:
        """Those who were forgotten."""
        return forgotten_among(self.engine, shoppers, self.pseudonym_key)

    def start(self) -> None:
        """Begin to take events and to follow them."""
        self.answering.log.start()
        self.answering.pacer.start()
        self.receiver.start()
        self.live.start()
        if self.current.ready:
            self.live.warm(self.current.get())

    def end(self) -> None:
        """Let go of what `start` began."""
        self.receiver.stop()
        self.live.stop()
        self.answering.pacer.stop()
        self.answering.log.close()

    def stop(self) -> None:
        """End the open streams, so that the server can end."""
        self.stopping = True
        self.screens.wake()


def build_services(settings: Settings, clock: Clock) -> Services:
    """Open what a server needs."""
    home = settings.paths
    engine = open_engine(settings.state_uri)
    public = (settings.public_url or own_url(settings)).rstrip("/")
    current = CurrentView(home)
    key = secret(home, "pseudonym")
    live = Live(settings, LiveFollower(engine, key, LiveStates(settings.live_shoppers)), clock)
    claims = Claims(secret(home, "claims"))
    log = DecisionLog(
        open_decisions(settings.decisions_uri),
        key,
        clock=clock,
        keep_days=settings.decision_days,
        forgotten=lambda digests: tombstones_among(engine, digests),
        count=lambda outcome, rows: DECISIONS.labels(outcome).inc(rows),
    )
    policy = load_policy(settings.policy)
    pacer = Pacer(
        engine,
        clock,
        current.campaigns,
        redeem_hours=policy.redeem_hours,
        told=lambda campaign, left: BUDGET_LEFT.labels(campaign).set(left),
    )
    answering = Answering(
        settings,
        clock,
        claims,
        public,
        local_only=_stays_here(public),
        live=live,
        moment=Moment(engine, policy, live, Running(settings), key, pacer.shadow),
        log=log,
        pacer=pacer,
        key=key,
    )
    receiver = Receiver(
        engine,
        key,
        clock,
        skew_seconds=settings.clock_skew_seconds,
        known_stores=current.stores,
        arrived=live.arrived,
        sold=lambda rows: sales_of(rows, current.get().shop, settings.currency) if current.ready else (),
    )
    consents = open_consents(settings)
    everybody = gallery_source(home, consents)
    screens = Screens(answering, current, lambda shopper: everybody.current().greeting(shopper))
    return Services(answering, current, screens, Doorkeeper(settings, engine), engine, key, consents, live, receiver)


def own_url(settings: Settings, scheme: str = "http") -> str:
    """The address that the server binds, as a URL."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"{scheme}://{host}:{settings.port}"


def _stays_here(url: str) -> bool:
    """Whether an address opens on this machine only: loopback, or the one that means all of them."""
    host = urlsplit(url).hostname or ""
    return is_loopback(host) or host in {"0.0.0.0", "::"}  # noqa: S104
