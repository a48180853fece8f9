"""What every result says of itself (what, by which command, when, where, with which versions), and its dated file."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from state.files import write_atomic


def frame(benchmark: str, command: str, *packages: str, where: str | None = None) -> dict[str, Any]:
    """The head of a result: `packages` are distributions whose versions count, `where` says more than `machine()`."""
    head: dict[str, Any] = {"benchmark": benchmark, "command": command, "date": today(), "machine": where or machine()}
    return {**head, "versions": versions(*packages)} if packages else head


def today() -> str:
    """The date in UTC, as results and their files bear it."""
    return datetime.now(UTC).date().isoformat()


def machine(*notes: str) -> str:
    """Where it runs, and what else is to be known of that."""
    return ", ".join([platform.machine(), platform.system(), f"{os.cpu_count()} cores", *notes])


def load() -> str:
    """How busy the machine is: a note on it."""
    return f"load {os.getloadavg()[0]:.1f}"


def versions(*packages: str) -> dict[str, str]:
    """The installed version of each distribution."""
    return {package: version(package) for package in packages}


def write(result: Mapping[str, Any], name: str, out: Path | None) -> Path | None:
    """Write a result as NAME-DATE.json into the folder `out`, if there is one, and return its path."""
    if out is None:
        return None
    path = out / f"{name}-{today()}.json"
    write_atomic(path, json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    return path
