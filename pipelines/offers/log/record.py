"""A decision's record: what was asked, answered and read, small enough to keep for each, whole enough to decide again.

What a decision reads of the shop is kept by value, not as a reference to a snapshot: snapshots come and go with every
ingest, and a record of a month ago is still exact. The shopper's own candidates lie in the record itself; what many
decisions read alike (best-sellers of a store, with stock and flags) is kept once a day under the digest of its content.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from configs.errors import FacingsError
from pipelines.offers.decide import OWN, POLICY_VERSION, REQUESTED, Ask, Chosen, Looked, Slate
from pipelines.offers.view import View
from pipelines.packed import NOBODY, Ranked, pack, unpack
from pipelines.shop_offers import UNKNOWN_PRICE, Offer
from state.decisions import PartKey, Row, part_day

FORMAT = 1
_LENGTH = struct.Struct("<I")
_STOCKED, _NO_RULE = 1, 0
_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)  # exact, as no float is


@dataclass(frozen=True)
class Asked:
    """Around a decision: its id and moment, and what is told with it. `live`: candidates of the newest events."""

    recommendation_id: str
    now: datetime
    explain: bool = False
    screen_id: str | None = None
    live: bool = False


# ---------------------------------------------------------------------- writing


def record(
    asked: Asked,
    view: View,
    ask: Ask,
    slate: Slate,
    item_ids: Sequence[str],
    *,
    shopper: str | None,
    shared: Callable[[Looked, Callable[[], bytes]], PartKey],
) -> Row:
    """Make the row of a decision that was just made on `view`.

    Args:
        asked: its id and moment.
        view: what it read; still open.
        ask: what was asked.
        slate: what was decided.
        item_ids: of the slate's items.
        shopper: keyed hash of ask.shopper_id.
        shared: is given a level that others read alike and what makes its bytes; returns the key of its part.
    """
    blobs: list[bytes] = []
    levels: list[list[Any]] = []
    for looked in slate.looked:
        if looked.level in (OWN, REQUESTED):
            content = _level(view, looked.ranked, ask.store_id)
            blobs.append(content)
            levels.append([looked.level, len(content)])
        else:
            ranked = looked.ranked
            levels.append([looked.level, *shared(looked, lambda ranked=ranked: _level(view, ranked, ask.store_id))])  # type: ignore[misc]
    seen: dict[str, Any] = {
        "format": FORMAT,
        "levels": levels,
        "size": view.shop.size,
        "unsure": ask.unsure,
        "terms": [
            [one.place, one.base, list(one.offers)] if one.offers else [one.place, one.base] for one in slate.items
        ],
    }
    if ask.exclude:
        seen["exclude"] = [list(ask.exclude), view.shop.positions(list(ask.exclude)).tolist()]
    if ask.candidates is not None:
        seen["candidates"] = [list(ask.candidates), view.shop.positions(list(ask.candidates)).tolist()]
    if asked.explain:
        seen["explain"] = True
        seen["names"] = _names(view, slate)
    answer: dict[str, Any] = {
        "placement": ask.placement,
        "store_id": ask.store_id,
        "screen_id": asked.screen_id,
        "count": ask.count,
        "model_version": view.model_version,
        "policy_version": POLICY_VERSION,
        "shop": view.shop_id,
        "slates": view.slates_id,
        "items": [_told(item, one) for item, one in zip(item_ids, slate.items, strict=True)],
        "fallback": slate.fallback,
        "live": asked.live,
    }
    if asked.explain:
        answer["refused"] = slate.refused
    head = orjson.dumps(seen)
    return Row(
        asked.recommendation_id,
        (asked.now - _EPOCH) // _MICROSECOND,
        shopper,
        orjson.dumps(answer),
        b"".join([_LENGTH.pack(len(head)), head, *blobs]),
    )


def _told(item_id: str, one: Chosen) -> list[Any]:
    """An item as it was decided: id, score, reason, price and usual price before a discount, offer, discount."""
    offer = one.terms.offer
    return [
        item_id,
        one.score,
        one.reason,
        one.terms.price,
        one.terms.was,
        None if offer is None else offer.offer_id,
        None if offer is None else offer.discount,
    ]


def _names(view: View, slate: Slate) -> list[list[Any]]:
    """Ids of the places that an explanation may name."""
    places = np.unique(np.concatenate([np.zeros(0, np.int32), *(looked.ranked.items for looked in slate.looked)]))
    refused = set(slate.refused)
    cards = view.shop.cards(places.tolist())
    pairs = zip(places.tolist(), (card["item_id"] for card in cards), strict=True)
    return [[place, name] for place, name in pairs if name in refused]


def _level(view: View, ranked: Ranked, store_id: str | None) -> bytes:
    """Candidates with what the shop says of each: 8 bytes, one of flags, and one bit whether it is in stock."""
    stocked = view.shop.in_stock(store_id)
    if stocked is None:
        rule, held = _NO_RULE, b""
    else:
        at = np.minimum(np.searchsorted(stocked, ranked.items), max(0, len(stocked) - 1))
        hit = stocked[at] == ranked.items if len(stocked) else np.zeros(len(ranked), bool)
        rule, held = _STOCKED, np.packbits(hit).tobytes()
    return b"".join(
        [bytes([rule]), _LENGTH.pack(len(ranked)), pack(ranked), view.shop.flags[ranked.items].tobytes(), held]
    )


def part_of(content: bytes, now: datetime) -> PartKey:
    """The key under which a part is kept on the day of `now`."""
    return part_day(now), hashlib.blake2b(content, digest_size=16).hexdigest()


# ---------------------------------------------------------------------- reading


@dataclass(frozen=True)
class Record:
    """A decision, read again.

    Attributes:
        asked: its id and moment.
        ask: what was asked; the shopper by the keyed hash.
        answer: what was answered, as `record` told it.
        reads: what it saw, in the shape of a view.
        looked: the candidates, level by level.
        places: [position, usual price, offers if any] of the slate's items, in its order.
    """

    asked: Asked
    ask: Ask
    answer: dict[str, Any]
    reads: Recorded
    looked: tuple[Looked, ...]
    places: list[list[Any]]


def read_record(row: Row, fetch: Callable[[Sequence[PartKey]], Mapping[PartKey, bytes]]) -> Record:
    """Read a row; `fetch` returns parts by their keys.

    Raises:
        FacingsError: it was written by another version, or a part of it is gone.
    """
    (length,) = _LENGTH.unpack_from(row.seen)
    seen = orjson.loads(row.seen[4 : 4 + length])
    if seen["format"] != FORMAT:
        raise FacingsError("This decision was logged by another version of Facings, which can read it.")
    keys = [(level[1], level[2]) for level in seen["levels"] if len(level) == 3]
    parts = fetch(keys) if keys else {}
    if any(key not in parts for key in keys):
        raise FacingsError("A part of what this decision saw was not kept: the log could not be written at the time.")
    at = 4 + length
    looked, shop = [], RecordedShop(seen)
    for level in seen["levels"]:
        if len(level) == 3:
            content = parts[level[1], level[2]]
        else:
            content, at = row.seen[at : at + level[1]], at + level[1]
        looked.append(Looked(level[0], shop.take(level[0], content)))
    shop.seal()
    answer = orjson.loads(row.answer)
    asked = Asked(
        row.recommendation_id,
        _EPOCH + row.decided_at * _MICROSECOND,
        seen.get("explain", False),
        answer["screen_id"],
        answer["live"],
    )
    ask = Ask(
        answer["placement"],
        answer["store_id"],
        answer["count"],
        row.shopper,
        seen["unsure"],
        seen["exclude"][0] if "exclude" in seen else (),
        seen["candidates"][0] if "candidates" in seen else None,
    )
    own = next((one.ranked for one in looked if one.level == OWN), NOBODY)
    return Record(asked, ask, answer, Recorded(shop, answer["model_version"], own), tuple(looked), seen["terms"])


@dataclass(frozen=True)
class Recorded:
    """What a decision read, in the shape of a view (`pipelines.offers.view.Reads`)."""

    shop: RecordedShop
    model_version: str
    own: Ranked

    def candidates(self, shopper_id: str) -> Ranked:
        """The candidates that the one shopper of this decision had."""
        return self.own


class RecordedShop:
    """What a decision read of the shop; of everything else it says nothing."""

    def __init__(self, seen: Mapping[str, Any]) -> None:
        self.size = int(seen["size"])
        self.flags = np.zeros(self.size, np.uint8)
        self.prices = np.zeros(self.size, np.int64)
        self.costs = np.full(self.size, UNKNOWN_PRICE, np.int64)
        self.makers = self.brands = self.categories = np.full(self.size, -1, np.int32)
        self.names: dict[str, list[str]] = {"makers": [], "brands": [], "categories": []}
        self._offers: dict[int, list[Offer]] = {}
        for place, base, *offers in seen["terms"]:
            self.prices[place] = base
            self._offers[place] = [_offer(one) for one in (offers[0] if offers else [])]
        self._places = {
            name: place
            for key in ("exclude", "candidates")
            for name, place in zip(*seen.get(key, ([], [])), strict=True)
        }
        self._names = dict(seen.get("names", ()))
        self._popular: dict[str, Ranked] = {}
        self._held: list[npt.NDArray[np.int32]] = []
        self._stock: npt.NDArray[np.int32] | None = None

    def take(self, level: str, content: bytes) -> Ranked:
        """Take a level in, and return its candidates."""
        rule = content[0]
        (count,) = _LENGTH.unpack_from(content, 1)
        ranked = unpack(content[5 : 5 + 8 * count])
        self.flags[ranked.items] = np.frombuffer(content, np.uint8, count, 5 + 8 * count)
        if rule == _STOCKED:
            bits = np.unpackbits(np.frombuffer(content, np.uint8, -1, 5 + 9 * count), count=count)
            self._held.append(ranked.items[bits.astype(bool)])
        self._popular[level] = ranked
        return ranked

    def seal(self) -> None:
        """All levels are in."""
        if self._held:
            self._stock = np.unique(np.concatenate(self._held)).astype(np.int32)

    def positions(self, item_ids: list[str]) -> npt.NDArray[np.int32]:
        """Positions of the items that the request named."""
        return np.array([self._places[item] for item in item_ids], dtype=np.int32)

    def cards(self, positions: list[int]) -> list[dict[str, Any]]:
        """Ids of the places that an explanation named."""
        return [{"item_id": self._names[place]} for place in positions]

    def offers(self, position: int) -> list[Offer]:
        """Offers of an item that was shown."""
        return self._offers.get(position, [])

    def in_stock(self, store_id: str | None) -> npt.NDArray[np.int32] | None:
        """Of the items that were looked at, those in stock; None: the rule was off."""
        return self._stock

    def popular(self, level: str, store_id: str | None) -> Ranked:
        """Best-sellers of a level that was looked at."""
        return self._popular.get(level, NOBODY)


def _offer(row: dict[str, Any]) -> Offer:
    return Offer(**{**row, "stores": None if row["stores"] is None else tuple(row["stores"])})


def told(slate: Slate, item_ids: Sequence[str]) -> dict[str, Any]:
    """What a slate answers, in the shape and through the encoding in which records keep it."""
    items = [_told(item, one) for item, one in zip(item_ids, slate.items, strict=True)]
    answer: dict[str, Any] = orjson.loads(orjson.dumps({"items": items, "fallback": slate.fallback}))
    return answer
