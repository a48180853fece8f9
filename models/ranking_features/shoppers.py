"""Features of a shopper alone: how often they shop, how much is new to them, what they pay."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from models.dataset import FloatArray
from models.ranking_features.items import ItemFeatures
from models.ranking_features.past import Past


def shopper_features(past: Past, items: ItemFeatures) -> dict[str, FloatArray]:
    """Each of shape (shoppers,), NaN: not known."""
    count = past.shoppers
    who, when = past.visits
    last = np.full(count, np.inf)
    np.minimum.at(last, past.shopper, past.age)
    oldest = np.zeros(len(past.pairs))
    np.maximum.at(oldest, past.place, past.age)
    month = past.bought_since(28) // max(1, past.items)
    found: dict[str, npt.NDArray[Any]] = {
        "shopper_days": np.bincount(who, minlength=count),
        "shopper_days_28": np.bincount(who[when < 28], minlength=count),
        "shopper_days_84": np.bincount(who[when < 84], minlength=count),
        "shopper_since_last": np.where(np.isfinite(last), last, np.nan),
        "shopper_count": np.bincount(past.shopper, minlength=count),
        "shopper_count_28": np.bincount(past.shopper[past.age <= 28], minlength=count),
        "shopper_count_84": np.bincount(past.shopper[past.age <= 84], minlength=count),
        "shopper_items": np.bincount(past.pair_shopper, minlength=count),
        "shopper_new_share": np.bincount(past.pair_shopper[oldest <= 28], minlength=count)
        / np.maximum(np.bincount(month, minlength=count), 1),
        "shopper_kept": items.kept_by_shopper(),
        **past.attributes,
    }
    if past.price is not None:
        found["shopper_price"] = shopper_price(past, items)
    return {name: np.asarray(values, np.float64) for name, values in found.items()}


def shopper_price(past: Past, items: ItemFeatures) -> FloatArray:
    """Mean log(1 + usual price) of what each shopper bought, NaN where no price is known; shape (shoppers,)."""
    price = np.log1p(items.table["price"])[past.item]
    known = np.isfinite(price)
    number = np.bincount(past.shopper[known], minlength=past.shoppers)
    total = np.bincount(past.shopper[known], price[known], past.shoppers)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)
