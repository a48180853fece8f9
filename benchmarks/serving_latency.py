"""Latency of the server on loopback: an offer request at 50 a second, and a sighting until its `slate` event.

Run it: .venv/bin/python benchmarks/serving_latency.py --home HOME --out benchmarks/results
HOME is a home made by `facings demo` (its screen and its data are used, the data's own time is replayed). One server
process with one worker; the load is an open loop: requests leave on time, however long the answers before took.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import numpy as np

from benchmarks.frame import frame, machine, write
from configs.settings import load_settings
from identity.template import MODEL
from identity.vault import Vault
from pipelines.signals.lake.lake import Lake

COMMAND = ".venv/bin/python benchmarks/serving_latency.py --home HOME --out benchmarks/results"
RATE, SECONDS, WARM = 50.0, 20.0, 200
SIGHTINGS = 200
SCREEN = "demo-entrance"
LIMITS = {"recommend_p99_ms": 25, "sighting_p99_ms": 50}


async def open_loop(ask: Callable[[int], Awaitable[None]], count: int) -> list[float]:
    """Send `count` requests RATE a second; return the seconds from the moment each was due to its answer."""
    start = time.perf_counter()
    taken = [0.0] * count

    async def one(number: int) -> None:
        due = start + number / RATE
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        await ask(number)
        taken[number] = time.perf_counter() - due

    await asyncio.gather(*(one(number) for number in range(count)))
    return taken


async def recommend(client: httpx.AsyncClient, shoppers: list[str], store: str) -> list[float]:
    async def ask(number: int) -> None:
        body = {"shopper_id": shoppers[number % len(shoppers)], "store_id": store, "count": 10}
        answer = await client.post("/v1/placements/entrance:recommend", json=body)
        assert answer.status_code == 200 and len(answer.json()["items"]) == 10

    for number in range(WARM):
        await ask(number)
    return await open_loop(ask, int(RATE * SECONDS))


async def sightings(client: httpx.AsyncClient, embedding: list[float]) -> list[float]:
    """Seconds from sending a sighting to reading the `slate` event on an open stream; the person leaves in between."""
    words: asyncio.Queue[tuple[str, float]] = asyncio.Queue()

    async def listen() -> None:
        async with client.stream("GET", f"/v1/screens/{SCREEN}/stream", timeout=None) as stream:
            async for line in stream.aiter_lines():
                if line.startswith("event: "):
                    words.put_nowait((line.removeprefix("event: "), time.perf_counter()))

    async def heard(kind: str) -> float:
        while True:
            word, at = await asyncio.wait_for(words.get(), 10)
            if word == kind:
                return at

    listener = asyncio.create_task(listen())
    await heard("idle")
    taken = []
    for number in range(SIGHTINGS):
        body = {"track_id": f"t{number}", "embedding": embedding, "model": MODEL, "quality": 0.9, "liveness": None}
        sent = time.perf_counter()
        answer = await client.post(f"/v1/screens/{SCREEN}/sightings", json=body)
        assert answer.json()["status"] == "known"
        taken.append(await heard("slate") - sent)
        await client.delete(f"/v1/screens/{SCREEN}/sightings/t{number}")
        await heard("idle")
    listener.cancel()
    return taken


def milliseconds(seconds: list[float]) -> dict[str, float]:
    values = np.array(seconds) * 1000
    return {"p50": round(float(np.percentile(values, 50)), 2), "p99": round(float(np.percentile(values, 99)), 2),
            "max": round(float(values.max()), 2), "n": len(values)}  # fmt: skip


async def measure(base: str, home: Path) -> dict[str, dict[str, float]]:
    settings = load_settings(home=home)
    shoppers = sorted(Lake(settings.paths).read("shoppers", ["shopper_id"])["shopper_id"])
    content = Vault(settings.paths).read()
    embedding = (content.enrolled[0].templates[0] @ content.rotation).tolist()
    async with httpx.AsyncClient(base_url=base) as client:
        store = (await client.get(f"/v1/screens/{SCREEN}/offers")).json()["store_id"]
        return {
            "recommend_ms": milliseconds(await recommend(client, shoppers, store)),
            "sighting_to_slate_ms": milliseconds(await sightings(client, embedding)),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, default=Path("var"), help="a home made by `facings demo`")
    parser.add_argument("--out", type=Path, help="folder of a dated result file")
    options = parser.parse_args()
    moment = Lake(load_settings(home=options.home).paths).latest_event_time()
    if moment is None:
        sys.exit(f"{options.home} holds no data: run `facings demo --headless` first and give its home.")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "FACINGS_HOME": str(options.home), "FACINGS_REPLAY_FROM": moment.isoformat()}
    server = subprocess.Popen([sys.executable, "-m", "cli.main", "serve", "--port", str(port)], env=environment)
    base = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                httpx.get(f"{base}/health/ready").raise_for_status()
                break
            except httpx.HTTPError:
                time.sleep(0.1)
        figures = asyncio.run(measure(base, options.home))
    finally:
        server.terminate()
        server.wait(10)
    result = {
        **frame(
            "serving_latency",
            COMMAND,
            "fastapi",
            "starlette",
            "uvicorn",
            "uvloop",
            "orjson",
            "lmdb",
            where=machine("client and server on the same"),
        ),
        "requests_per_second": RATE,
        **figures,
        "limits": LIMITS,
    }
    print(json.dumps(result, indent=1))
    write(result, "serving_latency", options.out)


if __name__ == "__main__":
    main()
