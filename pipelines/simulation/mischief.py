"""What is not what it seems: robots that look at pages, and makers who let accounts of theirs buy and praise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipelines.simulation.catalogue import Catalogue
from pipelines.simulation.config import TownConfig
from pipelines.simulation.draws import Array, Draws, Stream
from pipelines.simulation.rows import CHANNEL, TYPE, Log, moment
from pipelines.simulation.tastes import BOT, FAKER, Shoppers

PERIOD_DAYS = 14
BURST_SECONDS = 5_400
VIEWS_OF_A_BOT = 120


@dataclass(frozen=True)
class Burst:
    """One burst of fake purchases: a maker's items, bought by accounts within BURST_SECONDS from `second` of `day`.

    `number` keeps its draws apart from other bursts'.
    """

    number: int
    maker: int
    items: Array
    accounts: Array
    day: int
    second: int
    rows: int


def build_bursts(config: TownConfig, draws: Draws, shoppers: Shoppers, catalogue: Catalogue) -> list[Burst]:
    """Plan the bursts, one or more every PERIOD_DAYS, of makers among the poorer half."""
    accounts = np.flatnonzero(shoppers.role == FAKER)
    there = np.bincount(catalogue.maker[catalogue.launch < 0], minlength=config.makers) > 0
    makers = np.flatnonzero((catalogue.since < 0) & there & ~catalogue.counterfeiter)
    makers = makers[np.argsort(catalogue.quality[makers], kind="stable")][: max(1, len(makers) // 2)]
    bursts = []
    for number in range(-(-config.days // PERIOD_DAYS) * max(1, len(accounts) // 20)):
        period = number // max(1, len(accounts) // 20)
        maker = int(makers[draws.below(len(makers), Stream.BRUSHING, number, 0)[0]])
        day = period * PERIOD_DAYS + 3 + int(draws.below(PERIOD_DAYS - 5, Stream.BRUSHING, number, 1)[0])
        if day >= config.days:
            continue
        own = np.flatnonzero((catalogue.maker == maker) & (catalogue.launch < 0))[:3]
        order = np.argsort(draws.uniform(Stream.BRUSHING, number, 2, accounts))
        taken = np.sort(accounts[order[: min(len(accounts), 20)]])
        second = 3600 * int(draws.below(20, Stream.BRUSHING, number, 3)[0])
        rows = 60 + int(draws.below(120, Stream.BRUSHING, number, 4)[0])
        bursts.append(Burst(number, maker, own, taken, day, second, rows))
    return bursts


def brush(day: int, bursts: list[Burst], draws: Draws, prices: Array, log: Log) -> None:
    """Log a day's fake purchases (online: nothing leaves a shelf) and the praise that comes with them."""
    for burst in bursts:
        if burst.day != day:
            continue
        number = burst.number
        row = np.arange(burst.rows)
        who = burst.accounts[draws.below(len(burst.accounts), Stream.BRUSHING, number, 5, row)]
        item = burst.items[draws.below(len(burst.items), Stream.BRUSHING, number, 6, row)]
        after = np.sort(draws.below(BURST_SECONDS, Stream.BRUSHING, number, 7, row))
        time = moment(day, burst.second + after) + 1_000 * row
        log.add(
            "interactions",
            burst.rows,
            shopper=who,
            item=item,
            type=TYPE["purchase"],
            time=time,
            basket=1_000_000 * (number + 1) + row,
            channel=CHANNEL["online"],
            quantity=1.0,
            price=prices[item],
        )
        praised = draws.uniform(Stream.BRUSHING, number, 8, row) < 0.7
        log.add(
            "reviews",
            int(praised.sum()),
            shopper=who[praised],
            item=item[praised],
            time=np.minimum(time[praised] + 120_000_000, moment(day, np.array(86_399))),
            rating=5,
        )


def crawl(day: int, draws: Draws, shoppers: Shoppers, catalogue: Catalogue, log: Log) -> None:
    """Log what bots look at: about VIEWS_OF_A_BOT pages a night, a page a second or two, nothing clicked or bought."""
    bots = np.flatnonzero(shoppers.role == BOT)
    awake = bots[draws.uniform(Stream.BOT, bots, day, 0) < 0.8]
    who, turn = np.repeat(awake, VIEWS_OF_A_BOT), np.tile(np.arange(VIEWS_OF_A_BOT), len(awake))
    known = np.flatnonzero(catalogue.launch <= day)
    item = known[draws.below(len(known), Stream.BOT, who, day, turn, 1)]
    begins = np.repeat(draws.below(5 * 3600, Stream.BOT, awake, day, 2), VIEWS_OF_A_BOT)
    pause = (1_000_000 * draws.uniform(Stream.BOT, who, day, turn, 3)).astype(np.int64)
    log.add(
        "interactions",
        len(who),
        shopper=who,
        item=item,
        type=TYPE["view"],
        time=moment(day, begins) + 1_500_000 * turn + pause,
        session=who,
        channel=CHANNEL["app"],
    )
