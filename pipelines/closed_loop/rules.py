"""What the hard rules allow on one morning, for policies that are not the product: the same rules, the same prices.

Each policy plays in a copy of the town, where other shelves are empty than in the product's: the rules read the
product's snapshot of the shop, which is the same for all but for the stock, and the stock of the policy's own town.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache, cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

from configs.policy import PolicySettings
from features.live import EPOCH, micros
from pipelines.closed_loop.ledger import codes
from pipelines.offers.derived import derived
from pipelines.offers.eligibility import Placement, Setting, refusals
from pipelines.offers.facts import NEVER_AGAIN, NOTHING, Facts
from pipelines.offers.running import running
from pipelines.offers.view import View
from pipelines.shop_shoppers import MINUTE, NEVER_MINUTE, holds
from pipelines.shop_snapshot import DURABLE, Shop
from pipelines.simulation.draws import Array
from pipelines.simulation.offers import Slates
from pipelines.simulation.town import Town
from pipelines.simulation.visits import PLACEMENTS, Visits

_MINOR = 100  # the town's currency is the dollar
_NONE = np.zeros(0, np.int32)


class _OwnStock(Shop):
    """A shop, all of it but the shelves, which are those of another town."""

    def __init__(self, shop: Shop, stocked: Mapping[str, npt.NDArray[np.int32]]) -> None:
        self.__dict__.update(shop.__dict__)
        self._stock = {}  # what `stocked` keeps is the other town's
        self._stocked = stocked
        self._stock = {}  # the shop's own is of its own shelves

    def in_stock(self, store_id: str | None) -> npt.NDArray[np.int32] | None:
        """Sorted positions of what is in stock."""
        return None if store_id is None else self._stocked[store_id]


class Had:
    """What the shoppers of one town have and were shown, for the rules that ask for it."""

    def __init__(self, town: Town) -> None:
        self._names = town.names
        self._sales: list[pl.DataFrame] = []
        self._shown: list[pl.DataFrame] = []
        self._given: list[pl.DataFrame] = []

    def see(self, interactions: pl.DataFrame, *, played: bool) -> None:
        """Take a day's interactions; what offers took of prices counts for the budgets on days that are `played`."""
        kind = pl.col("event_type")
        self._sales.append(interactions.filter(kind == "purchase").select("shopper_id", "item_id", "event_time"))
        self._shown.append(interactions.filter(kind == "impression").select("shopper_id", "item_id", "event_time"))
        if played:
            self._given.append(
                interactions.filter(pl.col("coupon_disc") > 0).select("item_id", "event_time", "coupon_disc")
            )

    def spent(self, item_ids: list[str], since: datetime) -> float:
        """What offers took off these items' prices from a moment on, major units."""
        if not self._given:
            return 0.0
        rows = pl.concat(self._given).filter(pl.col("item_id").is_in(item_ids), pl.col("event_time") >= since)
        return float(rows["coupon_disc"].sum())

    def facts(self, shop: Shop, places: npt.NDArray[np.int32], now: datetime, policy: PolicySettings) -> list[Facts]:
        """Of each shopper of the town, at a moment; `places` are the positions of the town's items in the shop."""
        known = np.flatnonzero(places >= 0)
        durable = (shop.flags[places[known]] & DURABLE) != 0
        frame = pl.DataFrame({"item_id": self._names.items, "at": places}).filter(pl.col("at") >= 0)
        items = frame.select("item_id", place=pl.int_range(pl.len()), durable=pl.Series(durable))
        kept, _ = holds(pl.concat(self._sales).lazy(), items, policy)
        held: list[dict[int, tuple[int, bool]]] = [{} for _ in self._names.shoppers]
        late = kept.filter(pl.col("minute") > micros(now) // MINUTE)
        at = places[known][late["place"].to_numpy()].tolist()
        rows = zip(
            codes(late["shopper_id"]).tolist(), at, late["minute"].to_list(), late["lasts"].to_list(), strict=True
        )
        for shopper, place, minute, lasts in rows:
            held[shopper][place] = (NEVER_AGAIN if minute == NEVER_MINUTE else minute * MINUTE, lasts)
        shown: list[dict[int, int]] = [{} for _ in self._names.shoppers]
        days = int(np.ceil(policy.cap_days))
        since = now - timedelta(days=policy.cap_days)
        counted = (
            pl.concat(self._shown[-days - 1 :])
            .filter(pl.col("event_time") >= since)
            .group_by("shopper_id", "item_id")
            .len()
            .filter(pl.col("len") >= policy.offer_cap)
        )
        for shopper, item, times in zip(
            codes(counted["shopper_id"]), codes(counted["item_id"]), counted["len"].to_list(), strict=True
        ):
            shown[shopper][int(places[item])] = times
        return [Facts(held=one, shown=other) for one, other in zip(held, shown, strict=True)]


class Rules:
    """The rules of one morning in one town.

    Args:
        view: the product's, of this morning.
        town: the policy's; its day has begun.
        had: of the shoppers of that town.
        now: a moment of the day.
        policy: the settings of the rules.
    """

    def __init__(self, view: View, town: Town, had: Had, now: datetime, policy: PolicySettings) -> None:
        self._town, self._now, self._policy = town, now, policy
        self.places = view.shop.positions(town.names.items)
        units = town.shelves.units
        stocked = {}
        for number, store in enumerate(town.names.stores):
            here = self.places[(units[number] > 0) & (self.places >= 0)]
            stocked[store] = np.sort(here)
        self._reads = replace(view, shop=_OwnStock(view.shop, stocked))
        self._had, self._shop = had, view.shop
        self.maker_cap = policy.maker_cap
        self.depths = cache(self._depths)

    @cached_property
    def _facts(self) -> list[Facts]:
        """Of each shopper."""
        return self._had.facts(self._shop, self.places, self._now, self._policy)

    def allowed(self, visits: Visits, personal: Array) -> Array:
        """Which of the town's items may be shown at each visit, shape (visits, items).

        Args:
            visits: each before a screen.
            personal: whether the shopper may be known there.
        """
        found = np.zeros((len(visits), len(self.places)), bool)
        known = np.flatnonzero(self.places >= 0)
        for row in range(len(visits)):
            kind: Placement = PLACEMENTS[visits.placement[row]]  # type: ignore[assignment]
            setting = Setting(
                kind,
                self._town.names.stores[visits.store[row]],
                bool(personal[row]),
                _NONE,
                self._now,
                self._facts[visits.shopper[row]] if personal[row] else NOTHING,
                self._policy,
            )
            found[row, known] = refusals(self._reads, self.places[known], setting) == 0
        return found

    def _depths(self, store: int) -> Array:
        """The deepest discount that may be shown of each item, shape (items,); 0: none."""
        found = np.zeros(len(self.places))
        known = np.flatnonzero(self.places >= 0)
        shop = self._reads.shop
        at, rows = running(shop.offers, self.places[known], self._now, self._town.names.stores[store])
        keeps = derived(shop).keeping(self._policy.margin_floor).offers[rows]
        keeps &= ~self._spent[shop.offers.campaign_codes[rows]]
        np.maximum.at(found, known[at[keeps]], shop.offers.depths[rows[keeps]])
        return found

    @cached_property
    def _spent(self) -> Array:
        """Of each campaign of the shop's offers, and at the end of none, whether its budget is used up."""
        shop, found = self._shop, np.zeros(len(self._shop.offers.campaigns) + 1, bool)
        names = np.array(self._town.names.items)
        for number, name in enumerate(shop.offers.campaigns):
            if name not in shop.budgets:
                continue
            budget, starts, _ = shop.budgets[name]
            every, rows = running(shop.offers, self.places[self.places >= 0], self._now, None)
            of = names[self.places >= 0][every[shop.offers.campaign_codes[rows] == number]]
            since = EPOCH if starts is None else EPOCH + timedelta(microseconds=starts)
            found[number] = bool(len(of)) and self._had.spent(of.tolist(), since) * _MINOR >= budget
        return found


def fill(scores: Array, depths: Array, allowed: Array, makers: Array, places: int, maker_cap: int) -> Slates:
    """The best allowed items of each visit in order, at most `maker_cap` of one maker.

    Args:
        scores, depths, allowed: shape (visits, items).
        makers: of the items.
        places: of a screen.
    """
    items = np.full((len(scores), places), -1)
    order = np.argsort(np.where(allowed, -scores, np.inf), axis=1, kind="stable")
    for row in range(len(scores)):
        taken: dict[int, int] = {}
        place = 0
        for item in order[row]:
            maker = int(makers[item])
            if place == places or not allowed[row, item]:
                break
            if taken.get(maker, 0) < maker_cap:
                taken[maker] = taken.get(maker, 0) + 1
                items[row, place] = item
                place += 1
    depth = np.where(items >= 0, np.take_along_axis(depths, np.maximum(items, 0), axis=1), 0.0)
    return Slates.of(items, depth)
