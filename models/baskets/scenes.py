"""Which sales count how much for a visit, by what is known of its date.

- `date_known_past`: the day is known, and of all sales only those of earlier days.
- `same_day`: the day is known, and every sale of the log, whenever it was.
- `date_unknown`: every sale of the log; the day is guessed from the shopper's last visit and the usual time between two
  visits of shoppers who come about as often.

Shares of sales, not sums, are compared: a log whose last visits are taken out thins towards its end.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from models.baskets.log import Float32Array, Purchases, Visits
from models.dataset import BoolArray, FloatArray, IntArray

Knows = Literal["date_unknown", "date_known_past", "same_day"]
_VOLUMES = (300, 1000, 3000)  # rows of sales: windows that hold as much at the thin end of a log as in its middle
_PACES = 3  # groups of shoppers by the time between their visits
_EVIDENCE = 100.0  # rows that a day is given beyond its own, so that few sales are no strong sign


@dataclass(frozen=True)
class Scene:
    """What may be known for a group of visits.

    Attributes:
        key: a number of its own in its log.
        day: from which ages are counted: the visit's day, or the shopper's last one where that is not known.
        dated: whether `day` is the visit's.
        known: rows of the log that may be used; shape (rows,).
        windows: weight of each row, by window; each sums to about 1 over the log or less.
        usual_gap: mean days between two visits of a shopper, of what is known.
    """

    key: int
    day: int
    dated: bool
    known: BoolArray
    windows: dict[str, Float32Array]
    usual_gap: float


@dataclass(frozen=True)
class Pace:
    """How long shoppers stay away.

    Attributes:
        last: day of each shopper's last visit, -1 without one; shape (shoppers,).
        group: 0 to _PACES - 1 by the mean days between visits, the log's mean added as one visit's worth.
    """

    last: IntArray
    group: IntArray

    @classmethod
    def of(cls, log: Purchases) -> Pace:
        """Measure a log."""
        who, days, count = log.visit_shoppers, log.visit_days, log.size[0]
        visits = np.bincount(who, minlength=count)
        last, first = np.full(count, -1, np.int64), np.zeros(count, np.int64)
        np.maximum.at(last, who, days)
        first[who[::-1]] = days[::-1]
        span = np.where(visits > 0, last - first, 0)
        usual = span.sum() / max(1, np.maximum(visits - 1, 0).sum())
        gap = (span + usual) / np.maximum(visits, 1)
        cuts = (
            np.quantile(gap[visits > 1], np.arange(1, _PACES) / _PACES) if (visits > 1).any() else [0.0] * (_PACES - 1)
        )
        return cls(last, np.searchsorted(np.asarray(cuts), gap).astype(np.int64))


class Scenes:
    """The scenes of a log: one for each day, or for each last day and pace."""

    def __init__(self, log: Purchases, knows: Knows) -> None:
        self._log, self._knows, self._pace = log, knows, Pace.of(log)
        self._first = int(log.days.min())
        self._daily = np.bincount(log.days - self._first).astype(np.float64)  # rows of each day
        same = log.visit_shoppers[1:] == log.visit_shoppers[:-1]
        self._from, self._gaps = log.visit_days[:-1][same], np.diff(log.visit_days)[same]
        self._of = self._pace.group[log.visit_shoppers[1:][same]]

    def groups(self, visits: Visits) -> Iterator[tuple[Scene, IntArray]]:
        """Each scene with the positions in `visits` that it is for."""
        if self._knows == "date_unknown":
            last = self._pace.last[visits.shoppers]
            last = np.where(last < 0, self._log.days.max(), last)  # who never came may come at the log's end
            keys = last * _PACES + self._pace.group[visits.shoppers]
        else:
            keys = visits.days
        order = np.argsort(keys, kind="stable")
        for part in np.split(order, np.flatnonzero(np.diff(keys[order])) + 1):
            if len(part):
                yield self.scene(int(keys[part[0]])), part

    def scene(self, key: int) -> Scene:
        """The scene of a day (or of a last day × _PACES + pace)."""
        if self._knows == "date_known_past":
            return self._past(key)
        return self._same_day(key) if self._knows == "same_day" else self._guess(key // _PACES, key % _PACES)

    def _past(self, day: int) -> Scene:
        age = day - self._log.days
        known = age > 0
        reach = {f"sales_{volume}": self._reach(np.where(known, age, 10**6), volume) for volume in _VOLUMES}
        reach = {"day_1": 1, "day_2": 2, "day_3": 3, "week": 7, "month": 28, **reach}
        windows = {name: _share(known & (age <= days)) for name, days in reach.items()}
        windows["weekday"] = _share(known & (age % 7 == 0) & (age <= 28))
        windows["now"] = _share(known * np.exp(-np.maximum(age, 0) / 5.0))
        windows["long"] = _share(known * np.exp(-np.maximum(age, 0) / 60.0))
        return Scene(day, day, True, known, windows, self._usual_gap(self._from + self._gaps < day))

    def _same_day(self, day: int) -> Scene:
        off = self._log.days - day
        away = np.abs(off)
        reach = {f"sales_{volume}": self._reach(away, volume) for volume in _VOLUMES}
        reach = {"day_1": 0, "day_3": 1, "week": 3, "month": 14, **reach}
        windows = {name: _share(away <= days) for name, days in reach.items()}
        windows["before"] = _share((off < 0) & (off >= -7))
        windows["after"] = _share((off > 0) & (off <= 7))
        windows["now"] = _share(np.exp(-away / 2.5))
        windows["long"] = _share(np.exp(-away / 60.0))
        return Scene(day, day, True, np.ones(len(off), dtype=bool), windows, self._usual_gap(self._gaps > 0))

    def _guess(self, last: int, pace: int) -> Scene:
        chance = self._chance(last, pace)  # of each day of the log
        off = self._log.days - last
        windows = {
            name: self._spread(chance, days) for name, days in (("day_1", 0), ("day_3", 1), ("week", 3), ("month", 14))
        }
        end = int(self._log.days.max())
        windows["before"] = _share((off <= 0) & (off > -7))
        windows["after"] = _share((off > 0) & (off <= 7))
        windows["end_3"] = _share(self._log.days > end - 3)
        windows["end_10"] = _share(self._log.days > end - 10)
        windows["now"] = self._spread(chance, 2)
        windows["long"] = _share(np.exp(-np.abs(off) / 60.0))
        return Scene(
            last * _PACES + pace, last, False, np.ones(len(off), dtype=bool), windows, self._usual_gap(self._gaps > 0)
        )

    def _usual_gap(self, known: BoolArray) -> float:
        """Mean of the known gaps; a week where there is none."""
        return float(self._gaps[known].mean()) if known.any() else 7.0

    def _chance(self, last: int, pace: int) -> FloatArray:
        """Chance of the next visit on each day of the log, from gaps after visits of the same time of the log."""
        near = np.exp(-np.abs(self._from - last) / 10.0) * np.where(self._of == pace, 1.0, 0.1)
        length = len(self._daily)
        counted = np.bincount(np.minimum(self._gaps, length), near, minlength=length + 1)[:length].astype(np.float64)
        gaps = np.convolve(np.r_[counted[1:], 0.0], [0.25, 0.5, 0.25], mode="same") + 1e-3
        start = last - self._first + 1
        chance = np.zeros(length)
        chance[start:] = gaps[: length - start]
        if start >= length:
            chance[-1] = 1.0
        chance /= chance.sum()
        return chance

    def _spread(self, chance: FloatArray, days: int) -> Float32Array:
        """Weights of rows: the expected share of sales within `days` of the visit."""
        kernel = np.ones(2 * days + 1)
        volume = np.convolve(self._daily, kernel)[days : days + len(self._daily)] + _EVIDENCE
        by_day = np.convolve(chance / volume, kernel)[days : days + len(self._daily)]
        weights: Float32Array = by_day[self._log.days - self._first].astype(np.float32)
        return weights

    def _reach(self, away: IntArray, volume: int) -> int:
        """The shortest distance in days that holds so many rows."""
        rows = np.cumsum(np.bincount(np.minimum(away, 1000), minlength=1001)[:1000])
        return min(int(np.searchsorted(rows, volume)), 999)


def _share(weights: BoolArray | FloatArray) -> Float32Array:
    """Weights that sum to 1, `_EVIDENCE` rows of weight 1 added to the sum."""
    values = np.asarray(weights, dtype=np.float64)
    shares: Float32Array = (values / (values.sum() + _EVIDENCE)).astype(np.float32)
    return shares
