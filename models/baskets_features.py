"""Candidates for a next basket, and what is known of each: the features that a ranker of baskets learns from.

Everything is computed scene by scene (`models/baskets_windows.py`), from rows that the scene lets be known:

- own purchases: counts, decayed counts, time since the last, the usual time between two, an item's repurchase rate
- sales: shares of the sales of several windows, a day's and a month's, price against its usual price
- others: what shoppers of like history bought (user-based neighbours, cosine of decayed, popularity-damped counts), at
  all and of late; what followed on baskets like the shopper's last one
- kinds of items: the shopper's share of a category or a maker, the item's share of its sales
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

from models.baskets import Float32Array, Purchases, Visits, normalised, scaled, take_rows
from models.baskets_windows import Knows, Scene, Scenes
from models.dataset import BoolArray, FloatArray, IntArray

_BLOCK = 256  # visits whose scores of all items are held at once
_ROWS = 3000.0  # shares of sales are counted as if they were of so many rows, whatever the size of the log
_KEPT_BYTES, _ROW_BYTES = 800_000_000, 80  # of scenes that are kept for the next batch, by rows of the log


@dataclass(frozen=True)
class Kinds:
    """Codes of what items and shoppers are; -1: not known.

    Attributes:
        items: by name (category, maker …); each of shape (items,).
        shoppers: by name (age band …); each of shape (shoppers,).
    """

    items: dict[str, IntArray]
    shoppers: dict[str, IntArray]


@dataclass(frozen=True)
class Pool:
    """How many candidates each source names."""

    recent: int = 150
    popular: int = 40
    neighbours_now: int = 120
    neighbours: int = 60
    followed: int = 60
    together: int = 60
    kind: int = 100
    own: int = 200


@dataclass(frozen=True)
class Candidates:
    """Candidates of a group of visits, ordered by visit.

    Attributes:
        visits: position of the visit; shape (rows,).
        items: row of the item; shape (rows,).
        features: shape (rows, features).
    """

    visits: IntArray
    items: IntArray
    features: Float32Array


class Features:
    """Candidates and features of visits, from one log."""

    def __init__(self, log: Purchases, kinds: Kinds, knows: Knows, pool: Pool, neighbours: int) -> None:
        self._log, self._kinds, self._pool, self._neighbours = log, kinds, pool, neighbours
        self._scenes = Scenes(log, knows)
        self._repeats = _Repeats(log)
        follows = log.visit_shoppers[1:] == log.visit_shoppers[:-1]
        self._before = np.flatnonzero(follows)  # visits that another of the same shopper follows
        self._visit_bounds = np.r_[np.flatnonzero(log.starts), len(log)]
        self._fashion = _fashion(log)
        self._whole = sparse.csr_matrix(
            (np.ones(len(log), np.float32), log.items, self._visit_bounds),
            shape=(len(self._visit_bounds) - 1, log.size[1]),
        )
        self._kept: dict[int, _Shared] = {}
        self.names: list[str] = []

    def of(self, visits: Visits) -> Iterator[Candidates]:
        """Candidates of all visits, in groups."""
        for scene, group in self._scenes.groups(visits):
            shared = self._shared_of(scene)
            for start in range(0, len(group), _BLOCK):
                yield self._block(scene, shared, visits, group[start : start + _BLOCK])

    def _shared_of(self, scene: Scene) -> _Shared:
        """What the visits of a scene share; scenes met lately are kept, up to about _KEPT_BYTES."""
        found = self._kept.pop(scene.key, None) or _Shared(self, scene)
        self._kept[scene.key] = found
        while len(self._kept) > max(1, _KEPT_BYTES // (_ROW_BYTES * max(1, len(self._log)))):
            self._kept.pop(next(iter(self._kept)))
        return found

    def _block(self, scene: Scene, shared: _Shared, visits: Visits, part: IntArray) -> Candidates:
        shoppers = visits.shoppers[part]
        own = _Own(self._log, scene, shoppers, self._fashion)
        scores = shared.scores(own)
        chosen = self._choose(scene, shared, own, scores)
        line, items = np.nonzero(chosen)
        columns: dict[str, npt.NDArray[np.floating]] = {}
        for name, block in scores.items():
            columns[name] = block[line, items]
        columns.update(shared.of_items(items))
        columns.update(shared.of_kinds(shoppers[line], items))
        columns.update(own.of_items(line, items))
        for name, codes in self._kinds.items.items():
            columns.update(own.of_kind(name, codes, line, items))
        columns["price_last"] = columns["price_last"] - columns["price"]
        columns["price_gap"] = columns["price"] - own.usual_price[line]
        columns.update(shared.again(items, columns["own_age"]))
        columns.update({name: values[line] for name, values in own.of_shoppers().items()})
        self.names = list(columns)
        features = np.empty((len(line), len(columns)), dtype=np.float32)
        for place, values in enumerate(columns.values()):
            features[:, place] = values
        return Candidates(part[line], items, features)

    def _choose(self, scene: Scene, shared: _Shared, own: _Own, scores: dict[str, Float32Array]) -> BoolArray:
        """Which items are candidates of which visit; shape (visits, items)."""
        chosen = np.zeros((len(own.shoppers), self._log.size[1]), dtype=bool)
        pool = self._pool
        for window, count in (("now", pool.recent), ("long", pool.popular)):
            chosen |= _best(shared.share(window)[None, :], count)
        for name, count in (
            ("others_now", pool.neighbours_now),
            ("others", pool.neighbours),
            ("followed", pool.followed),
            ("together", pool.together),
            *((f"{kind}_now", pool.kind) for kind in self._kinds.items),
        ):
            chosen |= _best(scores[name], count)
        chosen[own.lines, own.items] = True
        return chosen


class _Shared:
    """What a scene's visits have in common."""

    def __init__(self, features: Features, scene: Scene) -> None:
        log, self._scene, self._features = features._log, scene, features
        self._log = log
        self._shares = {name: log.counts(weights) for name, weights in scene.windows.items()}
        known = scene.known.astype(np.float64)
        self._buyers = log.counts(known)
        self._damp = (1 / np.sqrt(self._buyers + 10.0)).astype(np.float32)
        age = np.abs(scene.day - log.days)
        faded = (known * np.exp(-age / 60.0)).astype(np.float32)
        self._like = normalised(log.matrix(faded * self._damp[log.items])).T.tocsr()
        self._bought = log.matrix(faded)
        self._now = log.matrix(scene.windows["now"] * _ROWS)
        self._recent = log.matrix(scene.windows["month"] * _ROWS)
        self._price = _prices(log, scene)
        self._kind_share = {
            name: {window: self._within(codes, window) for window in ("now", "long")}
            for name, codes in features._kinds.items.items()
        }
        self._group_lift = {
            name: _lift(log, codes, scene.windows["month"]) for name, codes in features._kinds.shoppers.items()
        }
        self._pairs(scene)
        self._late_visits(scene)
        self._again, self._between = features._repeats.of(scene.known)
        self._sold = _late_sales(log, scene)

    def share(self, window: str) -> FloatArray:
        """Share of the sales of a window, by item."""
        return self._shares[window]

    def _within(self, codes: IntArray, window: str) -> Float32Array:
        """An item's share of its kind's sales."""
        share = self._shares[window]
        total = np.bincount(np.maximum(codes, 0), share * (codes >= 0))
        result: Float32Array = np.where(codes >= 0, share / (total[codes] + 1e-5), 0.0).astype(np.float32)
        return result

    def _pairs(self, scene: Scene) -> None:
        """Baskets that another followed, and the ones that followed, each weighed by how near the latter is."""
        log, bounds = self._log, self._features._visit_bounds
        before = self._features._before
        day = log.visit_days[before + 1]
        weight = np.exp(-np.abs(scene.day - day) / 20.0) * scene.known[bounds[before + 1]]
        kept = before[weight > 1e-3]
        first = take_rows(self._features._whole, kept).multiply(self._damp[None, :]).tocsr()
        self._earlier = normalised(first).T.tocsr()
        self._later = scaled(take_rows(self._features._whole, kept + 1), weight[weight > 1e-3].astype(np.float32))

    def _late_visits(self, scene: Scene) -> None:
        """Baskets around the visit, by what they hold and weighed by how near they are."""
        bounds = self._features._visit_bounds
        weight = scene.windows["now"][bounds[:-1]] * _ROWS
        kept = np.flatnonzero(weight > 1e-3 * max(float(weight.max(initial=0)), 1e-9))
        baskets = take_rows(self._features._whole, kept)
        self._visits_having = normalised(baskets.multiply(self._damp[None, :]).tocsr()).T.tocsr()
        self._visits_now = scaled(baskets, weight[kept])

    def scores(self, own: _Own) -> dict[str, Float32Array]:
        """Scores of all items for a block of visits, by name."""
        taste = normalised(own.matrix.multiply(self._damp[None, :]).tocsr())
        alike = np.asarray((taste @ self._like).toarray(), dtype=np.float32)
        alike[np.arange(len(own.shoppers)), own.shoppers] = 0.0
        near = _nearest(alike, self._features._neighbours)
        wide = _nearest(alike * alike, 4 * self._features._neighbours)
        last = own.last_basket.multiply(self._damp[None, :]).tocsr()
        after = (normalised(last) @ self._earlier) @ self._later
        scores = {
            "together": _dense((taste @ self._visits_having) @ self._visits_now),
            "others": _dense(near @ self._bought),
            "others_now": _dense(near @ self._now),
            "others_wide": _dense(wide @ self._bought),
            "others_recent": _dense(wide @ self._recent),
            "followed": _dense(after),
        }
        for name, codes in self._features._kinds.items.items():
            part = own.share_of(codes)
            known = codes >= 0
            mine = np.where(known[None, :], part[:, np.maximum(codes, 0)], 0.0).astype(np.float32)
            scores[f"{name}_now"] = mine * self._kind_share[name]["now"][None, :]
            scores[f"{name}_mine"] = mine
        return scores

    def of_items(self, items: IntArray) -> dict[str, npt.NDArray[np.floating]]:
        """Sales and prices of chosen items."""
        found: dict[str, npt.NDArray[np.floating]] = {}
        for name, share in self._shares.items():
            found[f"share_{name}"] = share[items].astype(np.float32)
        now, long = self._shares["now"][items], self._shares["long"][items]
        found["trend"] = np.log((now + 2e-5) / (long + 2e-5))
        for name, shares in self._kind_share.items():
            found[f"{name}_share_now"] = shares["now"][items]
            found[f"{name}_share_long"] = shares["long"][items]
        found["price"], found["discount"] = self._price[0][items], self._price[1][items]
        found.update({name: values[items] for name, values in self._sold.items()})
        return found

    def again(self, items: IntArray, age: npt.NDArray[np.floating]) -> dict[str, npt.NDArray[np.floating]]:
        """How often and how soon items are bought again, and the shopper's time since the last purchase against it."""
        between = self._between[items]
        return {"item_again": self._again[items], "item_between": between, "item_due": age / between}

    def of_kinds(self, shoppers: IntArray, items: IntArray) -> dict[str, npt.NDArray[np.floating]]:
        """How much more a shopper's kind buys an item than others do."""
        found: dict[str, npt.NDArray[np.floating]] = {}
        for name, codes in self._features._kinds.shoppers.items():
            own = codes[shoppers]
            found[f"lift_{name}"] = np.where(own >= 0, self._group_lift[name][np.maximum(own, 0), items], 0.0)
        return found


class _Own:
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
        """Purchases decayed over 60 days, by visit and item."""
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


class _Repeats:
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


def _prices(log: Purchases, scene: Scene) -> tuple[Float32Array, Float32Array]:
    """Usual price by item, and its price of late against the usual, both as logarithms; NaN where unknown."""
    told = np.isfinite(log.prices) & (log.prices > 0)
    value = np.where(told, np.log(np.where(told, log.prices, 1.0)), 0.0)
    usual_weight, now_weight = scene.known * told, scene.windows["now"] * told * _ROWS
    with np.errstate(invalid="ignore", divide="ignore"):
        usual = log.counts(usual_weight * value) / log.counts(usual_weight)
        weight = log.counts(now_weight)
        now = (log.counts(now_weight * value) + 0.3 * np.nan_to_num(usual)) / (weight + 0.3)
    return usual.astype(np.float32), (now - usual).astype(np.float32)


def _fashion(log: Purchases) -> FloatArray:
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


def _late_sales(log: Purchases, scene: Scene) -> dict[str, Float32Array]:
    """Days from the nearest known sale of an item, on how many near days it was sold, and its price then."""
    away = np.where(scene.known, np.abs(scene.day - log.days), 10_000)
    nearest = np.full(log.size[1], 10_000)
    np.minimum.at(nearest, log.items, away)
    near = away <= 7
    pairs = np.unique(log.items[near] * 20 + (scene.day - log.days[near]) + 10)
    told = (away == nearest[log.items]) & scene.known & np.isfinite(log.prices) & (log.prices > 0)
    price = np.where(told, np.log(np.where(told, log.prices, 1.0)), 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        last = log.counts(price) / log.counts(told)
    return {
        "since_sold": nearest.astype(np.float32),
        "days_sold": np.bincount(pairs // 20, minlength=log.size[1]).astype(np.float32),
        "price_last": last.astype(np.float32),
    }


def _lift(log: Purchases, codes: IntArray, weights: Float32Array) -> Float32Array:
    """Log of a kind of shoppers' share of an item over everybody's, shrunk to 0; shape (kinds, items)."""
    mine = codes[log.shoppers]
    width, rows = int(codes.max(initial=0)) + 1, weights * _ROWS
    flat = np.bincount(
        np.maximum(mine, 0) * log.size[1] + log.items, rows * (mine >= 0), minlength=width * log.size[1]
    ).reshape(width, log.size[1])
    expected = flat.sum(axis=1, keepdims=True) * (flat.sum(axis=0) / max(float(flat.sum()), 1e-9))[None, :]
    lift: Float32Array = np.log((flat + 3.0) / (expected + 3.0)).astype(np.float32)
    return lift


def _best(scores: npt.NDArray[np.floating], count: int) -> BoolArray:
    """Which cells are among the `count` highest of their row and above 0; all that equal the last one are."""
    if count >= scores.shape[1]:
        return np.asarray(scores > 0)
    # the lowest of the negated: numpy finds these many times faster than the highest where most cells are 0
    cut = -np.partition(-scores, count - 1, axis=1)[:, count - 1]
    chosen: BoolArray = (scores >= cut[:, None]) & (scores > 0)
    return chosen


def _nearest(alike: Float32Array, count: int) -> sparse.csr_matrix:
    """Keep each row's `count` highest, as shares of their sum."""
    chosen = _best(alike, count)
    near = sparse.csr_matrix(np.where(chosen, alike, np.float32(0.0)))
    totals = np.asarray(near.sum(axis=1)).ravel()
    return scaled(near, 1 / np.maximum(totals, 1e-9))


def _dense(matrix: sparse.csr_matrix) -> Float32Array:
    block: Float32Array = np.asarray(matrix.toarray(), dtype=np.float32)
    return block


def labels(candidates: Candidates, wanted: Sequence[int] | IntArray, width: int) -> IntArray:
    """1 where the visit's basket holds the candidate; `wanted` holds visit × width + item, sorted."""
    keys = candidates.visits * width + candidates.items
    sought = np.asarray(wanted, dtype=np.int64)
    if not len(sought):
        return np.zeros(len(keys), dtype=np.int64)
    place = np.minimum(np.searchsorted(sought, keys), len(sought) - 1)
    found: IntArray = (sought[place] == keys).astype(np.int64)
    return found
