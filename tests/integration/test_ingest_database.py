"""Tables from a shop's own database: a real SQLite file, a query for each table, nothing written there."""

from __future__ import annotations

import sqlite3
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import polars as pl
import pytest
import yaml

from configs.errors import FacingsError
from configs.home import Home
from pipelines.signals.lake.lake import Lake
from state import queries
from tests.command import facings

SALES = """
CREATE TABLE sales (receipt INTEGER PRIMARY KEY, card TEXT, product INTEGER, sold_at TEXT, price NUMERIC, note);
INSERT INTO sales VALUES (1, 'a', 10, '2026-01-01 09:00:00', 2.5, 5), (2, 'b', 11, '2026-01-02 09:00:00', 3, 'x'),
  (3, 'a', 11, '2026-01-03 09:00:00', NULL, NULL), (4, NULL, 11, '2026-01-03 10:00:00', 1, NULL);
"""
QUERY = """
SELECT receipt AS event_id, card AS shopper_id, product AS item_id, 'purchase' AS event_type, sold_at AS event_time,
       price, note FROM sales ORDER BY receipt
"""


def _shop(place: Path, /, **content: Any) -> Path:
    place.mkdir(exist_ok=True)
    with sqlite3.connect(place / "shop.db") as database:
        database.executescript(SALES)
    path = place / "shop.yaml"
    path.write_text(yaml.safe_dump({"url": "sqlite:///shop.db", "tables": {"interactions": QUERY}} | content))
    return path


def test_a_query_is_a_table_and_twice_is_once(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "CHUNK_ROWS", 2)  # several chunks, whose columns differ in kind
    shop = _shop(tmp_path / "shop")
    database = (tmp_path / "shop" / "shop.db").read_bytes()
    first = facings("ingest", shop, "--json")
    assert first.told["tables"] == {"interactions": {"rows": 4, "kept": 3, "duplicates": 0, "quarantined": 1}}
    rows = Lake(Home(home)).scan("interactions").sort("event_id").collect()
    assert rows["shopper_id"].to_list() == ["a", "b", "a"]
    assert rows["item_id"].to_list() == ["10", "11", "11"]
    assert rows["price"].to_list() == [2.5, 3.0, None]
    assert rows["note"].to_list() == ["5", "x", None]
    assert rows["event_time"][0] == datetime(2026, 1, 1, 9, tzinfo=UTC)
    (bad,) = facings("quarantine", "--json").told
    assert bad == {
        "table": "interactions", "file": "shop.yaml#interactions", "line": 4, "reason": "shopper_id is missing",
    }  # fmt: skip
    manifest = (home / "lake" / "manifest.json").read_text()
    killed = home / "lake" / ".draft-interactions-of-a-killed-run" / "000000.parquet"
    killed.parent.mkdir()
    killed.write_bytes(b"rows")
    second = facings("ingest", shop, "--json").told
    assert second["tables"] == {"interactions": {"rows": 4, "kept": 0, "duplicates": 3, "quarantined": 1}}
    assert second["fingerprint"] == first.told["fingerprint"]
    assert (home / "lake" / "manifest.json").read_text() == manifest
    assert (tmp_path / "shop" / "shop.db").read_bytes() == database
    assert {file.suffix for file in (home / "lake").rglob("*") if file.is_file()} == {".parquet", ".json", ".lock"}
    assert not list((home / "lake").rglob(".draft-*"))


def test_a_dry_run_of_a_database_changes_nothing(home: Path, tmp_path: Path) -> None:
    told = facings("ingest", _shop(tmp_path / "shop"), "--dry-run", "--json").told
    assert told["tables"]["interactions"]["kept"] == 3 and told["dry_run"]
    assert not home.exists()


def test_the_url_comes_from_the_environment_and_its_password_is_never_told(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = _shop(tmp_path / "shop", url="${SHOP_URL}")
    outcome = facings("ingest", shop)
    assert outcome.code == 2 and "environment variable SHOP_URL, which is not set" in outcome.sentence
    monkeypatch.setenv("SHOP_URL", f"sqlite:///{tmp_path / 'shop' / 'shop.db'}")
    assert facings("ingest", shop).code == 0
    told = ""
    for url in (
        "postgresql+nodriver://reader:hunter2@db.example/shop?password=hunter2", "hunter2", "odd://x:hunter2@y/z",
        "sqlite:///nowhere.db?password=hunter2", "postgresql://x:hunter2@y:port/z",
    ):  # fmt: skip
        monkeypatch.setenv("SHOP_URL", url)
        outcome = facings("ingest", shop)
        assert outcome.code in (1, 2) and outcome.sentence
        told += outcome.out + outcome.err
    assert "hunter2" not in told
    assert not (tmp_path / "shop" / "nowhere.db").exists()


REFUSED: dict[str, tuple[dict[str, Any], int, str]] = {
    "a query that fails": ({"tables": {"interactions": "SELECT x FROM nothing"}}, 1, "interactions in"),
    "no SELECT": ({"tables": {"interactions": "SAVEPOINT here"}}, 1, "returns no rows; write a SELECT"),
    "a write": ({"tables": {"interactions": "DELETE FROM sales"}}, 1, "readonly database"),
    "bytes": ({"tables": {"interactions": QUERY.replace("note", "x'ff' AS note")}}, 1, "column note holds bytes"),
    "a column twice": ({"tables": {"interactions": QUERY.replace("price", "1 AS note")}}, 1, "a column note twice"),
    "a missing column": ({"tables": {"interactions": "SELECT card AS shopper_id FROM sales"}}, 1, "lacks the column"),
    "no table": ({"tables": {}}, 2, "names no table"),
    "no such file": ({"url": "sqlite:///other.db"}, 1, "There is no SQLite file"),
    "url and folder": ({"folder": "."}, 2, "url and folder are both given"),
    "files of a database": ({"tables": {"interactions": {"files": "x.csv"}}}, 2, "a table has a query and no files"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_read_is_refused_in_one_sentence(home: Path, tmp_path: Path, case: str) -> None:
    changed, code, said = REFUSED[case]
    outcome = facings("ingest", _shop(tmp_path / "shop", **changed), "--json")
    assert (outcome.code, outcome.out) == (code, "")
    assert said in outcome.sentence
    assert not Lake(Home(home)).has("interactions")
    assert not list(home.rglob(".draft-*"))


def test_a_query_without_rows_is_told(home: Path, tmp_path: Path) -> None:
    empty = {"interactions": QUERY, "stores": "SELECT 1 AS store_id WHERE 0"}
    told = facings("ingest", _shop(tmp_path / "shop", tables=empty), "--json").told
    assert told["tables"]["stores"]["rows"] == 0
    assert "table stores" in told["warnings"][0] and "returned no rows" in told["warnings"][0]


EAST = timezone(timedelta(hours=2))


@pytest.mark.parametrize(
    ("values", "kind", "read"),
    [
        ([1, None], pl.Int64, [1, None]),
        ([2**70, 1], pl.String, [str(2**70), "1"]),
        ([1, 2.5], pl.Float64, [1.0, 2.5]),
        ([Decimal("2.50"), Decimal(3)], pl.Float64, [2.5, 3.0]),
        ([Decimal("3.00"), None], pl.Int64, [3, None]),
        ([Decimal(10) ** 20], pl.String, ["1" + "0" * 20]),
        ([True, None], pl.Boolean, [True, None]),
        ([date(2026, 1, 1)], pl.Date, [date(2026, 1, 1)]),
        ([datetime(2026, 1, 1, 9)], pl.Datetime("us"), [datetime(2026, 1, 1, 9)]),
        ([datetime(2026, 1, 1, 9, tzinfo=EAST)], pl.Datetime("us", "UTC"), [datetime(2026, 1, 1, 7, tzinfo=UTC)]),
        ([date(2026, 1, 1), datetime(2026, 1, 1, 9)], pl.String, ["2026-01-01", "2026-01-01T09:00:00"]),
        ([time(9, 30), None], pl.String, ["09:30:00", None]),
        ([UUID(int=1)], pl.String, ["00000000-0000-0000-0000-000000000001"]),
        ([1, "x"], pl.String, ["1", "x"]),
        ([["a", "b"], None], pl.List(pl.String), [["a", "b"], None]),
        ([None], pl.Null, [None]),
    ],
)
def test_a_databases_values_keep_their_kind(values: list[Any], kind: Any, read: list[Any]) -> None:
    series = queries.column_of("x", values, "The query")
    assert series.dtype == kind
    assert series.to_list() == read


@pytest.mark.parametrize(("value", "said"), [(b"x", "bytes"), (memoryview(b"x"), "bytes"), ({"a": 1}, "type dict")])
def test_what_no_table_holds_is_refused_by_name(value: Any, said: str) -> None:
    with pytest.raises(FacingsError, match=f"The query: column x holds .*{said}"):
        queries.column_of("x", [None, value], "The query")
