"""Complete Journey's year as the published tables take it: without what is left out, ids padded with zeros."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import polars as pl

from pipelines.signals.sources.complete_journey import learning_tables

ID_WIDTH = 9
LEFT_OUT = ("FUEL", "MISCELLANEOUS", "COUPON")
_KNOWS_DECEMBER = ["price", "first_seen", "home_store_id"]


@dataclass(frozen=True)
class Tables:
    """The year's tables without what is left out; ids are padded, and nothing in them is computed from the whole year.

    Attributes:
        rows: shopper_id, item_id, event_time, basket_id, store_id, quantity, price of every row.
        items: the catalogue.
        shoppers: households and their attributes.
    """

    rows: pd.DataFrame
    items: pd.DataFrame
    shoppers: pd.DataFrame


def read_tables(data: Path | None = None) -> Tables:
    """Read the whole year.

    Args:
        data: folder of the package's parquet files; None: the installed package.

    Raises:
        FacingsError: the package is not installed, or the folder lacks a file.
    """
    tables = learning_tables(data)
    items = tables["items"].filter(~pl.col("category").str.split("/").list.first().is_in(LEFT_OUT))
    banned = tables["items"].join(items, on="item_id", how="anti").select("item_id")
    kept = tables["interactions"].join(banned, on="item_id", how="anti", maintain_order="left")
    columns = ["shopper_id", "item_id", "event_time", "basket_id", "store_id", "quantity", "price"]
    rows = kept.select(columns).with_columns(_padded("shopper_id"), _padded("item_id"), _padded("basket_id", 12))
    return Tables(
        rows=rows.to_pandas(),
        items=items.with_columns(_padded("item_id")).drop(_KNOWS_DECEMBER, strict=False).to_pandas(),
        shoppers=tables["shoppers"].with_columns(_padded("shopper_id")).drop(_KNOWS_DECEMBER, strict=False).to_pandas(),
    )


def _padded(column: str, width: int = ID_WIDTH) -> pl.Expr:
    return pl.col(column).str.zfill(width)
