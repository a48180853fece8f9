"""What a shop is at this moment, from the lake alone: items, stock, offers, screens, and what sells where.

Neighbourhood lists count what shoppers whose home store it is bought; store lists what was bought in the store; the
chain list everything. Each ranks by sales in the last weeks, then by all sales.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from decimal import ROUND_HALF_UP, Decimal
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import polars as pl

from configs.policy import OF_SHOP, PolicySettings, load_policy
from configs.settings import Settings
from models.reasons import Reason
from pipelines.packed import NOBODY, REASONS, LmdbFile, Ranked, key_of, pack, unpack, write_lmdb
from pipelines.shop_excluded import excluded_codes
from pipelines.shop_offers import UNKNOWN_PRICE, Names, ShopOffers, pack_offers
from pipelines.shop_shoppers import FILE as SHOPPERS
from pipelines.shop_shoppers import INTERVALS, ShopShoppers, write_shoppers
from pipelines.signals.behaviour.counted import counted_sales
from pipelines.signals.lake.lake import Lake
from pipelines.signals.quality.store import held_name, held_prices

FILE = "shop.mdb"
PLACES = "places.json"
PRICES, COSTS, FLAGS = "prices.npy", "costs.npy", "flags.npy"
# Of every item the code of its maker, brand and category (int32), and what the codes stand for.
CODED = {"makers": "maker_id", "brands": "brand", "categories": "category"}
NAMES = "names.json"
JOINED = "joined.npy"
OFFERS, OFFER_NAMES = "offers.npy", "offers.json"
ITEM_IDS = "item_ids.json"
_TABLES = ("cards", "index", "stock", "popular", "contents")
_VERSION = 10
_RECENT_DAYS = 28
_LIST = 200
_MOST_STORES = 256  # whose stock is held in memory
_MOST_CARDS = 20_000  # that are held in memory
CHAIN = "chain"
NEVER, AGE_RESTRICTED, SENSITIVE, DURABLE = 1, 2, 4, 8
# ISO 4217: currencies whose minor unit is not a hundredth.
_EXPONENTS = {**dict.fromkeys(("JPY", "KRW", "VND", "CLP", "ISK", "UGX", "XAF", "XOF", "PYG"), 0),
              **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3)}  # fmt: skip


def minor_units(amount: float, currency: str) -> int:
    """An amount in major units as an integer of the currency's minor units, half rounded up."""
    scaled = Decimal(repr(amount)).scaleb(_EXPONENTS.get(currency, 2))
    return int(scaled.quantize(Decimal(1), ROUND_HALF_UP))


def shop_key(lake: Lake, settings: Settings) -> str:
    """Name of the snapshot that this lake and these settings give."""
    policy = load_policy(settings.policy).model_dump(include=set(OF_SHOP), mode="json")
    rules = [sorted(settings.never_recommend), settings.suspicion.model_dump_json(), policy]
    facts = [_VERSION, lake.fingerprint(), settings.currency, *rules]
    held = held_name(settings.paths)
    if held is not None:
        facts.append(held)
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


# ---------------------------------------------------------------------- writing


def write_shop(folder: Path, lake: Lake, settings: Settings, progress: Callable[[str], None]) -> dict[str, Any]:
    """Write the snapshot's files; return facts for its meta."""
    sold = lake.scan("interactions").filter(pl.col("event_type") == "purchase").select(pl.col("item_id").unique())
    policy = load_policy(settings.policy)
    items = _items(lake, sold, settings, policy)
    sales = counted_sales(settings, lake)
    position = items.select("item_id", "place")
    np.save(folder / PRICES, items["minor"].to_numpy(), allow_pickle=False)
    np.save(folder / COSTS, items["minor_cost"].to_numpy(), allow_pickle=False)
    np.save(folder / FLAGS, items["flags"].to_numpy(), allow_pickle=False)
    named = {name: _coded(folder / f"{name}.npy", items[column]) for name, column in CODED.items()}
    np.save(folder / JOINED, _joined(lake, named["makers"]), allow_pickle=False)
    (folder / NAMES).write_text(json.dumps(named))
    rows, names = pack_offers(_offers(lake, position, settings.currency), items["minor"].to_numpy())
    np.save(folder / OFFERS, rows, allow_pickle=False)
    (folder / OFFER_NAMES).write_text(json.dumps(names))
    (folder / ITEM_IDS).write_bytes(orjson.dumps(items["item_id"].to_list()))
    progress(f"shop: {items.height:,} items")
    counts = write_lmdb(
        folder / FILE,
        {
            "cards": _cards(items, settings.currency),
            "index": [(key_of(name), _int(place)) for place, name in enumerate(items["item_id"])],
            "stock": list(_stock(lake, position)),
            "popular": list(_popular(lake, sales, position, items)),
            "contents": list(_contents(lake)),
        },
    )
    has_stores, has_stock = lake.has("stores"), lake.has("stock")
    stores = _rows(lake, "stores", "store_id")
    places = {
        "stores": stores,
        "screens": _rows(lake, "screens", "screen_id"),
        "excluded": excluded_codes(stores, named),
    }
    places["budgets"] = _budgets(lake, settings.currency)
    (folder / PLACES).write_text(json.dumps(places, default=str))
    known = write_shoppers(folder, lake, sales, items, policy)
    progress(f"shop: best-sellers of {counts['popular']:,} places, {len(rows):,} offers of items")
    return {
        "lake": lake.fingerprint(),
        "has_stock": has_stock,
        "has_stores": has_stores,
        "entries": {FILE: counts, SHOPPERS: known},
    }


def _items(lake: Lake, sold: pl.LazyFrame, settings: Settings, policy: PolicySettings) -> pl.DataFrame:
    """Every item of the catalogue, and every one ever sold, by id; price and cost in minor units, flags as bits."""
    catalogue = lake.scan("items").with_columns(pl.col("currency").alias("cost_currency"))
    held = held_prices(settings.paths)
    if held is not None:  # the newest prices are in doubt: the accepted ones, and none where none was accepted
        catalogue = catalogue.drop("price", "currency").join(held.lazy(), on="item_id", how="left")
    items = catalogue.join(sold, on="item_id", how="full", coalesce=True).sort("item_id").collect()
    root = pl.col("category").str.strip_chars(" /").str.split("/").list.first().str.strip_chars().str.to_lowercase()

    def below(roots: tuple[str, ...]) -> pl.Expr:
        return root.is_in([one.strip().lower() for one in roots]).fill_null(False)

    flagged = {
        NEVER: below(settings.never_recommend),
        AGE_RESTRICTED: pl.col("age_restricted").fill_null(False),
        SENSITIVE: pl.col("sensitive").fill_null(False) | below(policy.sensitive_categories),
        DURABLE: below(policy.durable_categories),
    }
    flags = pl.sum_horizontal(holds.cast(pl.UInt8) * bit for bit, holds in flagged.items())
    minor = _minor(items, "price", "currency", settings.currency)
    costs = _minor(items, "cost", "cost_currency", settings.currency)
    items = items.with_columns(flags.cast(pl.UInt8).alias("flags"), minor.alias("minor"), costs.alias("minor_cost"))
    place = pl.int_range(pl.len(), dtype=pl.Int32).alias("place")
    return items.with_columns(place, ((pl.col("flags") & DURABLE) != 0).alias("durable"))


def _minor(items: pl.DataFrame, amount: str, currency: str, default: str) -> pl.Series:
    """A column of money in minor units; UNKNOWN_PRICE where there is none."""
    rows = items.select(amount, currency).iter_rows()
    return pl.Series([UNKNOWN_PRICE if much is None else minor_units(much, own or default) for much, own in rows],
                     dtype=pl.Int64)  # fmt: skip


def _coded(path: Path, column: pl.Series) -> list[str]:
    """Write the codes of a column of names (int32, -1: none); return the names in the order of their codes."""
    names: list[str] = column.drop_nulls().unique().sort().to_list()
    codes = column.replace_strict(names, range(len(names)), default=-1, return_dtype=pl.Int32) if names else None
    np.save(path, np.full(len(column), -1, np.int32) if codes is None else codes.to_numpy(), allow_pickle=False)
    return names


def _joined(lake: Lake, makers: list[str]) -> npt.NDArray[np.int64]:
    """When each maker joined, microseconds since 1970 (UTC); -1 where nobody says."""
    since = lake.scan("makers").select("maker_id", pl.col("since").dt.epoch("us")).unique("maker_id")
    named = pl.LazyFrame({"maker_id": makers}, {"maker_id": pl.String})
    found = named.join(since, on="maker_id", how="left", maintain_order="left").select(pl.col("since").fill_null(-1))
    return found.collect()["since"].to_numpy()


def _cards(items: pl.DataFrame, currency: str) -> Iterator[tuple[bytes, bytes]]:
    wanted = items.select("title", "brand", "category", "image_url", pl.col("currency").fill_null(currency))
    for place, (name, row) in enumerate(zip(items["item_id"], wanted.iter_rows(named=True), strict=True)):
        yield _int(place), orjson.dumps({"item_id": name, **row})


def _offers(lake: Lake, position: pl.DataFrame, currency: str) -> Iterator[dict[str, Any]]:
    """Offers in the order of `pack_offers`, each narrowed to its campaign's time and stores.

    A campaign without budget shows nothing.
    """
    campaigns = lake.scan("campaigns").select(
        "campaign_id", "stores", "budget", pl.col("starts").alias("from"), pl.col("ends").alias("to"), "currency"
    )
    offers = (
        lake.scan("offers")
        .join(campaigns, on="campaign_id", how="left")
        .filter((pl.col("budget") > 0).fill_null(True))
        .with_columns(pl.max_horizontal("starts", "from"), pl.min_horizontal("ends", "to"))
        .join(position.lazy(), on="item_id")
        .sort("place", "discount", "offer_id", descending=[False, True, False], nulls_last=True)
        .select("place", "offer_id", "campaign_id", "discount", "floor_price", "stores", "currency",
                pl.col("starts").dt.epoch("us"), pl.col("ends").dt.epoch("us"))
        .collect()
    )  # fmt: skip
    for row in offers.iter_rows(named=True):
        floor, own = row.pop("floor_price"), row.pop("currency")
        stores = row["stores"].split("|") if row["stores"] else None
        yield row | {"floor": None if floor is None else minor_units(floor, own or currency), "stores": stores}


def _budgets(lake: Lake, currency: str) -> dict[str, Any]:
    """Campaigns with a budget: (minor units, starts, ends), times in microseconds since 1970 (UTC), None: unbounded."""
    campaigns = lake.scan("campaigns").filter(pl.col("budget").is_not_null())
    times = (pl.col("starts").dt.epoch("us"), pl.col("ends").dt.epoch("us"))
    rows = campaigns.select("campaign_id", "budget", "currency", *times).collect().iter_rows()
    return {name: (minor_units(much, own or currency), starts, ends) for name, much, own, starts, ends in rows}


def _stock(lake: Lake, position: pl.DataFrame) -> Iterator[tuple[bytes, bytes]]:
    """For each store the sorted positions of what is in stock."""
    held = lake.scan("stock").filter(pl.col("units") > 0).join(position.lazy(), on="item_id")
    rows = held.group_by("store_id").agg(pl.col("place").sort()).collect()
    for store, places in rows.iter_rows():
        yield key_of(store), np.asarray(places, dtype="<i4").tobytes()


def _contents(lake: Lake) -> Iterator[tuple[bytes, bytes]]:
    """For each content the ids of the items that it shows."""
    if lake.has("contents"):
        linked = lake.scan("contents").select("content_id", "item_ids").drop_nulls().unique("content_id").collect()
        for content, items in linked.iter_rows():
            yield key_of(content), orjson.dumps([item for item in items.split("|") if item][:_LIST])


def _popular(
    lake: Lake, sales: pl.LazyFrame, position: pl.DataFrame, items: pl.DataFrame
) -> Iterator[tuple[bytes, bytes]]:
    allowed = position.filter((items["flags"] & NEVER) == 0)
    newest = sales.select(pl.col("event_time").max()).collect().item()
    recent = pl.col("event_time") > pl.lit(newest, pl.Datetime("us", "UTC")) - pl.duration(days=_RECENT_DAYS)
    counted = (
        sales.join(allowed.lazy(), on="item_id")
        .group_by("shopper_id", "store_id", "place")
        .agg(recent.sum().alias("recent"), pl.len().alias("all"))
        .collect()
    )
    in_stores = counted.filter(pl.col("store_id").is_not_null())
    visits = in_stores.group_by("shopper_id", "store_id").agg(pl.col("all").sum())
    ordered = visits.sort("all", "store_id", descending=[True, False])
    usual = ordered.unique("shopper_id", keep="first", maintain_order=True)
    stated = lake.scan("shoppers").select("shopper_id", "home_store_id").collect()
    homes = usual.select("shopper_id", pl.col("store_id").alias("usual")).join(
        stated, on="shopper_id", how="full", coalesce=True
    )
    home = pl.coalesce("home_store_id", "usual").alias("home")
    by_home = counted.drop("store_id").join(homes.select("shopper_id", home), on="shopper_id")
    chain = counted.with_columns(pl.lit(CHAIN).alias("key"))
    store = in_stores.with_columns(("store:" + pl.col("store_id")).alias("key"))
    near = by_home.filter(pl.col("home").is_not_null()).with_columns(("home:" + pl.col("home")).alias("key"))
    for frame, reason in (
        (chain, Reason.POPULAR),
        (store, Reason.POPULAR_IN_STORE),
        (near, Reason.POPULAR_IN_NEIGHBOURHOOD),
    ):
        yield from _best(frame, REASONS.index(reason))


def _best(frame: pl.DataFrame, reason: int) -> Iterator[tuple[bytes, bytes]]:
    totals = frame.group_by("key", "place").agg(pl.col("recent").sum(), pl.col("all").sum())
    ranked = totals.sort("key", "recent", "all", "place", descending=[False, True, True, False])
    lists = ranked.group_by("key", maintain_order=True).head(_LIST)
    for (key,), rows in lists.group_by("key", maintain_order=True):
        scores = (rows["recent"] + rows["all"] / (1.0 + rows["all"].max())).to_numpy()  # type: ignore[operator]
        codes = np.full(rows.height, reason, np.uint8)
        yield (
            key_of(str(key)),
            pack(Ranked(rows["place"].to_numpy().astype(np.int32), scores.astype(np.float32), codes)),
        )


def _rows(lake: Lake, table: str, key: str) -> dict[str, dict[str, Any]]:
    return {str(row[key]): row for row in lake.scan(table).collect().to_dicts()}


def _int(value: int) -> bytes:
    return value.to_bytes(4, "big")


# ---------------------------------------------------------------------- reading


class Shop:
    """Read-only access to one shop snapshot. Items are known by their position."""

    def __init__(self, folder: Path, meta: dict[str, Any]) -> None:
        self._file = LmdbFile(folder / FILE, _TABLES)
        places = json.loads((folder / PLACES).read_text())
        self.stores: dict[str, dict[str, Any]] = places["stores"]
        self.screens: dict[str, dict[str, Any]] = places["screens"]
        self.budgets: dict[str, tuple[int, int | None, int | None]] = places["budgets"]
        self._excluded = {
            store: (np.array(brands, np.int32), np.array(categories, np.int32))
            for store, (brands, categories) in places["excluded"].items()
        }
        self._item_ids = folder / ITEM_IDS
        self.shoppers = ShopShoppers(folder)
        self.intervals: npt.NDArray[np.float32] = np.load(folder / INTERVALS, allow_pickle=False)
        self.has_stock = bool(meta["has_stock"])
        self.has_stores = bool(meta["has_stores"])
        self.lake = str(meta["lake"])
        # As plain arrays over the mapped files: numpy's own class for these costs more than the reading itself.
        self.prices: npt.NDArray[np.int64] = np.asarray(np.load(folder / PRICES, mmap_mode="r", allow_pickle=False))
        self.costs: npt.NDArray[np.int64] = np.asarray(np.load(folder / COSTS, mmap_mode="r", allow_pickle=False))
        self.flags: npt.NDArray[np.uint8] = np.asarray(np.load(folder / FLAGS, mmap_mode="r", allow_pickle=False))
        self.makers, self.brands, self.categories = (
            np.asarray(np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)) for name in CODED
        )
        self.joined: npt.NDArray[np.int64] = np.asarray(np.load(folder / JOINED, mmap_mode="r", allow_pickle=False))
        self._cards: dict[int, dict[str, Any]] = {}
        self._stock: dict[str, npt.NDArray[np.bool_]] = {}
        self.names: dict[str, list[str]] = json.loads((folder / NAMES).read_text())
        offers = np.asarray(np.load(folder / OFFERS, mmap_mode="r", allow_pickle=False))
        self.offers = ShopOffers(offers, Names(*json.loads((folder / OFFER_NAMES).read_text())))

    def positions(self, item_ids: list[str]) -> npt.NDArray[np.int32]:
        """Positions of items; -1 for an unknown one."""
        found = self._file.get_many("index", [key_of(item) for item in item_ids])
        return np.array([-1 if raw is None else int.from_bytes(raw, "big") for raw in found], dtype=np.int32)

    def item_ids(self) -> bytes:
        """Ids of all items in the order of their positions, as a JSON array."""
        return self._item_ids.read_bytes()

    def cards(self, positions: list[int]) -> list[dict[str, Any]]:
        """item_id, title, brand, category, image_url and currency of items; not to be changed."""
        known = self._cards
        if missing := [position for position in positions if position not in known]:
            if len(known) + len(missing) > _MOST_CARDS:
                known = self._cards = {position: known[position] for position in positions if position in known}
            found = self._file.get_many("cards", [_int(position) for position in missing])
            known.update(
                (position, orjson.loads(raw)) for position, raw in zip(missing, found, strict=True) if raw is not None
            )
        return [known[position] for position in positions if position in known]

    def content_items(self, content_id: str) -> list[str]:
        """Ids of the items that a content shows; none for what is no content."""
        raw = self._file.get("contents", key_of(content_id))
        return [] if raw is None else list(orjson.loads(raw))

    def in_stock(self, store_id: str | None) -> npt.NDArray[np.int32] | None:
        """Sorted positions of what is in stock; None: the rule is off, as no stock table was ever ingested."""
        if not self.has_stock or store_id is None:
            return None
        raw = self._file.get("stock", key_of(store_id))
        return np.frombuffer(raw, "<i4") if raw else np.zeros(0, np.int32)

    def stocked(self, store_id: str | None) -> npt.NDArray[np.bool_] | None:
        """Of every item whether it is in stock; None: the rule is off."""
        if not self.has_stock or store_id is None:
            return None
        held = self._stock.get(store_id)
        if held is None:
            held = np.zeros(self.size, bool)
            held[self.in_stock(store_id)] = True
            if len(self._stock) >= _MOST_STORES:
                self._stock.clear()
            self._stock[store_id] = held
        return held

    def excluded(self, store_id: str | None) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]] | None:
        """Sorted codes of the brands and of the categories that a store does not want shown; None: it has none."""
        return None if store_id is None else self._excluded.get(store_id)

    def categories_of(self, screen_id: str) -> tuple[str, ...]:
        """Paths of the categories that a screen is for; none: for all."""
        told = self.screens[screen_id].get("categories")
        return tuple(told.split("|")) if told else ()

    def popular(self, level: str, store_id: str | None) -> Ranked:
        """Best-sellers of `home` (the neighbourhood), `store` or `chain`."""
        key = CHAIN if level == CHAIN else f"{level}:{store_id}"
        raw = self._file.get("popular", key_of(key))
        return NOBODY if raw is None else unpack(raw)

    @cached_property
    def size(self) -> int:
        """How many items there are."""
        return len(self.prices)

    def close(self) -> None:
        """Let the file go."""
        self._file.close()
        self.shoppers.close()
