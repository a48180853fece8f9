"""The gate on planted bad challengers and on like against like: who is refused, by what, and who slips through.

Run it: .venv/bin/python benchmarks/gate.py --out benchmarks/results
On each of several towns the honest challenger must pass and every planted bad one be refused for what is wrong with it;
of 200 challengers that are the champion's own recipe on the same town with other luck at most 5 % may replace it. The
live guard is asked every hour about 200 versions that change nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import polars as pl

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.frame import frame, load, machine, write
from configs.guard import GuardRules
from configs.recipe import GateRecipe
from pipelines.training.gate import Kind
from pipelines.training.guard import watch
from pipelines.training.policy_gate import judge_policy
from tests.proving_ground import BAD, Bench, like_with_like, make_town
from tests.unit.test_guard_rule import hours
from tests.unit.test_policy_gate import BAD_POLICIES, BETTER, LOGGED, log_of

COMMAND = ".venv/bin/python benchmarks/gate.py --out benchmarks/results"
LIKE, PER_TOWN, GUARDED, LOGS = 200, 10, 200, 10


def models(seeds: list[int]) -> dict[str, object]:
    """Honest and bad challengers on towns of these seeds."""
    honest, slipped, other, refused = 0, [], [], dict.fromkeys(BAD, 0)
    for seed in seeds:
        bench = Bench(make_town(seed))
        honest += bench.judge(bench.evidence(bench.good)).passed
        for name, (reasons, make) in BAD.items():
            decision = bench.judge(make(bench))
            refused[name] += not decision.passed
            if decision.passed:
                slipped.append([seed, name])
            elif not set(reasons.split(", ")) <= set(decision.refusals):
                other.append([seed, name, decision.refusals])
        print(f"town {seed}: slipped {slipped}", file=sys.stderr, flush=True)
    return {
        "towns": len(seeds),
        "honest_promoted": honest,
        "bad_challengers": len(BAD),
        "refused_on_so_many_towns": refused,
        "slipped_through": slipped,
        "refused_for_another_reason_only": other,
    }


def policies(seeds: range) -> dict[str, object]:
    """Good and bad policies on logs of these seeds."""
    wanted = {name: [make, reason] for name, (make, reason) in BAD_POLICIES.items()}
    rules = GateRecipe()
    refused = {}
    for name, (make, reason) in wanted.items():
        found = [judge_policy(Kind.REPLACEMENT, make(seed), rules) for seed in seeds]
        refused[name] = sum(any(check.name == reason and not check.passed for check in checks) for checks in found)
    good = [judge_policy(Kind.REPLACEMENT, log_of(LOGGED, BETTER, seed=seed), rules) for seed in seeds]
    return {"logs": len(seeds), "better_promoted": sum(all(c.passed for c in checks) for checks in good),
            "refused_on_so_many_logs": refused}  # fmt: skip


def equals(trials: int, large: int) -> dict[str, object]:
    """Like against like, on small towns and on larger ones, where the luck of training is seen better."""
    found = {}
    for shoppers, count in ((480, trials), (1500, large)):
        decisions = [
            decision
            for seed in range(1000, 1000 + count // PER_TOWN)
            for decision in like_with_like(make_town(seed, shoppers, shoppers // 10), PER_TOWN, seed)
        ]
        found[f"{shoppers}_shoppers"] = {
            "trials": len(decisions),
            "promoted": sum(decision.passed for decision in decisions),
            "better_than_the_refreshed_one": sum(decision.comparisons[0].passed for decision in decisions),
        }
        print(found, file=sys.stderr, flush=True)
    return found


def guarded(trials: int) -> dict[str, object]:
    """Versions that change nothing, looked at again and again for three days of two stores."""
    alarms = late = 0
    rules = GuardRules()
    for trial in range(trials):
        before, after = hours("before", 5, stores=2, seed=trial), hours("after", 3, stores=2, seed=10_000 + trial)
        alarms += any(watch(pl.concat([before, after.head(n)]), rules).regressed for n in range(12, after.height, 10))
        worse = hours("after", 3, stores=2, seed=20_000 + trial, reward=35.0)
        late += watch(pl.concat([before, worse]), rules).regressed
    return {"versions": trials, "alarms_though_nothing_changed": alarms, "taken_back_of_those_that_lose_30_%": late}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="folder of a dated result file")
    parser.add_argument("--towns", type=int, default=5, help="on which bad challengers are planted")
    parser.add_argument("--large", type=int, default=LIKE // 4, help="like against like on larger towns")
    parser.add_argument("--guarded", type=int, default=GUARDED, help="versions that the guard watches")
    options = parser.parse_args()
    began = time.monotonic()
    result = {
        **frame(
            "gate",
            f"{COMMAND} --towns {options.towns} --large {options.large} --guarded {options.guarded}",
            "numpy",
            "scipy",
            "pandas",
            "polars",
            where=machine(load()),
        ),
        "models": models(list(range(1, options.towns + 1))),
        "policies": policies(range(LOGS)),
        "like_with_like": equals(LIKE, options.large),
        "guard": guarded(options.guarded),
        "seconds": round(time.monotonic() - began),
    }
    print(json.dumps(result, indent=1))
    write(result, "gate", options.out)


if __name__ == "__main__":
    main()
