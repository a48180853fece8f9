"""From codes to the tables of the contract: ids, times, texts; every table has a column `simulated`, always true."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from pipelines.simulation.aftermath import KINDS
from pipelines.simulation.browsing import found
from pipelines.simulation.catalogue import NO_TOPIC, Catalogue
from pipelines.simulation.config import TownConfig
from pipelines.simulation.contents import Contents
from pipelines.simulation.draws import Array, Draws, Stream
from pipelines.simulation.offers import Campaigns, floor_price
from pipelines.simulation.rows import CHANNELS, EVENT_TYPES, Block
from pipelines.simulation.shops import Shelves
from pipelines.simulation.tastes import Shoppers
from pipelines.simulation.visits import PLACEMENTS
from pipelines.simulation.words import ADJECTIVES, AGE_BANDS, CITIES, HOUSEHOLDS, ORIGINS, TOPICS

CURRENCY = "USD"
_PRAISE = (
    "Would not buy again.",
    "Not what I hoped for.",
    "It is all right.",
    "Good, as expected.",
    "Very good, again!",
)


def named(prefix: str, count: int, width: int) -> list[str]:
    """Ids of things: a prefix and the number from 1."""
    return [f"{prefix}{number:0{width}d}" for number in range(1, count + 1)]


class Names:
    """Ids and words of a town's things, and the frames made of them."""

    def __init__(self, config: TownConfig, draws: Draws, catalogue: Catalogue, contents: Contents) -> None:
        self._draws = draws
        self.shoppers = named("sh", config.shoppers, 7)
        self.stores = named("st", config.stores, 4)
        self.items = named("it", len(catalogue.price), 6)
        self.makers = named("mk", config.makers, 5)
        self.contents = named("ct", config.contents, 6)
        self.start = datetime(config.start.year, config.start.month, config.start.day, tzinfo=UTC)
        topics = catalogue.topics[:, 0]
        self.adjectives = [ADJECTIVES[TOPICS[topic].origin] if topic < NO_TOPIC else "" for topic in topics]
        self._series = {
            name: pl.Series([*getattr(self, name), None], dtype=pl.String)
            for name in ("shoppers", "stores", "items", "contents")
        }
        self._screens = [f"{store}-{placement}" for store in self.stores for placement in PLACEMENTS]
        self._queries = [f"{word} {kind}".strip().lower() for kind in catalogue.kind for word in ADJECTIVES]
        self._results = [
            "|".join(self.items[item] for item in row if item >= 0) for row in found(catalogue).reshape(-1, 5)
        ]

    def time(self, day: int) -> datetime:
        """Midnight (UTC) at which a day begins."""
        return self.start + timedelta(days=int(day))

    def of(self, table: str, codes: Array) -> pl.Series:
        """Ids of codes; -1 has none."""
        return self._series[table].gather(codes)

    def grown(self, table: str, block: Block) -> pl.DataFrame:
        """The frame of a growing table."""
        frame: pl.DataFrame = getattr(self, f"_{table}")(block)
        number = np.concatenate([block[name][None, :] for name in ("shopper", "time")])
        rest = block.get("item", block.get("content", block.get("category", block["shopper"])))
        keys = self._draws.keys(Stream.EVENT, number[0], number[1], rest, block.get("type", number[0]))
        ids = pl.Series("event_id", keys).cast(pl.String)
        return frame.with_columns(("e" + ids).alias("event_id"), simulated=pl.lit(True))

    def _times(self, time: Array) -> pl.Series:
        start = int(self.start.timestamp()) * 1_000_000
        return pl.Series("event_time", time + start).cast(pl.Datetime("us", "UTC"))

    def _interactions(self, block: Block) -> pl.DataFrame:
        shopper = pl.Series(block["shopper"]).cast(pl.String)
        frame = pl.DataFrame(
            {
                "shopper_id": self.of("shoppers", block["shopper"]),
                "item_id": self.of("items", block["item"]),
                "event_type": _words(EVENT_TYPES, block["type"]),
                "event_time": self._times(block["time"]),
                "basket_id": _joined("b", block["basket"], shopper),
                "session_id": _joined("s", block["session"], shopper),
                "store_id": self.of("stores", block["store"]),
                "channel": _words(CHANNELS, block["channel"]),
                "quantity": block["quantity"],
                "price": block["price"],
                "position": block["position"],
                "campaign_id": _joined("cp", block["campaign"], None),
                "attribution_token": _joined("t", block["token"], shopper),
                "screen_id": _words(
                    self._screens,
                    np.where(block["placement"] >= 0, block["store"] * len(PLACEMENTS) + block["placement"], -1),
                ),
                "coupon_disc": block["coupon"],
                "discount": block["discount"],
                "propensity": block["propensity"],
            },
            nan_to_null=True,
        )
        position = pl.col("position")
        return frame.with_columns(
            pl.col("basket_id").alias("order_id"),
            pl.when(pl.col("price").is_not_null()).then(pl.lit(CURRENCY)).alias("currency"),
            pl.when(position >= 0).then(position).alias("position"),
        )

    def _content_views(self, block: Block) -> pl.DataFrame:
        return pl.DataFrame(
            {
                "shopper_id": self.of("shoppers", block["shopper"]),
                "content_id": self.of("contents", block["content"]),
                "event_type": _words(EVENT_TYPES, block["type"]),
                "event_time": self._times(block["time"]),
                "dwell_seconds": block["dwell"],
            },
            nan_to_null=True,
        )

    def _searches(self, block: Block) -> pl.DataFrame:
        code = block["category"] * len(ORIGINS) + block["origin"]
        return pl.DataFrame(
            {
                "shopper_id": self.of("shoppers", block["shopper"]),
                "query": _words(self._queries, code),
                "event_time": self._times(block["time"]),
                "results": _words(self._results, code),
                "clicked_item_id": self.of("items", block["clicked"]),
            }
        )

    def _reviews(self, block: Block) -> pl.DataFrame:
        return pl.DataFrame(
            {
                "shopper_id": self.of("shoppers", block["shopper"]),
                "item_id": self.of("items", block["item"]),
                "event_time": self._times(block["time"]),
                "rating": block["rating"].astype(np.float64),
                "text": _words(_PRAISE, block["rating"] - 1),
            }
        )

    def _complaints(self, block: Block) -> pl.DataFrame:
        return pl.DataFrame(
            {
                "shopper_id": self.of("shoppers", block["shopper"]),
                "item_id": self.of("items", block["item"]),
                "event_time": self._times(block["time"]),
                "kind": _words(KINDS, block["kind"]),
            }
        )


def standing(
    names: Names,
    catalogue: Catalogue,
    contents: Contents,
    shoppers: Shoppers,
    shelves: Shelves,
    campaigns: Campaigns,
    store_place: Array,
    prices: Array,
    day: int,
) -> dict[str, pl.DataFrame]:
    """The tables that describe things, as they stand at the end of `day`.

    Args:
        names, catalogue, contents, shoppers, shelves, campaigns, store_place: of the town.
        prices: the items' prices on that day.
        day: the last day of the history; what comes later is left out.
    """
    known = np.flatnonzero(catalogue.launch <= day)
    tables = {
        "stores": _stores(names, store_place),
        "screens": pl.DataFrame(
            [
                {"screen_id": f"{store}-{place}", "store_id": store, "placement": place, "orientation": turned}
                for store in names.stores
                for place, turned in zip(PLACEMENTS, ("portrait", "landscape", "landscape"), strict=True)
            ]
        ),
        "makers": _makers(names, catalogue, day),
        "items": _items(names, catalogue, prices, known),
        "contents": _contents(names, catalogue, contents),
        "shoppers": pl.DataFrame(
            {
                "shopper_id": names.shoppers,
                "home_store_id": names.of("stores", shoppers.store),
                "age_band": _words(AGE_BANDS, shoppers.age),
                "household": _words(HOUSEHOLDS, shoppers.household),
                "neighbourhood": _words(named("nb", int(store_place.max()) + 1, 2), shoppers.neighbourhood),
            }
        ),
        **_campaigns(names, catalogue, campaigns, day),
        "stock": _stock(names, catalogue, shelves, day),
    }
    return {name: frame.with_columns(simulated=pl.lit(True)) for name, frame in tables.items()}


def displays(names: Names, day: int, displayed: Array) -> pl.DataFrame:
    """The rows of `promotions` for the week that begins on `day`."""
    store, item = np.nonzero(displayed)
    return pl.DataFrame({"store_id": names.of("stores", store), "item_id": names.of("items", item)}).with_columns(
        starts=_fixed(names.time(day)),
        ends=_fixed(names.time(day + 7)),
        display=pl.lit("end of aisle"),
        simulated=pl.lit(True),
    )


def as_events(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """Interactions as the JSON objects that `POST /v1/events:batch` takes; what is empty is left out."""
    rows = frame.with_columns(pl.col("event_time").dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")).to_dicts()
    return [{name: value for name, value in row.items() if value is not None} for row in rows]


def _stores(names: Names, store_place: Array) -> pl.DataFrame:
    number = np.arange(len(names.stores))
    return pl.DataFrame(
        {
            "store_id": names.stores,
            "name": [f"Store {one + 1}" for one in number],
            "city": [CITIES[place % len(CITIES)] for place in store_place],
            "neighbourhood": _words(named("nb", int(store_place.max()) + 1, 2), store_place),
            "attributes": ["size:large|parking:yes" if one % 3 == 0 else "size:small|parking:no" for one in number],
        }
    )


def _makers(names: Names, catalogue: Catalogue, day: int) -> pl.DataFrame:
    """Whoever sells under another's brand is authorised for its own only."""
    here = np.flatnonzero(catalogue.since <= day)
    return pl.DataFrame(
        {
            "maker_id": [names.makers[one] for one in here],
            "name": [f"{catalogue.brands[one]} Ltd" for one in here],
            "since": [names.time(catalogue.since[one]) for one in here],
            "authorised_brands": [catalogue.brands[one] for one in here],
        },
        schema_overrides={"since": pl.Datetime("us", "UTC")},
    )


def _items(names: Names, catalogue: Catalogue, prices: Array, known: Array) -> pl.DataFrame:
    kinds = [catalogue.kind[category] for category in catalogue.category[known]]
    titles = [
        " ".join(filter(None, (catalogue.brands[brand], names.adjectives[item], kind, f"no. {item + 1}")))
        for item, brand, kind in zip(known, catalogue.brand[known], kinds, strict=True)
    ]
    tags = [
        "|".join([*(TOPICS[topic].tag for topic in catalogue.topics[item] if topic < NO_TOPIC), kind.lower()])
        for item, kind in zip(known, kinds, strict=True)
    ]
    first = np.where(catalogue.launch < 0, catalogue.since[catalogue.maker], catalogue.launch)[known]
    return pl.DataFrame(
        {
            "item_id": names.of("items", known),
            "title": titles,
            "brand": [catalogue.brands[brand] for brand in catalogue.brand[known]],
            "maker_id": [names.makers[maker] for maker in catalogue.maker[known]],
            "category": [catalogue.paths[category] for category in catalogue.category[known]],
            "tags": tags,
            "price": prices[known],
            "cost": catalogue.cost[known],
            "origin": _words(ORIGINS, catalogue.maker_origin[catalogue.brand[known]]),
            "first_seen": [names.time(one) for one in first],
            "age_restricted": catalogue.age_restricted[catalogue.category[known]],
            "sensitive": catalogue.sensitive[catalogue.category[known]],
            "currency": [CURRENCY] * len(known),
        },
        schema_overrides={"first_seen": pl.Datetime("us", "UTC")},
    )


def _contents(names: Names, catalogue: Catalogue, contents: Contents) -> pl.DataFrame:
    topics = [TOPICS[topic] for topic in contents.topic]
    heroes = [
        f"{names.adjectives[row[0]]} {catalogue.kind[catalogue.category[row[0]]]}".strip() if row[0] >= 0 else topic.tag
        for row, topic in zip(contents.linked, topics, strict=True)
    ]
    return pl.DataFrame(
        {
            "content_id": names.contents,
            "title": [
                f"{topic.name.replace('-', ' ').capitalize()}, part {number + 1}: {hero}"
                for number, (topic, hero) in enumerate(zip(topics, heroes, strict=True))
            ],
            "tags": [f"{topic.name}|{topic.tag}" for topic in topics],
            "item_ids": ["|".join(names.items[item] for item in row if item >= 0) or None for row in contents.linked],
            "duration_seconds": contents.seconds,
        }
    )


def _campaigns(names: Names, catalogue: Catalogue, campaigns: Campaigns, day: int) -> dict[str, pl.DataFrame]:
    begun = np.flatnonzero(campaigns.starts <= day)
    span = {
        "starts": [names.time(one) for one in campaigns.starts[begun]],
        "ends": [names.time(one) for one in campaigns.ends[begun]],
    }
    kinds = {"starts": pl.Datetime("us", "UTC"), "ends": pl.Datetime("us", "UTC")}
    paid = pl.DataFrame(
        {
            "campaign_id": [f"cp{one}" for one in begun],
            "budget": 50.0 * np.ceil(len(names.shoppers) / 100 * (1 + begun % 4)),
            **span,
            "maker_id": [names.makers[one] for one in campaigns.maker[begun]],
            "currency": [CURRENCY] * len(begun),
        },
        schema_overrides=kinds,
    )
    row, column = np.nonzero(campaigns.items[begun] >= 0)
    item = campaigns.items[begun][row, column]
    offers = pl.DataFrame(
        {
            "offer_id": [f"of{one}" for one in begun[row]],
            "item_id": names.of("items", item),
            "campaign_id": [f"cp{one}" for one in begun[row]],
            "discount": campaigns.discount[begun][row],
            "floor_price": floor_price(catalogue)[item],
            "starts": [span["starts"][one] for one in row],
            "ends": [span["ends"][one] for one in row],
        },
        schema_overrides=kinds,
    )
    return {name: frame for name, frame in (("campaigns", paid), ("offers", offers)) if frame.height}


def _stock(names: Names, catalogue: Catalogue, shelves: Shelves, day: int) -> pl.DataFrame:
    """What is left, and as attributes the days on which there was none at closing."""
    store, item = np.nonzero(shelves.carried & (catalogue.launch <= day))
    return pl.DataFrame(
        {
            "store_id": names.of("stores", store),
            "item_id": names.of("items", item),
            "units": shelves.units[store, item].astype(np.float64),
            "days_out": shelves.days_out[store, item],
        }
    ).with_columns(as_of=_fixed(names.time(day + 1)))


def _fixed(time: datetime) -> pl.Expr:
    return pl.lit(time, pl.Datetime("us", "UTC"))


def _words(words: Sequence[str], codes: Array) -> pl.Series:
    """Texts of codes; -1 has none."""
    return pl.Series([*words, None], dtype=pl.String).gather(codes)


def _joined(prefix: str, codes: Array, shopper: pl.Series | None) -> pl.Series:
    """`prefix``code`-`shopper`, or nothing where the code is -1."""
    numbers = pl.Series(codes)
    text = prefix + numbers.cast(pl.String)
    whole = text if shopper is None else text + "-" + shopper
    return whole.set(numbers < 0, None)
