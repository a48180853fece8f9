"""A town of two tastes; as a program: train a two-tower on it and print the loss (for torchrun)."""

from __future__ import annotations

import json
import os
from functools import cache

import numpy as np
import pandas as pd

from models.dataset import Dataset
from models.registry import create

AS_OF = pd.Timestamp("2024-03-01", tz="UTC")
TASTES = ("tea", "coffee")
CONFIG = {
    "components": 16, "epochs": 30, "learning_rate": 0.1, "batch": 16, "targets": 3, "history": 6, "negatives": 64,
    "item_dropout": 0.3, "shopper_dropout": 0.3,
}  # fmt: skip


@cache
def town(seed: int = 3) -> Dataset:
    """Tea people buy tea, coffee people coffee, all buy milk and fuel; tea11 and coffee11 are not sold yet."""
    random = np.random.default_rng(seed)
    items = [("milk", "DAIRY/MILK", "Milk, whole")]
    items += [(f"{kind}{n:02}", "DRINKS", f"{kind.title()} number {n}") for kind in TASTES for n in range(12)]
    items += [("fuel", "FUEL/PETROL", "Petrol")]
    shoppers, rows = [("silent", "tea"), ("blank", None)], []
    for number in range(60):
        taste = TASTES[number % 2]
        shoppers.append((f"s{number:02}", taste))
        chosen = [f"{taste}{n:02}" for n in random.choice(11, size=6, replace=False)] + ["milk", "fuel"]
        ages = random.uniform(0.1, 50, len(chosen))
        rows += [
            (f"s{number:02}", item, AS_OF - pd.Timedelta(days=float(age)))
            for item, age in zip(chosen, ages, strict=True)
        ]
    return Dataset.build(
        pd.DataFrame(rows, columns=["shopper_id", "item_id", "event_time"]),
        items=pd.DataFrame(items, columns=["item_id", "category", "title"]),
        shoppers=pd.DataFrame(shoppers, columns=["shopper_id", "taste"]),
        as_of=AS_OF,
        item_content=["category", "title"],
        shopper_attributes=["taste"],
        never_recommend=["FUEL"],
    )


if __name__ == "__main__":
    model = create("two_tower", CONFIG).fit(town(), seed=5)
    scores = model.recommend(["s03"], 3)["score"].tolist()
    print(json.dumps({"rank": os.environ.get("RANK"), "loss": model.training_loss, "scores": scores}), flush=True)
