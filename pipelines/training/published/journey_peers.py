"""What a user of the implicit library would rank with, for `complete-journey`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

_FACTORS, _NEIGHBOURS = 64, 100
PEERS_NOTE = (
    f"Peers: best sellers of the last 7 days, LightFM on identities alone, implicit's ALS ({_FACTORS} factors) and "
    f"item-kNN (cosine and BM25, {_NEIGHBOURS} neighbours) on counts of purchases; households without one get no list "
    "from implicit."
)


def peer_lists(
    past: pd.DataFrame, users: Sequence[str], k: int
) -> tuple[dict[str, tuple[pd.DataFrame, pd.DataFrame]], list[str]]:
    """Lists of implicit's ALS and item-kNN with the library's own settings.

    Args:
        past: shopper_id, item_id of every known row.
        users: whom to rank for.
        k: length of the lists.

    Returns:
        By peer: shopper_id, rank, item_id with repeats, and without; and notes: what is not measured and why.
    """
    try:
        from implicit.als import AlternatingLeastSquares
        from implicit.nearest_neighbours import BM25Recommender, CosineRecommender
    except ImportError:
        return {}, ["Peers ALS and item-kNN are not measured: implicit is not installed."]
    rows, shoppers = pd.factorize(past["shopper_id"], sort=True)
    columns, items = pd.factorize(past["item_id"], sort=True)
    counts = sparse.coo_matrix((np.ones(len(past), np.float32), (rows, columns))).tocsr()
    counts.sum_duplicates()
    known = [user for user in users if user in set(shoppers)]
    asked = pd.Index(shoppers).get_indexer(pd.Index(known))
    models: dict[str, Any] = {
        "implicit-als": AlternatingLeastSquares(factors=_FACTORS, random_state=0, num_threads=1),
        "implicit-item-knn": CosineRecommender(K=_NEIGHBOURS, num_threads=1),
        "implicit-item-knn-bm25": BM25Recommender(K=_NEIGHBOURS, num_threads=1),
    }
    found: dict[str, tuple[pd.DataFrame, pd.DataFrame]] = {}
    for name, model in models.items():
        model.fit(counts, show_progress=False)
        whole = model.recommend(asked, counts[asked], N=k, filter_already_liked_items=False)
        new = model.recommend(asked, counts[asked], N=k, filter_already_liked_items=True)
        found[name] = (_table(whole, known, items), _table(new, known, items))
    return found, []


def _table(found: tuple[Any, Any], users: Sequence[str], items: Any) -> pd.DataFrame:
    """Lists as rows; what implicit could not fill has a score below any real one."""
    columns, scores = found
    line, place = np.nonzero((columns >= 0) & (scores > np.finfo(np.float32).min))
    lists = pd.DataFrame(
        {
            "shopper_id": np.asarray(users, dtype=object)[line],
            "rank": place + 1,
            "item_id": np.asarray(items, dtype=object)[columns[line, place]],
        }
    )
    return lists.drop_duplicates(["shopper_id", "item_id"], ignore_index=True)
