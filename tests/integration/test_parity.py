"""Training and serving are told the same, and `facings doctor --parity` says so, or says what differs."""

from __future__ import annotations

import json
import sqlite3
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from configs.clock import FixedClock
from configs.settings import Settings, load_settings
from features.store import FeatureStore
from features.tables import EVENT_TIME, TTL_DAYS, VIEWS
from pipelines.signals.feature_store.materialise import materialise
from pipelines.signals.feature_store.parity import TOLERANCE, parity
from pipelines.signals.lake.lake import Lake, Manifest, Part
from tests.command import facings

END = pd.Timestamp("2024-06-01", tz="UTC")
NOW = END + timedelta(days=3)
COUNT = 1_000


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home of 1,000 generated shoppers, materialised at two moments."""
    random = np.random.default_rng(5)
    rows = 6 * COUNT
    shoppers = np.r_[np.arange(COUNT), random.integers(0, COUNT, rows - COUNT)]
    table = pd.DataFrame(
        {
            "shopper_id": [f"shopper-{number}" for number in shoppers],
            "item_id": [f"item-{number}" for number in random.integers(0, 80, rows)],
            "event_type": random.choice(["purchase", "purchase", "redeem"], rows),
            "event_time": END - pd.to_timedelta(random.integers(1, 300 * 86400, rows), unit="s"),
            "store_id": [f"store-{number}" for number in random.integers(0, 3, rows)],
            "price": random.integers(1, 5000, rows) / 100,
        }
    )
    table.loc[: COUNT - 1, "event_type"] = "purchase"
    table["event_time"] = table["event_time"].astype("datetime64[us, UTC]")
    settings = load_settings(home=tmp_path_factory.mktemp("parity") / "home")
    lake = Lake(settings.paths)
    (lake.folder / "interactions").mkdir(parents=True)
    table.to_parquet(lake.folder / "interactions" / "0.parquet")
    part = Part(file="interactions/0.parquet", rows=rows, digest=1)
    lake.commit(Manifest(tables={"interactions": (part,)}))
    moments = [END - timedelta(days=30), END]
    materialise(settings, lake, as_of=moments, clock=FixedClock(NOW), progress=lambda _: None)
    return settings


def doctor(shop: Settings, monkeypatch: pytest.MonkeyPatch, now: pd.Timestamp = NOW) -> tuple[int, dict[str, object]]:
    monkeypatch.setenv("FACINGS_HOME", str(shop.paths.root))
    monkeypatch.setenv("FACINGS_REPLAY_FROM", now.isoformat())
    ran = facings("doctor", "--parity", "--json")
    return ran.code, ran.told


def test_a_thousand_shoppers_features_are_the_same_offline_and_online(shop: Settings) -> None:
    shoppers = [f"shopper-{number}" for number in range(COUNT)]
    store = FeatureStore(shop, clock=FixedClock(NOW))
    offline = store.historical(pd.DataFrame({"shopper_id": shoppers, EVENT_TIME: NOW}), "shopper")
    online = store.online("shopper", shoppers)
    store.close()
    assert offline["recency_days"].notna().all() and offline["spend_90d"].nunique() > 300
    pd.testing.assert_frame_equal(online, offline.drop(columns=EVENT_TIME), rtol=0, atol=TOLERANCE)


def test_doctor_says_that_every_view_agrees(shop: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    code, said = doctor(shop, monkeypatch)
    findings = {one["check"]: one for one in said["findings"]}  # type: ignore[attr-defined]
    assert code == 0 and said["faults"] == 0
    assert set(findings) == {f"parity of {name}" for name, view in VIEWS.items() if not view.pushed}
    assert findings["parity of shopper"]["found"] == "1,000 keys compared as of now, worst difference 0"
    drawn = {one.view: one for one in parity(shop, clock=FixedClock(NOW), most=200)}
    assert drawn["shopper_item"].compared == 200 and 0 < drawn["shopper_item"].known < 200  # some were left out
    assert (
        drawn["shopper_item"]
        == {one.view: one for one in parity(shop, clock=FixedClock(NOW), most=200)}["shopper_item"]
    )


def test_what_differs_online_is_a_fault_that_names_view_and_feature_and_nobody(
    shop: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    database = shop.paths.features / "online.db"
    whole = database.read_bytes()
    try:
        with sqlite3.connect(database) as connection:
            connection.execute("DELETE FROM facings_store")
            connection.execute("UPDATE facings_shopper SET value = x'' WHERE feature_name = 'spend_90d'")
        connection.close()
        code, said = doctor(shop, monkeypatch)
        findings = {one["check"]: one for one in said["findings"]}  # type: ignore[attr-defined]
        assert code == 1 and said["faults"] == 2
        assert "spend_90d" in findings["parity of shopper"]["found"]
        assert findings["parity of store"]["found"].startswith("3 of 3 keys differ")
        assert "3 are missing online" in findings["parity of store"]["found"]
        assert "facings backfill" in findings["parity of store"]["mend"]
        assert "shopper-" not in json.dumps(said) and "store-" not in json.dumps(said)
        mend = findings["parity of shopper"]["mend"].split("facings ")[1].split()
        assert facings(*mend).code == 0
        assert doctor(shop, monkeypatch)[0] == 0
    finally:
        database.write_bytes(whole)


def test_what_has_expired_is_told_and_no_fault(shop: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    code, said = doctor(shop, monkeypatch, END + timedelta(days=TTL_DAYS + 1))
    first = said["findings"][0]  # type: ignore[index]
    assert code == 0 and first["status"] == "note" and "past their time to live" in first["found"]


def test_a_clock_that_stands_before_what_is_online_is_a_fault(shop: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    code, said = doctor(shop, monkeypatch, END - timedelta(days=20))
    assert code == 1 and "later than now: set FACINGS_REPLAY_FROM" in json.dumps(said)


def test_a_home_without_features_is_told_in_one_sentence(home: Path) -> None:
    ran = facings("doctor", "--parity")
    assert ran.code == 1 and "No features were ever computed in this home" in ran.sentence and not home.exists()
