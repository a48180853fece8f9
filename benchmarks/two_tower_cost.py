"""What training costs: our two-tower, a plain PyTorch one with SparseAdam, and LightFM WARP, side by side in one run.

Run it: .venv/bin/python benchmarks/two_tower_cost.py --out benchmarks/results   (about ten minutes)

Data: Complete Journey, the distinct (household, product) pairs in the order of their first purchase, identities alone,
vectors of 64. Each learner is trained on the pairs before November and judged on November after every epoch; with its
best number of epochs it is trained on the pairs before December and judged on December, from three starts. Cost is CPU
time of the process over the whole training, one thread each: for ours from the tables on, for the others from matrices
made beforehand. Recall at 20 of what a household buys in the month.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import polars as pl
import torch
from lightfm import LightFM
from scipy import sparse

from benchmarks.frame import frame, write
from models.dataset import Dataset
from models.recommenders.two_tower import TwoTower, TwoTowerConfig
from models.torch_training import bfloat16_products
from pipelines.signals.sources.complete_journey import learning_tables

COMMAND = ".venv/bin/python benchmarks/two_tower_cost.py --out benchmarks/results"
K, WIDTH, EPOCHS, OUR_EPOCHS = 20, 64, 3, (2, 3, 4)
SEEDS = (0, 1, 2)
MONTHS = {"validation": "2017-11-01", "test": "2017-12-01"}
OURS = {
    "components": WIDTH,
    "history": 0,  # pairs are distinct: what was bought never comes again, and a history would teach just that
    "targets": 16,
    "negatives": 4096,
    "popular_negatives": 1.0,
    "learning_rate": 0.1,
    "shopper_dropout": 0.0,
}
LIMITS = {"plain PyTorch, SparseAdam": 3.0, "LightFM WARP": 0.8}
Scores = Callable[[npt.NDArray[np.int64]], npt.NDArray[Any]]


@dataclass(frozen=True)
class Split:
    """Distinct pairs before a cut, and what is bought in the month after it."""

    dataset: Dataset
    truth: sparse.csr_matrix

    @property
    def pairs(self) -> int:
        """How many pairs are learned from."""
        return len(self.dataset.interactions)


@dataclass(frozen=True)
class Trained:
    """CPU seconds so far, and how the learner scores now."""

    seconds: float
    scores: Scores


def read_split(cut: str) -> Split:
    tables = learning_tables()
    left_out = pl.col("category").str.split("/").list.first().is_in(["FUEL", "MISCELLANEOUS", "COUPON"])
    items = tables["items"].filter(~left_out).select("item_id").to_pandas()
    rows = tables["interactions"].select("shopper_id", "item_id", "event_time").to_pandas()
    start, key = pd.Timestamp(cut, tz="UTC"), ["shopper_id", "item_id"]
    rows = rows[rows["item_id"].isin(items["item_id"])].sort_values("event_time", kind="stable")
    past = rows[rows["event_time"] < start].drop_duplicates(key)
    month = rows[(rows["event_time"] >= start) & (rows["event_time"] < start + pd.offsets.MonthBegin(1))]
    dataset = Dataset.build(past, items=items, shoppers=tables["shoppers"].to_pandas()[["shopper_id"]], as_of=start)
    month = month[month["shopper_id"].isin(dataset.shopper_ids)].drop_duplicates(key)
    cells = (dataset.shopper_ids.get_indexer(month["shopper_id"]), dataset.item_ids.get_indexer(month["item_id"]))
    shape = (len(dataset.shoppers), len(dataset.items))
    return Split(dataset, sparse.csr_matrix((np.ones(len(month)), cells), shape=shape))


def recall(split: Split, scores: Scores) -> float:
    """Mean over shoppers who bought something of the share of it that is among the K of highest score."""
    shoppers = np.flatnonzero(np.diff(split.truth.indptr))
    found = []
    for start in range(0, len(shoppers), 128):
        part = shoppers[start : start + 128]
        best = np.argpartition(-scores(part), K, axis=1)[:, :K]
        for row, columns in zip(part, best, strict=True):
            bought = split.truth.indices[split.truth.indptr[row] : split.truth.indptr[row + 1]]
            found.append(np.isin(bought, columns).mean())
    return float(np.mean(found))


# ---------------------------------------------------------------------- the three learners


def trained_ours(split: Split, epochs: int, seed: int = 0, **config: Any) -> Trained:
    started = time.process_time()
    model = TwoTower(TwoTowerConfig(**{**OURS, **config}, epochs=epochs)).fit(split.dataset, seed=seed)
    return Trained(time.process_time() - started, model._score)


def plain(
    split: Split, epochs: int, seed: int = 0, *, batch: int = 2048, learning_rate: float = 0.01
) -> Iterator[Trained]:
    """As tutorials write it: two nn.Embedding, autograd, in-batch softmax with logQ, SparseAdam."""
    torch.manual_seed(seed)
    shoppers = torch.from_numpy(split.dataset.shopper_rows)
    items = torch.from_numpy(split.dataset.item_rows)
    log_q = torch.log(torch.bincount(items, minlength=split.truth.shape[1]) / len(items))
    towers = [torch.nn.Embedding(count, WIDTH, sparse=True) for count in split.truth.shape]
    for tower in towers:
        torch.nn.init.normal_(tower.weight, std=0.1)
    optimiser = torch.optim.SparseAdam([tower.weight for tower in towers], lr=learning_rate)
    started = time.process_time()
    for _ in range(epochs):
        for rows in torch.randperm(len(items)).split(batch):
            left, right = towers[0](shoppers[rows]), towers[1](items[rows])
            logits = left @ right.T - log_q[items[rows]]
            same = (items[rows][:, None] == items[rows]) & ~torch.eye(len(rows), dtype=torch.bool)
            loss = torch.nn.functional.cross_entropy(logits.masked_fill(same, -torch.inf), torch.arange(len(rows)))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        seconds = time.process_time() - started
        left_now, right_now = (tower.weight.detach().numpy() for tower in towers)
        yield Trained(seconds, lambda rows, left=left_now, right=right_now: left[rows] @ right.T)
        started = time.process_time() - seconds


def warp(split: Split, epochs: int, seed: int = 0) -> Iterator[Trained]:
    matrix = split.dataset.matrix().tocoo().astype(np.float32)
    model, seconds = LightFM(no_components=WIDTH, loss="warp", random_state=seed), 0.0
    for _ in range(epochs):
        started = time.process_time()
        model.fit_partial(matrix, epochs=1, num_threads=1)
        seconds += time.process_time() - started
        left, right, bias = model.user_embeddings, model.item_embeddings, model.item_biases
        yield Trained(seconds, lambda rows, left=left, right=right, bias=bias: left[rows] @ right.T + bias)


PEERS: dict[str, Callable[..., Iterator[Trained]]] = {
    "plain PyTorch, SparseAdam": plain,
    "LightFM WARP": warp,
}


# ---------------------------------------------------------------------- what is measured


def measure(name: str, splits: dict[str, Split]) -> dict[str, Any]:
    """Choose the number of epochs on November; then cost and recall with it on December."""
    validation, test = splits["validation"], splits["test"]
    if name == "ours":  # the recommender has no half-way stop: each number of epochs is a training of its own
        tried = {count: recall(validation, trained_ours(validation, count).scores) for count in OUR_EPOCHS}
    else:
        states = enumerate(PEERS[name](validation, EPOCHS), 1)
        tried = {count: recall(validation, state.scores) for count, state in states}
    epochs = max(tried, key=lambda count: tried[count])
    seconds, recalls = 0.0, []
    for seed in SEEDS:
        final = trained_ours(test, epochs, seed) if name == "ours" else list(PEERS[name](test, epochs, seed))[-1]
        seconds += final.seconds
        recalls.append(recall(test, final.scores))
    return {
        "epochs": epochs,
        "validation_recall": {str(count): round(value, 4) for count, value in tried.items()},
        "recall": round(float(np.mean(recalls)), 4),
        "recall_by_seed": [round(value, 4) for value in recalls],
        "interactions_per_cpu_second": round(len(SEEDS) * test.pairs * epochs / seconds),
    }


def variants(split: Split, epochs: int) -> dict[str, Any]:
    """Ours with one thing changed."""
    without, floats = trained_ours(split, epochs, log_q=False), trained_ours(split, epochs, bfloat16=False)
    return {
        "without logQ": {"recall": round(recall(split, without.scores), 4)},
        "products in float32": {
            "recall": round(recall(split, floats.scores), 4),
            "interactions_per_cpu_second": round(split.pairs * epochs / floats.seconds),
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="folder of dated result files")
    options = parser.parse_args()
    torch.set_num_threads(1)
    started = time.monotonic()
    splits = {name: read_split(cut) for name, cut in MONTHS.items()}
    measured = {name: measure(name, splits) for name in ("ours", *PEERS)}
    pace = {name: row["interactions_per_cpu_second"] for name, row in measured.items()}
    changed = variants(splits["test"], measured["ours"]["epochs"])
    ratios = {name: round(pace["ours"] / pace[name], 2) for name in LIMITS}
    floats = changed["products in float32"]["interactions_per_cpu_second"]
    result = {
        **frame("two_tower_cost", COMMAND, "torch", "rectools-lightfm", "numpy", "scipy"),
        "bfloat16_products": bfloat16_products(torch.device("cpu")),
        "seconds": round(time.monotonic() - started, 1),
        "pairs": splits["test"].pairs,
        "learners": measured,
        "ours_changed": changed,
        "ratios": ratios,
        "ratios_in_float32": {name: round(floats / pace[name], 2) for name in LIMITS},
        "recall_lost_without_logq": round(1 - changed["without logQ"]["recall"] / measured["ours"]["recall"], 3),
        "met": all(ratios[name] >= limit for name, limit in LIMITS.items())
        and all(measured["ours"]["recall"] >= measured[name]["recall"] for name in LIMITS),
    }
    print(json.dumps(result, indent=1))
    write(result, "two_tower_cost", options.out)


if __name__ == "__main__":
    main()
