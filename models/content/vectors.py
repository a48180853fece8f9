"""Items as vectors of what they are, for likeness by content: the cosine of two is the product of their rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import sparse

from models.content.title_words import hashed_words
from models.content.vocabulary import PATH_COLUMN, Vocabulary
from models.dataset import Dataset, IntArray


def content_vectors(
    dataset: Dataset,
    *,
    text_columns: Sequence[str] = (),
    text_buckets: int = 16_384,
    buckets: int = 8,
    shared_levels: int = 0,
) -> sparse.csr_matrix:
    """Each item's content, what few items have weighing more (tf-idf; Salton and Buckley, IPM 1988).

    Args:
        dataset: its `item_content` columns are used.
        text_columns: those of them that are taken word by word; every other value is one feature (of the category
            path each prefix is).
        text_buckets: features that words and their pieces are hashed to.
        buckets: quantile buckets of a number column.
        shared_levels: two items are alike only where so many first steps of their category paths are the same.

    Returns:
        float32, shape (items, features); each row has the length 1, or 0 where nothing is known of the item.
    """
    names = [name for name in dataset.item_content if name not in text_columns]
    values = Vocabulary.learn(dataset.items, names, buckets=buckets).encode(dataset.items)
    words = [hashed_words(dataset.items[name], text_buckets) for name in dataset.item_content if name in text_columns]
    whole = sparse.hstack([values, *words], format="csr", dtype=np.float32)
    rarity = np.log(max(1, whole.shape[0]) / np.maximum(whole.getnnz(axis=0), 1))
    weighted = (whole @ sparse.diags(rarity)).tocsr()
    lengths = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1)).ravel())
    unit = (sparse.diags(1 / np.maximum(lengths, 1e-12)) @ weighted).tocsr()
    if shared_levels and PATH_COLUMN in dataset.items:
        unit = _crossed(unit, category_codes(dataset.items[PATH_COLUMN], shared_levels))
    unit.eliminate_zeros()
    return unit.astype(np.float32)


def category_codes(paths: pd.Series, levels: int) -> IntArray:
    """Number of the first `levels` steps of each category path; items of no known category are together."""
    steps = paths.astype("string").fillna("").str.split("/").str[:levels].str.join("/")
    return pd.factorize(steps, sort=True)[0].astype(np.int64)


def _crossed(vectors: sparse.csr_matrix, group: IntArray) -> sparse.csr_matrix:
    """The same values, each feature of each group a feature of its own: rows of two groups share none."""
    owner = np.repeat(group, np.diff(vectors.indptr))
    names, columns = np.unique(owner * vectors.shape[1] + vectors.indices, return_inverse=True)
    return sparse.csr_matrix((vectors.data, columns, vectors.indptr), shape=(vectors.shape[0], len(names)))
