"""Watched topics: what a shopper watched, turned into what they may buy, with slopes learned from sales.

An item's score is a sum over signals (`models.content.watch_signals`): its popularity, how much more it is bought in
the shopper's neighbourhood, how far the contents that the shopper watched name it, share its tags or its words, and how
much more often it is bought by those who watched the same. What each is worth is learned, not assumed: past windows are
put back to their first moment, and a conditional logit (`models.estimators.choice`) tells the slopes that explain what
shoppers who had watched then bought for the first time. Slopes shrink to plain popularity where there is little to
learn from. They are learned from shoppers whose earlier purchases are hidden and then, with that as the prior, from
those who had none.

It knows nothing of what a shopper bought: it is for those who never did, and a part of others for the rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import Field
from scipy import sparse

from features.engagement import HALF_LIFE_DAYS
from models.artifact import Arrays
from models.base import Capabilities, Recommender, RecommenderConfig
from models.content.links import KINDS, Link
from models.content.watch_signals import SIGNALS, Signals, Watching, best_near
from models.dataset import BoolArray, Dataset, FloatArray, IntArray
from models.estimators.choice import slopes
from models.explanation import evidence
from models.explanation.evidence import Rules
from models.explanation.explain import tell_watched
from models.purchases.best_sellers import best_sellers
from models.purchases.history import repeat_reasons
from models.reasons import Reason

_ROWS = 64  # shoppers whose signals are made at a time: each takes several arrays of shoppers × items
_ALTERNATIVES = 200  # items not bought that a purchase is compared with
_HIDDEN = 1 / 3  # share of shoppers whose purchases before a window are hidden, to learn from them as newcomers
_OWN = 10  # purchases of one shopper that are learned from in a window
_PRIOR = np.array([1.0, *(0.0 for _ in SIGNALS[1:])])  # plain popularity


class WatchedTopicsConfig(RecommenderConfig):
    """How fast interest and popularity fade, and how the slopes are learned."""

    half_life_days: float = Field(HALF_LIFE_DAYS, gt=0, description="what was watched loses half of its weight")
    popular_days: float = Field(28.0, gt=0, description="so long a purchase counts wholly in popularity")
    lasting_days: float = Field(90.0, gt=0, description="elsewhere its weight falls to 1 / e")
    windows: int = Field(3, ge=1, description="past windows to learn from, back to back")
    window_days: float = Field(28.0, gt=0, description="length of each")
    shrinkage: float = Field(20.0, gt=0, description="purchases that weigh as much as the prior of a slope")
    most_choices: int = Field(6000, ge=1, description="purchases learned from, a random sample of all")
    best_sellers: int = Field(50, ge=1, description="so many items count as popular when a reason is given")
    fewest: int = Field(5, ge=1, description="shoppers who bought an item, to be told as popular in a neighbourhood")
    reasons: Rules = Field(Rules(), description="when a reason counts as true")


class WatchedTopics(Recommender):
    """Popularity, neighbourhood and watched contents, each worth what sales say."""

    Config: ClassVar[type[RecommenderConfig]] = WatchedTopicsConfig
    # Of an item that nobody bought, only contents that were watched can tell.
    capabilities: ClassVar[Capabilities] = Capabilities(
        cold_shoppers=True, cold_items=False, fold_in=False, repeats=True
    )

    def __init__(self, config: WatchedTopicsConfig) -> None:
        super().__init__(config)
        self.config: WatchedTopicsConfig = config
        self._signals = Signals()
        self._slopes: FloatArray = _PRIOR.copy()
        self._choices = 0
        self._seen = sparse.csr_matrix((0, 0), dtype=np.int32)  # as `evidence.watched` gives them
        self._linked = sparse.csr_matrix((0, 0), dtype=np.float32)
        self._contents: list[str] = []
        self._near_best: sparse.csr_matrix | None = None  # homes × items, made when a reason is first asked for

    @property
    def slopes(self) -> dict[str, float]:
        """What each signal is worth, in log odds."""
        return dict(zip(SIGNALS, map(float, self._slopes), strict=True))

    @property
    def choices(self) -> int:
        """How many purchases the slopes were learned from; 0: they are the prior, which is plain popularity."""
        return self._choices

    @property
    def watchers(self) -> IntArray:
        """Rows of the shoppers who watched anything that counts."""
        return np.flatnonzero(np.diff(self._signals.engaged.indptr) > 0)

    # ------------------------------------------------------------------ training

    def _fit(self, dataset: Dataset, seed: int) -> None:
        watching = Watching.read(dataset)
        self._slopes, self._choices = self._learn(dataset, watching, np.random.default_rng(seed))
        self._signals, self._near_best = self._at(dataset, watching), None
        self._seen, self._linked, self._contents = evidence.watched(dataset, self.config.reasons)

    def _at(
        self,
        dataset: Dataset,
        watching: Watching | None,
        days: float = 0.0,
        hidden: BoolArray | None = None,
    ) -> Signals:
        config = self.config
        return Signals.at(
            dataset,
            watching,
            days=days,
            half_life=config.half_life_days,
            popular_days=config.popular_days,
            lasting_days=config.lasting_days,
            hidden=hidden,
        )

    def _learn(
        self, dataset: Dataset, watching: Watching | None, random: np.random.Generator
    ) -> tuple[FloatArray, int]:
        """Slopes from all who watched, then from those who had not bought before; and how many purchases there were."""
        if watching is None:
            return _PRIOR.copy(), 0
        found = [part for part in self._windows(dataset, watching, random) if len(part[0])]
        if not found:
            return _PRIOR.copy(), 0
        signals, first = (np.concatenate(column) for column in zip(*found, strict=True))
        if len(signals) > self.config.most_choices:
            chosen = np.sort(random.choice(len(signals), self.config.most_choices, replace=False))
            signals, first = signals[chosen], first[chosen]
        scale = np.maximum(signals.std(axis=(0, 1)), 1e-9)
        used = np.flatnonzero(signals.std(axis=(0, 1)) > 1e-9)
        precision = self.config.shrinkage * scale[used] ** 2
        positive = np.flatnonzero(used > 0)
        result = _PRIOR.copy()
        everybody = slopes(signals[:, :, used], _PRIOR[used], precision, positive)
        result[used] = slopes(signals[first][:, :, used], everybody, precision, positive)
        return result, len(signals)

    def _windows(
        self, dataset: Dataset, watching: Watching, random: np.random.Generator
    ) -> Iterator[tuple[FloatArray, BoolArray]]:
        """Choices of each window before which something was bought and watched; whether each was by a newcomer.

        A newcomer had bought nothing before. Of the others some are made newcomers: what they had bought is hidden.
        """
        length = self.config.window_days
        for number in range(1, self.config.windows + 1):
            days = number * length
            before = dataset.age_days > days
            if not before.any():
                return
            had = dataset.matrix(before.astype(np.float64))
            had.eliminate_zeros()
            hidden = random.random(len(dataset.shoppers)) < _HIDDEN
            known = self._at(dataset, watching, days, hidden)
            learned = (known.weight > 0) & (hidden | (np.diff(had.indptr) == 0))
            inside = ~before & (dataset.age_days > days - length) & dataset.recommendable[dataset.item_rows]
            yield self._choose(dataset, known, had, inside & learned[dataset.shopper_rows], random)

    def _choose(
        self,
        dataset: Dataset,
        known: Signals,
        had: sparse.csr_matrix,
        inside: BoolArray,
        random: np.random.Generator,
    ) -> tuple[FloatArray, BoolArray]:
        """What watchers bought in the window and not before, each beside a sample of what they did not buy."""
        bought = dataset.matrix(inside.astype(np.float64))
        bought.eliminate_zeros()
        open_ = np.flatnonzero(dataset.recommendable)
        found: list[FloatArray] = []
        first: list[bool] = []
        rows = np.flatnonzero(np.diff(bought.indptr) > 0)
        most = max(1, self.config.most_choices // self.config.windows)
        if len(rows) > most:
            rows = np.sort(random.choice(rows, most, replace=False))
        for start in range(0, len(rows), _ROWS):
            part = rows[start : start + _ROWS]
            signals = known.of(part)
            for line, row in enumerate(part):
                before, new = _row(had, row), _row(bought, row)
                chosen = np.setdiff1d(new, before)
                if len(chosen) > _OWN:
                    chosen = np.sort(random.choice(chosen, _OWN, replace=False))
                others = np.setdiff1d(random.choice(open_, min(len(open_), 2 * _ALTERNATIVES)), np.r_[before, new])
                if not len(chosen) or len(others) < 2:
                    continue
                others = random.choice(others, _ALTERNATIVES)
                places = np.column_stack([chosen, np.tile(others, (len(chosen), 1))])
                found.append(np.moveaxis(signals[:, line, :][:, places], 0, -1))
                first += [len(before) == 0] * len(chosen)
        if not found:
            return np.zeros((0, 1 + _ALTERNATIVES, len(SIGNALS))), np.zeros(0, dtype=bool)
        return np.concatenate(found), np.array(first, dtype=bool)

    # ------------------------------------------------------------------ serving

    def _score(self, shopper_rows: IntArray) -> FloatArray:
        scores = np.empty((len(shopper_rows), len(self.item_ids)))
        for start in range(0, len(shopper_rows), _ROWS):
            part = shopper_rows[start : start + _ROWS]
            scores[start : start + len(part)] = np.einsum("s,sri->ri", self._slopes, self._signals.of(part))
        return scores

    def _score_cold(self, attributes: pd.DataFrame) -> FloatArray:
        scores = np.empty((len(attributes), len(self.item_ids)))
        homes = self._homes_of(attributes)
        for start in range(0, len(homes), _ROWS):
            part = homes[start : start + _ROWS]
            scores[start : start + len(part)] = np.einsum("s,sri->ri", self._slopes, self._signals.of_strangers(part))
        return scores

    def _homes_of(self, attributes: pd.DataFrame) -> IntArray:
        if "home_store_id" not in attributes.columns:
            return np.full(len(attributes), -1, np.int64)
        names = pd.Index(self._signals.homes, dtype=object)
        found: IntArray = names.get_indexer(pd.Index(attributes["home_store_id"].astype(object))).astype(np.int64)
        return found

    def _reasons(self, shopper_rows: IntArray, columns: IntArray) -> npt.NDArray[np.object_]:
        return self._explain(shopper_rows, columns)[0]

    def _explain(
        self, shopper_rows: IntArray, columns: IntArray
    ) -> tuple[npt.NDArray[np.object_], npt.NDArray[np.object_]]:
        """Bought before; linked to a watched content; popular near or in the chain; else by the learned taste."""
        codes, about = self._plain(self._signals.home[shopper_rows], columns)
        for line, row in enumerate(shopper_rows):
            tell_watched(self._seen, self._linked, self._contents, int(row), columns[line], codes[line], about[line])
        again = repeat_reasons(self.history, shopper_rows, columns) == str(Reason.BOUGHT_BEFORE)
        codes[again], about[again] = str(Reason.BOUGHT_BEFORE), ""
        return codes, about

    def _cold_reasons(self, attributes: pd.DataFrame, columns: IntArray) -> npt.NDArray[np.object_]:
        return self._plain(self._homes_of(attributes), columns)[0]

    def _plain(self, homes: IntArray, columns: IntArray) -> tuple[npt.NDArray[np.object_], npt.NDArray[np.object_]]:
        """By popularity alone, where it is true."""
        popular = best_sellers(self._signals.popularity, self.config.best_sellers)
        taste, chain = str(Reason.SIMILAR_TASTE), str(Reason.POPULAR)
        codes = np.where(popular[columns], chain, taste).astype(object)
        about = np.full(columns.shape, "", dtype=object)
        if self._near_best is None:
            self._near_best = best_near(self._signals.near, self.config.best_sellers, self.config.fewest)
        for line, home in enumerate(homes):
            if home >= 0:
                told = np.isin(columns[line], _row(self._near_best, home))
                codes[line, told] = str(Reason.POPULAR_IN_NEIGHBOURHOOD)
                about[line, told] = self._signals.homes[home]
        return codes, about

    # ------------------------------------------------------------------ keeping

    def _state(self) -> tuple[dict[str, Any], Arrays]:
        signals = self._signals
        arrays: Arrays = {"slopes": self._slopes, "home": signals.home}
        arrays |= {"popularity": signals.popularity, "lasting": signals.lasting}
        arrays |= {"homes": _texts(signals.homes), "contents": _texts(self._contents), "sold": signals.sold}
        for name, matrix in self._matrices().items():
            arrays |= {f"{name}_values": matrix.data, f"{name}_columns": matrix.indices.astype(np.int32)}
            arrays |= {f"{name}_ends": matrix.indptr.astype(np.int64)}
        arrays |= {f"mean_{kind}": mean for kind, mean in signals.means.items()}
        widths = {name: int(matrix.shape[1]) for name, matrix in self._matrices().items()}
        return {"choices": self._choices, "widths": widths}, arrays

    def _matrices(self) -> dict[str, sparse.csr_matrix]:
        signals = self._signals
        found = {"near": signals.near, "engaged": signals.engaged, "bought": signals.sales}
        found |= {"seen": self._seen, "linked": self._linked}
        for kind, link in signals.links.items():
            found |= {f"{kind}_contents": link.contents, f"{kind}_items": link.items}
        return found

    def _restore(self, state: dict[str, Any], arrays: Arrays) -> None:
        def matrix(name: str) -> sparse.csr_matrix:
            parts = [np.asarray(arrays[f"{name}_{part}"]) for part in ("values", "columns", "ends")]
            return sparse.csr_matrix(tuple(parts), shape=(len(parts[2]) - 1, state["widths"][name]))

        self._slopes, self._choices = np.asarray(arrays["slopes"]), state["choices"]
        self._contents = [str(name) for name in arrays["contents"]]
        self._seen, self._linked = matrix("seen"), matrix("linked")
        signals = self._signals = Signals()
        self._near_best = None
        signals.popularity, signals.lasting = np.asarray(arrays["popularity"]), np.asarray(arrays["lasting"])
        signals.home = np.asarray(arrays["home"])
        signals.homes, signals.sold = [str(name) for name in arrays["homes"]], np.asarray(arrays["sold"])
        signals.near, signals.engaged, signals.sales = matrix("near"), matrix("engaged"), matrix("bought")
        kinds = [kind for kind in KINDS if f"mean_{kind}" in arrays]
        signals.links = {kind: Link(matrix(f"{kind}_contents"), matrix(f"{kind}_items")) for kind in kinds}
        signals.means = {kind: np.asarray(arrays[f"mean_{kind}"]) for kind in kinds}

    def _keep_shoppers(self, rows: IntArray) -> None:
        # What was counted over everybody (sales, popularity, slopes) names nobody and stays until the next training.
        self._signals.keep_shoppers(rows)
        self._seen = self._seen[rows]


def _row(matrix: sparse.csr_matrix, row: int) -> IntArray:
    return np.asarray(matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]], np.int64)


def _texts(names: list[str]) -> npt.NDArray[np.str_]:
    return np.asarray(names, dtype=np.str_) if names else np.zeros(0, np.str_)
