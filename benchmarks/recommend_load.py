"""`:recommend` under load: requests a second, latency at a stated rate, and Feast's own feature server beside it.

Run it: .venv/bin/python benchmarks/recommend_load.py --out benchmarks/results
It makes a shop of 100,000 items at random in a temporary home, with stock, offers, costs and slates that carry odds,
and starts `facings serve` with one worker. The client keeps to one core and the server to the other. A closed loop over
CONNECTIONS connections measures requests a second; an open loop at RATE requests a second measures latency from the
moment each request was due: first with questions that the server does not remember, then with a thousand that it does.
What became of the records of all these decisions is counted.
Then Feast's feature server answers from the same home's online store, through the same client: one shopper's features a
request (the service `shopper`), and that shopper's features of as many candidates as a
slate is chosen from (`shopper_item`).
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import pandas as pd
import uvloop

from benchmarks.frame import frame, machine, write
from configs.settings import Settings, load_settings

COMMAND = ".venv/bin/python benchmarks/recommend_load.py --out benchmarks/results"
ITEMS, SHOPPERS, STORES, PURCHASES, OFFERS = 100_000, 10_000, 20, 100_000, 5_000
CANDIDATES, COUNT, CONNECTIONS = 100, 10, 32
ASKED_AGAIN = 1_000
RATE, SECONDS, WARM_SECONDS = 500.0, 20.0, 30.0  # beside the server Feast is imported for its live features
GOAL = {"requests_per_second": 1_500, "p99_ms_at_500": 10, "times_feast": 5}


def make_home(folder: Path) -> Settings:
    """A shop with a published model; its odds are drawn at random, for they cost the same whatever they say."""
    from models.dataset import Dataset
    from models.registry import create
    from pipelines import snapshot
    from pipelines.signals.feature_store.materialise import materialise
    from pipelines.signals.ingest import ingest
    from pipelines.signals.lake.lake import Lake
    from pipelines.training.dataset import signals

    settings, random, now = load_settings(home=folder / "home"), np.random.default_rng(1), datetime.now(UTC)
    shop = folder / "shop"
    shop.mkdir()
    item = random.zipf(1.2, PURCHASES) % ITEMS
    shopper = random.integers(SHOPPERS, size=PURCHASES)
    pd.DataFrame(
        {
            "shopper_id": [f"shopper-{one}" for one in shopper],
            "item_id": [f"item-{one}" for one in item],
            "store_id": [f"store-{one}" for one in shopper % STORES],
            "event_type": "purchase",
            "event_time": [now - timedelta(seconds=float(age)) for age in 60 + random.random(PURCHASES) * 90 * 86_400],
        }
    ).to_parquet(shop / "interactions.parquet", index=False)
    codes = np.arange(ITEMS)
    price = np.round(1 + random.random(ITEMS) * 20, 2)
    pd.DataFrame(
        {
            "item_id": [f"item-{one}" for one in codes],
            "title": [f"Item {one}" for one in codes],
            "brand": [f"brand-{one % 3_000}" for one in codes],
            "maker_id": [f"maker-{one % 5_000}" for one in codes],
            "category": [f"root-{one % 20}/middle-{one % 200}/leaf-{one % 2_000}" for one in codes],
            "price": price,
            "cost": np.round(price * 0.6, 2),
        }
    ).to_parquet(shop / "items.parquet", index=False)
    pd.DataFrame({"store_id": [f"store-{one}" for one in range(STORES)]}).to_parquet(shop / "stores.parquet")
    held = [np.flatnonzero(random.random(ITEMS) < 0.6) for _ in range(STORES)]
    pd.DataFrame(
        {
            "store_id": np.repeat([f"store-{one}" for one in range(STORES)], [len(some) for some in held]),
            "item_id": [f"item-{one}" for one in np.concatenate(held)],
            "units": 10,
            "as_of": now - timedelta(hours=1),
        }
    ).to_parquet(shop / "stock.parquet", index=False)
    pd.DataFrame(
        {
            "offer_id": [f"offer-{one}" for one in range(OFFERS)],
            "item_id": [f"item-{one}" for one in random.choice(2_000, OFFERS // 5, replace=False).repeat(5)[:OFFERS]],
            "discount": np.tile([0.05, 0.1, 0.15, 0.2, 0.25], OFFERS // 5),
        }
    ).to_parquet(shop / "offers.parquet", index=False)
    ingest(shop, settings.paths, clock=settings.clock(), settings=settings, progress=_quiet)
    lake = Lake(settings.paths)
    snapshot.refresh_shop(settings.paths, lake, settings, now=now, progress=_quiet)
    as_of = pd.Timestamp(now)
    model = create("personal_frequency").fit(Dataset.build(signals(lake, ("purchase",), as_of), as_of=as_of))
    built = build(settings, model)
    snapshot.switch(settings.paths, "slates", built)
    materialise(settings, lake, as_of=[as_of], clock=settings.clock(), progress=_quiet)
    return settings


def build(settings: Settings, model: Any) -> str:
    """Slates of the model, with odds drawn at random beside each candidate."""
    from unittest.mock import patch

    from pipelines import slates_snapshot, snapshot
    from pipelines.packed import ODDS, Ranked, pack

    random = np.random.default_rng(2)

    def with_odds(ranked: Ranked) -> bytes:
        shown = random.normal(-2.0, 1.0, len(ranked))
        odds = np.stack(
            [shown - 0.7, shown, random.gamma(2.0, 1.0, len(ranked)), random.random(len(ranked)),
             0.1 * random.random(len(ranked))], axis=1
        )  # fmt: skip
        assert odds.shape[1] == ODDS
        return pack(Ranked(ranked.items, ranked.scores, ranked.reasons, odds.astype(np.float16)))

    with patch.object(slates_snapshot, "pack", with_odds):
        return snapshot.build_slates(
            settings.paths, model, version="1", recipe="personal_frequency", candidates=CANDIDATES, progress=_quiet
        )


def _quiet(_: str) -> None:
    """Progress that nobody reads."""


@contextmanager
def process(command: list[str], home: Path, port: int, ready: str) -> Iterator[None]:
    """A server on the second core; ends with the block."""
    beside = subprocess.Popen(
        ["taskset", "-c", "1", *command],
        env={**os.environ, "FACINGS_HOME": str(home), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        limit = time.monotonic() + 120
        while True:
            try:
                if httpx.get(f"http://127.0.0.1:{port}{ready}").status_code == 200:
                    break
            except httpx.HTTPError:
                assert time.monotonic() < limit, "the server did not start"
            time.sleep(0.2)
        yield
    finally:
        beside.terminate()
        beside.wait(20)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class Connection(asyncio.Protocol):
    """One connection that is kept open; one request at a time."""

    def __init__(self) -> None:
        self._parts, self._wanted = b"", 0
        self.answer: asyncio.Future[bytes] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what requests are written to."""
        self._transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        """An answer that did not come is an error."""
        if self.answer is not None and not self.answer.done():
            self.answer.set_exception(error or ConnectionError("the server closed the connection"))

    def ask(self, request: bytes) -> asyncio.Future[bytes]:
        """Send a request; the future ends with the whole answer."""
        self._parts, self._wanted = b"", 0
        self.answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)  # type: ignore[attr-defined]
        return self.answer

    def data_received(self, data: bytes) -> None:
        """Gather the answer."""
        self._parts += data
        if not self._wanted:
            end = self._parts.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self._parts[:end].lower()
            length = re.search(rb"content-length: (\d+)", head)
            if not head.startswith(b"http/1.1 200") or not length:
                if self.answer is not None:
                    self.answer.set_exception(AssertionError(self._parts[:500]))
                return
            self._wanted = end + 4 + int(length.group(1))
        if len(self._parts) >= self._wanted and self.answer is not None:
            self.answer.set_result(self._parts)
            self.answer = None


def request_of(path: str, body: dict[str, Any]) -> bytes:
    """A POST request as bytes."""
    content = orjson.dumps(body)
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


async def _connections(port: int) -> list[Connection]:
    loop = asyncio.get_running_loop()
    return [(await loop.create_connection(Connection, "127.0.0.1", port))[1] for _ in range(CONNECTIONS)]


async def closed_loop(port: int, request: Callable[[int], bytes], seconds: float) -> float:
    """Answers a second, every connection sending its next request as soon as it has an answer."""
    start = time.perf_counter()
    done = 0

    async def one(connection: Connection) -> None:
        nonlocal done
        while time.perf_counter() - start < seconds:
            await connection.ask(request(done))
            done += 1

    await asyncio.gather(*map(one, await _connections(port)))
    return done / (time.perf_counter() - start)


async def open_loop(port: int, request: Callable[[int], bytes], seconds: float, rate: float) -> list[float]:
    """Seconds from the moment each request was due to its answer, however long the answers before it took."""
    free: asyncio.Queue[Connection] = asyncio.Queue()
    for connection in await _connections(port):
        free.put_nowait(connection)
    start = time.perf_counter() + 0.1
    taken: list[float] = []

    async def one(number: int) -> None:
        due = start + number / rate
        connection = await free.get()
        await connection.ask(request(number))
        taken.append(time.perf_counter() - due)
        free.put_nowait(connection)

    waiting = set()
    for number in range(int(seconds * rate)):
        await asyncio.sleep(max(0.0, start + number / rate - time.perf_counter()))
        task = asyncio.create_task(one(number))
        waiting.add(task)
        task.add_done_callback(waiting.discard)
    await asyncio.gather(*waiting)
    return taken


def facings_request(number: int) -> bytes:
    """One shopper's slate at the entrance; nobody asks twice in one store before all were asked in all of them."""
    who, store = number * 7_919 % SHOPPERS, (number + number // SHOPPERS) % STORES
    body = {"shopper_id": f"shopper-{who}", "store_id": f"store-{store}", "count": COUNT}
    return request_of("/v1/placements/entrance:recommend", body)


def asked_again_request(number: int) -> bytes:
    """The same of few shoppers, so that most questions were asked before within the time of a draw."""
    return facings_request(number % ASKED_AGAIN)


def feast_request(number: int) -> bytes:
    """One shopper's features, as the recommenders read them."""
    who = f"shopper-{number * 7_919 % SHOPPERS}"
    return request_of("/get-online-features", {"feature_service": "shopper", "entities": {"shopper_id": [who]}})


def feast_candidates_request(number: int) -> bytes:
    """What a shopper has to do with each of the candidates of a slate."""
    who, items = number * 7_919 % SHOPPERS, [f"item-{number * 31 % ITEMS + one}" for one in range(CANDIDATES)]
    entities = {"shopper_id": [f"shopper-{who}"] * CANDIDATES, "item_id": items}
    return request_of("/get-online-features", {"feature_service": "shopper_item", "entities": entities})


def recorded(port: int) -> dict[str, int]:
    """How many slates were answered and what became of their records, once none waits to be written."""
    before: dict[str, int] = {}
    while True:
        time.sleep(1.0)
        told = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=60).text
        found = re.findall(r'^facings_decisions_total\{outcome="(\w+)"\} ([\d.e+]+)', told, re.MULTILINE)
        slates = re.findall(r"^facings_recommendations_total\{.*\} ([\d.e+]+)", told, re.MULTILINE)
        now = {"answered": sum(int(float(count)) for count in slates)}
        now |= {outcome: int(float(count)) for outcome, count in found}
        if now == before:
            return now
        before = now


def measure(port: int, request: Callable[[int], bytes], seconds: float) -> tuple[float, float, list[float]]:
    """Answers a second of the closed loop; the open loop's rate, RATE or six tenths of that; its latencies."""
    numbers = itertools.count()  # goes on from loop to loop, so that none asks again what one before it asked

    def following(_: int) -> bytes:
        return request(next(numbers))

    uvloop.run(closed_loop(port, following, WARM_SECONDS))
    answered = uvloop.run(closed_loop(port, following, seconds))
    rate = min(RATE, answered * 0.6)
    return answered, rate, uvloop.run(open_loop(port, following, seconds, rate))


def main() -> None:
    """Measure, print, and write a dated result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="folder of the dated result file")
    parser.add_argument("--keep", type=Path, help="make the home here and use it again")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--no-feast", action="store_true")
    arguments = parser.parse_args()
    folder = arguments.keep or Path(tempfile.mkdtemp(prefix="facings-load-"))
    try:
        if not (folder / "home").exists():
            folder.mkdir(exist_ok=True)
            make_home(folder)
        os.sched_setaffinity(0, {0})
        port, home = free_port(), folder / "home"
        command = [sys.executable, "-m", "cli.main", "serve", "--port", str(port)]
        with process(command, home, port, "/health/ready"):
            answered, at, taken = measure(port, facings_request, arguments.seconds)
            uvloop.run(closed_loop(port, asked_again_request, 3))
            again = uvloop.run(closed_loop(port, asked_again_request, arguments.seconds))
            again_taken = uvloop.run(open_loop(port, asked_again_request, arguments.seconds, RATE))
            records = recorded(port)
        result: dict[str, Any] = {
            **frame(
                "recommend_load",
                COMMAND,
                "fastapi",
                "uvicorn",
                "uvloop",
                "feast",
                "numpy",
                where=machine("client on one, server on the other"),
            ),
            "shop": {
                "items": ITEMS,
                "shoppers": SHOPPERS,
                "stores": STORES,
                "offers": OFFERS,
                "candidates": CANDIDATES,
            },
            "recommend": {
                "requests_per_second": round(answered),
                "at": round(at),
                "p50_ms": round(float(np.percentile(taken, 50)) * 1e3, 2),
                "p99_ms": round(float(np.percentile(taken, 99)) * 1e3, 2),
                "max_ms": round(max(taken) * 1e3, 2),
                "n": len(taken),
            },
            "asked_again": {
                "questions": ASKED_AGAIN,
                "requests_per_second": round(again),
                "at": RATE,
                "p50_ms": round(float(np.percentile(again_taken, 50)) * 1e3, 2),
                "p99_ms": round(float(np.percentile(again_taken, 99)) * 1e3, 2),
            },
            "records": records,
            "goal": GOAL,
        }
        if not arguments.no_feast:
            port = free_port()
            feast = [str(Path(sys.executable).with_name("feast")), "-c", str(home / "features")]
            with process(
                [*feast, "serve", "--port", str(port), "--no-access-log", "--max-requests", "0"], home, port, "/health"
            ):
                theirs, rate, slow = measure(port, feast_request, arguments.seconds)
                candidates = uvloop.run(closed_loop(port, feast_candidates_request, arguments.seconds))
            result["feast_serve"] = {
                "requests_per_second": round(theirs),
                "at": round(rate),
                "p99_ms": round(float(np.percentile(slow, 99)) * 1e3, 2),
                "requests_per_second_of_all_candidates": round(candidates, 1),
            }
            result["times_feast"] = round(answered / theirs, 1)
            result["times_feast_of_all_candidates"] = round(answered / candidates, 1)
        print(json.dumps(result, indent=1))
        write(result, "recommend_load", arguments.out)
    finally:
        if not arguments.keep:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
