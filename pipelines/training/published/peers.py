"""What a peer's user would rank with instead: implicit's ALS and item-kNN, and RecTools' SASRec where it installs.

The libraries' own settings, on counts of events. They come with the extra `bench` and serve nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse

_FACTORS, _NEIGHBOURS = 64, 100
NAMES = ("implicit-als", "implicit-item-knn", "implicit-item-knn-bm25", "rectools-sasrec", "popular-7-days")
IMPLICIT_NOTE = (
    f"Peers: implicit's ALS ({_FACTORS} factors) and item-kNN (cosine and BM25, {_NEIGHBOURS} neighbours) on counts; "
    "who has no event gets no list from it."
)


class PeerLists(NamedTuple):
    """shopper_id, rank, item_id: with what a user had before, and without."""

    whole: pd.DataFrame
    new: pd.DataFrame


def implicit_lists(known: pd.DataFrame, users: Sequence[str], k: int) -> tuple[dict[str, PeerLists], list[str]]:
    """Lists of implicit's ALS and item-kNN.

    Args:
        known: shopper_id, item_id of every known row.
        users: whom to rank for.
        k: length of the lists.

    Returns:
        Lists by peer, and a note: how they were made, or why they were not.
    """
    try:
        from implicit.als import AlternatingLeastSquares
        from implicit.nearest_neighbours import BM25Recommender, CosineRecommender
    except ImportError:
        return {}, ["Peers from implicit are not measured: implicit is not installed."]
    rows, shoppers = pd.factorize(known["shopper_id"], sort=True)
    columns, items = pd.factorize(known["item_id"], sort=True)
    counts = sparse.coo_matrix((np.ones(len(known), np.float32), (rows, columns))).tocsr()
    counts.sum_duplicates()
    served = [user for user in users if user in set(shoppers)]
    asked = pd.Index(shoppers).get_indexer(pd.Index(served))
    models: dict[str, Any] = {
        "implicit-als": AlternatingLeastSquares(factors=_FACTORS, random_state=0, num_threads=1),
        "implicit-item-knn": CosineRecommender(K=_NEIGHBOURS, num_threads=1),
        "implicit-item-knn-bm25": BM25Recommender(K=_NEIGHBOURS, num_threads=1),
    }
    found: dict[str, PeerLists] = {}
    for name, model in models.items():
        model.fit(counts, show_progress=False)
        both = (
            model.recommend(asked, counts[asked], N=k, filter_already_liked_items=leave_out)
            for leave_out in (False, True)
        )
        found[name] = PeerLists(*(_table(lists, served, items) for lists in both))
    return found, [IMPLICIT_NOTE]


def rectools_lists(known: pd.DataFrame, users: Sequence[str], k: int) -> tuple[dict[str, pd.DataFrame], list[str]]:
    """Lists of unseen items by RecTools' SASRec; `known` also holds event_time. Else as `implicit_lists`."""
    try:
        from rectools.dataset import Dataset
        from rectools.models import SASRecModel
    except ImportError as error:
        return {}, [f"Peers from rectools are not measured: {error}."]
    table = known.rename(columns={"shopper_id": "user_id", "event_time": "datetime"})
    dataset = Dataset.construct(table.assign(weight=1.0, datetime=table["datetime"].dt.tz_localize(None)))
    model = SASRecModel(verbose=0).fit(dataset)
    lists = model.recommend(list(users), dataset, k=k, filter_viewed=True)
    whole = lists.rename(columns={"user_id": "shopper_id"})[["shopper_id", "rank", "item_id"]]
    return {"rectools-sasrec": whole}, ["Peer from rectools: SASRec with the library's defaults."]


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
