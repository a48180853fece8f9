"""Forgetting a shopper: no byte of the id is left, others are untouched, the same data cannot bring it back."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

import pipelines.forget as forget_module
from cli.main import main
from configs.clock import FixedClock
from configs.errors import FacingsError, UsageError
from configs.secrets import secret
from configs.settings import Settings
from features.store import FeatureStore
from identity.reader import FaceReader
from models.dataset import Dataset
from models.registry import create, load
from pipelines import snapshot
from pipelines.demo_photograph import enrol_picture, write_demo_photographs
from pipelines.faces import enrol, gallery_source, open_consents
from pipelines.forget import forget
from pipelines.signals.feature_store.materialise import materialise
from pipelines.signals.ingest import ingest
from pipelines.signals.lake.lake import Lake
from pipelines.signals.quarantine.rows import read_quarantine
from pipelines.slates_snapshot import Slates
from state.decisions import Row, append_decisions, open_decisions
from state.engine import open_engine
from state.events import append_events, waiting_events
from state.files import write_atomic
from state.forgotten import forgotten_among, pseudonym
from state.receipts import receipts_of
from tests.small_shop import END, write_small_shop

ZEBRA = "shopper-zebra-4711"
CLOCK = FixedClock(END)


def holds(root: Path, text: str) -> list[Path]:
    """Files below `root` that contain the text in any encoding that arrays and tables use."""
    shapes = [text.encode(coding) for coding in ("utf-8", "utf-16-le", "utf-32-le")]
    return [file for file in root.rglob("*") if file.is_file() and any(shape in file.read_bytes() for shape in shapes)]


def quiet(_: str) -> None:
    """Progress that nobody reads."""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small shop with one shopper of an unusual id, who is in every table that names shoppers."""
    folder = write_small_shop(tmp_path_factory.mktemp("shop"))
    for file in folder.glob("*.csv"):
        file.write_text(file.read_text().replace("shopper-02", ZEBRA))
    lines = (folder / "interactions.csv").read_text().splitlines()
    columns = lines[0].split(",")
    sample = dict(zip(columns, next(line for line in lines if ZEBRA in line).split(","), strict=True))
    broken = ",".join({**sample, "event_time": "2099-01-01T00:00:00Z"}.get(column, "") for column in columns)
    (folder / "interactions.csv").write_text("\n".join([*lines, broken]) + "\n")
    searches = [f"{ZEBRA},milk,2026-05-01T10:00:00Z", "shopper-04,bread,2026-05-01T11:00:00Z"]
    (folder / "searches.csv").write_text("\n".join(["shopper_id,query,event_time", *searches]) + "\n")
    return folder


@pytest.fixture(scope="module")
def full_home(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home where the shopper is everywhere: tables, quarantine, features, a model, lists, consent and templates."""
    settings = Settings(home=tmp_path_factory.mktemp("full") / "home")
    home = settings.paths
    ingest(shop, home, clock=CLOCK, settings=settings, progress=quiet)
    lake = Lake(home)
    materialise(settings, lake, as_of=[pd.Timestamp(END)], clock=CLOCK, progress=quiet)
    purchases = lake.read("interactions", ["shopper_id", "item_id", "event_time"])
    model = create("popularity").fit(Dataset.build(purchases, as_of=pd.Timestamp(END)))
    for root in (home.runs / "abc", home.mlflow_artifacts / "1" / "def" / "artifacts"):
        model.save(root / "serving")
        purchases.to_parquet(root / "lists.parquet")
    built = snapshot.build_slates(home, model, version="1", recipe="popularity", candidates=5, progress=quiet)
    snapshot.switch(home, "slates", built)
    (home.snapshots / "slates" / ".draft-of-a-killed-job").mkdir()
    (home.snapshots / "slates" / ".draft-of-a-killed-job" / "slates.mdb").write_text(ZEBRA)
    (home.runs / ".draft-scored-of-a-killed-job").mkdir()
    (home.runs / ".draft-scored-of-a-killed-job" / "odds.parquet").write_text(ZEBRA)  # half-written: no table yet
    rows = [{"event_id": f"e{name}", "shopper_id": name, "item_id": "item-01"} for name in (ZEBRA, "shopper-04")]
    append_events(open_engine(settings.state_uri), rows, END)
    seen = Row("0" * 32, 0, pseudonym(ZEBRA, secret(home, "pseudonym")), b"{}", b"")
    append_decisions(open_decisions(settings.decisions_uri), [seen], [])
    home.suspicions.mkdir(exist_ok=True)
    flags = pd.DataFrame({"shopper_id": [ZEBRA], "reason": ["burst"]})
    flags.to_parquet(home.suspicions / "flags.parquet")
    pixels = _pixels(enrol_picture())
    enrol(home, open_consents(settings), FaceReader(1), [("portrait", pixels)], shopper_id=ZEBRA, clock=CLOCK)
    return home.root


@pytest.fixture
def settings(full_home: Path, tmp_path: Path) -> Settings:
    """Settings of a fresh copy of the full home."""
    shutil.copytree(full_home, tmp_path / "home")
    return Settings(home=tmp_path / "home")


def _pixels(image: Image.Image) -> Any:
    import numpy as np

    return np.ascontiguousarray(np.asarray(image)[:, :, ::-1])


def test_no_byte_of_the_id_is_left_and_the_receipt_says_what_went(settings: Settings) -> None:
    home = settings.paths
    places = {file.relative_to(home.root).parts[0].removesuffix("-wal") for file in holds(home.root, ZEBRA)}
    assert {"lake", "features", "runs", "mlflow-artifacts", "snapshots", "state.db"} <= places
    receipt = forget(settings, ZEBRA, clock=CLOCK, progress=quiet)
    assert holds(home.root, ZEBRA) == []
    assert ZEBRA not in receipt.model_dump_json()
    for place in (
        "consent",
        "vault",
        "lake",
        "quarantine",
        "features",
        "models",
        "lists",
        "snapshots",
        "events",
        "decisions",
    ):
        assert receipt.erased[place] > 0, place
    assert receipt.erased["models"] == 2
    (kept,) = receipts_of(open_engine(settings.state_uri), receipt.shopper_hash)
    assert (kept["receipt_id"], kept["erased"]) == (receipt.receipt_id, receipt.erased)
    assert receipt.shopper_hash == pseudonym(ZEBRA, secret(home, "pseudonym"))


def test_everybody_else_is_as_before(settings: Settings, full_home: Path) -> None:
    before, after = Lake(Settings(home=full_home).paths), Lake(settings.paths)
    forget(settings, ZEBRA, clock=CLOCK, progress=quiet)
    for table in before.tables():
        expected = before.read(table)
        if "shopper_id" in expected:
            expected = expected[expected["shopper_id"] != ZEBRA]
        found = after.read(table)
        keys = list(expected.columns)
        pd.testing.assert_frame_equal(
            found.sort_values(keys, ignore_index=True), expected.sort_values(keys, ignore_index=True)
        )
    assert [row["shopper_id"] for row in waiting_events(open_engine(settings.state_uri))] == ["shopper-04"]
    model = load(settings.paths.runs / "abc" / "serving")
    assert len(model.recommend(["shopper-04"], 5)) == 5
    store = FeatureStore(settings, clock=CLOCK)
    online = store.online("shopper", [ZEBRA, "shopper-04"])
    store.close()
    values = online.drop(columns="shopper_id")
    assert values.iloc[0].isna().all()
    assert values.iloc[1].notna().any()


def test_the_lakes_fingerprint_is_that_of_a_lake_that_never_knew_the_shopper(
    settings: Settings, shop: Path, tmp_path: Path
) -> None:
    forget(settings, ZEBRA, clock=CLOCK, progress=quiet)
    folder = tmp_path / "without"
    shutil.copytree(shop, folder)
    for file in folder.glob("*.csv"):
        file.write_text("".join(line for line in file.read_text().splitlines(keepends=True) if ZEBRA not in line))
    other = Settings(home=tmp_path / "other")
    ingest(folder, other.paths, clock=CLOCK, settings=other, progress=quiet)
    assert Lake(settings.paths).fingerprint() == Lake(other.paths).fingerprint()


def test_the_same_folder_ingested_again_does_not_bring_the_shopper_back(settings: Settings, shop: Path) -> None:
    forget(settings, ZEBRA, clock=CLOCK, progress=quiet)
    before = Lake(settings.paths).fingerprint()
    report = ingest(shop, settings.paths, clock=CLOCK, settings=settings, progress=quiet)
    assert Lake(settings.paths).fingerprint() == before
    assert report.tables["interactions"].quarantined > 1
    assert holds(settings.paths.root, ZEBRA) == []


def test_a_quarantined_row_stays_listed_without_its_content(settings: Settings) -> None:
    lake = Lake(settings.paths)
    before = read_quarantine(lake)
    forget(settings, ZEBRA, clock=CLOCK, progress=quiet)
    after = read_quarantine(lake)
    assert len(after) == len(before)
    assert after["line"].to_list() == before["line"].to_list()
    scrubbed = [row for row in after.to_dicts() if "forgotten" in row["reason"]]
    assert [row["row"] for row in scrubbed] == [""]


def test_the_face_is_recognised_no_more_even_by_a_gallery_that_was_loaded_before(settings: Settings) -> None:
    source = gallery_source(settings.paths, open_consents(settings))
    assert source.current().shoppers == 1
    forget(settings, ZEBRA, clock=CLOCK, progress=quiet)
    assert source.current().shoppers == 0


def test_what_is_served_has_no_slate_of_the_shopper_and_is_whole(settings: Settings) -> None:
    home = settings.paths
    name = snapshot.current(home, "slates")
    assert name is not None
    seen = snapshot.signature(home, "slates")
    forget(settings, ZEBRA, clock=CLOCK, progress=quiet)
    assert snapshot.current(home, "slates") == name
    assert snapshot.check(home, "slates", name)["shoppers"] > 0
    assert snapshot.signature(home, "slates") != seen  # servers look at it to see that something changed
    slates = Slates(home.snapshots / "slates" / name)
    assert len(slates.candidates(ZEBRA)) == 0
    assert len(slates.candidates("shopper-04")) == 5
    slates.close()


STEPS = [
    "remember_forgotten",
    "forget_in_snapshots",
    "erase_events",
    "erase_decisions",
    "erase_in_lake",
    "_features",
    "forget_in_models",
    "forget_in_tables",
    "keep_receipt",
]


@pytest.mark.parametrize("step", STEPS)
def test_a_job_that_is_killed_before_any_step_is_finished_by_running_it_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    page = settings.paths.reports / "compare-of-some-shoppers.html"
    write_atomic(page, "what some shoppers bought")
    with monkeypatch.context() as patch:
        patch.setattr(forget_module, step, killed)
        with pytest.raises(KeyboardInterrupt):
            forget(settings, ZEBRA, clock=CLOCK, progress=quiet)
    assert gallery_source(settings.paths, open_consents(settings)).current().shoppers == 0  # what is served went first
    forget(settings, ZEBRA, clock=CLOCK, progress=quiet)
    assert holds(settings.paths.root, ZEBRA) == [] and not page.exists()


def test_forgotten_twice_gives_a_second_receipt_of_nothing(settings: Settings) -> None:
    forget(settings, ZEBRA, clock=CLOCK, progress=quiet)
    assert not any(forget(settings, ZEBRA, clock=CLOCK, progress=quiet).erased.values())


def test_of_an_unknown_shopper_nothing_is_done_and_no_tombstone_is_left(settings: Settings) -> None:
    fingerprint = Lake(settings.paths).fingerprint()
    with pytest.raises(FacingsError, match="Nothing is known"):
        forget(settings, "shopper-zebra", clock=CLOCK, progress=quiet)
    with pytest.raises(UsageError, match="empty"):
        forget(settings, "  ", clock=CLOCK, progress=quiet)
    assert Lake(settings.paths).fingerprint() == fingerprint
    key = secret(settings.paths, "pseudonym")
    assert forgotten_among(open_engine(settings.state_uri), ["shopper-zebra"], key) == set()


def test_the_command_forgets_who_was_only_enrolled(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    picture, probe = write_demo_photographs(tmp_path)

    def run(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["facings", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), capsys.readouterr().out

    assert run("enrol", ZEBRA, picture, "--consent")[0] == 0
    code, out = run("forget", ZEBRA, "--json")
    receipt = json.loads(out)
    assert code == 0
    assert set(receipt) == {"receipt_id", "shopper_hash", "erased", "at"}
    assert (receipt["erased"]["vault"], receipt["erased"]["consent"]) == (1, 1)
    assert json.loads(run("identify", probe, "--json")[1])["status"] == "unknown"
    assert run("forget", "nobody", "--json") == (1, "")
