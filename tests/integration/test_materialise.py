"""From a lake to the feature store: idempotent, safe to kill, and honest about what came late."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from configs.clock import FixedClock
from configs.errors import FacingsError, UsageError
from configs.settings import Settings, load_settings
from features import compute
from features.store import FeatureStore
from pipelines.signals.feature_store.materialise import MaterialiseReport, materialise
from pipelines.signals.lake.lake import Lake, Manifest, Part

MAY, JUNE = pd.Timestamp("2024-05-01", tz="UTC"), pd.Timestamp("2024-06-01", tz="UTC")
NOW = pd.Timestamp("2024-06-03", tz="UTC")


def quiet(_line: str) -> None:
    """Nobody watches a test's progress."""


def purchases(*rows: tuple[str, str, str]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["shopper_id", "item_id", "event_time"])
    frame["event_time"] = pd.to_datetime(frame["event_time"], utc=True).astype("datetime64[us, UTC]")
    return frame.assign(event_type="purchase", store_id="s", basket_id=frame["event_time"].astype(str), price=2.0)


def keep(lake: Lake, table: str, frame: pd.DataFrame) -> None:
    """Put one more part into the lake, as an ingest does."""
    held = lake.manifest().tables
    name = f"{table}/{len(held.get(table, ()))}.parquet"
    (lake.folder / table).mkdir(parents=True, exist_ok=True)
    frame.to_parquet(lake.folder / name)
    part = Part(file=name, rows=len(frame), digest=0)
    lake.commit(Manifest(tables={**held, table: (*held.get(table, ()), part)}))


@pytest.fixture
def chosen(tmp_path: Path) -> Settings:
    return load_settings(home=tmp_path / "home")


@pytest.fixture
def lake(chosen: Settings) -> Lake:
    lake = Lake(chosen.paths)
    keep(lake, "interactions", purchases(("a", "x", "2024-04-20"), ("b", "x", "2024-05-20"), ("a", "y", "2024-07-01")))
    keep(lake, "items", pd.DataFrame({"item_id": ["x", "y"], "category": ["food/tea", "food/milk"]}))
    return lake


@pytest.fixture
def store(chosen: Settings) -> Iterator[FeatureStore]:
    opened = FeatureStore(chosen, clock=FixedClock(NOW.to_pydatetime()))
    yield opened
    opened.close()


def run(chosen: Settings, lake: Lake, now: pd.Timestamp = NOW) -> MaterialiseReport:
    return materialise(chosen, lake, as_of=[JUNE, MAY], clock=FixedClock(now.to_pydatetime()), progress=quiet)


def test_the_lake_becomes_features_of_each_moment_and_the_last_is_online(
    chosen: Settings, lake: Lake, store: FeatureStore
) -> None:
    report = run(chosen, lake)
    assert report.as_of == [MAY, JUNE]
    assert report.views["shopper"].model_dump() == {"computed": 3, "written": 3, "online": 2}
    assert report.views["content_affinity"].computed == 0
    assert report.model_dump(mode="json")["as_of"][0].startswith("2024-05-01")
    known = store.historical(pd.DataFrame({"shopper_id": ["a", "b"], "event_timestamp": MAY}), "shopper")
    assert known["recency_days"].fillna(-1).tolist() == [11, -1]
    online = store.online("shopper", ["a", "b"])
    assert online["recency_days"].tolist() == [42, 12]
    assert online["top_category"].tolist() == ["food/tea", "food/tea"]


def test_a_second_run_writes_nothing(chosen: Settings, lake: Lake) -> None:
    first = run(chosen, lake)
    parts = sorted(chosen.paths.features.glob("offline/*/*"))
    second = run(chosen, lake, NOW + timedelta(days=1))
    assert sum(view.written for view in second.views.values()) == 0
    assert {name: view.online for name, view in second.views.items()} == {
        name: view.online for name, view in first.views.items()
    }
    assert sorted(chosen.paths.features.glob("offline/*/*")) == parts


def test_data_that_came_late_corrects_a_moment_without_being_seen_before_it_came(
    chosen: Settings, lake: Lake, store: FeatureStore
) -> None:
    run(chosen, lake)
    keep(lake, "interactions", purchases(("a", "y", "2024-04-25"), ("late", "x", "2024-04-26")))
    assert run(chosen, lake).views["shopper"].written == 4  # a and late, at both moments
    ids = pd.DataFrame({"shopper_id": ["a", "late"] * 2, "event_timestamp": [JUNE, JUNE, NOW, NOW]})
    assert store.historical(ids, "shopper")["recency_days"].fillna(-1).tolist() == [42, -1, 37, 36]
    assert store.online("shopper", ["a", "late"])["recency_days"].tolist() == [37, 36]


def test_a_run_that_was_killed_is_finished_by_running_again(
    chosen: Settings, lake: Lake, store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> pd.DataFrame:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setitem(compute.COMPUTE, "store", killed)
        with pytest.raises(KeyboardInterrupt):
            run(chosen, lake)
    assert run(chosen, lake).views["store"].written == 2
    ids = pd.DataFrame({"shopper_id": ["a"], "event_timestamp": [MAY]})
    assert store.historical(ids, "shopper")["recency_days"].tolist() == [11]
    assert store.online("store", ["s"])["recency_days"].tolist() == [12]


def test_a_forget_waits_for_a_run_and_erases_what_it_wrote(
    chosen: Settings, lake: Lake, store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest, asked = compute.COMPUTE["content_affinity"], threading.Event()
    forgetting = threading.Thread(target=lambda: (asked.set(), FeatureStore(chosen).forget("a")))

    def in_the_middle(*given: Any) -> pd.DataFrame:
        if not asked.is_set():
            forgetting.start()
            assert asked.wait(30)
        return honest(*given)

    monkeypatch.setitem(compute.COMPUTE, "content_affinity", in_the_middle)
    run(chosen, lake)
    forgetting.join(60)
    assert not forgetting.is_alive()
    ids = pd.DataFrame({"shopper_id": ["a", "b"], "event_timestamp": [JUNE, JUNE]})
    assert store.historical(ids, "shopper")["recency_days"].isna().tolist() == [True, False]
    assert store.online("shopper", ["a", "b"])["recency_days"].isna().tolist() == [True, False]


def test_an_empty_home_and_no_moment_are_told(chosen: Settings, lake: Lake, tmp_path: Path) -> None:
    clock = FixedClock(NOW.to_pydatetime())
    with pytest.raises(UsageError, match="at least one as_of"):
        materialise(chosen, lake, as_of=[], clock=clock, progress=quiet)
    empty = load_settings(home=tmp_path / "empty")
    with pytest.raises(FacingsError, match="facings ingest FOLDER"):
        materialise(empty, Lake(empty.paths), as_of=[MAY], clock=clock, progress=quiet)
    assert not empty.paths.features.exists()
