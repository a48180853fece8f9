"""The same definitions with Redis online give the same answers as with SQLite, and forget as well.

FACINGS_TEST_REDIS=host:port runs this against a real server. Without one, a small server of ours speaks the few
commands that Feast sends, over a real socket through the real client.
"""

from __future__ import annotations

import os
import socketserver
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest

from configs.clock import FixedClock
from configs.errors import FacingsError
from configs.settings import Settings, load_settings
from features.store import FeatureStore
from features.tables import TTL_DAYS, VIEWS

NOON = pd.Timestamp("2024-06-01 12:00", tz="UTC")
PAIRS = pd.DataFrame({"shopper_id": ["a", "a", "b"], "item_id": ["x", "y", "x"]})


class SmallRedis(socketserver.StreamRequestHandler):
    """Hashes only: HSET, HMGET, HKEYS, DEL, EXPIRE (taken, not run down); everything else is refused."""

    hashes: dict[bytes, dict[bytes, bytes]] = {}  # noqa: RUF012

    def handle(self) -> None:
        while header := self.rfile.readline():
            words = [self.rfile.read(int(self.rfile.readline()[1:]) + 2)[:-2] for _ in range(int(header[1:]))]
            self.wfile.write(self.answer(words[0].upper(), words[1:]))

    def answer(self, command: bytes, words: list[bytes]) -> bytes:
        held = self.hashes
        if command == b"HSET":
            held.setdefault(words[0], {}).update(zip(words[1::2], words[2::2], strict=True))
            return b":1\r\n"
        if command == b"HMGET":
            return self.array([held.get(words[0], {}).get(field) for field in words[1:]])
        if command == b"HKEYS":
            return self.array(list(held.get(words[0], {})))
        if command == b"DEL":
            return b":%d\r\n" % sum(held.pop(key, None) is not None for key in words)
        if command == b"EXPIRE":
            return b":1\r\n"
        return b"-ERR unknown command\r\n"

    @staticmethod
    def array(values: list[bytes | None]) -> bytes:
        parts = [b"$-1\r\n" if value is None else b"$%d\r\n%s\r\n" % (len(value), value) for value in values]
        return b"*%d\r\n%s" % (len(values), b"".join(parts))


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True


@pytest.fixture
def redis_url() -> Iterator[str]:
    given = os.environ.get("FACINGS_TEST_REDIS")
    if given:
        yield given
        return
    SmallRedis.hashes.clear()
    with Server(("127.0.0.1", 0), SmallRedis) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]},protocol=2"
        server.shutdown()


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
