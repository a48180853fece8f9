"""The HTTP interface against its own OpenAPI document, and every way in which a request may be wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from models.reasons import Reason
from pipelines.offers.eligibility import Refusal
from serving.schemas import EventsAnswer, RecommendAnswer, ScreenSlate
from tests.serving_town import ingest_shop, publish_slates, served
from tests.small_shop import END, SOLD_OUT, write_small_shop

ENTRANCE = "/v1/placements/entrance:recommend"
EVENT = {"shopper_id": "a", "item_id": "item-01", "event_type": "view", "event_time": "2026-05-30T10:00:00Z"}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    root: Path = tmp_path_factory.mktemp("http")
    settings = ingest_shop(write_small_shop(root / "shop"), root / "home")
    publish_slates(settings)
    with served(settings) as base, httpx.Client(base_url=base) as client:
        yield client


def test_a_known_shopper_gets_their_own_slate_in_the_documented_form(client: httpx.Client) -> None:
    body = {"shopper_id": "shopper-00", "store_id": "s1", "count": 5, "explain": True}
    answer = client.post(ENTRANCE, json=body)
    assert answer.status_code == 200
    slate = RecommendAnswer.model_validate(answer.json())
    assert (slate.fallback, slate.model_version, slate.stock_rule) == (None, "1", "on")
    assert [item.rank for item in slate.items] == [1, 2, 3, 4, 5]
    assert len({item.item_id for item in slate.items}) == 5
    assert all(0 < item.propensity < 1 for item in slate.items)
    shown = [item for item in slate.items if item.propensity > 0.5]
    assert shown and all(item.reason == Reason.BOUGHT_BEFORE for item in shown), "what was not drawn is the best"
    assert answer.json()["took_ms"] >= 0 and slate.recommendation_id and slate.policy_version


def test_questions_that_are_asked_at_once_get_what_each_gets_alone(client: httpx.Client) -> None:
    def told(body: dict[str, Any]) -> tuple[int, Any]:
        answer = client.post(ENTRANCE, json=body)
        slate = {key: value for key, value in answer.json().items() if key not in ("recommendation_id", "took_ms")}
        for item in slate.get("items", ()):
            item.pop("claim_url")
        return answer.status_code, slate

    bodies = [{"shopper_id": f"shopper-{one:02}", "store_id": f"s{1 + one % 2}", "count": one} for one in range(1, 12)]
    bodies += [{"store_id": "s1", "explain": True}, {"store_id": "nowhere"}, {"store_id": "s2", "count": 0}]
    alone = [told(body) for body in bodies]
    assert [status for status, _ in alone] == [200] * 12 + [422] * 2
    with ThreadPoolExecutor(len(bodies)) as pool:
        for _ in range(5):
            assert list(pool.map(told, bodies)) == alone


@pytest.mark.parametrize(
    ("shopper", "why"), [(None, "anonymous:neighbourhood"), ("nobody-yet", "unknown_shopper:neighbourhood")]
)
def test_nobody_and_a_stranger_get_the_neighbourhood_s_slate(
    client: httpx.Client, shopper: str | None, why: str
) -> None:
    slate = client.post(ENTRANCE, json={"shopper_id": shopper, "store_id": "s2", "count": 4}).json()
    assert slate["fallback"] == why and len(slate["items"]) == 4
    assert {item["reason"] for item in slate["items"]} == {"popular_in_neighbourhood"}


def test_a_screen_tells_the_store_and_without_any_store_the_field_is_named(client: httpx.Client) -> None:
    slate = client.post(ENTRANCE, json={"screen_id": "entrance-1"}).json()
    assert (slate["store_id"], slate["stock_rule"], len(slate["items"])) == ("s1", "on", 10)
    refused = client.post(ENTRANCE, json={})
    assert (refused.status_code, refused.json()["field"]) == (422, "store_id")


def test_an_offer_that_runs_shows_price_and_was_in_minor_units_and_one_that_ended_does_not(
    client: httpx.Client,
) -> None:
    wanted = ["item-00", "item-02"]
    slate = client.post(ENTRANCE, json={"store_id": "s1", "candidates": wanted}).json()
    offers = {item["item_id"]: item["offer"] for item in slate["items"]}
    milk = offers["item-00"]
    assert (milk["offer_id"], milk["price"], milk["was"], milk["currency"]) == ("milk-20", 80, 100, "USD")
    assert milk["ends"].startswith("2026-06-15")
    assert (offers["item-02"]["offer_id"], offers["item-02"]["price"], offers["item-02"]["was"]) == (None, 150, None)


def test_what_may_not_be_shown_is_left_out_and_explained(client: httpx.Client) -> None:
    body = {
        "store_id": "s1",
        "candidates": [SOLD_OUT, "item-04", "item-01", "no-such-item", "item-06"],
        "exclude_ids": ["item-01"],
        "explain": True,
    }
    slate = client.post(ENTRANCE, json=body).json()
    assert [item["item_id"] for item in slate["items"]] == ["item-06"]
    assert {row["item_id"]: row["codes"] for row in slate["refused"]} == {
        SOLD_OUT: [Refusal.OUT_OF_STOCK],
        "item-04": [Refusal.CATEGORY_EXCLUDED],
        "item-01": [Refusal.EXCLUDED],
        "no-such-item": [Refusal.UNKNOWN_ITEM],
    }


def test_several_possible_shoppers_count_only_when_one_is_probable(client: httpx.Client) -> None:
    def ask(*shares: float) -> Any:
        shoppers = [{"shopper_id": f"shopper-0{place}", "probability": share} for place, share in enumerate(shares)]
        return client.post(ENTRANCE, json={"store_id": "s1", "shoppers": shoppers}).json()

    assert ask(0.9, 0.1)["fallback"] is None
    assert ask(0.5, 0.5)["fallback"] == "unsure:neighbourhood"
    assert {item["reason"] for item in ask(0.5, 0.5)["items"]} == {"popular_in_neighbourhood"}
    assert ask(0.5, -0.1, 1.6)["detail"].startswith("2 of 3 shoppers have a probability that is not between 0 and 1")


@pytest.mark.parametrize(
    ("chances", "sentence"),
    [((1.5, -0.1, 0.2), "2 of 3 shoppers have"), ((0.6, 0.6), "of 2 shoppers sum to 1.200"), ((0, 2), "1 of 2")],
)
def test_weights_that_are_no_probabilities_are_counted(
    client: httpx.Client, chances: tuple[float, ...], sentence: str
) -> None:
    shoppers = [{"shopper_id": str(number), "probability": chance} for number, chance in enumerate(chances)]
    told = client.post(ENTRANCE, json={"store_id": "s1", "shoppers": shoppers})
    assert told.status_code == 422 and told.json()["field"] == "shoppers" and sentence in told.json()["detail"]


def test_an_aisle_s_own_categories_go_first(client: httpx.Client) -> None:
    body = {"shopper_id": "shopper-00", "store_id": "s1", "count": 4, "context": {"categories": ["snacks"], "rain": 1}}
    items = client.post("/v1/placements/aisle:recommend", json=body).json()["items"]
    assert len(items) == 4
    assert all(item["title"].startswith("Chips") for item in items if item["propensity"] > 0.5)
    bad = client.post("/v1/placements/aisle:recommend", json=body | {"context": {"categories": "snacks"}})
    assert (bad.status_code, bad.json()["field"]) == (422, "context.categories")


def test_shoppers_of_the_holdout_get_nobody_s_slate_and_the_answer_says_so(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text("holdout: 0.5\n")
    settings = ingest_shop(write_small_shop(tmp_path / "shop"), tmp_path / "home", policy=tmp_path / "policy.yaml")
    publish_slates(settings)
    with served(settings) as base, httpx.Client(base_url=base) as client:
        told = []
        for number in range(40):
            body = {"shopper_id": f"shopper-{number:02d}", "store_id": "s1", "count": 3}
            told.append(client.post("/v1/placements/phone:recommend", json=body).json()["fallback"])
    assert set(told) == {None, "holdout:neighbourhood"} and 8 <= told.count(None) <= 32


def test_the_screen_s_slate_has_an_etag_and_a_code_for_the_phone(client: httpx.Client) -> None:
    answer = client.get("/v1/screens/entrance-1/offers")
    slate = ScreenSlate.model_validate(answer.json())
    assert not slate.personal and slate.phone_note and slate.qr_svg.startswith("<svg")
    same = client.get("/v1/screens/entrance-1/offers", headers={"If-None-Match": answer.headers["etag"]})
    assert same.status_code == 304 and not same.content
    phone = client.get(httpx.URL(slate.phone_url).path)
    assert phone.status_code == 200 and "text/html" in phone.headers["content-type"]


def test_a_phone_shows_the_item_of_its_code_first_and_no_more_than_two_of_a_maker(client: httpx.Client) -> None:
    items = client.post(ENTRANCE, json={"store_id": "s1", "shopper_id": "shopper-00"}).json()["items"]
    for one in items[:4]:
        page = client.get(f"/c/{one['claim_url'].rpartition('/c/')[2]}").raise_for_status().text
        told = re.search(r'<script[^>]*id="config"[^>]*>(.*?)</script>', page, re.S)
        assert told
        names = [item["item_id"] for item in json.loads(told[1])["list"]["items"]]
        makers = [int(name.removeprefix("item-")) % 7 for name in names]
        assert names[0] == one["item_id"] and len(names) > 6 and max(map(makers.count, makers)) <= 2


def test_events_are_taken_once_and_bad_ones_are_named(client: httpx.Client) -> None:
    future = EVENT | {"event_time": "2027-01-01T00:00:00Z"}
    batch = [EVENT, {"shopper_id": "a"}, 5, future, EVENT | {"store_id": "nowhere"}, EVENT | {"event_type": "dance"}]
    first = client.post("/v1/events:batch", json={"events": batch})
    assert first.status_code == 200
    told = EventsAnswer.model_validate(first.json())
    assert (told.accepted, told.duplicates) == (1, 0)
    assert [row.index for row in told.rejected] == [1, 2, 3, 4, 5]
    again = client.post("/v1/events:batch", json={"events": [EVENT]}).json()
    assert (again["accepted"], again["duplicates"]) == (0, 1)
    assert client.post("/v1/events:batch", json={"events": []}).json()["accepted"] == 0


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "field"),
    [
        ("POST", ENTRANCE, {"count": 0}, 422, "count"),
        ("POST", ENTRANCE, {"count": 10**9}, 422, "count"),
        ("POST", ENTRANCE, {"count": "many"}, 422, "count"),
        ("POST", ENTRANCE, {"store_id": "nowhere"}, 422, "store_id"),
        ("POST", ENTRANCE, {"screen_id": "nowhere"}, 422, "screen_id"),
        ("POST", ENTRANCE, {"cuont": 3}, 422, "cuont"),
        ("POST", ENTRANCE, {"shoppers": [{"shopper_id": "a", "probability": 2}]}, 422, "shoppers"),
        ("POST", ENTRANCE, {"shopper_id": "a", "shoppers": []}, 422, None),
        ("POST", ENTRANCE, ["not", "an", "object"], 422, None),
        ("POST", "/v1/placements/ceiling:recommend", {}, 404, "placement"),
        ("GET", "/v1/screens/nowhere/offers", None, 404, "screen_id"),
        ("GET", "/v1/screens/nowhere/stream", None, 404, "screen_id"),
        ("POST", "/v1/screens/nowhere/sightings", {}, 404, "screen_id"),
        ("POST", "/v1/screens/entrance-1/sightings", {}, 422, None),
        ("POST", "/v1/screens/entrance-1/sightings", {"qr_token": "forged"}, 422, "qr_token"),
        ("POST", "/v1/events:batch", {"events": [EVENT] * 1001}, 422, "events"),
        ("GET", ENTRANCE, None, 405, None),
        ("GET", "/no/such/page", None, 404, None),
    ],
)
def test_a_wrong_request_is_a_problem_with_one_sentence_and_the_field(
    client: httpx.Client, method: str, path: str, body: Any, status: int, field: str | None
) -> None:
    answer = client.request(method, path, json=body) if body is not None else client.request(method, path)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status and problem["title"] and len(problem["detail"]) > 10
    assert problem.get("field") == field


@pytest.mark.parametrize(
    ("content", "media", "status"),
    [
        (b"{nope", "application/json", 400),
        (b"", "application/json", 400),
        (b'{"count": NaN}', "application/json", 422),
        (b"count=3", "application/x-www-form-urlencoded", 415),
        (b'{"exclude_ids": ["' + b"x" * 4_300_000 + b'"]}', "application/json", 413),
    ],
)
def test_an_unusable_body_is_refused(client: httpx.Client, content: bytes, media: str, status: int) -> None:
    answer = client.post(ENTRANCE, content=content, headers={"Content-Type": media})
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"embedding": [0.1] * 127}, "embedding"),
        ({"embedding": [0.0] * 128}, "embedding"),
        ({"model": "another"}, "model"),
        ({"quality": 2}, "quality"),
        ({"track_id": ""}, "track_id"),
    ],
)
def test_a_sighting_of_no_use_is_refused(client: httpx.Client, change: dict[str, Any], field: str) -> None:
    body = {"track_id": "t", "embedding": [0.1] * 128, "model": "sface-2021dec-int8bq", "quality": 0.9, **change}
    answer = client.post("/v1/screens/entrance-1/sightings", json=body)
    assert (answer.status_code, answer.json()["field"]) == (422, field)


def test_the_interface_is_documented_with_its_codes_and_nothing_from_elsewhere(client: httpx.Client) -> None:
    schema = client.get("/openapi.json").json()
    shapes = schema["components"]["schemas"]
    assert set(shapes["Reason"]["enum"]) == {reason.value for reason in Reason}
    assert set(shapes["Refusal"]["enum"]) == {code.value for code in Refusal}
    page = client.get("/docs").text
    assert all(path.replace("{", "{") in page for path in schema["paths"])
    assert "http://" not in page and "https://" not in page


def test_health_says_what_is_served_and_metrics_hold_no_id(client: httpx.Client) -> None:
    assert client.get("/health/live").status_code == 200
    assert client.get("/health/ready").json()["model_version"] == "1"
    client.post(ENTRANCE, json={"shopper_id": "shopper-07", "store_id": "s1"})
    metrics = client.get("/metrics").text
    assert "facings_recommend_seconds_bucket" in metrics
    assert "shopper-07" not in metrics and "item-" not in metrics
    assert END.year == 2026


def test_the_same_question_gets_the_same_slate_within_its_time(client: httpx.Client) -> None:
    def told(**body: Any) -> list[tuple[str, float]]:
        items = client.post(ENTRANCE, json={"store_id": "s1", "count": 6, **body}).json()["items"]
        return [(item["item_id"], item["propensity"]) for item in items]

    for body in ({}, {"shopper_id": "shopper-03"}, {"screen_id": "entrance-1"}):
        assert told(**body) == told(**body)
    drawn = [propensity for number in range(40) for _, propensity in told(shopper_id=f"shopper-{number:02d}")]
    assert 0.01 <= sum(propensity < 0.5 for propensity in drawn) / len(drawn) <= 0.15, (
        "a twentieth of the slots explores"
    )
