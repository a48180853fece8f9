"""A simulated town: it goes through its days, comes to the stores, and answers what the screens show.

    town = Town.build(TownConfig(shoppers=500, stores=4, days=30), seed=1)
    for day in range(30):
        visits = town.visits(day)                    # who comes where
        answer = town.respond(visits, my_slates)     # what they look at, take and buy; stock and habits change
        town.elsewhere()                             # the rest of the day: contents, the app, returns, reviews

`town.step(day)` does the same with what the shop shows at random. Nothing here is real; every row says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from configs.errors import UsageError
from pipelines.simulation.aftermath import Aftermath
from pipelines.simulation.browsing import browse
from pipelines.simulation.catalogue import Catalogue, build_catalogue
from pipelines.simulation.config import TownConfig
from pipelines.simulation.contents import Contents, build_contents, watch
from pipelines.simulation.draws import Array, Draws, Stream
from pipelines.simulation.encounters import Encounters, Memory, Purchases
from pipelines.simulation.mischief import Burst, brush, build_bursts, crawl
from pipelines.simulation.offers import SHOWN, Campaigns, Slates, build_campaigns, house_slates
from pipelines.simulation.rows import CHANNEL, GROWING, TYPE, Log, moment
from pipelines.simulation.shops import Shelves, neighbourhood_count
from pipelines.simulation.tables import Names, standing
from pipelines.simulation.tastes import (
    SEGMENTS,
    WATCH_ONLY,
    Neighbourhoods,
    Shoppers,
    build_neighbourhoods,
    build_shoppers,
)
from pipelines.simulation.visits import PLACEMENTS, Visits, visits_of

SCREEN_AT = (5, 300, 900, 0)
"""Seconds from coming in to each placement."""
PAID_AT = 1_200

Policy = Callable[["Town", Visits], Slates]


@dataclass(frozen=True)
class Answer:
    """What visits did before their slates.

    Attributes:
        events: rows of the interactions table.
        purchases: the lines of the baskets.
        looks: which places were looked at, shape (visits, places).
        profit: of each visit's basket, price paid less cost.
    """

    events: pl.DataFrame
    purchases: Purchases
    looks: Array
    profit: Array


@dataclass
class Tally:
    """What a truth file tells about a history: sums that only the town itself can know.

    Attributes:
        uplift, offers: by segment, the added probability of purchase if noticed, over what the house draws
            at random, and how many those were.
        sold: units by item, fake purchases left out.
        first_bought: what those who only watched bought later, as pairs of arrays (shoppers, items).
    """

    uplift: Array
    offers: Array
    sold: Array
    first_bought: list[tuple[Array, Array]] = field(default_factory=list)


class Town:
    """A town and the day it has reached. Build it with `Town.build`."""

    def __init__(
        self,
        config: TownConfig,
        seed: int,
        draws: Draws,
        catalogue: Catalogue,
        places: Neighbourhoods,
        store_place: Array,
        shoppers: Shoppers,
    ) -> None:
        self.config, self.seed, self.draws = config, seed, draws
        self.catalogue, self.places, self.store_place, self.shoppers = catalogue, places, store_place, shoppers
        self.contents: Contents = build_contents(config, draws, catalogue)
        self.campaigns: Campaigns = build_campaigns(config, draws, catalogue)
        self.bursts: list[Burst] = build_bursts(config, draws, shoppers, catalogue)
        self.names = Names(config, draws, catalogue, self.contents)
        residents = np.bincount(shoppers.store, minlength=config.stores)
        self.shelves = Shelves(config, draws, catalogue, residents)
        memory = Memory.fresh(draws, shoppers, len(places), len(catalogue.price))
        self.encounters = Encounters(catalogue, places, shoppers, self.shelves, memory, draws)
        self.tally = Tally(np.zeros(len(SEGMENTS)), np.zeros(len(SEGMENTS), np.int64), np.zeros(len(catalogue.price)))
        self.day = -1
        self._aftermath = Aftermath(draws, catalogue)
        self._visits: Visits | None = None

    @classmethod
    def build(cls, config: TownConfig, seed: int) -> Town:
        """Make the town of a config and a seed, on the eve of its first day."""
        draws = Draws(seed)
        catalogue = build_catalogue(config, draws)
        places = build_neighbourhoods(neighbourhood_count(config.stores), draws)
        store_place = np.arange(config.stores) % len(places)
        shoppers = build_shoppers(config, draws, places, store_place, catalogue)
        return cls(config, seed, draws, catalogue, places, store_place, shoppers)

    # ------------------------------------------------------------------ a day

    def visits(self, day: int) -> Visits:
        """Who comes to which store, before which screen, at which time on a day, in the order of the times.

        Asking for the day after the present one ends the present one: stores close, order and open again.

        Raises:
            UsageError: the day is neither the present nor the next one, or lies beyond what the town was built for.
        """
        if day == self.day + 1 and day < self.config.days:
            if self.day >= 0:
                self.shelves.close(self.day)
                self.encounters.close()
            self.day = day
            self.shelves.open(day)
            self.encounters.open(day)
            weekday = (self.config.start.weekday() + day) % 7
            self._visits = visits_of(day, weekday, self.config, self.draws, self.shoppers, self.catalogue)
        if day != self.day or self._visits is None:
            raise UsageError(
                f"The town has reached day {self.day} of 0 to {self.config.days - 1} and cannot go to day {day}; days "
                "come one after another, and a town for more days is built with a larger `days`."
            )
        return self._visits

    def house(self, visits: Visits) -> tuple[Slates, Array]:
        """What the shop shows at random by itself, and what it holds out; see `offers.house_slates`."""
        return house_slates(visits, self.campaigns, self.catalogue, self.shelves.units, self.draws)

    def respond(
        self,
        visits: Visits,
        slates: Slates,
        held_out: Array | None = None,
        *,
        recommendation_ids: Sequence[str] | None = None,
    ) -> Answer:
        """Let visits of the present day happen, each once, before what their screens show.

        A visit that passes no screen looks at nothing. Visits of one call are served in the order of their rows.

        Args:
            visits: of the present day, all or some.
            slates: a row a visit.
            held_out: items that a randomised policy might have offered and did not; they are logged as such.
            recommendation_ids: of the answers that the slates came from, one a visit; the rows that follow from a slate
                bear it as attribution_token. By default the town makes one up.

        Raises:
            UsageError: rows do not match, a discount is no fraction, or an item is not known.
        """
        self._check(visits, slates)
        if recommendation_ids is not None and len(recommendation_ids) != len(visits):
            raise UsageError(f"There are {len(recommendation_ids)} recommendation_ids for {len(visits)} visits.")
        bought, looks = self.encounters.meet(visits, slates)
        log = Log()
        self._log_screens(log, visits, slates, looks, bought, held_out)
        self._log_baskets(log, visits, slates, bought)
        self._aftermath.follow(visits, bought)
        who = visits.shopper[bought.visit]
        np.add.at(self.tally.sold, bought.item, bought.quantity)
        late = self.shoppers.role[who] == WATCH_ONLY
        if late.any():
            self.tally.first_bought.append((who[late], bought.item[late]))
        events = self.names.grown("interactions", log.take("interactions"))
        if recommendation_ids is not None:
            made_up = [f"t{visits.day}-{one}" for one in visits.shopper]
            events = events.with_columns(pl.col("attribution_token").replace(made_up, list(recommendation_ids)))
        each = (bought.price * (1 - bought.discount) - self.catalogue.cost[bought.item]) * bought.quantity
        return Answer(
            events=events,
            purchases=bought,
            looks=looks,
            profit=np.bincount(bought.visit, weights=each, minlength=len(visits)),
        )

    def elsewhere(self) -> dict[str, pl.DataFrame]:
        """The rest of the present day, by table: contents, the app, searches, what follows purchases, mischief."""
        log, day = Log(), self.day
        watch(day, self.draws, self.shoppers, self.places, self.encounters.fashion, self.contents, log)
        browse(day, self.config, self.draws, self.shoppers, self.places, self.catalogue, log)
        self._aftermath.happen(day, log)
        brush(day, self.bursts, self.draws, self.encounters.prices, log)
        crawl(day, self.draws, self.shoppers, self.catalogue, log)
        return {table: self.names.grown(table, log.take(table)) for table in GROWING}

    def step(self, day: int, policy: Policy | None = None) -> dict[str, pl.DataFrame]:
        """Go through a whole day: visits, answers and the rest; returns its rows by table, in the order of their times.

        Args:
            day: the next day.
            policy: what screens show; by default the shop's own random goods and offers, with a holdout.
        """
        visits = self.visits(day)
        if policy is None:
            slates, held_out = self.house(visits)
            self._tally_uplift(visits, slates, held_out)
            answer = self.respond(visits, slates, held_out)
        else:
            answer = self.respond(visits, policy(self, visits))
        tables = self.elsewhere()
        tables["interactions"] = pl.concat([answer.events, tables["interactions"]]).sort(
            "event_time", maintain_order=True
        )
        return tables

    # ------------------------------------------------------------------ the truth about the present day

    def purchase_probability(
        self, visits: Visits, items: Array, discounts: Array | float = 0.0, *, noticed: bool = True
    ) -> Array:
        """Probability that each visit buys each item, shape (visits, m) as `items`; each item alone on the screen.

        With `noticed` false, as if nothing were shown. Nothing changes; stock and memory are as they are now.
        """
        table = np.broadcast_to(discounts, items.shape)
        return self.encounters.chances(visits, items, table, noticed=noticed)

    def gain(self, visits: Visits, items: Array, discounts: Array | float = 0.0) -> Array:
        """Expected profit that each item, alone and looked at, adds to a visit; shape (visits, m)."""
        return self.encounters.gain(visits, items, discounts)

    def expected_profit(self, visits: Visits, slates: Slates) -> Array:
        """Expected profit of each visit's basket before a slate, exact, shape (visits,); nothing changes."""
        self._check(visits, slates)
        return self.encounters.expected_profit(visits, slates)

    def margin(self, items: Array, discounts: Array | float = 0.0) -> Array:
        """Today's profit of one unit of items sold at discounts."""
        return np.asarray(self.encounters.prices[items] * (1 - discounts) - self.catalogue.cost[items])

    # ------------------------------------------------------------------ ids

    def slates(self, offers: Sequence[Sequence[tuple[str, float]]]) -> Slates:
        """Slates from (item_id, discount) lists, one list a visit."""
        code = {item: number for number, item in enumerate(self.names.items)}
        width = max((len(row) for row in offers), default=0)
        items, discounts = np.full((len(offers), width), -1), np.zeros((len(offers), width))
        for row, offer in enumerate(offers):
            for place, (item, discount) in enumerate(offer):
                if item not in code:
                    raise UsageError(f"The town has no item {item!r}; take ids from its items table.")
                items[row, place], discounts[row, place] = code[item], discount
        return Slates.of(items, discounts)

    def visit_table(self, visits: Visits) -> pl.DataFrame:
        """Visits with ids: shopper_id, store_id, screen_id, placement, event_time, recognised, simulated."""
        log = Log()
        log.add("interactions", len(visits), shopper=visits.shopper, store=visits.store, placement=visits.placement,
                time=moment(visits.day, visits.second))  # fmt: skip
        frame = self.names.grown("interactions", log.take("interactions"))
        placement = pl.Series([*PLACEMENTS, None], dtype=pl.String).gather(visits.placement)
        return frame.select("shopper_id", "store_id", "screen_id", "event_time", "simulated").with_columns(
            placement=placement, recognised=pl.Series(visits.recognised)
        )

    def standing(self) -> dict[str, pl.DataFrame]:
        """The tables that describe things (items, stores, stock …), as they stand at the end of the present day."""
        return standing(
            self.names, self.catalogue, self.contents, self.shoppers, self.shelves, self.campaigns, self.store_place,
            self.encounters.prices, self.day,
        )  # fmt: skip

    # ------------------------------------------------------------------ inside

    def _check(self, visits: Visits, slates: Slates) -> None:
        if visits.day != self.day:
            raise UsageError(f"These visits are of day {visits.day}, and the town has reached day {self.day}.")
        if len(slates) != len(visits):
            raise UsageError(f"There are {len(slates)} slates for {len(visits)} visits; give one for each.")
        if slates.items.size and not (slates.items.min() >= -1 and slates.items.max() < len(self.names.items)):
            raise UsageError("A slate holds an item that the town does not have.")
        if slates.discounts.size and not (slates.discounts.min() >= 0 and slates.discounts.max() < 1):
            raise UsageError("A discount must be at least 0 and below 1.")

    def _tally_uplift(self, visits: Visits, slates: Slates, held_out: Array) -> None:
        """Before anything happens: what noticing would add, over all that the house drew, offered or not."""
        items = np.concatenate([slates.items, held_out], axis=1)
        rows = np.flatnonzero((items >= 0).any(axis=1))
        if len(rows) == 0:
            return
        some, items = visits.take(rows), items[rows]
        depth = self._campaign_discount(items)
        added = self.encounters.chances(some, items, depth, noticed=True) - self.encounters.chances(
            some, items, depth, noticed=False
        )
        segment = np.broadcast_to(self.shoppers.segment[some.shopper][:, None], items.shape)[items >= 0]
        np.add.at(self.tally.uplift, segment, added[items >= 0])
        np.add.at(self.tally.offers, segment, 1)

    def _campaign_discount(self, items: Array) -> Array:
        running = self.campaigns.running(self.day)
        best = np.zeros(len(self.names.items) + 1)
        for campaign in running:
            best[self.campaigns.items[campaign]] = self.campaigns.discount[campaign]
        best[-1] = 0.0
        return np.asarray(best[items])

    def _log_screens(
        self, log: Log, visits: Visits, slates: Slates, looks: Array, bought: Purchases, held_out: Array | None
    ) -> None:
        passes = (visits.placement >= 0)[:, None]
        row, place = np.nonzero(passes & (slates.items >= 0))
        item, depth = slates.items[row, place], slates.discounts[row, place]
        second = visits.second + np.array(SCREEN_AT)[visits.placement]
        common: dict[str, Any] = {
            "shopper": visits.shopper[row], "item": item, "store": visits.store[row], "position": place + 1,
            "placement": visits.placement[row], "campaign": slates.campaign[row, place], "token": visits.day,
            "discount": depth, "channel": CHANNEL["screen"],
        }  # fmt: skip
        log.add(
            "interactions", len(row), **common, type=TYPE["impression"], time=moment(visits.day, second[row]) + place
        )
        taken = np.zeros(slates.items.shape, bool)
        seen = bought.place >= 0
        taken[bought.visit[seen], bought.place[seen]] = True
        interest = self.shoppers.interest[visits.shopper[row][:, None], self.catalogue.topics[item]].sum(axis=1)
        luck = self.draws.uniform(Stream.TAP, visits.shopper[row], visits.day, item)
        buys = taken[row, place]
        taps = looks[row, place] & (buys | (luck < 0.06 + 0.25 * interest))
        redeems = buys & (depth > 0)
        scans = redeems | (taps & (luck < 0.02 + 0.08 * interest))
        steps = (
            (taps, "tap", second + 4),
            (scans, "scan", second + 9),
            (redeems, "redeem", visits.second + PAID_AT - 1),
        )
        for does, name, when in steps:
            some = {key: value[does] if np.ndim(value) else value for key, value in common.items()}
            log.add(
                "interactions",
                int(does.sum()),
                **some,
                type=TYPE[name],
                time=moment(visits.day, when[row[does]]) + place[does],
            )
        if held_out is not None:
            offered = common | {"propensity": SHOWN, "type": TYPE["promotion_offered"]}
            log.add("interactions", len(row), **offered, time=moment(visits.day, second[row] - 1) + place)
            at, column = np.nonzero(held_out >= 0)
            log.add(
                "interactions", len(at), shopper=visits.shopper[at], item=held_out[at, column], store=visits.store[at],
                placement=visits.placement[at], token=visits.day, channel=CHANNEL["screen"], propensity=1 - SHOWN,
                discount=self._campaign_discount(held_out[at, column]), type=TYPE["promotion_not_offered"],
                time=moment(visits.day, second[at] - 1) + 100 + column,
            )  # fmt: skip

    def _log_baskets(self, log: Log, visits: Visits, slates: Slates, bought: Purchases) -> None:
        row, off = bought.visit, bought.discount
        campaign = np.full(len(row), -1)
        seen = np.flatnonzero((bought.place >= 0) & (off > 0))
        campaign[seen] = slates.campaign[row[seen], bought.place[seen]]
        token = np.full(len(row), -1)
        token[bought.place >= 0] = visits.day
        paid = np.round(bought.price * (1 - off), 2)
        log.add(
            "interactions",
            len(row),
            shopper=visits.shopper[row],
            item=bought.item,
            type=TYPE["purchase"],
            time=moment(visits.day, visits.second[row] + PAID_AT),
            basket=visits.day,
            token=token,
            store=visits.store[row],
            channel=CHANNEL["store"],
            quantity=bought.quantity,
            price=paid,
            campaign=campaign,
            coupon=np.round((bought.price - paid) * bought.quantity, 2),
        )
