"""Quarantined rows: listed once, explained, taken in after a fix, and without content once a shopper is forgotten."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl

from configs.clock import SystemClock
from configs.home import Home
from configs.secrets import secret
from configs.settings import load_settings
from pipelines import snapshot
from pipelines.signals.lake.lake import Lake
from pipelines.signals.quarantine.rows import FORGOTTEN, read_quarantine
from state.engine import open_engine
from state.forgotten import remember_forgotten
from tests.command import facings

HEADER = "shopper_id,item_id,event_type,event_time,store_id,price"
ROW = "a,i1,purchase,2026-01-01T00:00:00Z"


def _folder(folder: Path, **tables: str) -> Path:
    folder.mkdir()
    for name, text in tables.items():
        (folder / f"{name}.csv").write_text(text)
    return folder


def _ingest(folder: Path) -> None:
    outcome = facings("ingest", folder)
    assert outcome.code == 0, outcome.err


def _reasons() -> list[tuple[int, str]]:
    return [(row["line"], row["reason"]) for row in facings("quarantine", "--json").told]


def test_an_empty_home_has_an_empty_quarantine(home: Path) -> None:
    assert facings("quarantine", "--json").told == []
    assert facings("quarantine").out.strip() == "The quarantine is empty."
    assert facings("quarantine", "readmit", "--json").told["tables"] == {}


def test_a_row_is_listed_once_however_often_its_folder_comes(home: Path, tmp_path: Path) -> None:
    bad = "a,i1,bought,2026-01-01,,"
    folder = _folder(tmp_path / "shop", interactions="\n".join([HEADER, bad, bad, f"{ROW},,"]))
    for _ in range(3):
        _ingest(folder)
    assert [line for line, _ in _reasons()] == [2, 3]


def test_rows_are_taken_in_after_the_fix_and_the_others_stay(home: Path, tmp_path: Path) -> None:
    rows = [f"{ROW},s1,1", f"{ROW},s2,1", f"{ROW},s2,NaN", "a,i1", f"b{ROW},s3,1"]
    _ingest(_folder(tmp_path / "1", interactions="\n".join([HEADER, *rows]), stores="store_id\ns1\n"))
    assert len(_reasons()) == 4
    _ingest(_folder(tmp_path / "2", stores="store_id\ns1\ns2\n"))
    outcome = facings("quarantine", "readmit", "--json")
    assert outcome.told["tables"] == {"interactions": {"rows": 3, "kept": 1, "duplicates": 0, "quarantined": 2}}
    assert _reasons() == [
        (4, "price is not a finite number"),
        (5, "the row has 2 values and the header 6 names; check commas and quotes"),
        (6, "store_id 's3' is not in the stores table"),
    ]
    lake = Lake(Home(home))
    before = lake.fingerprint()
    assert sorted(lake.read("interactions")["store_id"]) == ["s1", "s2"]
    assert facings("quarantine", "readmit").out.strip() == "0 rows taken in, 3 stay in quarantine"
    assert lake.fingerprint() == before
    assert len(_reasons()) == 3


def test_rows_that_came_as_parquet_are_taken_in_with_their_types(home: Path, tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "shopper_id": [1.0, 2.0, None],
            "item_id": [1, 2, 3],
            "event_type": ["view"] * 3,
            "event_time": pl.Series(["2026-01-01T01:02:03.000004"] * 3).str.to_datetime(time_unit="us"),
            "store_id": ["s1", "s2", "s2"],
            "price": [1.5, 2.5, float("nan")],
            "flag": [True, False, None],
        }
    )
    folder = _folder(tmp_path / "1", stores="store_id\ns1\n")
    frame.write_parquet(folder / "interactions.parquet")
    _ingest(folder)
    _ingest(_folder(tmp_path / "2", stores="store_id\ns2\n"))
    assert facings("quarantine", "readmit", "--json").told["tables"]["interactions"]["kept"] == 1
    assert _reasons() == [(3, "shopper_id is missing; price is not a finite number")]
    rows = Lake(Home(home)).read("interactions").set_index("shopper_id")
    assert sorted(rows.index) == ["1", "2"]
    assert str(rows["event_time"]["2"]) == "2026-01-01 01:02:03.000004+00:00"
    # Taken in directly, the row would be the same one.
    before = Lake(Home(home)).fingerprint()
    _ingest(folder)
    assert Lake(Home(home)).fingerprint() == before


def test_explain_counts_reasons_and_tells_the_way_out(home: Path, tmp_path: Path) -> None:
    rows = ["a,i1,bought,2026-01-01,,", "a,i2,bought,2026-01-01,,", ",i2,view,2026-01-01,,"]
    _ingest(_folder(tmp_path / "shop", interactions="\n".join([HEADER, *rows])))
    told = facings("quarantine", "explain", "--json").told
    assert [(row["rows"], row["first_line"]) for row in told] == [(2, 2), (1, 4)]
    assert told[1]["way_out"].startswith("fill the column")
    assert facings("quarantine", "explain", "--table", "items", "--json").told == []


def test_the_rows_of_a_forgotten_shopper_are_counted_and_not_kept(home: Path, tmp_path: Path) -> None:
    settings = load_settings(home=home)
    key = secret(settings.paths, "pseudonym")
    assert remember_forgotten(open_engine(settings.state_uri), "gone", key, SystemClock())
    rows = ["gone,i1,view,2026-01-01,,", "gone,i1,bought,2026-01-01,,", "gone,i1", f"{ROW},,"]
    folder = _folder(
        tmp_path / "shop", interactions="\n".join([HEADER, *rows]), shoppers="shopper_id,home_store_id\ngone,s1\nb,s1\n"
    )
    _ingest(folder)
    assert _reasons() == [(2, FORGOTTEN), (3, FORGOTTEN), (4, FORGOTTEN), (2, FORGOTTEN)]
    lake = Lake(Home(home))
    assert read_quarantine(lake)["row"].to_list() == [""] * 4
    assert list(lake.read("interactions")["shopper_id"]) == ["a"]
    for file in (home / "lake").rglob("*.parquet"):
        assert b"gone" not in file.read_bytes()
    before = lake.fingerprint()
    assert facings("quarantine", "readmit").code == 0
    _ingest(folder)
    assert lake.fingerprint() == before and len(_reasons()) == 4


def test_a_row_that_is_tried_again_does_not_replace_what_the_lake_holds(home: Path, tmp_path: Path) -> None:
    first = {"items": "item_id,price\ni1,1\ni1,2\n", "stock": "store_id,item_id,units,as_of\ns9,i1,5,2026-01-01\n"}
    _ingest(_folder(tmp_path / "1", interactions=f"{HEADER}\n{ROW},,", stores="store_id\ns1\n", **first))
    stock = "store_id,item_id,units,as_of\ns9,i1,0,2026-02-01\n"
    _ingest(_folder(tmp_path / "2", stores="store_id\ns9\n", stock=stock))
    lake = Lake(Home(home))
    before = lake.fingerprint()
    assert facings("quarantine", "readmit", "--json").told["tables"]["stock"]["quarantined"] == 1
    assert lake.fingerprint() == before
    assert _reasons() == [
        (3, "the key (item_id) stands in the lake already, with other values"),
        (2, "the key (store_id, item_id) stands in the lake already, with other values"),
    ]
    assert list(lake.read("items")["price"]) == [1.0]
    assert list(lake.read("stock")["units"]) == [0.0]


def test_a_key_that_stands_once_in_the_file_that_comes_again_waits_no_longer(home: Path, tmp_path: Path) -> None:
    folder = _folder(tmp_path / "1", interactions=f"{HEADER}\n{ROW},,", items="item_id,price\ni1,1\ni1,2\ni2,x\n")
    _ingest(folder)
    assert [line for line, _ in _reasons()] == [3, 4]
    (folder / "items.csv").write_text("item_id,price\ni1,2\ni2,x\n")
    _ingest(folder)
    assert _reasons() == [(3, "price is not a number")]
    assert list(Lake(Home(home)).read("items")["price"]) == [2.0]


def test_of_two_tried_again_with_one_key_the_first_is_taken(home: Path, tmp_path: Path) -> None:
    stock = "store_id,item_id,units,as_of\ns9,i1,5,2026-01-01\ns9,i1,6,2026-01-01\n"
    _ingest(_folder(tmp_path / "1", interactions=f"{HEADER}\n{ROW},,", stores="store_id\ns1\n", stock=stock))
    _ingest(_folder(tmp_path / "2", stores="store_id\ns9\n"))
    told = facings("quarantine", "readmit", "--json").told["tables"]
    assert told["stock"] == {"rows": 2, "kept": 1, "duplicates": 0, "quarantined": 1}
    assert list(Lake(Home(home)).read("stock")["units"]) == [5.0]


def test_exported_rows_are_taken_in_once_they_are_corrected(home: Path, tmp_path: Path) -> None:
    rows = [f"{ROW},s1,two", f"{ROW},s1,1,extra", "b,i1,bought,2026-01-01,s1,3", f"c{ROW},s1,1"]
    _ingest(_folder(tmp_path / "shop", interactions="\n".join([HEADER, *rows]), items="item_id,price\ni1,x\n"))
    fix = tmp_path / "fix"
    told = facings("quarantine", "export", "--out", fix, "--json").told
    assert told["files"] == {table: str(fix / f"{table}.csv") for table in ("interactions", "items")}
    exported = pl.read_csv(fix / "interactions.csv", infer_schema=False)
    assert exported["quarantine_line"].to_list() == ["2", "3", "4"]
    assert exported["price"].to_list() == ["two", "1", "3"]
    assert exported["quarantine_surplus"].to_list() == [None, "extra", None]
    exported.with_columns(
        pl.Series("price", ["2", "1", "3"]), pl.Series("quarantine_surplus", [None, None, None], pl.String)
    ).write_csv(fix / "interactions.csv")
    outcome = facings("quarantine", "readmit", "--corrected", fix, "--json")
    # The item and the word `bought` were not corrected. The row with an extra value is what it should be without it.
    assert outcome.told["tables"] == {"interactions": {"rows": 1, "kept": 1, "duplicates": 0, "quarantined": 0}}
    assert [(row["table"], row["line"]) for row in facings("quarantine", "--json").told] == [
        ("interactions", 3), ("interactions", 4), ("items", 2),
    ]  # fmt: skip
    assert sorted(Lake(Home(home)).read("interactions")["price"]) == [1.0, 2.0]


def test_a_correction_that_does_not_hold_waits_in_the_place_of_the_row(home: Path, tmp_path: Path) -> None:
    _ingest(_folder(tmp_path / "shop", interactions="\n".join([HEADER, f"{ROW},,two", f"b{ROW},,1"])))
    facings("quarantine", "export", "--out", tmp_path / "fix")
    file = tmp_path / "fix" / "interactions.csv"
    whole = pl.read_csv(file, infer_schema=False)
    whole.with_columns(price=pl.lit("-2")).write_csv(file)
    assert facings("quarantine", "readmit", "--corrected", tmp_path / "fix").code == 0
    assert _reasons() == [(2, "price is less than 0")]
    whole.with_columns(price=pl.lit("2")).write_csv(file)
    # The export is of a row that waits no longer: the one in its place has an id of its own.
    told = facings("quarantine", "readmit", "--corrected", tmp_path / "fix", "--json").told
    assert told["tables"] == {} and told["warnings"] == ["1 rows wait in the quarantine no longer and were left alone"]
    assert _reasons() == [(2, "price is less than 0")]


def test_a_folder_that_was_not_exported_is_refused(home: Path, tmp_path: Path) -> None:
    folder = _folder(tmp_path / "shop", interactions=f"{HEADER}\n{ROW},,two\n")
    _ingest(folder)
    for given, said in (
        (folder, "no column quarantine_id"),
        (tmp_path / "nowhere", "no folder"),
        (tmp_path, "no table"),
    ):
        outcome = facings("quarantine", "readmit", "--corrected", given)
        assert outcome.code == 1 and said in outcome.sentence
    for wrong in (["export"], ["list", "--out", "x"], ["list", "--mapping", "x"], ["readmit", "--table", "items"]):
        assert facings("quarantine", *wrong).code == 2
    assert len(_reasons()) == 1


def test_the_content_of_a_forgotten_shoppers_row_is_not_exported(home: Path, tmp_path: Path) -> None:
    settings = load_settings(home=home)
    remember_forgotten(open_engine(settings.state_uri), "gone", secret(settings.paths, "pseudonym"), SystemClock())
    _ingest(_folder(tmp_path / "shop", interactions="\n".join([HEADER, "gone,i1,view,2026-01-01,,", f"{ROW},,two"])))
    facings("quarantine", "export", "--out", tmp_path / "fix")
    assert "gone" not in (tmp_path / "fix" / "interactions.csv").read_text()


def test_explain_names_some_unknown_values_and_counts_them_together(home: Path, tmp_path: Path) -> None:
    rows = [f"{ROW},s{number},{number}" for number in range(2, 7)]
    _ingest(_folder(tmp_path / "shop", interactions="\n".join([HEADER, *rows]), stores="store_id\ns1\n"))
    (told,) = facings("quarantine", "explain", "--json").told
    assert (told["reason"], told["rows"]) == ("store_id is not in the stores table", 5)
    assert told["values"] == ["s2", "s3", "s4"]
    assert "(such as s2, s3, s4); ingest the table" in facings("quarantine", "explain").out


def test_where_no_row_of_the_stores_holds_no_store_is_known(home: Path, tmp_path: Path) -> None:
    _ingest(_folder(tmp_path / "shop", interactions=f"{HEADER}\n{ROW},s1,", stores="store_id,name\n,North\n"))
    assert _reasons() == [(2, "store_id 's1' is not in the stores table"), (2, "store_id is missing")]


def test_a_screen_that_was_taken_in_again_is_served(home: Path, tmp_path: Path) -> None:
    stores = "store_id\ns1"
    _ingest(
        _folder(tmp_path / "a", interactions=f"{HEADER}\n{ROW},s1,2", stores=stores, screens="screen_id,store_id\nw,s2")
    )
    _ingest(_folder(tmp_path / "b", stores="store_id\ns2"))
    assert facings("quarantine", "readmit").code == 0
    place = home / "snapshots" / "shop" / str(snapshot.current(Home(home), "shop")) / "places.json"
    assert list(json.loads(place.read_text())["screens"]) == ["w"]
