"""What a closed loop leaves behind: its figures as JSON and its page."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipelines.closed_loop.loop import LoopResult
from pipelines.closed_loop.page import loop_page
from state.files import write_atomic

FIGURES, PAGE = "loop.json", "loop.html"


def summary(result: LoopResult) -> dict[str, Any]:
    """As JSON values; money in major units."""
    return {
        "simulated": True,
        "config": result.config.model_dump(mode="json"),
        **result.figures.model_dump(mode="json"),
        "trainings": [asdict(one) for one in result.trainings],
        "fallbacks": result.fallbacks,
        "decisions": sum(result.fallbacks.values()),
        "rules_broken": result.broken,
    }


def write_report(result: LoopResult, out: Path) -> Path:
    """Write both into a folder; return the page."""
    write_atomic(out / FIGURES, json.dumps(summary(result), ensure_ascii=False, indent=1) + "\n")
    write_atomic(out / PAGE, loop_page(result))
    return out / PAGE
