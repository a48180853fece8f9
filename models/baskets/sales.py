"""What all sales say of an item: its price, how much of the sales it was and when it last sold, by kind of shopper."""

from __future__ import annotations

import numpy as np

from models.baskets.log import Float32Array, Purchases
from models.baskets.scenes import Scene
from models.dataset import FloatArray, IntArray

SHARE_ROWS = 3000.0  # shares of sales are counted as if they were of so many rows, whatever the size of the log


def prices_of(log: Purchases, scene: Scene) -> tuple[Float32Array, Float32Array]:
    """Usual price by item, and its price of late against the usual, both as logarithms; NaN where unknown."""
    told = np.isfinite(log.prices) & (log.prices > 0)
    value = np.where(told, np.log(np.where(told, log.prices, 1.0)), 0.0)
    usual_weight, now_weight = (scene.known & told).astype(np.float64), scene.windows["now"] * told * SHARE_ROWS
    with np.errstate(invalid="ignore", divide="ignore"):
        usual = log.counts(usual_weight * value) / log.counts(usual_weight)
        weight = log.counts(now_weight)
        now = (log.counts(now_weight * value) + 0.3 * np.nan_to_num(usual)) / (weight + 0.3)
    return usual.astype(np.float32), (now - usual).astype(np.float32)


def fashion_of(log: Purchases) -> FloatArray:
    """For each purchase the log of the item's share of the sales of the three days before it; shape (rows,)."""
    first = int(log.days.min(initial=0))
    width = int(log.days.max(initial=0)) - first + 5
    key = np.sort(log.items * width + log.days - first)
    day = log.days - first
    low = log.items * width + np.maximum(day - 3, 0)
    count = np.searchsorted(key, log.items * width + day) - np.searchsorted(key, low)
    total = np.r_[0, np.cumsum(np.bincount(day, minlength=width))]
    volume = total[day] - total[np.maximum(day - 3, 0)]
    share: FloatArray = np.log((count + 0.02) / (volume + 100.0))
    return share


def late_sales(log: Purchases, scene: Scene) -> dict[str, Float32Array]:
    """Days from the nearest known sale of an item, on how many near days it was sold, and its price then."""
    away = np.where(scene.known, np.abs(scene.day - log.days), 10_000)
    nearest = np.full(log.size[1], 10_000)
    np.minimum.at(nearest, log.items, away)
    near = away <= 7
    pairs = np.unique(log.items[near] * 20 + (scene.day - log.days[near]) + 10)
    told = (away == nearest[log.items]) & scene.known & np.isfinite(log.prices) & (log.prices > 0)
    price = np.where(told, np.log(np.where(told, log.prices, 1.0)), 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        last = log.counts(price) / log.counts(told.astype(np.float64))
    return {
        "since_sold": nearest.astype(np.float32),
        "days_sold": np.bincount(pairs // 20, minlength=log.size[1]).astype(np.float32),
        "price_last": last.astype(np.float32),
    }


def lift_of(log: Purchases, codes: IntArray, weights: Float32Array) -> Float32Array:
    """Log of a kind of shoppers' share of an item over everybody's, shrunk to 0; shape (kinds, items)."""
    mine = codes[log.shoppers]
    width, rows = int(codes.max(initial=0)) + 1, weights * SHARE_ROWS
    flat = np.bincount(
        np.maximum(mine, 0) * log.size[1] + log.items, rows * (mine >= 0), minlength=width * log.size[1]
    ).reshape(width, log.size[1])
    expected = flat.sum(axis=1, keepdims=True) * (flat.sum(axis=0) / max(float(flat.sum()), 1e-9))[None, :]
    lift: Float32Array = np.log((flat + 3.0) / (expected + 3.0)).astype(np.float32)
    return lift
