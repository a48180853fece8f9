"""One recommendation, told: what was shown, why, what the decision saw, whether it replays, and what it led to."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from typing import Any

from configs.errors import FacingsError
from configs.settings import Settings
from pipelines import snapshot
from pipelines.offers.log.record import Record
from pipelines.offers.log.replay import find_record, replay
from pipelines.packed import REASONS
from pipelines.shop_snapshot import Shop
from pipelines.signals.attribution import TOUCHES, attribution
from pipelines.signals.lake import Lake
from state.decisions import open_decisions
from state.engine import open_engine
from state.events import waiting_events

_BEST = 10
_ITEM = ("item_id", "score", "reason", "price", "was", "offer_id", "discount")
_LED = (*(f"{kind}_time" for kind in (*TOUCHES, "purchase")), "quantity", "returned", "revenue")


def explain(settings: Settings, recommendation_id: str) -> dict[str, Any]:
    """Tell of a recommendation; the shopper is not named, as the log does not know who it is.

    Returns:
        JSON values: the head of the decision, `items` (each with what was shown, in minor units, and what it led to),
        `saw` (the candidates level by level), `replay` ({agrees, why}).

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
    return {
        "recommendation_id": recommendation_id,
        "decided_at": at,
        **{key: record.answer[key] for key in head},
        "personal": record.ask.shopper_id is not None,
        "excluded": list(record.ask.exclude),
        "asked_for": None if record.ask.candidates is None else list(record.ask.candidates),
        "items": items,
        "saw": _saw(settings, record),
        "replay": {"agrees": again.agrees, "why": again.why},
    }


def _saw(settings: Settings, record: Record) -> list[dict[str, Any]]:
    """Each level's number of candidates, and its best by name where the shop's snapshot is still there."""
    places = [one.ranked.items[:_BEST].tolist() for one in record.looked]
    names = _names(settings, record, sorted({place for several in places for place in several}))
    return [
        {
            "level": one.level,
            "candidates": len(one.ranked),
            "best": [
                {"item_id": names.get(place), "score": float(score), "reason": str(REASONS[reason])}
                for place, score, reason in zip(best, one.ranked.scores, one.ranked.reasons, strict=False)
            ],
        }
        for one, best in zip(record.looked, places, strict=True)
    ]


def _names(settings: Settings, record: Record, places: list[int]) -> dict[int, str]:
    names = {place: item[0] for (place, *_), item in zip(record.places, record.answer["items"], strict=True)}
    try:
        meta = snapshot.check(settings.paths, "shop", record.answer["shop"])
        with closing(Shop(settings.paths.snapshots / "shop" / record.answer["shop"], meta)) as shop:
            cards = shop.cards(places)
    except (FacingsError, OSError):
        return names  # the snapshot is gone: what was shown has its names in the record
    return {place: str(card["item_id"]) for place, card in zip(places, cards, strict=True)}
