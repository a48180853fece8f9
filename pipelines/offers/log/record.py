"""A decision's record: what was asked, answered and read, small enough to keep for each, whole enough to decide again.

What a decision reads is kept by value, not as a reference to a snapshot: snapshots come and go with every ingest, and a
record of a month ago is still exact. The shopper's own candidates and the facts of the moment lie in the record itself;
what many decisions read alike (the shop's arrays, a store's stock, best-sellers, the policy's settings) is kept once a
day under the digest of its content.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from pipelines.offers.decide import BEST_SELLERS, OWN, POLICY_VERSION, Ask, Chosen, Slate
from pipelines.offers.view import View
from pipelines.packed import pack
from state.decisions import PartKey, Row, part_day

FORMAT = 3
LENGTH = struct.Struct("<I")
EPOCH, MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)  # exact, as no float is
# The arrays of a shop as a decision reads them, in the order of its part, and their types.
ARRAYS = {
    "prices": "<i8",
    "costs": "<i8",
    "flags": "|u1",
    "makers": "<i4",
    "brands": "<i4",
    "categories": "<i4",
}
Shared = Callable[[tuple[Any, ...], Callable[[], bytes]], PartKey]
"""Is given what names a part within this process and what makes its bytes; returns the key under which it is kept."""


@dataclass(frozen=True)
class Asked:
    """Around a decision: its id and moment, and what is told with it.

    `live`: candidates of the newest events; `milliseconds`: how long it took, as far as it was known when noted.
    """

    recommendation_id: str
    now: datetime
    explain: bool = False
    screen_id: str | None = None
    live: bool = False
    milliseconds: float | None = None


def record(
    asked: Asked,
    view: View,
    ask: Ask,
    slate: Slate,
    item_ids: Sequence[str],
    *,
    named: Callable[[str], str],
    shared: Shared,
) -> Row:
    """Make the row of a decision that was just made on `view`.

    Args:
        asked: its id and moment.
        view: what it read; still open.
        ask: what was asked.
        slate: what was decided.
        item_ids: of the slate's items.
        named: makes a shopper's keyed hash.
        shared: keeps what others read alike.
    """
    shopper = None if ask.shopper_id is None else named(ask.shopper_id)
    people = [named(name) for name, _ in ask.shoppers]
    levels, own = _levels(view, ask, slate, shared)
    head = orjson.dumps(_seen(asked, view, ask, slate, levels, people, shared))
    return Row(
        asked.recommendation_id,
        (asked.now - EPOCH) // MICROSECOND,
        shopper,
        orjson.dumps(_answer(asked, view, ask, slate, item_ids)),
        b"".join([LENGTH.pack(len(head)), head, *own]),
        tuple(people),
    )


def _levels(view: View, ask: Ask, slate: Slate, shared: Shared) -> tuple[list[list[Any]], list[bytes]]:
    """Where each level's candidates are kept, and the bytes of the shopper's own."""
    levels, own = list[list[Any]](), list[bytes]()
    for looked in slate.looked:
        ranked = looked.ranked
        if looked.level == OWN:
            own.append(pack(ranked))
            levels.append([OWN, len(own[-1])])
        elif looked.level in BEST_SELLERS:  # of the other levels the shop's arrays tell the candidates
            name = (view.shop_id, view.slates_id, looked.level, ask.store_id)
            levels.append([looked.level, *shared(name, lambda ranked=ranked: pack(ranked))])  # type: ignore[misc]
    return levels, own


def _seen(
    asked: Asked,
    view: View,
    ask: Ask,
    slate: Slate,
    levels: list[list[Any]],
    people: list[str],
    shared: Shared,
) -> dict[str, Any]:
    """What the decision read; `people`: keyed hashes of those who may stand there."""
    shop = view.shop
    stocked = shop.stocked(ask.store_id)
    seen: dict[str, Any] = {
        "format": FORMAT,
        "levels": levels,
        "shop": shared((view.shop_id,), lambda: _shop(view)),
        "policy": shared((slate.policy,), lambda: slate.policy.model_dump_json().encode()),
        "seed": slate.seed,
        "facts": slate.facts.told(),
        "unsure": ask.unsure,
        "places": [one.place for one in slate.items],
    }
    if stocked is not None:
        seen["stock"] = shared((view.shop_id, "stock", ask.store_id), lambda: _stock(stocked))
    unwanted = shop.excluded(ask.store_id)
    if unwanted is not None:
        seen["unwanted"] = [codes.tolist() for codes in unwanted]
    if ask.exclude:
        seen["exclude"] = [list(ask.exclude), shop.positions(list(ask.exclude)).tolist()]
    if ask.candidates is not None:
        seen["candidates"] = [list(ask.candidates), shop.positions(list(ask.candidates)).tolist()]
    if ask.categories:
        seen["categories"] = list(ask.categories)
    if people:
        seen["people"] = [[name, chance] for name, (_, chance) in zip(people, ask.shoppers, strict=True)]
    if asked.explain:
        seen["explain"] = True
        seen["names"] = _names(view, slate)
    return seen


def _answer(asked: Asked, view: View, ask: Ask, slate: Slate, item_ids: Sequence[str]) -> dict[str, Any]:
    """What was answered, and by what."""
    answer: dict[str, Any] = {
        "placement": ask.placement,
        "store_id": ask.store_id,
        "screen_id": asked.screen_id,
        "count": ask.count,
        "model_version": view.model_version,
        "policy_version": POLICY_VERSION,
        "shop": view.shop_id,
        "slates": view.slates_id,
        "items": [tell(item, one) for item, one in zip(item_ids, slate.items, strict=True)],
        "fallback": slate.fallback,
        "live": asked.live,
        "milliseconds": asked.milliseconds,
    }
    if asked.explain:
        answer["refused"] = slate.refused
    return answer


def tell(item_id: str, one: Chosen) -> list[Any]:
    """An item as it was decided: id, score, reason, price, price before a discount, offer, discount, propensity."""
    offer = one.terms.offer
    return [
        item_id,
        one.score,
        one.reason,
        one.terms.price,
        one.terms.was,
        None if offer is None else offer.offer_id,
        None if offer is None else offer.discount,
        one.propensity,
    ]


def told(slate: Slate, item_ids: Sequence[str]) -> dict[str, Any]:
    """What a slate answers, in the shape and through the encoding in which records keep it."""
    items = [tell(item, one) for item, one in zip(item_ids, slate.items, strict=True)]
    answer: dict[str, Any] = orjson.loads(orjson.dumps({"items": items, "fallback": slate.fallback}))
    return answer


def part_of(content: bytes, now: datetime) -> PartKey:
    """The key under which a part is kept on the day of `now`."""
    return part_day(now), hashlib.blake2b(content, digest_size=16).hexdigest()


def _shop(view: View) -> bytes:
    """The shop's arrays: a head in JSON with the items' ids, ARRAYS, when makers joined, the rows of the offers."""
    shop = view.shop
    ids = orjson.Fragment(shop.item_ids())
    head = orjson.dumps({"size": shop.size, "items": ids, "names": shop.names, "offers": list(shop.offers.names)})
    arrays = [np.ascontiguousarray(getattr(shop, name), kind).tobytes() for name, kind in ARRAYS.items()]
    joined = np.ascontiguousarray(shop.joined, "<i8").tobytes()
    return b"".join([LENGTH.pack(len(head)), head, *arrays, joined, shop.offers.rows.tobytes()])


def _stock(stocked: npt.NDArray[np.bool_]) -> bytes:
    """What a store has, one bit for each item of the shop."""
    return LENGTH.pack(len(stocked)) + np.packbits(stocked).tobytes()


def _names(view: View, slate: Slate) -> list[list[Any]]:
    """Ids of the places that an explanation may name."""
    places = np.unique(np.concatenate([np.zeros(0, np.int32), *(looked.ranked.items for looked in slate.looked)]))
    refused = set(slate.refused)
    cards = view.shop.cards(places.tolist())
    pairs = zip(places.tolist(), (card["item_id"] for card in cards), strict=True)
    return [[place, name] for place, name in pairs if name in refused]
