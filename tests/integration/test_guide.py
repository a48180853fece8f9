"""docs/add-a-recommender.md does what it says: its files and commands, in its order, in a copy of this tree."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from configs.clock import SystemClock
from configs.settings import load_settings
from pipelines.training.retrain import retrain
from tests.small_shop import write_small_shop

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs" / "add-a-recommender.md"
ROOMS = ("cli", "flows", "serving", "pipelines", "models", "identity", "features", "state", "configs", "tests")


def blocks() -> list[tuple[str, str]]:
    """The document's fenced blocks: language and text."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", GUIDE.read_text(), flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the packages and their tests: the guide adds a file to them."""
    root = tmp_path / "tree"
    for room in ROOMS:
        shutil.copytree(ROOT / room, root / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", root / "pyproject.toml")
    return root


def empty_tracking(database: Path) -> None:
    """Take the runs and versions out of MLflow's database; its tables stay."""
    with closing(sqlite3.connect(database)) as connection, connection:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for name in names:
            if re.search(r"^(registered_model|model_version|run|metric|latest_metric|param|tag)s?(_|$)", name):
                connection.execute(f'DELETE FROM "{name}"')
        connection.execute("DELETE FROM experiments WHERE name LIKE 'facings%'")


@pytest.fixture
def served_home(tmp_path: Path, trained_home: Path) -> Path:
    """A home in which popularity serves, made from the small shop."""
    settings = load_settings(home=tmp_path / "home")
    settings.paths.root.mkdir()
    shutil.copy(trained_home / "mlflow.db", settings.paths.mlflow_db)  # spares the first start's migrations
    empty_tracking(settings.paths.mlflow_db)
    folder = write_small_shop(tmp_path / "my-shop")
    result = retrain(settings, ["popularity"], folder=folder, clock=SystemClock(), progress=lambda _: None)
    assert result.status == "published"
    return settings.home


# Runs facings commands one after another in one process: each as the command line runs it, the imports only once.
DRIVER = """
import dataclasses, json, sys
from tests.command import facings
print(json.dumps([dataclasses.asdict(facings(*words)) for words in json.loads(sys.stdin.read())]))
"""


def test_the_guide_leads_from_an_empty_file_to_a_promoted_champion(tree: Path, served_home: Path) -> None:
    environment = {**os.environ, "FACINGS_HOME": str(served_home), "PYTHONPATH": str(tree)}
    commands = []
    for language, text in blocks():
        if language == "sh":
            commands += text.splitlines()
            continue
        assert language in {"python", "yaml"} and not commands, "files come before commands"
        path = tree / text.splitlines()[0].removeprefix("# ")
        assert not path.exists()
        path.write_text(text)
    contract, *verbs = commands
    program, *words = shlex.split(contract)
    assert program == "pytest"
    asked = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *words]
    done = subprocess.run(asked, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and re.search(r"^[. ]{20,}", done.stdout), done.stdout
    assert all(line.startswith("facings ") for line in verbs)
    asked = [sys.executable, "-c", DRIVER]
    given = json.dumps([shlex.split(line)[1:] for line in verbs])
    done = subprocess.run(asked, cwd=tree, env=environment, input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = dict(zip(verbs, json.loads(done.stdout.splitlines()[-1]), strict=True))
    for line, outcome in said.items():
        assert outcome["code"] == 0, f"{line}\n{outcome['out']}\n{outcome['err']}"
    assert "recent_repeats" in (tree / "comparison.html").read_text()
    assert "name: recent_repeats-tuned" in (tree / "tuned.yaml").read_text()
    assert "Published: version 2 (recent_repeats-tuned)" in said["facings retrain --recipe tuned.yaml"]["out"]
    assert "Version 2 (recent_repeats-tuned) serves now." in said["facings promote 2"]["out"]
    jobs = [line.split()[2] for line in said["facings runs"]["out"].splitlines()]
    assert jobs == ["retrain", "compare", "tune", "compare", "retrain"]
