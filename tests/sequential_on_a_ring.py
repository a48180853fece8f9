"""A shop whose shoppers walk round a ring of items; as a program: train on it and print the loss (for torchrun)."""

from __future__ import annotations

import json
import os
from functools import cache

import pandas as pd

from models.dataset import Dataset
from models.registry import create

AS_OF = pd.Timestamp("2024-06-01", tz="UTC")
SIZE = 20
# No dropout: the only chance left is drawn alike in every process.
CONFIG = {"width": 16, "epochs": 4, "batch_rows": 3, "negatives": 16, "dropout": 0.0, "temperature": 0.1, "blocks": 2}


def step_of(item: str) -> str:
    """The item after this one."""
    return f"item-{(int(item.removeprefix('item-')) + 1) % SIZE:02}"


def step_times(count: int, end: pd.Timestamp) -> pd.DatetimeIndex:
    """Times an hour apart, the last one an hour before `end`."""
    return end - pd.to_timedelta(range(count, 0, -1), unit="h")


@cache
def ring() -> Dataset:
    """Forty shoppers, each from a start of their own some steps on."""
    rows = []
    for person in range(2 * SIZE):
        length = 4 + person % 7
        for step, moment in enumerate(step_times(length, AS_OF)):
            rows.append((f"shopper-{person:02}", f"item-{(person + step) % SIZE:02}", moment))
    table = pd.DataFrame(rows, columns=["shopper_id", "item_id", "event_time"])
    items = pd.DataFrame({"item_id": [f"item-{n:02}" for n in range(SIZE)]})
    items["tags"] = [f"{n % 2}|{n % 5}" for n in range(SIZE)]
    return Dataset.build(table, items=items, as_of=AS_OF, item_content=["tags"])


if __name__ == "__main__":
    model = create("sequential", CONFIG).fit(ring(), seed=5)
    scores = model.recommend(["shopper-03"], 3)["score"].tolist()
    print(json.dumps({"rank": os.environ.get("RANK"), "loss": model.training_loss, "scores": scores}), flush=True)
