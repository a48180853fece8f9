"""Campaigns, offers and what the shop shows by itself: random goods and offers with a random holdout."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from pipelines.simulation.catalogue import Catalogue
from pipelines.simulation.config import TownConfig
from pipelines.simulation.draws import Array, Draws, Stream
from pipelines.simulation.visits import Visits

SEASON_DAYS = 28
DISCOUNTS = (0.1, 0.2, 0.3)
PER_OFFER = 6
CONSIDERED = 4
"""Goods that the house draws for a visit; each is shown with probability SHOWN, else noted as not offered."""
SHOWN = 0.5
ON_OFFER = 0.5
"""Probability that the house draws from what has a running offer and not from all goods: offers are few, and a shop
that puts nothing else on its screens never learns of most goods what showing them brings."""


@dataclass(frozen=True)
class Slates:
    """What screens show, a row a visit; shape (visits, places).

    Attributes:
        items: -1: nothing in that place (what follows still stands lower).
        discounts: fractions, 0: shown at its price.
        campaign: index of the campaign that pays, -1: none.
    """

    items: Array
    discounts: Array
    campaign: Array

    def __len__(self) -> int:
        """How many slates there are."""
        return len(self.items)

    def take(self, rows: Array) -> Slates:
        """Some of them."""
        return Slates(*(getattr(self, field.name)[rows] for field in fields(self)))

    def first(self, places: int) -> Slates:
        """Only the first places."""
        return Slates(*(getattr(self, field.name)[:, :places] for field in fields(self)))

    @classmethod
    def of(cls, items: Array, discounts: Array | float = 0.0, campaign: Array | int = -1) -> Slates:
        """Fill in what is the same everywhere."""
        table = np.asarray(items, dtype=np.int64)
        return cls(table, np.broadcast_to(discounts, table.shape), np.broadcast_to(campaign, table.shape))

    @classmethod
    def empty(cls, visits: int) -> Slates:
        """Show nothing."""
        return cls.of(np.empty((visits, 0), np.int64))


@dataclass(frozen=True)
class Campaigns:
    """Arrays over campaigns, or (campaigns, PER_OFFER) for `items`: each pays for one offer on a maker's items.

    Attributes:
        maker, starts, ends, discount: days are from 0; it runs before `ends`.
        items: what the offer covers; -1: fewer.
    """

    maker: Array
    starts: Array
    ends: Array
    discount: Array
    items: Array

    def running(self, day: int) -> Array:
        """Which campaigns run on a day."""
        return np.flatnonzero((self.starts <= day) & (day < self.ends))


def build_campaigns(config: TownConfig, draws: Draws, catalogue: Catalogue) -> Campaigns:
    """One in three makers has a campaign each season, of one discount on at most PER_OFFER of its items."""
    rows: list[tuple[int, int, float]] = []
    covered = []
    by_maker: dict[int, list[int]] = {}
    for item in np.argsort(-catalogue.appeal, kind="stable"):
        if not catalogue.counterfeit[item]:
            by_maker.setdefault(int(catalogue.maker[item]), []).append(int(item))
    for season in range(-(-config.days // SEASON_DAYS)):
        start = season * SEASON_DAYS
        luck = draws.uniform(Stream.CAMPAIGN, season, np.arange(config.makers), 0)
        depth = draws.below(len(DISCOUNTS), Stream.CAMPAIGN, season, np.arange(config.makers), 1)
        for maker in np.flatnonzero(luck < 1 / 3):
            discount = DISCOUNTS[depth[maker]]
            own = [
                item
                for item in by_maker.get(int(maker), [])
                if catalogue.launch[item] <= start
                and (1 - discount) * 0.9 * catalogue.price[item] >= floor_price(catalogue)[item]
            ][:PER_OFFER]
            if own:
                rows.append((int(maker), start, discount))
                covered.append(own + [-1] * (PER_OFFER - len(own)))
    starts = np.array([start for _, start, _ in rows], dtype=np.int64)
    return Campaigns(
        maker=np.array([maker for maker, _, _ in rows], dtype=np.int64),
        starts=starts,
        ends=starts + SEASON_DAYS,
        discount=np.array([discount for _, _, discount in rows], dtype=np.float64),
        items=np.array(covered, dtype=np.int64).reshape(-1, PER_OFFER),
    )


def floor_price(catalogue: Catalogue) -> Array:
    """What an offer may not go below: cost and a twentieth."""
    return np.round(1.05 * catalogue.cost, 2)


def house_slates(
    visits: Visits, campaigns: Campaigns, catalogue: Catalogue, units: Array, draws: Draws
) -> tuple[Slates, Array]:
    """What the shop shows by itself: goods in stock drawn at random, each then shown or held out by a coin.

    About half of what is drawn has a running offer, and what has one is shown at its discount.

    Args:
        visits: who comes.
        campaigns: of the town.
        catalogue: of the town.
        units: what is on the shelves, shape (stores, items).
        draws: of the town.

    Returns:
        The slates, shape (visits, CONSIDERED): what is held out leaves no gap for the eye, what is shown moves up. And
        the items held out, the same shape, -1: none. Who passes no screen is shown nothing; nobody has to be
        recognised for what does not depend on them.
    """
    payer_of = np.full(len(catalogue.price), -1)
    for campaign in campaigns.running(visits.day):
        covered = campaigns.items[campaign]
        payer_of[covered[covered >= 0]] = campaign
    plain = ~(catalogue.age_restricted | catalogue.sensitive)[catalogue.category] & ~catalogue.counterfeit
    anything, reduced = np.flatnonzero(plain), np.flatnonzero(plain & (payer_of >= 0))
    place = np.arange(CONSIDERED)
    who = visits.shopper[:, None]
    drawn = anything[draws.below(len(anything), Stream.HOUSE, who, visits.day, place, 2)]
    if len(reduced):
        offer = reduced[draws.below(len(reduced), Stream.HOUSE, who, visits.day, place)]
        drawn = np.where(draws.uniform(Stream.HOUSE, who, visits.day, place, 3) < ON_OFFER, offer, drawn)
    fit = (visits.placement >= 0)[:, None] & (units[visits.store[:, None], drawn] > 0)
    for turn in range(1, CONSIDERED):
        fit[:, turn] &= ~(drawn[:, :turn] == drawn[:, turn : turn + 1]).any(axis=1)
    coin = draws.uniform(Stream.HOUSE, who, visits.day, drawn, 1) < SHOWN
    order = np.argsort(~(fit & coin), axis=1, kind="stable")
    items = np.where(np.take_along_axis(fit & coin, order, axis=1), np.take_along_axis(drawn, order, axis=1), -1)
    payer = np.where(items >= 0, payer_of[items], -1)
    slates = Slates(items, np.where(payer >= 0, campaigns.discount[np.maximum(payer, 0)], 0.0), payer)
    return slates, np.where(fit & ~coin, drawn, -1)
