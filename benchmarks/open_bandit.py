"""Off-policy estimates on real logs whose answer is known: the Open Bandit sample (Saito et al. 2020, ZOZO, CC BY 4.0).

Two policies chose fashion items for the same shop at random at the same time: Bernoulli Thompson sampling, and one that
draws all alike. So what each would have earned, judged from the other's log, can be held against what it did earn. The
sample (10,000 rows a policy and campaign) lies in the wheel `obp` on PyPI, whose code is never installed or run:

    pip download --no-deps obp==0.4.1 -d $FACINGS_BENCHMARK_DATA
    unzip -q $FACINGS_BENCHMARK_DATA/obp-*.whl 'obp/*' -d $FACINGS_BENCHMARK_DATA

Thompson sampling's probabilities are computed as its publishers do: from the parameters they published, by drawing. It
was updated while it served, so that these are those of its end, not of each moment: a bias that no estimator can see.

Run it: .venv/bin/python benchmarks/open_bandit.py --out benchmarks/results
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml

from benchmarks.frame import frame, write
from pipelines.offers.evaluation.estimators import Estimates, estimate
from pipelines.offers.evaluation.policy_log import check_log

COMMAND = ".venv/bin/python benchmarks/open_bandit.py --out benchmarks/results"
DATA = Path(os.environ.get("FACINGS_BENCHMARK_DATA", "../shared/data")) / "obp"
CAMPAIGNS = ("all", "men", "women")
POSITIONS, DRAWS, BATCH, FOLDS = 3, 200_000, 20_000, 2


def thompson(data: Path, campaign: str) -> Any:
    """Probability of each item at each position, shape (items, POSITIONS)."""
    prior = yaml.safe_load((data / "policy" / "conf" / "prior_bts.yaml").read_text())[campaign]
    rng, counts = np.random.default_rng(12345), np.zeros((len(prior["alpha"]), POSITIONS))
    for _ in range(DRAWS // BATCH):
        drawn = rng.beta(prior["alpha"], prior["beta"], (BATCH, len(counts)))
        best = np.argsort(-drawn, axis=1)[:, :POSITIONS]
        for position in range(POSITIONS):
            counts[:, position] += np.bincount(best[:, position], minlength=len(counts))
    return counts / DRAWS


def read(data: Path, policy: str, campaign: str) -> pl.DataFrame:
    """What one policy did; positions from 0."""
    path = data / "dataset" / "obd" / policy / campaign / f"{campaign}.csv"
    return pl.read_csv(path, columns=["item_id", "position", "click", "propensity_score"]).with_columns(
        pl.col("position").rank("dense").cast(pl.Int64) - 1
    )


def judged(rows: pl.DataFrame, target: Any) -> Estimates:
    """Judge a policy from another one's rows, with a reward model of item and position, cross-fitted.

    A click is rare, so an item's rate is drawn to that of all items, as if by 1,000 further rows.
    """
    items, positions = rows["item_id"].to_numpy(), rows["position"].to_numpy()
    clicks, fold = rows["click"].to_numpy().astype(float), np.arange(len(rows)) % FOLDS
    logged, expected = np.zeros(len(rows)), np.zeros(len(rows))
    for one in range(FOLDS):
        fitted, asked = fold != one, fold == one
        rate, shape = clicks[fitted].mean(), len(target)
        seen = np.bincount(items[fitted], minlength=shape)
        rates = (np.bincount(items[fitted], clicks[fitted], minlength=shape) + 1000 * rate) / (seen + 1000)
        logged[asked], expected[asked] = rates[items[asked]], (rates @ target)[positions[asked]]
    log = pl.DataFrame(
        {
            "decision_id": np.arange(len(rows)).astype(str),
            "action": items.astype(str),
            "propensity": rows["propensity_score"],
            "reward": clicks,
            "target_probability": target[items, positions],
            "model_logged": logged,
            "model_target": expected,
        }
    )
    return estimate(check_log(log))


def measure(data: Path) -> list[dict[str, Any]]:
    found = []
    for campaign in CAMPAIGNS:
        policies = {name: read(data, name, campaign) for name in ("bts", "random")}
        chances = thompson(data, campaign)
        targets = {"bts": chances, "random": np.full(chances.shape, 1 / len(chances))}
        for logged, target in (("random", "bts"), ("bts", "random")):
            for position in (None, *range(POSITIONS)):
                rows, truth = (
                    one if position is None else one.filter(pl.col("position") == position)
                    for one in (policies[logged], policies[target])
                )
                estimates = judged(rows, targets[target])
                earned = truth["click"].to_numpy().astype(float)
                known = float(earned.mean())
                error = float(earned.std() / np.sqrt(len(earned)))
                told = estimates.told()
                agrees = {
                    name: one.low - 1.96 * error <= known <= one.high + 1.96 * error
                    for name, one in estimates.estimators.items()
                    if one is not None
                }
                found.append(
                    {
                        "campaign": campaign,
                        "logged": logged,
                        "target": target,
                        "position": "all" if position is None else position + 1,
                        "known": round(known, 5),
                        "known_low": round(known - 1.96 * error, 5),
                        "known_high": round(known + 1.96 * error, 5),
                        **{key: told[key] for key in ("estimators", "ess", "mean_weight", "n", "trusted")},
                        "agrees": agrees,
                    }
                )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="the folder `obp` of the wheel")
    parser.add_argument("--out", type=Path, help="folder of a dated result file")
    options = parser.parse_args()
    if not (options.data / "dataset" / "obd").is_dir():
        sys.exit(f"{options.data} holds no Open Bandit sample; the head of this file says how to get it.")
    rows = measure(options.data)
    for row in rows:
        values = "  ".join(f"{name} {one['value']:.5f}" for name, one in row["estimators"].items())
        where = f"{row['campaign']:<6} {row['logged']:>6} → {row['target']:<6} position {row['position']}"
        wrong = [name for name, holds in row["agrees"].items() if not holds]
        print(f"{where}: known {row['known']:.5f}  {values}  ess {row['ess'] / row['n']:.1%}  "
              f"mean weight {row['mean_weight']:.3f}  disagree: {', '.join(wrong) or 'none'}")  # fmt: skip
    result = {
        **frame("open_bandit", COMMAND, "numpy", "polars", "scipy"),
        "data": "Open Bandit sample of obp 0.4.1 (10,000 rows a policy and campaign)",
        "agrees_means": "the interval, widened by that of the value known on-policy, holds that value",
        "rows": rows,
    }
    write(result, "open_bandit", options.out)


if __name__ == "__main__":
    main()
