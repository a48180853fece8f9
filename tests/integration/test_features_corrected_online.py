"""What came late or was corrected reaches the online store, on SQLite and on Redis: it ends as after one clean run."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from configs.clock import FixedClock
from configs.settings import Settings, load_settings
from features import live
from features.store import FeatureStore
from features.tables import LIVE_TTL_MINUTES, SERVICES, TTL_DAYS
from pipelines.signals.feature_store.materialise import materialise
from pipelines.signals.feature_store.parity import parity
from pipelines.signals.lake.lake import Lake, Manifest, Part
from tests.redis_server import redis_address

MAY, JUNE = pd.Timestamp("2024-05-10", tz="UTC"), pd.Timestamp("2024-06-01 06:30", tz="UTC")
NOW = JUNE + timedelta(days=2)
SHOPPERS, ITEMS = ["ann", "bob", "cy", "dee"], ["u", "v", "w"]
FIRST: list[tuple[str, ...]] = [
    ("ann", "u", "2024-04-20"),
    ("bob", "v", "2024-05-20"),
    ("bob", "u", "2024-05-21"),
    ("cy", "w", "2024-05-08"),
]


def quiet(_line: str) -> None:
    """Nobody watches a test's progress."""


def keep(settings: Settings, rows: list[tuple[str, ...]]) -> Lake:
    """Make the lake hold just these: shopper, item, time, and what happened (a purchase where it is not said)."""
    columns = ["shopper_id", "item_id", "event_time", "event_type"]
    frame = pd.DataFrame([(*row, "purchase")[:4] for row in rows], columns=columns)
    frame["event_time"] = pd.to_datetime(frame["event_time"], utc=True).astype("datetime64[us, UTC]")
    frame = frame.assign(store_id="s", basket_id=frame["event_time"].astype(str), price=2.0)
    lake = Lake(settings.paths)
    name = f"interactions/{len(rows)}-{abs(hash(tuple(rows)))}.parquet"
    (lake.folder / "interactions").mkdir(parents=True, exist_ok=True)
    frame.to_parquet(lake.folder / name)
    lake.commit(Manifest(tables={"interactions": (Part(file=name, rows=len(rows), digest=len(rows)),)}))
    return lake


def run(settings: Settings, rows: list[tuple[str, ...]], moments: list[pd.Timestamp], now: datetime = NOW) -> None:
    materialise(settings, keep(settings, rows), as_of=moments, clock=FixedClock(now), progress=quiet)


def online(settings: Settings, now: datetime = NOW) -> dict[str, pd.DataFrame]:
    pairs = pd.MultiIndex.from_product([SHOPPERS, ITEMS], names=["shopper_id", "item_id"]).to_frame(index=False)
    ids = {"shopper": SHOPPERS, "item": ITEMS, "store": ["s"], "shopper_item": pairs, "shopper_live": SHOPPERS}
    store = FeatureStore(settings, clock=FixedClock(now))
    answers = {service: store.online(service, ids[service]) for service in SERVICES if service in ids}
    store.close()
    return answers


@pytest.fixture(params=["sqlite", "redis"])
def chosen(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    if request.param == "sqlite":
        yield load_settings(home=tmp_path / "home")
        return
    with redis_address(tmp_path / "server") as address:
        yield load_settings(home=tmp_path / "home", online_store="redis", redis_url=address)


def assert_as_after_a_clean_run(settings: Settings, rows: list[tuple[str, ...]], folder: Path) -> None:
    clean = load_settings(home=folder)
    run(clean, rows, [MAY, JUNE])
    ours, theirs = online(settings), online(clean)
    for service, answer in theirs.items():
        pd.testing.assert_frame_equal(ours[service], answer, check_exact=True)


def test_late_corrected_and_withdrawn_rows_end_online_as_after_a_clean_run(chosen: Settings, tmp_path: Path) -> None:
    run(chosen, FIRST, [MAY, JUNE])
    assert online(chosen)["shopper"]["recency_days"].notna().tolist() == [True, True, True, False]
    # bob's two purchases were one, of another item; cy had given back the only one; dee's and one of ann's came late.
    after = [FIRST[0], ("bob", "w", "2024-05-22"), FIRST[3], ("cy", "w", "2024-05-09", "return")]
    after += [("dee", "u", "2024-05-02"), ("ann", "v", "2024-05-30")]
    run(chosen, after, [MAY, JUNE], NOW + timedelta(hours=1))
    assert online(chosen)["shopper"]["recency_days"].notna().tolist() == [True, True, False, True]
    assert_as_after_a_clean_run(chosen, after, tmp_path / "clean")
    run(chosen, FIRST, [MAY], NOW + timedelta(hours=2))  # an older moment alone changes nothing online
    assert_as_after_a_clean_run(chosen, after, tmp_path / "again")


def test_who_has_no_row_at_a_later_moment_is_not_told_from_an_earlier_one(chosen: Settings) -> None:
    early = ("ann", "u", "2024-02-20")  # within 90 days of MAY and not of JUNE: the pair matters no more
    run(chosen, [early, *FIRST[1:]], [MAY])
    assert online(chosen, MAY)["shopper_item"]["recency_days"].notna().tolist()[0]
    run(chosen, [early, *FIRST[1:]], [JUNE])
    assert online(chosen)["shopper_item"]["recency_days"].isna().tolist()[0]
    assert online(chosen)["shopper"]["recency_days"].notna().tolist()[0]


def test_a_forgotten_shopper_does_not_come_back_with_a_new_run(chosen: Settings, tmp_path: Path) -> None:
    run(chosen, FIRST, [MAY, JUNE])
    store = FeatureStore(chosen, clock=FixedClock(NOW))
    store.forget("bob")
    store.close()
    left = [row for row in FIRST if row[0] != "bob"]
    run(chosen, left, [MAY, JUNE])
    assert_as_after_a_clean_run(chosen, left, tmp_path / "clean")


def test_reads_honour_the_time_to_live_at_its_boundary_of_batch_and_live_views(chosen: Settings) -> None:
    run(chosen, FIRST, [JUNE])
    writer = FeatureStore(chosen, clock=FixedClock(NOW))
    event = live.LiveEvent(live.micros(JUNE.to_pydatetime()), "e1", "view", "u")
    after = event.time + 1
    writer.push("shopper_live", lambda: live.frame([("ann", after, live.features_of((event,), after, 30) or {})]))
    writer.close()
    for service, column, ttl in (
        ("shopper", "recency_days", timedelta(days=TTL_DAYS)),
        ("shopper_item", "recency_days", timedelta(days=TTL_DAYS)),
        ("shopper_live", "events_24h", timedelta(minutes=LIVE_TTL_MINUTES)),
    ):
        held = [
            online(chosen, JUNE + ttl + timedelta(seconds=late))[service][column].notna().any() for late in (-1, 0, 1)
        ]
        assert held == [True, True, False], service
    store = FeatureStore(chosen, clock=FixedClock(NOW))
    expiry = JUNE + timedelta(days=TTL_DAYS)
    asked = pd.DataFrame({"shopper_id": "ann", "event_timestamp": [expiry, expiry + timedelta(microseconds=1)]})
    assert store.historical(asked, "shopper")["recency_days"].notna().tolist() == [True, False]
    store.close()


def test_the_machines_time_zone_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    time.tzset()
    try:
        chosen = load_settings(home=tmp_path / "home")
        run(chosen, FIRST, [MAY, JUNE])
        edge = JUNE + timedelta(days=TTL_DAYS)
        shown = [online(chosen, edge + timedelta(hours=late))["item"]["recency_days"].notna().all() for late in (-1, 1)]
        assert shown == [True, False]
        assert all(one.agrees and one.known for one in parity(chosen, clock=FixedClock(NOW)) if one.compared)
    finally:
        monkeypatch.undo()
        time.tzset()
