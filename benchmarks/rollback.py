"""A rollback under load: seconds of the command, seconds until every answer is the old version's, requests lost.

Run it: .venv/bin/python benchmarks/rollback.py --out benchmarks/results
A town is ingested and trained twice into a home of its own, so that version 2 serves and version 1 did before. One
server process answers a steady stream of requests; in the middle `facings rollback` runs as a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.frame import frame, load, machine, write  # noqa: E402
from configs.clock import SystemClock  # noqa: E402
from configs.settings import load_settings  # noqa: E402
from pipelines.training.retrain import retrain  # noqa: E402
from tests.town import SHOPPERS, write_town  # noqa: E402

COMMAND = ".venv/bin/python benchmarks/rollback.py --out benchmarks/results"
RATE, BEFORE, AFTER = 200.0, 5.0, 5.0
LIMIT_SECONDS = 10.0


async def stream(base: str, rollback: list[str], environment: dict[str, str]) -> dict[str, object]:
    """Send RATE requests a second, each on time; roll back after BEFORE seconds and go on for AFTER after it."""
    answers: list[tuple[float, float, int, str]] = []
    ending = asyncio.Event()
    async with httpx.AsyncClient(base_url=base, timeout=30, limits=httpx.Limits(max_connections=64)) as client:

        async def one(number: int) -> None:
            sent = time.perf_counter()
            body = {"shopper_id": f"s{number % SHOPPERS:03d}", "count": 10}
            try:
                answer = await client.post("/v1/placements/phone:recommend", json=body)
                told = answer.json().get("model_version", "") if answer.status_code == 200 else ""
                answers.append((sent, time.perf_counter(), answer.status_code, told))
            except httpx.HTTPError:
                answers.append((sent, time.perf_counter(), 0, ""))

        async def send() -> None:
            start, waiting, number = time.perf_counter(), set(), 0
            while not ending.is_set():
                await asyncio.sleep(max(0.0, start + number / RATE - time.perf_counter()))
                task = asyncio.create_task(one(number))
                waiting.add(task)
                task.add_done_callback(waiting.discard)
                number += 1
            await asyncio.gather(*waiting)

        sending = asyncio.create_task(send())
        await asyncio.sleep(BEFORE)
        begun, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        process = await asyncio.create_subprocess_exec(*rollback, env=environment, stdout=subprocess.DEVNULL)
        code = await process.wait()
        ended, after = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        await asyncio.sleep(AFTER)
        ending.set()
        await sending
    last_new = max(sent for sent, _, _, told in answers if told == "2")
    first_old = min(at for _, at, _, told in answers if told == "1")
    taken = np.array([at - sent for sent, at, _, _ in answers]) * 1000
    return {
        "requests": len(answers),
        "lost": sum(status != 200 for _, _, status, _ in answers),
        "exit_code": code,
        "command_seconds": round(ended - begun, 2),
        "command_cpu_seconds": round(after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime, 2),
        "seconds_to_first_answer_of_the_old_version": round(first_old - begun, 2),
        "seconds_to_last_answer_of_the_new_version": round(last_new - begun, 2),
        "answers_by_version": {one: sum(told == one for *_, told in answers) for one in ("2", "1")},
        "request_ms": {f"p{q}": round(float(np.percentile(taken, q)), 1) for q in (50, 99)},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="folder of a dated result file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch) / "home"
        settings = load_settings(home=home)
        for days, recipes in ((80, ["personal_frequency"]), (110, [])):
            folder = write_town(Path(scratch) / f"town-{days}", days=days)
            told = retrain(settings, recipes, folder=folder, clock=SystemClock(), progress=lambda _: None)
            assert told.status == "published", told.reasons
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        environment = {**os.environ, "FACINGS_HOME": str(home), "PYTHONPATH": str(ROOT)}
        verb = [sys.executable, "-m", "cli.main"]
        server = subprocess.Popen([*verb, "serve", "--port", str(port)], env=environment, stderr=subprocess.DEVNULL)
        base = f"http://127.0.0.1:{port}"
        try:
            for _ in range(600):
                try:
                    httpx.get(f"{base}/health/ready").raise_for_status()
                    break
                except httpx.HTTPError:
                    time.sleep(0.1)
            figures = asyncio.run(stream(base, [*verb, "rollback", "--json"], environment))
        finally:
            server.terminate()
            server.wait(20)
    result = {
        **frame("rollback", COMMAND, "starlette", "uvicorn", "mlflow", where=machine(load(), f"niceness {os.nice(0)}")),
        "rate": RATE,
        "limits": {"command_seconds": LIMIT_SECONDS, "lost": 0},
        **figures,
    }
    print(json.dumps(result, indent=1))
    write(result, "rollback", options.out)
    if figures["lost"] or float(str(figures["command_seconds"])) > LIMIT_SECONDS:
        sys.exit("The rollback took too long or lost a request.")


if __name__ == "__main__":
    main()
