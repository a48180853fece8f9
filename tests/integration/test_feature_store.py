"""The store keeps its promises on the real Feast: row counts, leaks, expiry, corrections, erasure."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml

from configs.clock import FixedClock
from configs.errors import FacingsError, UsageError
from configs.settings import Settings, load_settings
from features.frames import ROW
from features.store import FeatureStore
from features.tables import TTL_DAYS, VIEWS, View

NOON = pd.Timestamp("2024-06-01 12:00:00.000001", tz="UTC")


def quiet(_line: str) -> None:
    """Nobody watches a test's progress."""


def rows_of(view: str, keys: list[tuple[str, ...]], moment: pd.Timestamp, value: float = 1.0) -> pd.DataFrame:
    table: View = VIEWS[view]
    frame = pd.DataFrame(keys, columns=list(table.keys))
    frame["event_timestamp"] = frame["created_timestamp"] = moment
    for feature in table.features:
        frame[feature.name] = value if feature.kind == "number" else f"text {value}"
    return frame[table.columns]


def at(shopper: str, moment: pd.Timestamp) -> pd.DataFrame:
    return pd.DataFrame({"shopper_id": [shopper], "event_timestamp": [moment]})


@pytest.fixture
def chosen(tmp_path: Path) -> Settings:
    return load_settings(home=tmp_path / "home")


@pytest.fixture
def store(chosen: Settings) -> Iterator[FeatureStore]:
    opened = FeatureStore(chosen, clock=FixedClock((NOON + timedelta(days=1)).to_pydatetime()))
    yield opened
    opened.close()


def test_every_row_asked_is_answered_once_in_its_order(store: FeatureStore) -> None:
    store.write_offline("shopper", rows_of("shopper", [("a",), ("b",)], NOON))
    entities = pd.concat([at(name, NOON + timedelta(hours=1)) for name in ["b", "nobody", "a", "b", "b"]])
    entities["label"] = range(5)
    answer = store.historical(entities.set_index(pd.Index([9, 9, 3, 1, 0])), "shopper")
    assert list(answer["shopper_id"]) == ["b", "nobody", "a", "b", "b"]
    assert list(answer["label"]) == [0, 1, 2, 3, 4]
    assert answer["recency_days"].isna().tolist() == [False, True, False, False, False]
    assert answer["top_category"].tolist() == ["text 1.0", None, "text 1.0", "text 1.0", "text 1.0"]
    assert ROW not in answer


def test_a_join_that_loses_a_row_is_refused(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write_offline("shopper", rows_of("shopper", [("a",)], NOON))
    feast = store._open()
    honest = feast.get_historical_features

    class Lossy:
        def __init__(self, job: object) -> None:
            self.job = job

        def to_df(self) -> pd.DataFrame:
            return self.job.to_df().head(1)  # type: ignore[attr-defined, no-any-return]

    monkeypatch.setattr(feast, "get_historical_features", lambda **asked: Lossy(honest(**asked)))
    with pytest.raises(FacingsError, match="turned 2 rows into 1"):
        store.historical(pd.concat([at("a", NOON), at("b", NOON)]), "shopper")


def test_a_row_that_came_late_is_not_seen_before_it_came(store: FeatureStore) -> None:
    late = (NOON + timedelta(days=10)).to_pydatetime()
    store.write_offline("shopper", rows_of("shopper", [("a",)], NOON, 1.0))
    assert store.write_offline("shopper", rows_of("shopper", [("a",), ("new",)], NOON, 2.0), now=late) == 2
    days = pd.concat([at(name, NOON + timedelta(days=day)) for name in ("a", "new") for day in (0, 9, 10, 20)])
    assert store.historical(days, "shopper")["recency_days"].fillna(-1).tolist() == [1, 1, 2, 2, -1, -1, 2, 2]


def test_a_microsecond_before_the_row_it_is_not_known(store: FeatureStore) -> None:
    store.write_offline("shopper", rows_of("shopper", [("a",)], NOON))
    moments = [NOON - timedelta(microseconds=1), NOON]
    answer = store.historical(pd.concat([at("a", moment) for moment in moments]), "shopper")
    assert answer["recency_days"].isna().tolist() == [True, False]


def test_nanoseconds_are_stored_as_microseconds_and_materialise(store: FeatureStore) -> None:
    frame = rows_of("shopper", [("a",)], NOON)
    for name in ("event_timestamp", "created_timestamp"):
        frame[name] = frame[name].astype("datetime64[ns, UTC]")
    store.write_offline("shopper", frame)
    assert store.materialise(NOON.to_pydatetime(), progress=quiet)["shopper"] == 1
    assert store.online("shopper", ["a"])["recency_days"].tolist() == [1]


def test_rows_that_say_the_same_are_not_written_again(store: FeatureStore) -> None:
    frame = rows_of("shopper", [("a",), ("b",)], NOON)
    assert store.write_offline("shopper", frame) == 2
    assert store.write_offline("shopper", frame.iloc[::-1]) == 0
    changed = frame.assign(tenure_days=[1.0, float("nan")])
    assert store.write_offline("shopper", changed) == 1
    assert store.write_offline("shopper", changed) == 0


def test_a_correction_wins_even_when_the_clock_stands_still(store: FeatureStore) -> None:
    now = NOON.to_pydatetime()
    for value in (1.0, 2.0, 3.0):
        store.write_offline("shopper", rows_of("shopper", [("a",)], NOON, value), now=now)
    assert store.historical(at("a", NOON + timedelta(seconds=1)), "shopper")["recency_days"].tolist() == [3]
    store.materialise(now, progress=quiet)
    assert store.online("shopper", ["a"])["recency_days"].tolist() == [3]


def test_a_correction_of_what_is_already_online_arrives_there(store: FeatureStore) -> None:
    for value in (1.0, 2.0):
        store.write_offline("shopper", rows_of("shopper", [("a",)], NOON, value))
        store.materialise(NOON.to_pydatetime(), progress=quiet)
        assert store.online("shopper", ["a"])["recency_days"].tolist() == [value]


def test_what_is_older_than_its_time_to_live_is_missing_offline_and_online(chosen: Settings) -> None:
    expiry = NOON + timedelta(days=TTL_DAYS)
    writer = FeatureStore(chosen, clock=FixedClock(NOON.to_pydatetime()))
    writer.write_offline("shopper", rows_of("shopper", [("a",)], NOON))
    writer.materialise(NOON.to_pydatetime(), progress=quiet)
    writer.close()
    for moment, missing in ((expiry - timedelta(seconds=2), False), (expiry + timedelta(seconds=2), True)):
        store = FeatureStore(chosen, clock=FixedClock(moment.to_pydatetime()))
        assert store.historical(at("a", moment), "shopper")["recency_days"].isna().tolist() == [missing]
        assert store.online("shopper", ["a"])["recency_days"].isna().tolist() == [missing]
        store.close()


def test_what_has_expired_is_dropped_from_the_online_store_at_the_next_materialise(store: FeatureStore) -> None:
    store.write_offline("shopper", rows_of("shopper", [("old",)], NOON))
    store.materialise(NOON.to_pydatetime(), progress=quiet)
    store.materialise((NOON + timedelta(days=TTL_DAYS + 1)).to_pydatetime(), progress=quiet)
    store.close()
    assert b"old" not in (store._folder / "online.db").read_bytes()


def test_chunks_do_not_change_what_is_online(store: FeatureStore) -> None:
    pairs = [(f"s{n % 7}", f"i{n}") for n in range(50)]
    store.write_offline("shopper_item", rows_of("shopper_item", pairs, NOON))
    lines: list[str] = []
    assert store.materialise(NOON.to_pydatetime(), progress=lines.append, chunk_rows=8)["shopper_item"] == 50
    done = [0, *(int(line.split(": ")[1].split()[0]) for line in lines)]
    assert done[-1] == 50 and all(0 < after - before <= 8 for before, after in pairwise(done))
    keys = pd.DataFrame(pairs, columns=["shopper_id", "item_id"])
    assert store.online("shopper_item", keys)["visits_365d"].tolist() == [1.0] * 50
    with pytest.raises(UsageError, match="chunk_rows is 0"):
        store.materialise(NOON.to_pydatetime(), progress=quiet, chunk_rows=0)


def test_forgetting_erases_the_bytes_offline_and_online_and_nobody_else(store: FeatureStore) -> None:
    names = ["erased-1", "erased-12", "kept"]
    for moment in (NOON, NOON + timedelta(hours=1)):
        store.write_offline("shopper", rows_of("shopper", [(name,) for name in names], moment))
        store.write_offline("shopper_item", rows_of("shopper_item", [(n, i) for n in names for i in "xy"], moment))
    store.write_offline("item", rows_of("item", [("erased-1",)], NOON))
    store.materialise((NOON + timedelta(hours=1)).to_pydatetime(), progress=quiet)
    assert store.forget("erased-1") == {"online": 3, "offline": 6}
    assert store.forget("erased-1") == {"online": 0, "offline": 0}
    assert store.online("shopper", names)["recency_days"].isna().tolist() == [True, False, False]
    known = store.historical(pd.concat([at(name, NOON) for name in names]), "shopper")
    assert known["recency_days"].isna().tolist() == [True, False, False]
    pairs = pd.DataFrame({"shopper_id": names, "item_id": ["x"] * 3})
    assert store.online("shopper_item", pairs)["recency_days"].isna().tolist() == [True, False, False]
    assert store.online("item", ["erased-1"])["recency_days"].notna().all()  # an item of that name is not the shopper
    for part in store._folder.glob("offline/shopper*/*.parquet"):
        assert "erased-1" not in pq.read_table(part)["shopper_id"].to_pylist()


def test_forgetting_leaves_no_byte_of_the_shopper_in_the_online_database(store: FeatureStore) -> None:
    frame = rows_of("shopper", [("Wanda-Unmistakable",), ("kept",)], NOON)
    store.write_offline("shopper", frame)
    store.materialise(NOON.to_pydatetime(), progress=quiet)
    store.forget("Wanda-Unmistakable")
    for file in store._folder.rglob("*"):
        assert not file.is_file() or b"Wanda-Unmistakable" not in file.read_bytes(), file.name


def test_an_older_set_of_columns_is_never_mixed_in_but_is_erased_too(store: FeatureStore) -> None:
    old = store._folder / "offline" / "shopper-00000000" / "part.parquet"
    old.parent.mkdir(parents=True)
    pd.DataFrame({"shopper_id": ["a", "b"], "former": [1, 2]}).to_parquet(old)
    store.write_offline("shopper", rows_of("shopper", [("a",)], NOON))
    assert store.historical(at("a", NOON), "shopper")["recency_days"].tolist() == [1]
    assert store.forget("a")["offline"] == 2
    assert pd.read_parquet(old)["shopper_id"].tolist() == ["b"]


def test_what_does_not_fit_a_view_is_refused_whole(store: FeatureStore) -> None:
    good = rows_of("shopper", [("a",)], NOON)
    for bad, said in (
        (good.drop(columns="recency_days"), r"missing \['recency_days'\]"),
        (good.assign(more=1), r"unknown \['more'\]"),
        (pd.concat([good, good]), "a key twice"),
        (good.assign(shopper_id=None), "no key or no time"),
    ):
        with pytest.raises(FacingsError, match=said):
            store.write_offline("shopper", bad)
    assert store.historical(at("a", NOON), "shopper")["recency_days"].isna().all()


def test_unknown_names_and_missing_columns_are_told(store: FeatureStore) -> None:
    with pytest.raises(UsageError, match="no feature view 'shoppers'; choose one of: shopper,"):
        store.write_offline("shoppers", pd.DataFrame())
    with pytest.raises(UsageError, match="no feature service 'x'"):
        store.online("x", ["a"])
    with pytest.raises(UsageError, match="give a frame with these columns"):
        store.online("shopper_item", ["a"])
    with pytest.raises(FacingsError, match="no column event_timestamp"):
        store.historical(pd.DataFrame({"shopper_id": ["a"]}), "shopper")
    with pytest.raises(FacingsError, match="bears the name of a feature"):
        store.historical(at("a", NOON).assign(recency_days=1), "shopper")


def test_nobody_asked_is_answered_with_no_rows_and_all_columns(store: FeatureStore) -> None:
    empty = store.historical(at("a", NOON).head(0), "shopper")
    assert len(empty) == 0 and "recency_days" in empty and "content_topic_1" in empty
    assert len(store.online("shopper", [])) == 0
    assert store.online("shopper", ["never seen"])["recency_days"].isna().all()


def test_the_homes_configuration_has_relative_paths_and_is_private(chosen: Settings, store: FeatureStore) -> None:
    store.apply()
    file = chosen.paths.features / "feature_store.yaml"
    said = yaml.safe_load(file.read_text())
    assert said["offline_store"] == {"type": "duckdb"}
    assert said["online_store"] == {"type": "sqlite", "path": "online.db"}
    assert str(chosen.paths.root) not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_damaged_part_is_told_in_one_sentence(store: FeatureStore) -> None:
    store.write_offline("shopper", rows_of("shopper", [("a",)], NOON))
    part = next(path for path in store._folder.glob("offline/shopper-*/*") if not path.name.startswith("0-"))
    part.write_bytes(b"no parquet")
    with pytest.raises(FacingsError, match=part.name):
        store.historical(at("a", NOON), "shopper")
    with pytest.raises(FacingsError, match=part.name):
        store.materialise(NOON.to_pydatetime(), progress=quiet)


def test_a_home_that_was_moved_works_where_it_is_now(chosen: Settings, store: FeatureStore, tmp_path: Path) -> None:
    store.write_offline("shopper", rows_of("shopper", [("a",)], NOON))
    store.materialise(NOON.to_pydatetime(), progress=quiet)
    store.close()
    chosen.paths.root.rename(tmp_path / "moved")
    moved = FeatureStore(load_settings(home=tmp_path / "moved"), clock=FixedClock(NOON.to_pydatetime()))
    assert moved.historical(at("a", NOON), "shopper")["recency_days"].tolist() == [1]
    assert moved.online("shopper", ["a"])["recency_days"].tolist() == [1]
    moved.close()
    assert not chosen.paths.root.exists()


def test_a_registry_cut_off_by_a_crash_is_made_anew(chosen: Settings, store: FeatureStore) -> None:
    store.write_offline("shopper", rows_of("shopper", [("a",)], NOON))
    store.apply()
    store.close()
    registry = chosen.paths.features / "registry.db"
    registry.write_bytes(registry.read_bytes()[:-7])
    assert store.historical(at("a", NOON), "shopper")["recency_days"].tolist() == [1]


def test_a_store_opened_before_a_forget_by_another_process_sees_it(chosen: Settings, store: FeatureStore) -> None:
    store.write_offline("shopper", rows_of("shopper", [("a",)], NOON))
    store.materialise(NOON.to_pydatetime(), progress=quiet)
    assert store.online("shopper", ["a"])["recency_days"].notna().all()
    code = (
        "import sys; from configs.settings import load_settings; from features.store import FeatureStore\n"
        "print(FeatureStore(load_settings(home=sys.argv[1])).forget('a'))"
    )
    subprocess.run([sys.executable, "-c", code, str(chosen.paths.root)], check=True, capture_output=True)
    assert store.online("shopper", ["a"])["recency_days"].isna().all()
    assert store.historical(at("a", NOON), "shopper")["recency_days"].isna().all()


def test_importing_the_store_does_not_import_feast_and_opening_it_turns_telemetry_off(tmp_path: Path) -> None:
    code = (
        "import json, os, sys; os.environ.pop('DO_NOT_TRACK', None); os.environ['FEAST_USAGE'] = 'True'\n"
        "from configs.settings import load_settings\n"
        "import features.store, pipelines.signals.feature_store.materialise\n"
        "before = 'feast' in sys.modules\n"
        "features.store.FeatureStore(load_settings(home=sys.argv[1])).apply()\n"
        "print(json.dumps([before, 'feast' in sys.modules, os.environ['FEAST_USAGE'], os.environ['DO_NOT_TRACK']]))"
    )
    ran = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, capture_output=True, text=True)
    assert json.loads(ran.stdout) == [False, True, "False", "true"]
