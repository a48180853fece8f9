"""Laws of the ingest on arbitrary rows: nothing is lost, twice is once, the order of rows is nothing."""

from __future__ import annotations

import csv
import random
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from configs.clock import SystemClock
from configs.errors import FacingsError
from configs.settings import load_settings
from pipelines.signals.ingest import IngestReport, ingest
from pipelines.signals.lake.lake import Lake
from pipelines.signals.quarantine.rows import read_quarantine

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=6)
CELLS = {
    "shopper_id": st.sampled_from(["a", "b", "", "é\"'\n,"]) | TEXT,
    "item_id": st.sampled_from(["i1", "i2", "7.0"]) | TEXT,
    "event_type": st.sampled_from(["view", "purchase", "purchase", "bought", ""]),
    "event_time": st.sampled_from(
        ["2026-01-01", "2026-01-01T00:00:00Z", "2026-01-01 01:00:00+01:00", "x", "2999-01-01"]
    ),
    "event_id": st.sampled_from(["", "", "e1", "e2"]),
    "quantity": st.sampled_from(["1", "1.0", "", "-1", "two", "NaN", "0"]) | TEXT,
    "colour": st.sampled_from(["red", ""]) | TEXT,
}
ROWS = st.lists(st.tuples(*CELLS.values()).map(list), min_size=1, max_size=12)
# Some rows lose a value or have one too many.
RAGGED = st.lists(
    st.tuples(*CELLS.values()).map(list).flatmap(lambda row: st.sampled_from([row, row, row[:-1], [*row, "x"]])),
    min_size=1,
    max_size=12,
)
LAWS = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def _write(folder: Path, rows: list[list[str]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "interactions.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerow(CELLS)
        writer.writerows(rows)
    return folder


def _take(folder: Path, home: Path) -> IngestReport:
    chosen = load_settings(home=home)
    return ingest(folder, chosen.paths, clock=SystemClock(), settings=chosen, progress=lambda _: None)


@LAWS
@given(RAGGED)
def test_every_row_is_kept_or_a_duplicate_or_in_quarantine(rows: list[list[str]]) -> None:
    with tempfile.TemporaryDirectory() as root:
        home = Path(root) / "home"
        count = _take(_write(Path(root) / "shop", rows), home).tables["interactions"]
        lake = Lake(load_settings(home=home).paths)
        assert count.rows == len(rows) == count.kept + count.duplicates + count.quarantined
        assert len(lake.read("interactions")) == count.kept
        held = read_quarantine(lake)
        assert held.height == count.quarantined
        assert held["line"].is_unique().all() and (held["reason"] != "").all()


@LAWS
@given(RAGGED)
def test_twice_is_once(rows: list[list[str]]) -> None:
    with tempfile.TemporaryDirectory() as root:
        home, folder = Path(root) / "home", _write(Path(root) / "shop", rows)
        first = _take(folder, home)
        lake = Lake(load_settings(home=home).paths)
        manifest = lake.manifest()
        second = _take(folder, home)
        assert second.tables["interactions"].kept == 0
        assert second.fingerprint == first.fingerprint
        assert lake.manifest() == manifest


@LAWS
@given(ROWS, st.randoms(use_true_random=False))
def test_the_order_and_the_parting_of_rows_do_not_matter(rows: list[list[str]], chance: random.Random) -> None:
    """Rows with an event_id are left without one here: of two that share it, the first stays."""
    plain = [[*row[:4], "", *row[5:]] for row in rows]
    shuffled = chance.sample(plain, len(plain))
    cut = chance.randint(0, len(rows))
    with tempfile.TemporaryDirectory() as root:
        straight = _take(_write(Path(root) / "shop", plain), Path(root) / "one").fingerprint
        for number, part in enumerate([shuffled[:cut], shuffled[cut:]]):
            if part:
                last = _take(_write(Path(root) / str(number), part), Path(root) / "two")
        assert last.fingerprint == straight


@LAWS
@given(st.binary(max_size=60) | st.text('a1,"\n\r\t ;é\x00', max_size=60).map(str.encode))
def test_a_file_of_any_bytes_is_taken_or_refused_in_a_sentence(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root) / "shop"
        folder.mkdir()
        header = b",".join(name.encode() for name in CELLS) + b"\n"
        (folder / "interactions.csv").write_bytes(header + content)
        try:
            count = _take(folder, Path(root) / "home").tables["interactions"]
        except FacingsError as error:
            assert "\n" not in str(error)
        else:
            assert count.rows == count.kept + count.duplicates + count.quarantined > 0
