"""What a user of the implicit library would rank with, for the tables of next baskets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

_FACTORS, _NEIGHBOURS = 64, 100


def peer_lists(past: pd.DataFrame, users: Sequence[str], k: int) -> tuple[dict[str, pd.DataFrame], list[str]]:
    """Lists of implicit's ALS and item-kNN, repeats allowed, with the library's own settings.

    Args:
        past: shopper_id, item_id of every known row.
        users: whom to rank for.
        k: length of the lists.

    Returns:
        shopper_id, rank, item_id by peer, and notes: what is not measured and why.
    """
    try:
        from implicit.als import AlternatingLeastSquares
        from implicit.nearest_neighbours import CosineRecommender
    except ImportError:
        return {}, ["Peers ALS and item-kNN are not measured: implicit is not installed."]
    rows, shoppers = pd.factorize(past["shopper_id"], sort=True)
    columns, items = pd.factorize(past["item_id"], sort=True)
    counts = sparse.coo_matrix((np.ones(len(past), np.float32), (rows, columns))).tocsr()
    peers = {
        "implicit-als": AlternatingLeastSquares(factors=_FACTORS, random_state=0, num_threads=1),
        "implicit-item-knn": CosineRecommender(K=_NEIGHBOURS, num_threads=1),
    }
    asked = pd.Index(shoppers).get_indexer(pd.Index(list(users)))
    found = {name: _ranked(model, counts, asked, pd.Index(items), users, k) for name, model in peers.items()}
    return found, [f"Peers: implicit's ALS ({_FACTORS} factors) and cosine item-kNN ({_NEIGHBOURS} neighbours)."]


def _ranked(
    model: Any, counts: sparse.csr_matrix, asked: Any, items: pd.Index, users: Sequence[str], k: int
) -> pd.DataFrame:
    model.fit(sparse.csr_matrix(counts), show_progress=False)
    columns, scores = model.recommend(asked, counts[asked], N=k, filter_already_liked_items=False)
    line, place = np.nonzero(np.isfinite(scores) & (columns >= 0))
    return pd.DataFrame(
        {
            "shopper_id": np.asarray(users, dtype=object)[line],
            "rank": place + 1,
            "item_id": items[columns[line, place]],
        }
    ).drop_duplicates(["shopper_id", "item_id"], ignore_index=True)
