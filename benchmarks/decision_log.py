"""What the log of decisions costs: microseconds a request, rows a second of the writer, bytes a row.

Run it: .venv/bin/python benchmarks/decision_log.py --home HOME --out benchmarks/results
HOME is a home with a shop and a champion (`facings demo --headless`, or an ingest and a retraining). Decisions are made
in this process without HTTP, the log's thread beside them, as in the server; the log goes to a folder of its own.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

import numpy as np

from benchmarks.frame import frame, load, machine, write
from configs.clock import FixedClock
from configs.settings import load_settings
from pipelines.offers.decide import Ask, decide
from pipelines.offers.log.decision_log import DecisionLog
from pipelines.offers.log.record import Asked
from pipelines.offers.log.replay import find_record, replay
from pipelines.offers.view import View, open_view
from pipelines.signals.lake.lake import Lake
from state.decisions import new_id, open_decisions
from state.scrub import scrub

COMMAND = ".venv/bin/python benchmarks/decision_log.py --home HOME --out benchmarks/results"
REQUESTS, REPLAYED, COUNT = 20_000, 500, 10


def percentiles(seconds: list[float]) -> dict[str, float]:
    values = np.array(seconds) * 1e6
    return {f"p{q}": round(float(np.percentile(values, q)), 1) for q in (50, 90, 99)}


def measure(view: View, asks: list[Ask], moment: datetime, folder: Path) -> dict[str, object]:
    counted: dict[str, int] = {}
    engine = open_decisions(f"sqlite:///{folder / 'decisions.db'}")
    log = DecisionLog(
        engine, b"k" * 32, clock=FixedClock(moment), keep_days=1, forgotten=lambda _: set(), capacity=REQUESTS,
        count=lambda outcome, rows: counted.update({outcome: counted.get(outcome, 0) + rows}),
    )  # fmt: skip
    log.start()
    deciding, noting, ids = [], [], []
    started, used = time.perf_counter(), time.process_time()
    for number in range(REQUESTS):
        ask = asks[number % len(asks)]
        begun = time.perf_counter()
        slate = decide(view, ask, moment)
        decided = time.perf_counter()
        names = [card["item_id"] for card in view.shop.cards([one.place for one in slate.items])]
        ids.append(new_id(moment))
        ready = time.perf_counter()
        log.note(Asked(ids[-1], moment), view, ask, slate, names)
        noting.append(time.perf_counter() - ready)
        deciding.append(decided - begun)
    log.flush(120)
    wall, cpu = time.perf_counter() - started, time.process_time() - used
    log.close()
    scrub(engine)  # the write-ahead log is in the file by then
    begun = time.perf_counter()
    agrees = sum(bool(replay(find_record(engine, name)).agrees) for name in ids[:: REQUESTS // REPLAYED])
    replaying = (time.perf_counter() - begun) / REPLAYED
    size = sum(file.stat().st_size for file in folder.glob("*.db"))
    return {
        "decide_us": percentiles(deciding),
        "note_us": percentiles(noting),
        "cpu_us_a_request_all_in": round(cpu / REQUESTS * 1e6, 1),
        "decided_and_written_a_second": round(REQUESTS / wall),
        "bytes_a_row_on_disk": round(size / REQUESTS),
        "counted": counted,
        "replayed": REPLAYED,
        "agree": agrees,
        "replay_ms": round(replaying * 1000, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, default=Path("var"), help="a home with a shop and a champion")
    parser.add_argument("--out", type=Path, help="folder of a dated result file")
    options = parser.parse_args()
    settings = load_settings(home=options.home)
    view, lake = open_view(settings.paths), Lake(settings.paths)
    moment = lake.latest_event_time()
    if view is None or moment is None:
        sys.exit(f"{options.home} holds nothing to serve: run `facings demo --headless` first and give its home.")
    shoppers = sorted(lake.read("shoppers", ["shopper_id"])["shopper_id"])
    store = next(iter(view.shop.stores), None)
    gc.freeze()
    figures = {}
    for kind, asks in (
        ("known shoppers", [Ask("aisle", store, COUNT, shopper) for shopper in shoppers]),
        ("nobody in particular", [Ask("aisle", store, COUNT)]),
    ):
        with tempfile.TemporaryDirectory() as folder:
            figures[kind] = measure(view, asks, moment, Path(folder))
    result = {
        **frame("decision_log", COMMAND, "sqlalchemy", "orjson", "numpy", "lmdb", where=machine(load())),
        "requests": REQUESTS,
        "items_in_the_shop": view.shop.size,
        **figures,
    }
    print(json.dumps(result, indent=1))
    write(result, "decision_log", options.out)


if __name__ == "__main__":
    main()
