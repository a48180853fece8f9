"""The same definitions with Redis online give the same answers as with SQLite, and forget as well.

tests/redis_server.py says which Redis that is.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest

from configs.clock import FixedClock
from configs.errors import FacingsError
from configs.settings import Settings, load_settings
from features import live
from features.store import FeatureStore
from features.tables import LIVE_TTL_MINUTES, TTL_DAYS, VIEWS
from tests.redis_server import Server, SmallRedis, redis_address

NOON = pd.Timestamp("2024-06-01 12:00", tz="UTC")
PAIRS = pd.DataFrame({"shopper_id": ["a", "a", "b"], "item_id": ["x", "y", "x"]})


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    with redis_address(tmp_path / "server") as address:
        yield address


@pytest.fixture
def chosen(tmp_path: Path, redis_url: str) -> Settings:
    return load_settings(home=tmp_path / "redis", online_store="redis", redis_url=redis_url)


def fill(settings: Settings, value: float = 1.5) -> FeatureStore:
    store = FeatureStore(settings, clock=FixedClock(NOON.to_pydatetime()))
    for view, keys in (("shopper", PAIRS[["shopper_id"]].drop_duplicates()), ("shopper_item", PAIRS)):
        frame = keys.assign(event_timestamp=NOON, created_timestamp=NOON)
        for number, feature in enumerate(VIEWS[view].features):
            frame[feature.name] = value + number if feature.kind == "number" else None
        store.write_offline(view, frame)
    store.materialise(NOON.to_pydatetime(), progress=lambda line: None)
    return store


def test_redis_and_sqlite_give_the_same_answer(chosen: Settings, tmp_path: Path) -> None:
    redis, sqlite = fill(chosen), fill(load_settings(home=tmp_path / "sqlite"))
    for service, ids in (("shopper", ["b", "nobody", "a"]), ("shopper_item", PAIRS.iloc[::-1])):
        pd.testing.assert_frame_equal(redis.online(service, ids), sqlite.online(service, ids), check_exact=True)
    redis.close()
    sqlite.close()


def test_what_is_pushed_is_the_same_in_redis_and_a_later_push_takes_its_place(chosen: Settings, tmp_path: Path) -> None:
    moment = live.micros(NOON.to_pydatetime())

    def rows(*kinds: str) -> pd.DataFrame:
        state = [live.LiveEvent(moment - 9 + place, f"e{place}", kind, "x") for place, kind in enumerate(kinds)]
        features = live.features_of(live.update((), state), moment, 30.0)
        assert features is not None
        return live.frame([("a", moment, features)])

    found = []
    for settings in (chosen, load_settings(home=tmp_path / "sqlite")):
        store = FeatureStore(settings, clock=FixedClock(NOON.to_pydatetime()))
        assert store.push("shopper_live", lambda: rows("view")) == 1
        assert store.push("shopper_live", lambda: rows("view", "purchase")) == 1
        found.append(store.online("shopper_live", ["a", "nobody"]))
        store.close()
    pd.testing.assert_frame_equal(*found, check_exact=True)
    assert found[0]["session_purchases"].tolist()[0] == 1
    late = FeatureStore(
        chosen, clock=FixedClock((NOON + timedelta(minutes=LIVE_TTL_MINUTES, seconds=1)).to_pydatetime())
    )
    assert late.online("shopper_live", ["a"])["session_events"].isna().all()
    late.close()


def test_a_correction_at_the_same_moment_arrives_in_redis(chosen: Settings) -> None:
    fill(chosen, 1.5).close()
    store = fill(chosen, 2.5)
    assert store.online("shopper", ["a"])["recency_days"].tolist() == [2.5]
    store.close()


def test_redis_forgets_a_shopper_and_every_pair_of_theirs(chosen: Settings) -> None:
    store = fill(chosen)
    assert store.forget("a") == {"online": 3, "offline": 3}
    assert store.online("shopper", ["a", "b"])["recency_days"].isna().tolist() == [True, False]
    assert store.online("shopper_item", PAIRS)["recency_days"].isna().tolist() == [True, True, False]
    store.close()


def test_a_redis_that_does_not_answer_is_told_in_one_sentence(tmp_path: Path) -> None:
    with Server(("127.0.0.1", 0), SmallRedis) as closed:
        port = closed.server_address[1]
    dead = load_settings(home=tmp_path / "dead", online_store="redis", redis_url=f"127.0.0.1:{port},password=hush")
    with pytest.raises(FacingsError, match="FACINGS_REDIS_URL") as told:
        FeatureStore(dead).online("shopper", ["a"])
    assert "hush" not in str(told.value)


def test_redis_shows_nothing_that_has_expired(chosen: Settings) -> None:
    fill(chosen).close()
    late = FeatureStore(chosen, clock=FixedClock((NOON + timedelta(days=TTL_DAYS, seconds=1)).to_pydatetime()))
    assert late.online("shopper", ["a"])["recency_days"].isna().all()
    late.close()
