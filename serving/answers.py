"""From a decision to the JSON of an answer: titles, prices in minor units, claims, and what was decided by what."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from prometheus_client import Counter

from configs.clock import Clock
from configs.settings import Settings
from pipelines.offers.budgets.pacer import Pacer, spent_offers
from pipelines.offers.budgets.pacing import OfferRefusal
from pipelines.offers.claims import Claim, Claims
from pipelines.offers.decide import POLICY_VERSION, Ask, Chosen, Slate
from pipelines.offers.explore import seed_of
from pipelines.offers.log.decision_log import DecisionLog
from pipelines.offers.log.record import Asked
from pipelines.offers.memory import Memory
from pipelines.offers.steps import Result, Steps, finished, step
from pipelines.offers.view import View
from pipelines.shop_offers import UNKNOWN_PRICE
from serving.live import Live
from serving.metrics import RECOMMENDATIONS, SECONDS
from serving.moment import Moment
from state.decisions import new_id

Answer = dict[str, Any]


class Watch:
    """Counts the time that one question takes, not that of others in the pauses between its steps."""

    def __init__(self) -> None:
        self._started, self._before = time.perf_counter(), 0.0

    def seconds(self) -> float:
        """So far."""
        return self._before + time.perf_counter() - self._started

    def pause(self) -> Steps[None]:
        """Let others go on."""
        self._before = self.seconds()
        yield
        self._started = time.perf_counter()

    def beside(self, steps: Steps[Result]) -> Steps[Result]:
        """Do steps, and let others go on between them."""
        while (ended := step(steps)) is None:
            yield from self.pause()
        return ended.result


@dataclass(frozen=True)
class Answering:
    """What every answer needs.

    Attributes:
        settings, clock, claims: as configured.
        public_url: what QR codes carry, without a slash at the end.
        local_only: that address is of use on this machine alone.
        live: what shoppers do now.
        moment: what else is true now.
        log: takes every decision down.
        pacer: takes down what every decision commits of campaigns' money.
        key: of the draws.
        memory: decides, or knows what was decided.
    """

    settings: Settings
    clock: Clock
    claims: Claims
    public_url: str
    local_only: bool
    live: Live
    moment: Moment
    log: DecisionLog
    pacer: Pacer
    key: bytes
    memory: Memory = field(default_factory=Memory)

    def recommend(
        self, view: View, ask: Ask, *, explain: bool = False, for_page: bool = False, screen_id: str | None = None
    ) -> Answer:
        """Decide and describe a slate: the answer of `POST /v1/placements/{placement}:recommend`.

        With `for_page`, items also have what a page draws: brand, category, and whether they are in stock (true, or
        null where no stock table says so).
        """
        return finished(self.recommending(view, ask, explain=explain, for_page=for_page, screen_id=screen_id))

    def recommending(
        self, view: View, ask: Ask, *, explain: bool = False, for_page: bool = False, screen_id: str | None = None
    ) -> Steps[Answer]:
        """As `recommend`, in steps."""
        watch = Watch()
        now = self.clock.now()
        forgotten = self.live.forgotten  # before anything is read of anybody
        live = self.live.candidates(view, ask.shopper_id)
        if ask.shoppers:
            ask = replace(ask, shoppers=self.moment.personal(ask.shoppers), unsure=True)
        facts = self.moment.facts(view, ask.shopper_id, screen_id, now, possible=[who for who, _ in ask.shoppers])
        quiet = facts.quiet_until is not None
        if quiet or facts.holdout:
            live = None
        who = ask.shopper_id or screen_id or ask.store_id or ""
        policy = self.moment.policy(facts)
        seed = seed_of(self.key, who, ask.placement, now, policy.seed_minutes)
        yield from watch.pause()
        # Once more, with nothing done: questions that came in meanwhile catch up, and more go on together. Without it
        # the benchmark of the load answers a tenth fewer.
        yield from watch.pause()
        slate = yield from watch.beside(
            self.memory.deciding(
                view,
                ask,
                now,
                facts=facts,
                policy=policy,
                seed=seed,
                explain=explain,
                live=live,
                forgotten=forgotten,
            )
        )
        yield from watch.pause()
        named = None if quiet else ask.shopper_id  # who is greeted as another may take no list of theirs along
        answer = self._described(view, ask, slate, named, now, live=live is not None, for_page=for_page)
        item_ids = [item["item_id"] for item in answer["items"]]
        yield from watch.pause()
        asked = Asked(
            answer["recommendation_id"], now, explain, screen_id, live is not None, round(watch.seconds() * 1000, 3)
        )
        self.log.note(asked, view, ask, slate, item_ids)
        self.pacer.note(slate, now)  # in one step with the record: whoever gives up the question leaves both or neither
        yield from watch.pause()
        if explain:
            answer["refused"] = [{"item_id": item, "codes": codes} for item, codes in slate.refused.items()]
            names = {chosen.place: item for chosen, item in zip(slate.items, item_ids, strict=True)}
            answer["refused_offers"] = [
                {"item_id": names[place], "offer_id": offer, "codes": [OfferRefusal.BUDGET_SPENT]}
                for place, offer in spent_offers(view.shop, slate, ask.store_id, now)
            ]
        seconds = watch.seconds()
        answer["took_ms"] = round(seconds * 1000, 3)
        SECONDS.observe(seconds)
        _counted(ask.placement, slate.fallback).inc()
        return answer

    def _described(
        self, view: View, ask: Ask, slate: Slate, named: str | None, now: datetime, *, live: bool, for_page: bool
    ) -> Answer:
        """A slate as an answer tells it; `named` is whose list its links take along."""
        recommendation_id = new_id(now)
        expires = now + timedelta(minutes=self.settings.claim_minutes)
        stocked = view.shop.stocked(ask.store_id) is not None
        places = [chosen.place for chosen in slate.items]
        cards, costs = view.shop.cards(places), view.shop.costs[places].tolist()
        claim = Claim(recommendation_id, named, ask.store_id, None, expires)
        links = self.links(claim, [card["item_id"] for card in cards])
        items = list(map(_item, range(1, len(places) + 1), slate.items, cards, links, costs))
        if for_page:
            for item, card in zip(items, cards, strict=True):
                item |= {"brand": card["brand"], "category": card["category"], "in_stock": stocked or None}
        return {
            "recommendation_id": recommendation_id,
            "model_version": view.model_version,
            "policy_version": POLICY_VERSION,
            "fallback": slate.fallback,
            "live": live,
            "placement": ask.placement,
            "store_id": ask.store_id,
            "stock_rule": "on" if stocked else "off",
            "items": items,
        }

    def link(self, claim: Claim) -> str:
        """The address that a QR code carries."""
        return self.links(claim, [claim.item_id])[0]

    def links(self, claim: Claim, item_ids: Sequence[str | None]) -> list[str]:
        """The addresses of several items of one slate."""
        prefix = f"{self.public_url}/c/"
        return [prefix + token for token in self.claims.seal_items(claim, item_ids)]


@cache
def _counted(placement: str, fallback: str | None) -> Counter:
    """The counter of such answers."""
    return RECOMMENDATIONS.labels(placement, (fallback or "none").partition(":")[0])


def _item(rank: int, chosen: Chosen, card: Mapping[str, Any], claim_url: str, cost: int) -> dict[str, Any]:
    running, price, was = chosen.terms
    ends = None if running is None else running.ends
    return {
        "item_id": card["item_id"],
        "rank": rank,
        "score": round(chosen.score, 6),
        "reason": chosen.reason,
        "propensity": round(chosen.propensity, 12),
        "offer": {
            "offer_id": None if running is None else running.offer_id,
            "price": price,
            "was": was,
            "discount": 0.0 if running is None else running.discount,
            "ends": None if ends is None else datetime.fromtimestamp(ends / 1e6, UTC).isoformat(),
            "currency": card["currency"],
        },
        "title": card["title"],
        "image_url": card["image_url"],
        "claim_url": claim_url,
        # what could not be applied, because nobody says what it needs
        "rules_off": ["margin"] if price is None or cost == UNKNOWN_PRICE else [],
    }
