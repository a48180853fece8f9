"""Content kNN: an item is scored by how much it is like what the shopper bought, by content alone.

The classic of content-based recommendation (Lops, de Gemmis and Semeraro, "Content-based Recommender Systems: State of
the Art and Trends", in Recommender Systems Handbook, Springer 2011): items are tf-idf vectors of their content, and the
cosines to all of a shopper's items are summed, each weighted by how strongly the shopper holds it. Who else bought an
item does not matter, so one that nobody bought is ranked as any other. A cosine is a product, so the sum over a history
is one product with its weighted sum: memory is linear in items and shoppers, no neighbour is searched. `shared_levels`
keeps it within a category: else a brand that is bought everywhere drowns what the shopper buys here.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from pydantic import Field
from scipy import sparse

from models.artifact import Arrays
from models.base import Capabilities, RecommenderConfig
from models.collaborative import Collaborative, CollaborativeConfig
from models.content.vectors import content_vectors
from models.dataset import BoolArray, Dataset, FloatArray


class ContentKNNConfig(CollaborativeConfig):
    """What of an item's content is compared."""

    text_columns: tuple[str, ...] = Field(("title",), description="content columns taken word by word")
    text_buckets: int = Field(16_384, ge=1, description="features that words and their pieces are hashed to")
    buckets: int = Field(8, ge=1, description="quantile buckets of a number column")
    shared_levels: int = Field(
        0, ge=0, description="items are alike only where so many first steps of their category paths are the same"
    )


class ContentKNN(Collaborative):
    """Sums the cosines of an item to the shopper's own items, weighted by how strongly they hold those."""

    Config: ClassVar[type[RecommenderConfig]] = ContentKNNConfig
    capabilities: ClassVar[Capabilities] = Capabilities(cold_shoppers=True, cold_items=True, fold_in=True, repeats=True)

    def __init__(self, config: ContentKNNConfig) -> None:
        super().__init__(config)
        self.config: ContentKNNConfig = config
        self._vectors = sparse.csr_matrix((0, 0), dtype=np.float32)

    def _learn(self, weights: sparse.csr_matrix, dataset: Dataset, seed: int) -> None:
        self._vectors = content_vectors(
            dataset,
            text_columns=self.config.text_columns,
            text_buckets=self.config.text_buckets,
            buckets=self.config.buckets,
            shared_levels=self.config.shared_levels,
        )

    def _relevance(self, weights: sparse.csr_matrix) -> FloatArray:
        tastes = weights @ self._vectors
        return np.asarray((tastes @ self._vectors.T).toarray(), dtype=np.float64)

    def _scored(self) -> BoolArray:
        """What has content is known, sold or not."""
        known: BoolArray = (self._vectors.getnnz(axis=1) > 0) | super()._scored()
        return known

    def _state(self) -> tuple[dict[str, Any], Arrays]:
        state, arrays = super()._state()
        vectors = self._vectors
        return {**state, "features": int(vectors.shape[1])}, {
            **arrays,
            "vectors_indptr": vectors.indptr.astype(np.int64),
            "vectors_indices": vectors.indices.astype(np.int32),
            "vectors_values": vectors.data,
        }

    def _restore(self, state: dict[str, Any], arrays: Arrays) -> None:
        super()._restore(state, arrays)
        parts = tuple(np.asarray(arrays[f"vectors_{part}"]) for part in ("values", "indices", "indptr"))
        self._vectors = sparse.csr_matrix(parts, shape=(len(self.item_ids), state["features"]))
