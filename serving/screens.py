"""What each screen shows: nobody's slate, or one known shopper's while they stand there; told to its open streams.

Two known shoppers before one screen: nobody's slate, without what no recognised person is shown. A list of one would
tell the other what they buy.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import orjson

from features.live import micros
from pipelines.offers.claims import Claim
from pipelines.offers.decide import Ask
from pipelines.offers.eligibility import PLACEMENTS, PRIVATE, Placement
from serving.answers import Answering
from serving.current import CurrentView
from serving.moment import NO_RULES, Rules
from serving.page_routes import qr_svg

SLOTS = 6
# Nobody's slate is decided again after so long, or when an offer on it ends.
_IDLE_SECONDS = 60.0
_LOCAL_NOTE = "The code opens on this machine only."


@dataclass
class Word:
    """What a screen shows: an event's kind, its slate, its JSON, until when, and when the first offer on it ends.

    `live` tells what was known of the shopper (see `Live.version`), `rules` what was kept from being shown.
    """

    kind: str
    slate: dict[str, Any]
    body: bytes
    etag: str
    ends: datetime
    offers_end: datetime | None = None
    live: int | None = None
    rules: Rules = NO_RULES


@dataclass
class Screen:
    """One screen's state: who stands there until when, whether they are several, what it shows, and who listens."""

    present: dict[str, tuple[str, datetime]] = field(default_factory=dict)
    several: bool = False
    shopper: str | None = None
    personal: Word | None = None
    idle: Word | None = None
    view_version: int = -1
    number: int = 0
    listeners: set[asyncio.Event] = field(default_factory=set)
    timer: asyncio.TimerHandle | None = None


class Screens:
    """All screens of this server; used from one event loop."""

    def __init__(self, answering: Answering, current: CurrentView, greeting: Callable[[str], str | None]) -> None:
        """Take what decides, what it reads, and the greeting that a shopper chose, if any."""
        self._answering = answering
        self._current = current
        self._greeting = greeting
        self._screens: dict[str, Screen] = {}
        self.boot = secrets.token_hex(4)

    def screen(self, screen_id: str) -> Screen:
        """The state of a screen that the shop knows."""
        return self._screens.setdefault(screen_id, Screen())

    def seen(self, screen_id: str, track_id: str, shopper_id: str) -> datetime:
        """A known shopper stands before the screen; return until when that holds without another sighting."""
        screen = self.screen(screen_id)
        expires = self._answering.clock.now() + timedelta(seconds=self._answering.settings.sighting_seconds)
        screen.present[track_id] = (shopper_id, expires)
        self._settle(screen_id)
        return expires

    def left(self, screen_id: str, track_id: str) -> bool:
        """A tracked person left, or is not known any more; tell whether they were known here."""
        gone = self.screen(screen_id).present.pop(track_id, None) is not None
        self._settle(screen_id)
        return gone

    def tracks(self, screen_id: str) -> list[str]:
        """Tracks of those who are known to stand before a screen."""
        return list(self.screen(screen_id).present)

    def not_me(self, screen_id: str) -> datetime:
        """Somebody is greeted as another: let all go, recognise nobody for a while, and return until when."""
        try:
            return self._answering.moment.not_me(screen_id, self._answering.clock.now())
        finally:  # whether it could be written down or not
            self.screen(screen_id).present.clear()
            self._settle(screen_id)

    def quiet(self, screen_id: str) -> bool:
        """Whether nobody is recognised at this screen at present."""
        until = self._answering.moment.quiet_until(screen_id)
        return until is not None and micros(self._answering.clock.now()) < until

    def shown(self, screen_id: str, recommendation_id: str) -> tuple[str | None, list[str]]:
        """Whose the personal slate of this id is, if the screen has it now, and its items in order."""
        screen = self.screen(screen_id)
        if screen.personal is None or screen.personal.slate["recommendation_id"] != recommendation_id:
            return None, []
        return screen.shopper, [item["item_id"] for item in screen.personal.slate["items"]]

    def word(self, screen_id: str, *, personal: bool = True) -> Word:
        """What the screen shows now; nobody's slate where `personal` is false."""
        screen = self.screen(screen_id)
        now = self._answering.clock.now()
        if personal and screen.personal is not None and not self._holds(screen.personal):
            self._settle(screen_id)
        if screen.personal is not None and screen.personal.ends > now and personal:
            return screen.personal
        old = screen.idle is None or screen.view_version != self._current.version or screen.idle.ends <= now
        if screen.idle is None or old or not self._holds(screen.idle):
            screen.idle = self._word(screen_id, None, now + timedelta(seconds=_IDLE_SECONDS))
            screen.view_version = self._current.version
        return screen.idle

    def renew(self, gone: Callable[[set[str]], set[str]]) -> None:
        """The snapshots changed: decide every screen again, without the shoppers that `gone` returns."""
        shoppers = {shopper for screen in self._screens.values() for shopper, _ in screen.present.values()}
        lost = gone(shoppers) if shoppers else set()
        for screen_id, screen in self._screens.items():
            stays = screen_id in self._current.get().shop.screens
            screen.present = {track: entry for track, entry in screen.present.items() if stays and entry[0] not in lost}
            screen.personal = screen.shopper = None
            self._settle(screen_id)
            self._tell(screen)

    def wake(self) -> None:
        """Let every open stream look again at what there is to tell."""
        for screen in self._screens.values():
            for listener in screen.listeners:
                listener.set()

    def _settle(self, screen_id: str) -> None:
        """Bring the screen to what those present allow, tell the listeners, and come back when that ends."""
        screen = self.screen(screen_id)
        now = self._answering.clock.now()
        screen.present = {track: entry for track, entry in screen.present.items() if entry[1] > now}
        shoppers = {shopper for shopper, _ in screen.present.values()}
        if screen.timer is not None:
            screen.timer.cancel()
            screen.timer = None
        if screen.several != (len(shoppers) > 1):
            screen.several, screen.idle = len(shoppers) > 1, None
        if not shoppers and screen.shopper is None:
            return
        if len(shoppers) == 1:
            shopper, ends = shoppers.pop(), max(expires for _, expires in screen.present.values())
            screen.personal = self._prolonged(screen, shopper, ends, now) or self._word(screen_id, shopper, ends)
            screen.shopper, again = shopper, screen.personal.ends
        else:
            screen.shopper = screen.personal = None
            again = min((expires for _, expires in screen.present.values()), default=now)
        if again > now:
            wait = (again - now).total_seconds() + 0.01
            screen.timer = asyncio.get_running_loop().call_later(wait, self._settle, screen_id)
        self._tell(screen)

    def _prolonged(self, screen: Screen, shopper: str, ends: datetime, now: datetime) -> Word | None:
        """The slate on the screen for longer; None: it is another shopper's, they did something, or an offer ended."""
        word = screen.personal
        live = self._answering.live.version(self._current.get(), shopper)
        if word is not None and (live not in (None, word.live) or not self._holds(word)):
            return None
        if word is None or shopper != screen.shopper or (word.offers_end is not None and word.offers_end <= now):
            return None
        return self._dated(word.kind, word.slate, ends, word.offers_end, word.live, word.rules)

    def _holds(self, word: Word) -> bool:
        """Whether nothing was blocked and no campaign's money was spent since this was decided."""
        now = self._answering.moment.rules()
        return now.blocks == word.rules.blocks and now.spent <= word.rules.spent

    def _tell(self, screen: Screen) -> None:
        screen.number += 1
        for listener in screen.listeners:
            listener.set()

    def _word(self, screen_id: str, shopper: str | None, ends: datetime) -> Word:
        view = self._current.get()
        place = view.shop.screens[screen_id]
        told = place.get("placement")
        placement: Placement = told if told in PLACEMENTS and told != PRIVATE else "entrance"  # everybody sees a screen
        store = place["store_id"]
        live, rules = self._answering.live.version(view, shopper), self._answering.moment.rules()
        several = shopper is None and self.screen(screen_id).several
        ask = Ask(placement, store, SLOTS, shopper, several, categories=view.shop.categories_of(screen_id))
        slate = self._answering.recommend(view, ask, for_page=True, screen_id=screen_id)
        link = self._link(slate, shopper, store)
        slate |= {
            "screen_id": screen_id,
            "personal": shopper is not None,
            "shopper_greeting": None if shopper is None else self._greeting(shopper),
            "phone_url": link,
            "qr_svg": qr_svg(link),
            "phone_note": _LOCAL_NOTE if self._answering.local_only else None,
        }
        offers = [item["offer"]["ends"] for item in slate["items"] if item["offer"]["ends"]]
        first = min(map(datetime.fromisoformat, offers), default=None)
        return self._dated("idle" if shopper is None else "slate", slate, ends, first, live, rules)

    def _link(self, slate: dict[str, Any], shopper: str | None, store: str) -> str:
        ends = self._answering.clock.now() + timedelta(minutes=self._answering.settings.claim_minutes)
        return self._answering.link(Claim(slate["recommendation_id"], shopper, store, None, ends))

    def _dated(
        self,
        kind: str,
        slate: dict[str, Any],
        ends: datetime,
        offers_end: datetime | None,
        live: int | None,
        rules: Rules,
    ) -> Word:
        ends = ends if offers_end is None else min(ends, offers_end)
        dated = {**slate, "now": self._answering.clock.now().isoformat(), "expires_at": ends.isoformat()}
        etag = hashlib.sha256(f"{kind} {slate['recommendation_id']} {ends}".encode()).hexdigest()[:24]
        return Word(kind, dated, orjson.dumps(dated), f'"{etag}"', ends, offers_end, live, rules)
