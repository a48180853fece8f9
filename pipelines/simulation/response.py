"""How a shopper decides, in four forms: each says with which probability each open item of a category is bought.

A *situation* is one shopper, on one visit, before one category. At most one item of it is bought, so that its items
replace each other; what is not bought is the outside option. docs/simulation.md writes the formulas down.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
from scipy.special import ndtr

from pipelines.simulation.draws import Array, extend, gumbel

LOYALTY = 0.9
LIFT = 0.6
"""What being noticed on a screen adds to an item's utility, before fatigue."""
WEARING = 0.35
"""Each showing of the last two weeks multiplies the lift by exp(-WEARING)."""
DISPLAY_LIFT = 0.4
OUTSIDE = 3.0
"""Utility of buying nothing in a category whose need is 0."""
CYCLE = 5.0
"""How fast the need of a habit grows: from -CYCLE just after a purchase through 0 when it is due, at most CYCLE."""
NEED_OF_WANDERING, NEED_ON_IMPULSE = -2.2, -1.2


@dataclass(frozen=True)
class Situations:
    """Arrays of shape (n,) or (n, width); a column is a place on the category's shelf.

    Attributes:
        value: what the item is worth to the shopper, without its price.
        dear: sensitivity x log(price to be paid / usual price of the category).
        open: in stock, on this store's list, launched; off the shopper's mind, only if it was noticed on the screen.
        last: the item that was bought last in this category.
        cut: discount that was noticed, as sensitivity x -log(1 - discount); 0: none.
        place: position (from 0) of the item on the screen where it was noticed, else -1.
        crowd: units of the item that the neighbourhood bought lately.
        need: (n,) how much the category is wanted: 0 when a habit is due, negative before.
        due: (n,) days since the last purchase / the shopper's interval; 1 where the category is no habit.
        habit: (n,) whether it is a habit.
        key: (n,) hash of shopper, day and category. visit_key: (n,) hash of shopper and day. items: (n, width) or -1.
    """

    value: Array
    dear: Array
    open: Array
    last: Array
    cut: Array
    place: Array
    crowd: Array
    need: Array
    due: Array
    habit: Array
    key: Array
    visit_key: Array
    items: Array

    def __len__(self) -> int:
        """How many situations there are."""
        return len(self.need)

    def take(self, rows: Array) -> Situations:
        """Some of them."""
        return Situations(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


def base(told: Situations) -> Array:
    """Multinomial logit with an outside option: latent taste, price, loyalty, need."""
    attraction = _exp(told, told.value - told.dear + LOYALTY * told.last)
    return np.asarray(attraction / (_total(attraction) + np.exp(OUTSIDE - told.need))[:, None])


def threshold(told: Situations) -> Array:
    """Satisficing: the shopper looks along and takes the first item that is worth its price.

    Screen first, then the item bought last, then the shelf from left to right. An item passes with the normal
    probability that a reservation price lies above what is asked; the more a category is needed, the lower the bar.
    """
    width = told.value.shape[1]
    passes = np.where(told.open, ndtr((told.value - told.dear - 2.9 + 0.9 * told.need[:, None]) / 1.2), 0.0)
    rank = np.where(told.place >= 0, told.place, np.where(told.last, 1_000, 2_000 + np.arange(width)))
    order = np.argsort(rank, axis=1, kind="stable")
    in_turn = np.take_along_axis(passes, order, axis=1)
    missed = np.cumprod(1.0 - in_turn, axis=1)
    before = np.concatenate([np.ones((len(told), 1)), missed[:, :-1]], axis=1)
    chances = np.empty_like(passes)
    np.put_along_axis(chances, order, in_turn * before, axis=1)
    return chances


def habit(told: Situations) -> Array:
    """A cycle: a Weibull hazard of repurchase says whether, mostly the last item says which; an offer may break it."""
    attraction = _exp(told, told.value - told.dear)
    total = _total(attraction)
    shares = attraction / np.maximum(total, 1e-30)[:, None]
    kept = told.last & told.open
    faithful = kept.any(axis=1)
    pull = np.where(faithful, 1.0, (total / 25.0) ** 0.4)
    hazard = np.where(told.habit, 0.9 * told.due**2.5, 0.06 + 0.02 * (told.place >= 0).sum(axis=1)) * pull
    cut = np.where(told.open, told.cut, 0.0)
    buys = -np.expm1(-hazard * np.exp(0.8 * cut.max(axis=1)))
    lure = -np.expm1(-1.2 * np.where(kept, 0.0, cut).max(axis=1))
    loyal = np.where(faithful, 0.75 * (1.0 - lure), 0.0)[:, None]
    return np.asarray(buys[:, None] * (loyal * kept + (1.0 - loyal) * shares))


def social(told: Situations) -> Array:
    """Imitation: with a fixed probability a shopper copies what the neighbourhood bought lately, else chooses alone."""
    own = _exp(told, told.value - 0.7 * told.dear + 0.5 * LOYALTY * told.last)
    shown = told.place >= 0
    copied = np.where(told.open, (0.5 + told.crowd) * np.where(shown, 2.0, 1.0) * np.exp(-0.3 * told.dear), 0.0)
    alone = own / np.maximum(_total(own), 1e-30)[:, None]
    crowd = copied / np.maximum(_total(copied), 1e-30)[:, None]
    strength = np.log(np.maximum(_total(own), 1e-30)) - OUTSIDE + told.need + 0.3 * shown.any(axis=1)
    buys = np.where(told.open.any(axis=1), 1.0 / (1.0 + np.exp(-strength)), 0.0)
    return np.asarray(buys[:, None] * (0.4 * crowd + 0.6 * alone))


FORMS: tuple[Callable[[Situations], Array], ...] = (base, threshold, habit, social)
"""In the order of config.VARIANTS."""


def probabilities(told: Situations, form: Array) -> Array:
    """Probability that each item is bought, shape (n, width); `form` (n,) is an index of FORMS. Rows sum to below 1."""
    chances = np.zeros(told.value.shape)
    for number, decide in enumerate(FORMS):
        rows = np.flatnonzero(form == number)
        if len(rows) == len(told):
            return np.where(told.open, decide(told), 0.0)
        if len(rows):
            part = told.take(rows)
            chances[rows] = np.where(part.open, decide(part), 0.0)
    return chances


def choose(told: Situations, chances: Array) -> Array:
    """The column that is bought, or -1, with exactly these probabilities.

    Each item has a Gumbel draw of its own by shopper, day and item, and buying nothing one by shopper, day and
    category: two policies that face the same shopper on the same day meet the same luck.
    """
    nothing = np.maximum(1.0 - _total(chances), 1e-300)
    with np.errstate(divide="ignore"):
        scores = np.log(chances) + gumbel(extend(told.visit_key[:, None], told.items))
        stay = np.log(nothing) + gumbel(told.key)
    best = scores.argmax(axis=1)
    return np.where(scores[np.arange(len(told)), best] > stay, best, -1)


def _exp(told: Situations, utility: Array) -> Array:
    return np.where(told.open, np.exp(utility), 0.0)


def _total(table: Array) -> Array:
    """Row sums, column after column, so that a wider shelf of empty places gives the same sum to the last bit."""
    return np.cumsum(table, axis=1)[:, -1]
