"""What follows a purchase days later: returns, reviews, complaints. Poor makers and counterfeits earn more of them."""

from __future__ import annotations

import numpy as np

from pipelines.simulation.catalogue import Catalogue
from pipelines.simulation.draws import Array, Draws, Stream
from pipelines.simulation.encounters import Purchases
from pipelines.simulation.rows import CHANNEL, TYPE, Block, Log, moment
from pipelines.simulation.visits import Visits

KINDS = ("counterfeit", "damaged", "spoiled", "not as described")
REVIEWED, RETURNED, COMPLAINED = 0.04, 0.012, 0.004
OF_COUNTERFEITS = (0.10, 0.12, 0.08)
"""Shares of counterfeits' purchases that are reviewed, returned, complained about."""


class Aftermath:
    """Remembers what is still to come."""

    def __init__(self, draws: Draws, catalogue: Catalogue) -> None:
        self._draws, self._catalogue = draws, catalogue
        self._pending: dict[int, list[tuple[str, Block]]] = {}

    def follow(self, visits: Visits, bought: Purchases) -> None:
        """Draw what will follow a day's purchases."""
        who, item = visits.shopper[bought.visit], bought.item
        false = self._catalogue.counterfeit[item]
        quality = self._catalogue.quality[self._catalogue.maker[item]]
        worse = np.exp(-0.5 * quality)
        shares = (np.full(len(item), REVIEWED), RETURNED * worse, COMPLAINED * worse)
        noise = self._draws.normal(Stream.AFTER, who, visits.day, item, 0)
        stars = np.clip(np.round(3.9 + 0.6 * quality - 1.0 * false + 0.9 * noise), 1, 5)
        kind = np.where(false, 0, 1 + self._draws.below(len(KINDS) - 1, Stream.AFTER, who, visits.day, item, 1))
        common: Block = {
            "shopper": who,
            "item": item,
            "store": visits.store[bought.visit],
            "quantity": bought.quantity,
            "price": np.round(bought.price * (1 - bought.discount), 2),
            "basket": np.full(len(item), visits.day),
            "rating": stars.astype(np.int64),
            "kind": kind,
        }
        for number, table in enumerate(("reviews", "returns", "complaints")):
            share = np.where(false, OF_COUNTERFEITS[number], shares[number])
            does = self._draws.uniform(Stream.AFTER, who, visits.day, item, 2 + number) < share
            after = 1 + self._draws.below(9, Stream.AFTER, who, visits.day, item, 5 + number)
            for wait in range(1, 10):
                rows = np.flatnonzero(does & (after == wait))
                if len(rows):
                    block = {name: column[rows] for name, column in common.items()}
                    self._pending.setdefault(visits.day + wait, []).append((table, block))

    def happen(self, day: int, log: Log) -> None:
        """Log what is due on a day."""
        for table, block in self._pending.pop(day, []):
            who, item = block["shopper"], block["item"]
            second = 9 * 3600 + self._draws.below(11 * 3600, Stream.AFTER, who, day, item, block["basket"], 20)
            time, rows = moment(day, second), len(who)
            if table == "reviews":
                log.add(table, rows, shopper=who, item=item, time=time, rating=block["rating"])
            elif table == "complaints":
                log.add(table, rows, shopper=who, item=item, time=time, kind=block["kind"])
            else:
                self._log_returns(log, time, block)

    @staticmethod
    def _log_returns(log: Log, time: Array, block: Block) -> None:
        columns = {name: block[name] for name in ("shopper", "item", "store", "quantity", "price", "basket")}
        log.add("interactions", len(time), **columns, type=TYPE["return"], time=time, channel=CHANNEL["store"])
