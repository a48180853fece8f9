"""Where the numbers of recipe beauty_sequential come from: Amazon Beauty, judged on the validation items only.

    .venv/bin/python benchmarks/tune_sequential_beauty.py --data FOLDER --out benchmarks/results [--variant NAME …]

Each variant changes one thing of the recipe and is trained once (`runs` 1) on what comes before the validation item of
each user. A training takes some six minutes of one core; a GPU is used where there is one.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from benchmarks.frame import machine, today, write
from configs.recipe import Recipe, load_recipe
from pipelines.training.published import amazon_loo

VARIANTS: dict[str, dict[str, Any]] = {
    "one run": {},
    "three runs": {"runs": 3},
    "width 64": {"width": 64},
    "two blocks": {"blocks": 2},
    "two heads": {"heads": 2},
    "dropout 0.1": {"dropout": 0.1},
    "dropout 0.2": {"dropout": 0.2},
    "products": {"temperature": None},
    "products, all items": {"temperature": None, "negatives": 0},
    "temperature 0.05": {"temperature": 0.05},
    "temperature 0.1": {"temperature": 0.1},
    "2,048 negatives": {"negatives": 2048},
    "uniform negatives": {"negative_power": 0.0},
    "no logQ": {"log_q": False},
    "items blotted out": {"item_dropout": 0.2},
    "lower rate": {"learning_rate": 0.001},
    "30 epochs": {"epochs": 30},
    "90 epochs": {"epochs": 90},
    "no content": {"data": {"item_content": []}},
}


def variant(name: str, recipe: Recipe) -> Recipe:
    """The recipe with one thing changed, trained once."""
    changes = dict(VARIANTS[name])
    data = {**recipe.data.model_dump(), **changes.pop("data", {})}
    whole = {**recipe.model_dump(), "data": data, "config": {**recipe.config, "runs": 1, **changes}}
    return Recipe.model_validate(whole)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the sequences")
    parser.add_argument("--out", type=Path, help="folder of dated result files")
    parser.add_argument("--variant", action="append", choices=VARIANTS, help="only these")
    options = parser.parse_args()
    source, recipe = amazon_loo.read_data(options.data), load_recipe("beauty_sequential")
    found = {}
    for name in options.variant or VARIANTS:
        started, seconds = time.monotonic(), time.process_time()
        frame, _ = amazon_loo.measure(source, variant(name, recipe), held_out=2)
        found[name] = {
            "hr": round(float(frame["hr"].mean()), 5),
            "ndcg": round(float(frame["ndcg"].mean()), 5),
            "seconds": round(time.monotonic() - started, 1),
            "cpu_seconds": round(time.process_time() - seconds, 1),
        }
        print(json.dumps({"variant": name, **found[name]}), flush=True)
    result = {
        "benchmark": "sequential_beauty-tuning",
        "date": today(),
        "machine": machine(),
        "data": source.name,
        "judged_on": "validation items",
        "variants": found,
    }
    write(result, "sequential_beauty-tuning", options.out)


if __name__ == "__main__":
    main()
