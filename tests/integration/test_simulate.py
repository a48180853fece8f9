"""`facings simulate` through the real command: the folder that it writes, and that ingest takes all of it."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from configs.home import Home
from pipelines.signals.contract.tables import TABLES
from pipelines.signals.lake.lake import Lake
from tests.command import facings

SIZE = ("--shoppers", 500, "--stores", 4, "--days", 40, "--seed", 3)


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("simulate") / "town"
    assert facings("simulate", *SIZE, "--out", folder).code == 0
    return folder


def test_every_table_of_the_contract_is_there_and_says_that_it_is_simulated(town: Path) -> None:
    for name in TABLES:
        frame = pl.read_parquet(town / f"{name}.parquet")
        assert frame["simulated"].dtype == pl.Boolean and frame["simulated"].all(), name
    assert pl.read_parquet(town / "shoppers.parquet").height == 500
    assert pl.read_parquet(town / "stores.parquet").height == 4
    truth = json.loads((town / "truth.json").read_text())
    assert (truth["simulated"], truth["seed"], truth["variant"]) == (True, 3, "base")


def test_ingest_keeps_every_row_and_the_mark(town: Path, home: Path) -> None:
    outcome = facings("ingest", town, "--json")
    assert outcome.code == 0, outcome.err
    assert all("ended before now" in warning for warning in outcome.told["warnings"])  # its calendar is a past one
    for name, count in outcome.told["tables"].items():
        assert count["rows"] == count["kept"] > 0, (name, count)
    assert outcome.told["tables"].keys() == TABLES.keys()
    assert Lake(Home(home)).read("interactions", ["simulated"])["simulated"].all()


def test_the_command_says_in_its_output_that_this_is_simulated(tmp_path: Path) -> None:
    arguments = ("simulate", "--shoppers", 60, "--stores", 1, "--days", 2, "--seed", 0, "--out")
    assert facings(*arguments, tmp_path / "1").out.startswith("Simulated, nothing in it is real")
    outcome = facings(*arguments, tmp_path / "2", "--json")
    assert outcome.told["simulated"] is True and outcome.told["tables"]["shoppers"] == 60


def test_the_same_arguments_write_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    def run(folder: str, seed: int, *more: object) -> dict[str, bytes]:
        size = ("--shoppers", 100, "--stores", 2, "--days", 8, "--seed", seed)
        assert facings("simulate", *size, "--out", tmp_path / folder, *more).code == 0
        return {path.name: path.read_bytes() for path in sorted((tmp_path / folder).iterdir())}

    first = run("1", 5)
    assert run("2", 5) == first
    assert run("1", 6)["interactions.parquet"] != first["interactions.parquet"]  # takes the place of the first
    csv = run("3", 5, "--format", "csv")
    assert set(csv) == {name.replace(".parquet", ".csv") for name in first}
    rows = pl.read_csv(tmp_path / "3" / "interactions.csv", infer_schema=False)
    assert rows.height == pl.read_parquet(tmp_path / "2" / "interactions.parquet").height


def test_more_days_begin_with_the_same_days(tmp_path: Path) -> None:
    for days in (6, 13):
        arguments = ("--shoppers", 200, "--stores", 2, "--days", days, "--seed", 2, "--variant", "mixed")
        assert facings("simulate", *arguments, "--out", tmp_path / str(days)).code == 0
    short, long = (pl.read_parquet(tmp_path / days / "interactions.parquet") for days in ("6", "13"))
    assert long.filter(pl.col("event_time") < pl.datetime(2025, 1, 12, time_zone="UTC")).equals(short)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (("--shoppers", 3), "--shoppers"),
        (("--stores", 0), "--stores"),
        (("--variant", "wild"), "--variant"),
        (("--days", 3000), "in the future"),
        (("--items", 5), "at least 100 items"),
    ],
)
def test_a_town_that_cannot_be_is_refused_with_a_sentence(
    tmp_path: Path, changed: tuple[object, ...], told: str
) -> None:
    outcome = facings("simulate", *SIZE, *changed, "--out", tmp_path / "town")
    assert outcome.code == 2 and told in outcome.sentence
    assert not (tmp_path / "town").exists()


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text("mine")
    outcome = facings("simulate", *SIZE, "--out", tmp_path)
    assert outcome.code == 1 and "not simulated" in outcome.sentence
    assert [path.name for path in tmp_path.iterdir()] == ["letters.txt"]


def test_twenty_thousand_shoppers_ingest_whole(tmp_path: Path, home: Path) -> None:
    arguments = ("--shoppers", 20_000, "--stores", 40, "--days", 1, "--seed", 1, "--variant", "mixed")
    told = facings("simulate", *arguments, "--out", tmp_path / "town", "--json").told["tables"]
    assert told["interactions"] > 40_000 and told["stores"] == 40
    taken = facings("ingest", tmp_path / "town", "--json").told["tables"]
    assert {name: count["kept"] for name, count in taken.items()} == told
