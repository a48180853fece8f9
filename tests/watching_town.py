"""A small town whose truth is planted: tastes that show in what shoppers watch and, later, in what they buy.

Some shoppers only watch until `CUT`; what they buy after it is in a table of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd

END = pd.Timestamp("2026-06-01", tz="UTC")
CUT = END - timedelta(days=28)
TOPICS = ("baking", "coffee", "garden", "pasta", "running", "salad", "skincare", "wine")
WORDS = {topic: [f"{topic}{ending}" for ending in ("", "shop", "lover")] for topic in TOPICS}


@dataclass(frozen=True)
class Town:
    """Tables as `facings ingest` takes them, up to `CUT`; what was bought after it by watchers only, and by others."""

    tables: dict[str, pd.DataFrame]
    watch_only: list[str]
    later: pd.DataFrame
    later_buyers: pd.DataFrame


def town(
    *, shoppers: int = 300, items: int = 160, contents: int = 60, taste: float = 3.0, linked: bool = True, seed: int = 0
) -> Town:
    """Make it.

    Args:
        shoppers, items, contents: how many; a quarter of the shoppers only watch.
        taste: how much more a shopper likes an item of a topic they love, in log odds; 0: not at all.
        linked: whether contents name items and have tags; else only their titles say what they are about.
        seed: of everything.
    """
    random = np.random.default_rng(seed)
    count = len(TOPICS)
    loved = np.array([random.choice(count, 2, replace=False) for _ in range(shoppers)])
    home = random.integers(0, 3, shoppers)
    topic_of_item, topic_of_content = random.integers(0, count, items), random.integers(0, count, contents)
    popularity = random.normal(0, 1, items)
    local = random.normal(0, 0.7, (3, items))
    watch_only = np.flatnonzero(np.arange(shoppers) % 4 == 0)
    likes_item = (topic_of_item[None, :, None] == loved[:, None, :]).any(axis=2)
    likes_content = (topic_of_content[None, :, None] == loved[:, None, :]).any(axis=2)
    chance = _share(popularity[None] + local[home] + taste * likes_item)
    watching = _share(taste * likes_content + random.normal(0, 0.5, contents)[None])
    bought, watched = [], []
    for shopper in range(shoppers):
        for day in np.flatnonzero(random.random(120) < 0.1):
            for item in random.choice(items, random.integers(1, 4), p=chance[shopper]):
                bought.append((shopper, item, END - timedelta(days=120 - int(day), hours=-9)))
        for day in np.flatnonzero(random.random(120) < 0.12):
            content = random.choice(contents, p=watching[shopper])
            dwell = random.uniform(20, 60) if likes_content[shopper, content] else random.uniform(0.5, 25)
            watched.append((shopper, content, END - timedelta(days=120 - int(day), hours=-20), dwell))
    purchases = pd.DataFrame(bought, columns=["shopper", "item_id", "event_time"])
    purchases["store_id"] = [f"store-{home[who]}" for who in purchases["shopper"]]
    purchases["event_type"] = "purchase"
    purchases["item_id"] = [f"item-{number:03}" for number in purchases["item_id"]]
    quiet = purchases["shopper"].isin(watch_only)
    purchases["shopper_id"] = [f"shopper-{who:03}" for who in purchases.pop("shopper")]
    late = purchases["event_time"] >= CUT
    views = pd.DataFrame(watched, columns=["shopper", "content", "event_time", "dwell_seconds"])
    views["shopper_id"] = [f"shopper-{who:03}" for who in views.pop("shopper")]
    views["content_id"] = [f"content-{number:02}" for number in views.pop("content")]
    views["event_type"] = "content_view"
    named = [np.flatnonzero(topic_of_item == topic) for topic in topic_of_content]
    described = pd.DataFrame({"content_id": [f"content-{number:02}" for number in range(contents)]})
    described["title"] = [f"An evening of {random.choice(WORDS[TOPICS[topic]])}" for topic in topic_of_content]
    described["duration_seconds"] = 60.0
    if linked:
        described["tags"] = [TOPICS[topic] if number % 3 else None for number, topic in enumerate(topic_of_content)]
        described["item_ids"] = [
            "|".join(f"item-{item:03}" for item in random.choice(own, min(3, len(own)), replace=False))
            if number % 3 == 0 and len(own)
            else None
            for number, own in enumerate(named)
        ]
    goods = pd.DataFrame({"item_id": [f"item-{number:03}" for number in range(items)]})
    goods["title"] = [
        f"{random.choice(WORDS[TOPICS[topic]])} no {number}" for number, topic in enumerate(topic_of_item)
    ]
    goods["tags"] = [TOPICS[topic] for topic in topic_of_item]
    goods["category"] = [f"DEPARTMENT-{number % 4}" for number in range(items)]
    people = pd.DataFrame({"shopper_id": [f"shopper-{number:03}" for number in range(shoppers)]})
    people["home_store_id"] = [f"store-{where}" for where in home]
    tables = {
        "interactions": purchases[~late & ~quiet],
        "items": goods,
        "contents": described,
        "content_views": views[views["event_time"] < CUT],
        "shoppers": people,
        "stores": pd.DataFrame({"store_id": [f"store-{where}" for where in range(3)]}),
    }
    return Town(
        {name: table.reset_index(drop=True) for name, table in tables.items()},
        [f"shopper-{number:03}" for number in watch_only],
        purchases[late & quiet].reset_index(drop=True),
        purchases[late & ~quiet].reset_index(drop=True),
    )


def _share(odds: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    weight = np.exp(odds - odds.max(axis=1, keepdims=True))
    shares: npt.NDArray[np.float64] = weight / weight.sum(axis=1, keepdims=True)
    return shares
