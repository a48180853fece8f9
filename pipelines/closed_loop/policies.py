"""What a shop's screens could show instead of the product's slates: from nothing at all to what an oracle would.

Each policy lives in its own copy of the town, sees what its own shop has seen, and obeys the same hard rules. Nobody
but the omniscient oracle knows who stands before a screen that recognises nobody.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import ClassVar

import numpy as np
import polars as pl
from sklearn.ensemble import HistGradientBoostingClassifier

from pipelines.closed_loop.ledger import RECENT_DAYS, SHOPPERS_OWN, Ledger, codes
from pipelines.closed_loop.rules import Rules, fill
from pipelines.simulation.draws import Array
from pipelines.simulation.offers import Slates
from pipelines.simulation.tastes import HABITS, ORDINARY, WATCH_ONLY
from pipelines.simulation.town import Town
from pipelines.simulation.visits import WANDERED, Visits

REGULARS = 150
"""Shoppers over whom an oracle averages what somebody who is not recognised would do, of each store."""


class Policy(ABC):
    """Decides what is shown to visits that pass a screen; `knows` is told to readers of the figures."""

    name: ClassVar[str]
    knows: ClassVar[str]

    def __init__(self, town: Town, places: int, seed: int) -> None:
        self.town, self._places, self._seed = town, places, seed

    @abstractmethod
    def slates(self, visits: Visits, personal: Array, rules: Rules) -> Slates:
        """Fill the screens of visits.

        Args:
            visits: of the town's present day, all of which pass a screen.
            personal: whether the visit's shopper is recognised and may get a personal slate.
            rules: of this morning.
        """

    def see(self, day: int, interactions: pl.DataFrame) -> None:
        """Take what the day brought, in the order of the days; the history's days come first."""

    def learn(self) -> None:
        """Learn from what was seen: called on the days on which the product trains."""

    def _filled(self, scores: Array, visits: Visits, personal: Array, rules: Rules, depths: Array) -> Slates:
        allowed = rules.allowed(visits, personal)
        return fill(scores, depths, allowed, self.town.catalogue.maker, self._places, rules.maker_cap)

    def _deepest(self, visits: Visits, rules: Rules) -> Array:
        return np.stack([rules.depths(int(store)) for store in visits.store])


class NoOffer(Policy):
    """Screens stay dark: what everything else is measured against."""

    name = "no_offer"
    knows = "nothing; the screens show nothing"

    def slates(self, visits: Visits, personal: Array, rules: Rules) -> Slates:
        """Show nothing."""
        return Slates.empty(len(visits))


class Random(Policy):
    """Anything that may be shown, each alike, at the deepest discount that may be shown."""

    name = "random"
    knows = "nothing"

    def slates(self, visits: Visits, personal: Array, rules: Rules) -> Slates:
        """Draw by seed, day and shopper, so that the order of visits does not matter."""
        items = len(self.town.catalogue.price)
        draws = [np.random.default_rng([self._seed, visits.day, int(one)]).random(items) for one in visits.shopper]
        return self._filled(np.stack(draws), visits, personal, rules, self._deepest(visits, rules))


class Popularity(Policy):
    """The store's best-sellers of the last four weeks, at the deepest discount that may be shown."""

    name = "popularity"
    knows = f"what its stores sold in the last {RECENT_DAYS} days"

    def __init__(self, town: Town, places: int, seed: int) -> None:
        super().__init__(town, places, seed)
        self._ledger = Ledger.of(town)

    def slates(self, visits: Visits, personal: Array, rules: Rules) -> Slates:
        """Rank by units sold."""
        sold = self._ledger.recent.sum(axis=0)[visits.store]
        return self._filled(sold, visits, personal, rules, self._deepest(visits, rules))

    def see(self, day: int, interactions: pl.DataFrame) -> None:
        """Count the day."""
        self._ledger.add(day, interactions)


class ResponseModel(Policy):
    """Targeting as a shop's marketing does it: who is likeliest to buy what is shown gets it, at the best discount.

    A gradient-boosted classifier of P(bought on the visit | shown), learned from every item that was ever shown and
    what the shopper had bought before. It does not ask what they would have bought anyway.
    """

    name = "response_model"
    knows = "every purchase and every showing in its shop; ranks by P(buy | shown)"

    def __init__(self, town: Town, places: int, seed: int) -> None:
        super().__init__(town, places, seed)
        self._ledger = Ledger.of(town)
        self._rows: list[Array] = []
        self._bought: list[Array] = []
        self._model: HistGradientBoostingClassifier | None = None

    def slates(self, visits: Visits, personal: Array, rules: Rules) -> Slates:
        """Rank by P(buy | shown at its discount)."""
        depths = self._deepest(visits, rules)
        if self._model is None:
            return self._filled(np.zeros_like(depths), visits, personal, rules, depths)
        row, item = np.divmod(np.arange(depths.size), depths.shape[1])
        shopper = np.where(personal, visits.shopper, -1)[row]
        table = self._ledger.features(
            visits.day, shopper, visits.store[row], item, self.town.encounters.prices, depths.ravel()
        )
        scores = self._model.predict_proba(table)[:, 1].reshape(depths.shape)
        return self._filled(scores, visits, personal, rules, depths)

    def see(self, day: int, interactions: pl.DataFrame) -> None:
        """Note what was shown with what was known before, and what was bought of it; then count the day."""
        shown = interactions.filter(pl.col("event_type") == "impression")
        if shown.height:
            bought = interactions.filter(pl.col("event_type") == "purchase").select("shopper_id", "item_id").unique()
            marked = shown.join(
                bought.with_columns(bought=pl.lit(True)),
                on=["shopper_id", "item_id"],
                how="left",
                maintain_order="left",
            )
            shopper, item = codes(shown["shopper_id"]), codes(shown["item_id"])
            table = self._ledger.features(
                day, shopper, codes(shown["store_id"]), item, self.town.catalogue.prices(self.town.draws, day),
                shown["discount"].fill_null(0.0).to_numpy(),
            )  # fmt: skip
            self._rows.append(table)
            self._bought.append(marked["bought"].fill_null(False).to_numpy())
        self._ledger.add(day, interactions)

    def learn(self) -> None:
        """Fit it anew; each row counts a second time as that of somebody who is not recognised."""
        if not self._rows:
            return
        rows, bought = np.concatenate(self._rows), np.concatenate(self._bought)
        nameless = rows.copy()
        nameless[:, SHOPPERS_OWN] = np.nan
        if bought.any() and not bought.all():
            self._model = HistGradientBoostingClassifier(
                max_iter=150, learning_rate=0.07, max_leaf_nodes=15, min_samples_leaf=40, random_state=self._seed
            ).fit(np.concatenate([rows, nameless]), np.concatenate([bought, bought]))


class Oracle(Policy):
    """Ranks by the true expected profit that each item adds, alone and looked at, at the better of its two prices."""

    name = "oracle"
    knows = (
        "the response model and all about a recognised shopper, also what they came for today; not the luck, and not "
        "who stands there where nobody is recognised: there it shows what is best on average over the store's regulars"
    )

    def slates(self, visits: Visits, personal: Array, rules: Rules) -> Slates:
        """Rank by gain."""
        depths = self._deepest(visits, rules)
        best, at = np.zeros(depths.shape), np.zeros(depths.shape)
        mine = np.flatnonzero(personal)
        if len(mine):
            best[mine], at[mine] = self._best(visits.take(mine), depths[mine])
        for store in np.unique(visits.store[~personal]):
            rows = np.flatnonzero(~personal & (visits.store == store))
            best[rows], at[rows] = self._average(visits.day, int(store), depths[rows[0]])
        return self._filled(best, visits, personal, rules, at)

    def _best(self, visits: Visits, depths: Array) -> tuple[Array, Array]:
        """The better of full price and the discount: gains and depths, shape (visits, items)."""
        plain, cut = self._gain(visits, None), np.full(depths.shape, -np.inf)
        columns = np.flatnonzero((depths > 0).any(axis=0))
        if len(columns):
            cut[:, columns] = np.where(depths[:, columns] > 0, self._gain(visits, columns, depths), -np.inf)
        return np.maximum(plain, cut), np.where(cut > plain, depths, 0.0)

    def _average(self, day: int, store: int, depths: Array) -> tuple[Array, Array]:
        """Of one store: mean gains over those who may stand there, and the depths, shape (items,)."""
        who = self._regulars(day, store)
        weight = self.town.shoppers.visits_a_day[who.shopper]
        plain = np.average(self._expected(who, None), axis=0, weights=weight)
        cut = np.full(len(depths), -np.inf)
        columns = np.flatnonzero(depths > 0)
        if len(columns):
            told = np.broadcast_to(depths, (len(who), len(depths)))
            cut[columns] = np.average(self._expected(who, columns, told), axis=0, weights=weight)
        return np.maximum(plain, cut), np.where(cut > plain, depths, 0.0)

    def _gain(self, visits: Visits, columns: Array | None, depths: Array | None = None) -> Array:
        """True gains of all items at full price, or of some at their depths."""
        every = np.arange(len(self.town.catalogue.price)) if columns is None else columns
        items = np.broadcast_to(every, (len(visits), len(every)))
        return self.town.gain(visits, items, 0.0 if depths is None else depths[:, every])

    def _expected(self, visits: Visits, columns: Array | None, depths: Array | None = None) -> Array:
        """Gains of those who come with their habits, over what else they may have in mind."""
        goods = self.town.catalogue
        blank = replace(visits, minds=np.where(np.arange(HABITS + WANDERED) < HABITS, visits.minds, -1))
        found = self._gain(blank, columns, depths)
        every = np.arange(len(goods.price)) if columns is None else columns
        category = goods.category[every]
        habit = (visits.minds[:, :HABITS, None] == category).any(axis=1)
        row, column = np.nonzero(~habit)
        apart = blank.take(row)
        apart.minds[:, HABITS] = category[column]
        depth = 0.0 if depths is None else depths[row, every[column]][:, None]
        minded = self.town.gain(apart, every[column][:, None], depth)[:, 0]
        chance = 1.0 - (1.0 - goods.popularity[category[column]]) ** WANDERED
        found[row, column] = chance * minded + (1.0 - chance) * found[row, column]
        return found

    def _regulars(self, day: int, store: int) -> Visits:
        """Visits, as far as they can be known before, of shoppers of the store whom no screen recognises."""
        people = self.town.shoppers
        shops = (people.role == ORDINARY) | ((people.role == WATCH_ONLY) & (day >= self.town.config.watch_only_days))
        who = np.flatnonzero(shops & (people.store == store) & ~people.recognised)
        if len(who) == 0:
            who = np.flatnonzero(shops)
        if len(who) > REGULARS:
            who = np.sort(np.random.default_rng([self._seed, store]).choice(who, REGULARS, replace=False))
        minds = np.concatenate([people.habit[who], np.full((len(who), WANDERED), -1)], axis=1)
        return Visits(
            day=day,
            shopper=who,
            store=np.full(len(who), store),
            second=np.zeros(len(who), np.int64),
            placement=np.zeros(len(who), np.int64),
            recognised=np.zeros(len(who), bool),
            minds=minds,
            key=np.zeros(len(who), np.uint64),
        )


class OracleOfHabits(Oracle):
    """As the oracle, but it cannot look into today's shopping list beyond a shopper's habits."""

    name = "oracle_of_habits"
    knows = (
        "as the oracle, but of what a shopper came for today only how due each habit is; what else they have in mind "
        "is drawn for each visit and known to nobody"
    )

    def _best(self, visits: Visits, depths: Array) -> tuple[Array, Array]:
        plain, cut = self._expected(visits, None), np.full(depths.shape, -np.inf)
        columns = np.flatnonzero((depths > 0).any(axis=0))
        if len(columns):
            cut[:, columns] = np.where(depths[:, columns] > 0, self._expected(visits, columns, depths), -np.inf)
        return np.maximum(plain, cut), np.where(cut > plain, depths, 0.0)


class Omniscient(Oracle):
    """As the oracle, and it knows everybody, also where no screen recognises anybody."""

    name = "omniscient"
    knows = "as the oracle, and it recognises everybody: what no shop could know"

    def slates(self, visits: Visits, personal: Array, rules: Rules) -> Slates:
        """Rank by gain, of everybody."""
        depths = self._deepest(visits, rules)
        best, at = self._best(visits, depths)
        return self._filled(best, visits, personal, rules, at)


BASELINES: tuple[type[Policy], ...] = (
    NoOffer, Random, Popularity, ResponseModel, OracleOfHabits, Oracle, Omniscient,
)  # fmt: skip
