"""A tiny seeded shop as a folder of CSV tables: what most tests ingest."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

END = datetime(2026, 6, 1, tzinfo=UTC)  # every purchase lies before; offers and campaigns run at this moment
STORES = ("s1", "s2", "s3")
SCREENS = {"entrance-1": "s1", "checkout-2": "s2"}
CATEGORIES = ("DAIRY/MILK", "DAIRY/CHEESE", "BAKERY/BREAD", "SNACKS/CHIPS", "FUEL/PETROL")
SHOPPERS = tuple(f"shopper-{number:02d}" for number in range(40))
ITEMS = tuple(f"item-{number:02d}" for number in range(60))
SOLD_OUT = "item-07"  # the stock table holds no row of it
NEVER_SOLD = "item-59"  # in the catalogue and in stock, bought by nobody


def write_small_shop(
    folder: Path, *, days: int = 120, purchases: int = 3000, seed: int = 7, stock: bool = True
) -> Path:
    """Write the shop's tables as CSV, stock among them where asked; return `folder`.

    Shoppers with an even number like DAIRY, the others SNACKS; each has a few favourites bought again and again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tables = {
        "interactions": _purchases(np.random.default_rng(seed), days, purchases),
        "items": _items(),
        "stores": pl.DataFrame({"store_id": STORES, "name": ["North", "Middle", "South"], "city": ["Delft"] * 3}),
        "screens": pl.DataFrame(
            {
                "screen_id": list(SCREENS),
                "store_id": list(SCREENS.values()),
                "placement": ["entrance", "checkout"],
                "orientation": ["portrait", "landscape"],
            }
        ),
        "shoppers": pl.DataFrame(
            {
                "shopper_id": SHOPPERS,
                "home_store_id": [STORES[number % 3] for number in range(len(SHOPPERS))],
                "age_band": [("19-24", "25-34", "65+")[number % 3] for number in range(len(SHOPPERS))],
            }
        ),
        "campaigns": pl.DataFrame(
            {
                "campaign_id": ["spring", "over"],
                "budget": [500.0, 100.0],
                "starts": ["2026-05-01", "2026-03-01"],
                "ends": ["2026-07-01", "2026-04-01"],
            }
        ),
        "offers": pl.DataFrame(
            {
                "offer_id": ["milk-20", "milk-20", "chips-10", "old-50"],
                "item_id": ["item-00", "item-05", "item-03", "item-02"],
                "campaign_id": ["spring", "spring", "spring", "over"],
                "discount": [0.2, 0.2, 0.1, 0.5],
                "starts": ["2026-05-15", "2026-05-15", "2026-05-15", "2026-03-01"],
                "ends": ["2026-06-15", "2026-06-15", "2026-06-15", "2026-04-01"],
            }
        ),
    }
    if stock:
        tables["stock"] = _stock()
    for name, table in tables.items():
        table.write_csv(folder / f"{name}.csv", datetime_format="%Y-%m-%dT%H:%M:%S%.6fZ")
    return folder


def _items() -> pl.DataFrame:
    count = len(ITEMS)
    return pl.DataFrame(
        {
            "item_id": ITEMS,
            "title": [f"{CATEGORIES[number % 5].split('/')[1].title()} {number}" for number in range(count)],
            "brand": [("Meadow", "Oakfield", "Harbour")[number % 3] for number in range(count)],
            "maker_id": [f"maker-{number % 7}" for number in range(count)],
            "category": [CATEGORIES[number % 5] for number in range(count)],
            "price": [round(1.0 + number * 0.25, 2) for number in range(count)],
        }
    )


def _stock() -> pl.DataFrame:
    rows = [(store, item, 12.0) for store in STORES for item in ITEMS if item != SOLD_OUT]
    stores, items, units = zip(*rows, strict=True)
    return pl.DataFrame({"store_id": stores, "item_id": items, "units": units, "as_of": ["2026-05-31"] * len(rows)})


def _purchases(generator: np.random.Generator, days: int, purchases: int) -> pl.DataFrame:
    liked = {0: [n for n in range(59) if n % 5 in (0, 1)], 1: [n for n in range(59) if n % 5 in (2, 3)]}
    favourites = [generator.choice(liked[number % 2], size=4, replace=False) for number in range(len(SHOPPERS))]
    shopper = generator.integers(0, len(SHOPPERS), size=purchases)
    repeat = generator.random(purchases) < 0.6
    items = [
        int(generator.choice(favourites[who])) if again
        else int(generator.choice(liked[who % 2])) if generator.random() < 0.9
        else int(generator.integers(0, 59))
        for who, again in zip(shopper, repeat, strict=True)
    ]  # fmt: skip
    ages = np.sort(generator.random(purchases))[::-1] * days * 86_400
    times = [END - timedelta(seconds=float(age) + 1) for age in ages]
    return pl.DataFrame(
        {
            "shopper_id": [SHOPPERS[who] for who in shopper],
            "item_id": [ITEMS[item] for item in items],
            "event_type": ["purchase"] * purchases,
            "event_time": times,
            "event_id": [f"e{number}" for number in range(purchases)],
            "basket_id": [f"b{who}-{time:%Y%m%d}" for who, time in zip(shopper, times, strict=True)],
            "store_id": [STORES[who % 3] for who in shopper],
            "quantity": generator.integers(1, 4, size=purchases),
            "price": [round(1.0 + item * 0.25, 2) for item in items],
            "currency": ["USD"] * purchases,
        }
    )
