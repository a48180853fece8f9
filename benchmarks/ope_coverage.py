"""How often the intervals of off-policy evaluation hold the truth: a contextual bandit with known values.

Of each case (policy that logs, policy in question, reward, rows) many logs are drawn; the table says of each estimator
in how many its 95 % interval held the value, and how far off it was on average. The reward model is given right, and
wrong (a model of another shop, unrelated to what shoppers here do): the direct method then is as wrong as the model.

Run it: .venv/bin/python benchmarks/ope_coverage.py --out benchmarks/results   (some 20 minutes on one core)
"""

from __future__ import annotations

import argparse
import json
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from benchmarks.frame import frame, write
from pipelines.offers.evaluation.estimators import ESTIMATORS, estimate

COMMAND = ".venv/bin/python benchmarks/ope_coverage.py --out benchmarks/results"
ACTIONS, FEATURES, TRUTH_ROWS = 10, 5, 400_000
LOGGING = {"uniform": 1.0, "30% explored": 0.3, "10% explored": 0.1}
TARGETS = ("softmax", "greedy", "5% explored")
REWARDS = ("binary", "money")


class Log(NamedTuple):
    """What was logged, and the mean of what the target would have earned there."""

    table: pl.DataFrame
    value: float


class Bandit:
    """Contexts are normal, an action is bought with a logistic probability, and money is log-normal (sigma 1)."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.slopes, self.others = rng.normal(0, 0.6, (FEATURES, ACTIONS)), rng.normal(0, 0.6, (FEATURES, ACTIONS))

    def draw(self, rng: Any, rows: int, explored: float, target: str, reward: str, right: bool, slots: int = 1) -> Log:
        """A log of `rows` rows and the mean of what the target would earn there, given their contexts."""
        context = np.repeat(rng.normal(size=(rows // slots, FEATURES)), slots, axis=0)
        mood = np.repeat(rng.normal(0, 0.5 if slots > 1 else 0.0, rows // slots), slots)[:, None]
        scores, others = context @ self.slopes, context @ self.others
        chance = 1 / (1 + np.exp(2.5 - scores - mood))
        size = np.exp(0.5) if reward == "money" else 1.0
        every = np.arange(len(context))
        logs = _explored(0.5 * scores + 0.5 * others, explored)
        aims = _softmax(1.5 * scores) if target == "softmax" else _explored(scores, 0.05 if "5%" in target else 0.0)
        taken = np.minimum((rng.random(len(context))[:, None] > logs.cumsum(1)).sum(1), ACTIONS - 1)
        rewards = (rng.random(len(context)) < chance[every, taken]).astype(float)
        if reward == "money":
            rewards *= rng.lognormal(0, 1, len(context))
        model = size / (1 + np.exp(2.5 - (scores if right else others)))
        table = pl.DataFrame(
            {
                "decision_id": (every // slots).astype(str) if slots > 1 else every.astype(str),
                "action": (taken * slots + every % slots).astype(str),
                "propensity": logs[every, taken],
                "reward": rewards,
                "target_probability": aims[every, taken],
                "model_logged": model[every, taken],
                "model_target": (aims * model).sum(1),
            }
        )
        return Log(table, float((aims * chance).sum(1).mean() * size))


def _softmax(scores: Any) -> Any:
    odds = np.exp(scores - scores.max(1, keepdims=True))
    return odds / odds.sum(1, keepdims=True)


def _explored(scores: Any, share: float) -> Any:
    policy = np.full(scores.shape, share / ACTIONS)
    policy[np.arange(len(scores)), scores.argmax(1)] += 1 - share
    return policy


def measure(bandit: Bandit, logs: int, rows: int, *case: Any) -> dict[str, Any]:
    truth = bandit.draw(np.random.default_rng(0), TRUTH_ROWS, *case).value
    held, off, share, trusted = dict.fromkeys(ESTIMATORS, 0), dict.fromkeys(ESTIMATORS, 0.0), 0.0, 0
    width = dict.fromkeys(ESTIMATORS, 0.0)
    for number in range(logs):
        found = estimate(bandit.draw(np.random.default_rng([1, number]), rows, *case).table)
        share += found.ess / rows / logs
        trusted += found.trusted
        for name, one in found.estimators.items():
            if one is not None:
                held[name] += one.low <= truth <= one.high
                off[name] += (one.value - truth) / truth / logs
                width[name] += (one.high - one.low) / truth / logs
    return {
        "ess_share": round(share, 3),
        "trusted": trusted / logs,
        "truth": round(truth, 5),
        "coverage": {name: held[name] / logs for name in ESTIMATORS},
        "bias": {name: round(off[name], 4) for name in ESTIMATORS},
        "width": {name: round(width[name], 3) for name in ESTIMATORS},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--logs", type=int, default=1000, help="logs drawn of each case")
    parser.add_argument("--rows", type=int, nargs="+", default=[250, 1000, 4000])
    parser.add_argument("--out", type=Path, help="folder of a dated result file")
    options = parser.parse_args()
    bandit, cases = Bandit(7), []
    plain = [(*one, 1) for one in product(LOGGING, TARGETS, REWARDS, ("right", "wrong"))]
    slates = [("30% explored", "softmax", reward, "right", 4) for reward in REWARDS]
    for logging, target, reward, model, slots in [*plain, *slates]:
        for rows in options.rows:
            if model == "wrong" and (rows != 1000 or target == "5% explored"):
                continue
            figures = measure(bandit, options.logs, rows, LOGGING[logging], target, reward, model == "right", slots)
            case = {"logging": logging, "target": target, "reward": reward, "model": model, "slots": slots}
            cases.append({**case, "rows": rows, **figures})
            print(json.dumps(cases[-1]), flush=True)
    result = {
        **frame("ope_coverage", COMMAND, "numpy", "polars", "scipy"),
        "confidence": 0.95,
        "logs_a_case": options.logs,
        "cases": cases,
    }
    write(result, "ope_coverage", options.out)


if __name__ == "__main__":
    main()
