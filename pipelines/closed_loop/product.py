"""The product on a home of its own, without HTTP: the same ingest, training, snapshots, decision, log and intake."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from configs.errors import FacingsError
from configs.policy import load_policy
from configs.secrets import secret
from configs.settings import Settings
from pipelines.offers.budgets.pacer import Pacer
from pipelines.offers.budgets.pacing import Campaign
from pipelines.offers.decide import Ask, Slate, decide
from pipelines.offers.experiments.assignment import in_holdout
from pipelines.offers.explore import seed_of
from pipelines.offers.gather import facts_of
from pipelines.offers.log.decision_log import DecisionLog
from pipelines.offers.log.record import Asked
from pipelines.offers.view import View, open_view
from pipelines.signals.live.receive import Receiver
from pipelines.snapshot import current
from pipelines.training.intake import take_in
from pipelines.training.job import RetrainResult
from pipelines.training.rescore import rescore
from pipelines.training.retrain import retrain
from state.decisions import new_id, open_decisions
from state.engine import open_engine
from state.files import write_atomic
from state.forgotten import pseudonym, tombstones_among

_BATCH = 1_000
_WHY = "a simulated town begins"
_KEEP_DAYS = 365
_BEAT = timedelta(minutes=15)


class TownClock:
    """A clock that is set by hand: the town's present moment."""

    def __init__(self, moment: datetime) -> None:
        self._moment = moment

    def now(self) -> datetime:
        """Return the moment that was set last."""
        return self._moment

    def set(self, moment: datetime) -> None:
        """Set the moment."""
        self._moment = moment


@dataclass(frozen=True)
class Answered:
    """A decision: its id, its items as (item_id, discount), best first, and why it is not the shopper's own."""

    recommendation_id: str
    offers: list[tuple[str, float]]
    fallback: str | None


def own_settings(home: Path, seed: int) -> Settings:
    """Settings of a home that shares nothing with any other, whatever the environment names.

    Its secrets come from the seed, so that who is held out and what is explored is the same each time. They guard
    nobody: everything in this home is simulated.
    """
    settings = Settings(
        home=home,
        state_url=None,
        mlflow_uri=None,
        online_store="sqlite",
        replay_from=None,
        decision_days=_KEEP_DAYS,
    )
    folder = settings.paths.secrets
    folder.mkdir(parents=True, mode=0o700)
    for name in ("pseudonym", "claims"):
        digest = hashlib.sha256(f"simulated:{seed}:{name}".encode()).digest()
        write_atomic(folder / name, base64.b64encode(digest).decode() + "\n", mode=0o600)
    return settings


def _nobody(_campaign: str, _left: float) -> None:
    """Hears what campaigns have left."""


def write_tables(folder: Path, tables: Mapping[str, pl.DataFrame]) -> Path:
    """Write tables as a new folder that `facings ingest` takes."""
    folder.mkdir(parents=True)
    for table, frame in tables.items():
        if frame.height:
            frame.write_parquet(folder / f"{table}.parquet")
    return folder


class Served(Protocol):
    """What a closed loop needs of a product, in this process or over HTTP.

    Attributes:
        view: what is served now. key: of the home's pseudonyms.
    """

    @property
    def view(self) -> View:
        """What is served now."""
        ...

    @property
    def key(self) -> bytes:
        """Of the home's pseudonyms."""
        ...

    def learn(self, name: str, tables: Mapping[str, pl.DataFrame], *, train: bool) -> RetrainResult | None:
        """Take the tables of a day and the events that wait; where told, train, else what serves is scored anew."""
        ...

    def answer(self, ask: Ask, now: datetime, *, screen_id: str | None) -> Answered:
        """Decide and note the decision."""
        ...

    def take(self, events: Sequence[Mapping[str, Any]], now: datetime) -> int:
        """Take events; returns how many were new."""
        ...

    def close(self) -> None:
        """Let everything go."""
        ...


class Product:
    """One installation, without HTTP; `clock` is moved by who drives it.

    Args:
        settings: of a home that nobody else uses (`own_settings`).
        recipe: what is trained.
        clock: the town's.
        folder: where the tables of a day are written before they are ingested.
        progress: is told how far the jobs are.
    """

    def __init__(
        self, settings: Settings, recipe: str, clock: TownClock, folder: Path, progress: Callable[[str], None]
    ) -> None:
        self.settings, self._recipe, self._clock, self._folder = settings, recipe, clock, folder
        self._progress = progress
        self._view: View | None = None
        self._policy = load_policy(settings.policy)
        self.key = secret(settings.paths, "pseudonym")
        engine = open_engine(settings.state_uri)
        self._receiver = Receiver(
            engine,
            self.key,
            clock,
            skew_seconds=settings.clock_skew_seconds,
            known_stores=self._stores,
            arrived=lambda: None,
        )
        self._log = DecisionLog(
            open_decisions(settings.decisions_uri),
            self.key,
            clock=clock,
            keep_days=settings.decision_days,
            forgotten=lambda digests: tombstones_among(engine, digests),
            count=self._count,
        )
        self._pacer = Pacer(engine, clock, self._campaigns, redeem_hours=self._policy.redeem_hours, told=_nobody)
        self._beats = clock.now()
        self._lost = 0
        self._log.start()

    @property
    def view(self) -> View:
        """What is served now.

        Raises:
            FacingsError: nothing was ingested yet.
        """
        if self._view is None:
            raise FacingsError("Nothing was ingested into the loop's home yet.")
        return self._view

    def learn(self, name: str, tables: Mapping[str, pl.DataFrame], *, train: bool) -> RetrainResult | None:
        """Take the tables of a day and the events that wait; where told, train, else what serves is scored anew.

        Raises:
            FacingsError: a table cannot be taken, or the checks of the data stopped the training.
        """
        folder = write_tables(self._folder / name, tables)
        result = None
        if train:
            result = retrain(
                self.settings,
                (self._recipe,),
                folder=folder,
                accept_data=_WHY,
                clock=self._clock,
                progress=self._progress,
            )
        elif current(self.settings.paths, "slates") is None:
            take_in(self.settings, folder, clock=self._clock, progress=self._progress)
        else:
            rescore(self.settings, folder=folder, accept_data=_WHY, clock=self._clock, progress=self._progress)
        if self._view is not None:
            self._view.close()
        self._view = open_view(self.settings.paths)
        self._pacer.beat()
        return result

    def answer(self, ask: Ask, now: datetime, *, screen_id: str | None) -> Answered:
        """Decide as the server does, and note the decision."""
        self._clock.set(now)
        shopper = ask.shopper_id
        out = shopper is not None and in_holdout(pseudonym(shopper, self.key), self._policy.holdout)
        if now - self._beats >= _BEAT:  # the server's thread does it by the machine's time; here the town's counts
            self._beats = now
            self._pacer.beat()
        shadow = self._pacer.shadow()
        facts = facts_of(self.view.shop, shopper, now, self._policy, holdout=out, shadow=shadow)
        who = shopper or screen_id or ask.store_id or ""
        seed = seed_of(self.key, who, ask.placement, now, self._policy.seed_minutes)
        slate = decide(self.view, ask, now, facts=facts, policy=self._policy, seed=seed)
        recommendation_id = new_id(now)
        items = self._items(slate)
        self._log.note(Asked(recommendation_id, now, screen_id=screen_id), self.view, ask, slate, items)
        self._pacer.note(slate, now)
        depths = [chosen.terms.offer.discount or 0.0 if chosen.terms.offer else 0.0 for chosen in slate.items]
        return Answered(recommendation_id, list(zip(items, depths, strict=True)), slate.fallback)

    def take(self, events: Sequence[Mapping[str, Any]], now: datetime) -> int:
        """Take events as `POST /v1/events:batch` does; returns how many were new.

        Raises:
            FacingsError: one was rejected.
        """
        self._clock.set(now)
        accepted = 0
        for start in range(0, len(events), _BATCH):
            (taken,) = self._receiver.take([events[start : start + _BATCH]], now)
            accepted += taken.accepted
            if taken.rejected:
                raise FacingsError(
                    f"{len(taken.rejected)} of the town's events were rejected: {taken.rejected[0].reason}."
                )
        return accepted

    def close(self) -> None:
        """Write what waits, and let the files go.

        Raises:
            FacingsError: decisions were lost.
        """
        self._log.close()
        if self._view is not None:
            self._view.close()
            self._view = None
        if self._lost:
            raise FacingsError(f"{self._lost} decisions of the loop were not logged.")

    def _items(self, slate: Slate) -> list[str]:
        return [str(card["item_id"]) for card in self.view.shop.cards([chosen.place for chosen in slate.items])]

    def _campaigns(self) -> dict[str, Campaign]:
        return (
            {} if self._view is None else {name: Campaign(name, *row) for name, row in self._view.shop.budgets.items()}
        )

    def _stores(self) -> frozenset[str] | None:
        return None if self._view is None else frozenset(self._view.shop.stores)

    def _count(self, outcome: str, rows: int) -> None:
        if outcome in ("dropped", "failed"):
            self._lost += rows
