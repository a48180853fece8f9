"""Gathers the facts of a decision: what a shopper has and was shown, by the snapshot and the newest events together."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from weakref import ref

import numpy as np

from configs.policy import PolicySettings
from features.live import micros
from pipelines.offers.facts import NEVER_AGAIN, Facts
from pipelines.shop_shoppers import MINUTE, NEVER_MINUTE, hold_minutes
from pipelines.shop_snapshot import DURABLE, Shop
from pipelines.signals.live.recent import Recent
from state.blocked import Blocked, blocked_now, blocks_version
from state.engine import Engine

Held = dict[int, tuple[int, bool]]
_NOTHING_BLOCKED = Blocked(frozenset(), frozenset(), 0)
_NOTED = "places"


class Blocks:
    """What is blocked, as it stood in the database at most `seconds` ago; where that does not answer, what was known.

    Args:
        engine: of the state database.
        seconds: how long what was read is good for.
        failed: is told of an error.
    """

    def __init__(self, engine: Engine, seconds: float, failed: Callable[[Exception], None]) -> None:
        self._engine, self._seconds, self._failed = engine, seconds, failed
        self._blocked = _NOTHING_BLOCKED
        self._until = -1.0
        self._reading = threading.Lock()
        self._placed: tuple[Shop | None, int, tuple[int, ...], tuple[int, ...]] = (None, -1, (), ())

    def now(self) -> Blocked:
        """What is blocked."""
        if time.monotonic() < self._until or not self._reading.acquire(blocking=False):
            return self._blocked
        try:
            if blocks_version(self._engine) != self._blocked.version:
                self._blocked = blocked_now(self._engine)
        except Exception as error:  # the database is locked or away
            self._failed(error)
        finally:
            self._until = time.monotonic() + self._seconds
            self._reading.release()
        return self._blocked

    def places(self, shop: Shop) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Positions of blocked items and codes of blocked makers in a shop, sorted."""
        blocked = self.now()
        placed = self._placed
        if placed[0] is not shop or placed[1] != blocked.version:
            items = tuple(sorted(int(place) for place in shop.positions(list(blocked.items)) if place >= 0))
            makers = tuple(code for code, name in enumerate(shop.names["makers"]) if name in blocked.makers)
            self._placed = placed = (shop, blocked.version, items, makers)
        return placed[2], placed[3]


def facts_of(
    shop: Shop,
    shopper_id: str | None,
    now: datetime,
    policy: PolicySettings,
    *,
    recent: Recent | None = None,
    blocks: Blocks | None = None,
    quiet_until: int | None = None,
    shadow: Mapping[str, float] | None = None,
    holdout: bool = False,
    variants: Mapping[str, str] | None = None,
) -> Facts:
    """Gather what is true for this shopper at this moment.

    Args:
        shop: the shop's snapshot; it tells what the lake knows.
        shopper_id: for whom; None: nobody in particular, and then nothing of anybody is gathered.
        now: the moment.
        policy: how long what was bought is held back, and the caps' window.
        recent: what the newest events tell of them; None: nothing.
        blocks: what the trust part blocks; None: nothing.
        quiet_until, shadow, holdout, variants: as in `Facts`.
    """
    items, makers = ((), ()) if blocks is None else blocks.places(shop)
    moment = micros(now)
    quiet = quiet_until if quiet_until is not None and quiet_until > moment else None
    held: Held = {}
    shown: dict[int, int] = {}
    if shopper_id is not None and quiet is None:
        held, shown = _of_shopper(shop, shopper_id, now, policy, recent)
    return Facts(held, shown, quiet, items, makers, shadow or {}, holdout, variants or {})


def _of_shopper(
    shop: Shop, shopper_id: str, now: datetime, policy: PolicySettings, recent: Recent | None
) -> tuple[Held, dict[int, int]]:
    own, moment = shop.shoppers.own(shopper_id), micros(now)
    minute = moment // MINUTE
    held: Held = {
        place: (NEVER_AGAIN if until == NEVER_MINUTE else until * MINUTE, lasts)
        for place, until, lasts in own.held
        if until > minute
    }
    seen = set(own.shown)
    if recent is not None:
        bought, new = _placed(shop, recent, policy)
        for place, back, until, lasts in bought:
            if back:
                held.pop(place, None)
            elif until > moment and until > held.get(place, (0, False))[0]:
                held[place] = until, lasts
        seen |= new
    shown: dict[int, int] = {}
    if seen:
        since = micros(now - timedelta(days=policy.cap_days)) // MINUTE
        for place, at in seen:
            if at >= since:
                shown[place] = shown.get(place, 0) + 1
    return held, shown


def _placed(
    shop: Shop, recent: Recent, policy: PolicySettings
) -> tuple[list[tuple[int, bool, int, bool]], set[tuple[int, int]]]:
    """The newest events in terms of the shop, kept with them: (position, returned, until, lasts), and showings.

    The shop is held weakly: whoever is not asked for would else keep files that nobody serves any more.
    """
    kept = recent.noted.get(_NOTED)
    if kept is None or kept[0]() is not shop or kept[1] is not policy:
        kept = ref(shop), policy, _purchases(shop, recent, policy), _showings(shop, recent)
        recent.noted[_NOTED] = kept
    return kept[2], kept[3]


def _purchases(shop: Shop, recent: Recent, policy: PolicySettings) -> list[tuple[int, bool, int, bool]]:
    names = list(recent.bought)
    places = shop.positions(names)
    found = []
    for name, place in zip(names, places.tolist(), strict=True):
        if place < 0:
            continue
        last, back = recent.bought[name]
        durable = bool(shop.flags[place] & DURABLE)
        interval = float(shop.intervals[place])
        hold = int(hold_minutes(interval, durable, policy))
        until = NEVER_AGAIN if hold == NEVER_MINUTE else last + hold * MINUTE
        found.append((place, back >= last, until, durable or not np.isnan(interval)))
    return found


def _showings(shop: Shop, recent: Recent) -> set[tuple[int, int]]:
    names = sorted({name for _, name in recent.shown})
    places = dict(zip(names, shop.positions(names).tolist(), strict=True))
    return {(places[name], at) for at, name in recent.shown if places[name] >= 0}
