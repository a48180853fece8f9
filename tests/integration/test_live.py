"""What a shopper does now counts in the next slate, over HTTP, with small trained models."""

from __future__ import annotations

import gc
import re
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from weakref import ref

import httpx
import numpy as np
import pytest

from configs.clock import FixedClock
from configs.settings import Settings
from models.reasons import Reason
from pipelines import snapshot
from pipelines.forget import forget
from pipelines.offers.fold import FoldIn
from pipelines.offers.view import open_view
from pipelines.packed import Ranked
from pipelines.signals.live.states import LiveFollower, LiveStates
from serving.live import Live
from state.engine import open_engine
from state.events import append_events
from tests.serving_town import ingest_shop, publish_slates, quiet, served
from tests.small_shop import CATEGORIES, END, ITEMS, SOLD_OUT, write_small_shop

LATE = "facings_live_late_total"
AISLE = "/v1/placements/aisle:recommend"
SNACKS = [item for number, item in enumerate(ITEMS) if CATEGORIES[number % 5].startswith("SNACKS")]


def shop_with(folder: Path, recommender: str) -> Settings:
    write_small_shop(folder / "shop", purchases=700)
    (folder / "shop" / "contents.csv").write_text(f"content_id,title,item_ids\nfilm-1,Crisps,{'|'.join(SNACKS[:6])}\n")
    (folder / "policy.yaml").write_text("maker_cap: 30\n")  # seven makers make slates of thirty here
    settings = ingest_shop(folder / "shop", folder / "home", live_deadline_ms=5000, policy=folder / "policy.yaml")
    publish_slates(settings, recommender=recommender, item_content=("category",))
    return settings


@pytest.fixture(scope="module", params=["blend", "ranker"])
def shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return shop_with(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="module")
def client(shop: Settings) -> Iterator[httpx.Client]:
    with served(shop) as base, httpx.Client(base_url=base, timeout=60) as client:
        yield client


def event(shopper: str, item: str, kind: str, seconds: float = 1.0) -> dict[str, Any]:
    moment = (END + timedelta(seconds=seconds)).isoformat()
    return {"shopper_id": shopper, "item_id": item, "event_type": kind, "event_time": moment}


def post(client: httpx.Client, *events: dict[str, Any]) -> None:
    answer = client.post("/v1/events:batch", json={"events": list(events)}).json()
    assert answer["accepted"] == len(events), answer


def slate(client: httpx.Client, shopper: str, count: int = 10) -> dict[str, Any]:
    found: dict[str, Any] = client.post(
        AISLE, json={"shopper_id": shopper, "store_id": "s1", "count": count, "exclude_ids": ["item-01"]}
    ).json()
    return found


def until(holds: Callable[[dict[str, Any]], bool], ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    limit = time.monotonic() + 60
    while not holds(found := ask()):
        assert time.monotonic() < limit, "the events did not come to count"
        time.sleep(0.01)
    return found


def metric(client: httpx.Client, name: str) -> float:
    told = re.search(rf"^{name} (\S+)$", client.get("/metrics").text, re.MULTILINE)
    assert told is not None
    return float(told.group(1))


def named(found: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in found["items"]]


def test_a_shopper_of_whom_nothing_is_known_gets_a_slate_of_their_own_after_a_few_events(client: httpx.Client) -> None:
    before = slate(client, "new-1")
    assert (before["fallback"], before["live"]) == ("unknown_shopper:neighbourhood", False)
    post(client, *(event("new-1", item, "view", place) for place, item in enumerate(SNACKS[:4], 1)))
    after = until(lambda found: found["live"], lambda: slate(client, "new-1"))
    assert after["fallback"] is None and len(after["items"]) == 10
    assert not {SOLD_OUT, "item-01"} & set(named(after))  # the rules hold here too
    assert {item["reason"] for item in after["items"]} <= {Reason.SIMILAR_TASTE, Reason.POPULAR}
    assert len(set(named(after)) & set(SNACKS)) > len(set(named(before)) & set(SNACKS))


def test_of_a_stranger_what_was_before_the_training_counts_too(client: httpx.Client) -> None:
    post(client, *(event("new-2", item, "view", -900.0 + place) for place, item in enumerate(SNACKS[:4], 1)))
    assert until(lambda found: found["live"], lambda: slate(client, "new-2"))["fallback"] is None


def test_what_a_known_shopper_looks_at_moves_their_discoveries(client: httpx.Client) -> None:
    def new(found: dict[str, Any]) -> list[str]:
        repeats = {Reason.BOUGHT_BEFORE, Reason.DUE_AGAIN}
        return [item["item_id"] for item in found["items"] if item["reason"] not in repeats]

    before = slate(client, "shopper-00", 30)
    assert (before["fallback"], before["live"]) == (None, False)
    post(client, *(event("shopper-00", item, "click", place) for place, item in enumerate(SNACKS[:5], 1)))
    after = until(lambda found: found["live"], lambda: slate(client, "shopper-00", 30))

    def mean_place(found: dict[str, Any]) -> float:
        return float(np.mean([place for place, item in enumerate(new(found)) if item in SNACKS]))

    assert mean_place(after) < mean_place(before) - 2
    assert [item for item in named(after) if item not in new(after)] == [
        item for item in named(before) if item not in new(before)
    ]


def test_what_was_bought_a_moment_ago_is_not_due_again_and_what_was_returned_was_not_bought(
    client: httpx.Client,
) -> None:
    first = slate(client, "shopper-02", 5)["items"][0]["item_id"]
    post(client, event("shopper-02", first, "purchase"))
    after = until(lambda found: found["live"], lambda: slate(client, "shopper-02", 40))
    assert first not in named(after)[:10]
    assert {item["reason"] for item in after["items"] if item["item_id"] == first} <= {Reason.BOUGHT_BEFORE}
    post(client, event("shopper-02", first, "return", 2), event("shopper-02", SNACKS[0], "view", 3))
    until(lambda found: first in named(found)[:5], lambda: slate(client, "shopper-02", 40))


def test_a_content_counts_by_the_items_it_shows(client: httpx.Client) -> None:
    def watched(found: dict[str, Any]) -> set[str]:
        return {item["item_id"] for item in found["items"] if item["reason"] == Reason.WATCHED}

    post(client, event("new-2", "film-1", "content_view"))
    found = until(lambda found: bool(watched(found)), lambda: slate(client, "new-2", 40))
    assert watched(found) <= set(SNACKS[:6])


def test_what_happened_before_the_training_or_names_nothing_known_changes_nothing(client: httpx.Client) -> None:
    before = slate(client, "shopper-04")
    post(
        client,
        event("shopper-04", SNACKS[0], "view", -60),
        event("shopper-04", "no-such-item", "view"),
        event("shopper-04", SNACKS[1], "impression"),
    )
    post(client, event("new-3", SNACKS[0], "view"))
    until(lambda found: found["live"], lambda: slate(client, "new-3"))  # by now these count, too
    after = slate(client, "shopper-04")
    assert not after["live"] and named(after) == named(before)


def test_the_slate_of_a_screen_follows_what_the_shopper_does(shop: Settings) -> None:
    from tests.integration.test_serving import SCREEN, enrol, sighting

    face = enrol(shop, "shopper-06", 9)
    with served(shop) as base, httpx.Client(base_url=base, timeout=60) as client:

        def seen() -> dict[str, Any]:
            assert client.post(f"{SCREEN}/sightings", json=sighting("t1", face)).json()["status"] == "known"
            shown: dict[str, Any] = client.get(f"{SCREEN}/offers").json()
            return shown

        before = seen()
        assert before["personal"] and not before["live"]
        post(client, event("shopper-06", before["items"][0]["item_id"], "purchase"))
        after = until(lambda found: found["live"], seen)
        assert before["items"][0]["item_id"] not in named(after)


def test_events_of_another_process_and_of_before_a_restart_count(tmp_path: Path) -> None:
    settings = shop_with(tmp_path, "personal_frequency")
    row = event("shopper-08", SNACKS[3], "purchase") | {"event_id": "elsewhere"}
    with served(settings) as base, httpx.Client(base_url=base, timeout=60) as client:
        assert not slate(client, "shopper-08")["live"]
        append_events(open_engine(settings.state_uri), [row], END)  # as another server on this home does
        until(lambda found: found["live"], lambda: slate(client, "shopper-08"))
    with served(settings) as base, httpx.Client(base_url=base, timeout=60) as client:
        until(lambda found: found["live"], lambda: slate(client, "shopper-08"))


def test_a_server_with_little_memory_reads_the_others_from_the_disk(tmp_path: Path) -> None:
    settings = shop_with(tmp_path, "personal_frequency")
    small = settings.model_copy(update={"live_shoppers": 1})
    with served(small) as base, httpx.Client(base_url=base, timeout=60) as client:
        for shopper in ("new-5", "new-6", "new-7"):
            post(client, event(shopper, SNACKS[3], "purchase"))
        for shopper in ("new-7", "new-5", "new-6"):
            found = until(lambda found: found["live"], lambda shopper=shopper: slate(client, shopper))  # type: ignore[misc]
            assert found["fallback"] is None
        until(lambda found: found["held"] == 1, lambda: {"held": metric(client, "facings_live_shoppers")})


def test_a_slate_that_may_not_wait_is_the_stored_one_and_a_later_one_counts_the_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = shop_with(tmp_path, "personal_frequency").model_copy(update={"live_deadline_ms": 0.0})
    may_go, compute = threading.Event(), FoldIn.candidates

    def slow(self: FoldIn, *told: Any) -> Ranked | None:
        may_go.wait(60)
        return compute(self, *told)

    monkeypatch.setattr(FoldIn, "candidates", slow)
    with served(settings) as base, httpx.Client(base_url=base, timeout=60) as client:
        before, stored = metric(client, LATE), slate(client, "shopper-12")
        others = [event(f"shopper-{number}", SNACKS[0], "view") for number in range(20, 26)]  # too many to look ahead
        post(client, event("shopper-12", named(stored)[0], "purchase"), *others)
        given: list[dict[str, Any]] = []

        def ask() -> dict[str, Any]:
            given.append(slate(client, "shopper-12"))
            return {**given[-1], "late": metric(client, LATE) > before}

        until(lambda found: found["late"], ask)
        assert not any(found["live"] for found in given)
        may_go.set()
        until(lambda found: found["live"], ask)
        waited = [named(found) for found in given if not found["live"]]
        bought = named(stored)[0]  # what they just bought goes at once, whatever the model says
        assert all(items == named(stored) or bought not in items for items in waited)
        assert named(given[-1])[0] != named(stored)[0]


def test_who_is_forgotten_is_gone_from_memory_and_from_the_copied_model(tmp_path: Path) -> None:
    settings = shop_with(tmp_path, "personal_frequency")
    with served(settings) as base, httpx.Client(base_url=base, timeout=60) as client:
        for shopper in ("shopper-10", "new-4"):
            post(client, event(shopper, SNACKS[3], "purchase"))
            until(lambda found: found["live"], lambda shopper=shopper: slate(client, shopper))  # type: ignore[misc]
            forget(settings, shopper, clock=FixedClock(END), progress=quiet)
            until(
                lambda found: not found["live"] and found["fallback"] == "unknown_shopper:neighbourhood",
                lambda shopper=shopper: slate(client, shopper),  # type: ignore[misc]
            )
            refused = client.post("/v1/events:batch", json={"events": [event(shopper, SNACKS[4], "view")]}).json()
            assert refused["accepted"] == 0 and len(refused["rejected"]) == 1
    current = snapshot.current(settings.paths, "slates")
    assert current is not None and snapshot.check(settings.paths, "slates", current)
    copies = [path for path in (settings.paths.snapshots / "slates").rglob("*.npy") if path.parent.name == "model"]
    assert copies and all("shopper-10".encode("utf-32-le") not in path.read_bytes() for path in copies)


def test_a_snapshot_that_was_served_is_let_go_though_its_shoppers_do_not_come_back(tmp_path: Path) -> None:
    settings = shop_with(tmp_path, "personal_frequency")
    engine = open_engine(settings.state_uri)
    append_events(engine, [event("shopper-10", SNACKS[3], "purchase") | {"event_id": "e1"}], END)
    follower = LiveFollower(engine, b"k" * 32, LiveStates(10))
    live = Live(settings, follower, FixedClock(END))
    follower.catch_up()
    first, second = open_view(settings.paths), open_view(settings.paths)
    assert first is not None and second is not None
    live.prepare_here(first, "shopper-10")
    made = live.candidates(first, "shopper-10")
    assert made is not None and live.candidates(first, "shopper-10") is made, "they are weighed once"
    live.warm(second)
    first.close()
    held = ref(first)
    del first
    gc.collect()
    assert held() is None
    second.close()
