"""Candidates for a next basket, and what is known of each: the features that a ranker of baskets learns from.

Everything is computed scene by scene (`models/baskets/scenes.py`), from rows that the scene lets be known:

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

from models.baskets.log import Float32Array, Purchases, Visits, normalised, scaled, take_rows
from models.baskets.own import Own, Repeats
from models.baskets.sales import SHARE_ROWS, fashion_of, late_sales, lift_of, prices_of
from models.baskets.scenes import Knows, Scene, Scenes
from models.dataset import BoolArray, FloatArray, IntArray

_BLOCK = 256  # visits whose scores of all items are held at once
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
        self._repeats = Repeats(log)
        follows = log.visit_shoppers[1:] == log.visit_shoppers[:-1]
        self._before = np.flatnonzero(follows)  # visits that another of the same shopper follows
        self._visit_bounds = np.r_[np.flatnonzero(log.starts), len(log)]
        self._fashion = fashion_of(log)
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
        own = Own(self._log, scene, shoppers, self._fashion)
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

    def _choose(self, scene: Scene, shared: _Shared, own: Own, scores: dict[str, Float32Array]) -> BoolArray:
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
        self._now = log.matrix(scene.windows["now"] * SHARE_ROWS)
        self._recent = log.matrix(scene.windows["month"] * SHARE_ROWS)
        self._price = prices_of(log, scene)
        self._kind_share = {
            name: {window: self._within(codes, window) for window in ("now", "long")}
            for name, codes in features._kinds.items.items()
        }
        self._group_lift = {
            name: lift_of(log, codes, scene.windows["month"]) for name, codes in features._kinds.shoppers.items()
        }
        self._pairs(scene)
        self._late_visits(scene)
        self._again, self._between = features._repeats.of(scene.known)
        self._sold = late_sales(log, scene)

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
        weight = scene.windows["now"][bounds[:-1]] * SHARE_ROWS
        kept = np.flatnonzero(weight > 1e-3 * max(float(weight.max(initial=0)), 1e-9))
        baskets = take_rows(self._features._whole, kept)
        self._visits_having = normalised(baskets.multiply(self._damp[None, :]).tocsr()).T.tocsr()
        self._visits_now = scaled(baskets, weight[kept])

    def scores(self, own: Own) -> dict[str, Float32Array]:
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
