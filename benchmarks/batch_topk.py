"""The best 100 of 100,000 items for many shoppers: our exact selection, faiss Flat and numpy, side by side in one run.

Run it: .venv/bin/python benchmarks/batch_topk.py --out benchmarks/results   (needs `pip install faiss-cpu`)

Vectors are synthetic: independent normal numbers, 64 of them for each shopper and item. Cost is CPU time of the process
on one thread, the median of several rounds in turn. Exactness: the share of the true best 100, by float64 products.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks.frame import frame, write
from models.neural.topk import ProductIndex
from models.torch_training import bfloat16_products

SHOPPERS, ITEMS, WIDTH, K, ROUNDS, CHECKED = 1024, 100_000, 64, 100, 5, 256
GOAL = 4.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="folder of dated result files")
    options = parser.parse_args()
    try:
        import faiss
    except ImportError:
        sys.exit("faiss is not installed; install it with `pip install faiss-cpu` to measure beside it.")
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    random = np.random.default_rng(0)
    shoppers = random.normal(size=(SHOPPERS, WIDTH)).astype(np.float32)
    items = random.normal(size=(ITEMS, WIDTH)).astype(np.float32)
    ours, ours32, flat = ProductIndex(items), ProductIndex(items, bfloat16=False), faiss.IndexFlatIP(WIDTH)
    flat.add(items)
    learners: dict[str, Callable[[], object]] = {
        "ours": lambda: ours.top(shoppers, K),
        "ours, float32": lambda: ours32.top(shoppers, K),
        "faiss Flat": lambda: flat.search(shoppers, K),
    }
    seconds: dict[str, list[float]] = {name: [] for name in learners}
    for _ in range(ROUNDS):
        for name, work in learners.items():
            started = time.process_time()
            work()
            seconds[name].append(time.process_time() - started)
    speed = {name: SHOPPERS / statistics.median(values) for name, values in seconds.items()}
    exact = shoppers[:CHECKED].astype(np.float64) @ items.astype(np.float64).T
    best = np.argsort(-exact, axis=1)[:, :K]
    found, _ = ours.top(shoppers[:CHECKED], K)
    recall = float(np.mean([np.isin(found[row], best[row]).mean() for row in range(CHECKED)]))
    ratio = speed["ours"] / speed["faiss Flat"]
    result = {
        **frame(
            "batch_topk",
            ".venv/bin/python benchmarks/batch_topk.py --out benchmarks/results",
            "torch",
            "faiss-cpu",
            "numpy",
        ),
        "bfloat16_products": bfloat16_products(torch.device("cpu")),
        "queries_per_cpu_second": {name: round(value) for name, value in speed.items()},
        "ratio_to_faiss_flat": round(ratio, 2),
        "ratio_in_float32": round(speed["ours, float32"] / speed["faiss Flat"], 2),
        "recall_at_100": recall,
        "met": ratio >= GOAL and recall >= 0.999,
    }
    print(json.dumps(result, indent=1))
    write(result, "batch_topk", options.out)


if __name__ == "__main__":
    main()
