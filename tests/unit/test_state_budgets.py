"""Money of campaigns in the database: a sale counts once, a price is moved by one, and nothing is half written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import pytest

from pipelines.offers.budgets.pacing import Price
from state import budgets
from state.budgets import Sale
from state.engine import Engine, open_engine
from state.events import append_batches, count_waiting

NOW = datetime(2026, 5, 4, tzinfo=UTC)


@pytest.fixture
def engine(state_uri: str) -> Engine:
    return open_engine(state_uri)


def test_a_sale_counts_once_by_whichever_way_it_is_told(engine: Engine) -> None:
    sales = [Sale(f"e{number}", ("spring", "summer")[number % 2], 10) for number in range(1100)]
    assert budgets.add_sales(engine, [*sales, sales[0]]) == 1100
    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(lambda _: budgets.add_sales(engine, [*sales, Sale("late", "spring", 5)]), range(8))) == 1
    assert budgets.spent(engine) == {"spring": 5505, "summer": 5500}


def event(name: str) -> dict[str, Any]:
    return {"event_id": name, "shopper_id": "s", "item_id": "i", "event_type": "purchase"}


def test_events_and_the_money_they_took_are_kept_together_or_not_at_all(engine: Engine) -> None:
    def sold(rows: Sequence[dict[str, Any]]) -> list[Sale]:
        return [Sale(row["event_id"], "spring", 7) for row in rows]

    for _ in range(2):
        append_batches(
            engine, [[event("a"), event("b")], [event("a")]], NOW, lambda c, r: budgets.note_sales(c, sold(r))
        )
    assert budgets.spent(engine) == {"spring": 14}

    def fails(*_: object) -> None:
        raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError):
        append_batches(engine, [[event("c")]], NOW, fails)
    assert count_waiting(engine) == 2 and budgets.spent(engine) == {"spring": 14}


def test_commitments_add_up_over_processes_and_are_folded_when_due(engine: Engine) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(
            pool.map(
                lambda _: budgets.add_commitments(engine, {("spring", 600): (1, 2.5, 4.0)}, {(3, 14): 2}), range(20)
            )
        )
    assert budgets.commitments(engine) == {"spring": [(600, 20, 50.0, 80.0)]}
    assert budgets.traffic(engine, 0, 4) == {14: 40} and budgets.traffic(engine, 4, 9) == {}
    budgets.fold_commitments(engine, 601)
    budgets.add_commitments(engine, {("spring", 900): (1, 1.0, 1.0)}, {})
    budgets.fold_commitments(engine, 901)
    assert budgets.commitments(engine) == {"spring": [(0, 21, 51.0, 81.0)]}
    budgets.drop_traffic(engine, 4)
    assert budgets.traffic(engine, 0, 9) == {}


def test_one_of_several_processes_moves_a_price(engine: Engine) -> None:
    for before, after in ((0, 5), (5, 9)):
        moves = [asdict(Price(price=float(number), at=after)) for number in range(8)]
        with ThreadPoolExecutor(8) as pool:
            done = list(pool.map(lambda to, at=before: budgets.move_price(engine, "spring", at, to), moves))
        assert sum(done) == 1
        assert budgets.prices(engine)["spring"] == moves[done.index(True)]


WRITER = """
import sys
from state import budgets
from state.engine import open_engine
engine = open_engine(sys.argv[1])
for number in range(10**6):
    budgets.add_sales(engine, [budgets.Sale(f"e{number}-{half}", "spring", 3) for half in range(2)])
    print(number, flush=True)
"""


def test_a_writer_that_is_killed_leaves_whole_sales(engine: Engine, state_uri: str) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, state_uri], stdout=subprocess.PIPE, text=True, env={**os.environ}
    )
    assert writer.stdout is not None
    told = [writer.stdout.readline() for _ in range(30)]
    writer.send_signal(signal.SIGKILL)
    last = [*told, *writer.stdout.readlines()][-1]
    writer.wait()
    spent = budgets.spent(engine)["spring"]
    assert spent % 6 == 0 and spent >= 6 * (int(last) + 1), "what was told is kept, and pairs are whole"
    again = [Sale(f"e{number}-{half}", "spring", 3) for number in range(int(last) + 1) for half in range(2)]
    assert budgets.add_sales(engine, again) == 0
