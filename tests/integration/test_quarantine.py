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
from pipelines.signals.lake import Lake
from pipelines.signals.quarantine import FORGOTTEN, read_quarantine
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


def test_of_two_tried_again_with_one_key_the_first_is_taken(home: Path, tmp_path: Path) -> None:
    stock = "store_id,item_id,units,as_of\ns9,i1,5,2026-01-01\ns9,i1,6,2026-01-01\n"
    _ingest(_folder(tmp_path / "1", interactions=f"{HEADER}\n{ROW},,", stores="store_id\ns1\n", stock=stock))
    _ingest(_folder(tmp_path / "2", stores="store_id\ns9\n"))
    told = facings("quarantine", "readmit", "--json").told["tables"]
    assert told["stock"] == {"rows": 2, "kept": 1, "duplicates": 0, "quarantined": 1}
    assert list(Lake(Home(home)).read("stock")["units"]) == [5.0]


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
