"""What a recipe is trained and judged on, read from the lake as it was known at a stated moment."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import pandas as pd
import polars as pl

from configs.errors import FacingsError
from configs.recipe import Recipe, SplitRecipe
from configs.settings import Settings
from features.engagement import ENGAGEMENT
from features.store import FeatureStore
from models.dataset import Dataset
from pipelines.signals.behaviour.counted import EXTRA, counted
from pipelines.signals.behaviour.watching import COLUMNS as WATCHED
from pipelines.signals.behaviour.watching import watching
from pipelines.signals.lake.lake import Lake
from state.blocked import blocked_now
from state.engine import open_engine

PROMOTION_COLUMNS = ["store_id", "item_id", "starts", "ends", "display", "mailer"]
COLUMNS = ["shopper_id", "item_id", "event_time", "quantity", "price", "store_id", "basket_id"]
# What a model depends on, and, where a recipe uses Feast's features, what those are computed from.
TABLES = ("interactions", "items", "shoppers")
FEATURE_TABLES = ("promotions", "contents", "content_views")
CONTENT_TABLES = ("contents", "content_views")
FEATURE_SERVICE = "shopper"
# Advertising further away from the moment of training is not read: a chain's table has millions of rows a year.
PROMOTION_DAYS_BACK, PROMOTION_DAYS_AHEAD = 200, 60


@dataclass(frozen=True)
class Moments:
    """The split of one run: known before `cut`, judged on [cut, end), served from everything before `end`."""

    cut: pd.Timestamp
    end: pd.Timestamp


def moments(lake: Lake, split: SplitRecipe) -> Moments:
    """Return the cut and the end of the data: just after its last purchase, or last interaction where there is none.

    Lists are judged by purchases: a look at a screen on a day without sales must not move the window away from them.
    A young shop is judged by the newer half of its days at most, so that there is something to learn from.

    Raises:
        FacingsError: nothing was ingested.
    """
    time, bought = pl.col("event_time"), pl.col("event_type") == "purchase"
    first, last, last_sale = (
        lake.scan("interactions")
        .select(time.min().alias("first"), time.max().alias("last"), time.filter(bought).max().alias("last_sale"))
        .collect()
        .row(0)
    )
    if last is None:
        raise FacingsError("There is no data to train on; load a folder of tables with `facings ingest FOLDER` first.")
    end = _utc(pd.Timestamp(last_sale or last)) + pd.Timedelta(1, unit="us")
    half = (end - _utc(pd.Timestamp(first))) / 2
    return Moments(cut=end - min(pd.Timedelta(days=split.test_days), half.floor("us")), end=end)


def data_fingerprint(lake: Lake, recipes: Iterable[Recipe], settings: Settings) -> str:
    """Hex digest of all data that these recipes learn from, and of what is never recommended."""
    rules = [recipe.data for recipe in recipes]
    tables = {*TABLES}
    if any(rule.shopper_features for rule in rules):
        tables.update(FEATURE_TABLES)
    if any(rule.promotions != "none" for rule in rules):
        tables.add("promotions")
    if any(rule.contents for rule in rules):
        tables.update(CONTENT_TABLES)
    content = lake.fingerprint(sorted(tables))
    never = [*settings.never_recommend, *blocked_items(settings, lake)]
    text = "\n".join([content, *never, settings.suspicion.model_dump_json()])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def signals(lake: Lake, event_types: Sequence[str], before: pd.Timestamp) -> pd.DataFrame:
    """Read the interactions of these types before a moment; ids as str, event_time in UTC.

    All of them, also what was returned later or is flagged: `what_counts` tells what counts at a moment.
    """
    table = lake.read("interactions", [*COLUMNS, *EXTRA])
    keep = table["event_type"].isin(list(event_types)) & (table["event_time"] < before)
    return table[keep].reset_index(drop=True)


def what_counts(settings: Settings, lake: Lake, rows: pd.DataFrame, as_of: pd.Timestamp) -> pd.DataFrame:
    """Of `signals`, what counts at a moment: not returned by then, and not flagged as hardly real by then."""
    return counted(settings, lake, rows[rows["event_time"] < as_of], as_of).reset_index(drop=True)


def training_dataset(
    settings: Settings,
    lake: Lake,
    recipe: Recipe,
    as_of: pd.Timestamp,
    features: FeatureStore | None = None,
    *,
    interactions: pd.DataFrame | None = None,
) -> Dataset:
    """Build what `recipe` may learn from at `as_of`: nothing of that moment or later is in it.

    Args:
        settings: names what is never recommended.
        lake: the ingested tables.
        recipe: says which signals, content and attributes count.
        as_of: exclusive upper bound; UTC.
        features: asked for the shopper features that the recipe names, as they were at `as_of`.
        interactions: what `signals` returned for this recipe's event types up to a later moment, read already.

    Raises:
        FacingsError: no signal before `as_of`, a column the recipe names is missing, or features are named and there
            is no feature store.
    """
    as_of = _utc(as_of)
    if interactions is None:
        interactions = signals(lake, recipe.data.event_types, as_of)
    past = what_counts(settings, lake, interactions, as_of)
    watched = _watched(lake, as_of) if recipe.data.contents else None
    seen = [past["shopper_id"], *([] if watched is None else [watched["shopper_id"]])]
    shoppers = _shoppers(lake, pd.concat(seen))
    attributes = tuple(recipe.data.shopper_attributes)
    if recipe.data.shopper_features:
        if features is None:
            raise FacingsError(f"Recipe {recipe.name} names shopper_features; give a feature store that holds them.")
        shoppers = _with_features(shoppers, recipe, as_of, features)
        attributes += tuple(recipe.data.shopper_features)
    return Dataset.build(
        past,
        items=_items(lake, as_of),
        shoppers=shoppers,
        as_of=as_of,
        item_content=recipe.data.item_content,
        shopper_attributes=attributes,
        dated_attributes=recipe.data.shopper_features,
        never_recommend=settings.never_recommend,
        blocked=blocked_items(settings, lake),
        promotions=_promotions(lake, as_of, planned=recipe.data.promotions == "planned")
        if recipe.data.promotions != "none"
        else None,
        watched=watched,
        contents=None if watched is None else _contents(lake, watched),
    )


def blocked_items(settings: Settings, lake: Lake) -> list[str]:
    """Items that are blocked now, or whose maker is; ordered by id."""
    blocked = blocked_now(open_engine(settings.state_uri))
    found = set(blocked.items)
    if blocked.makers and lake.has("items") and "maker_id" in lake.scan("items").collect_schema().names():
        theirs = pl.col("maker_id").is_in(list(blocked.makers))
        found |= set(lake.scan("items").filter(theirs).select("item_id").collect()["item_id"])
    return sorted(found)


def _items(lake: Lake, as_of: pd.Timestamp) -> pd.DataFrame:
    """The catalogue of that moment: an item that is first seen later was not in it."""
    items = lake.read("items")
    return items[~(items["first_seen"] >= as_of)].reset_index(drop=True)


def _promotions(lake: Lake, as_of: pd.Timestamp, *, planned: bool) -> pd.DataFrame | None:
    """Advertising around `as_of`, ids as categories; what starts at that moment or later only where it is planned."""
    if not lake.has("promotions"):
        return None
    latest = as_of + timedelta(days=PROMOTION_DAYS_AHEAD) if planned else as_of
    near = lake.scan("promotions").filter(
        pl.col("starts") < latest, pl.col("ends") > as_of - timedelta(days=PROMOTION_DAYS_BACK)
    )
    columns = [column for column in PROMOTION_COLUMNS if column in near.collect_schema().names()]
    texts = [column for column in columns if column not in ("starts", "ends")]
    return near.select(pl.col(columns)).with_columns(pl.col(texts).cast(pl.Categorical)).collect().to_pandas()


def _watched(lake: Lake, as_of: pd.Timestamp) -> pd.DataFrame | None:
    """What shoppers did with contents before that moment, and what it says of their interest; nothings are left out."""
    views = watching(lake)
    if views is None:
        return None
    views = views.filter(pl.col("event_time") < as_of)
    weighed = views.select(*WATCHED, pl.sql_expr(ENGAGEMENT).alias("engagement")).filter(pl.col("engagement") > 0)
    watched = weighed.sort(WATCHED).collect().to_pandas()
    return None if watched.empty else watched


def _contents(lake: Lake, watched: pd.DataFrame) -> pd.DataFrame:
    """The contents that somebody watched, as they are described now; ordered by id."""
    contents = lake.read("contents", ["content_id", "title", "tags", "item_ids"])
    return contents[contents["content_id"].isin(watched["content_id"].unique())].sort_values(
        "content_id", ignore_index=True
    )


def _shoppers(lake: Lake, seen: pd.Series) -> pd.DataFrame:
    """The shoppers table, completed by whoever bought or watched without being in it."""
    known = lake.read("shoppers")
    missing = pd.Index(seen.unique()).difference(pd.Index(known["shopper_id"]))
    if missing.empty:
        return known
    return pd.concat([known, pd.DataFrame({"shopper_id": missing.astype(object)})], ignore_index=True)


def _with_features(shoppers: pd.DataFrame, recipe: Recipe, as_of: pd.Timestamp, features: FeatureStore) -> pd.DataFrame:
    named = list(recipe.data.shopper_features)
    asked = pd.DataFrame({"shopper_id": shoppers["shopper_id"].astype(object), "event_timestamp": as_of})
    found = features.historical(asked, FEATURE_SERVICE)
    unknown = [name for name in named if name not in found.columns]
    if unknown:
        known = ", ".join(column for column in found.columns if column not in asked.columns)
        raise FacingsError(f"Recipe {recipe.name} names {', '.join(unknown)}; the shopper's features are {known}.")
    own = [column for column in shoppers.columns if column not in named]
    return shoppers[own].merge(found[["shopper_id", *named]], on="shopper_id", how="left", validate="one_to_one")


def _utc(moment: pd.Timestamp) -> pd.Timestamp:
    return moment.tz_localize("UTC") if moment.tzinfo is None else moment.tz_convert("UTC")
