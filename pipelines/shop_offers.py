"""The offers of a shop as one array: what a decision looks up for hundreds of candidates at once.

A row is an offer of one item, with the price that it makes there, exact in minor units. Rows lie by item, of one item
the deepest discount first, then by the offer's id.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from features.live import micros

UNKNOWN_PRICE = -1
# Times in microseconds since 1970 (UTC).
_ALWAYS, _NEVER = int(np.iinfo(np.int64).min), int(np.iinfo(np.int64).max)
_MOST_STORES, _MOST_READ = 2_000, 20_000
_EVERYWHERE = np.ones(1, bool)
ROW = np.dtype(
    [
        ("item", "<i4"),  # position in the shop
        ("discount", "<f8"),  # fraction; nan: an offer without one
        ("price", "<i8"),  # with the discount; UNKNOWN_PRICE where the usual one is not known
        ("floor", "<i8"),  # least price that it may make; -1: none
        ("starts", "<i8"),
        ("ends", "<i8"),
        ("campaign", "<i4"),  # position in `campaigns`; -1: none
        ("stores", "<i4"),  # position in `stores`; -1: all
        ("name", "<i4"),  # position in `offer_ids`
    ]
)


class Offer(NamedTuple):
    """An offer of one item; times in microseconds since 1970 (UTC), None: unbounded."""

    offer_id: str
    campaign_id: str | None
    discount: float | None
    floor: int | None
    stores: tuple[str, ...] | None
    starts: int | None
    ends: int | None

    def runs(self, now: datetime, store_id: str | None) -> bool:
        """Whether it runs in this store at this moment: starts ≤ now < ends."""
        moment = micros(now)
        in_time = (self.starts is None or self.starts <= moment) and (self.ends is None or moment < self.ends)
        return in_time and (self.stores is None or store_id in self.stores)


class _Now(NamedTuple):
    """Which rows run from `since` until before `until`, microseconds since 1970, in whatever stores."""

    since: int
    until: int
    turn: int
    holds: npt.NDArray[np.bool_]


class Names(NamedTuple):
    """What the codes in the rows stand for."""

    offer_ids: list[str]
    campaigns: list[str]
    stores: list[list[str]]


def discounted(price: int, discount: float) -> int:
    """`price` (minor units) less a fraction, half rounded up; decimal, so that .2 is exactly a fifth."""
    return int((price * (1 - Decimal(repr(discount)))).quantize(Decimal(1), ROUND_HALF_UP))


def pack_offers(rows: Iterable[Mapping[str, Any]], prices: npt.NDArray[np.int64]) -> tuple[npt.NDArray[Any], Names]:
    """Make the array and its names.

    Args:
        rows: in the order of the array, each with `place`, `offer_id`, `campaign_id`, `discount`, `floor` (minor
            units), `stores` (a list, None: all), `starts` and `ends` (microseconds); None: none of it.
        prices: usual prices of all items, minor units.
    """
    offer_ids: dict[str, int] = {}
    campaigns: dict[str, int] = {}
    stores: dict[tuple[str, ...], int] = {}
    packed = []
    for row in rows:
        base, discount, where = int(prices[row["place"]]), row["discount"], row["stores"]
        packed.append(
            (
                row["place"],
                np.nan if discount is None else discount,
                discounted(base, discount) if discount and base != UNKNOWN_PRICE else base,
                -1 if row["floor"] is None else row["floor"],
                _ALWAYS if row["starts"] is None else row["starts"],
                _NEVER if row["ends"] is None else row["ends"],
                -1 if row["campaign_id"] is None else campaigns.setdefault(row["campaign_id"], len(campaigns)),
                -1 if where is None else stores.setdefault(tuple(where), len(stores)),
                offer_ids.setdefault(row["offer_id"], len(offer_ids)),
            )
        )
    names = Names(list(offer_ids), list(campaigns), [list(where) for where in stores])
    return np.array(packed, ROW), names


class ShopOffers:
    """Looks up the offers of items.

    Attributes:
        rows: the array, of ROW.
        prices, campaign_codes, stores: three of its columns, each by itself: what lies together is read at once.
        depths: discounts, 0 where there is none.
        first: of each item its first row, and after the last one that has any twice how many rows there are.
        campaigns: ids that `campaign_codes` points to.
        names: what the codes stand for.
    """

    def __init__(self, rows: npt.NDArray[Any], names: Names) -> None:
        self.rows, self.names = rows, names
        self.campaigns = names.campaigns
        # As copies: a column of few rows would be the rows themselves, whose numbers do not lie on their boundaries.
        self.prices: npt.NDArray[np.int64] = np.array(rows["price"])
        self.campaign_codes: npt.NDArray[np.int32] = np.array(rows["campaign"])
        self.stores: npt.NDArray[np.int32] = np.array(rows["stores"])
        self.depths: npt.NDArray[np.float64] = np.nan_to_num(rows["discount"], nan=0.0)
        most = int(rows["item"].max(initial=-1)) + 1
        self.first: npt.NDArray[np.int64] = np.searchsorted(rows["item"], np.arange(most + 2))
        self._changes = np.unique(np.concatenate([rows["starts"], rows["ends"]]))
        self._now = _Now(_NEVER, _ALWAYS, 0, np.zeros(0, bool))
        self._read: dict[int, Offer] = {}
        self._where = [frozenset(where) for where in names.stores]
        self._named: dict[str | None, npt.NDArray[np.bool_]] = {}
        self._prices: tuple[Mapping[str, float], npt.NDArray[np.float64]] = ({}, np.zeros(len(names.campaigns) + 1))

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self.rows)

    def turn(self, now: datetime) -> int:
        """The moment as far as it counts: another number once an offer begins or ends."""
        return self._at(now).turn

    def holding(self, now: datetime) -> npt.NDArray[np.bool_]:
        """Of each row whether it runs somewhere at this moment (starts ≤ now < ends) and keeps its floor.

        An offer with a floor does not count where the price is unknown: nobody could say that it holds.
        """
        return self._at(now).holds

    def _at(self, now: datetime) -> _Now:
        """Which offers run somewhere at this moment; the same as long as none begins or ends."""
        moment, known = micros(now), self._now
        if not known.since <= moment < known.until:
            changes, rows = self._changes, self.rows
            turn = int(changes.searchsorted(moment, "right"))
            holds = (rows["starts"] <= moment) & (moment < rows["ends"])
            holds &= (rows["floor"] < 0) | ((self.prices != UNKNOWN_PRICE) & (self.prices >= rows["floor"]))
            since = int(changes[turn - 1]) if turn else _ALWAYS
            until = int(changes[turn]) if turn < len(changes) else _NEVER
            self._now = known = _Now(since, until, turn, holds)
        return known

    def here(self, store_id: str | None) -> npt.NDArray[np.bool_]:
        """Which lists of stores name this one, by their position; true at the end, for -1: all stores."""
        if not self._where:
            return _EVERYWHERE
        here = self._named.get(store_id)
        if here is None:
            if len(self._named) >= _MOST_STORES:  # where no stores were ingested, callers may name any
                self._named.clear()
            here = self._named[store_id] = np.array([store_id in where for where in self._where] + [True])
        return here

    def by_campaign(self, prices: Mapping[str, float]) -> npt.NDArray[np.float64]:
        """What is told of campaigns (0 of others), by their position; at the end 0 for no campaign.

        The last mapping is remembered by its identity: who wants other prices makes another one.
        """
        known, found = self._prices
        if known is not prices and (known or prices):
            found = np.array([prices.get(name, 0.0) for name in self.names.campaigns] + [0.0])
            self._prices = prices, found
        return found

    def offer(self, row: int) -> Offer:
        """One row, by its names."""
        found = self._read.get(row)
        if found is None:
            _, discount, _, floor, starts, ends, campaign, stores, name = self.rows[row].item()
            found = Offer(
                self.names.offer_ids[name],
                None if campaign < 0 else self.names.campaigns[campaign],
                None if discount != discount else discount,
                None if floor < 0 else floor,
                None if stores < 0 else tuple(self.names.stores[stores]),
                None if starts == _ALWAYS else starts,
                None if ends == _NEVER else ends,
            )
            if len(self._read) >= _MOST_READ:
                self._read.clear()
            self._read[row] = found
        return found
