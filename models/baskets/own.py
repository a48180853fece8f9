"""What a shopper's own past says of an item: counts, times and prices; and how often items are bought again."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import sparse

from models.baskets.log import Float32Array, Purchases
from models.baskets.scenes import Scene
from models.dataset import BoolArray, FloatArray, IntArray


class Own:
    """The past of a block of shoppers, one row for each of them and each item they bought."""

    def __init__(self, log: Purchases, scene: Scene, shoppers: IntArray, fashion: FloatArray) -> None:
        self.shoppers = shoppers
        sizes = log.bounds[shoppers + 1] - log.bounds[shoppers]
        rows = np.repeat(log.bounds[shoppers] - np.r_[0, np.cumsum(sizes)[:-1]], sizes) + np.arange(sizes.sum())
        line = np.repeat(np.arange(len(shoppers)), sizes)
        if scene.dated:
            kept = log.days[rows] < scene.day
            rows, line = rows[kept], line[kept]
        self._width = log.size[1]
        last, first = np.full(len(shoppers), -1), np.full(len(shoppers), np.iinfo(np.int64).max)
        np.maximum.at(last, line, log.days[rows])
        np.minimum.at(first, line, log.days[rows])
        came = last >= 0
        self.last_day = np.where(came, last, scene.day - 1)
        visits = np.zeros(len(shoppers))
        np.add.at(visits, line, log.starts[rows])
        self._gap = (np.where(came, last - first, 0) + scene.usual_gap) / np.maximum(visits, 1)
        # where the day is not known it is taken to be the shopper's usual gap after the last visit
        self.day = np.full(len(shoppers), float(scene.day)) if scene.dated else self.last_day + self._gap
        self._sum(log, rows, line)
        self.dated = scene.dated
        mean = np.maximum(np.bincount(line, minlength=len(shoppers)), 1)
        self._fashion = np.bincount(line, fashion[rows], len(shoppers)) / mean
        told = np.isfinite(log.prices[rows]) & (log.prices[rows] > 0)
        paid = np.log(np.where(told, log.prices[rows], 1.0).astype(np.float64))
        with np.errstate(invalid="ignore"):
            self.usual_price = np.bincount(line, paid * told, len(shoppers)) / np.bincount(line, told, len(shoppers))

    def _sum(self, log: Purchases, rows: IntArray, line: IntArray) -> None:
        """Sums over rows of the same visit's shopper and item."""
        key = line * self._width + log.items[rows]
        order = np.argsort(key, kind="stable")  # by day within a key: the log is ordered so
        rows, line, key = rows[order], line[order], key[order]
        first = np.r_[True, key[1:] != key[:-1]] if len(key) else np.zeros(0, dtype=bool)
        starts = np.flatnonzero(first)
        self.keys, self.lines = key[starts], line[starts]
        self.items = log.items[rows][starts]
        age = self.day[line] - log.days[rows]
        add = np.add.reduceat if len(starts) else (lambda values, _: values)
        self.count = add(np.ones(len(rows)), starts)
        self.faded = {days: add(np.exp(-age / days), starts) for days in (7.0, 30.0, 90.0)}
        ends = np.r_[starts[1:], len(rows)][: len(starts)] - 1
        self.age, self._oldest = age[ends], age[starts]
        visits = log.visits[rows]
        self._each = (line, log.items[rows], age, visits)
        newest = np.zeros(len(self.shoppers), np.int64)
        np.maximum.at(newest, line, visits)
        oldest = np.full(len(self.shoppers), np.iinfo(np.int64).max)
        np.minimum.at(oldest, line, visits)
        self.visits_since = (newest[self.lines] - visits[ends]).astype(np.float64)
        self._visits = np.where(newest >= oldest, newest - oldest + 1, 0)
        self._rows = np.bincount(line, minlength=len(self.shoppers))
        self.since_first = newest[self.lines] - visits[starts] + 1
        self.paid = add(np.nan_to_num(log.prices[rows].astype(np.float64)), starts) / np.maximum(self.count, 1)

    @property
    def matrix(self) -> sparse.csr_matrix:
        """Purchases decayed over 90 days, by visit and item."""
        return self._matrix(self.faded[90.0])

    @property
    def last_basket(self) -> sparse.csr_matrix:
        """The last basket and, less so, the ones before."""
        return self._matrix(np.where(self.visits_since < 3, 0.6**self.visits_since, 0.0))

    def _matrix(self, values: FloatArray) -> sparse.csr_matrix:
        shape = (len(self.shoppers), self._width)
        return sparse.csr_matrix(
            (values.astype(np.float32), self.items, np.searchsorted(self.lines, np.arange(shape[0] + 1))), shape=shape
        )

    def share_of(self, codes: IntArray) -> Float32Array:
        """Share of the shopper's (decayed) purchases by kind; shape (visits, kinds)."""
        width = int(codes.max(initial=0)) + 1
        mine = codes[self.items]
        known = mine >= 0
        flat = np.bincount(self.lines[known] * width + mine[known], self.faded[90.0][known], len(self.shoppers) * width)
        table = flat.reshape(len(self.shoppers), width)
        shares: Float32Array = (table / (table.sum(axis=1, keepdims=True) + 1.0)).astype(np.float32)
        return shares

    def of_items(self, line: IntArray, items: IntArray) -> dict[str, npt.NDArray[np.floating]]:
        """What the shopper did with each item; NaN or 0 where they never bought it."""
        key = line * self._width + items
        place = np.minimum(np.searchsorted(self.keys, key), max(0, len(self.keys) - 1))
        had = self.keys[place] == key if len(self.keys) else np.zeros(len(key), dtype=bool)

        def told(values: npt.NDArray[np.floating], missing: float) -> npt.NDArray[np.floating]:
            return np.where(had, values[place], missing) if len(values) else np.full(len(key), missing)

        count = told(self.count, 0.0)
        between = told((self._oldest - self.age) / np.maximum(self.count - 1, 1), np.nan)
        between = np.where(count > 1, between, np.nan)
        return {
            "own_count": count,
            **{f"own_{days:.0f}": told(values, 0.0) for days, values in self.faded.items()},
            "own_age": told(self.age, np.nan),
            "own_visits_since": told(self.visits_since, np.nan),
            "own_rate": count / np.maximum(self._visits[line], 1),
            "own_rate_since": told(self.count / np.maximum(self.since_first, 1), 0.0),
            "own_between": between,
            "own_due": told(self.age, np.nan) / between,
            "own_paid": told(self.paid, np.nan),
        }

    def of_kind(
        self, name: str, codes: IntArray, line: IntArray, items: IntArray
    ) -> dict[str, npt.NDArray[np.floating]]:
        """When and how often the shopper bought of the item's kind."""
        who, bought, age, visits = self._each
        width = int(codes.max(initial=0)) + 1
        key = np.where(codes[bought] >= 0, who * width + codes[bought], -1)
        order = np.lexsort((visits, key))
        key, age, visits = key[order], age[order], visits[order]
        first = np.r_[True, key[1:] != key[:-1]] if len(key) else np.zeros(0, dtype=bool)
        starts = np.flatnonzero(first)
        ends = np.r_[starts[1:], len(key)][: len(starts)] - 1
        fresh = first | np.r_[True, visits[1:] != visits[:-1]] if len(key) else first
        times = np.add.reduceat(fresh.astype(np.float64), starts) if len(starts) else np.zeros(0)
        sought = np.where(codes[items] >= 0, line * width + codes[items], -2)
        place = np.minimum(np.searchsorted(key[starts], sought), max(0, len(starts) - 1))
        had = key[starts][place] == sought if len(starts) else np.zeros(len(line), dtype=bool)
        if not len(starts):
            times = newest = between = np.zeros(1)
        else:
            newest = age[ends]
            between = (age[starts] - newest) / np.maximum(times - 1, 1)
        count = np.where(had, times[place], 0.0)
        since = np.where(had, newest[place], np.nan)
        with np.errstate(invalid="ignore", divide="ignore"):
            due = np.where(count > 1, since / np.maximum(between[place], 0.5), np.nan)
        return {
            f"{name}_visits": count / np.maximum(self._visits[line], 1),
            f"{name}_age": since,
            f"{name}_due": due,
        }

    def of_shoppers(self) -> dict[str, npt.NDArray[np.floating]]:
        """What is known of the shopper."""
        since = self.day - self.last_day
        repeats = np.bincount(self.lines, self.count > 1, len(self.shoppers))
        kinds = np.bincount(self.lines, minlength=len(self.shoppers))
        found = {
            "visits": self._visits.astype(np.float64),
            "basket_size": self._rows / np.maximum(self._visits, 1),
            "repeater": (repeats + 0.1) / (kinds + 1.0),
            "gap": self._gap,
            "fashion": self._fashion,
        }
        if self.dated:
            found["since"] = since
        return found


class Repeats:
    """How often and how soon items are bought again by the same shopper."""

    def __init__(self, log: Purchases) -> None:
        key = log.shoppers * log.size[1] + log.items
        self._order = np.lexsort((log.days, key))
        self._key, self._days, self._items = (values[self._order] for values in (key, log.days, log.items))
        self._width = log.size[1]

    def of(self, known: BoolArray) -> tuple[FloatArray, FloatArray]:
        """Repeats per buyer and usual days between two purchases, by item, of the known rows of the log."""
        kept = known[self._order]
        key, days, items = self._key[kept], self._days[kept], self._items[kept]
        again = key[1:] == key[:-1]
        gaps = np.log(np.maximum(np.diff(days)[again], 1))
        repeats = np.bincount(items[1:][again], minlength=self._width)
        buyers = np.bincount(items, minlength=self._width) - repeats
        usual = float(gaps.mean()) if len(gaps) else float(np.log(30.0))
        between = np.exp((np.bincount(items[1:][again], gaps, self._width) + 3 * usual) / (repeats + 3))
        return (repeats + 0.2) / (buyers + 2.0), between
