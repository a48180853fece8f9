"""How long a decision takes: a slate of ten from 500 candidates with odds, of 100,000 items, and its note in the log.

Run it: .venv/bin/python benchmarks/decide.py --out benchmarks/results
A shop of random goods is made and ingested (SIMULATED), with costs, makers, stock, campaigns and offers; every decision
has 500 candidates of its own with odds. Decisions are made in this process without HTTP, on one core, the log's thread
beside them; a decision's time is that of its facts' reading, weighing, placing and noting, so all but the encoding of
the answer.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.frame import frame, load, machine, write
from configs.clock import FixedClock
from configs.settings import load_settings
from pipelines import snapshot
from pipelines.offers.decide import Ask, decide
from pipelines.offers.explore import seed_of
from pipelines.offers.facts import Facts
from pipelines.offers.log.decision_log import DecisionLog
from pipelines.offers.log.record import Asked
from pipelines.offers.log.replay import find_record, replay
from pipelines.offers.view import View, open_view
from pipelines.packed import ODDS, REASONS, Ranked
from pipelines.signals.ingest import ingest
from pipelines.signals.lake.lake import Lake
from state.decisions import new_id, open_decisions

COMMAND = ".venv/bin/python benchmarks/decide.py --out benchmarks/results"
NOW = datetime(2026, 6, 1, tzinfo=UTC)
ITEMS, STORES, MAKERS, CAMPAIGNS, OFFERS = 100_000, 20, 1_500, 200, 20_000
CANDIDATES, COUNT, SHOPPERS, DECISIONS, REPLAYED = 500, 10, 200, 5_000, 200


def write_shop(folder: Path, chance: np.random.Generator) -> None:
    folder.mkdir()
    items = [f"item-{number:06d}" for number in range(ITEMS)]
    price = np.round(chance.lognormal(1.5, 0.7, ITEMS), 2) + 0.5
    discounted = chance.choice(ITEMS, OFFERS, replace=False)
    stocked = [np.flatnonzero(chance.random(ITEMS) < 0.8) for _ in range(STORES)]
    tables = {
        "items": pl.DataFrame(
            {
                "item_id": items,
                "title": items,
                "brand": [f"brand-{code}" for code in chance.integers(0, 2000, ITEMS)],
                "maker_id": [f"maker-{code}" for code in chance.integers(0, MAKERS, ITEMS)],
                "category": [f"D{code % 20}/G{code % 100}/C{code}" for code in chance.integers(0, 300, ITEMS)],
                "price": price,
                "cost": np.round(price * chance.uniform(0.5, 0.9, ITEMS), 2),
            }
        ),
        "makers": pl.DataFrame(
            {
                "maker_id": [f"maker-{code}" for code in range(MAKERS)],
                "since": [NOW - timedelta(days=int(days)) for days in chance.integers(20, 4000, MAKERS)],
            }
        ),
        "stores": pl.DataFrame({"store_id": [f"s{number}" for number in range(STORES)]}),
        "stock": pl.DataFrame(
            {
                "store_id": np.repeat([f"s{number}" for number in range(STORES)], [len(held) for held in stocked]),
                "item_id": np.array(items)[np.concatenate(stocked)],
                "units": 5.0,
                "as_of": NOW - timedelta(days=1),
            }
        ),
        "campaigns": pl.DataFrame(
            {"campaign_id": [f"c{code}" for code in range(CAMPAIGNS)], "budget": 1000.0,
             "starts": NOW - timedelta(days=9), "ends": NOW + timedelta(days=9)}
        ),
        "offers": pl.DataFrame(
            {
                "offer_id": [f"o{code}" for code in range(OFFERS)],
                "item_id": np.array(items)[discounted],
                "campaign_id": [f"c{code}" for code in chance.integers(0, CAMPAIGNS, OFFERS)],
                "discount": chance.choice([0.1, 0.2, 0.3], OFFERS),
            }
        ),
        "interactions": pl.DataFrame(
            {
                "shopper_id": [f"shopper-{code}" for code in chance.integers(0, 2000, 100_000)],
                "item_id": np.array(items)[(chance.pareto(1.0, 100_000) * 300).astype(int) % ITEMS],
                "event_type": "purchase",
                "event_time": [NOW - timedelta(minutes=int(age)) for age in chance.integers(1, 100_000, 100_000)],
                "store_id": [f"s{code}" for code in chance.integers(0, STORES, 100_000)],
                "event_id": [str(code) for code in range(100_000)],
            }
        ),
    }  # fmt: skip
    for name, table in tables.items():
        table.write_parquet(folder / f"{name}.parquet")


def candidates(chance: np.random.Generator) -> Ranked:
    """A shopper's own, with plausible odds: a visit sells few of them, showing and a discount more."""
    unshown = chance.normal(-4, 1, CANDIDATES)
    odds = np.stack(
        [unshown, unshown + chance.uniform(0, 1, CANDIDATES), chance.uniform(0, 3, CANDIDATES),
         chance.uniform(0.5, 1, CANDIDATES), chance.uniform(0, 0.1, CANDIDATES)], axis=1
    )  # fmt: skip
    assert odds.shape == (CANDIDATES, ODDS)
    scores = np.sort(chance.random(CANDIDATES))[::-1].astype(np.float32)
    reasons = chance.integers(0, len(REASONS), CANDIDATES).astype(np.uint8)
    items = chance.choice(ITEMS, CANDIDATES, replace=False).astype(np.int32)
    return Ranked(items, scores, reasons, odds.astype(np.float16))


def percentiles(seconds: list[float]) -> dict[str, float]:
    values = np.array(seconds) * 1e3
    return {f"p{q}": round(float(np.percentile(values, q)), 3) for q in (50, 90, 99, 99.9)}


def measure(view: View, folder: Path, *, personal: bool) -> dict[str, object]:
    chance = np.random.default_rng(2)
    lists = [candidates(chance) for _ in range(SHOPPERS)]
    facts = Facts(shadow={f"c{code}": float(code % 3) / 2 for code in range(0, CAMPAIGNS, 4)})
    counted: dict[str, int] = {}
    engine = open_decisions(f"sqlite:///{folder / 'decisions.db'}")
    log = DecisionLog(
        engine, b"k" * 32, clock=FixedClock(NOW), keep_days=1, forgotten=lambda _: set(), capacity=DECISIONS + 100,
        count=lambda outcome, rows: counted.update({outcome: counted.get(outcome, 0) + rows}),
    )  # fmt: skip
    log.start()
    deciding, noting, both, used, ids = [], [], [], [], []
    for number in range(-100, DECISIONS):  # the first warm up
        who = f"shopper-{number % SHOPPERS}"
        ask = Ask("entrance", f"s{number % STORES}", COUNT, who if personal else None)
        moment = NOW + timedelta(seconds=max(0, number))
        begun, working = time.perf_counter(), time.thread_time()
        seed = seed_of(b"k" * 32, who, "entrance", moment, 10)
        slate = decide(view, ask, moment, facts=facts, seed=seed, live=lists[number % SHOPPERS] if personal else None)
        decided = time.perf_counter()
        names = [card["item_id"] for card in view.shop.cards([one.place for one in slate.items])]
        name = new_id(moment)
        ready = time.perf_counter()
        log.note(Asked(name, moment), view, ask, slate, names)
        noted, worked = time.perf_counter(), time.thread_time()
        if number >= 0:
            assert len(slate.items) == COUNT
            ids.append(name)
            deciding.append(decided - begun)
            noting.append(noted - ready)
            both.append(noted - begun)
            used.append(worked - working)
    assert log.flush(120)
    log.close()
    again = [replay(find_record(engine, name)).agrees for name in ids[:: DECISIONS // REPLAYED]]
    size = sum(file.stat().st_size for file in folder.glob("*.db"))
    return {
        "decide_ms": percentiles(deciding),
        "note_ms": percentiles(noting),
        "decided_and_noted_ms": percentiles(both),
        "cpu_ms_of_it_and_the_names": percentiles(used),
        "bytes_a_decision_on_disk": round(size / DECISIONS),
        "counted": counted,
        "replayed": len(again),
        "agree": sum(map(bool, again)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="folder of a dated result file")
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as made:
        root = Path(made)
        write_shop(root / "shop", np.random.default_rng(1))
        settings = load_settings(home=root / "home")
        ingest(root / "shop", settings.paths, clock=FixedClock(NOW), settings=settings, progress=lambda _: None)
        snapshot.refresh_shop(settings.paths, Lake(settings.paths), settings, now=NOW, progress=lambda _: None)
        view = open_view(settings.paths)
        assert view is not None
        gc.freeze()
        figures = {}
        for kind, personal in (("a known shopper", True), ("nobody in particular", False)):
            (root / kind).mkdir()
            figures[kind] = measure(view, root / kind, personal=personal)
    result = {
        **frame("decide", COMMAND, "numpy", "scipy", "orjson", "sqlalchemy", where=machine("one of them used", load())),
        "simulated": True,
        "items": ITEMS,
        "candidates": CANDIDATES,
        "slots": COUNT,
        "decisions": DECISIONS,
        **figures,
    }
    print(json.dumps(result, indent=1))
    write(result, "decide", options.out)


if __name__ == "__main__":
    main()
