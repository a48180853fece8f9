"""A server that is killed in the middle of events has every one that it acknowledged."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from tests.serving_town import ingest_shop
from tests.small_shop import write_small_shop


@contextmanager
def serving(home: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """`facings serve` in a process of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "FACINGS_HOME": str(home), "FACINGS_LIVE_FEATURES": "off"}
    server = subprocess.Popen([sys.executable, "-m", "cli.main", "serve", "--port", str(port)], env=environment)
    try:
        until = time.monotonic() + 60
        while True:
            try:
                httpx.get(f"http://127.0.0.1:{port}/health/ready").raise_for_status()
                break
            except httpx.HTTPError:
                assert server.poll() is None and time.monotonic() < until, "the server did not start"
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}", server
    finally:
        server.kill()
        server.wait(20)


def batch(sender: int, number: int) -> list[dict[str, Any]]:
    moment = datetime.now(UTC).isoformat()
    event = {"shopper_id": f"s{sender}", "item_id": "item-01", "event_type": "view", "event_time": moment}
    return [event | {"event_id": f"{sender}-{number}-{place}"} for place in range(20)]


def test_what_was_acknowledged_before_a_kill_is_known_after_it(tmp_path: Path) -> None:
    settings = ingest_shop(write_small_shop(tmp_path / "shop"), tmp_path / "home")
    acknowledged: list[list[dict[str, Any]]] = []
    enough = threading.Event()

    def send(base: str, sender: int) -> None:
        with httpx.Client(base_url=base, timeout=60) as client:
            for number in range(100_000):
                rows = batch(sender, number)
                try:
                    answer = client.post("/v1/events:batch", json={"events": rows}).json()
                except httpx.HTTPError:
                    return  # killed: this batch was not acknowledged
                assert answer == {"accepted": 20, "duplicates": 0, "rejected": []}
                acknowledged.append(rows)
                if len(acknowledged) >= 60:
                    enough.set()

    with serving(settings.paths.root) as (base, server):
        senders = [threading.Thread(target=send, args=(base, sender)) for sender in range(3)]
        for thread in senders:
            thread.start()
        assert enough.wait(60)
        os.kill(server.pid, signal.SIGKILL)
        for thread in senders:
            thread.join(30)
    with serving(settings.paths.root) as (base, _), httpx.Client(base_url=base, timeout=60) as client:
        for rows in acknowledged:
            answer = client.post("/v1/events:batch", json={"events": rows}).json()
            assert answer == {"accepted": 0, "duplicates": 20, "rejected": []}
