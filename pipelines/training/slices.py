"""Parts of a test that are looked at apart: kinds of shoppers, and kinds of items that they bought."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from pipelines.training.gate import slice_shoppers

# Metrics of item slices are columns of the frames: item_new_ndcg, item_tail_recall, …
NEW_ITEMS, MAKERS_TAIL, NEW_MAKERS = "item_new", "item_tail", "item_new_makers"
ITEM_SLICES = {
    NEW_ITEMS: "items first sold in the four weeks before the cut, or not before it at all",
    MAKERS_TAIL: "items of the makers outside those who together make 80 % of the sales before the cut",
    NEW_MAKERS: "items of makers whose first sale lies in the eight weeks before the cut, or not before it at all",
}
NEW_DAYS, NEW_MAKER_DAYS = 28, 56
_HEAD_SHARE = 0.8
_MOST_STORES = 10


def item_slices(past: pd.DataFrame, items: pd.DataFrame, later: pd.DataFrame, cut: pd.Timestamp) -> dict[str, pd.Index]:
    """Return the item ids of each slice of ITEM_SLICES that this data has.

    Args:
        past: interactions before the cut: item_id, event_time.
        items: the catalogue at the cut: item_id and, where known, maker_id; without it there is no makers' tail.
        later: item_id: what was bought from the cut on, also of items that were not in the catalogue then.
        cut: UTC.
    """
    first = past.groupby("item_id")["event_time"].min()
    old = first.index[first < cut - pd.Timedelta(days=NEW_DAYS)]
    ids = pd.Index(items["item_id"]).union(pd.Index(later["item_id"].unique()), sort=False)
    found = {NEW_ITEMS: ids[~ids.isin(old)]}
    if "maker_id" in items.columns and items["maker_id"].notna().any():
        maker = items.set_index("item_id")["maker_id"].dropna()
        sales = past["item_id"].map(maker).value_counts().sort_index().sort_values(ascending=False, kind="stable")
        before = sales.cumsum() - sales  # of those above
        head = sales.index[before.to_numpy(np.float64) < _HEAD_SHARE * float(sales.sum())]
        found[MAKERS_TAIL] = maker.index[~maker.isin(head)]
        begun = past["event_time"].groupby(past["item_id"].map(maker)).min()
        recent = pd.Timedelta(days=NEW_MAKER_DAYS)
        if len(past) and past["event_time"].min() < cut - 2 * recent:  # in a young shop every maker is new
            found[NEW_MAKERS] = maker.index[~maker.isin(begun.index[begun < cut - recent])]
    return {name: members for name, members in found.items() if len(members)}


def home_stores(past: pd.DataFrame) -> pd.Series:
    """Return the store where each shopper bought most before the cut (of equals the first id), indexed by shopper_id.

    Empty where no store is known.
    """
    if "store_id" not in past.columns:
        return pd.Series(dtype=object)
    visits = past.dropna(subset=["store_id"]).groupby(["shopper_id", "store_id"]).size().reset_index(name="rows")
    first = visits.sort_values(["shopper_id", "rows", "store_id"], ascending=[True, False, True])
    return first.drop_duplicates("shopper_id").set_index("shopper_id")["store_id"]


def shopper_slices(
    shoppers: list[str], counts: pd.Series, stores: pd.Series
) -> Mapping[str, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    """Return who of `shoppers` is in which slice: cold, light, heavy, and those of the stores with most of them."""
    kind = slice_shoppers(shoppers, counts)
    found = {name: (kind == name).to_numpy() for name in ("cold", "light", "heavy")}
    of = stores.reindex(pd.Index(shoppers, dtype=object))
    named = of.value_counts().sort_index().sort_values(ascending=False, kind="stable")
    if len(named) > 1:
        top = list(named.index[:_MOST_STORES])
        found |= {f"store {store}": (of == store).to_numpy() for store in top}
        found["other stores"] = (of.notna() & ~of.isin(top)).to_numpy()
    return {name: inside for name, inside in found.items() if inside.any()}
