"""An export under its own names, words, times and signs, read through a mapping; nothing of it is rewritten."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from configs.home import Home
from pipelines.signals.lake.lake import Lake
from tests.command import facings

HEADER = "Kunde;Artikel;Vorgang;Zeit;Preis;Notiz"
MAPPING: dict[str, Any] = {
    "timezone": "Europe/Berlin",
    "times": ["%d/%m/%Y %H:%M", "%d/%m/%Y"],
    "csv": {"separator": ";", "decimal": ",", "encoding": "cp1252"},
    "tables": {
        "interactions": {
            "files": "verkauf*.csv",
            "columns": {
                "shopper_id": "Kunde", "item_id": "Artikel", "event_type": "Vorgang", "event_time": "Zeit",
                "price": "Preis",
            },
            "constants": {"currency": "EUR"},
            "event_types": {"Kauf": "purchase", 7: "return"},
            "leave_out": ["Notiz"],
        }
    },
}  # fmt: skip


def _export(folder: Path, *rows: str, name: str = "verkauf-01.csv") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("\n".join([HEADER, *rows]) + "\n", encoding="cp1252")
    return folder


def _mapping(path: Path, **changed: Any) -> Path:
    content = {**MAPPING, **{name: value for name, value in changed.items() if name != "table"}}
    if "table" in changed:
        content = {**content, "tables": {"interactions": {**MAPPING["tables"]["interactions"], **changed["table"]}}}
    path.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    return path


def _reasons() -> list[tuple[int, str]]:
    return [(row["line"], row["reason"]) for row in facings("quarantine", "--json").told]


def test_an_export_is_read_as_the_mapping_says(home: Path, tmp_path: Path) -> None:
    folder = _export(
        tmp_path / "export",
        "Käthe;H1;Kauf;31/01/2026 09:30;1.234,50;geheim",
        "b;H1;7;31/07/2026;2;geheim",
        "b;H1;view;2026-01-31T09:30:00Z;;geheim",
    )
    outcome = facings("ingest", folder, "--mapping", _mapping(tmp_path / "map.yaml"), "--json")
    assert outcome.told["tables"]["interactions"] == {"rows": 3, "kept": 3, "duplicates": 0, "quarantined": 0}
    rows = Lake(Home(home)).scan("interactions").sort("event_time").collect()
    assert rows["shopper_id"].to_list() == ["Käthe", "b", "b"]
    assert rows["event_type"].to_list() == ["purchase", "view", "return"]
    assert rows["event_time"].dt.strftime("%d %H:%M").to_list() == ["31 08:30", "31 09:30", "30 22:00"]
    assert rows["price"].to_list() == [1234.5, None, 2.0]
    assert rows["currency"].to_list() == ["EUR"] * 3
    assert "Notiz" not in rows.columns and "geheim" not in outcome.err
    again = facings("ingest", folder, "--mapping", tmp_path / "map.yaml", "--json").told
    assert again["fingerprint"] == outcome.told["fingerprint"] and again["files"]["unchanged"] == 1


def test_what_the_mapping_does_not_know_or_could_be_two_things_is_quarantined(home: Path, tmp_path: Path) -> None:
    folder = _export(
        tmp_path / "export",
        "a;H1;Umtausch;31/01/2026;1;",
        "a;H1;Kauf;31.01.2026;1;",
        "a;H1;Kauf;25/10/2026 02:30;1;",
        "a;H1;Kauf;29/03/2026 02:30;1;",
        "a;H1;Kauf;31/01/2026;1.50;",
        "a;H1;Kauf;31/01/2026;x;",
    )
    assert facings("ingest", folder, "--mapping", _mapping(tmp_path / "map.yaml")).code == 0
    hour = "event_time lies in the hour that clocks repeat or skip in Europe/Berlin"
    assert _reasons() == [
        (2, "event_type is not one of the known values"),
        (3, "event_time is not a time (write 2026-01-31T09:30:00Z)"),
        (4, hour),
        (5, hour),
        (6, "price has a point where a decimal comma is expected"),
        (7, "price is not a number"),
    ]
    # Tried again without the mapping, nothing is taken for what it is not.
    assert facings("quarantine", "readmit", "--json").told["tables"]["interactions"]["kept"] == 0
    assert len(_reasons()) == 6


def test_a_mapping_that_learned_a_word_and_a_format_lets_rows_in(home: Path, tmp_path: Path) -> None:
    folder = _export(
        tmp_path / "export", "a;H1;Umtausch;31/01/2026;1,5;", "a;H1;Kauf;31.01.2026;2,5;", "a;H2;Kauf;1;1;"
    )
    assert facings("ingest", folder, "--mapping", _mapping(tmp_path / "map.yaml")).code == 0
    learned = _mapping(
        tmp_path / "learned.yaml",
        times=[*MAPPING["times"], "%d.%m.%Y"],
        table={"event_types": {"Kauf": "purchase", "Umtausch": "return"}},
    )
    told = facings("quarantine", "readmit", "--mapping", learned, "--json").told
    assert told["tables"]["interactions"] == {"rows": 3, "kept": 2, "duplicates": 0, "quarantined": 1}
    assert sorted(Lake(Home(home)).read("interactions")["price"]) == [1.5, 2.5]
    # The daily file is read again under the new mapping, and finds the rows there.
    again = facings("ingest", folder, "--mapping", learned, "--json").told
    assert again["tables"]["interactions"] == {"rows": 3, "kept": 0, "duplicates": 2, "quarantined": 1}
    assert "its mapping changed" in again["warnings"][0]


def test_times_may_be_numbers_since_1970_where_the_mapping_says_so(home: Path, tmp_path: Path) -> None:
    moments = {"seconds": "1767225600", "milliseconds": "1767225600000"}
    for form, moment in moments.items():
        folder = _export(tmp_path / form, f"a;{form};Kauf;{moment};1;")
        assert facings("ingest", folder, "--mapping", _mapping(tmp_path / f"{form}.yaml", times=[form])).code == 0
    folder = tmp_path / "parquet"
    folder.mkdir()
    frame = pl.DataFrame({"shopper_id": ["a"], "item_id": ["i"], "event_type": ["tap"], "event_time": [1767225600]})
    frame.write_parquet(folder / "interactions.parquet")
    (tmp_path / "plain.yaml").write_text("times: [seconds]\n")
    assert facings("ingest", folder, "--mapping", tmp_path / "plain.yaml").code == 0
    times = Lake(Home(home)).read("interactions")["event_time"]
    assert {str(moment) for moment in times} == {"2026-01-01 00:00:00+00:00"} and len(times) == 3


def test_what_is_mapped_may_be_a_list_or_a_code(home: Path, tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {"who": ["a", "b"], "what": [["i1", "i2"], ["i3"]], "code": [1.0, None], "tags": [["x"], None]}
    )
    folder = tmp_path / "shop"
    folder.mkdir()
    frame.with_columns(event_time=pl.lit("2026-01-01"), item_id=pl.lit("i")).write_parquet(
        folder / "interactions.parquet"
    )
    table = {"columns": {"shopper_id": "who", "event_type": "code", "store_id": "what"}, "event_types": {1: "tap"}}
    (tmp_path / "map.yaml").write_text(yaml.safe_dump({"tables": {"interactions": table}}))
    assert facings("ingest", folder, "--mapping", tmp_path / "map.yaml").code == 0
    assert _reasons() == [(1, "store_id is not an id"), (2, "event_type is missing; store_id is not an id")]
    table["leave_out"] = table["columns"].pop("store_id").split()  # type: ignore[attr-defined]
    (tmp_path / "map.yaml").write_text(yaml.safe_dump({"tables": {"interactions": table}}))
    assert facings("ingest", folder, "--mapping", tmp_path / "map.yaml").code == 0
    (row,) = Lake(Home(home)).read("interactions").to_dict("records")
    assert (row["event_type"], row["tags"]) == ("tap", "x")


def test_a_source_may_be_one_yaml_that_names_its_folder(home: Path, tmp_path: Path) -> None:
    _export(tmp_path / "export", "a;H1;Kauf;31/01/2026;1;")
    source = _mapping(tmp_path / "export" / "shop.yaml", folder=".")
    told = facings("ingest", source, "--json").told
    assert told["tables"]["interactions"]["kept"] == 1 and told["warnings"] == []


REFUSED: dict[str, tuple[dict[str, Any], int, str]] = {
    "an unknown key": ({"zone": "UTC"}, 2, "key `zone`"),
    "an unknown table": ({"tables": {"sales": {}}}, 2, "there is no table sales"),
    "an unknown event type": ({"table": {"event_types": {"Kauf": "buy"}}}, 2, "event_types.Kauf"),
    "a zone that is none": ({"timezone": "Berlin"}, 2, "there is no time zone Berlin"),
    "a format that is none": ({"times": ["dd/mm/yyyy"]}, 2, "'dd/mm/yyyy' is no format of a time"),
    "a query without a url": ({"tables": {"interactions": "SELECT 1"}}, 2, "a query needs a url"),
    "a missing column": ({"table": {"columns": {"shopper_id": "Kundin"}}}, 1, "has no column Kundin, which the"),
    "a missing column to leave out": ({"table": {"leave_out": ["Mail"]}}, 1, "has no column Mail, which the mapping"),
    "a constant that is there": ({"table": {"constants": {"price": 1}}}, 2, "price is both a column and a constant"),
    "a constant beside a column": ({"table": {"constants": {"Notiz": 1}, "leave_out": []}}, 1, "has a column Notiz"),
    "a file that is not there": ({"table": {"files": "umsatz*.csv"}}, 1, "holds no file umsatz*.csv"),
    "a required column unmapped": ({"table": {"columns": {}}}, 1, "lacks the column shopper_id"),
    "a source in a mapping": ({"folder": "x"}, 2, "names a source of its own"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_mapping_that_cannot_be_used_is_one_sentence(home: Path, tmp_path: Path, case: str) -> None:
    changed, code, said = REFUSED[case]
    folder = _export(tmp_path / "export", "a;H1;Kauf;31/01/2026;1;")
    outcome = facings("ingest", folder, "--mapping", _mapping(tmp_path / "map.yaml", **changed), "--json")
    assert (outcome.code, outcome.out) == (code, "")
    assert said in outcome.sentence
    assert not Lake(Home(home)).has("interactions")


def test_a_mapping_that_is_no_yaml_is_one_sentence(home: Path, tmp_path: Path) -> None:
    folder = _export(tmp_path / "export", "a;H1;Kauf;31/01/2026;1;")
    for text, said in (("a: [", "is not valid YAML"), ("- x", "must be a mapping"), (None, "There is no file")):
        path = tmp_path / "map.yaml"
        path.unlink(missing_ok=True)
        if text is not None:
            path.write_text(text)
        outcome = facings("ingest", folder, "--mapping", path)
        assert outcome.code == 2 and said in outcome.sentence
