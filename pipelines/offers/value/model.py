"""The value model: odds that a shopper buys an item on a visit, shown and not shown, at each depth of discount.

Unshown: gradient-boosted trees on all visits. Shown: a small regression on what was shown, which leans on them
(`response.py`), calibrated by isotonic regression on the newest window, which it had not seen. What showing does to
other goods of the category is in proportion to what else would be bought there (`others.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit

from models.estimators.boosting import Boosting
from models.estimators.calibration import Calibration
from pipelines.offers.value.cycle import Cycle, learn_cycle
from pipelines.offers.value.data import ValueData
from pipelines.offers.value.examples import Drawn, Shown, examples
from pipelines.offers.value.features import NAMES, SHOWN_NAMES, Asked, Known, chosen
from pipelines.offers.value.others import Others, learn_others, parts
from pipelines.offers.value.response import Response
from pipelines.offers.value.taste import Taste
from pipelines.packed import ODDS

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

FEWEST_SHOWN, FEWEST_BOUGHT = 500, 20
"""Fewer showings, or fewer of them bought, teach nothing: no value model is made."""
_ROUNDS, _ROUNDS_OF_KINDS = 120, 80
_TREES = {"num_leaves": 31, "learning_rate": 0.1, "min_data_in_leaf": 100, "lambda_l2": 5.0}
_FEWEST_TO_CALIBRATE = 200
_OWN_ROWS = 5_000.0
"""The regression's own odds count as so many rows of the calibration: few rows give a rough map."""
_FIRST = 1.0  # position
_BLOCK = 100_000


@dataclass(frozen=True)
class ValueModel:
    """A trained value model, ready for the moment up to which it knows the shop.

    Attributes:
        known: the history.
        taste: at the moment.
        trees, log_rate: of the unshown odds.
        kinds: trees of the chance that anything of the item's category is bought where nothing of it is shown.
        response: of the shown odds.
        calibration: of its log-odds; None: too few rows to calibrate. trust: its weight against them, below 1.
        others: what showing does to other goods of a category.
        cycle: what of a sale lasts.
        placements: how often each of the four placements was seen, shares.
    """

    known: Known
    taste: Taste
    trees: Boosting
    kinds: Boosting
    log_rate: float
    response: Response
    calibration: Calibration | None
    trust: float
    others: Others
    cycle: Cycle
    placements: Floats

    @property
    def data(self) -> ValueData:
        """What it learned from."""
        return self.known.data

    def unshown(self, features: Floats) -> Floats:
        """Log-odds of a purchase on a visit where the item is not shown."""
        return _log_odds(self.trees, self.log_rate, features)

    def of_category(self, features: Floats) -> Floats:
        """Log-odds that anything of each item's category is bought on a visit where nothing of it is shown."""
        return _of_kinds(self.kinds, features)

    def shown(self, features: Floats, unshown: Floats, shown: Floats, item: Ints) -> Floats:
        """Log-odds of a purchase where it is shown so, calibrated."""
        both = np.stack([unshown, self.of_category(features)], axis=1)
        raw = self.response.margin(features, both, shown, self.data.category[item], item)
        return raw if self.calibration is None else _calibrated(self.calibration, self.trust, raw)

    def odds(self, shopper: Ints, item: Ints) -> Floats:
        """Odds of (shopper, item) pairs at the model's moment, in the columns of `Ranked.odds`, shape (n, 5).

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
        # Of the chance as it is told: where it may be an impulse or a need, it rises by less than that of either.
        shown[:, _CUT] = _STEP
        told[:, 2] = np.maximum((self.shown(features, before, shown, item) - after) / _STEP, 0.0)
        margin = np.maximum(np.nan_to_num(data.price[item] - data.cost[item]), 0.0)
        slope = self.response.slope(features)
        lasts = self._lasts(features, data.category[item])
        told[:, 3], told[:, 4] = self.others.told(shopper, data.category[item], expit(before), margin, slope, lasts)
        told[~np.isfinite(data.price[item]) | ~np.isfinite(data.cost[item])] = np.nan
        return told

    def _lasts(self, features: Floats, category: Ints) -> Floats:
        times, days, due = (
            features[:, NAMES.index(name)].astype(np.float64)
            for name in ("own_category", "category_days", "category_due")
        )
        return self.cycle.lasts(category, np.expm1(times).round(), days, due)


_OF_KINDS = [
    NAMES.index(name)
    for name in (
        "own_category", "category_rate", "category_days", "category_due", "category_rate_all", "visits", "visit_days",
        "lines", "category_near", "looked_category", "shown_category", "prompted_category", "interest",
        "category_gap", "category_due_all", "category_expected",
    )
]  # fmt: skip
_CUT = SHOWN_NAMES.index("cut")
_STEP = 0.25
"""The discount, as -log(1 - discount), by which the slope of log-odds is told."""
_PLACED = slice(SHOWN_NAMES.index("entrance"), SHOWN_NAMES.index("phone") + 1)


def fit_value(data: ValueData, *, seed: int) -> ValueModel | None:
    """Train on all that `data` holds; None where too little was shown or bought of it to learn anything."""
    rng = np.random.default_rng(seed)
    if len(data.showings) < FEWEST_SHOWN:
        return None
    known = Known(data)
    unshown, of_categories, shown, drawn = examples(known, rng)
    if (
        len(shown.bought) < FEWEST_SHOWN
        or shown.bought.sum() < FEWEST_BOUGHT
        or not len(unshown.bought)
        or not len(of_categories.bought)
    ):
        return None
    trees = Boosting.train(unshown.features, unshown.bought, objective="binary", rounds=_ROUNDS, parameters=_TREES,
                           seed=seed, threads=1)  # fmt: skip
    kinds = Boosting.train(of_categories.features[:, _OF_KINDS], of_categories.bought, objective="binary",
                           rounds=_ROUNDS_OF_KINDS, parameters=_TREES, seed=seed, threads=1)  # fmt: skip
    before = np.stack([_log_odds(trees, unshown.log_rate, shown.features), _of_kinds(kinds, shown.features)], axis=1)
    everything = np.ones(len(shown.bought), bool)
    response = _respond(known, shown, before, everything)
    calibration, trust = _calibrate(known, shown, before)
    found = ValueModel(
        known=known,
        taste=taste_now(known, seed),
        trees=trees,
        kinds=kinds,
        log_rate=unshown.log_rate,
        response=response,
        calibration=calibration,
        trust=0.0 if calibration is None else trust,
        others=Others(),
        cycle=learn_cycle(data.purchases, chosen(data), data.visits, data.category, data.categories, data.moment),
        placements=shown.shown[:, _PLACED].mean(axis=0).astype(np.float64),
    )
    return found if drawn is None else replace(found, others=_learned(found, drawn))


def taste_now(known: Known, seed: int) -> Taste:
    """What shoppers like at the moment of the history: it holds what is each one's own, so it is fitted, not kept."""
    return known.taste(known.data.moment, np.random.default_rng(seed))


def _respond(known: Known, shown: Shown, before: Floats, rows: npt.NDArray[np.bool_]) -> Response:
    return Response.fit(
        shown.features[rows], before[rows], shown.shown[rows], shown.category[rows], shown.item[rows],
        shown.bought[rows], categories=known.data.categories, items=len(known.data.item_ids), places=known.places,
    )  # fmt: skip


def _calibrate(known: Known, shown: Shown, before: Floats) -> tuple[Calibration | None, float]:
    """Isotonic, on the newest windows that hold a quarter of the rows, by a regression on those before; its weight."""
    order = np.sort(shown.window)
    cut = order[len(order) * 3 // 4]
    later = shown.window >= cut
    earlier = ~later
    if min(earlier.sum(), later.sum()) < _FEWEST_TO_CALIBRATE or shown.bought[earlier].sum() < FEWEST_BOUGHT:
        return None, 0.0
    model = _respond(known, shown, before, earlier)
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


def _of_kinds(trees: Boosting, features: Floats) -> Floats:
    return _log_odds(trees, 0.0, features[:, _OF_KINDS])


def _learned(model: ValueModel, drawn: Drawn) -> Others:
    """What showing does to other goods, by random offers."""
    before = model.unshown(drawn.features)
    after = model.shown(drawn.features, before, drawn.shown, drawn.asked.item)
    chance = expit(before)
    each = np.maximum(np.nan_to_num(model.data.price - model.data.cost), 0.0)[drawn.beside_item]
    other = expit(model.unshown(drawn.beside))

    def of_rows(told: Floats) -> Floats:
        return np.asarray(np.bincount(drawn.beside_row, weights=told, minlength=len(chance)), np.float64)

    usual, bought, square = of_rows(other * each), of_rows(other), of_rows(other * each**2)
    cut = drawn.shown[:, -1].astype(np.float64) * model.response.slope(drawn.features)
    taken, brought = parts(chance, expit(after) - chance, cut, usual, bought)
    return learn_others(taken, brought, usual=usual, square=square, profit=drawn.others, offered=drawn.offered,
                        propensity=drawn.propensity)  # fmt: skip
