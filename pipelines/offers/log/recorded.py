"""A record read again: what the decision saw, in the shape of a view, so that it can be decided again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from configs.errors import FacingsError
from configs.policy import PolicySettings
from pipelines.offers.decide import OWN, Ask
from pipelines.offers.facts import NOTHING, Facts, read_facts
from pipelines.offers.log.record import ARRAYS, EPOCH, FORMAT, LENGTH, MICROSECOND, Asked
from pipelines.packed import NOBODY, Ranked, unpack
from pipelines.shop_offers import ROW, Names, ShopOffers
from state.decisions import PartKey, Row

_MOST_PARTS = 256


@dataclass(frozen=True)
class Record:
    """A decision, read again.

    Attributes:
        asked: its id and moment.
        ask: what was asked; the shopper by the keyed hash.
        answer: what was answered, as `record` told it.
        reads: what it saw, in the shape of a view.
        facts, policy, seed: what it was told beside that.
        places: positions of the slate's items, in its order.
    """

    asked: Asked
    ask: Ask
    answer: dict[str, Any]
    reads: Recorded
    facts: Facts
    policy: PolicySettings
    seed: str
    places: list[int]


@dataclass(frozen=True, eq=False)
class ShopArrays:
    """The shop's arrays as its part holds them; read once for many records."""

    size: int
    items: list[str]
    names: dict[str, list[str]]
    arrays: dict[str, npt.NDArray[Any]]
    joined: npt.NDArray[np.int64]
    offers: ShopOffers


class Parts:
    """Parts that many records share, each read and decoded once."""

    def __init__(self, fetch: Callable[[Sequence[PartKey]], Mapping[PartKey, bytes]]) -> None:
        """Take what returns parts by their keys."""
        self._fetch = fetch
        self._held: dict[PartKey, Any] = {}

    def get(self, wanted: Mapping[PartKey, Callable[[bytes], Any]]) -> dict[PartKey, Any]:
        """Return these parts, decoded by the function given with each.

        Raises:
            FacingsError: one of them is gone.
        """
        missing = [key for key in wanted if key not in self._held]
        if missing:
            bodies = self._fetch(missing)
            if any(key not in bodies for key in missing):
                raise FacingsError(
                    "A part of what this decision saw was not kept: the log could not be written at the time."
                )
            if len(self._held) > _MOST_PARTS:
                self._held.clear()
                return self.get(wanted)
            self._held.update({key: wanted[key](bodies[key]) for key in missing})
        return {key: self._held[key] for key in wanted}


def read_record(row: Row, parts: Parts) -> Record:
    """Read a row.

    Raises:
        FacingsError: it was written by another version, or a part of it is gone.
    """
    (length,) = LENGTH.unpack_from(row.seen)
    seen = orjson.loads(row.seen[4 : 4 + length])
    if seen["format"] != FORMAT:
        raise FacingsError("This decision was logged by another version of Facings, which can read it.")
    shop_key, policy_key = _key(seen["shop"]), _key(seen["policy"])
    wanted: dict[PartKey, Callable[[bytes], Any]] = {shop_key: _arrays, policy_key: PolicySettings.model_validate_json}
    stock_key = _key(seen["stock"]) if "stock" in seen else None
    if stock_key is not None:
        wanted[stock_key] = _stocked
    lists = {level[0]: _key(level[1:]) for level in seen["levels"] if level[0] != OWN}
    wanted.update(dict.fromkeys(lists.values(), unpack))
    found = parts.get(wanted)
    people = seen.get("people", ())
    whose = [str(name) for name, _ in people] if people else [row.shopper or ""]
    own, at = {}, 4 + length
    for name, size in zip(whose, (level[1] for level in seen["levels"] if level[0] == OWN), strict=False):
        own[name] = unpack(row.seen[at : at + size])
        at += size
    shop = RecordedShop(found[shop_key], None if stock_key is None else found[stock_key], seen)
    answer = orjson.loads(row.answer)
    asked = Asked(
        row.recommendation_id,
        EPOCH + row.decided_at * MICROSECOND,
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
        seen.get("categories", ()),
        tuple((str(name), float(chance)) for name, chance in people),
    )
    popular = {level: found[key] for level, key in lists.items()}
    return Record(
        asked,
        ask,
        answer,
        Recorded(shop, answer["model_version"], own, popular),
        read_facts(seen["facts"]),
        found[policy_key],
        seen["seed"],
        seen["places"],
    )


def facts_of_row(row: Row) -> Facts:
    """What a decision was told beside its view, without reading its parts; none where another version wrote it."""
    (length,) = LENGTH.unpack_from(row.seen)
    seen = orjson.loads(row.seen[4 : 4 + length])
    return read_facts(seen["facts"]) if seen["format"] == FORMAT else NOTHING


@dataclass(frozen=True)
class Recorded:
    """What a decision read, in the shape of a view (`pipelines.offers.view.Reads`)."""

    shop: RecordedShop
    model_version: str
    own: Mapping[str, Ranked]
    lists: Mapping[str, Ranked]

    def candidates(self, shopper_id: str) -> Ranked:
        """The candidates that a shopper of this decision had, by the keyed hash."""
        return self.own.get(shopper_id, NOBODY)

    def popular(self, level: str, store_id: str | None) -> Ranked:
        """Best-sellers of a level that was looked at."""
        return self.lists.get(level, NOBODY)


class RecordedShop:
    """What a decision read of the shop; of everything else it says nothing."""

    def __init__(self, whole: ShopArrays, stock: npt.NDArray[np.bool_] | None, seen: Mapping[str, Any]) -> None:
        self.size, self.names, self.joined, self.offers = whole.size, whole.names, whole.joined, whole.offers
        self.items = whole.items
        self.prices, self.costs, self.flags = (whole.arrays[name] for name in ("prices", "costs", "flags"))
        self.makers, self.brands = whole.arrays["makers"], whole.arrays["brands"]
        self.categories = whole.arrays["categories"]
        self._stock = stock
        self._unwanted = [np.array(codes, np.int32) for codes in seen.get("unwanted", ())]
        self._places = {
            name: place
            for key in ("exclude", "candidates")
            for name, place in zip(*seen.get(key, ([], [])), strict=True)
        }
        self._ids = dict(seen.get("names", ()))

    def positions(self, item_ids: list[str]) -> npt.NDArray[np.int32]:
        """Positions of the items that the request named."""
        return np.array([self._places[item] for item in item_ids], dtype=np.int32)

    def cards(self, positions: list[int]) -> list[dict[str, Any]]:
        """Ids of the places that an explanation named; `#` and the position of any other."""
        return [{"item_id": self._ids.get(place, f"#{place}")} for place in positions]

    def in_stock(self, store_id: str | None) -> npt.NDArray[np.int32] | None:
        """What was in stock in the store of this decision; None: the rule was off."""
        return None if self._stock is None else np.flatnonzero(self._stock).astype(np.int32)

    def stocked(self, store_id: str | None) -> npt.NDArray[np.bool_] | None:
        """Of every item whether it was in stock there; None: the rule was off."""
        return self._stock

    def excluded(self, store_id: str | None) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]] | None:
        """Codes of the brands and categories that the store of this decision did not want shown."""
        return (self._unwanted[0], self._unwanted[1]) if self._unwanted else None


def _key(told: Sequence[Any]) -> PartKey:
    return int(told[0]), str(told[1])


def _stocked(content: bytes) -> npt.NDArray[np.bool_]:
    (size,) = LENGTH.unpack_from(content)
    return np.unpackbits(np.frombuffer(content, np.uint8, -1, LENGTH.size), count=size).astype(bool)


def _arrays(content: bytes) -> ShopArrays:
    (length,) = LENGTH.unpack_from(content)
    head = orjson.loads(content[4 : 4 + length])
    at, arrays = 4 + length, {}
    for name, kind in ARRAYS.items():
        arrays[name] = np.frombuffer(content, kind, head["size"], at)
        at += arrays[name].nbytes
    joined = np.frombuffer(content, "<i8", len(head["names"]["makers"]), at)
    rows = np.frombuffer(content[at + joined.nbytes :], ROW)
    return ShopArrays(
        head["size"], head["items"], head["names"], arrays, joined, ShopOffers(rows, Names(*head["offers"]))
    )
