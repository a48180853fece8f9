"""LightFM: a hybrid factorisation over item content, item identity, shopper attributes and shopper identity.

Kula, "Metadata Embeddings for User and Item Cold-start Recommendations", 2015 (arXiv:1507.08439): an item is the sum of
the embeddings of its features, a shopper likewise, and the score is their product plus the item's bias. What is kept
after training are these sums, not LightFM's object, so scoring is one matrix product and nothing is ever unpickled.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from lightfm import LightFM as Factorisation
from pydantic import Field, model_validator
from scipy import sparse

from configs.errors import FacingsError
from models import fold_in
from models.artifact import Arrays
from models.base import Capabilities, Events, Recommender, RecommenderConfig
from models.content.vocabulary import Vocabulary
from models.dataset import Dataset, FloatArray, IntArray
from models.products import products
from models.purchases.best_sellers import best_sellers, recent_popularity
from models.purchases.profiles import over_represented, visits
from models.reasons import Reason

Float32Array = npt.NDArray[np.float32]


class LightFMConfig(RecommenderConfig):
    """How LightFM is trained and what is added to its score."""

    loss: Literal["warp", "bpr", "warp-kos", "logistic"] = "warp"
    components: int = Field(10, ge=1, le=1024, description="length of an embedding")
    epochs: int = Field(10, ge=1)
    runs: int = Field(1, ge=1, description="train so many times, each from another start, and take the mean score")
    learning_rate: float = Field(0.05, gt=0)
    item_alpha: float = Field(0.0, ge=0, description="L2 penalty on item features")
    user_alpha: float = Field(0.0, ge=0, description="L2 penalty on shopper features")
    max_sampled: int = Field(10, ge=1, description="warp: negatives drawn at most for one positive")
    threads: int = Field(
        1,
        ge=1,
        description="more than one is faster, not reproducible: threads overwrite each other's updates",
    )
    item_identity: bool = Field(True, description="each item that was bought often enough has an embedding of its own")
    shopper_identity: bool = Field(True, description="each shopper of the training data has an embedding of their own")
    minimum_interactions: int = Field(1, ge=1, description="shoppers an item needs for an embedding of its own")
    minimum_feature: int = Field(1, ge=1, description="items (or shoppers) a content value needs to become a feature")
    buckets: int = Field(8, ge=1, description="quantile buckets of a number column")
    window_days: float | None = Field(None, gt=0, description="train on the pairs of the last days only")
    decay_days: float | None = Field(None, gt=0, description="weigh an interaction by exp(-age / decay)")
    log_weights: bool = Field(False, description="weigh a pair by log(1 + its sum) instead of 1")
    profile_tags: int = Field(
        0, ge=0, description="the content values bought most, at most so many, as further features of a shopper"
    )
    profile_stores: int = Field(
        0, ge=0, description="the stores they buy in, at most so many, as further features of a shopper"
    )
    popularity_weight: float = Field(0.0, ge=0, description="add so much × log(1 + recent shoppers) to a score")
    popularity_days: float = Field(28.0, gt=0, description="how many days back is recent")
    best_sellers: int = Field(100, ge=1, description="so many items count as popular when a reason is given")
    repeats: bool = Field(True, description="recommend what the shopper bought before, too")

    @model_validator(mode="after")
    def _weights_need_a_loss_that_takes_them(self) -> Self:
        if self.loss in {"warp-kos", "logistic"} and (self.log_weights or self.decay_days):
            raise ValueError(
                f"{self.loss} takes no weights here; leave out log_weights and decay_days or use warp or bpr"
            )
        return self


class LightFM(Recommender):
    """Hybrid LightFM. Items nobody bought are scored by content, unknown shoppers by attributes and newest events."""

    Config: ClassVar[type[RecommenderConfig]] = LightFMConfig
    capabilities: ClassVar[Capabilities] = Capabilities(cold_shoppers=True, cold_items=True, fold_in=True, repeats=True)

    def __init__(self, config: LightFMConfig) -> None:
        super().__init__(config)
        self.config: LightFMConfig = config
        self._item_vectors: Float32Array = np.zeros((0, 0), np.float32)
        self._item_offsets: Float32Array = np.zeros(0, np.float32)  # bias and popularity
        self._popularity: FloatArray = np.zeros(0)  # recent shoppers; ties by all shoppers
        self._shopper_vectors: Float32Array = np.zeros((0, 0), np.float32)
        self._attributes = Vocabulary()
        self._attribute_vectors: Float32Array = np.zeros((0, 0), np.float32)
        self._mean_vector: Float32Array = np.zeros(0, np.float32)  # of trained shoppers
        self._mean_without_attributes: Float32Array = np.zeros(0, np.float32)
        self._from_items: Float32Array = np.zeros(
            (0, 0), np.float32
        )  # what a shopper's items add to a stranger's vector

    # ------------------------------------------------------------------ training

    def _fit(self, dataset: Dataset, seed: int) -> None:
        pairs = _pairs(dataset, self.config)
        self._popularity, recent = recent_popularity(dataset, self.config.popularity_days)
        items = np.flatnonzero((pairs.getnnz(axis=0) > 0) & dataset.recommendable)
        if not len(items):
            raise FacingsError("No item that may be recommended was bought; LightFM has nothing to learn from.")
        shoppers = np.flatnonzero(pairs[:, items].getnnz(axis=1) > 0)
        item_features = self._item_features(dataset, pairs, items)
        identity, profile = self._shopper_features(dataset, pairs, shoppers)
        self._attributes = Vocabulary.learn(
            dataset.shoppers.iloc[shoppers],
            dataset.shopper_attributes,
            minimum=self.config.minimum_feature,
            buckets=self.config.buckets,
        )
        attributes = self._attributes.encode(dataset.shoppers)
        shopper_features = sparse.hstack([attributes, profile, identity], format="csr", dtype=np.float32)
        embeddings, biases, shopper_embeddings = self._train_runs(
            pairs[shoppers][:, items], shopper_features[shoppers], item_features[items], seed
        )
        self._item_vectors = item_features @ embeddings
        self._item_offsets = np.asarray(
            item_features @ biases + self.config.popularity_weight * np.log1p(recent), np.float32
        )
        self._set_shoppers(shopper_features, attributes, shoppers, shopper_embeddings)
        strangers = self._cold_vectors(attributes[shoppers])
        histories = self._histories(shoppers)
        self._from_items = fold_in.learn(
            self._item_vectors, histories, self._shopper_vectors[shoppers] - strangers, np.random.default_rng(seed)
        )

    def _item_features(self, dataset: Dataset, pairs: sparse.csr_matrix, trained: IntArray) -> sparse.csr_matrix:
        """Content and identity of every item; what no trained item has is no feature, it would stay at random."""
        content = Vocabulary.learn(
            dataset.items.iloc[trained],
            dataset.item_content,
            minimum=self.config.minimum_feature,
            buckets=self.config.buckets,
        )
        own = trained[pairs.getnnz(axis=0)[trained] >= self.config.minimum_interactions]
        identity = _identity(own if self.config.item_identity else own[:0], len(dataset.items))
        return sparse.hstack([content.encode(dataset.items), identity], format="csr", dtype=np.float32)

    def _shopper_features(
        self, dataset: Dataset, pairs: sparse.csr_matrix, trained: IntArray
    ) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
        """Identity and content profile of every shopper."""
        identity = _identity(trained if self.config.shopper_identity else trained[:0], len(dataset.shoppers))
        profiles = [sparse.csr_matrix((len(dataset.shoppers), 0), dtype=np.float32)]
        if self.config.profile_tags:
            content = Vocabulary.learn(dataset.items, dataset.item_content, buckets=self.config.buckets)
            profiles.append(over_represented(pairs @ content.encode(dataset.items), self.config.profile_tags))
        if self.config.profile_stores and "store_id" in dataset.interactions.columns:
            profiles.append(over_represented(visits(dataset), self.config.profile_stores))
        return identity, sparse.hstack(profiles, format="csr", dtype=np.float32)

    def _train_runs(
        self, pairs: sparse.csr_matrix, shoppers: sparse.csr_matrix, items: sparse.csr_matrix, seed: int
    ) -> tuple[Float32Array, Float32Array, Float32Array]:
        """Item embeddings, item biases and shopper embeddings whose product is the mean score of all runs.

        One training differs from the next by its random start alone, on Complete Journey as much as one setting from
        another; the mean is steadier and ranks better. The embeddings of the runs stand side by side.
        """
        seeds = [seed, *(int(state) for state in np.random.SeedSequence(seed).generate_state(self.config.runs - 1))]
        trained = [self._train(pairs, shoppers, items, start) for start in seeds]
        return (
            np.asarray(np.hstack([model.item_embeddings for model in trained]) / len(trained), np.float32),
            np.asarray(np.mean([model.item_biases for model in trained], axis=0), np.float32),
            np.asarray(np.hstack([model.user_embeddings for model in trained]), np.float32),
        )

    def _train(
        self, pairs: sparse.csr_matrix, shoppers: sparse.csr_matrix, items: sparse.csr_matrix, seed: int
    ) -> Factorisation:
        config = self.config
        model = Factorisation(
            no_components=config.components,
            loss=config.loss,
            learning_rate=config.learning_rate,
            item_alpha=config.item_alpha,
            user_alpha=config.user_alpha,
            max_sampled=config.max_sampled,
            random_state=seed,
        )
        positives = pairs.tocoo()
        weights = positives.copy() if config.log_weights or config.decay_days else None
        positives.data[:] = 1.0
        if config.loss == "logistic":
            positives = _with_negatives(positives, seed)
        try:
            with np.errstate(all="ignore"):  # what overflows is found and told below
                model.fit(
                    positives,
                    user_features=shoppers,
                    item_features=items,
                    sample_weight=weights,
                    epochs=config.epochs,
                    num_threads=config.threads,
                )
        except ValueError as error:
            raise FacingsError(f"LightFM could not be trained: {error}; try a lower learning_rate.") from None
        return model

    def _set_shoppers(
        self,
        features: sparse.csr_matrix,
        attributes: sparse.csr_matrix,
        trained: IntArray,
        embeddings: Float32Array,
    ) -> None:
        """Sum the features of each shopper; one without a trained interaction gets what a cold one would."""
        self._attribute_vectors = embeddings[: self._attributes.width]
        vectors: Float32Array = features @ embeddings
        by_attributes: Float32Array = attributes @ self._attribute_vectors
        self._mean_vector = vectors[trained].mean(axis=0)
        self._mean_without_attributes = (vectors - by_attributes)[trained].mean(axis=0)
        untrained = np.setdiff1d(np.arange(len(vectors)), trained)
        vectors[untrained] = self._cold_vectors(attributes[untrained])
        self._shopper_vectors = vectors

    # ------------------------------------------------------------------ scoring

    def _score(self, shopper_rows: IntArray) -> FloatArray:
        scores = self._product(self._shopper_vectors[shopper_rows])
        if not self.config.repeats:
            line, column = self.history[shopper_rows].nonzero()
            scores[line, column] = -np.inf
        return scores

    def _score_cold(self, attributes: pd.DataFrame) -> FloatArray:
        """By attributes; a shopper of whom no known attribute is given gets the best sold items."""
        features = self._attributes.encode(attributes)
        scores = self._product(self._cold_vectors(features))
        scores[features.getnnz(axis=1) == 0] = self._popularity
        return scores

    def _score_fold_in(self, shopper_rows: IntArray, events: Sequence[Events], attributes: pd.DataFrame) -> FloatArray:
        """By a stranger's vector moved by all items known; a trained one counts by its share of these.

        What training found in a shopper beyond their items fades as newer events outnumber what it was trained on.
        """
        if not self._from_items.size:
            raise FacingsError("The model was trained by a version that could not fold in; train it again.")
        before = self._histories(shopper_rows)
        after = before.maximum(self._named(events)).tocsr()
        vectors = self._cold_vectors(self._attributes.encode(attributes))
        known = np.flatnonzero(shopper_rows >= 0)
        beyond = self._shopper_vectors[shopper_rows[known]] - self._offset(before)[known] - self._mean_vector
        sizes = before.getnnz(axis=1)[known]  # with no history, all that is known are the attributes: they stay
        share = np.where(sizes > 0, sizes / np.maximum(after.getnnz(axis=1)[known], 1), 1.0)
        vectors[known] = self._mean_vector + beyond * share[:, None].astype(np.float32)
        vectors += self._offset(after)
        scores = self._product(vectors)
        if not self.config.repeats:
            bought = before.maximum(self._named([own.purchases() for own in events]))
            scores[bought.nonzero()] = -np.inf
        return scores

    def _offset(self, histories: sparse.csr_matrix) -> Float32Array:
        return fold_in.offset(self._item_vectors, self._from_items, histories)

    def _histories(self, shopper_rows: IntArray) -> sparse.csr_matrix:
        """1 for each item of a shopper's history (-1: none) that may be recommended; shape (rows, items)."""
        known = np.flatnonzero(shopper_rows >= 0)
        line, column = self.history[shopper_rows[known]].nonzero()
        return self._usable(known[line], column, len(shopper_rows))

    def _named(self, events: Sequence[Events]) -> sparse.csr_matrix:
        """1 for each item of a shopper's events that may be recommended; shape (len(events), items)."""
        named = [np.unique(own.items) for own in events]
        line = np.repeat(np.arange(len(events)), [len(items) for items in named])
        return self._usable(line, np.concatenate(named), len(events))

    def _usable(self, line: IntArray, column: IntArray, rows: int) -> sparse.csr_matrix:
        kept = self.recommendable[column]
        ones = np.ones(int(kept.sum()), np.float32)
        return sparse.coo_matrix((ones, (line[kept], column[kept])), shape=(rows, len(self.item_ids))).tocsr()

    def _cold_vectors(self, attributes: sparse.csr_matrix) -> Float32Array:
        vectors: Float32Array = attributes @ self._attribute_vectors + self._mean_without_attributes
        vectors[attributes.getnnz(axis=1) == 0] = self._mean_vector
        return vectors

    def _product(self, vectors: Float32Array) -> FloatArray:
        """Scores of all items; float64, shape (len(vectors), items)."""
        return products(vectors, self._item_vectors) + self._item_offsets

    def _reasons(self, shopper_rows: IntArray, columns: IntArray) -> npt.NDArray[np.object_]:
        """An unseen item is `popular` when it is a best-seller that this shopper likes no more than the mean one."""
        reasons = super()._reasons(shopper_rows, columns)
        lift = np.einsum(
            "rd,rkd->rk", self._shopper_vectors[shopper_rows] - self._mean_vector, self._item_vectors[columns]
        )
        popular = (
            (lift <= 0)
            & best_sellers(self._popularity, self.config.best_sellers)[columns]
            & (reasons == str(Reason.SIMILAR_TASTE))
        )
        reasons[popular] = str(Reason.POPULAR)
        return reasons

    def _cold_reasons(self, attributes: pd.DataFrame, columns: IntArray) -> npt.NDArray[np.object_]:
        by_attributes = self._attributes.encode(attributes).getnnz(axis=1) > 0
        reasons = np.full(columns.shape, str(Reason.POPULAR), dtype=object)
        reasons[by_attributes] = str(Reason.SIMILAR_TASTE)
        return reasons

    # ------------------------------------------------------------------ keeping

    def _keep_shoppers(self, rows: IntArray) -> None:
        # Item vectors, attribute vectors and means are learned over everybody and name nobody; they stay until a refit.
        self._shopper_vectors = self._shopper_vectors[rows]

    def _state(self) -> tuple[dict[str, Any], Arrays]:
        return {"attributes": self._attributes.model_dump(mode="json")}, {
            "item_vectors": self._item_vectors,
            "item_offsets": self._item_offsets,
            "popularity": self._popularity,
            "shopper_vectors": self._shopper_vectors,
            "attribute_vectors": self._attribute_vectors,
            "mean_vector": self._mean_vector,
            "mean_without_attributes": self._mean_without_attributes,
            "from_items": self._from_items,
        }

    def _restore(self, state: dict[str, Any], arrays: Arrays) -> None:
        self._attributes = Vocabulary.model_validate(state["attributes"])
        for name, array in arrays.items():
            setattr(self, f"_{name}", np.asarray(array))


def _pairs(dataset: Dataset, config: LightFMConfig) -> sparse.csr_matrix:
    """Weight of each (shopper, item) pair of the window; float32, mean 1."""
    inside = dataset.age_days <= (config.window_days or np.inf)
    weights = np.exp(-dataset.age_days / config.decay_days) if config.decay_days else np.ones(len(inside))
    pairs = dataset.matrix(weights * inside)
    pairs.eliminate_zeros()
    if config.log_weights:
        pairs.data = np.log1p(pairs.data)
    if pairs.nnz:
        pairs.data /= pairs.data.mean()
    return pairs.astype(np.float32)


def _identity(rows: IntArray, count: int) -> sparse.csr_matrix:
    """One feature for each of `rows`; float32, shape (count, len(rows))."""
    ones = np.ones(len(rows), dtype=np.float32)
    return sparse.coo_matrix((ones, (rows, np.arange(len(rows)))), shape=(count, len(rows))).tocsr()


def _with_negatives(positives: sparse.coo_matrix, seed: int) -> sparse.coo_matrix:
    """Add random pairs of value -1, as many as there are positives: the logistic loss draws none itself."""
    random = np.random.default_rng(seed)
    rows = random.integers(positives.shape[0], size=positives.nnz)
    columns = random.integers(positives.shape[1], size=positives.nnz)
    drawn = sparse.coo_matrix(
        (np.full(positives.nnz, -1.0, np.float32), (rows, columns)), shape=positives.shape
    ).tocsr()
    drawn.data[:] = -1.0
    clash = drawn.multiply(positives.tocsr().astype(bool))
    return (positives.tocsr() + drawn - clash).tocoo()
