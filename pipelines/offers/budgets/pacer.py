"""The pacer of one process: notes what answers commit, follows the money with all others, and hands out prices.

A request reads a dictionary and puts a slate into a queue; a thread does the rest. All processes write into one
database and read from it: what one commits or steps counts for all, and a process that was killed has lost the
commitments of its last second at most, never a sale.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import NamedTuple

import numpy as np

from configs.clock import Clock
from features.live import micros
from pipelines.offers.budgets.pacing import (
    BUCKET,
    DAY,
    EVEN,
    HOUR,
    Campaign,
    Committed,
    Price,
    account,
    shadow,
    step,
    used,
)
from pipelines.offers.decide import Looked, Slate
from pipelines.offers.running import running
from pipelines.offers.value.odds import chance
from pipelines.offers.view import ShopReads
from state import budgets
from state.engine import Engine

_LOG = logging.getLogger("facings.serving")
_BEAT_SECONDS = 0.5
_WAITING = 100_000  # slates that may wait to be noted
_WHOLE = 1_000  # with more of them the database is locked, and they wait without their candidates: these fill memory
_UNKNOWN_CHANCE = 0.05  # that a shown offer is redeemed where no odds tell; what is redeemed corrects it
_DUE = 8  # times the mean time to a sale: then a commitment is due but for one part in 3,000
_DAYS = 28  # of traffic that count as usual
_FEW = 500  # slates on earlier days: fewer say nothing of the hours
_HOUSEKEEPING = 600  # beats
_Commitment = tuple[str, float, float]


class _Offered(NamedTuple):
    """What of a slate takes money: (position, campaign, money given away, discount); and the lists that tell odds."""

    told: list[tuple[int, str, float, float]]
    looked: Sequence[Looked]


class Pacer:
    """Prices of campaigns' money.

    Args:
        engine: of the state database.
        clock: the moment of what is noted.
        campaigns: those with a budget, as the shop's snapshot has them now.
        redeem_hours: mean time from an offer shown to its sale.
        told: is given (campaign, money left) after each beat.
    """

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        campaigns: Callable[[], Mapping[str, Campaign]],
        *,
        redeem_hours: float,
        told: Callable[[str, float], None],
    ) -> None:
        self._engine, self._clock, self._campaigns = engine, clock, campaigns
        self._hours, self._told = redeem_hours, told
        self._shadow: dict[str, float] = {}
        self._slates: queue.SimpleQueue[tuple[int, _Offered | list[_Commitment]]] = queue.SimpleQueue()
        self._unwritten: tuple[dict[tuple[str, int], tuple[int, float, float]], dict[tuple[int, int], int]] = ({}, {})
        self._beats = 0
        self._profile: Sequence[float] = EVEN
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._work, name="pacer", daemon=True)

    def shadow(self) -> Mapping[str, float]:
        """The prices now; a campaign that is not there has none. The dictionary is never changed."""
        return self._shadow

    def note(self, slate: Slate, now: datetime) -> None:
        """Take down what a slate commits; returns at once."""
        waiting = self._slates.qsize()
        if waiting < _WAITING:
            offered = _offered(slate)  # not the slate: all that could be shown would stay in memory until it is noted
            self._slates.put((micros(now), offered if waiting < _WHOLE else _commitments(offered)))

    def start(self) -> None:
        """Read the prices, and begin to follow the money."""
        self._guarded()
        self._thread.start()

    def stop(self) -> None:
        """Write down what was noted, then end."""
        self._ends.set()
        if self._thread.is_alive():
            self._thread.join(10)

    def beat(self) -> None:
        """Write down what was noted, read what all processes did, and set the prices."""
        self._collect()
        if any(self._unwritten):
            budgets.add_commitments(self._engine, *self._unwritten)
            self._unwritten = {}, {}
        now = micros(self._clock.now())
        if self._beats % _HOUSEKEEPING == 0:
            budgets.fold_commitments(self._engine, now - int(_DUE * self._hours * HOUR))
            budgets.drop_traffic(self._engine, now // DAY - _DAYS)
            self._profile = self._usual(now)
        self._beats += 1
        campaigns = self._campaigns()
        if not campaigns:
            self._shadow = {}
            return
        spent, committed = budgets.spent(self._engine), budgets.commitments(self._engine)
        known = {name: Price(**row) for name, row in budgets.prices(self._engine).items()}
        fresh = {}
        for name, campaign in campaigns.items():
            before, money = known.get(name, Price()), spent.get(name, 0)
            shown = (Committed(*row) for row in committed.get(name, ()))
            held = account(money, shown, now, self._hours, before=before.before if before.at else money)
            price = step(campaign, before, held, self._profile, now)
            if price != before and not budgets.move_price(self._engine, name, before.at, asdict(price)):
                price = before  # another process stepped: its price is there at the next beat
            cost = shadow(campaign, price, held)
            if cost > 0:
                fresh[name] = cost
            self._told(name, campaign.budget - used(campaign, held))
        self._shadow = fresh

    def _collect(self) -> None:
        rows, slates = self._unwritten
        while True:
            try:
                at, slate = self._slates.get_nowait()
            except queue.Empty:
                return
            hour = at // DAY, at % DAY // HOUR
            slates[hour] = slates.get(hour, 0) + 1
            for campaign, money, variance in _commitments(slate) if isinstance(slate, _Offered) else slate:
                key = campaign, at // BUCKET * BUCKET
                held = rows.get(key, (0, 0.0, 0.0))
                rows[key] = held[0] + 1, held[1] + money, held[2] + variance

    def _usual(self, now: int) -> Sequence[float]:
        today = now // DAY
        counts = budgets.traffic(self._engine, today - _DAYS, today)
        if sum(counts.values()) < _FEW:
            return EVEN
        return tuple(float(counts.get(hour, 0)) for hour in range(24))

    def _work(self) -> None:
        while not self._ends.wait(_BEAT_SECONDS):
            self._guarded()
        self._guarded()

    def _guarded(self) -> None:
        try:
            self.beat()
        except Exception as error:  # the database is away: the last prices hold, and nothing noted is lost
            _LOG.error("Budgets cannot be followed now (%s); the last prices hold.", type(error).__name__)


def commitments_of(slate: Slate) -> list[_Commitment]:
    """What a slate's offers may take: (campaign, expected money, variance), minor units."""
    return _commitments(_offered(slate))


def _offered(slate: Slate) -> _Offered:
    told: list[tuple[int, str, float, float]] = []
    for place, _, _, (offer, price, was), _ in slate.items:
        if offer is None or offer.campaign_id is None or was is None or price is None:
            continue
        if was > price:
            told.append((place, offer.campaign_id, float(was - price), offer.discount or 0.0))
    return _Offered(told, slate.looked if told else ())


def _commitments(offered: _Offered) -> list[_Commitment]:
    told = offered.told
    if not told:
        return []
    likely = _chances(offered.looked, [one[0] for one in told], [one[3] for one in told])
    return [
        (campaign, chance * money, chance * (1 - chance) * money * money)
        for (_, campaign, money, _), chance in zip(told, likely, strict=True)
    ]


def spent_offers(shop: ShopReads, slate: Slate, store_id: str | None, now: datetime) -> list[tuple[int, str]]:
    """Running offers of what is on a slate that were refused as their campaign's money is spent: (place, offer)."""
    spent = {name for name, price in slate.facts.shadow.items() if price == np.inf}
    if not spent or not slate.items:
        return []
    places = np.array([chosen.place for chosen in slate.items], np.int32)
    found = []
    for at, row in zip(*running(shop.offers, places, now, store_id), strict=True):
        offer = shop.offers.offer(int(row))
        if offer.campaign_id in spent:
            found.append((int(places[at]), offer.offer_id))
    return found


def _chances(lists: Sequence[Looked], places: list[int], discounts: list[float]) -> list[float]:
    """That each is redeemed, by the first list that tells its odds."""
    wanted, depth = np.array(places, np.int32)[:, None], np.array(discounts)
    found = np.full(len(places), np.nan)
    for looked in lists:
        if looked.ranked.odds is None or not len(looked.ranked):
            continue
        there = looked.ranked.items == wanted
        likely = chance(looked.ranked.odds[there.argmax(axis=1)], depth)
        found = np.where(there.any(axis=1) & (found != found), likely, found)
    likelihoods: list[float] = np.where(found == found, found, _UNKNOWN_CHANCE).tolist()
    return likelihoods
