"""A real server's decisions: logged, decided again bit for bit, joined to what they led to, told, and forgotten."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest

from configs.clock import FixedClock
from configs.secrets import secret
from configs.settings import Settings
from pipelines import snapshot
from pipelines.forget import forget
from pipelines.offers.decide import Ask, decide
from pipelines.offers.log.decision_log import DecisionLog
from pipelines.offers.log.record import Asked
from pipelines.offers.log.replay import find_record, replay
from pipelines.offers.view import open_view
from pipelines.signals.ingest import ingest, ingest_events
from pipelines.signals.lake.lake import Lake
from state.decisions import (
    Row,
    answers_between,
    append_decisions,
    new_id,
    open_decisions,
    prune_decisions,
    read_decision,
)
from state.engine import open_engine
from state.events import waiting_events
from state.forgotten import pseudonym
from tests.command import facings
from tests.serving_town import ingest_shop, publish_slates, quiet, served
from tests.small_shop import END, ITEMS, SHOPPERS, STORES, write_small_shop


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_small_shop(tmp_path / "shop")


@pytest.fixture
def shop(folder: Path, tmp_path: Path, state_url: str | None) -> Settings:
    settings = ingest_shop(folder, tmp_path / "home", state_url=state_url)
    publish_slates(settings)
    return settings


def question(chance: random.Random) -> tuple[str, dict[str, Any]]:
    body: dict[str, Any] = {"store_id": chance.choice(STORES), "count": chance.choice((1, 5, 10, 60)),
                            "explain": chance.random() < 0.3}  # fmt: skip
    if chance.random() < 0.7:
        body["shopper_id"] = chance.choice([*SHOPPERS, "a stranger"])
    if chance.random() < 0.3:
        body["exclude_ids"] = [*chance.sample(ITEMS, 5), "unknown"]
    if chance.random() < 0.3:
        body["candidates"] = [*chance.sample(ITEMS, 10), "unknown"]
    return chance.choice(("entrance", "aisle", "checkout", "phone")), body


def ask(base: str, **body: Any) -> Any:
    answer = httpx.post(f"{base}/v1/placements/phone:recommend", json={"store_id": "s1", "count": 3, **body})
    return answer.raise_for_status().json()


def test_what_was_served_is_decided_again_bit_for_bit_also_after_the_shop_has_changed(
    shop: Settings, folder: Path
) -> None:
    chance = random.Random(5)
    with served(shop) as base, httpx.Client(base_url=base) as client:
        answers = []
        for _ in range(150):
            placement, body = question(chance)
            answers.append(client.post(f"/v1/placements/{placement}:recommend", json=body).raise_for_status().json())
        old = snapshot.current(shop.paths, "shop")
        stock = pl.read_csv(folder / "stock.csv", infer_schema=False)
        stock.with_columns(units=pl.lit("0")).write_csv(folder / "stock.csv")
        items = pl.read_csv(folder / "items.csv", infer_schema=False)
        pl.concat([items.with_columns(price=pl.lit("99.00")), items.head(1).with_columns(item_id=pl.lit("a-new-one"))]
                  ).write_csv(folder / "items.csv")  # fmt: skip
        ingest(folder, shop.paths, clock=FixedClock(END + timedelta(days=1)), settings=shop, progress=quiet)
        snapshot.refresh_shop(shop.paths, Lake(shop.paths), shop, now=END, progress=quiet)
        snapshot.prune(shop.paths, "shop", keep=())
        metrics = client.get("/metrics").text
    assert snapshot.current(shop.paths, "shop") != old and not (shop.paths.snapshots / "shop" / str(old)).exists()
    assert 'facings_decisions_total{outcome="logged"}' in metrics and not set(SHOPPERS) & set(metrics.split('"'))
    engine = open_decisions(shop.decisions_uri)
    for answer in answers:
        record = find_record(engine, answer["recommendation_id"])
        again = replay(record)
        assert again.agrees, again.why
        assert again.fallback == answer["fallback"]
        told = [(one["item_id"], one["score"], one["reason"], one["offer"]["price"], one["offer"]["was"],
                 one["offer"]["offer_id"], one["propensity"]) for one in answer["items"]]  # fmt: skip
        assert [
            (item, round(score, 6), reason, *rest, round(propensity, 12))
            for item, score, reason, *rest, _, propensity in again.items
        ] == told
        if answer.get("refused") is not None:
            assert record.answer["refused"] == {one["item_id"]: one["codes"] for one in answer["refused"]}


def test_a_record_that_does_not_lead_to_what_was_served_is_told(shop: Settings) -> None:
    with served(shop) as base:
        name = ask(base, shopper_id=SHOPPERS[0])["recommendation_id"]
    engine = open_decisions(shop.decisions_uri)
    row = read_decision(engine, name)
    assert row is not None
    answer = json.loads(row.answer)
    answer["items"][0][3] += 1
    append_decisions(engine, [Row("0" * 32, row.decided_at, row.shopper, json.dumps(answer).encode(), row.seen)], [])
    found = replay(find_record(engine, "0" * 32))
    assert (found.agrees, found.why) == (False, "items differ")


def test_the_chain_from_a_slate_to_a_purchase_is_told_by_the_command(
    shop: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    shopper, token = SHOPPERS[0], None
    with served(shop) as base, httpx.Client(base_url=base) as client:
        slate = ask(base, shopper_id=shopper)
        shown = [item["item_id"] for item in slate["items"]]
        token = slate["items"][0]["claim_url"].rpartition("/")[2]
        tell = f"/v1/claims/{token}/responses"
        assert client.post(tell, json={"event_type": "scan"}).json() == {"accepted": 3, "duplicates": 0}
        assert client.post(tell, json={"event_type": "scan"}).json() == {"accepted": 0, "duplicates": 3}
        tap = {"event_type": "tap", "item_ids": [shown[1], "never shown"]}
        assert client.post(tell, json=tap).json() == {"accepted": 1, "duplicates": 0}
        stranger = ask(base, shopper_id=SHOPPERS[1])["recommendation_id"]
        other = {"event_type": "tap", "recommendation_id": stranger}
        assert client.post(tell, json=other).json()["accepted"] == 0, "a code tells nothing of another shopper's slate"
        bought = {"shopper_id": shopper, "item_id": shown[1], "event_type": "purchase", "price": 1.25, "quantity": 2,
                  "event_time": (END + timedelta(seconds=60)).isoformat()}  # fmt: skip
        assert client.post("/v1/events:batch", json={"events": [bought]}).json()["accepted"] == 1
        nobody = ask(base)
        nobodys = nobody["items"][0]["claim_url"].rpartition("/")[2]
        assert client.post(f"/v1/claims/{nobodys}/responses", json={"event_type": "scan"}).json()["accepted"] == 0
        assert client.post("/v1/claims/forged/responses", json={"event_type": "scan"}).status_code == 404
    waiting = waiting_events(open_engine(shop.state_uri))
    assert {row["attribution_token"] for row in waiting if row["event_type"] != "purchase"} == {
        slate["recommendation_id"]
    }
    monkeypatch.setenv("FACINGS_HOME", str(shop.home))
    if shop.state_url:
        monkeypatch.setenv("FACINGS_STATE_URL", shop.state_url)
    outcome = facings("explain", slate["recommendation_id"], "--json")
    told = outcome.told
    assert outcome.code == 0 and told["replay"] == {"agrees": True, "why": None} and told["personal"]
    assert shopper not in outcome.out
    first, second, _ = (item["led_to"] for item in told["items"])
    assert first["scan_time"] and not first["tap_time"] and first["quantity"] == 0
    assert second["tap_time"] and second["purchase_time"] and (second["quantity"], second["revenue"]) == (2, 250)
    assert told["saw"][0]["level"] == "shopper" and len(told["slots"]) == len(shown)
    could = [one["item_id"] for one in told["could"]]
    for rank, (item, slot) in enumerate(zip(told["items"], told["slots"], strict=True)):
        assert sum(slot["propensities"]) == pytest.approx(1) and slot["could"] >= len(shown) - rank
        assert slot["propensities"][could.index(item["item_id"])] == item["propensity"]
    assert {one["item_id"]: one["codes"] for one in told["refused"]}.keys().isdisjoint(could)
    late = END + timedelta(hours=1)
    ingest_events(waiting, shop.paths, clock=FixedClock(late), settings=shop)  # in the lake it is the same
    out = shop.home / "attributed.parquet"
    span = ("--since", (END - timedelta(hours=1)).isoformat(), "--until", late.isoformat())
    totals = facings("attribution", *span, "--out", out, "--json").told
    assert (totals["decisions"], totals["scan"], totals["tap"], totals["purchase"]) == (3, 3, 1, 1)
    assert (totals["quantity"], totals["revenue"], totals["returned"]) == (2, 250, 0)
    assert pl.read_parquet(out).filter(pl.col("quantity") > 0)["item_id"].to_list() == [shown[1]]
    assert "--since" in facings("attribution", "--since", "2099-01-01").sentence
    again = facings("explain", slate["recommendation_id"], "--json").told  # waits still, and is in the lake as well
    assert [item["led_to"] for item in again["items"]] == [item["led_to"] for item in told["items"]]
    assert "agrees, bit for bit" in facings("explain", slate["recommendation_id"]).out
    assert "no decision" in facings("explain", "f" * 32).sentence


def test_a_forgotten_shopper_s_decisions_are_gone_and_none_is_written_again(shop: Settings) -> None:
    gone, stays = SHOPPERS[:2]
    with served(shop) as base:
        slates = {who: ask(base, shopper_id=who)["recommendation_id"] for who in (gone, stays)}
        engine = open_decisions(shop.decisions_uri)
        until = time.monotonic() + 60  # the log is written behind the answers
        while read_decision(engine, slates[stays]) is None:
            assert time.monotonic() < until, "the decisions were not written"
            ask(base)
        receipt = forget(shop, gone, clock=FixedClock(END), progress=quiet)
        assert receipt.erased["decisions"] == 1
        ask(base, shopper_id=gone)
    kept = {name for name, *_ in answers_between(engine, END - timedelta(days=1), END + timedelta(days=1))}
    assert slates[stays] in kept and slates[gone] not in kept
    key = pseudonym(gone, secret(shop.paths, "pseudonym")).encode()
    assert not [file for file in shop.paths.root.glob("decisions.db*") if key in file.read_bytes()]


def test_a_full_queue_or_a_broken_disk_costs_records_and_no_answer(shop: Settings) -> None:
    counted: dict[str, int] = {}

    def count(outcome: str, rows: int) -> None:
        counted[outcome] = counted.get(outcome, 0) + rows

    view = open_view(shop.paths)
    assert view is not None
    engine = open_decisions(shop.decisions_uri)
    slate = decide(view, Ask("phone", "s1", 3), END)
    names = [card["item_id"] for card in view.shop.cards([one.place for one in slate.items])]
    for number, capacity, outcome in ((1, 0, "dropped"), (2, 10, "failed"), (3, 10, "logged")):
        log = DecisionLog(engine, b"k" * 32, clock=FixedClock(END), keep_days=1, forgotten=lambda _: set(), count=count,
                          capacity=capacity)  # fmt: skip
        log.start()
        taken = Row(f"{number:032x}", 0, None, b"{}", b"")
        if outcome == "failed":
            append_decisions(engine, [taken], [])  # its id is taken: the write is refused
        log.note(Asked(taken.recommendation_id, END), view, Ask("phone", "s1", 3), slate, names)
        log.flush()
        log.close()
        assert counted.pop(outcome) == 1 and not counted
    view.close()


def test_who_is_forgotten_while_a_decision_is_being_written_leaves_none(shop: Settings) -> None:
    view = open_view(shop.paths)
    assert view is not None
    engine, key = open_decisions(shop.decisions_uri), b"k" * 32
    name, asked = new_id(END), Ask("phone", "s1", 3, shopper_id="shopper-01")
    slate = decide(view, asked, END)
    names = [card["item_id"] for card in view.shop.cards([one.place for one in slate.items])]
    looks: Iterator[set[str]] = iter(
        [set(), {pseudonym("shopper-01", key)}]
    )  # the tombstone comes between the look and the write
    log = DecisionLog(engine, key, clock=FixedClock(END), keep_days=1, forgotten=lambda _: next(looks),
                      count=lambda *_: None)  # fmt: skip
    log.start()
    log.note(Asked(name, END), view, asked, slate, names)
    log.flush()
    log.close()
    view.close()
    assert read_decision(engine, name) is None and next(looks, None) is None


def test_who_is_forgotten_while_the_writing_fails_half_way_leaves_nothing_of_the_first_half(shop: Settings) -> None:
    counted: dict[str, int] = {}
    view = open_view(shop.paths)
    assert view is not None
    engine, key = open_decisions(shop.decisions_uri), b"k" * 32
    asked = Ask("phone", "s1", 3, shopper_id="shopper-01")
    slate = decide(view, asked, END)
    names = [card["item_id"] for card in view.shop.cards([one.place for one in slate.items])]
    ids = [new_id(END) for _ in range(250)]
    append_decisions(engine, [Row(ids[200], 0, None, b"{}", b"")], [])  # its id is taken: a later write is refused
    looks: Iterator[set[str]] = iter([set(), {pseudonym("shopper-01", key)}])

    def count(outcome: str, rows: int) -> None:
        counted[outcome] = counted.get(outcome, 0) + rows

    log = DecisionLog(engine, key, clock=FixedClock(END), keep_days=1, forgotten=lambda _: next(looks), count=count)
    for name in ids:
        log.note(Asked(name, END), view, asked, slate, names)
    log.start()
    assert log.flush()
    log.close()
    view.close()
    assert next(looks, None) is None and 0 < counted["logged"] <= 200 and sum(counted.values()) == len(ids)
    assert [name for name in ids if read_decision(engine, name)] == [ids[200]]


def test_old_decisions_are_dropped_with_what_only_they_saw(shop: Settings) -> None:
    with served(shop) as base:
        name = ask(base)["recommendation_id"]
    engine = open_decisions(shop.decisions_uri)
    assert prune_decisions(engine, END) == 0 and replay(find_record(engine, name)).agrees
    assert prune_decisions(engine, END + timedelta(days=1)) > 1  # the decision and the best-sellers it read
    assert read_decision(engine, name) is None
