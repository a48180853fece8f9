"""Checks of offers and campaigns that look at more than one table."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import polars as pl

from pipelines.signals.lake.lake import together
from pipelines.signals.lake.parts import Held

ROW = "_row"
ABOVE = "floor_price lies above the item's price"
_PRICED = {"item_id": pl.String, "price": pl.Float64, "currency": pl.String}
_TIME = pl.Datetime("us", "UTC")
_CAMPAIGN = {"campaign_id": pl.String, "currency": pl.String}


class Usual:
    """What offers are checked against: the items' prices, in the currency of the offer's campaign."""

    def __init__(self) -> None:
        self._items = pl.DataFrame(schema=_PRICED)
        self._campaigns = pl.DataFrame(schema=_CAMPAIGN)

    def learn(self, tables: Mapping[str, Held]) -> None:
        """Take what the tables hold now, those of this run among them."""
        self._items, self._campaigns = _read(tables, "items", _PRICED), _read(tables, "campaigns", _CAMPAIGN)

    def above(self, offers: pl.DataFrame) -> pl.DataFrame:
        """The rows (_row) of offers whose floor no price of the item could keep, with the reason.

        Where the price is not known, or is in another currency than the campaign's, nothing can be said.
        """
        numbered = offers.select("item_id", "campaign_id", "floor_price").with_columns(
            pl.int_range(pl.len(), dtype=pl.Int64).alias(ROW)
        )
        priced = numbered.join(self._items.drop_nulls("price").unique("item_id"), on="item_id").join(
            self._campaigns.unique("campaign_id"), on="campaign_id", how="left", suffix="_of_campaign"
        )
        alike = (pl.col("currency") == pl.col("currency_of_campaign")).fill_null(True)
        found = priced.filter(alike, pl.col("floor_price") > pl.col("price"))
        return found.select(ROW, pl.lit(ABOVE).alias("reason"))


def told(tables: Mapping[str, Held], brought: set[str], now: datetime) -> list[str]:
    """Sentences about campaigns and offers that were taken in and show nothing, or without a limit."""
    said = []
    campaigns = _read(tables, "campaigns", {**_CAMPAIGN, "ends": _TIME, "starts": _TIME, "budget": pl.Float64})
    if "campaigns" in brought:
        said += [
            _count(campaigns.filter(pl.col("ends") <= now).height, "campaign", "ended before now and show nothing"),
            _count(campaigns.filter(pl.col("budget") == 0).height, "campaign", "have a budget of 0 and show nothing"),
            _count(
                campaigns["budget"].null_count(), "campaign", "have no budget, so that what they spend is not limited"
            ),
        ]
    if "offers" in brought:
        offers = _read(tables, "offers", {"campaign_id": pl.String, "starts": _TIME, "ends": _TIME})
        spans = offers.join(campaigns, on="campaign_id", how="left", suffix="_of_campaign").with_columns(
            starts=pl.max_horizontal("starts", "starts_of_campaign"), ends=pl.min_horizontal("ends", "ends_of_campaign")
        )
        never = (pl.col("starts") >= pl.col("ends")).fill_null(False)
        said += [
            _count(spans.filter(never).height, "offer", "lie outside of their campaign's time and never run"),
            _count(spans.filter(~never, pl.col("ends") <= now).height, "offer", "ended before now and show nothing"),
        ]
    return [sentence for sentence in said if sentence]


def _count(rows: int, what: str, says: str) -> str:
    return f"{what}s that {says}: {rows:,}" if rows else ""


def _read(tables: Mapping[str, Held], name: str, schema: Mapping[str, Any]) -> pl.DataFrame:
    held = tables.get(name)
    frames = [] if held is None else [pl.scan_parquet(held.folder / part.file) for part in held.parts]
    return together([pl.LazyFrame(schema=schema), *frames]).select(list(schema)).collect()
