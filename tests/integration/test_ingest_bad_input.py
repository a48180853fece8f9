"""Bad input through the real command: a sentence and nothing changed, or a quarantined row with reason and line."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs.home import Home
from pipelines.signals import load
from pipelines.signals.lake.lake import Lake
from tests.command import facings

HEADER = "shopper_id,item_id,event_type,event_time"
ROW = "a,i1,purchase,2026-01-01T00:00:00Z"
GOOD = f"{HEADER}\n{ROW}\n"
MOMENT = datetime(2026, 1, 1)


def _frame(rows: int = 1, **changed: Any) -> pl.DataFrame:
    columns = {"shopper_id": "a", "item_id": "i", "event_type": "view", "event_time": MOMENT} | changed
    return pl.DataFrame({name: value if isinstance(value, list) else [value] * rows for name, value in columns.items()})


def _parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


def _arrow(**changed: pa.Array) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table({**_frame().to_arrow().to_pydict(), **changed}), buffer)
    return buffer.getvalue()


def _damaged() -> bytes:
    whole = bytearray(_parquet(_frame(5000, shopper_id=[str(number) for number in range(5000)])))
    for place in range(200, 900):
        whole[place] ^= 0x5A
    return bytes(whole)


def _fill(folder: Path, files: dict[str, str | bytes]) -> Path:
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


REFUSED: dict[str, tuple[dict[str, str | bytes], str]] = {
    "a missing column": (
        {"interactions.csv": "shopper_id,item_id,event_time\na,b,2026-01-01\n"},
        "lacks the column event_type of table interactions",
    ),
    "another separator": ({"interactions.csv": GOOD.replace(",", ";")}, "lacks the column shopper_id"),
    "no interactions": ({"stores.csv": "store_id\ns1\n"}, "no table of interactions"),
    "no table at all": ({"notes.txt": "x"}, "holds no table"),
    "both formats": ({"interactions.csv": GOOD, "interactions.parquet": _parquet(_frame())}, "both as CSV and as"),
    "only a header": ({"interactions.csv": HEADER + "\n"}, "interactions.csv has no rows"),
    "an empty second table": ({"interactions.csv": GOOD, "items.csv": "item_id\n"}, "items.csv has no rows"),
    "a parquet file without rows": ({"interactions.parquet": _parquet(_frame().clear())}, "has no rows"),
    "a CSV file of no bytes": ({"interactions.csv": b""}, "interactions.csv is empty"),
    "a CSV file of blank lines": ({"interactions.csv": "\n\n"}, "interactions.csv is empty"),
    "a parquet file of no bytes": ({"interactions.parquet": b""}, "not a readable parquet file"),
    "no parquet at all": ({"interactions.parquet": GOOD}, "not a readable parquet file"),
    "a cut parquet file": ({"interactions.parquet": _parquet(_frame(9))[:-9]}, "not a readable parquet file"),
    "a damaged parquet file": ({"interactions.parquet": _damaged()}, "interactions.parquet is damaged"),
    "another encoding": ({"interactions.csv": GOOD.replace("a,", "caf\xe9,", 1).encode("latin-1")}, "is not UTF-8"),
    "another encoding far below": (
        {"interactions.csv": GOOD.encode() + f"{ROW}\n".encode() * 20_000 + b"caf\xe9" + ROW.encode()},
        "UTF-8",
    ),
    "UTF-16": ({"interactions.csv": GOOD.encode("utf-16")}, "is written in UTF-16"),
    "a quote that is never closed": ({"interactions.csv": GOOD + 'a,"i1,purchase,2026-01-01\n' + GOOD}, "on line 3"),
    "a column twice": ({"interactions.csv": f"{HEADER},item_id\n{ROW},b\n"}, "names a column item_id twice"),
    "a column without a name": ({"interactions.csv": f",{HEADER}\n0,{ROW}\n"}, "no name for column 1"),
    "names that differ in case only": ({"interactions.csv": f"{HEADER},Item_ID\n{ROW},b\n"}, "differ in case only"),
    "a column of the lake's own": ({"interactions.csv": f"{HEADER},ingested_at\n{ROW},b\n"}, "keeps for itself"),
    "too many columns": (
        {"interactions.csv": ",".join([HEADER, *(f"x{n}" for n in range(1000))]) + "\n"},
        "has 1,004 columns and a table may have 1000",
    ),
    "a name that is too long": ({"interactions.csv": f"{HEADER},{'x' * 201}\n{ROW},1\n"}, "a name of 201 characters"),
    "nested columns": ({"interactions.parquet": _parquet(_frame(basket=[{"a": 1}]))}, "column basket is of type"),
    "lists of ids": ({"interactions.parquet": _parquet(_frame(item_id=[["a"]]))}, "column item_id is of type"),
    "a decimal of 256 bits": (
        {"interactions.parquet": _arrow(price=pa.array([Decimal("1.5")], pa.decimal256(60, 2)))},
        "column price is of type",
    ),
    "bytes": ({"interactions.parquet": _parquet(_frame(item_id=[b"\xff"]))}, "column item_id is of type"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_taken_is_refused_in_one_sentence_and_changes_nothing(
    home: Path, tmp_path: Path, case: str
) -> None:
    files, said = REFUSED[case]
    if case != "no interactions":
        assert facings("ingest", _fill(tmp_path / "good", {"interactions.csv": GOOD})).code == 0
    before = _state(home)
    outcome = facings("ingest", _fill(tmp_path / "bad", files), "--json")
    assert (outcome.code, outcome.out) == (1, "")
    assert said in outcome.sentence
    assert _state(home) == before


def _state(home: Path) -> Any:
    lake = home / "lake"
    manifest = lake / "manifest.json"
    return manifest.read_text() if manifest.exists() else "", sorted(lake.rglob("*.parquet"))


def test_a_folder_that_is_not_there_is_told(home: Path, tmp_path: Path) -> None:
    outcome = facings("ingest", tmp_path / "nowhere", "--json")
    assert (outcome.code, outcome.out) == (1, "")
    assert "There is no folder" in outcome.sentence
    assert facings("ingest").code == 2
    assert facings("quarantine", "sweep").code == 2
    assert facings("quarantine", "--table", "users").code == 2


def _quarantine(folder: Path) -> list[tuple[str, int, str]]:
    """Ingest; return table, line and reason of each quarantined row."""
    outcome = facings("ingest", folder, "--json")
    assert outcome.code == 0, outcome.err
    for count in outcome.told["tables"].values():
        assert count["rows"] == count["kept"] + count["duplicates"] + count["quarantined"]
    listed = facings("quarantine", "--json").told
    assert all(row.keys() == {"table", "file", "line", "reason"} for row in listed)
    assert len(listed) == sum(count["quarantined"] for count in outcome.told["tables"].values())
    return [(row["table"], row["line"], row["reason"]) for row in listed]


def test_bad_values_are_quarantined_with_column_and_line(home: Path, tmp_path: Path) -> None:
    late = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    rows = [
        f"{ROW},2,1.5", f"{ROW},two,1", "a,i1,purchase,soon,1,1", f"{ROW},1,NaN", f"{ROW},1,inf", f"{ROW},1,-2",
        ",i1,purchase,2026-01-01,1,1", f"a,i1,purchase,{late},1,1", "a,i1,bought,2026-01-01,1,1", f"{ROW},0,",
    ]  # fmt: skip
    folder = _fill(tmp_path / "shop", {"interactions.csv": "\n".join([f"{HEADER},quantity,price", *rows])})
    assert _quarantine(folder) == [
        ("interactions", 3, "quantity is not a number"),
        ("interactions", 4, "event_time is not a time (write 2026-01-31T09:30:00Z)"),
        ("interactions", 5, "price is not a finite number"),
        ("interactions", 6, "price is not a finite number"),
        ("interactions", 7, "price is less than 0"),
        ("interactions", 8, "shopper_id is missing"),
        ("interactions", 9, "event_time lies in the future"),
        ("interactions", 10, "event_type is not one of the known values"),
    ]
    assert sorted(Lake(Home(home)).read("interactions")["quantity"]) == [0.0, 2.0]


def test_a_whole_column_of_the_wrong_type_quarantines_its_rows(home: Path, tmp_path: Path) -> None:
    frame = _frame(3, event_time=[1, 2, 3])
    folder = _fill(tmp_path / "shop", {"interactions.parquet": _parquet(frame)})
    reason = "event_time is not a time (write 2026-01-31T09:30:00Z)"
    assert _quarantine(folder) == [("interactions", line, reason) for line in (1, 2, 3)]


def test_lines_are_right_below_quoted_newlines_and_blank_lines(home: Path, tmp_path: Path) -> None:
    text = f'{HEADER},note\r\n{ROW},"x\r\ny"\r\n\r\na,i1,purchase,bad,"x\r\ny"\r\na,i1\r\na,i1,bought,2026-01-01,z\r\n'
    lines = [line for _, line, _ in _quarantine(_fill(tmp_path / "shop", {"interactions.csv": "\ufeff" + text}))]
    assert lines == [5, 7, 8]


def test_a_file_of_which_too_much_does_not_hold_is_refused(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "MAX_QUARANTINED", 2)
    rows = ["a,i1,bought,2026-01-01"] * 2
    assert len(_quarantine(_fill(tmp_path / "two", {"interactions.csv": "\n".join([HEADER, *rows])}))) == 2
    rows = ["a,i1,bought,2026-01-01"] * 2 + ["a,i1,view,x"]
    outcome = facings("ingest", _fill(tmp_path / "three", {"interactions.csv": "\n".join([HEADER, *rows])}))
    assert outcome.code == 1
    assert "do not hold, most because event_type is not one of the known values; nothing was taken" in outcome.sentence
    assert len(facings("quarantine", "--json").told) == 2


def test_a_row_that_is_too_long_is_quarantined(home: Path, tmp_path: Path) -> None:
    note = "x" * (1024 * 1024)
    folder = _fill(tmp_path / "shop", {"interactions.csv": f"{HEADER},note\n{ROW},{note[:-100]}\n{ROW},{note}\n"})
    size = len(note) + len(ROW) - 3
    assert _quarantine(folder) == [("interactions", 3, f"the row has {size} bytes and may have 1048576")]


def test_a_row_with_too_many_or_too_few_values_is_quarantined(home: Path, tmp_path: Path) -> None:
    folder = _fill(tmp_path / "shop", {"interactions.csv": f"{GOOD}{ROW},x,y\na,i1\nb{ROW}\n"})
    said = "values and the header 4 names; check commas and quotes"
    assert _quarantine(folder) == [
        ("interactions", 3, f"the row has 6 {said}"),
        ("interactions", 4, f"the row has 2 {said}"),
    ]


def test_an_id_twice_with_other_values_is_quarantined_and_an_equal_row_is_a_duplicate(
    home: Path, tmp_path: Path
) -> None:
    items = "item_id,price\ni1,1\ni1,1.0\ni1,2\ni2,3\n"
    folder = _fill(tmp_path / "shop", {"interactions.csv": GOOD, "items.csv": items})
    assert _quarantine(folder) == [("items", 4, "the key (item_id) stands in this file before, with other values")]
    assert Lake(Home(home)).read("items").set_index("item_id")["price"].to_dict() == {"i1": 1.0, "i2": 3.0}


def test_an_unknown_store_is_quarantined_where_stores_are_known(home: Path, tmp_path: Path) -> None:
    folder = _fill(
        tmp_path / "shop",
        {"interactions.csv": f"{HEADER},store_id\n{ROW},s9\n{ROW},s1\n{ROW},\n", "stores.csv": "store_id\ns1\n"},
    )
    assert _quarantine(folder) == [("interactions", 2, "store_id 's9' is not in the stores table")]


def test_offers_and_campaigns_are_held_to_their_rules(home: Path, tmp_path: Path) -> None:
    offers = (
        "offer_id,item_id,campaign_id,discount,starts,ends\no1,i1,c1,1.5,,\no2,i1,c1,0.5,2026-02-01,2026-01-01\n"
        "o3,i1,c2,0.2,,\no4,i1,c1,0.2,2026-01-01,2026-02-01\n"
    )
    files: dict[str, str | bytes] = {"interactions.csv": GOOD, "offers.csv": offers}
    folder = _fill(tmp_path / "shop", files | {"campaigns.csv": "campaign_id,budget\nc1,\nc2,-1\n"})
    assert _quarantine(folder) == [
        ("campaigns", 3, "budget is less than 0"),
        ("offers", 2, "discount is more than 1"),
        ("offers", 3, "starts lies after ends"),
        ("offers", 4, "campaign_id 'c2' is not in the campaigns table"),
    ]


def test_offers_are_held_to_the_items_and_to_their_campaigns_and_what_shows_nothing_is_counted(
    home: Path, tmp_path: Path
) -> None:
    """A floor that no price keeps, an unknown item, an offer or a campaign twice: refused by row, nothing guessed."""
    offers = (
        "offer_id,item_id,campaign_id,discount,floor_price,ends\nhigh,i1,c1,0.1,2.01,\nedge,i1,c1,0.1,2,\n"
        "none,i9,c1,0.1,,\nfree,i2,c1,0.1,99,\nyen,i3,c2,0.1,99,\ntwice,i1,c1,0.1,,\ntwice,i1,c1,0.3,,\n"
        "past,i1,c1,0.1,,2020-01-01\n"
    )
    campaigns = (
        "campaign_id,budget,currency,starts,ends\nc1,,USD,,\nc1,5,USD,,\nc2,10,JPY,,2020-01-01\nc3,0,,2019-01-01,\n"
    )
    items = "item_id,price,currency\ni1,2.00,\ni2,,\ni3,1.00,EUR\n"
    tables = {"offers.csv": offers, "campaigns.csv": campaigns, "items.csv": items, "interactions.csv": GOOD}
    folder = _fill(tmp_path / "shop", dict(tables))
    told = facings("ingest", folder, "--json").told
    assert _quarantine(folder) == [
        ("campaigns", 3, "the key (campaign_id) stands in this file before, with other values"),
        ("offers", 2, "floor_price lies above the item's price"),
        ("offers", 4, "item_id 'i9' is not in the items table"),
        ("offers", 8, "the key (offer_id, item_id) stands in this file before, with other values"),
    ]
    assert told["warnings"] == [
        "campaigns that ended before now and show nothing: 1",
        "campaigns that have a budget of 0 and show nothing: 1",
        "campaigns that have no budget, so that what they spend is not limited: 1",
        "offers that ended before now and show nothing: 2",
    ]


def test_a_row_that_gets_lost_on_the_way_ends_the_run(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows = kept + duplicates + quarantined is counted from four places, and a run in which it fails takes nothing."""
    append = load.append

    def lose_one(*given: Any) -> Any:
        parts, kept, duplicates = append(*given)
        return parts, kept - 1, duplicates

    monkeypatch.setattr(load, "append", lose_one)
    outcome = facings("ingest", _fill(tmp_path / "shop", {"interactions.csv": GOOD}))
    assert outcome.code == 1
    assert "1 rows are not 0 kept + 0 duplicates + 0 quarantined" in outcome.err
    assert not Lake(Home(home)).has("interactions")


def test_a_folder_of_which_nothing_holds_is_told_row_by_row(home: Path, tmp_path: Path) -> None:
    folder = _fill(tmp_path / "shop", {"interactions.csv": f"{HEADER}\na,i1,bought,2026-01-01\n"})
    assert len(_quarantine(folder)) == 1


def test_reasons_hold_no_id_of_a_shopper(home: Path, tmp_path: Path) -> None:
    rows = ["secret-id,i,bought,2026-01-01", "secret-id,,view,x", "secret-id,i", "secret-id,i,view,2999-01-01"]
    folder = _fill(tmp_path / "shop", {"interactions.csv": "\n".join([HEADER, *rows])})
    outcome = facings("ingest", folder)
    told = outcome.out + outcome.err + "".join(facings("quarantine", action).out for action in ("list", "explain"))
    assert "quarantined" in told and "secret-id" not in told
