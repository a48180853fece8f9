"""A campaign's money over HTTP: what is sold takes of it, what is spent ends its offers, and nothing counts twice."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest

from configs.clock import FixedClock
from configs.settings import Settings
from pipelines import snapshot
from pipelines.offers.budgets.pacer import Pacer
from pipelines.offers.decide import Ask, decide
from pipelines.offers.log.replay import find_record, replay
from pipelines.offers.view import open_view
from pipelines.signals.ingest import ingest
from pipelines.signals.lake.lake import Lake
from pipelines.training.intake import take_in
from state import budgets
from state.decisions import open_decisions
from state.engine import open_engine
from tests.serving_town import ingest_shop, publish_slates, quiet, served
from tests.small_shop import END, write_small_shop

ENTRANCE = "/v1/placements/entrance:recommend"
BUDGET = 50_000  # minor units, of campaign spring; item-00 costs 100 and 80 with its offer milk-20


@pytest.fixture
def shop(tmp_path: Path, state_url: str | None) -> Settings:
    folder = write_small_shop(tmp_path / "shop", purchases=300)
    settings = ingest_shop(folder, tmp_path / "home", state_url=state_url)
    publish_slates(settings)
    return settings


def sale(pieces: float, name: str = "sale-1", **more: Any) -> dict[str, Any]:
    return {
        "event_id": name, "shopper_id": "shopper-01", "item_id": "item-00", "event_type": "purchase",
        "event_time": (END - timedelta(hours=1)).isoformat(), "campaign_id": "spring", "price": 0.8,
        "quantity": pieces, "currency": "USD", "store_id": "s1", **more,
    }  # fmt: skip


def milk(client: httpx.Client) -> dict[str, Any]:
    answer = client.post(ENTRANCE, json={"store_id": "s1", "candidates": ["item-00"], "explain": True}).json()
    more = {"recommendation_id": answer["recommendation_id"], "refused": answer["refused_offers"]}
    return {**answer["items"][0]["offer"], **more}


def left(client: httpx.Client) -> float:
    found = re.search(r'facings_budget_left\{campaign="spring"\} (\S+)', client.get("/metrics").text)
    assert found, "the metric names the campaign"
    return float(found[1])


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.05)


def test_offers_end_when_their_campaign_s_money_is_spent_also_after_a_restart(shop: Settings) -> None:
    engine = open_engine(shop.state_uri)
    with served(shop) as base, httpx.Client(base_url=base) as client:
        assert milk(client)["offer_id"] == "milk-20"
        until(lambda: 0 < BUDGET - left(client) < 100)  # what was shown is committed
        told = client.post("/v1/events:batch", json={"events": [sale(100)]}).json()
        assert told["accepted"] == 1 and budgets.spent(engine) == {"spring": 2000}, "spent before it is acknowledged"
        client.post("/v1/events:batch", json={"events": [sale(100), sale(9, "other", campaign_id="always")]})
        assert budgets.spent(engine) == {"spring": 2000}, "once, and nothing of another campaign"
        until(lambda: left(client) < BUDGET - 2000)
        before = milk(client)
        assert (before["price"], before["was"]) == (80, 100)
        client.post("/v1/events:batch", json={"events": [sale(2400, "sale-2")]})
        until(lambda: milk(client)["offer_id"] is None)
        after = milk(client)
        assert (after["price"], after["was"]) == (100, None) and left(client) <= 0
        assert before["refused"] == []
        assert after["refused"] == [{"item_id": "item-00", "offer_id": "milk-20", "codes": ["budget_spent"]}]
    log = open_decisions(shop.decisions_uri)
    assert all(replay(find_record(log, decided["recommendation_id"])).agrees for decided in (before, after))
    with served(shop) as base, httpx.Client(base_url=base) as client:
        assert milk(client)["offer_id"] is None, "from the first answer on"
        slips = [sale(1e15, f"slip-{number}", item_id="item-58", price=0) for number in range(8)]
        assert client.post("/v1/events:batch", json={"events": slips}).json()["accepted"] == 8
        assert budgets.spent(engine)["spring"] < 2**53, "a slip of the pen is no number that breaks the sums"


def test_while_the_database_is_locked_what_waits_is_small_and_none_is_lost(shop: Settings) -> None:
    engine, view = open_engine(shop.state_uri), open_view(shop.paths)
    assert view is not None
    slate = decide(view, Ask("entrance", "s1", 1, candidates=["item-00"]), END)
    pacer = Pacer(engine, FixedClock(END), dict, redeem_hours=4, told=lambda *_: None)
    for _ in range(1_500):
        pacer.note(slate, END)
    assert sum(isinstance(one, list) for _, one in [pacer._slates.get() for _ in range(1_500)]) == 500
    for _ in range(1_500):
        pacer.note(slate, END)
    pacer.beat()
    view.close()
    assert sum(offers for _, offers, *_ in budgets.commitments(engine)["spring"]) == 1_500


def test_what_is_ingested_counts_once_whether_it_came_over_http_or_in_a_file(shop: Settings, tmp_path: Path) -> None:
    engine, clock = open_engine(shop.state_uri), FixedClock(END)
    with served(shop) as base, httpx.Client(base_url=base) as client:
        client.post("/v1/events:batch", json={"events": [sale(100)]})
    take_in(shop, None, clock=clock, progress=quiet)
    unnamed: list[dict[str, Any]] = [sale(1, event_id=None), sale(2, event_id=None)]
    rows = [sale(100), sale(5, "from-a-file"), sale(7, "old", campaign_id="over"), *unnamed]
    (tmp_path / "more").mkdir()
    pl.DataFrame([{**row, "quantity": float(row["quantity"])} for row in rows], infer_schema_length=None).with_columns(
        pl.col("event_time").str.to_datetime(time_zone="UTC")
    ).write_parquet(tmp_path / "more" / "interactions.parquet")
    ingest(tmp_path / "more", shop.paths, clock=clock, settings=shop, progress=quiet)
    for _ in range(2):
        snapshot.refresh_shop(shop.paths, Lake(shop.paths), shop, now=END, progress=quiet)
        assert budgets.spent(engine) == {"spring": 20 * (100 + 5 + 1 + 2)}
