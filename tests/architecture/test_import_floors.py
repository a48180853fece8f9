"""The floors and fences of the rooms hold, and the promises of the tree that no linter knows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("cli", "flows", "serving", "pipelines", "models", "identity", "features", "state", "configs")


def test_the_import_floors_and_fences_hold() -> None:
    done = subprocess.run([Path(sys.executable).with_name("lint-imports")], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]


def test_help_imports_none_of_the_heavy_libraries() -> None:
    code = (
        "import sys; from click.testing import CliRunner; from cli.main import facings; "
        "assert CliRunner().invoke(facings, ['--help']).exit_code == 0; "
        "heavy = {'pandas', 'polars', 'feast', 'mlflow', 'prefect', 'torch', 'cv2', 'lightfm', 'fastapi'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_verb_has_help_with_an_example() -> None:
    from click.testing import CliRunner

    from cli.main import VERBS, facings

    for verb in VERBS:
        shown = CliRunner().invoke(facings, [verb, "--help"])
        assert shown.exit_code == 0, f"facings {verb} --help fails: {shown.output}"
        assert "Example" in shown.output, f"facings {verb} --help shows no example"


@pytest.mark.parametrize("room", ROOMS)
def test_no_file_of_a_room_has_outgrown_its_one_idea(room: str) -> None:
    lengths = {path: path.read_text().count("\n") for path in (ROOT / room).rglob("*.py")}
    long = {path: length for path, length in lengths.items() if length > 400}
    assert not long


def test_the_telemetry_of_every_library_is_off_before_it_is_imported() -> None:
    code = (
        "import os; from configs import telemetry; telemetry.turn_off(); "
        "from prefect.settings import get_current_settings as s; print(s().server.analytics_enabled); "
        "from mlflow.telemetry.utils import is_telemetry_disabled as off; print(off())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]
