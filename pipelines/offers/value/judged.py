"""How good the value model is on a later window that it had not seen: calibration, uplift, profit of its choices."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from models.estimators.calibration import calibration_error
from models.uplift.quality import targeting
from pipelines.offers.value.data import ValueData
from pipelines.offers.value.examples import later
from pipelines.offers.value.features import Known
from pipelines.offers.value.model import fit_value

Floats = npt.NDArray[np.float64]

_FEWEST = 200
_FIFTH = 0.2


def judged(data: ValueData, cut: int, *, seed: int) -> dict[str, float]:
    """Train on what was known at `cut`, and judge on the showings and random offers of the time since.

    Every row is told of what lay before its own visit, as a shop that retrains daily would know it.

    Returns:
        `calibration_error` of the chance that what is shown is bought, `shown` and `offers` (rows); of random offers
        `auuc` and `qini` (added purchases per row, in the order of foretold uplift), `profit` (incremental profit of an
        offer as they were drawn, in money of the shop) and `profit_top_fifth` (of the fifth most worth showing). A
        figure for which there are too few rows is left out; all where the time before was too short to learn.
    """
    model = fit_value(data.before(cut), seed=seed)
    if model is None:
        return {}
    known = Known(data, model.known.place_names)
    shown, drawn = later(known, model.taste, cut)
    found = {"shown": float(len(shown.bought))}
    if len(shown.bought) >= _FEWEST:
        before = model.unshown(shown.features)
        chances = expit(model.shown(shown.features, before, shown.shown, shown.item))
        found["calibration_error"] = calibration_error(chances, shown.bought)
    if drawn is None or len(drawn.offered) < _FEWEST or len(np.unique(drawn.offered)) < 2:
        return found
    item = drawn.asked.item
    before = model.unshown(drawn.features)
    after, plain = expit(model.shown(drawn.features, before, drawn.shown, item)), expit(before)
    price, cost = data.price[item], data.cost[item]
    depth = -np.expm1(-drawn.shown[:, -1].astype(np.float64))
    worth = np.nan_to_num(after * (price * (1.0 - depth) - cost) - plain * (price - cost))
    treated, chance = drawn.offered > 0, drawn.propensity
    effects = after - plain + _weighed(treated, chance, drawn.bought - np.where(treated, after, plain))
    curve = targeting(after - plain, effects, group=drawn.asked.shopper, resamples=100, seed=seed)
    profit = _weighed(treated, chance, drawn.own + drawn.others - np.mean(drawn.own + drawn.others))
    top = worth >= np.quantile(worth, 1.0 - _FIFTH)
    return found | {
        "offers": float(len(drawn.offered)),
        "auuc": curve.auuc.value,
        "qini": curve.qini.value,
        "profit": float(profit.mean()),
        "profit_top_fifth": float(profit[top].mean()),
    }


def _weighed(treated: npt.NDArray[np.bool_], chance: Floats, rest: Floats) -> Floats:
    """Inverse propensity weights with the sign of the treatment; `chance` is of what happened."""
    return np.asarray(np.where(treated, 1.0, -1.0) / chance * rest)
