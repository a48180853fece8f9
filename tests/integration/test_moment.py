"""What is true at the moment of a decision, over HTTP: what shoppers have and were shown, blocks, and `not me`."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import polars as pl
import pytest

from configs.clock import FixedClock
from configs.policy import PolicySettings, load_policy
from configs.secrets import secret
from configs.settings import Settings
from identity.template import MODEL, unit
from identity.vault import Enrolled, Vault
from pipelines import snapshot
from pipelines.faces import open_consents
from pipelines.forget import forget
from pipelines.offers.claims import Claims
from pipelines.offers.experiments.assignment import in_holdout
from pipelines.offers.gather import facts_of
from pipelines.offers.view import open_view
from pipelines.shop_snapshot import Shop
from pipelines.signals.ingest import ingest_events
from pipelines.signals.lake.lake import Lake
from pipelines.signals.live.states import LiveFollower, LiveStates
from serving.moment import Moment
from state.blocked import block, blocked_because, unblock
from state.engine import open_engine
from state.events import append_events, mark_taken, waiting_events
from state.forgotten import pseudonym
from tests.serving_town import ingest_shop, publish_slates, quiet, served
from tests.small_shop import END, write_small_shop

SCREEN = "/v1/screens/entrance-1"
POLICY = "holdout: 0\nbought_days: 2\noffer_cap: 2\ncap_days: 7\ndurable_categories: [Snacks]\nquiet_minutes: 10\n"
NEW, MILK, CHIPS = "new-shopper", "item-00", "item-03"


class MovableClock:
    """Tells the time that the test sets."""

    def __init__(self) -> None:
        self.moment = END

    def now(self) -> Any:
        return self.moment


@pytest.fixture
def shop(tmp_path: Path, state_url: str | None) -> Settings:
    folder = write_small_shop(tmp_path / "shop", purchases=300)
    (folder / "stores.csv").write_text(
        "store_id,excluded_brands,excluded_categories\ns1,,\ns2,meadow,dairy/cheese\ns3,,\n"
    )
    (tmp_path / "policy.yaml").write_text(POLICY)
    settings = ingest_shop(folder, tmp_path / "home", policy=tmp_path / "policy.yaml", state_url=state_url)
    publish_slates(settings)
    return settings


def codes(client: httpx.Client, shopper: str | None, item: str, store: str = "s1") -> list[str]:
    """Why an item is not shown; nothing: it is."""
    body = {"shopper_id": shopper, "store_id": store, "candidates": [item], "explain": True, "count": 3}
    told = client.post("/v1/placements/phone:recommend", json=body).json()
    refused = {one["item_id"]: one["codes"] for one in told["refused"]}
    assert (item in refused) != (item in {one["item_id"] for one in told["items"]})
    return list(refused.get(item, []))


def until(holds: Callable[[], bool]) -> None:
    limit = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < limit, "it never came to hold"
        time.sleep(0.02)


def event(shopper: str, item: str, kind: str, **more: Any) -> dict[str, Any]:
    days = more.pop("days", 0.0)
    return {"shopper_id": shopper, "item_id": item, "event_type": kind,
            "event_time": (END - timedelta(days=days)).isoformat(), **more}  # fmt: skip


def post(client: httpx.Client, *events: dict[str, Any]) -> None:
    assert client.post("/v1/events:batch", json={"events": list(events)}).json()["accepted"] == len(events)


def test_what_was_bought_is_held_back_at_once_over_restarts_and_once_it_is_in_the_lake(shop: Settings) -> None:
    with served(shop) as base, httpx.Client(base_url=base) as client:
        assert codes(client, NEW, MILK) == codes(client, NEW, CHIPS) == []
        post(client, event(NEW, MILK, "purchase"), event(NEW, CHIPS, "purchase", days=90))
        until(lambda: codes(client, NEW, MILK) != [])
        assert codes(client, NEW, MILK)[0] in ("just_bought", "not_due")
        assert codes(client, NEW, CHIPS) == ["not_due"], "a durable good, as the settings say"
        assert codes(client, "another", MILK) == codes(client, None, MILK) == []
    with served(shop) as base, httpx.Client(base_url=base) as client:
        assert codes(client, NEW, MILK), "from the first request on"
    waiting = waiting_events(open_engine(shop.state_uri))
    ingest_events(waiting, shop.paths, clock=FixedClock(END), settings=shop)
    mark_taken(open_engine(shop.state_uri), [row["event_id"] for row in waiting])
    snapshot.refresh_shop(shop.paths, Lake(shop.paths), shop, now=END, progress=quiet)
    with served(shop) as base, httpx.Client(base_url=base) as client:
        assert codes(client, NEW, MILK) and codes(client, NEW, CHIPS) == ["not_due"]
        post(client, event(NEW, MILK, "return"), event(NEW, CHIPS, "return"))
        until(lambda: not codes(client, NEW, MILK) and not codes(client, NEW, CHIPS))
    with served(shop, FixedClock(END + timedelta(days=30))) as base, httpx.Client(base_url=base) as client:
        until(lambda: not codes(client, NEW, MILK))
    forget(shop, NEW, clock=FixedClock(END), progress=quiet)
    with served(shop) as base, httpx.Client(base_url=base) as client:
        assert codes(client, NEW, MILK) == codes(client, NEW, CHIPS) == []


def test_an_item_is_shown_to_a_shopper_so_often_and_the_count_outlives_a_restart(shop: Settings) -> None:
    shown = [event(NEW, MILK, "impression", attribution_token=f"{n:032x}", days=days) for n, days in ((1, 0), (2, 6))]
    with served(shop) as base, httpx.Client(base_url=base) as client:
        post(client, shown[0], event(NEW, MILK, "impression", days=8))
        time.sleep(0.3)
        assert codes(client, NEW, MILK) == [], "one of them lies before the window"
        post(client, shown[1])
        until(lambda: codes(client, NEW, MILK) == ["shown_often"])
        assert codes(client, "another", MILK) == codes(client, None, MILK) == []
    with served(shop) as base, httpx.Client(base_url=base) as client:
        assert codes(client, NEW, MILK) == ["shown_often"], "from the first request on"
    waiting = waiting_events(open_engine(shop.state_uri))
    ingest_events(waiting, shop.paths, clock=FixedClock(END), settings=shop)
    snapshot.refresh_shop(shop.paths, Lake(shop.paths), shop, now=END, progress=quiet)  # in the lake and waiting: once
    with served(shop) as base, httpx.Client(base_url=base) as client:
        assert codes(client, NEW, MILK) == ["shown_often"], "from the first request on"
    with served(shop, FixedClock(END + timedelta(days=2))) as base, httpx.Client(base_url=base) as client:
        time.sleep(0.3)
        assert codes(client, NEW, MILK) == []


def test_what_is_blocked_goes_within_a_second_and_comes_back(shop: Settings) -> None:
    engine = open_engine(shop.state_uri)
    with served(shop) as base, httpx.Client(base_url=base) as client:
        assert codes(client, None, MILK) == []
        block(engine, "maker", ["maker-0"], reason="counterfeits", at=END)
        until(lambda: codes(client, None, MILK) == ["blocked"])
        assert blocked_because(engine, "maker", "maker-0") == "counterfeits"
        unblock(engine, "maker", ["maker-0"], at=END)
        block(engine, "item", [MILK, "no-such-item"], reason="recalled", at=END)
        until(
            lambda: codes(client, None, MILK) == ["blocked"] and codes(client, None, "item-14") == ["category_excluded"]
        )
        unblock(engine, "item", [MILK], at=END)
        until(lambda: codes(client, None, MILK) == [])


def test_a_store_s_own_exclusions_hold_there_and_nowhere_else(shop: Settings) -> None:
    with served(shop) as base, httpx.Client(base_url=base) as client:
        assert codes(client, None, MILK, "s2") == ["store_excluded"], "of the brand Meadow"
        assert codes(client, None, "item-01", "s2") == ["store_excluded"], "cheese"
        assert codes(client, None, "item-05", "s2") == [], "milk of another brand"
        assert codes(client, None, MILK, "s1") == codes(client, None, "item-01", "s3") == []


def test_not_me_greets_nobody_there_for_a_while_and_keeps_nothing_of_who(shop: Settings) -> None:
    vector = unit(np.random.default_rng(1).normal(size=128))
    open_consents(shop).give("shopper-00", at=END)
    Vault(shop.paths).put(Enrolled("shopper-00", vector[None, :], END))
    clock = MovableClock()
    body = {"track_id": "t", "embedding": vector.tolist(), "model": MODEL, "quality": 0.9, "liveness": None}
    ask = {"shopper_id": "shopper-00", "screen_id": "entrance-1"}

    def seen(client: httpx.Client) -> tuple[str, bool]:
        status = client.post(f"{SCREEN}/sightings", json=body).json()["status"]
        return status, client.get(f"{SCREEN}/offers").json()["personal"]

    def why(client: httpx.Client) -> str:
        fallback = client.post("/v1/placements/entrance:recommend", json=ask).json()["fallback"]
        return str(fallback).partition(":")[0]

    with served(shop, clock) as base, httpx.Client(base_url=base) as client:
        assert seen(client) == ("known", True)
        told = client.post(f"{SCREEN}/not-me")
        assert told.json() == {"quiet_until": (END + timedelta(minutes=10)).isoformat()}
        assert not client.get(f"{SCREEN}/offers").json()["personal"]
        assert seen(client) == ("unknown", False) and why(client) == "quiet"
        assert client.post("/v1/screens/nowhere/not-me").status_code == 404
    with open_engine(shop.state_uri).connect() as connection:
        assert connection.exec_driver_sql("SELECT * FROM quiet_screens").all() == [
            ("entrance-1", int((END + timedelta(minutes=10)).timestamp()) * 1_000_000)
        ]
    clock.moment = END + timedelta(minutes=9)
    with served(shop, clock) as base, httpx.Client(base_url=base) as client:
        assert seen(client) == ("unknown", False), "over a restart"
        clock.moment = END + timedelta(minutes=10)
        assert seen(client) == ("known", True) and why(client) != "quiet"


def test_a_slate_that_stays_on_a_screen_lets_go_of_what_is_blocked_or_spent(shop: Settings) -> None:
    vector = unit(np.random.default_rng(1).normal(size=128))
    open_consents(shop).give("shopper-00", at=END)
    Vault(shop.paths).put(Enrolled("shopper-00", vector[None, :], END))
    body = {"track_id": "t", "embedding": vector.tolist(), "model": MODEL, "quality": 0.9, "liveness": None}
    engine = open_engine(shop.state_uri)

    def shown(client: httpx.Client) -> list[str]:
        return [item["item_id"] for item in client.get(f"{SCREEN}/offers").json()["items"]]

    with served(shop) as base, httpx.Client(base_url=base) as client:  # its clock stands still: no slate ends by itself
        for personal in (False, True):
            if personal:
                assert client.post(f"{SCREEN}/sightings", json=body).json()["status"] == "known"
            assert client.get(f"{SCREEN}/offers").json()["personal"] is personal
            first = shown(client)
            assert shown(client) == first
            block(engine, "item", first[:1], reason="recalled", at=END)
            until(lambda gone=first[0]: gone not in shown(client))  # type: ignore[misc]
        assert client.post(f"{SCREEN}/sightings", json=body).json()["status"] == "known"
        assert first[0] not in shown(client)


def test_not_me_holds_where_it_cannot_be_written_down_and_codes_of_then_name_nobody(
    shop: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    vector = unit(np.random.default_rng(1).normal(size=128))
    open_consents(shop).give("shopper-00", at=END)
    Vault(shop.paths).put(Enrolled("shopper-00", vector[None, :], END))
    body = {"track_id": "t", "embedding": vector.tolist(), "model": MODEL, "quality": 0.9, "liveness": None}
    claims = Claims(secret(shop.paths, "claims"))

    def named(client: httpx.Client) -> set[str | None]:
        ask = {"shopper_id": "shopper-00", "screen_id": "entrance-1"}
        items = client.post("/v1/placements/entrance:recommend", json=ask).json()["items"]
        opened = [claims.open(item["claim_url"].rpartition("/")[2]) for item in items]
        return {claim.shopper_id for claim in opened if claim is not None}

    def away(*_: object) -> None:
        raise OSError

    with served(shop) as base, httpx.Client(base_url=base) as client:
        assert client.post(f"{SCREEN}/sightings", json=body).json()["status"] == "known"
        assert named(client) == {"shopper-00"}
        monkeypatch.setattr("serving.moment.keep_quiet", away)
        assert client.post(f"{SCREEN}/not-me").status_code == 500
        assert not client.get(f"{SCREEN}/offers").json()["personal"]
        assert client.post(f"{SCREEN}/sightings", json=body).json()["status"] == "unknown"
        assert named(client) == {None}


def test_slips_in_the_items_table_neither_stop_the_shop_nor_lift_a_rule(tmp_path: Path) -> None:
    folder = write_small_shop(tmp_path / "shop", purchases=50)
    items = pl.read_csv(folder / "items.csv")
    one = pl.col("item_id")
    items.with_columns(
        price=pl.when(one == CHIPS).then(1e17).otherwise("price"),
        category=pl.when(one == MILK).then(pl.lit("/ Alcohol/Beer")).otherwise("category"),
    ).write_csv(folder / "items.csv")
    settings = ingest_shop(folder, tmp_path / "home")
    with served(settings) as base, httpx.Client(base_url=base) as client:
        assert codes(client, NEW, MILK) == ["sensitive"]
        assert client.get("/health/ready").status_code == 200


def days_between(rows: pl.DataFrame) -> list[float]:
    """Days between the last purchases of each day."""
    last = rows.group_by(pl.col("event_time").dt.date().alias("day")).agg(pl.col("event_time").max()).sort("day")
    return [one.total_seconds() / 86_400 for one in last["event_time"].diff().drop_nulls()]


def test_facts_of_a_shopper_are_gathered_alike_from_the_lake_and_from_events(shop: Settings) -> None:
    """The lake's rule for until when an item is held back, told once more from the table of purchases."""
    policy, view = load_policy(shop.policy), open_view(shop.paths)
    assert view is not None
    sales = Lake(shop.paths).scan("interactions").filter(pl.col("event_type") == "purchase").collect()
    gaps: dict[str, list[float]] = {}
    for (_, item), rows in sales.group_by("shopper_id", "item_id"):
        gaps.setdefault(str(item), []).extend(days_between(rows))
    for shopper in ("shopper-00", "shopper-07"):
        facts = facts_of(view.shop, shopper, END, policy)
        want = {}
        for (item,), rows in sales.filter(pl.col("shopper_id") == shopper).group_by("item_id"):
            own = days_between(rows)
            usual = float(np.median(own)) if len(own) >= 2 else None
            if usual is None and len(gaps[str(item)]) >= 20:
                usual = float(np.median(gaps[str(item)]))
            durable = int(str(item).removeprefix("item-")) % 5 == 3  # SNACKS
            held = policy.bought_days if usual is None else usual * policy.due_share
            if durable or rows["event_time"].max() + timedelta(days=held) > END:  # type: ignore[operator]
                want[int(view.shop.positions([str(item)])[0])] = durable or usual is not None
        assert {place: lasts for place, (_, lasts) in facts.held.items()} == want
    view.close()


def test_who_makes_room_in_memory_is_read_from_the_disk(shop: Settings) -> None:
    engine, key = open_engine(shop.state_uri), b"k" * 32
    rows = [event(f"s{n}", MILK, kind, event_id=f"{kind}{n}") for n in range(3) for kind in ("purchase", "impression")]
    append_events(engine, rows, END)
    follower = LiveFollower(engine, key, LiveStates(1))
    follower.catch_up()
    for shopper in ("s0", "s1", "s2"):
        if follower.states.forgot(shopper):
            follower.recall(shopper)
        recent = follower.states.recent(shopper)
        assert recent is not None and set(recent.bought) == {MILK} and len(recent.shown) == 1
    follower.states.remove(["s2"])
    assert follower.states.recent("s2") is None


def test_a_snapshot_tells_of_nobody_who_was_forgotten(shop: Settings) -> None:
    name = snapshot.current(shop.paths, "shop")
    assert name is not None
    folder = shop.paths.snapshots / "shop" / name
    before = Shop(folder, snapshot.check(shop.paths, "shop", name))
    held, other = before.shoppers.own("shopper-01").held, before.shoppers.own("shopper-03").held
    before.close()
    assert len(held) and len(other)
    forget(shop, "shopper-01", clock=FixedClock(END), progress=quiet)
    after = Shop(folder, snapshot.check(shop.paths, "shop", name))
    assert not after.shoppers.own("shopper-01").held and after.shoppers.own("shopper-03").held == other
    after.close()
    assert b"shopper-01" not in (folder / "shoppers.mdb").read_bytes()


def test_who_is_in_the_holdout_has_no_say_in_a_slate_but_what_they_have_is_held_back(shop: Settings) -> None:
    key, now = b"k" * 32, END
    policy = PolicySettings(holdout=0.5, bought_days=3)
    live = SimpleNamespace(recent=lambda _: None)
    running = SimpleNamespace(current=lambda: SimpleNamespace(experiments={}))
    moment = Moment(open_engine(shop.state_uri), policy, live, running, key, dict)  # type: ignore[arg-type]
    named = [(f"shopper-{number:02d}", 0.02) for number in range(40)]
    asked = moment.personal(named)
    out = {who for who, chance in asked if not chance}
    assert [who for who, _ in asked] == [who for who, _ in named] and 8 <= len(out) <= 32
    assert out == {who for who, _ in named if in_holdout(pseudonym(who, key), 0.5)}
    view = open_view(shop.paths)
    assert view is not None
    held = moment.facts(view, None, None, now, possible=[who for who, _ in asked]).held
    theirs = set().union(*(moment.facts(view, who, None, now).held for who in out))
    assert theirs and theirs <= held.keys()
