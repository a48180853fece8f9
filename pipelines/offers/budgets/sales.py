"""What sales took from campaigns: the discount of each purchase that names a campaign with a budget.

The money is what was paid less than the usual price, for each piece. A redemption by itself takes none: its purchase
tells what was paid, and counts once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import polars as pl

from configs.settings import Settings
from pipelines.shop_offers import UNKNOWN_PRICE
from pipelines.shop_snapshot import Shop, minor_units
from pipelines.signals.lake.lake import Lake
from state.budgets import Sale, add_sales
from state.engine import open_engine

_BATCH = 10_000
_MOST = 10**15  # minor units of one sale: what is more is a slip, and the sums must fit into 64 bits


def sales_of(rows: Sequence[Mapping[str, Any]], shop: Shop, currency: str) -> list[Sale]:
    """What purchases took.

    Args:
        rows: checked interactions with an event_id.
        shop: tells usual prices and which campaigns have a budget.
        currency: where an interaction names none.
    """
    told = [row for row in rows if row.get("event_type") == "purchase" and row.get("campaign_id") in shop.budgets]
    told = [row for row in told if row.get("price") is not None]
    if not told:
        return []
    places = shop.positions([str(row["item_id"]) for row in told])
    found = []
    for row, place in zip(told, places.tolist(), strict=True):
        usual = int(shop.prices[place]) if place >= 0 else UNKNOWN_PRICE
        if usual != UNKNOWN_PRICE:
            paid = minor_units(float(row["price"]), row.get("currency") or currency)
            money = _taken(usual, paid, row.get("quantity"))
            found += [Sale(str(row["event_id"]), str(row["campaign_id"]), money)] if money else []
    return found


def count_lake(settings: Settings, lake: Lake, now: datetime) -> int:
    """Count what purchases in the lake took from campaigns that have not ended; return how many are new.

    Those that came over HTTP were counted when they came, and are known by their event_id.
    """
    campaigns = (
        lake.scan("campaigns")
        .filter((pl.col("budget") > 0) & (pl.col("ends").is_null() | (pl.col("ends") > now)))
        .select("campaign_id")
        .collect()
    )
    if campaigns.is_empty():
        return 0
    columns = ("item_id", "event_time", "store_id", "price", "quantity", "campaign_id")
    usual = lake.scan("items").select("item_id", pl.col("price").alias("usual"), pl.col("currency").alias("usual_in"))
    sold = (
        lake.scan("interactions")
        .filter((pl.col("event_type") == "purchase") & pl.col("price").is_not_null())
        .join(campaigns.lazy(), on="campaign_id", how="semi")
        .join(usual.filter(pl.col("usual").is_not_null()).unique("item_id"), on="item_id")
        .select(*columns, "event_id", "currency", "usual", "usual_in")
        .with_columns(pl.int_range(pl.len()).over(columns).alias("same"))
        .collect()
    )
    engine, new, sales = open_engine(settings.state_uri), 0, list[Sale]()
    for sale in _of_lake(sold, settings.currency):
        sales.append(sale)
        if len(sales) >= _BATCH:
            new += add_sales(engine, sales)
            sales.clear()
    return new + add_sales(engine, sales)


def _of_lake(sold: pl.DataFrame, currency: str) -> Iterator[Sale]:
    for row in sold.iter_rows(named=True):
        usual = minor_units(row["usual"], row["usual_in"] or currency)
        money = _taken(usual, minor_units(row["price"], row["currency"] or currency), row["quantity"])
        if money:
            # Rows that are alike in all this are told apart by their number; which is which makes no difference.
            names = ("item_id", "event_time", "store_id", "price", "quantity", "campaign_id", "same")
            name = row["event_id"] or "|".join(str(row[key]) for key in names)
            yield Sale(name, row["campaign_id"], money)


def _taken(usual: int, paid: int, quantity: float | None) -> int:
    return min(round(max(0, usual - paid) * max(0.0, 1.0 if quantity is None else float(quantity))), _MOST)
