"""Features of a shopper and an item that they bought: how often, how regularly, and whether it is due.

Intervals between purchases as features of repeat consumption: Bhagat et al., "Buy It Again: Modeling Repeat Purchase
Recommendations", KDD 2018.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from models.dataset import FloatArray, IntArray
from models.ranking_features.cells import Cells
from models.ranking_features.items import ItemFeatures
from models.ranking_features.past import Past, gaps, medians, rank_within

DECAYS = (10.0, 30.0, 60.0, 150.0, 400.0)  # days over which a purchase's weight falls to 1 / e
_WINDOWS = (14, 28, 56, 112)  # days
_TRIPS = (3, 6, 12, 25)  # newest shopping days
_PRIOR_GAPS = 2.0  # gaps of the item that count as much as the shopper's own


def history_features(past: Past, items: ItemFeatures, pairs: IntArray) -> dict[str, FloatArray]:
    """Features of pairs that are all in `past.pairs` (ordered); each of shape (pairs,), NaN: cannot be told."""
    place, _ = past.find(pairs)
    shopper, item = pairs // past.items, pairs % past.items
    counts = {f"count_decayed_{decay:g}": _sums(past, np.exp(-past.age / decay))[place] for decay in DECAYS}
    found = {"count": _sums(past, np.ones(len(past.age)))[place], **counts}
    found |= _intervals(past, items, place, item)
    found |= _trips(past, place, shopper)
    decayed = found["count_decayed_150"]
    whole = np.bincount(shopper, decayed, past.shoppers)
    found["count_share"] = decayed / np.maximum(whole[shopper], 1e-9)
    found["count_rank"] = rank_within(shopper, decayed)
    for name, groups in past.groups.items():
        cells = Cells.of(past.shopper * groups.count + groups.code[past.item], np.exp(-past.age / 150))
        own = cells.at(shopper * groups.count + groups.code[item])
        found[f"share_of_own_{name}"] = decayed / np.maximum(own, 1e-9)
    return found


def _sums(past: Past, weights: FloatArray) -> FloatArray:
    """Sum of the interactions' weights for each of `past.pairs`."""
    return np.bincount(past.place, weights, len(past.pairs)).astype(np.float64)


def _intervals(past: Past, items: ItemFeatures, place: IntArray, item: IntArray) -> dict[str, FloatArray]:
    """Time since purchase, by itself and over the usual interval of the pair, the item and both."""
    owner, ago = past.pair_days
    count = len(past.pairs)
    days = np.bincount(owner, minlength=count).astype(np.float64)
    newest, oldest = np.full(count, np.inf), np.zeros(count)
    np.minimum.at(newest, owner, ago)
    np.maximum.at(oldest, owner, ago)
    gap_owner, gap = gaps(owner, ago)
    between = days - 1
    mean = np.where(between > 0, (oldest - newest) / np.maximum(between, 1), np.nan)
    square = np.bincount(gap_owner, gap**2, count) / np.maximum(between, 1)
    spread = np.sqrt(np.maximum(square - np.nan_to_num(mean) ** 2, 0)) / np.maximum(np.nan_to_num(mean), 0.5)
    last = np.full(count, np.nan)
    first_of = np.flatnonzero(np.r_[True, gap_owner[1:] != gap_owner[:-1]]) if len(gap_owner) else np.zeros(0, np.int64)
    last[gap_owner[first_of]] = gap[first_of]
    usual = items.interval[item]
    weight = between[place]
    mixed = np.nan_to_num(mean[place]) * weight + _PRIOR_GAPS * np.nan_to_num(usual, nan=items.usual_interval)
    mixed /= weight + _PRIOR_GAPS
    since = newest[place]
    median = medians(gap_owner, gap, count)[place]
    return {
        "days": days[place],
        "days_since_last": since,
        "days_since_first": oldest[place],
        "interval_mean": mean[place],
        "interval_median": median,
        "interval_last": last[place],
        "interval_spread": np.where(between > 1, spread, np.nan)[place],
        "interval_mixed": mixed,
        "since_over_mean": since / np.maximum(mean[place], 1),
        "since_over_median": since / np.maximum(median, 1),
        "since_over_item": since / np.maximum(usual, 1),
        "since_over_mixed": since / np.maximum(mixed, 1),
    }


def _trips(past: Past, place: IntArray, shopper: IntArray) -> dict[str, FloatArray]:
    """Purchases counted in the shopper's own trips (days on which they bought anything) and in days."""
    who, when = past.visits
    start = np.searchsorted(who, np.arange(past.shoppers + 1))
    packed = who * (1 << 20) + when
    owner, ago = past.pair_days
    own = past.pair_shopper[owner]
    trip = np.searchsorted(packed, own * (1 << 20) + ago) - start[own]  # 0: the newest trip
    count, trips = len(past.pairs), np.maximum(np.diff(start), 1)[shopper]
    found: dict[str, npt.NDArray[Any]] = {
        f"in_last_{number}_trips": np.bincount(owner[trip < number], minlength=count)[place] / np.minimum(number, trips)
        for number in _TRIPS
    }
    found |= {f"days_of_{days}": np.bincount(owner[ago < days], minlength=count)[place] for days in _WINDOWS}
    newest, oldest = np.full(count, np.inf), np.zeros(count)
    np.minimum.at(newest, owner, trip)
    np.maximum.at(oldest, owner, trip)
    found["trips_since_last"] = newest[place]
    found["in_trips_decayed"] = np.bincount(owner, np.exp(-trip / 12), count)[place]
    found["rate_of_trips"] = np.bincount(owner, minlength=count)[place] / (oldest[place] + 1)
    return {name: np.asarray(values, np.float64) for name, values in found.items()}
