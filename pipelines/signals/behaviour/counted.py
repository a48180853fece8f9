"""What counts, at a moment: purchases that were not returned, and rows that are not flagged as hardly real.

Training, its test sets and best-sellers ask here; features do the same within their own queries. Nothing is deleted: a
row that does not count stays in the lake, and at a moment before its return or its flag was known it counts.
"""

from __future__ import annotations

import pandas as pd
import polars as pl

from configs.settings import Settings
from features.returns import COLUMNS, left
from pipelines.signals.behaviour.suspicion import believed, suspicions
from pipelines.signals.lake.lake import Lake

# What `counted` looks at beside the shopper, the item and the time; it is taken off again.
EXTRA = ["event_type", "order_id"]
_PAIR = ["shopper_id", "item_id"]


def returns(lake: Lake) -> pd.DataFrame:
    """Every return in the lake, with the columns that say what it takes back."""
    return _rows(lake.scan("interactions").filter(pl.col("event_type") == "return").select(COLUMNS))


def counted(settings: Settings, lake: Lake, rows: pd.DataFrame, as_of: pd.Timestamp) -> pd.DataFrame:
    """Return the rows that count at a moment, each as it was but for the quantity of what was taken back in part.

    Args:
        settings: names the rules of suspicion.
        lake: holds the returns.
        rows: interactions before `as_of`: shopper_id, item_id, event_time, EXTRA, and more; EXTRA is not returned.
        as_of: what was returned or flagged by then does not count.
    """
    back = returns(lake)
    return _counted(rows, back[back["event_time"] < as_of], suspicions(settings, lake), as_of).drop(columns=EXTRA)


def counted_sales(settings: Settings, lake: Lake) -> pl.LazyFrame:
    """The purchases that count by all that is known now; the lake's own query where every one does."""
    sales = lake.scan("interactions").filter(pl.col("event_type") == "purchase")
    back, flags = returns(lake), suspicions(settings, lake)
    if back.empty and flags.empty:
        return sales
    doubted = pl.DataFrame({"shopper_id": flags["shopper_id"].unique()}, schema={"shopper_id": pl.String()}).lazy()
    pairs = pl.from_pandas(back[_PAIR].drop_duplicates(), schema_overrides=dict.fromkeys(_PAIR, pl.String())).lazy()
    columns = [*COLUMNS, "event_type", "store_id"]
    whole = sales.select(columns)
    some = pl.concat(
        [
            whole.join(doubted, on="shopper_id", how="semi"),
            whole.join(doubted, on="shopper_id", how="anti").join(pairs, on=_PAIR, how="semi"),
        ]
    )
    kept = _counted(_rows(some), back, flags, None)
    others = whole.join(doubted, on="shopper_id", how="anti").join(pairs, on=_PAIR, how="anti")
    texts = dict.fromkeys((*_PAIR, "order_id", "event_type", "store_id"), pl.String())
    return pl.concat([others, pl.from_pandas(kept[columns], schema_overrides=texts).lazy()], how="vertical_relaxed")


def _counted(rows: pd.DataFrame, back: pd.DataFrame, flags: pd.DataFrame, as_of: pd.Timestamp | None) -> pd.DataFrame:
    keep = believed(rows, flags, as_of)
    if len(back):
        bought = (rows["event_type"] == "purchase").to_numpy()
        some, taken = left(rows[bought], back)
        keep[bought] &= some
        if taken.any() and "quantity" in rows:
            rows = rows.copy()
            pieces = rows.loc[bought, "quantity"]
            rows.loc[bought, "quantity"] = (pieces.fillna(1.0) - taken).where(taken > 0, pieces)
    return rows if keep.all() else rows[keep].reset_index(drop=True)


def _rows(query: pl.LazyFrame) -> pd.DataFrame:
    return query.collect().to_pandas()
