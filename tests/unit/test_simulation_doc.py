"""docs/simulation.md says what the code does, and its example runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from pipelines.simulation import catalogue, encounters, response, shops, tastes, visits
from pipelines.simulation.config import VARIANTS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "simulation.md").read_text()


def test_the_example_runs() -> None:
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    told: dict[str, Any] = {}
    exec(block.replace("range(30)", "range(2)"), told)
    assert told["rows"] and told["people"].height == len(told["visits"])


@pytest.mark.parametrize(
    "words",
    [
        f"[on a display] + [noticed] · {response.LIFT:g} · exp(−{response.WEARING:g} ·",
        f"{response.DISPLAY_LIFT:g} · [on a display]",
        f"the last {encounters.MEMORY_DAYS} days",
        f"e^{{{response.OUTSIDE:g} − need}}",
        f"{response.LOYALTY:g} · [bought last]",
        f"need = {response.CYCLE:g} · (min(due, 2) − 1)",
        f"−{-response.NEED_OF_WANDERING:g} − allure_c for what is only looked into;",
        f"−{-response.NEED_ON_IMPULSE:g} for what only the screen",
        f"log-normal around {catalogue.SENSITIVITY:g}",
        "{:g}, {:g} or {:g} (entrance, aisle, checkout)".format(*encounters.LOOK),
        f"{encounters.DECAY:g} times as often",
        f"`ε_si` (deviation {tastes.PERSONAL:g})",
        f"{shops.GAP_SHARE:.0%}".replace("%", " %") + " of the makers",
        f"(Saturday {visits.WEEK[5]:g}, Tuesday {visits.WEEK[1]:g})",
        *(f"| `{variant}` |" for variant in VARIANTS),
    ],
)
def test_the_constants_are_those_of_the_code(words: str) -> None:
    assert words in " ".join(PAGE.split())
