"""The page that a shopper takes along: the list of the screen, for as long as it is open."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from stage import STORE, Stage, item, slate

pytestmark = pytest.mark.browser

Visit = Callable[..., Any]
PHONE = {"width": 390, "height": 844}


def test_the_item_that_was_asked_for_comes_first(visit: Visit, stage: Stage) -> None:
    stage.lists["t"] = slate(4, personal=True, seconds=2500, claimed_item_id="13")
    page = visit(f"{stage.url}/c/t", **PHONE)
    page.wait_for_selector(".card")
    cards = page.locator(".card").evaluate_all("cards => cards.map(card => card.dataset.item)")
    assert cards == ["13", "11", "12", "14"]
    text = page.inner_text("main")
    assert f"In stock at {STORE}" in text
    assert "Open for another 42 minutes" in text
    assert "A best-seller" in text
    assert page.locator(".card.first .now").text_content() == "$3.51"
    assert page.faults == []


def test_stock_that_is_not_known_is_not_promised(visit: Visit, stage: Stage) -> None:
    stage.lists["t"] = slate(items=[item(0, in_stock=None)], claimed_item_id=None)
    page = visit(f"{stage.url}/c/t", **PHONE)
    page.wait_for_selector(".card")
    assert "In stock" not in page.inner_text("main")


def test_an_open_list_closes_when_its_time_is_over(visit: Visit, stage: Stage) -> None:
    stage.lists["t"] = slate(3, personal=True, seconds=90, claimed_item_id=None)
    page = visit("about:blank", **PHONE)
    page.clock.install()
    page.goto(f"{stage.url}/c/t")
    page.wait_for_selector(".card")
    page.clock.fast_forward(95000)
    page.wait_for_selector("text=This list has closed")
    assert page.locator(".card").count() == 0


@pytest.mark.parametrize(
    ("token", "status", "title"), [("closed", 410, "This list has closed"), ("x", 404, "This is not")]
)
def test_a_list_that_cannot_be_opened_is_told_kindly(
    visit: Visit, stage: Stage, token: str, status: int, title: str
) -> None:
    page = visit("about:blank", **PHONE)
    answer = page.goto(f"{stage.url}/c/{token}")
    assert answer.status == status
    assert title in page.inner_text("h1")
    assert "Scan the code" in page.inner_text("main")


@pytest.mark.parametrize("width", [320, 390, 768])
def test_nothing_is_wider_than_the_phone(visit: Visit, stage: Stage, width: int) -> None:
    long = {"title": "UNPRONOUNCEABLE" * 6, "brand": "B" * 60, "offer": {"price": 123456789, "was": 987654321}}
    stage.lists["t"] = slate(items=[item(0, **long), item(1), item(2, **long)], claimed_item_id="11")
    page = visit(f"{stage.url}/c/t", width, 700)
    page.wait_for_selector(".card")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    cut = "[...document.querySelectorAll('.words *')].filter(e => e.getBoundingClientRect().right > innerWidth).length"
    assert page.evaluate(cut) == 0


def test_markup_in_a_list_is_only_text(visit: Visit, stage: Stage) -> None:
    nasty = "</script><script>window.hit=1</script>"
    stage.lists["t"] = slate(items=[item(0, title=nasty)], claimed_item_id=None)
    page = visit(f"{stage.url}/c/t", **PHONE)
    page.wait_for_selector(".card")
    assert page.locator(".title").text_content() == nasty
    assert page.evaluate("window.hit") is None


def test_the_phone_keeps_nothing_and_asks_nobody_else(visit: Visit, stage: Stage) -> None:
    stage.lists["t"] = slate(3, personal=True, claimed_item_id=None)
    page = visit(f"{stage.url}/c/t", **PHONE)
    page.wait_for_selector(".card")
    assert page.evaluate("localStorage.length + sessionStorage.length + document.cookie.length") == 0
    assert [url for url in page.requests if not url.startswith((stage.url, "data:"))] == []


def test_a_phone_tells_the_scan_and_what_is_shown_and_tapped_under_its_own_slate(visit: Visit, stage: Stage) -> None:
    stage.lists["t"] = slate(2, personal=True, seconds=2500, claimed_item_id="11", recommendation_id="list")
    stage.lists["t"]["items"][0]["recommendation_id"] = "claimed"
    page = visit(f"{stage.url}/c/t", **PHONE)
    page.locator(".card").nth(1).click()
    told = [body for path, body in stage.wait_for_words(4) if path == "/v1/claims/t/responses"]
    assert {"event_type": "scan", "item_ids": ["11"]} in told
    for kind, of, one in (("impression", "claimed", "11"), ("impression", "list", "12"), ("tap", "list", "12")):
        assert {"event_type": kind, "recommendation_id": of, "item_ids": [one]} in told
    assert len(told) == 4
