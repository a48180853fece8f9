"""The example shops of docs/, ingested by the commands of their pages; what a page shows is what comes out."""

from __future__ import annotations

import os
import shlex
import shutil
import sqlite3
from pathlib import Path

import pytest

from configs.home import Home
from pipelines.signals.lake.lake import Lake
from tests.command import facings

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Path) -> Path:
    """A folder with a copy of the examples, where the pages' commands are run."""
    shutil.copytree(EXAMPLES, tmp_path / "docs" / "examples")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _blocks(page: Path) -> list[list[str]]:
    """The page's indented blocks: commands, or what a command prints."""
    blocks: list[list[str]] = [[]]
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith("    "):
            blocks[-1].append(line.strip())
        elif line.strip() and blocks[-1]:
            blocks.append([])
    return [block for block in blocks if block]


def _follow(page: Path) -> str:
    """Run the page's `facings` commands one after the other; return all that they printed."""
    printed = ""
    for line in (line for block in _blocks(page) for line in block):
        if line.startswith("facings "):
            outcome = facings(*shlex.split(line)[1:])
            assert outcome.code == 0, outcome.err
            printed += outcome.out
        elif line.startswith("echo "):
            words = shlex.split(line)
            with Path(words[3]).open("a") as file:
                file.write(words[1] + "\n")
    return printed


def _shown(page: Path) -> list[str]:
    """Lines of the page that a command is said to print."""
    return [
        line
        for block in _blocks(page)
        for line in block
        if " quarantined" in line or "interactions: " in line or ".csv:" in line
    ]


def test_the_corner_grocer_does_what_its_page_says(place: Path, home: Path) -> None:
    page = place / "docs" / "examples" / "corner-grocer" / "README.md"
    printed = [line.strip() for line in _follow(page).splitlines()]
    shown = _shown(page)
    assert len(shown) == 6 and all(line in printed for line in shown)
    assert printed[-1] == "1 rows taken in, 0 stay in quarantine"
    assert "files: 3 read, 7 unchanged, 1 changed" in printed
    lake = Lake(Home(home))
    assert len(lake.read("interactions")) == 12
    assert lake.read("stock").set_index(["store_id", "item_id"])["units"]["corner", "apple-1kg"] == 11
    assert {"material", "tags"} <= set(lake.read("items")) and "diet" in lake.read("shoppers")


def test_the_fashion_shop_does_what_its_page_says(place: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = place / "docs" / "examples" / "fashion-from-sql"
    with sqlite3.connect(place / "shop.db") as database:
        database.executescript((folder / "shop.sql").read_text(encoding="utf-8"))
    monkeypatch.setenv("SHOP_DATABASE_URL", f"sqlite:///{place}/shop.db")
    page = folder / "README.md"
    source = folder / "shop.yaml"
    before = source.read_text(encoding="utf-8")
    commands = [line for block in _blocks(page) for line in block if line.startswith("facings ")]
    printed = "".join(facings(*shlex.split(command)[1:]).out for command in commands[:3])
    shown = _shown(page)
    assert len(shown) == 4 and all(line in [one.strip() for one in printed.splitlines()] for line in shown)
    lake = Lake(Home(home))
    sold = lake.read("interactions").set_index("event_id")
    assert str(sold["event_time"]["5001-1"]) == "2026-10-17 09:05:00+00:00"
    assert str(sold["event_time"]["5004-1"]) == "2026-10-26 15:30:00+00:00"
    assert lake.read("items").set_index("item_id")["sizes"]["D-201"] == "36|38"
    source.write_text(before.replace("Retoure: return}", "Retoure: return, Umtausch: return}"), encoding="utf-8")
    assert facings(*shlex.split(commands[3])[1:]).out.strip() == "1 rows taken in, 0 stay in quarantine"
    assert os.environ["SHOP_DATABASE_URL"] not in printed
