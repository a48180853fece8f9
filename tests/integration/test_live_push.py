"""Live features in Feast's online store: pushed as events come, one row a shopper, shown only while it holds."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from configs.errors import UsageError
from configs.secrets import secret
from configs.settings import Settings, load_settings
from features import live
from features.store import FeatureStore
from pipelines.signals.live.states import LiveFollower, LivePusher, LiveStates
from serving import push
from serving.push import PushProcess
from state.engine import Engine, open_engine
from state.events import append_events
from state.forgotten import remember_forgotten

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


class MovableClock:
    """Tells the time that the test sets."""

    def __init__(self) -> None:
        self.moment = NOW

    def now(self) -> datetime:
        return self.moment


class Scene:
    """A home whose events are pushed."""

    def __init__(self, settings: Settings) -> None:
        self.clock, self.settings = MovableClock(), settings
        self.key = secret(settings.paths, "pseudonym")
        self.engine: Engine = open_engine(settings.state_uri)
        self.store = FeatureStore(settings, clock=self.clock)
        follower = LiveFollower(self.engine, self.key, LiveStates(100))
        self.pusher = LivePusher(settings, follower, self.clock)
        self._count = 0

    def event(self, shopper: str, item: str, kind: str, minutes: float = -1.0) -> None:
        self._count += 1
        moment = (self.clock.moment + timedelta(minutes=minutes)).isoformat()
        row = {"event_id": f"e{self._count}", "shopper_id": shopper, "item_id": item, "event_type": kind}
        append_events(self.engine, [row | {"event_time": moment}], self.clock.moment)

    def online(self, shopper: str) -> Any:
        return self.store.online("shopper_live", [shopper]).iloc[0]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    root: Path = tmp_path_factory.mktemp("live")
    made = Scene(load_settings(home=root / "home"))
    with closing(made.store), closing(made.pusher):
        yield made


def test_many_events_of_a_shopper_are_one_row_that_says_what_the_events_say(scene: Scene) -> None:
    for place in range(5):
        scene.event("ann", f"i{place}", "view", place - 10)
    scene.event("ann", "film", "content_view", -2)
    scene.event("bob", "i1", "purchase")
    assert scene.pusher.push() == 2
    found = scene.online("ann")
    items, contents = (live.events_of(found["session_items"], None), live.events_of(None, found["session_contents"]))
    assert [event.item_id for event in items] == [f"i{place}" for place in range(5)]
    assert [event.item_id for event in contents] == ["film"]
    assert (found["session_events"], found["session_looks"], found["session_minutes"]) == (6, 5, 10)
    assert scene.online("bob")["purchases_24h"] == 1
    assert scene.pusher.push() == 0  # nothing new
    scene.event("bob", "i2", "add_to_cart")
    assert scene.pusher.push() == 1
    assert scene.online("bob")["session_carts"] == 1


def test_a_row_is_shown_for_its_time_to_live_and_no_longer(scene: Scene) -> None:
    scene.event("cyd", "i1", "view")
    scene.pusher.push()
    scene.clock.moment += timedelta(minutes=29)
    assert scene.online("cyd")["session_events"] == 1
    scene.clock.moment += timedelta(minutes=2)
    assert pd.isna(scene.online("cyd")["session_events"])


def test_bringing_older_rows_online_leaves_what_was_pushed(scene: Scene) -> None:
    scene.event("dan", "i1", "view")
    scene.pusher.push()
    moment = live.micros(scene.clock.moment - timedelta(minutes=5))
    own = live.features_of((live.LiveEvent(moment - 1, "x", "purchase", "i9"),), moment, 30.0)
    assert own is not None
    scene.store.write_offline("shopper_live", live.frame([("dan", moment, own)]))
    assert scene.store.materialise(scene.clock.moment, progress=lambda _: None)["shopper_live"] == 0
    assert (scene.online("dan")["session_looks"], scene.online("dan")["session_purchases"]) == (1, 0)
    with pytest.raises(UsageError, match="cannot be pushed"):
        scene.store.push("shopper", pd.DataFrame)


def test_who_is_forgotten_leaves_no_row_and_none_is_pushed_again(scene: Scene) -> None:
    scene.event("eve-who-leaves", "i1", "view")
    scene.event("fay", "i1", "view")
    scene.pusher.push()
    scene.event("eve-who-leaves", "i2", "view")
    remember_forgotten(scene.engine, "eve-who-leaves", scene.key, scene.clock)
    assert scene.store.forget("eve-who-leaves")["online"] == 1
    scene.pusher.push()
    assert pd.isna(scene.online("eve-who-leaves")["session_events"]) and scene.online("fay")["session_events"] == 1
    database = scene.settings.paths.features / "online.db"
    assert b"eve-who-leaves" not in database.read_bytes()


def test_a_killed_push_is_started_again_and_ends_with_its_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push, "_AGAIN_SECONDS", 0.01)
    beside = PushProcess(load_settings(home=tmp_path / "home"))
    beside.start()
    try:
        first = pushing(None)
        first.kill()
        pushing(first.pid)
    finally:
        beside.stop()
    assert not multiprocessing.active_children()


def pushing(before: int | None) -> multiprocessing.process.BaseProcess:
    """The process that pushes, once it is another one than `before`."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        for child in multiprocessing.active_children():
            if child.name == "live-features" and child.pid != before:
                return child
        time.sleep(0.02)
    raise AssertionError("nothing pushes")
