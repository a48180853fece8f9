"""Log-odds that what is shown is bought: a small logistic regression that rises with the discount.

What a shop shows at random is little beside what it sells, so this model leans on what the many purchases tell, and its
weights are drawn towards what theory expects (a normal prior each). It has two regimes, mixed by how foreign the
category is to the shopper. A good of a foreign category is not bought unless it is shown, so that sales say nothing of
how often; but the utility that tells goods of a category apart also tells whether one is worth buying at all, up to a
constant of category and item that showings teach. In a category that a shopper buys anyway the odds unshown say most,
and showing shifts them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.optimize import minimize
from scipy.special import expit

from pipelines.offers.value.features import NAMES, SHOWN_NAMES

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

# Weights of numbers: expected value and standard deviation. `f` for foreign, `o` for one's own category.
_NUMBERS = {
    "f": (-3.5, 2.0), "f taste": (1.0, 0.3), "f category_near": (0.0, 0.5), "f interest": (0.0, 1.0),
    "f thrift": (0.0, 0.2), "f loyalty": (0.0, 3.0), "f taste loyalty": (0.0, 1.5), "f display": (0.4, 0.3),
    "f category_rate": (0.0, 0.3), "o category_rate": (0.0, 0.3), "f category_rate_all": (0.0, 0.3),
    "f taste_words": (0.0, 0.3), "f taste_price": (0.0, 0.3),
    "o": (-1.0, 2.0), "o unshown": (0.7, 0.3), "o taste": (0.0, 0.3), "o category_due": (0.0, 0.5),
    "o taste_share": (0.0, 0.3), "o own_item": (0.0, 0.5), "o thrift": (0.0, 0.2),
    "o loyalty": (0.0, 3.0),
}  # fmt: skip
# What came of showing the shopper such goods before; further how an item is shown.
_HOW = {
    "prompted_item": (0.5, 0.5), "prompted_category": (0.3, 0.5), "shown_category": (-0.1, 0.3),
    "showings": (-0.3, 0.3), "position": (-0.3, 0.3),
    "entrance": (0.0, 0.3), "aisle": (0.0, 0.3), "checkout": (0.0, 0.3), "phone": (0.0, 0.3),
}  # fmt: skip
_DISCOUNT = {"cut": (1.5, 1.5), "cut thrift": (0.7, 1.0)}
# Of what has a name (a category, an item, a category in a neighbourhood, a word, a word in a neighbourhood): the
# deviation that is expected. The showings correct it, as far as they tell it (as if it were known from _SURE weights).
_NAMED = {"category": 0.5, "item": 0.4, "category near": 0.3, "word": 1.0, "word near": 1.0}
_SURE, _ROUNDS = 4.0, 4
_AT = {name: place for place, name in enumerate(NAMES)}
_SHOWN_AT = {name: place for place, name in enumerate(SHOWN_NAMES)}
_ITERATIONS = 300
_FAR = 3.0


@dataclass(frozen=True)
class Response:
    """The fitted regression.

    Attributes:
        thrift: mean and deviation of the shoppers' thrift.
        categories, items, places: how many there are.
        weights: in the order of `_design`'s columns; the last two, of the discount, are not negative.
        spread: deviations of what has a name, as found, in the order of _NAMED.
    """

    thrift: tuple[float, float]
    categories: int
    items: int
    places: int
    weights: Floats
    spread: Floats

    @classmethod
    def fit(
        cls, features: Floats, unshown: Floats, shown: Floats, category: Ints, item: Ints, bought: Floats,
        *, categories: int, items: int, places: int = 1,
    ) -> Response:  # fmt: skip
        """Find the most probable weights, and how far those of one kind differ (empirical Bayes).

        Args:
            features: as `Known.features`, shape (n, len(NAMES) + words).
            unshown: log-odds of a purchase where it is not shown, shape (n,).
            shown: as `Known.shown`; the last column is -log(1 - discount).
            category, item: numbers. bought: 0 or 1.
            categories, items, places: how many there are.
        """
        thrift = features[:, _AT["thrift"]].astype(np.float64)
        scale = (float(thrift.mean()), float(thrift.std()) + 1e-6) if len(thrift) else (0.0, 1.0)
        model = cls(scale, categories, items, places, np.zeros(0), np.zeros(0))
        design = model._design(features, unshown, shown, category, item)
        turned, squares = design.T.tocsr(), design.multiply(design).T.tocsr()
        words = features.shape[1] - len(NAMES)
        sizes = [categories, items, categories * places, words, words * places]
        blocks = [np.array(list(block.values())).T for block in (_NUMBERS, _HOW, _DISCOUNT)]
        first = len(_NUMBERS)
        kinds = np.split(np.arange(first, first + sum(sizes)), np.cumsum(sizes)[:-1])
        start = np.concatenate([blocks[0][0], np.zeros(sum(sizes)), blocks[1][0], blocks[2][0]])
        usual = np.array(list(_NAMED.values()))
        spread, weights = usual.copy(), start.copy()
        bounds = [(None, None)] * (len(start) - 2) + [(0.0, None)] * 2  # never less for a deeper discount
        for _ in range(_ROUNDS):
            ridge = np.concatenate([blocks[0][1], np.repeat(spread, sizes), blocks[1][1], blocks[2][1]]) ** -2

            def loss(weights: Floats, ridge: Floats = ridge) -> tuple[float, Floats]:
                margin, away = design @ weights, weights - start
                value = np.logaddexp(0.0, margin).sum() - bought @ margin + 0.5 * (ridge * away**2).sum()
                return float(value), np.asarray(turned @ (expit(margin) - bought) + ridge * away)

            found = minimize(
                loss, weights, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": _ITERATIONS}
            )
            weights = np.asarray(found.x, np.float64)
            chance = expit(design @ weights)
            told = 1.0 - ridge / (squares @ (chance * (1.0 - chance)) + ridge)  # of each weight the part that rows tell
            for number, columns in enumerate(kinds):
                sure = told[columns].sum() + _SURE
                spread[number] = np.sqrt(((weights[columns] ** 2).sum() + _SURE * usual[number] ** 2) / sure)
        return cls(model.thrift, categories, items, places, weights, spread)

    def margin(self, features: Floats, unshown: Floats, shown: Floats, category: Ints, item: Ints) -> Floats:
        """Log-odds of a purchase of what is shown so, shape (n,)."""
        return np.asarray(self._design(features, unshown, shown, category, item) @ self.weights)

    def slope(self, features: Floats) -> Floats:
        """What each unit of -log(1 - discount) adds to the log-odds, shape (n,), not negative."""
        return np.asarray(self.weights[-2] + self.weights[-1] * np.maximum(0.0, self._thrift(features) + 1.0))

    def _thrift(self, features: Floats) -> Floats:
        mean, deviation = self.thrift
        return np.asarray(np.clip((features[:, _AT["thrift"]].astype(np.float64) - mean) / deviation, -_FAR, _FAR))

    def _design(
        self, features: Floats, unshown: Floats, shown: Floats, category: Ints, item: Ints
    ) -> sparse.csr_matrix:
        told = features.astype(np.float64)
        foreign, thrift = foreignness(features), self._thrift(features)
        own, loyalty = 1.0 - foreign, told[:, _AT["loyalty"]]
        due = told[:, _AT["category_due"]]
        numbers = {
            "f": foreign,
            **{
                f"f {name}": foreign * told[:, _AT[name]]
                for name in ("taste", "category_near", "interest", "display", "taste_words", "taste_price")
            },
            "f thrift": foreign * thrift,
            "f loyalty": foreign * loyalty,
            "f taste loyalty": foreign * (loyalty - 0.3) * told[:, _AT["taste"]],
            "o": own,
            "o unshown": own * np.clip(unshown, -8.0, 3.0),
            **{f"o {name}": own * told[:, _AT[name]] for name in ("taste", "taste_share", "own_item")},
            "o category_due": own * np.where(np.isnan(due), 1.0, np.clip(due, 0.0, 3.0)),
            "o thrift": own * thrift,
            "f category_rate": foreign * told[:, _AT["category_rate"]],
            "o category_rate": own * told[:, _AT["category_rate"]],
            "f category_rate_all": foreign * told[:, _AT["category_rate_all"]],
            "o loyalty": own * loyalty,
        }
        how = {name: shown[:, place].astype(np.float64) for name, place in _SHOWN_AT.items()}
        how |= {name: told[:, _AT[name]] for name in ("prompted_item", "prompted_category", "shown_category")}
        how["position"] = np.log(np.maximum(how["position"], 1.0))
        discount = {"cut": how["cut"], "cut thrift": how["cut"] * np.maximum(0.0, thrift + 1.0)}
        place, fond = told[:, _AT["place"]].astype(np.int64), sparse.csr_matrix(told[:, len(NAMES) :])
        near = np.zeros((len(told), self.places))
        near[np.arange(len(told)), place] = 1.0
        one = np.arange(len(told))
        named = [
            sparse.csr_matrix((share, (one, code)), shape=(len(told), width))
            for code, width, share in (
                (category, self.categories, foreign),
                (item, self.items, np.ones(len(told))),
                (place * self.categories + category, self.places * self.categories, foreign),
            )
        ]
        fond = sparse.csr_matrix(fond.multiply(foreign[:, None]))
        named += [fond, *(sparse.csr_matrix(fond.multiply(near[:, [one]])) for one in range(self.places))]

        def dense(names: dict[str, tuple[float, float]], values: dict[str, Floats]) -> sparse.csr_matrix:
            return sparse.csr_matrix(np.stack([values[name] for name in names], axis=1))

        parts = [dense(_NUMBERS, numbers), *named, dense(_HOW, how), dense(_DISCOUNT, discount)]
        return sparse.hstack(parts).tocsr()


def foreignness(features: Floats) -> Floats:
    """How foreign an item's category is to the shopper: 1 never bought, towards 0 the more of its visits it was."""
    bought = np.expm1(features[:, _AT["own_category"]].astype(np.float64))
    visits = np.expm1(features[:, _AT["visits"]].astype(np.float64))
    return np.asarray(1.0 / (1.0 + (bought / (0.05 * visits + 0.3)) ** 2))
