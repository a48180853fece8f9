"""A folder that gets new files every day: only new content is read, a changed file is noticed, a missing one told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from configs.home import Home
from pipelines.signals.lake.lake import Lake
from tests.command import facings

HEADER = "shopper_id,item_id,event_type,event_time,store_id"
ROWS = [f"a,i{number},purchase,2026-01-0{number}T10:00:00Z,s1" for number in range(1, 7)]


def _ingest(folder: Path, *options: str) -> Any:
    outcome = facings("ingest", folder, *options, "--json")
    assert outcome.code == 0, outcome.err
    for count in outcome.told["tables"].values():
        assert count["rows"] == count["kept"] + count["duplicates"] + count["quarantined"]
    return outcome.told


def _day(folder: Path, day: int, *rows: str) -> Path:
    path = folder / "interactions" / f"2026-01-0{day}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([HEADER, *rows]) + "\n")
    return path


@pytest.fixture
def days(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    _day(folder, 1, ROWS[0], ROWS[1])
    _day(folder, 2, ROWS[2])
    return folder


def test_only_new_files_are_read(home: Path, days: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = _ingest(days)
    assert first["tables"]["interactions"] == {"rows": 3, "kept": 3, "duplicates": 0, "quarantined": 0}
    assert first["files"] == {"read": 2, "new": 2, "unchanged": 0, "changed": 0, "gone": 0}
    _day(days, 3, ROWS[3], ROWS[2])
    read: list[str] = []
    from pipelines.signals.sources.source import Source

    chunks = Source.chunks
    monkeypatch.setattr(Source, "chunks", lambda self: read.append(self.name) or chunks(self))  # type: ignore[func-returns-value]
    second = _ingest(days)
    assert read == ["interactions/2026-01-03.csv"]
    assert second["tables"]["interactions"] == {"rows": 5, "kept": 1, "duplicates": 4, "quarantined": 0}
    assert second["files"] == {"read": 1, "new": 1, "unchanged": 2, "changed": 0, "gone": 0}
    lake = Lake(Home(home))
    assert len(lake.read("interactions")) == 4
    assert len(lake.manifest().tables["interactions"]) == 2  # a part for each ingest, not for each file


def test_the_same_days_twice_change_nothing(home: Path, days: Path) -> None:
    first = _ingest(days)
    manifest = home / "lake" / "manifest.json"
    before = manifest.stat().st_mtime_ns
    second = _ingest(days)
    assert second["tables"]["interactions"] == {"rows": 3, "kept": 0, "duplicates": 3, "quarantined": 0}
    assert second["fingerprint"] == first["fingerprint"]
    assert manifest.stat().st_mtime_ns == before


def test_a_changed_file_is_read_again_and_its_known_rows_are_duplicates(home: Path, days: Path) -> None:
    _ingest(days)
    _day(days, 1, ROWS[0], ROWS[1], ROWS[4])
    told = _ingest(days)
    assert told["tables"]["interactions"] == {"rows": 4, "kept": 1, "duplicates": 3, "quarantined": 0}
    assert told["files"] == {"read": 1, "new": 0, "unchanged": 1, "changed": 1, "gone": 0}
    assert told["warnings"] == [
        "interactions/2026-01-01.csv is read again, because its content changed since it was last read"
    ]


def test_a_missing_file_is_told_once_and_its_rows_stay(home: Path, days: Path) -> None:
    _ingest(days)
    gone = days / "interactions" / "2026-01-01.csv"
    gone.rename(days.parent / "away.csv")
    told = _ingest(days)
    (warning,) = told["warnings"]
    assert "2026-01-01.csv" in warning and "their rows stay" in warning
    assert told["files"]["gone"] == 1
    assert _ingest(days)["warnings"] == []
    assert len(Lake(Home(home)).read("interactions")) == 3
    (days.parent / "away.csv").rename(gone)
    assert _ingest(days)["files"] == {"read": 0, "new": 0, "unchanged": 2, "changed": 0, "gone": 0}


def test_a_file_of_its_own_is_read_again_only_where_it_may_say_something_new(home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "plain"
    folder.mkdir()
    (folder / "interactions.csv").write_text("\n".join([HEADER, *ROWS[:2]]) + "\n")
    (folder / "items.csv").write_text("item_id,price\ni1,1\n")
    (folder / "searches.csv").write_text("shopper_id,query,event_time\na,milk,2026-01-01\na,milk,soon\n")
    first = _ingest(folder)
    again = _ingest(folder)
    assert again["files"] == {"read": 2, "new": 0, "unchanged": 3, "changed": 0, "gone": 0}
    assert again["tables"]["interactions"] == {"rows": 2, "kept": 0, "duplicates": 2, "quarantined": 0}
    assert again["fingerprint"] == first["fingerprint"]
    with (folder / "interactions.csv").open("a") as file:
        file.write(ROWS[2] + "\n")
    grown = _ingest(folder)
    assert grown["files"]["changed"] == 1 and grown["warnings"] == []
    assert grown["tables"]["interactions"] == {"rows": 3, "kept": 1, "duplicates": 2, "quarantined": 0}


def test_files_beside_and_below_in_either_format_are_one_table(home: Path, days: Path) -> None:
    pl.read_csv((HEADER + "\n" + ROWS[3] + "\n").encode()).write_parquet(days / "interactions" / "2026-01-04.parquet")
    (days / "interactions-2026-01-05.csv").write_text(f"{HEADER}\n{ROWS[4]}\n")
    (days / "interactions.csv").write_text(f"{HEADER}\n{ROWS[5]}\n")
    (days / "interactions" / "_SUCCESS").touch()
    (days / "interactions" / "more").mkdir()
    (days / "interactions" / "more" / "part-0.csv").write_text(f"{HEADER}\n")  # a day without a sale
    told = _ingest(days)
    assert told["tables"]["interactions"]["kept"] == 6
    assert told["warnings"] == []


def test_the_same_day_in_two_formats_is_refused(home: Path, days: Path) -> None:
    pl.read_csv((HEADER + "\n" + ROWS[3] + "\n").encode()).write_parquet(days / "interactions" / "2026-01-01.parquet")
    outcome = facings("ingest", days)
    assert outcome.code == 1
    assert "interactions/2026-01-01 of table interactions both as CSV and as parquet" in outcome.sentence
    assert not Lake(Home(home)).has("interactions")


def test_of_a_table_with_a_key_the_later_file_wins_and_twice_is_once(home: Path, days: Path) -> None:
    for day, units in ((1, 5), (2, 3)):
        (days / f"stock-2026-01-0{day}.csv").write_text(f"store_id,item_id,units,as_of\ns1,i1,{units},2026-01-0{day}\n")
    first = _ingest(days)
    lake = Lake(Home(home))
    assert list(lake.read("stock")["units"]) == [3.0]
    again = _ingest(days)
    assert again["tables"]["stock"] == {"rows": 2, "kept": 0, "duplicates": 2, "quarantined": 0}
    assert again["fingerprint"] == first["fingerprint"]


def test_a_quarantined_row_names_the_file_and_line_of_its_day(home: Path, days: Path) -> None:
    _day(days, 3, ROWS[3], ROWS[4].replace("purchase", "bought"))
    _ingest(days)
    (row,) = facings("quarantine", "--json").told
    assert (row["table"], row["file"], row["line"]) == ("interactions", "interactions/2026-01-03.csv", 3)


def test_a_corrected_file_takes_its_row_out_of_the_quarantine(home: Path, days: Path) -> None:
    bad = ROWS[4].replace("purchase", "bought")
    _day(days, 3, ROWS[3], bad)
    assert _ingest(days)["tables"]["interactions"]["quarantined"] == 1
    _day(days, 3, ROWS[3], ROWS[4])
    told = _ingest(days)
    assert told["settled"] == 1 and told["tables"]["interactions"]["kept"] == 1
    assert facings("quarantine", "--json").told == []


def test_another_row_on_its_line_settles_nothing(home: Path, days: Path) -> None:
    _day(days, 3, ROWS[3], ROWS[4].replace("purchase", "bought"))
    _ingest(days)
    _day(days, 3, ROWS[3], ROWS[5])
    assert _ingest(days)["settled"] == 0
    assert len(facings("quarantine", "--json").told) == 1


def test_events_over_http_leave_the_notes_of_files_alone(home: Path, days: Path) -> None:
    from configs.settings import load_settings
    from pipelines.signals.ingest import ingest_events

    _ingest(days)
    settings = load_settings(home=home)
    event = {"shopper_id": "b", "item_id": "i1", "event_type": "tap", "event_time": "2026-01-01T00:00:00Z"}
    ingest_events([event], settings.paths, clock=settings.clock(), settings=settings)
    assert _ingest(days)["files"]["unchanged"] == 2


def test_a_dry_run_says_what_would_happen_and_changes_nothing(home: Path, days: Path, tmp_path: Path) -> None:
    _day(days, 3, ROWS[3], ROWS[4].replace("purchase", "bought"), ROWS[3])
    dry = _ingest(days, "--dry-run")
    assert not home.exists()
    assert dry["dry_run"] is True
    assert [(row["reason"], row["rows"], row["first_line"]) for row in dry["reasons"]] == [
        ("event_type is not one of the known values", 1, 3)
    ]
    real = _ingest(days)
    assert {**real, "dry_run": True, "data": None} == dry  # the data is looked at when it is there
    files = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    _day(days, 4, ROWS[5])
    dry = _ingest(days, "--dry-run")
    assert dry["tables"]["interactions"]["kept"] == 1 and dry["fingerprint"] != real["fingerprint"]
    assert {path: path.read_bytes() for path in home.rglob("*") if path.is_file()} == files
    assert {**_ingest(days), "dry_run": True, "data": None} == dry
    assert "nothing was changed" in facings("ingest", days, "--dry-run").out
