"""`tafeng-taiw`: a Taiwanese supermarket, November 2000 to February 2001, under the protocol of `taiw`.

The rows: users with five or more distinct days, then items with ten or more rows, both counted on the raw file. Then
users go whose rows per day (rows left, over the days from their first to their last, both counted) are at or above the
mean plus two population standard deviations over all users left, and users of one day. A day is a basket. This gives
7,358 users, 11,202 items, 368,951 rows and 7,357 test users.

Prices of the file are totals of a row; the price of one unit is learned from. The first seven digits of a barcode stand
for its maker, and a subclass of six digits is read as a path of three steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from configs.errors import FacingsError, UsageError
from configs.recipe import Recipe
from pipelines.training.published import taiw
from pipelines.training.published.table import PublishedTable

_COLUMNS = {
    "TRANSACTION_DT": "day",
    "CUSTOMER_ID": "shopper_id",
    "AGE_GROUP": "age_group",
    "PIN_CODE": "pin_code",
    "PRODUCT_SUBCLASS": "subclass",
    "PRODUCT_ID": "item_id",
    "AMOUNT": "quantity",
    "SALES_PRICE": "total",
}
PROTOCOL = taiw.Protocol(
    name="tafeng-taiw",
    title=(
        "tafeng-taiw: Ta-Feng, each user's last basket; {users:,} users, {items:,} items, {rows:,} rows, "
        "{judged:,} test users; metrics at 10"
    ),
    settings=(taiw.UNKNOWN, taiw.PAST, taiw.SAME_DAY),
    published={
        "popular": {"precision": 0.0308, "recall": 0.0863, "ndcg": 0.0939},
        taiw.AGAINST: {"precision": 0.0628, "recall": 0.1455, "ndcg": 0.1252},
    },
    notes=(
        "date_known_past: what is computed for a visit uses only sales before its day. Who takes no dates is trained "
        "anew for each day, which is the strict past-only variant; the trees of next_basket and the rates of "
        "repurchase are learned once, from the known baskets of all users, some of them later than a visit.",
        "same_day: repurchase looks at no sale of the visit's day or later, so its lists are those of date_known_past.",
    ),
)


def read_data(data: Path | None) -> taiw.Baskets:
    """Read and filter the raw file.

    Args:
        data: the file (.csv, or a .zip of one), or a folder that holds `ta_feng.csv.zip`.

    Raises:
        UsageError: no file was named.
        FacingsError: it is not there, cannot be read or has other columns.
    """
    raw = _read(_file(data))
    days = raw.groupby("shopper_id")["event_time"].nunique()
    rows = raw[raw["shopper_id"].isin(days.index[days >= 5])]
    sold = raw["item_id"].value_counts()
    rows = rows[rows["item_id"].isin(sold.index[sold >= 10])]
    if rows.empty:
        raise FacingsError(f"No user of {data} has five days with items sold ten times; it is not the raw file.")
    own = rows.groupby("shopper_id")["event_time"].agg(["size", "min", "max"])
    rate = own["size"] / ((own["max"] - own["min"]).dt.days + 1)
    regular = (rate < rate.mean() + 2 * rate.std(ddof=0)) & (own["max"] > own["min"])
    rows = rows[rows["shopper_id"].isin(own.index[regular])]
    rows = rows.sort_values(["event_time", "shopper_id", "item_id"], kind="stable", ignore_index=True)
    return taiw.Baskets(
        rows=taiw.number_baskets(rows[["shopper_id", "item_id", "event_time", "quantity", "price"]]),
        items=_items(rows),
        shoppers=rows.groupby("shopper_id")[["age_group", "pin_code"]].last().reset_index(),
        as_of=raw["event_time"].max() + pd.Timedelta(days=1),
    )


def run(
    data: Path | None, recipes: Sequence[Recipe], *, seeds: int, peers: bool, progress: Callable[[str], None]
) -> PublishedTable:
    """Reproduce the baselines and measure the recipes; arguments and errors as `read_data` and `taiw.run`."""
    progress("tafeng-taiw: reading the raw file")
    return taiw.run(PROTOCOL, read_data(data), recipes, seeds=seeds, peers=peers, progress=progress)


def _file(data: Path | None) -> Path:
    if data is None:
        raise UsageError("tafeng-taiw needs its raw file: name it by --data, or its folder by FACINGS_BENCHMARK_DATA.")
    path = data / "ta_feng.csv.zip" if data.is_dir() else data
    if not path.is_file():
        raise FacingsError(f"There is no {path}; name the raw file of Ta-Feng (ta_feng.csv.zip) by --data.")
    return path


def _read(path: Path) -> pd.DataFrame:
    """The raw rows with our column names; event_time is the day at midnight UTC."""
    try:
        raw = pd.read_csv(path, dtype=str, encoding="utf-8-sig")
    except Exception as error:  # the parser, the zip reader and the decoder have no common error
        raise FacingsError(f"{path} cannot be read as CSV: {' '.join(str(error).split())}; fetch it again.") from None
    missing = [name for name in _COLUMNS if name not in raw.columns]
    if missing:
        raise FacingsError(f"{path} lacks the column {', '.join(missing)}; it is not the raw file of Ta-Feng.")
    table = raw.rename(columns=_COLUMNS)[list(_COLUMNS.values())]
    day = pd.to_datetime(table["day"], format="%m/%d/%Y", errors="coerce", utc=True)
    quantity, total = (pd.to_numeric(table[name], errors="coerce") for name in ("quantity", "total"))
    broken = day.isna() | quantity.isna() | total.isna() | table["shopper_id"].isna() | table["item_id"].isna()
    if broken.any():
        raise FacingsError(
            f"{path}: line {int(np.flatnonzero(broken)[0]) + 2} holds no day, number or id; fetch it again."
        )
    price = total / quantity.where(quantity > 0, 1)
    return table.assign(event_time=day, quantity=quantity, price=price).drop(columns=["day", "total"])


def _items(rows: pd.DataFrame) -> pd.DataFrame:
    items = rows.groupby("item_id", sort=True)["subclass"].last().reset_index()
    code = items.pop("subclass").astype(str)
    return items.assign(category=code.str[:2] + "/" + code.str[:4] + "/" + code, maker_id=items["item_id"].str[:7])
