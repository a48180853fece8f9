"""Decisions in random shops, a million unless told otherwise, each checked against the hard rules told once more.

Run it: .venv/bin/python benchmarks/hard_rules.py --out benchmarks/results
Shops, stocks, offers, campaigns, shoppers' purchases, caps, blocks, quiet periods, questions and settings are drawn so
that what would break a rule is common, often on the very edge of it (a price of exactly the floor, an offer that ends
now). The reference (tests/made_rules.py) shares no code with the decision. Told for each rule: how many candidates
would have broken it (of all items of the shop, in every decision), and how many that were shown did.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections import Counter
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from benchmarks.frame import today, versions, write
from pipelines.offers.decide import POLICY_VERSION, decide
from tests.made_rules import NOW, broken, broken_offer, faults, made_moment, made_reads

COMMAND = ".venv/bin/python benchmarks/hard_rules.py --out benchmarks/results"
DECISIONS, BATCH, IN_ONE_SHOP, ASKED, LARGEST = 1_000_000, 5_000, 100, 4, 20


def batch(seed: int) -> dict[str, Counter[str]]:
    """Make BATCH decisions; count opportunities, faults and on which path each slate was filled."""
    draw = np.random.default_rng([20261126, seed])
    found: dict[str, Counter[str]] = {"opportunities": Counter(), "broken": Counter(), "paths": Counter()}
    for _ in range(BATCH // IN_ONE_SHOP):
        reads = made_reads(draw, int(draw.integers(1, LARGEST + 1)))
        shop = reads.shop
        for _ in range(IN_ONE_SHOP // ASKED):
            first, facts, policy = made_moment(draw, shop.size)
            verdicts = [broken(shop, place, first, facts, policy) for place in range(shop.size)]
            against = Counter(code for codes in verdicts for code in codes)
            for row in shop.rows:
                if not verdicts[row["place"]]:
                    against.update(broken_offer(shop, row, first, facts, policy))
            for _ in range(ASKED):
                asked = [f"i{place}" for place in draw.integers(0, shop.size + 2, int(draw.integers(1, 9)))]
                ask = replace(first, count=int(draw.integers(1, 12)), candidates=asked if draw.random() < 0.3 else None)
                seed_of_slate, explain = draw.bytes(16).hex(), bool(draw.random() < 0.3)
                slate = decide(reads, ask, NOW, facts=facts, policy=policy, seed=seed_of_slate, explain=explain)
                found["opportunities"].update(against)
                found["broken"].update(faults(reads, ask, facts, policy, slate, verdicts))
                found["paths"][slate.fallback or "personal"] += 1
                found["paths"]["with an offer"] += any(one.terms.offer is not None for one in slate.items)
                found["paths"]["items shown"] += len(slate.items)
    return found


def told(total: dict[str, Counter[str]], decisions: int, started: float, workers: int) -> dict[str, object]:
    return {
        "command": COMMAND,
        "date": today(),
        "decisions": decisions,
        "broken": sum(total["broken"].values()),
        "broken_by_rule": dict(total["broken"].most_common()),
        "opportunities_by_rule": dict(total["opportunities"].most_common()),
        "paths": dict(total["paths"].most_common()),
        "minutes": round((time.perf_counter() - started) / 60, 1),
        "policy_version": POLICY_VERSION,
        "machine": {"cores": os.cpu_count(), "workers": workers, "python": platform.python_version()},
        "versions": versions("numpy"),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--decisions", type=int, default=DECISIONS)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, help="folder of the dated result, written anew after every batch")
    arguments = parser.parse_args()
    batches = -(-arguments.decisions // BATCH)
    total: dict[str, Counter[str]] = {"opportunities": Counter(), "broken": Counter(), "paths": Counter()}
    started, result = time.perf_counter(), dict[str, object]()
    with get_context("spawn").Pool(arguments.workers) as pool:
        for done, found in enumerate(pool.imap_unordered(batch, range(batches)), start=1):
            for name, counts in found.items():
                total[name].update(counts)
            result = told(total, done * BATCH, started, arguments.workers)
            print(f"{done * BATCH:,} decisions, broken: {dict(total['broken'])}", file=sys.stderr)
            write(result, "hard_rules", arguments.out)
    print(json.dumps(result, indent=1))
    return 1 if result["broken"] else 0


if __name__ == "__main__":
    sys.exit(main())
