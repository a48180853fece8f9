"""How memory grows with shoppers and with items: peak of a process that trains a two-tower and makes batch lists.

Run it: .venv/bin/python benchmarks/memory_growth.py --out benchmarks/results   (about fifteen minutes)

The shoppers are synthetic: each buys EVENTS items, half of them from one of a hundred tastes, the rest anywhere. Each
size is a process of its own. Lists of ten are made a thousand shoppers at a time, as the batch job does, for at most
LISTED shoppers: what one thousand need does not depend on how many come after them.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.frame import frame, write

COMMAND = ".venv/bin/python benchmarks/memory_growth.py --out benchmarks/results"
EVENTS, WIDTH, LISTED, PART = 10, 32, 20_000, 1_000
SIZES = [(10_000, 10_000), (100_000, 10_000), (1_000_000, 10_000)]
SIZES += [(10_000, 100_000), (100_000, 100_000), (1_000_000, 100_000)]
# With ten times the items a shopper may cost so much more: were their product kept, it would cost ten times as much.
SLACK = 1.25
AS_OF = pd.Timestamp("2024-06-01", tz="UTC")


def purchases(shoppers: int, items: int, seed: int = 0) -> pd.DataFrame:
    """EVENTS purchases of each shopper."""
    random = np.random.default_rng(seed)
    people = np.repeat(np.arange(shoppers, dtype=np.int32), EVENTS)
    taste = np.repeat(random.integers(0, 100, shoppers), EVENTS)
    own = taste * (items // 100) + random.integers(0, items // 100, len(people))
    chosen = np.where(random.random(len(people)) < 0.5, own, random.integers(0, items, len(people)))
    ages = random.integers(1, 100 * 86_400, len(people))
    return pd.DataFrame(
        {
            "shopper_id": _ids("s", shoppers)[people],
            "item_id": _ids("i", items)[chosen],
            "event_time": AS_OF - pd.to_timedelta(ages, unit="s"),
        }
    )


def one_size(shoppers: int, items: int) -> None:
    """Train, list, and print the peak after each step as JSON."""
    import torch

    from models.dataset import Dataset
    from models.registry import create

    torch.set_num_threads(1)
    catalogue = pd.DataFrame({"item_id": _ids("i", items), "category": [f"D{n % 20}/C{n % 400}" for n in range(items)]})
    table = purchases(shoppers, items)
    after = {"libraries and tables": _peak()}
    started = time.process_time()
    dataset = Dataset.build(table, items=catalogue, as_of=AS_OF, item_content=["category"])
    model = create("two_tower", {"components": WIDTH, "epochs": 1, "history": 10, "targets": EVENTS}).fit(dataset)
    after["training"], trained = _peak(), time.process_time()
    asked = model.shopper_ids[:LISTED].tolist()
    for start in range(0, len(asked), PART):
        assert len(model.recommend(asked[start : start + PART], 10)) == 10 * len(asked[start : start + PART])
    after["lists"] = _peak()
    seconds = {"training": round(trained - started, 1), "lists": round(time.process_time() - trained, 1)}
    print(json.dumps({"shoppers": shoppers, "items": items, "peak_mb": after, "cpu_seconds": seconds}))


def growth(rows: list[dict[str, object]], items: int) -> dict[str, float]:
    """Bytes a shopper costs from one size to the next, and the slope of a line through them in double logarithms."""
    own = [row for row in rows if row["items"] == items]
    counts = np.array([float(str(row["shoppers"])) for row in own])
    peaks = np.array([float(row["peak_mb"]["lists"]) for row in own])  # type: ignore[index]
    steps = np.diff(peaks) * 2**20 / np.diff(counts)
    exponent = np.polyfit(np.log(counts), np.log(peaks), 1)[0]
    return {
        "bytes_a_shopper_from_10k_to_100k": round(float(steps[0])),
        "bytes_a_shopper_from_100k_to_1m": round(float(steps[1])),
        "exponent": round(float(exponent), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="folder of dated result files")
    parser.add_argument("--size", type=int, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.size:
        one_size(*options.size)
        return
    started, rows = time.monotonic(), []
    for shoppers, items in SIZES:
        words = [sys.executable, __file__, "--size", str(shoppers), str(items)]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(done.stderr[-2000:])
        rows.append(json.loads(done.stdout))
        print(json.dumps(rows[-1]), flush=True)
    by_items = {str(items): growth(rows, items) for items in sorted({items for _, items in SIZES})}
    product = 1_000_000 * 100_000 * 4 / 2**20
    peaks = {(row["shoppers"], row["items"]): row["peak_mb"]["lists"] for row in rows}
    slopes = [fit["bytes_a_shopper_from_100k_to_1m"] for fit in by_items.values()]
    linear = max(slopes) <= SLACK * min(slopes) and all(fit["exponent"] <= 1 for fit in by_items.values())
    result = {
        **frame("memory_growth", COMMAND, "torch", "numpy", "pandas", "scipy"),
        "seconds": round(time.monotonic() - started, 1),
        "data": "synthetic",
        "sizes": rows,
        "growth_with_shoppers": by_items,
        "bytes_an_item_at_a_million_shoppers": round(
            (peaks[1_000_000, 100_000] - peaks[1_000_000, 10_000]) * 2**20 / 90_000
        ),
        "float32_scores_of_all_would_be_mb": round(product),
        "met": linear,
    }
    print(json.dumps(result, indent=1))
    write(result, "memory_growth", options.out)


def _ids(prefix: str, count: int) -> np.ndarray:
    return np.array([f"{prefix}{number:07}" for number in range(count)], dtype=object)


def _peak() -> int:
    """Largest resident memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    main()
