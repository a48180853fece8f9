"""Log-odds that what is shown is bought: a small regression with two regimes, which rises with the discount.

What a shop shows at random is little beside what it sells, so this model leans on what the many purchases tell, and its
weights are drawn towards what theory expects (a normal prior each).

    chance = foreign x chance on impulse + (1 - foreign) x chance by need

A good of a category that is foreign to the shopper is not bought unless it is shown, so that sales say nothing of how
often; but the utility that tells goods of a category apart also tells whether one is worth buying at all, up to a
constant of category and item that showings teach. In a category that a shopper needs again and again the odds unshown
say most, those of the item and those of the whole category, and showing shifts them: some shoppers take the first good
that will do. Of which kind a category is for a shopper nobody says: how often they bought in it
and looked at its goods tells it, as far as that foretells what came of showings. What a good is like, how it is shown
and its discount count in both regimes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.optimize import minimize
from scipy.special import expit, logit

from pipelines.offers.value.deviation import deviation
from pipelines.offers.value.features import NAMES, SHOWN_NAMES

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

# Weights of numbers: expected value and standard deviation. They are what the same regression finds in simulated towns
# of all four response models (seeds 2 and 3) when it is told the true chance of every good, and are as wide as these
# differ, or wider: a real shop's showings have to be able to say otherwise. But for places, placements and discounts:
# these are a shop's own, and little is expected of them. First on impulse, then by need.
_IMPULSE = {
    "one": (-3.2, 1.0), "taste": (0.65, 0.2), "clicked": (0.25, 0.3), "category_near": (0.8, 0.4),
    "display": (0.4, 0.2), "category_rate": (0.55, 0.3), "category_rate_all": (-0.4, 0.35), "thrift": (0.2, 0.15),
    "taste_item": (-0.1, 0.15), "clicked_category": (1.0, 0.6), "goods_category": (0.6, 0.4),
}  # fmt: skip
_NEED = {
    "one": (0.3, 0.5), "unshown": (0.85, 0.2), "unshown_category": (0.2, 0.3), "taste": (0.0, 0.1),
    "category_due": (0.2, 0.3), "taste_share": (0.0, 0.1), "own_item": (0.2, 0.2), "thrift": (0.0, 0.1),
    "category_rate": (0.0, 0.1),
}  # fmt: skip
# What came of showing the shopper such goods before; further how an item is shown.
_HOW = {
    "prompted_item": (0.2, 0.4), "prompted_category": (0.15, 0.3), "shown_category": (-0.05, 0.15),
    "showings": (-0.05, 0.2), "position": (-0.3, 0.3),
    "entrance": (0.0, 0.3), "aisle": (0.0, 0.3), "checkout": (0.0, 0.3), "phone": (0.0, 0.3),
}  # fmt: skip
_DISCOUNT = {"cut": (1.5, 1.5), "cut thrift": (0.7, 1.0)}
# Log-odds that a category is foreign: by how often the shopper bought in it for their visits, how often everybody does,
# how often they looked at its goods, how long ago they bought there, the odds unshown, and how often who needs it would
# have bought there in the time that the shopper is known.
_FOREIGN = {
    "one": (2.4, 1.0), "times": (-2.6, 1.0), "category_rate_all": (0.35, 0.3), "looked_category": (-0.5, 0.3),
    "days": (0.0, 0.5), "unshown": (0.6, 0.35), "unshown_category": (-0.15, 0.25), "category_expected": (0.6, 0.5),
}  # fmt: skip
# Of what has a name (a category, a category in a neighbourhood, an item): the deviation that is expected. The showings
# correct it, as far as they tell it (`deviation.py`).
_NAMED = {"category": 0.5, "category near": 0.1, "item": 0.4}
_ROUNDS = 4
_AT = {name: place for place, name in enumerate(NAMES)}
_SHOWN_AT = {name: place for place, name in enumerate(SHOWN_NAMES)}
_ITERATIONS = 200
_FAR, _UNSHOWN = 3.0, (-8.0, 3.0)
_LEAST = 1e-9  # chance
_LATELY = 15.0  # days


@dataclass(frozen=True)
class _Design:
    """What is told of rows: columns of both regimes, in the order of the weights, and of whether they are foreign."""

    impulse: sparse.csr_matrix
    need: sparse.csr_matrix
    foreign: Floats


@dataclass(frozen=True)
class Response:
    """The fitted regression.

    Attributes:
        thrift: mean and deviation of the shoppers' thrift.
        categories, items, places: how many there are.
        weights: in the order of `_design`'s columns; the last two, of the discount, are not negative.
        foreign: weights of what makes a category foreign.
        spread: deviations of what has a name, as found, in the order of _NAMED.
    """

    thrift: tuple[float, float]
    categories: int
    items: int
    places: int
    weights: Floats
    foreign: Floats
    spread: Floats

    @classmethod
    def fit(
        cls, features: Floats, unshown: Floats, shown: Floats, category: Ints, item: Ints, bought: Floats,
        *, categories: int, items: int, places: int = 1,
    ) -> Response:  # fmt: skip
        """Find the most probable weights, and how far those of one kind differ (empirical Bayes).

        Args:
            features: as `Known.features`, shape (n, len(NAMES)).
            unshown: log-odds of a purchase of it, and of anything of its category, where nothing is shown; (n, 2).
            shown: as `Known.shown`; the last column is -log(1 - discount).
            category, item: numbers. bought: 0 or 1.
            categories, items, places: how many there are.
        """
        thrift = features[:, _AT["thrift"]].astype(np.float64)
        scale = (float(thrift.mean()), float(thrift.std()) + 1e-6) if len(thrift) else (0.0, 1.0)
        model = cls(scale, categories, items, places, np.zeros(0), np.zeros(0), np.zeros(0))
        design = model._design(features, unshown, shown, category, item)
        sizes = [categories, categories * places, items]
        first, count = len(_IMPULSE) + len(_NEED), design.impulse.shape[1]
        kinds = np.split(np.arange(first, first + sum(sizes)), np.cumsum(sizes)[:-1])
        numbers, further = _prior(_IMPULSE, _NEED), _prior(_HOW, _DISCOUNT, _FOREIGN)
        start = np.concatenate([numbers[0], np.zeros(sum(sizes)), further[0]])
        usual = np.array(list(_NAMED.values()))
        spread, weights = usual.copy(), start.copy()
        free = [(None, None)]
        bounds = free * (count - 2) + [(0.0, None)] * 2 + free * len(_FOREIGN)  # never less for a deeper discount
        squares = [part.multiply(part).T.tocsr() for part in (design.impulse, design.need)]
        turned = [part.T.tocsr() for part in (design.impulse, design.need)]
        for _ in range(_ROUNDS):
            ridge = np.concatenate([numbers[1], np.repeat(spread, sizes), further[1]]) ** -2

            def loss(weights: Floats, ridge: Floats = ridge) -> tuple[float, Floats]:
                away = weights - start
                foreign, impulse, need = _chances(design, weights[:count], weights[count:])
                chance = np.clip(foreign * impulse + (1.0 - foreign) * need, _LEAST, 1.0 - _LEAST)
                value = -(bought * np.log(chance) + (1.0 - bought) * np.log1p(-chance)).sum()
                pull = (chance - bought) / (chance * (1.0 - chance))
                slopes = np.concatenate([
                    turned[0] @ (pull * foreign * impulse * (1.0 - impulse))
                    + turned[1] @ (pull * (1.0 - foreign) * need * (1.0 - need)),
                    design.foreign.T @ (pull * (impulse - need) * foreign * (1.0 - foreign)),
                ])  # fmt: skip
                return float(value + 0.5 * (ridge * away**2).sum()), np.asarray(slopes + ridge * away)

            found = minimize(
                loss, weights, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": _ITERATIONS}
            )
            weights = np.asarray(found.x, np.float64)
            foreign, impulse, need = _chances(design, weights[:count], weights[count:])
            telling = squares[0] @ (foreign * impulse * (1.0 - impulse)) + squares[1] @ (
                (1.0 - foreign) * need * (1.0 - need)
            )
            for number, columns in enumerate(kinds):
                spread[number] = deviation(weights[columns], telling[columns], ridge[columns], usual[number])
        return cls(model.thrift, categories, items, places, weights[:count], weights[count:], spread)

    @staticmethod
    def told() -> list[str]:
        """What the weights are of, by name: to a regression that is told anything else they mean nothing."""
        return [*_IMPULSE, *_NEED, *_HOW, *_DISCOUNT, *_FOREIGN, *_NAMED]

    def carried(self, categories: Ints, items: Ints) -> Response:
        """The same regression for a shop whose categories and items have other numbers now.

        What is new has no weight of its own, what went takes its own along; places keep their numbers.

        Args:
            categories, items: of each one now, its number when this was fitted; -1: there was none.
        """
        first, last = len(_IMPULSE) + len(_NEED), len(self.weights) - len(_HOW) - len(_DISCOUNT)
        numbers, kinds, own, how = np.split(self.weights, [first, last - self.items, last])
        near = categories + np.arange(1 + self.places)[:, None] * self.categories
        of_kind = np.append(kinds, 0.0)[np.where(categories < 0, -1, near).ravel()]
        weights = np.concatenate([numbers, of_kind, np.append(own, 0.0)[items], how])
        return replace(self, categories=len(categories), items=len(items), weights=weights)

    def margin(self, features: Floats, unshown: Floats, shown: Floats, category: Ints, item: Ints) -> Floats:
        """Log-odds of a purchase of what is shown so, shape (n,)."""
        foreign, impulse, need = _chances(
            self._design(features, unshown, shown, category, item), self.weights, self.foreign
        )
        chance = foreign * impulse + (1.0 - foreign) * need
        return np.asarray(logit(np.clip(chance, _LEAST, 1.0 - _LEAST)))

    def slope(self, features: Floats) -> Floats:
        """What each unit of -log(1 - discount) adds to the log-odds of either regime, shape (n,), not negative."""
        return np.asarray(self.weights[-2] + self.weights[-1] * np.maximum(0.0, self._thrift(features) + 1.0))

    def _thrift(self, features: Floats) -> Floats:
        mean, deviation = self.thrift
        return np.asarray(np.clip((features[:, _AT["thrift"]].astype(np.float64) - mean) / deviation, -_FAR, _FAR))

    def _design(self, features: Floats, unshown: Floats, shown: Floats, category: Ints, item: Ints) -> _Design:
        told = features.astype(np.float64)
        rows, thrift = np.arange(len(told)), self._thrift(features)
        due, days = told[:, _AT["category_due_all"]], told[:, _AT["category_days"]]
        before, visits = (np.expm1(told[:, _AT[name]]) for name in ("own_category", "visits"))
        values = {name: told[:, place] for name, place in _AT.items()} | {
            "one": np.ones(len(told)),
            "thrift": thrift,
            "unshown": np.clip(unshown[:, 0], *_UNSHOWN),
            "unshown_category": np.clip(unshown[:, 1], *_UNSHOWN),
            "category_due": np.where(np.isnan(due), 1.0, np.clip(due, 0.0, 3.0)),
            "times": np.log((before + 0.5) / (0.05 * visits + 0.3)),
            "days": np.where(np.isnan(days), 0.0, np.log1p(np.nan_to_num(days) / _LATELY)),
        }
        how = values | {name: shown[:, place].astype(np.float64) for name, place in _SHOWN_AT.items()}
        how["position"] = np.log(np.maximum(how["position"], 1.0))
        how["cut thrift"] = how["cut"] * np.maximum(0.0, thrift + 1.0)
        place = told[:, _AT["place"]].astype(np.int64)

        def named(code: Ints, width: int) -> sparse.csr_matrix:
            return sparse.csr_matrix((np.ones(len(told)), (rows, code)), shape=(len(told), width))

        def dense(names: Mapping[str, tuple[float, float]], told: Mapping[str, Floats]) -> sparse.csr_matrix:
            return sparse.csr_matrix(np.stack([told[name] for name in names], axis=1))

        groups = [
            named(category, self.categories),
            named(place * self.categories + category, self.places * self.categories),
        ]
        both = [named(item, self.items), dense(_HOW, how), dense(_DISCOUNT, how)]
        impulse, need = dense(_IMPULSE, values), dense(_NEED, values)
        return _Design(
            sparse.hstack([impulse, _nothing(need), *groups, *both]).tocsr(),
            sparse.hstack([_nothing(impulse), need, *(_nothing(group) for group in groups), *both]).tocsr(),
            np.stack([values[name] for name in _FOREIGN], axis=1),
        )


def _chances(design: _Design, weights: Floats, foreign: Floats) -> tuple[Floats, Floats, Floats]:
    """That the category is foreign, and of a purchase on impulse and by need; shape (n,) each."""
    return expit(design.foreign @ foreign), expit(design.impulse @ weights), expit(design.need @ weights)


def _prior(*blocks: Mapping[str, tuple[float, float]]) -> tuple[Floats, Floats]:
    """Expected values and deviations of some weights."""
    table = np.array([row for block in blocks for row in block.values()])
    return table[:, 0], table[:, 1]


def _nothing(part: sparse.csr_matrix) -> sparse.csr_matrix:
    return sparse.csr_matrix(part.shape)
