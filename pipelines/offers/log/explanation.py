"""One recommendation, told: what was shown, why, what could have been, whether it replays, and what it led to."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from datetime import timedelta
from typing import Any

import numpy as np

from configs.errors import FacingsError
from configs.settings import Settings
from pipelines import snapshot
from pipelines.offers.decide import Slate
from pipelines.offers.log.recorded import Record
from pipelines.offers.log.replay import decide_again, find_record, replay
from pipelines.packed import REASONS
from pipelines.shop_snapshot import Shop
from pipelines.signals.behaviour.attribution import TOUCHES, attribution
from pipelines.signals.lake.lake import Lake
from state.decisions import open_decisions
from state.engine import open_engine
from state.events import waiting_events

_ITEM = ("item_id", "score", "reason", "price", "was", "offer_id", "discount", "propensity")
_LED = (*(f"{kind}_time" for kind in (*TOUCHES, "purchase")), "quantity", "returned", "revenue")


def explain(settings: Settings, recommendation_id: str) -> dict[str, Any]:
    """Tell of a recommendation; the shopper is not named, as the log does not know who it is.

    Returns:
        JSON values: the head of the decision, `items` (each with what was shown, in minor units, and what it led to),
        `saw` (how many candidates came from each level), `could` (all that could be shown, the best first, with what
        each option is worth), `slots` (for each item the propensity of each of `could` to stand there; they sum to
        one), `refused` ({item_id, codes}), `replay` ({agrees, why}). Where the decision cannot be made again by this
        version, `could`, `slots` and `refused` are null.

    Raises:
        FacingsError: there is no such decision in the log.
    """
    engine = open_decisions(settings.decisions_uri)
    record = find_record(engine, recommendation_id)
    at = record.asked.now
    found = attribution(
        settings,
        engine,
        Lake(settings.paths),
        at.replace(microsecond=at.microsecond // 1000 * 1000),  # ids tell milliseconds
        at + timedelta(microseconds=1),
        more=waiting_events(open_engine(settings.state_uri)),
    )
    led = {row["item_id"]: row for row in found.to_dicts() if row["recommendation_id"] == recommendation_id}
    items = [
        {"rank": rank, **dict(zip(_ITEM, item, strict=True)), "led_to": {key: led[item[0]][key] for key in _LED}}
        for rank, item in enumerate(record.answer["items"], start=1)
    ]
    again = replay(record)
    head = ("placement", "store_id", "screen_id", "count", "model_version", "policy_version", "fallback", "live")
    told = {
        "recommendation_id": recommendation_id,
        "decided_at": at,
        **{key: record.answer[key] for key in head},
        "personal": record.ask.shopper_id is not None,
        "excluded": list(record.ask.exclude),
        "asked_for": None if record.ask.candidates is None else list(record.ask.candidates),
        "categories": list(record.ask.categories),
        "seed": record.seed,
        "policy": record.policy.model_dump(),
        "facts": record.facts.told(),
        "items": items,
        "replay": {"agrees": again.agrees, "why": again.why},
    }
    if again.agrees is None:
        return {**told, "saw": [], "could": None, "slots": None, "refused": None}
    slate = decide_again(record, explain=True)
    names = _names(settings, record, slate)
    return {
        **told,
        "saw": [{"level": one.level, "candidates": len(one.ranked)} for one in slate.looked],
        "could": _could(record, slate, names),
        "slots": _slots(slate, names),
        "refused": _refused(slate, names),
    }


def _could(record: Record, slate: Slate, names: dict[int, str]) -> list[dict[str, Any]]:
    """Every candidate, with each option's worth in minor units; null where nobody can say."""
    pool, options = slate.pool, slate.pool.options
    offers: dict[int, list[dict[str, Any]]] = {}
    for at, row, worth in zip(options.at.tolist(), options.rows.tolist(), options.worths.tolist(), strict=True):
        offer = record.reads.shop.offers.offer(row)
        offers.setdefault(at, []).append(
            {"offer_id": offer.offer_id, "discount": offer.discount, "worth": _number(worth)}
        )
    return [
        {
            "item_id": names.get(place),
            "level": pool.names[level],
            "score": score,
            "reason": str(REASONS[reason]),
            "worth": _number(worth),
            "without_offer": _number(plain),
            "offers": offers.get(at, []),
        }
        for at, (place, level, score, reason, worth, plain) in enumerate(
            zip(
                pool.places.tolist(),
                pool.levels.tolist(),
                pool.scores.tolist(),
                pool.reasons.tolist(),
                options.worth.tolist(),
                options.plain.tolist(),
                strict=True,
            )
        )
    ]


def _slots(slate: Slate, names: dict[int, str]) -> list[dict[str, Any]]:
    places = slate.pool.places
    return [
        {
            "rank": rank,
            "item_id": names.get(int(places[slot.at])),
            "best": names.get(int(places[slot.best])),
            "could": int(np.count_nonzero(slot.open)),
            "propensities": slot.propensities().tolist(),
        }
        for rank, slot in enumerate(slate.slots, start=1)
    ]


def _refused(slate: Slate, names: dict[int, str]) -> list[dict[str, Any]]:
    told = ((int(item[1:]), item, codes) for item, codes in slate.refused.items() if item.startswith("#"))
    named = ((item, codes) for item, codes in slate.refused.items() if not item.startswith("#"))
    found = [(names.get(place, item), codes) for place, item, codes in told]
    return [{"item_id": item, "codes": [str(code) for code in codes]} for item, codes in (*named, *found)]


def _number(value: float) -> float | None:
    return value if value == value else None


def _names(settings: Settings, record: Record, slate: Slate) -> dict[int, str]:
    """Ids of what the decision read, where the shop's snapshot is still there; of what was shown in any case."""
    names = {place: str(item[0]) for place, item in zip(record.places, record.answer["items"], strict=True)}
    places = sorted({place for one in slate.looked for place in one.ranked.items.tolist()})
    try:
        meta = snapshot.check(settings.paths, "shop", record.answer["shop"])
        with closing(Shop(settings.paths.snapshots / "shop" / record.answer["shop"], meta)) as shop:
            cards: Iterable[dict[str, Any]] = shop.cards(places)
    except (FacingsError, OSError):
        return names
    return {place: str(card["item_id"]) for place, card in zip(places, cards, strict=True)}
