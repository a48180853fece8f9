"""A rollback in the middle of a stream of requests: one command, and not one request is lost."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from configs.clock import FixedClock
from configs.settings import Settings
from pipelines import snapshot
from pipelines.signals.lake.lake import Lake
from tests.command import facings
from tests.serving_town import quiet, served

NOW = datetime(2025, 4, 21, tzinfo=UTC)


def test_no_request_is_lost_while_the_version_before_is_put_back(
    refreshed: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FACINGS_HOME", str(refreshed.home))
    snapshot.refresh_shop(refreshed.paths, Lake(refreshed.paths), refreshed, now=NOW, progress=quiet)
    told: list[tuple[int, str]] = []
    ending = threading.Event()

    def ask(base: str, number: int) -> None:
        with httpx.Client(base_url=base, timeout=60) as client:
            while not ending.is_set():
                body = {"shopper_id": f"s{number:03d}", "count": 5}
                answer = client.post("/v1/placements/phone:recommend", json=body)
                version = answer.json().get("model_version", "") if answer.status_code == 200 else ""
                told.append((answer.status_code, version))

    def wait_for(version: str) -> None:
        until = time.monotonic() + 60
        while (200, version) not in told[-3:]:
            assert time.monotonic() < until, f"version {version} did not come to serve"
            time.sleep(0.01)

    with served(refreshed, FixedClock(NOW)) as base:
        callers = [threading.Thread(target=ask, args=(base, number), daemon=True) for number in range(3)]
        for caller in callers:
            caller.start()
        try:
            wait_for("2")
            assert facings("rollback", "--reason", "a test", "--json").told["version"] == "1"
            wait_for("1")
        finally:
            ending.set()
            for caller in callers:
                caller.join(30)
    assert {status for status, _ in told} == {200}
    versions = [version for _, version in told]
    assert set(versions) == {"1", "2"}
    assert versions[-1] == "1"
