"""A folder of tables through the real command: what is kept, what comes twice, what a later folder replaces."""

from __future__ import annotations

import shutil
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from configs.clock import FixedClock
from configs.home import Home
from configs.settings import load_settings
from pipelines.signals.ingest import ingest_events
from pipelines.signals.lake.lake import Lake
from tests.command import facings
from tests.small_shop import ITEMS, SHOPPERS, STORES

HEADER = "shopper_id,item_id,event_type,event_time"
ROW = "a,i1,purchase,2026-01-01T00:00:00Z"


def _tables(*arguments: object) -> dict[str, dict[str, int]]:
    outcome = facings(*arguments, "--json")
    assert outcome.code == 0, outcome.err
    tables: dict[str, dict[str, int]] = outcome.told["tables"]
    for count in tables.values():
        assert count["rows"] == count["kept"] + count["duplicates"] + count["quarantined"]
    return tables


def _parts(home: Path) -> set[Path]:
    return set((home / "lake").rglob("*.parquet"))


def _write(folder: Path, **tables: str | pl.DataFrame) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, content in tables.items():
        if isinstance(content, str):
            (folder / f"{name}.csv").write_text(content)
        else:
            content.write_parquet(folder / f"{name}.parquet")
    return folder


@pytest.fixture
def lake(home: Path) -> Lake:
    return Lake(Home(home))


def test_every_row_of_a_sound_folder_is_kept(home: Path, small_shop: Path, lake: Lake) -> None:
    tables = _tables("ingest", small_shop)
    assert {name: count["kept"] for name, count in tables.items()} == {
        "interactions": 3000, "items": len(ITEMS), "stores": len(STORES), "screens": 2, "shoppers": len(SHOPPERS),
        "campaigns": 2, "offers": 4, "stock": 177,
    }  # fmt: skip
    frame = lake.read("interactions")
    assert len(frame) == 3000
    assert str(frame["event_time"].dtype) == str(frame["ingested_at"].dtype) == "datetime64[us, UTC]"
    assert lake.latest_event_time() == frame["event_time"].max()


def test_the_same_folder_twice_changes_nothing(home: Path, small_shop: Path, lake: Lake) -> None:
    first = _tables("ingest", small_shop)
    before, parts, manifest = lake.fingerprint(), _parts(home), (home / "lake" / "manifest.json").stat().st_mtime_ns
    second = _tables("ingest", small_shop)
    assert {name: count["rows"] for name, count in second.items()} == {
        name: count["duplicates"] for name, count in second.items()
    }
    assert first.keys() == second.keys()
    assert lake.fingerprint() == before
    assert _parts(home) == parts
    assert (home / "lake" / "manifest.json").stat().st_mtime_ns == manifest


def test_neither_order_nor_format_makes_a_row_new(home: Path, tmp_path: Path, lake: Lake) -> None:
    csv = f"{HEADER},quantity,size\n{ROW},1,5\n" + ROW.replace("a,", "b,", 1) + ",2,\n"
    _tables("ingest", _write(tmp_path / "csv", interactions=csv))
    before = lake.fingerprint()
    turned = "size,quantity,event_time,event_type,item_id,shopper_id\n5,1.0,2026-01-01,purchase,i1,a\n"
    assert _tables("ingest", _write(tmp_path / "turned", interactions=turned))["interactions"]["duplicates"] == 1
    parquet = pl.DataFrame(
        {
            "quantity": [2, 1],
            "size": [None, 5.0],
            "shopper_id": ["b", "a"],
            "item_id": ["i1", "i1"],
            "event_type": ["purchase"] * 2,
            "event_time": [date(2026, 1, 1)] * 2,
        }
    )
    assert _tables("ingest", _write(tmp_path / "parquet", interactions=parquet))["interactions"]["duplicates"] == 2
    assert lake.fingerprint() == before


def test_a_duplicate_has_the_same_event_id_or_all_values_equal(home: Path, tmp_path: Path, lake: Lake) -> None:
    rows = [f"{ROW},e1", f"{ROW.replace('i1', 'i2')},e1", f"{ROW},", f"{ROW},", f"{ROW},e2"]
    folder = _write(tmp_path / "shop", interactions="\n".join([f"{HEADER},event_id", *rows]) + "\n")
    assert _tables("ingest", folder)["interactions"] == {"rows": 5, "kept": 3, "duplicates": 2, "quarantined": 0}
    ids = lake.read("interactions")["event_id"]
    assert ids.notna().all() and ids.is_unique and {"e1", "e2"} < set(ids)


def test_a_later_ingest_wins_where_a_table_has_a_key(home: Path, tmp_path: Path, lake: Lake) -> None:
    interactions = f"{HEADER}\n{ROW}\n"
    _tables("ingest", _write(tmp_path / "1", interactions=interactions, items="item_id,price,size\ni1,1,x\ni2,2,y\n"))
    later = _tables("ingest", _write(tmp_path / "2", items="item_id,price,colour\ni1,5,red\ni3,3,\n"))
    assert later["items"] == {"rows": 2, "kept": 2, "duplicates": 0, "quarantined": 0}
    items = lake.read("items").set_index("item_id").sort_index()
    assert items["price"].to_dict() == {"i1": 5.0, "i2": 2.0, "i3": 3.0}
    assert items.loc["i2", "size"] == "y" and items.loc["i1", "colour"] == "red"


def test_an_attribute_may_change_its_type_between_ingests(home: Path, tmp_path: Path, lake: Lake) -> None:
    moment = datetime(2026, 1, 1)
    for number, extra in enumerate(["5", 7, True, date(2026, 1, 1), moment, None, 2.5]):
        row: dict[str, Any] = {"shopper_id": "a", "item_id": f"i{number}", "event_type": "view", "event_time": moment}
        frame = pl.DataFrame([row | {"extra": extra}])
        _tables("ingest", _write(tmp_path / str(number), interactions=frame))
    values = lake.read("interactions", ["item_id", "extra"]).set_index("item_id")["extra"]
    assert len(values) == 7 and values.notna().sum() == 6
    assert [values["i0"], values["i1"], values["i6"]] == ["5", "7", "2.5"]


def test_attributes_that_come_and_go_with_other_types_stop_no_later_ingest(
    home: Path, tmp_path: Path, lake: Lake
) -> None:
    moment = datetime(2026, 1, 1)
    extras: list[dict[str, list[Any]]] = [
        {"extra": [True]}, {"extra": [moment]}, {"other": [1]}, {}, {"extra": [date(2026, 1, 1)], "other": ["x"]},
    ]  # fmt: skip
    for number, extra in enumerate(extras):
        row = {"shopper_id": ["a"], "item_id": [f"i{number}"], "event_type": ["view"], "event_time": [moment]}
        items = pl.DataFrame({"item_id": [f"i{number}"], **extra})
        folder = _write(tmp_path / str(number), interactions=pl.DataFrame(row | extra), items=items)
        assert {name: count["kept"] for name, count in _tables("ingest", folder).items()} == {
            "interactions": 1,
            "items": 1,
        }
    for table in ("interactions", "items"):
        frame = lake.read(table).set_index("item_id")
        assert frame["extra"].dropna().to_dict() == {
            "i0": "true", "i1": "2026-01-01 00:00:00.000000+00:00", "i4": "2026-01-01",
        }  # fmt: skip
        assert frame["other"].dropna().to_dict() == {"i2": "1", "i4": "x"}
    before = lake.fingerprint()
    for number in range(len(extras)):
        _tables("ingest", tmp_path / str(number))
    assert lake.fingerprint() == before


def test_a_table_is_read_while_an_ingest_replaces_it(home: Path, tmp_path: Path, lake: Lake) -> None:
    folder = _write(tmp_path / "1", interactions=f"{HEADER}\n{ROW}\n", items="item_id,price\ni1,1\n")
    _tables("ingest", folder)
    scan = lake.scan

    def scan_just_before(table: str) -> pl.LazyFrame:
        query = scan(table)
        lake.scan = scan  # type: ignore[method-assign]
        _tables("ingest", _write(tmp_path / "2", items="item_id,price\ni1,2\n"))
        return query

    lake.scan = scan_just_before  # type: ignore[method-assign]
    assert list(lake.read("items")["price"]) == [2.0]


def test_ids_and_texts_come_back_as_they_went_in(home: Path, tmp_path: Path, lake: Lake) -> None:
    odd = ['o\'Brien "x"/..\\', "é漢字\u2028z", "007", "a\nb", "x" * 200_000, "NULL"]
    frame = pl.DataFrame({"shopper_id": odd}).with_columns(
        item_id=pl.lit("i"), event_type=pl.lit("view"), event_time=pl.lit("2026-01-01")
    )
    folder = tmp_path / "shop"
    folder.mkdir()
    frame.write_csv(folder / "interactions.csv")
    assert _tables("ingest", folder)["interactions"]["kept"] == len(odd)
    assert sorted(lake.read("interactions")["shopper_id"]) == sorted(odd)


def test_whole_numbers_are_ids(home: Path, tmp_path: Path, lake: Lake) -> None:
    frame = pl.DataFrame({"shopper_id": [1, 2], "item_id": [10.0, 11.0], "event_type": ["view", "tap"]})
    folder = _write(tmp_path / "shop", interactions=frame.with_columns(event_time=pl.lit(datetime(2026, 1, 1))))
    assert _tables("ingest", folder)["interactions"]["kept"] == 2
    assert sorted(lake.read("interactions")["item_id"]) == ["10", "11"]


def test_a_table_may_come_after_those_that_refer_to_it(home: Path, tmp_path: Path) -> None:
    """References are checked only against tables that were ever ingested."""
    _tables("ingest", _write(tmp_path / "1", interactions=f"{HEADER},store_id\n{ROW},s1\n"))
    second = _write(tmp_path / "2", screens="screen_id,store_id\nx,s1\ny,s2\n", stores="store_id\ns1\n")
    assert _tables("ingest", second)["screens"] == {"rows": 2, "kept": 1, "duplicates": 0, "quarantined": 1}


def test_only_a_file_of_the_contract_is_taken_and_the_others_are_named(home: Path, tmp_path: Path) -> None:
    folder = _write(tmp_path / "shop", interactions=f"{HEADER}\n{ROW}\n", users="x\n1\n")
    outcome = facings("ingest", folder, "--json")
    assert outcome.code == 0
    assert outcome.told["warnings"] == ["users.csv is no table of the contract and was left alone"]
    assert "users.csv" in outcome.err


def test_events_of_one_batch_may_differ_in_their_fields(home: Path) -> None:
    """What came over HTTP waits until it is in the lake: no batch may be impossible to take."""
    base = {"shopper_id": "a", "event_type": "tap", "event_time": "2026-01-01T00:00:00+00:00"}
    extras: list[Any] = [1, 2.5, "x", True, None, 2**63, 10**14]
    rows = [base | {"item_id": f"i{number}", "note": extra, "Note": extra} for number, extra in enumerate(extras)]
    settings = load_settings(home=home)
    clock = FixedClock(datetime(2026, 6, 1, tzinfo=UTC))
    report = ingest_events(rows, settings.paths, clock=clock, settings=settings)
    assert report.tables["interactions"].kept == len(rows)
    again = ingest_events(rows, settings.paths, clock=clock, settings=settings)
    assert again.tables["interactions"].duplicates == len(rows)
    assert again.fingerprint == report.fingerprint
