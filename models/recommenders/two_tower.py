"""Two-tower: an item by what it is, a shopper by who they are and what they bought last; the score is the product.

An item or a shopper never seen is scored by content, by attributes, or by a handful of events, without a refit. The
towers and their training are in `models/neural/two_tower.py`; what is kept are arrays, and scoring needs no PyTorch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from pydantic import Field
from scipy import sparse

from configs.errors import FacingsError
from models.artifact import Arrays
from models.base import Capabilities, Events, Recommender, RecommenderConfig
from models.content.title_words import hashed_words
from models.content.vocabulary import Vocabulary
from models.dataset import BoolArray, Dataset, FloatArray, IntArray
from models.neural.topk import ProductIndex
from models.neural.two_tower import Purchases, Towers, TrainingConfig
from models.purchases.best_sellers import best_sellers, recent_popularity
from models.ranking import top_k
from models.reasons import Reason
from models.torch_training import choose_device, training_group

Float32Array = npt.NDArray[np.float32]
# With so many items, and so many for each result, the best are found without a list of all scores.
_LARGE, _LARGE_A_RESULT = 10_000, 200
# Products are always of this many rows: then a shopper's scores do not depend on whom else a call asks for.
_ROWS = 64


class TwoTowerConfig(TrainingConfig):
    """What the towers see, beside how they are trained."""

    text_columns: tuple[str, ...] = Field(("title",), description="content columns taken word by word")
    text_buckets: int = Field(16_384, ge=1, description="features that words and their pieces are hashed to")
    minimum_feature: int = Field(1, ge=1, description="items (or shoppers) a content value needs to become a feature")
    buckets: int = Field(8, ge=1, description="quantile buckets of a number column")
    window_days: float | None = Field(None, gt=0, description="train on the purchases of the last days only")
    decay_days: float | None = Field(None, gt=0, description="weigh a purchase by exp(-age / decay)")
    popularity_days: float = Field(28.0, gt=0, description="best sold are those of so many days")
    best_sellers: int = Field(100, ge=1, description="so many items count as popular when a reason is given")


class TwoTower(Recommender):
    """Item content and identity against shopper attributes, identity and latest items, by sampled softmax."""

    Config: ClassVar[type[RecommenderConfig]] = TwoTowerConfig
    capabilities: ClassVar[Capabilities] = Capabilities(cold_shoppers=True, cold_items=True, fold_in=True, repeats=True)

    def __init__(self, config: TwoTowerConfig) -> None:
        super().__init__(config)
        self.config: TwoTowerConfig = config
        self._item_vectors: Float32Array = np.zeros((0, 0), np.float32)
        self._bases: Float32Array = np.zeros((0, 0), np.float32)  # shoppers without their latest items
        self._told: BoolArray = np.zeros(0, dtype=bool)  # shoppers with a known attribute or a purchase
        self._latest = sparse.csr_matrix((0, 0), dtype=np.int32)  # values: items, oldest first
        self._map: Float32Array = np.zeros((0, 0), np.float32)
        self._start: Float32Array = np.zeros(0, np.float32)
        self._mean_vector: Float32Array = np.zeros(0, np.float32)  # of shoppers with a purchase
        self._attributes = Vocabulary()
        self._attribute_vectors: Float32Array = np.zeros((0, 0), np.float32)
        self._popularity: FloatArray = np.zeros(0)  # recent shoppers; ties by all shoppers
        self.training_loss = float("nan")  # mean of the last epoch; not saved

    # ------------------------------------------------------------------ training

    def _fit(self, dataset: Dataset, seed: int) -> None:
        bought = _purchases(dataset, self.config.window_days)
        if not len(bought):
            raise FacingsError("No item that may be recommended was bought; two_tower has nothing to learn from.")
        shoppers, items = dataset.shopper_rows[bought], dataset.item_rows[bought]
        trained = np.unique(items)
        self._attributes = Vocabulary.learn(
            dataset.shoppers.iloc[np.unique(shoppers)],
            dataset.shopper_attributes,
            minimum=self.config.minimum_feature,
            buckets=self.config.buckets,
        )
        attributes = self._attributes.encode(dataset.shoppers)
        starts = np.searchsorted(shoppers, np.arange(len(dataset.shoppers) + 1))
        decay = self.config.decay_days
        weights = np.exp(-dataset.age_days[bought] / decay) if decay else np.ones(len(bought))
        towers = Towers(
            self._content(dataset, trained),
            attributes,
            Purchases(_tensor(items), _tensor(weights.astype(np.float32)), _tensor(starts)),
            self.config,
            device=choose_device(),
            processes=training_group(),
            generator=torch.Generator().manual_seed(seed % 2**63),
        )
        losses = towers.train()
        if not np.isfinite(losses).all():
            raise FacingsError("two_tower could not be trained: its loss is not finite; try a lower learning_rate.")
        self.training_loss = losses[-1]
        self._keep(towers)
        self._told = (attributes.getnnz(axis=1) > 0) | (np.diff(starts) > 0)
        self._latest = _latest(starts, items, self.config.history)
        self._mean_vector = self._vectors(np.unique(shoppers)).mean(axis=0)
        self._popularity, _ = recent_popularity(dataset, self.config.popularity_days)

    def _content(self, dataset: Dataset, trained: IntArray) -> sparse.csr_matrix:
        """Features of every item; what no trained item has teaches nothing and is none."""
        names = [name for name in dataset.item_content if name not in self.config.text_columns]
        content = Vocabulary.learn(
            dataset.items.iloc[trained], names, minimum=self.config.minimum_feature, buckets=self.config.buckets
        )
        words = [
            hashed_words(dataset.items[name], self.config.text_buckets)
            for name in dataset.item_content
            if name in self.config.text_columns
        ]
        return sparse.hstack([content.encode(dataset.items), *words], format="csr", dtype=np.float32)

    def _keep(self, towers: Towers) -> None:
        self._item_vectors = _array(towers.item_vectors())
        self._bases = _array(towers.shopper_vectors())
        self._attribute_vectors = _array(towers.attributes.trained())
        self._map, self._start = _array(towers.map.weights), _array(towers.start.weights)[0]

    # ------------------------------------------------------------------ scoring

    def _score(self, shopper_rows: IntArray) -> FloatArray:
        scores = self._product(self._vectors(shopper_rows))
        scores[self._unknown(shopper_rows)] = self._popularity
        return scores

    def _selects(self, k: int) -> bool:
        """In a large catalogue selecting is what costs."""
        return len(self.item_ids) >= max(_LARGE, _LARGE_A_RESULT * k)

    def _select(
        self, shopper_rows: IntArray, k: int, allowed: BoolArray, left_out: tuple[IntArray, IntArray]
    ) -> tuple[IntArray, FloatArray]:
        known, (lines, gone) = np.flatnonzero(allowed), left_out
        place = np.full(len(allowed), -1, dtype=np.int64)
        place[known] = np.arange(len(known))
        lines, gone = lines[allowed[gone]], gone[allowed[gone]]
        vectors = self._vectors(shopper_rows)
        if not np.isfinite(vectors).all():
            raise FacingsError("Recommender two_tower gave a score that is not a number; train it again.")
        columns, scores = ProductIndex(self._item_vectors[known]).top(vectors, k, (lines, place[gone]))
        for line in np.flatnonzero(self._unknown(shopper_rows)):
            best_sold = self._popularity[known].copy()
            best_sold[place[gone[lines == line]]] = -np.inf
            columns[line], scores[line] = (row[0] for row in top_k(best_sold[None], k))
        return np.where(columns >= 0, np.append(known, -1)[columns], -1), scores

    def _score_cold(self, attributes: pd.DataFrame) -> FloatArray:
        """By attributes; a shopper of whom no known attribute is given gets the best sold items."""
        features = self._attributes.encode(attributes)
        scores = self._product(self._start + features @ self._attribute_vectors)
        scores[features.getnnz(axis=1) == 0] = self._popularity
        return scores

    def _score_fold_in(self, shopper_rows: IntArray, events: Sequence[Events], attributes: pd.DataFrame) -> FloatArray:
        """By the latest items, the newest events among them, on top of all else that is known of a shopper."""
        known = shopper_rows >= 0
        bases = np.asarray(self._start + self._attributes.encode(attributes) @ self._attribute_vectors, np.float32)
        bases[known] = self._bases[shopper_rows[known]]
        latest = [
            _last(np.concatenate([self._latest_items(row), own.items]), self.config.history)
            for row, own in zip(shopper_rows, events, strict=True)
        ]
        counts = np.array([len(items) for items in latest], dtype=np.int64)
        return self._product(self._with_means(bases, np.concatenate(latest), counts))

    def _unknown(self, shopper_rows: IntArray) -> BoolArray:
        """Shoppers of whom nothing is known: no purchase and no attribute."""
        nothing: BoolArray = ~self._told[shopper_rows]
        return nothing

    def _latest_items(self, row: int) -> IntArray:
        """Columns of a shopper's latest items, oldest first; none for row -1."""
        if row < 0:
            return np.zeros(0, dtype=np.int64)
        return np.asarray(self._latest.data[self._latest.indptr[row] : self._latest.indptr[row + 1]], np.int64)

    def _vectors(self, shopper_rows: IntArray) -> Float32Array:
        """What stands for known shoppers; shape (len(shopper_rows), components)."""
        latest = self._latest[shopper_rows]
        return self._with_means(self._bases[shopper_rows], latest.data, np.diff(latest.indptr))

    def _with_means(self, bases: Float32Array, items: npt.NDArray[np.integer], counts: IntArray) -> Float32Array:
        """Add the mapped mean of each shopper's `counts` items, which stand one shopper after the other."""
        shares = np.repeat(1 / np.maximum(counts, 1), counts).astype(np.float32)
        starts = np.concatenate([[0], np.cumsum(counts)])
        means = sparse.csr_matrix((shares, items, starts), shape=(len(counts), len(self._item_vectors)))
        return bases + _blockwise(np.asarray(means @ self._item_vectors, np.float32), self._map)

    def _product(self, vectors: Float32Array) -> FloatArray:
        """Scores of all items; float64, shape (len(vectors), items)."""
        return _blockwise(vectors, self._item_vectors.T).astype(np.float64)

    # ------------------------------------------------------------------ reasons

    def _reasons(self, shopper_rows: IntArray, columns: IntArray) -> npt.NDArray[np.object_]:
        """An unseen item is `popular` when it is a best-seller that this shopper likes no more than the mean one."""
        reasons = super()._reasons(shopper_rows, columns)
        lift = np.einsum("rd,rkd->rk", self._vectors(shopper_rows) - self._mean_vector, self._item_vectors[columns])
        not_personal = (lift <= 0) & best_sellers(self._popularity, self.config.best_sellers)[columns] | self._unknown(
            shopper_rows
        )[:, None]
        reasons[not_personal & (reasons == str(Reason.SIMILAR_TASTE))] = str(Reason.POPULAR)
        return reasons

    def _cold_reasons(self, attributes: pd.DataFrame, columns: IntArray) -> npt.NDArray[np.object_]:
        described = self._attributes.encode(attributes).getnnz(axis=1) > 0
        reasons = np.full(columns.shape, str(Reason.POPULAR), dtype=object)
        reasons[described] = str(Reason.SIMILAR_TASTE)
        return reasons

    # ------------------------------------------------------------------ keeping

    def _keep_shoppers(self, rows: IntArray) -> None:
        # Item vectors, attribute vectors and means are learned over everybody and name nobody; they stay until a refit.
        self._bases, self._told, self._latest = self._bases[rows], self._told[rows], self._latest[rows]

    def _state(self) -> tuple[dict[str, Any], Arrays]:
        return {"attributes": self._attributes.model_dump(mode="json")}, {
            "item_vectors": self._item_vectors,
            "bases": self._bases,
            "told": self._told,
            "latest_items": self._latest.data.astype(np.int32),
            "latest_starts": self._latest.indptr.astype(np.int64),
            "map": self._map,
            "start": self._start,
            "mean_vector": self._mean_vector,
            "attribute_vectors": self._attribute_vectors,
            "popularity": self._popularity,
        }

    def _restore(self, state: dict[str, Any], arrays: Arrays) -> None:
        self._attributes = Vocabulary.model_validate(state["attributes"])
        self._item_vectors, self._bases = arrays["item_vectors"], arrays["bases"]
        self._told, self._popularity = arrays["told"], arrays["popularity"]
        self._latest = _by_shopper(arrays["latest_items"], arrays["latest_starts"])
        self._map, self._start, self._mean_vector = arrays["map"], arrays["start"], arrays["mean_vector"]
        self._attribute_vectors = arrays["attribute_vectors"]


def _purchases(dataset: Dataset, window_days: float | None) -> IntArray:
    """Rows of the interactions to learn from, by shopper and then by time."""
    inside = (dataset.age_days <= (window_days or np.inf)) & dataset.recommendable[dataset.item_rows]
    rows = np.flatnonzero(inside)
    order: IntArray = rows[np.lexsort((-dataset.age_days[rows], dataset.shopper_rows[rows]))]
    return order


def _latest(starts: IntArray, items: IntArray, history: int) -> sparse.csr_matrix:
    """The last `history` items of each shopper, as `_by_shopper`."""
    counts = np.minimum(np.diff(starts), history)
    own = np.concatenate([[0], np.cumsum(counts)])
    rows = np.arange(own[-1]) + np.repeat(starts[1:] - counts - own[:-1], counts)
    return _by_shopper(items[rows], own)


def _by_shopper(items: npt.NDArray[np.integer], starts: IntArray) -> sparse.csr_matrix:
    """Lists of different lengths as a matrix whose values are the items and whose columns are their places."""
    counts = np.diff(starts)
    places = np.arange(len(items)) - np.repeat(np.asarray(starts[:-1]), counts)
    shape = (len(counts), int(counts.max(initial=0)))
    return sparse.csr_matrix((np.asarray(items, np.int32), places, np.asarray(starts)), shape=shape)


def _blockwise(left: Float32Array, right: Float32Array) -> Float32Array:
    """Matrix product, always of `_ROWS` rows at a time."""
    found = np.empty((len(left), right.shape[1]), np.float32)
    block = np.zeros((_ROWS, left.shape[1]), np.float32)
    for start in range(0, len(left), _ROWS):
        part = left[start : start + _ROWS]
        block[: len(part)] = part
        found[start : start + _ROWS] = (block @ right)[: len(part)]
    return found


def _last(values: IntArray, count: int) -> IntArray:
    return values[len(values) - min(count, len(values)) :]


def _tensor(values: npt.NDArray[Any]) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values))


def _array(values: torch.Tensor) -> Float32Array:
    array: Float32Array = values.cpu().numpy()
    return array
