"""Random numbers by counter: a draw is a hash of the seed and of what it is for, so that order never matters.

Two runs that ask for the same shopper, day and item get the same number whatever else they asked for (common random
numbers). The mixing function is the finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_ONE, _TWO = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


class Stream(IntEnum):
    """What a draw is for: different streams are independent of each other."""

    NAMES = 1
    MAKER = 2
    CATEGORY = 3
    ITEM = 4
    PRICE_WEEK = 5
    LAUNCH = 6
    NEIGHBOURHOOD = 7
    STORE = 8
    ASSORTMENT = 9
    DELIVERY = 10
    SUPPLY = 11
    SHOPPER = 12
    HABIT = 13
    LIKING = 14
    ROLE = 15
    VISIT = 16
    WANDER = 17
    CHOICE = 18
    OUTSIDE = 19
    LOOK = 20
    TAP = 21
    QUANTITY = 22
    CONTENT = 23
    WATCH = 24
    BROWSE = 25
    SEARCH = 26
    AFTER = 27
    CAMPAIGN = 28
    HOUSE = 29
    DISPLAY = 30
    BOT = 31
    BRUSHING = 32
    EVENT = 33


class Draws:
    """All draws of one town."""

    def __init__(self, seed: int) -> None:
        self._start = _mix(np.asarray([seed & (2**64 - 1)], dtype=np.uint64))

    def keys(self, stream: Stream, *parts: int | Array) -> Array:
        """Hash whole numbers (broadcast against each other); uint64, never a scalar."""
        key = extend(self._start, int(stream))
        for part in parts:
            key = extend(key, part)
        return key

    def uniform(self, stream: Stream, *parts: int | Array) -> Array:
        """Draw from the open interval (0, 1); float64."""
        return uniform(self.keys(stream, *parts))

    def normal(self, stream: Stream, *parts: int | Array) -> Array:
        """Draw about normally, mean 0, standard deviation 1; float64."""
        return normal(self.keys(stream, *parts))

    def below(self, limit: int | Array, stream: Stream, *parts: int | Array) -> Array:
        """Draw whole numbers from 0 to `limit` - 1; int64."""
        return np.asarray(np.minimum(self.uniform(stream, *parts) * limit, np.asarray(limit) - 1)).astype(np.int64)


def extend(key: Array, part: int | Array) -> Array:
    """Hash one more whole number into keys."""
    more = np.atleast_1d(np.asarray(part, dtype=np.int64)).view(np.uint64)
    return _mix(key ^ (more * _GOLDEN + _TWO))


def uniform(key: Array) -> Array:
    """From keys to the open interval (0, 1); float64."""
    return np.asarray(((key >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52)


def gumbel(key: Array) -> Array:
    """From keys to the standard Gumbel distribution; float64. Argmax of log p + gumbel chooses with probability p."""
    return np.asarray(-np.log(-np.log(uniform(key))))


def normal(key: Array) -> Array:
    """From keys to a near-normal distribution: the sum of four uniforms of 16 bits; float64, within ±3.5."""
    mask = np.uint64(0xFFFF)
    total = (key & mask) + (key >> np.uint64(16) & mask) + (key >> np.uint64(32) & mask) + (key >> np.uint64(48))
    return np.asarray((total.astype(np.float64) - 131070.0) / 37837.2)


def _mix(key: Array) -> Array:
    key = key + _GOLDEN
    key = (key ^ (key >> np.uint64(30))) * _ONE
    key = (key ^ (key >> np.uint64(27))) * _TWO
    return np.asarray(key ^ (key >> np.uint64(31)))
