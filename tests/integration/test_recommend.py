"""`facings recommend`: batch lists from what serves, and from what was known at a moment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from cli.main import facings
from configs.settings import Settings
from pipelines.signals.lake.lake import Lake


@pytest.fixture
def command(trained: Settings, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the verb on a copy of the trained home."""
    monkeypatch.setenv("FACINGS_HOME", str(trained.paths.root))

    def run(*words: object) -> Result:
        return CliRunner().invoke(facings, ["recommend", *map(str, words)])

    return run


def test_everybody_gets_k_ranked_items_from_what_serves(command: Any, trained: Settings, tmp_path: Path) -> None:
    done = command("--all", "--k", 5, "--out", tmp_path / "lists.csv", "--json")
    assert done.exit_code == 0, done.output
    lists = pd.read_csv(tmp_path / "lists.csv", dtype={"shopper_id": str, "item_id": str})
    assert list(lists.columns) == ["shopper_id", "rank", "item_id", "score", "reason"]
    assert lists.groupby("shopper_id")["rank"].apply(list).map(lambda ranks: ranks == [1, 2, 3, 4, 5]).all()
    buyers = Lake(trained.paths).read("interactions", ["shopper_id"])["shopper_id"].nunique()
    assert json.loads(done.stdout)["shoppers"] == lists["shopper_id"].nunique() == buyers


def test_new_only_leaves_out_what_was_bought_before(command: Any, trained: Settings, tmp_path: Path) -> None:
    assert command("--all", "--k", 5, "--new-only", "--out", tmp_path / "new.parquet").exit_code == 0
    lists = pd.read_parquet(tmp_path / "new.parquet")
    bought = Lake(trained.paths).read("interactions", ["shopper_id", "item_id"])
    assert len(lists) and lists.merge(bought, on=["shopper_id", "item_id"]).empty


def test_a_file_names_whom_to_serve_and_a_stranger_gets_a_cold_list(command: Any, tmp_path: Path) -> None:
    pd.DataFrame({"shopper_id": ["s003", "nobody-yet"]}).to_csv(tmp_path / "who.csv", index=False)
    assert command("--shoppers", tmp_path / "who.csv", "--k", 3, "--out", tmp_path / "o.csv").exit_code == 0
    lists = pd.read_csv(tmp_path / "o.csv")
    assert lists["shopper_id"].tolist() == ["s003"] * 3 + ["nobody-yet"] * 3
    assert set(lists[lists["shopper_id"] == "nobody-yet"]["reason"]) == {"popular"}


def test_a_stranger_is_counted_as_served_otherwise(command: Any, tmp_path: Path) -> None:
    pd.DataFrame({"shopper_id": ["s003", "nobody-yet"]}).to_csv(tmp_path / "who.csv", index=False)
    done = command("--shoppers", tmp_path / "who.csv", "--k", 3, "--out", tmp_path / "o.csv", "--json")
    assert json.loads(done.stdout)["fallbacks"] == {"unknown_shopper": 1, "no_history": 0, "unknown_item": 0}


def test_a_named_recipe_is_trained_on_what_was_known_and_nothing_is_published(
    command: Any, trained: Settings, tmp_path: Path
) -> None:
    words = ("--all", "--k", 5, "--recipe", "personal_frequency", "--as-of", "2025-01-20")
    done = command(*words, "--out", tmp_path / "one.csv")
    assert done.exit_code == 0, done.output
    table = Lake(trained.paths).read("interactions", ["shopper_id", "item_id", "event_time"])
    before = table[table["event_time"] < pd.Timestamp("2025-01-20", tz="UTC")]
    lists = pd.read_csv(tmp_path / "one.csv", dtype=str)
    first = lists[lists["rank"] == "1"].merge(before.drop_duplicates(["shopper_id", "item_id"]))
    assert len(first) == before["shopper_id"].nunique()
    refused = command("--all", "--k", 5, "--recipe", "no-such-recipe", "--out", tmp_path / "two.csv")
    assert "There is no recipe 'no-such-recipe'" in str(refused.exception)


def test_as_of_a_moment_nothing_later_is_known(command: Any, trained: Settings, tmp_path: Path) -> None:
    moment = "2025-01-20"
    assert command("--all", "--k", 50, "--as-of", moment, "--out", tmp_path / "then.csv").exit_code == 0
    lists = pd.read_csv(tmp_path / "then.csv", dtype=str)
    table = Lake(trained.paths).read("interactions", ["shopper_id", "item_id", "event_time"])
    before = table[table["event_time"] < pd.Timestamp(moment, tz="UTC")]
    again = lists[lists["reason"] == "bought_before"]
    assert len(again) and len(again.merge(before.drop_duplicates(["shopper_id", "item_id"]))) == len(again)
    assert set(lists["shopper_id"]) == set(before["shopper_id"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--all", "--k", 0, "--out", "o.csv"], "between 1 and 10,000"),
        (["--all", "--k", 10**9, "--out", "o.csv"], "between 1 and 10,000"),
        (["--k", 3, "--out", "o.csv"], "--shoppers FILE or --all"),
        (["--all", "--k", 3, "--out", "o.txt"], ".csv or .parquet"),
        (["--all", "--k", 3, "--as-of", "soon", "--out", "o.csv"], "ISO time"),
        (["--shoppers", "none.csv", "--k", 3, "--out", "o.csv"], "no file"),
    ],
)
def test_bad_usage_is_one_sentence_and_writes_nothing(
    command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[object], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = command(*words)
    assert said in str(done.exception) and "\n" not in str(done.exception)
    assert not list(tmp_path.glob("o.*"))


def test_a_file_without_the_column_or_without_rows_is_refused(command: Any, tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("customer\n1\n")
    done = command("--shoppers", tmp_path / "other.csv", "--k", 3, "--out", tmp_path / "o.csv")
    assert "no column shopper_id; it has customer" in str(done.exception)
    (tmp_path / "empty.csv").write_text("shopper_id\n")
    done = command("--shoppers", tmp_path / "empty.csv", "--k", 3, "--out", tmp_path / "o.csv")
    assert "names no shopper" in str(done.exception)


def test_a_home_where_nothing_serves_says_how_to_train(home: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(facings, ["recommend", "--all", "--k", "3", "--out", str(tmp_path / "o.csv")])
    assert "facings retrain" in str(done.exception)
