"""A small town for training: shoppers who come back to their own favourites, as a folder of parquet tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

SHOPPERS, ITEMS = 120, 50


def write_town(folder: Path, *, days: int, seed: int = 0, broken: range = range(0)) -> Path:
    """Write `days` days from 2025-01-01 of the same town; the same seed gives the same purchases on the same days.

    Args:
        folder: made if needed.
        days: how many days to write.
        seed: of the town.
        broken: on these days a till books thirty wrong items with every purchase.
    """
    random = np.random.default_rng(seed)
    favourites = np.array([random.choice(ITEMS, 6, replace=False) for _ in range(SHOPPERS)])
    wrong = np.random.default_rng(seed + 1)
    shares = random.dirichlet(np.full(ITEMS, 0.5))
    rows = []
    for day in range(200):  # always the whole town, so that a longer extract begins with a shorter one
        for shopper in np.flatnonzero(random.random(SHOPPERS) < 0.2):
            for _ in range(random.integers(1, 4)):
                item = random.choice(favourites[shopper]) if random.random() < 0.7 else random.choice(ITEMS, p=shares)
                second = day * 86400 + int(random.integers(8 * 3600, 20 * 3600))
                rows.append((day, shopper, item, second))
                if day in broken:
                    rows += [(day, shopper, other, second) for other in wrong.integers(ITEMS, size=30)]
    table = pd.DataFrame(rows, columns=["day", "shopper", "item", "second"])
    table = table[table["day"] < days]
    table["shopper_id"] = "s" + table["shopper"].astype(str).str.zfill(3)
    table["item_id"] = "i" + table["item"].astype(str).str.zfill(2)
    times = pd.Timestamp("2025-01-01", tz="UTC") + pd.to_timedelta(table["second"], unit="s")
    table["event_time"] = times.astype("datetime64[us, UTC]")
    table["event_type"] = "purchase"
    folder.mkdir(parents=True, exist_ok=True)
    table.drop(columns=["day", "second", "shopper", "item"]).to_parquet(folder / "interactions.parquet", index=False)
    ids = [f"i{number:02d}" for number in range(ITEMS)]
    items = pd.DataFrame({"item_id": ids, "category": [f"C{number % 5}/D{number % 15}" for number in range(ITEMS)]})
    items.to_parquet(folder / "items.parquet", index=False)
    return folder
