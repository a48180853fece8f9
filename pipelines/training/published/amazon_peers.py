"""What a user of implicit or RecTools would rank with, for `amazon-loo`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

_FACTORS, _NEIGHBOURS = 64, 100


def peer_lists(
    known: pd.DataFrame, users: Sequence[str], k: int, progress: Callable[[str], None]
) -> tuple[dict[str, pd.DataFrame], list[str]]:
    """Lists of unseen items by implicit's ALS and item-kNN and RecTools' SASRec, with the libraries' defaults.

    Args:
        known: shopper_id, item_id, event_time of every known event.
        users: whom to rank for.
        k: length of the lists.
        progress: told what is being done.

    Returns:
        shopper_id, rank, item_id by peer, and notes: what was measured, and what was not and why.
    """
    found: dict[str, pd.DataFrame] = {}
    notes: list[str] = []
    for library, measure in (("implicit", _implicit), ("rectools", _rectools)):
        progress(f"amazon-loo: peers from {library}")
        try:
            found |= measure(known, users, k)
        except ImportError as error:
            notes.append(f"Peers from {library} are not measured: {error}.")
    if found:
        notes.append(f"Peers with the libraries' defaults: {', '.join(found)}.")
    return found, notes


def _implicit(known: pd.DataFrame, users: Sequence[str], k: int) -> dict[str, pd.DataFrame]:
    from implicit.als import AlternatingLeastSquares
    from implicit.nearest_neighbours import CosineRecommender

    rows, shoppers = pd.factorize(known["shopper_id"], sort=True)
    columns, items = pd.factorize(known["item_id"], sort=True)
    counts = sparse.coo_matrix((np.ones(len(known), np.float32), (rows, columns))).tocsr()
    asked = pd.Index(shoppers).get_indexer(pd.Index(list(users)))
    models: dict[str, Any] = {
        "implicit-als": AlternatingLeastSquares(factors=_FACTORS, random_state=0, num_threads=1),
        "implicit-item-knn": CosineRecommender(K=_NEIGHBOURS, num_threads=1),
    }
    found = {}
    for name, model in models.items():
        model.fit(counts, show_progress=False)
        best, scores = model.recommend(asked, counts[asked], N=k, filter_already_liked_items=True)
        line, place = np.nonzero(np.isfinite(scores) & (scores > np.finfo(np.float32).min) & (best >= 0))
        found[name] = pd.DataFrame(
            {
                "shopper_id": np.asarray(users, dtype=object)[line],
                "rank": place + 1,
                "item_id": pd.Index(items)[best[line, place]],
            }
        ).drop_duplicates(["shopper_id", "item_id"], ignore_index=True)
    return found


def _rectools(known: pd.DataFrame, users: Sequence[str], k: int) -> dict[str, pd.DataFrame]:
    from rectools.dataset import Dataset
    from rectools.models import SASRecModel

    table = known.rename(columns={"shopper_id": "user_id", "item_id": "item_id", "event_time": "datetime"})
    dataset = Dataset.construct(table.assign(weight=1.0, datetime=table["datetime"].dt.tz_localize(None)))
    model = SASRecModel(verbose=0).fit(dataset)
    lists = model.recommend(list(users), dataset, k=k, filter_viewed=True)
    return {"rectools-sasrec": lists.rename(columns={"user_id": "shopper_id"})[["shopper_id", "rank", "item_id"]]}
