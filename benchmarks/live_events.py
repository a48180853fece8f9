"""Events over HTTP: acknowledged a second, how fresh the live features are at that load, and what a kill -9 loses.

Run it: .venv/bin/python benchmarks/live_events.py --out benchmarks/results
It makes a shop at random in a temporary home, trains the recommender blend on it, and starts `facings serve` with one
worker. Batches of 100 are sent from another process over several connections: first RATE events a second, while
unknown shoppers post one event each and ask for a slate until it counts; then as fast as answers come; then the server
is killed with SIGKILL in the middle, started again, and sent everything that it had acknowledged.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import pandas as pd

from benchmarks.frame import frame, machine, write
from configs.settings import load_settings

COMMAND = ".venv/bin/python benchmarks/live_events.py --out benchmarks/results"
BATCH, CONNECTIONS, RATE = 100, 8, 5_000
SHOPPERS, ITEMS, PURCHASES = 5_000, 2_000, 100_000
PACED_SECONDS, FULL_SECONDS, KILL_SECONDS = 20.0, 10.0, 4.0
PROBE_SECONDS = 0.25
GOAL = {"acknowledged_per_second": 5_000, "fresh_within_seconds": 1.0, "lost": 0}


def make_home(folder: Path) -> None:
    """A shop with a published champion that can fold in."""
    from models.dataset import Dataset
    from models.registry import create
    from pipelines import snapshot
    from pipelines.signals.ingest import ingest
    from pipelines.signals.lake.lake import Lake
    from pipelines.training.dataset import signals

    settings, random, now = load_settings(home=folder / "home"), np.random.default_rng(1), datetime.now(UTC)
    ages = random.random(PURCHASES) * 60 * 86_400
    shopper, item = random.integers(SHOPPERS, size=PURCHASES), random.zipf(1.3, PURCHASES) % ITEMS
    rows = pd.DataFrame(
        {
            "shopper_id": [f"shopper-{n}" for n in shopper],
            "item_id": [f"item-{n}" for n in item],
            "event_type": "purchase",
            "event_time": [now - timedelta(seconds=float(age) + 60) for age in ages],
        }
    )
    (folder / "shop").mkdir()
    rows.to_parquet(folder / "shop" / "interactions.parquet", index=False)
    clock = settings.clock()
    ingest(folder / "shop", settings.paths, clock=clock, settings=settings, progress=_quiet)
    lake = Lake(settings.paths)
    snapshot.refresh_shop(settings.paths, lake, settings, now=now, progress=_quiet)
    as_of = pd.Timestamp(now)
    model = create("blend").fit(Dataset.build(signals(lake, ("purchase",), as_of), as_of=as_of))
    built = snapshot.build_slates(settings.paths, model, version="1", recipe="blend", candidates=100, progress=_quiet)
    snapshot.switch(settings.paths, "slates", built)


def _quiet(_: str) -> None:
    """Progress that nobody reads."""


def event(shopper: str, item: str, moment: str) -> dict[str, str]:
    """A look at an item."""
    return {"shopper_id": shopper, "item_id": item, "event_type": "view", "event_time": moment}


class Server:
    """`facings serve` on a home."""

    def __init__(self, home: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.base = f"http://127.0.0.1:{self.port}"
        command = [sys.executable, "-m", "cli.main", "serve", "--port", str(self.port)]
        self._process = subprocess.Popen(
            command, env={**os.environ, "FACINGS_HOME": str(home)}, stderr=subprocess.DEVNULL
        )
        limit = time.monotonic() + 180
        while not self._pushes():
            assert time.monotonic() < limit, "the server did not start"
            time.sleep(0.2)

    def _pushes(self) -> bool:
        """Whether it answers and has pushed the features of an event."""
        try:
            row = event("shopper-0", "item-1", datetime.now(UTC).isoformat())
            httpx.post(f"{self.base}/v1/events:batch", json={"events": [row]}).raise_for_status()
            told = httpx.get(f"{self.base}/metrics").text
        except httpx.HTTPError:
            return False
        took = re.search(r"^facings_live_push_seconds (\S+)$", told, re.MULTILINE)
        return took is not None and float(took.group(1)) > 0

    def cpu_seconds(self) -> tuple[float, float]:
        """Of the server, and of the process that pushes features."""
        own = _cpu(self._process.pid)
        tasks = Path(f"/proc/{self._process.pid}/task").glob("*/children")
        children = [child for task in tasks for child in task.read_text().split()]
        return own, sum(_cpu(int(child)) for child in children)

    def kill(self) -> None:
        """End it as a power cut would."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        """End it as Ctrl-C does."""
        self._process.terminate()
        self._process.wait(20)


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Sender:
    """Keeps connections busy with batches; remembers what was acknowledged."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._random = np.random.default_rng(os.getpid())
        self.acknowledged: list[str] = []
        self.seconds: list[float] = []

    def request(self) -> tuple[list[str], bytes]:
        """A batch's ids and the HTTP request that sends it."""
        now = datetime.now(UTC).isoformat()
        ids = [uuid.uuid4().hex for _ in range(BATCH)]
        shoppers, items = self._random.integers(SHOPPERS, size=BATCH), self._random.integers(ITEMS, size=BATCH)
        rows = [
            event(f"shopper-{who}", f"item-{what}", now) | {"event_id": name}
            for name, who, what in zip(ids, shoppers.tolist(), items.tolist(), strict=True)
        ]
        content = orjson.dumps({"events": rows})
        head = "POST /v1/events:batch HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        return ids, f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content

    async def run(self, seconds: float, rate: float | None) -> float:
        """Send for so long, `rate` events a second (None: as fast as answers come); return the seconds it took."""
        start = time.perf_counter()
        self._turn = 0

        async def one() -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            while time.perf_counter() - start < seconds:
                if rate is not None:
                    due = start + self._turn * BATCH / rate
                    self._turn += 1
                    await asyncio.sleep(max(0.0, due - time.perf_counter()))
                ids, content = self.request()
                sent = time.perf_counter()
                writer.write(content)
                answer = await _answer(reader)
                if answer is None:
                    return
                assert answer == {"accepted": BATCH, "duplicates": 0, "rejected": []}, answer
                self.acknowledged += ids
                self.seconds.append(time.perf_counter() - sent)

        await asyncio.gather(*(one() for _ in range(CONNECTIONS)), return_exceptions=False)
        return time.perf_counter() - start


async def _answer(reader: asyncio.StreamReader) -> Any:
    """The JSON of the next answer; None where the connection ended."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(re.search(rb"content-length: (\d+)", head, re.IGNORECASE).group(1))  # type: ignore[union-attr]
        return orjson.loads(await reader.readexactly(length))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


def _send(port: int, seconds: float, rate: float | None, told: Connection) -> None:
    sender = Sender(port)
    told.send("ready")
    took = asyncio.run(sender.run(seconds, rate))
    told.send((sender.acknowledged, sender.seconds, took))


def send(server: Server, seconds: float, rate: float | None) -> tuple[Any, Connection]:
    """Begin to send from another process."""
    here, there = get_context("spawn").Pipe()
    process = get_context("spawn").Process(target=_send, args=(server.port, seconds, rate, there))
    process.start()
    assert here.recv() == "ready"
    return process, here


def probe(server: Server, seconds: float) -> tuple[list[float], list[str]]:
    """Unknown shoppers post one event; seconds until their slate is made of it, one after another."""
    taken, names, end = [], [], time.monotonic() + seconds
    with httpx.Client(base_url=server.base, timeout=20) as client:
        while time.monotonic() < end:
            shopper = f"probe-{uuid.uuid4().hex}"
            row = event(shopper, "item-1", datetime.now(UTC).isoformat())
            sent = time.perf_counter()
            client.post("/v1/events:batch", json={"events": [row]}).raise_for_status()
            while not client.post("/v1/placements/aisle:recommend", json={"shopper_id": shopper}).json()["live"]:
                assert time.perf_counter() - sent < 30, "an event did not come to count"
            taken.append(time.perf_counter() - sent)
            names.append(shopper)
            time.sleep(PROBE_SECONDS)
    return taken, names


def pushed(home: Path, names: list[str]) -> list[float]:
    """Seconds from the probes' one event to the moment of their row in Feast's online store."""
    from features.store import FeatureStore

    found = FeatureStore(load_settings(home=home)).online("shopper_live", names)["session_minutes"] * 60
    assert found.notna().all(), "a pushed row is missing"
    return [float(value) for value in found]


def milliseconds(seconds: list[float]) -> dict[str, float]:
    values = np.array(seconds) * 1000
    return {"p50": round(float(np.percentile(values, 50)), 1), "p99": round(float(np.percentile(values, 99)), 1),
            "max": round(float(values.max()), 1), "n": len(values)}  # fmt: skip


def load(
    server: Server, seconds: float, rate: float | None, *, probes: bool
) -> tuple[dict[str, Any], list[str], list[str]]:
    process, told = send(server, seconds, rate)
    own, push = server.cpu_seconds()
    fresh, names = probe(server, seconds - 2) if probes else ([], [])
    acknowledged, batches, took = told.recv()
    process.join()
    own, push = (after - before for after, before in zip(server.cpu_seconds(), (own, push), strict=True))
    figures = {
        "acknowledged_per_second": round(len(acknowledged) / took),
        "acknowledged_per_cpu_second_of_the_server": round(len(acknowledged) / own),
        "server_cores": round(own / took, 2),
        "pushing_cores": round(push / took, 2),
        "batch_ms": milliseconds(batches),
    }
    if probes:
        figures["post_to_slate_ms"] = milliseconds(fresh)
    return figures, acknowledged, names


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="folder of a dated result file")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="facings-live-"))
    home = folder / "home"
    try:
        make_home(folder)
        server = Server(home)
        try:
            paced, first, names = load(server, PACED_SECONDS, RATE, probes=True)
            time.sleep(3)
            paced["post_to_feast_online_ms"] = milliseconds(pushed(home, names))
            full, second, _ = load(server, FULL_SECONDS, None, probes=False)
            process, told = send(server, 60.0, None)
            time.sleep(KILL_SECONDS)
        finally:
            server.kill()
        third, _, _ = told.recv()
        process.join()
        everything = [*first, *second, *third]
        server = Server(home)
        try:
            duplicates = again(server, everything)
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    result = {
        **frame("live_events", COMMAND, "starlette", "uvicorn", "orjson", "sqlalchemy", "feast",
                where=machine("client and server on the same")),
        "runnable_processes_a_core": round(os.getloadavg()[0] / (os.cpu_count() or 1), 1),
        "batch": BATCH,
        "connections": CONNECTIONS,
        "shoppers": SHOPPERS,
        f"at_{RATE}_a_second": paced,
        "at_full_speed": full,
        "kill": {"acknowledged": len(everything), "acknowledged_in_the_killed_load": len(third),
                 "known_again": duplicates, "lost": len(everything) - duplicates},
        "goal": GOAL,
    }  # fmt: skip
    print(json.dumps(result, indent=1))
    write(result, "live_events", options.out)


def again(server: Server, event_ids: list[str]) -> int:
    """Send everything once more; return how many the server knew."""
    row = event("shopper-1", "item-1", datetime.now(UTC).isoformat())
    known = 0
    with httpx.Client(base_url=server.base, timeout=60) as client:
        for start in range(0, len(event_ids), 1_000):
            rows = [{**row, "event_id": name} for name in event_ids[start : start + 1_000]]
            known += client.post("/v1/events:batch", json={"events": rows}).json()["duplicates"]
    return known


if __name__ == "__main__":
    main()
