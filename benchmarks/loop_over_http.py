"""The closed loop driven from outside: a real `facings serve`, asked for each visit over HTTP, commands in between.

Run it: .venv/bin/python benchmarks/loop_over_http.py --out benchmarks/results   (--days 14 --variant base …)
Each morning `facings ingest` takes the tables of the day, on some days `facings retrain` runs, on the others
`facings rescore`, and the server is
started anew so that its clock (FACINGS_REPLAY_FROM) shows that morning. Each visit that passes a screen is one
`POST /v1/placements/{placement}:recommend`, recognised shoppers named and others not; each evening the town's events go
to `POST /v1/events:batch`. The other policies play in copies of the same town, as in `facings loop`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import polars as pl

from benchmarks.frame import today, write
from configs.secrets import secret
from configs.settings import Settings
from pipelines.closed_loop.config import LoopConfig
from pipelines.closed_loop.loop import run_loop
from pipelines.closed_loop.product import Answered, TownClock, write_tables
from pipelines.closed_loop.report import summary
from pipelines.offers.decide import Ask
from pipelines.offers.view import View, open_view
from pipelines.snapshot import current
from pipelines.training.job import RetrainResult

COMMAND = ".venv/bin/python benchmarks/loop_over_http.py --out benchmarks/results"
BATCH = 500
OPENS = timedelta(hours=7)
GOAL = {"share_of_oracle": 0.85, "ratio_to_targeting": 1.3}


class OverHttp:
    """A home, the commands on it, and its server."""

    def __init__(self, settings: Settings, recipe: str, clock: TownClock, folder: Path) -> None:
        self._settings, self._recipe, self._clock, self._folder = settings, recipe, clock, folder
        self.key = secret(settings.paths, "pseudonym")
        self._server: subprocess.Popen[bytes] | None = None
        self._client = httpx.Client(timeout=60)
        self._view: View | None = None
        self.seconds: list[float] = []

    @property
    def view(self) -> View:
        """What is served now."""
        assert self._view is not None
        return self._view

    def learn(self, name: str, tables: Mapping[str, pl.DataFrame], *, train: bool) -> RetrainResult | None:
        """Ingest, retrain where told, else score anew, and open the shop."""
        self._stop()
        folder = write_tables(self._folder / name, tables)
        self._command("ingest", str(folder))
        result, accept = None, ("--accept-data", "a simulated town begins")
        if train:
            told = self._command("retrain", "--recipe", self._recipe, *accept, "--json")
            result = RetrainResult.model_validate_json(told)
        elif current(self._settings.paths, "slates") is not None:
            self._command("rescore", *accept)
        self._serve()
        if self._view is not None:
            self._view.close()
        self._view = open_view(self._settings.paths)
        return result

    def answer(self, ask: Ask, now: datetime, *, screen_id: str | None) -> Answered:
        """Ask for a slate."""
        body: dict[str, Any] = {"store_id": ask.store_id, "screen_id": screen_id, "count": ask.count}
        if ask.shopper_id is not None:
            body["shopper_id"] = ask.shopper_id
        began = time.perf_counter()
        told = self._post(f"/v1/placements/{ask.placement}:recommend", body)
        self.seconds.append(time.perf_counter() - began)
        offers = [(item["item_id"], item["offer"]["discount"] or 0.0) for item in told["items"]]
        return Answered(told["recommendation_id"], offers, told["fallback"])

    def take(self, events: Sequence[Mapping[str, Any]], now: datetime) -> int:
        """Send events."""
        accepted = 0
        for start in range(0, len(events), BATCH):
            told = self._post("/v1/events:batch", {"events": list(events[start : start + BATCH])})
            assert not told["rejected"], told["rejected"][0]["reason"]
            accepted += int(told["accepted"])
        return accepted

    def close(self) -> None:
        """Stop the server."""
        self._stop()
        self._client.close()
        if self._view is not None:
            self._view.close()

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = self._client.post(f"{self._base}{path}", json=body)
        answer.raise_for_status()
        told: dict[str, Any] = answer.json()
        return told

    def _serve(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self._base = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "cli.main", "serve", "--port", str(port)]
        self._server = subprocess.Popen(command, env=self._env(), stderr=subprocess.DEVNULL)
        limit = time.monotonic() + 180
        while True:
            try:
                if self._client.get(f"{self._base}/health/ready").status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            assert self._server.poll() is None and time.monotonic() < limit, "the server did not start"
            time.sleep(0.1)

    def _stop(self) -> None:
        if self._server is not None:
            self._server.terminate()
            self._server.wait(30)
            self._server = None

    def _command(self, *arguments: str) -> str:
        command = [sys.executable, "-m", "cli.main", *arguments]
        done = subprocess.run(command, env=self._env(), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    def _env(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("FACINGS_")}
        return {
            **kept,
            "FACINGS_HOME": str(self._settings.home),
            "FACINGS_REPLAY_FROM": (self._clock.now() + OPENS).isoformat(),
            # the events of a day are sent while the server's clock still shows its morning
            "FACINGS_CLOCK_SKEW_SECONDS": str(24 * 3600),
            "FACINGS_LIVE_FEATURES": "off",
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="folder of the dated result file")
    for name in ("days", "seed", "shoppers", "stores", "history_days", "retrain_every"):
        parser.add_argument(f"--{name.replace('_', '-')}", type=int)
    parser.add_argument("--variant")
    options = vars(parser.parse_args())
    out: Path | None = options.pop("out")
    config = LoopConfig.model_validate({name: value for name, value in options.items() if value is not None})
    products: list[OverHttp] = []

    def start(settings: Settings, recipe: str, clock: TownClock, folder: Path) -> OverHttp:
        products.append(OverHttp(settings, recipe, clock, folder))
        return products[-1]

    began = time.perf_counter()
    result = run_loop(config, None, progress=lambda line: print(line, file=sys.stderr, flush=True), start=start)
    told = {
        "command": COMMAND,
        "date": today(),
        "machine": {"python": platform.python_version(), "cpus": os.cpu_count()},
        "goal": GOAL,
        "seconds": round(time.perf_counter() - began, 1),
        "requests": len(products[0].seconds),
        **summary(result),
    }
    print(json.dumps(told, indent=1))
    write(told, f"loop_over_http-{config.variant}", out)


if __name__ == "__main__":
    main()
