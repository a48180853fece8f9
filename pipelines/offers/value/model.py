"""The value model: odds that a shopper buys an item on a visit, shown and not shown, at each depth of discount.

Unshown: gradient-boosted trees on all visits. Shown: a small regression on what was shown, which leans on them
(`response.py`), calibrated by isotonic regression on the newest window, which it had not seen. What an item takes from
its category is in proportion to what else would be bought there, by a factor that the random offers tell.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit

from models.boosting import Boosting
from models.calibration import Calibration
from pipelines.offers.value.data import ValueData
from pipelines.offers.value.examples import Drawn, Shown, examples
from pipelines.offers.value.features import NAMES, SHOWN_NAMES, Asked, Known
from pipelines.offers.value.response import Response
from pipelines.offers.value.taste import Taste
from pipelines.packed import ODDS

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

FEWEST_SHOWN, FEWEST_BOUGHT = 500, 20
"""Fewer showings, or fewer of them bought, teach nothing: no value model is made."""
_ROUNDS = 120
_TREES = {"num_leaves": 31, "learning_rate": 0.1, "min_data_in_leaf": 100, "lambda_l2": 5.0}
_FEWEST_TO_CALIBRATE = 200
_OWN_ROWS = 5_000.0
"""The regression's own odds count as so many rows of the calibration: few rows give a rough map."""
_FIRST = 1.0  # position
_BLOCK = 100_000
_SHRINK = 0.3  # of the factor of what is taken, towards 1: as much as this variance of it says


@dataclass(frozen=True)
class ValueModel:
    """A trained value model, ready for the moment up to which it knows the shop.

    Attributes:
        known: the history.
        taste: at the moment.
        trees, log_rate: of the unshown odds.
        response: of the shown odds.
        calibration: of its log-odds; None: too few rows to calibrate. trust: its weight against them, below 1.
        taken: how much of what else would be bought in the category an item takes, against its share of all visits.
        placements: how often each of the four placements was seen, shares.
    """

    known: Known
    taste: Taste
    trees: Boosting
    log_rate: float
    response: Response
    calibration: Calibration | None
    trust: float
    taken: float
    placements: Floats

    @property
    def data(self) -> ValueData:
        """What it learned from."""
        return self.known.data

    def unshown(self, features: Floats) -> Floats:
        """Log-odds of a purchase on a visit where the item is not shown."""
        return _log_odds(self.trees, self.log_rate, features)

    def shown(self, features: Floats, unshown: Floats, shown: Floats, item: Ints) -> Floats:
        """Log-odds of a purchase where it is shown so, calibrated."""
        raw = self.response.margin(features, unshown, shown, self.data.category[item], item)
        return raw if self.calibration is None else _calibrated(self.calibration, self.trust, raw)

    def odds(self, shopper: Ints, item: Ints) -> Floats:
        """Odds of (shopper, item) pairs at the model's moment, in the columns of `Ranked.odds`, shape (n, 4).

        An item whose price or cost is not known has a row of NaN. Give all items of a shopper that can be of one
        category in one call: what an item takes from its category is told by what else is asked of it.
        """
        data = self.data
        now = np.full(len(item), data.moment)
        asked = Asked(shopper, item, now, data.usual_store[shopper])
        features = self.known.features(asked, self.taste, data.moment)
        before = self.unshown(features)
        shown = self.known.shown(asked, np.full(len(item), _FIRST), np.full(len(item), -1.0), np.zeros(len(item)))
        shown[:, _PLACED] = self.placements
        after = self.shown(features, before, shown, item)
        told = np.empty((len(item), ODDS))
        told[:, 0], told[:, 1] = before, after
        told[:, 2] = self.response.slope(features)
        told[:, 3] = self._keeps(shopper, item, expit(before))
        told[~np.isfinite(data.price[item]) | ~np.isfinite(data.cost[item])] = np.nan
        return told

    def _keeps(self, shopper: Ints, item: Ints, chance: Floats) -> Floats:
        """The share of the profit of added sales that other goods of the category do not lose."""
        margin = np.nan_to_num(self.data.price[item] - self.data.cost[item])
        lost = self.taken * _lost(shopper, self.data.category[item], chance, margin)
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.where(margin > 0, lost / margin, 0.0)
        return np.clip(1.0 - share, 0.0, 1.0)


_PLACED = slice(SHOWN_NAMES.index("entrance"), SHOWN_NAMES.index("phone") + 1)


def fit_value(data: ValueData, *, seed: int) -> ValueModel | None:
    """Train on all that `data` holds; None where too little was shown or bought of it to learn anything."""
    rng = np.random.default_rng(seed)
    if len(data.showings) < FEWEST_SHOWN:
        return None
    known = Known(data)
    unshown, shown, drawn = examples(known, rng)
    if len(shown.bought) < FEWEST_SHOWN or shown.bought.sum() < FEWEST_BOUGHT or not len(unshown.bought):
        return None
    trees = Boosting.train(unshown.features, unshown.bought, objective="binary", rounds=_ROUNDS, parameters=_TREES,
                           seed=seed, threads=1)  # fmt: skip
    before = _log_odds(trees, unshown.log_rate, shown.features)
    everything = np.ones(len(shown.bought), bool)
    response = _respond(data, shown, before, everything)
    calibration, trust = _calibrate(data, shown, before)
    found = ValueModel(
        known=known,
        taste=known.taste(data.moment, rng),
        trees=trees,
        log_rate=unshown.log_rate,
        response=response,
        calibration=calibration,
        trust=0.0 if calibration is None else trust,
        taken=1.0,
        placements=shown.shown[:, _PLACED].mean(axis=0).astype(np.float64),
    )
    return found if drawn is None else _with_taken(found, drawn)


def _respond(data: ValueData, shown: Shown, before: Floats, rows: npt.NDArray[np.bool_]) -> Response:
    return Response.fit(
        shown.features[rows], before[rows], shown.shown[rows], shown.category[rows], shown.item[rows],
        shown.bought[rows], categories=data.categories, items=len(data.item_ids),
    )  # fmt: skip


def _calibrate(data: ValueData, shown: Shown, before: Floats) -> tuple[Calibration | None, float]:
    """Isotonic, on the newest windows that hold a quarter of the rows, by a regression on those before; its weight."""
    order = np.sort(shown.window)
    cut = order[len(order) * 3 // 4]
    later = shown.window >= cut
    earlier = ~later
    if min(earlier.sum(), later.sum()) < _FEWEST_TO_CALIBRATE or shown.bought[earlier].sum() < FEWEST_BOUGHT:
        return None, 0.0
    model = _respond(data, shown, before, earlier)
    score = model.margin(
        shown.features[later], before[later], shown.shown[later], shown.category[later], shown.item[later]
    )
    return Calibration.fit(score, shown.bought[later]), float(later.sum() / (later.sum() + _OWN_ROWS))


def _calibrated(calibration: Calibration, trust: float, raw: Floats) -> Floats:
    """Log-odds between the map's and one's own; beyond its knots in parallel, so that the order at the top is kept."""
    inside = np.clip(raw, calibration.scores[0], calibration.scores[-1])
    return np.asarray(raw + trust * (logit(calibration.predict(inside)) - inside))


def _log_odds(trees: Boosting, log_rate: float, features: Floats) -> Floats:
    parts = [trees.predict(features[at : at + _BLOCK], threads=1) for at in range(0, len(features), _BLOCK)]
    share = np.clip(np.concatenate([np.zeros(0), *parts]), 1e-7, 1 - 1e-7)
    return np.asarray(logit(share) - log_rate)


def _lost(shopper: Ints, category: Ints, chance: Floats, margin: Floats) -> Floats:
    """What one more sale of each item costs others of its category: those come in proportion to their own chances."""
    _, number = np.unique(np.stack([shopper, category]), axis=1, return_inverse=True)
    group = number.ravel()
    total = np.bincount(group, weights=chance * margin)[group]
    return np.asarray((total - chance * margin) / np.maximum(1.0 - chance, 0.05))


def _with_taken(model: ValueModel, drawn: Drawn) -> ValueModel:
    """Learn the factor of what is taken from random offers: the doubly robust effect on the category's other goods.

    Each row's effect (others' profit, offered less not offered, by the known propensity) is regressed on what the
    model foretells; the slope, shrunk towards 1, is the factor.
    """
    before = model.unshown(drawn.features)
    after = model.shown(drawn.features, before, drawn.shown, drawn.asked.item)
    added = expit(after) - expit(before)
    pull, usual = _category_profit(model, drawn)
    foretold = -added * pull
    treated = drawn.offered
    chance = np.where(treated > 0, drawn.propensity, 1.0 - drawn.propensity)
    rest = drawn.others - (usual + (treated - chance) * foretold)
    effect = foretold + np.where(treated > 0, 1.0 / chance, -1.0 / (1.0 - chance)) * rest
    weight = float(foretold @ foretold)
    if weight <= 0:
        return model
    slope = float(foretold @ effect) / weight
    noise = float(np.mean((effect - slope * foretold) ** 2)) / weight
    factor = (slope / noise + 1.0 / _SHRINK**2) / (1.0 / noise + 1.0 / _SHRINK**2)
    return replace(model, taken=float(np.clip(factor, 0.0, 2.0)))


def _category_profit(model: ValueModel, drawn: Drawn) -> tuple[Floats, Floats]:
    """Of the rest of an item's category on a visit: what one more sale of the item costs it, and its usual profit."""
    data, bought = model.data, model.data.purchases
    each = np.nan_to_num(data.price - data.cost)
    kind = data.category[bought.item]
    total = np.bincount(kind, weights=each[bought.item], minlength=data.categories)
    mean = total / np.maximum(1, np.bincount(kind, minlength=data.categories))
    rate = expit(drawn.features[:, NAMES.index("category_rate")].astype(np.float64))
    own = expit(model.unshown(drawn.features))
    rest = np.maximum(rate - own, 0.0) * mean[data.category[drawn.asked.item]]
    return rest / np.maximum(1.0 - own, 0.05), rest
