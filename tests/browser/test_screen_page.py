"""The display's page: what it shows, what it keeps, and what it never does."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from stage import PHONE_URL, STORE, Stage, item, slate, wait_for_heading, wait_for_items

from serving.page_routes import qr_svg

pytestmark = pytest.mark.browser

Visit = Callable[..., Any]
KEPT = """async () => {
  const worker = (await navigator.serviceWorker.getRegistration("/screens/"))?.active;
  return worker?.state === "activated" && Boolean(await caches.match("/screens/window"));
}"""


def test_an_idle_screen_shows_the_stores_favourites(visit: Visit, stage: Stage) -> None:
    page = visit(f"{stage.url}/screens/window")
    wait_for_heading(page, "Today’s favourites")
    text = page.inner_text("main")
    assert STORE in text
    assert "A best-seller" in text
    assert "Take this list with you" in text
    assert page.faults == []


def test_a_sighting_shows_the_slate_and_leaving_clears_it(visit: Visit, stage: Stage) -> None:
    page = visit(f"{stage.url}/screens/window")
    wait_for_heading(page, "Today’s favourites")
    stage.tell("slate", slate(3, personal=True))
    wait_for_heading(page, "Good to see you")
    wait_for_items(page, "11", "12", "13")
    stage.tell("idle", None)
    wait_for_heading(page, "Today’s favourites")
    assert page.faults == []


def test_the_greeting_has_a_name_only_when_the_shopper_chose_one(visit: Visit, stage: Stage) -> None:
    page = visit(f"{stage.url}/screens/window")
    stage.tell("slate", slate(3, personal=True, shopper_greeting="Ada"))
    wait_for_heading(page, "Good to see you, Ada")
    stage.tell("slate", slate(4, personal=True))
    wait_for_heading(page, "Good to see you")
    assert "Ada" not in page.content()


def test_an_offer_has_its_price_its_old_price_and_its_discount(visit: Visit, stage: Stage) -> None:
    page = visit(f"{stage.url}/screens/window")
    wait_for_items(page, "11", "12", "13", "14", "15")
    reduced, full = page.locator(".card").nth(0), page.locator(".card").nth(1)
    assert reduced.locator(".now").text_content() == "$3.49"
    assert reduced.locator(".was").text_content() == "$4.99"
    assert reduced.locator(".badge").text_content() == "−30%"
    assert reduced.locator(".title").text_content() == "Soft drinks 12/18&15pk can car"
    assert full.locator(".now").text_content() == "$3.50"
    assert full.locator(".was").count() == full.locator(".badge").count() == 0


def test_the_same_offers_decided_again_move_nothing_but_the_code(visit: Visit, stage: Stage) -> None:
    page = visit(f"{stage.url}/screens/window")
    wait_for_heading(page, "Today’s favourites")
    page.evaluate("document.querySelector('.card').dataset.mark = 'old'")
    before = page.get_attribute(".along img", "src")
    stage.tell("idle", slate(recommendation_id="again", qr_svg=qr_svg("http://192.168.1.20:8080/c/another")))
    page.wait_for_function("before => document.querySelector('.along img').src !== before", arg=before)
    assert page.locator(".card").first.get_attribute("data-mark") == "old"


def test_a_personal_slate_ends_by_itself_with_no_network(visit: Visit, stage: Stage) -> None:
    page = visit(f"{stage.url}/screens/window")
    wait_for_heading(page, "Today’s favourites")
    stage.tell("slate", slate(3, personal=True, seconds=2.0))
    wait_for_heading(page, "Good to see you")
    page.context.set_offline(True)
    assert page.inner_text("h1") == "Good to see you"
    wait_for_heading(page, "Today’s favourites")


def test_without_a_network_the_anonymous_slate_stays_and_nothing_is_said(visit: Visit, stage: Stage) -> None:
    page = visit(f"{stage.url}/screens/window")
    wait_for_heading(page, "Today’s favourites")
    before = page.inner_text("main")
    with page.expect_event("requestfailed", timeout=60000):
        stage.close()
    assert page.inner_text("main") == before


def test_a_display_that_comes_back_ends_in_the_current_state(visit: Visit, stage: Stage) -> None:
    page = visit(f"{stage.url}/screens/window")
    wait_for_heading(page, "Today’s favourites")
    page.context.set_offline(True)
    stage.tell("slate", slate(2, personal=True))
    page.context.set_offline(False)
    wait_for_items(page, "11", "12")
    assert stage.asked[-1]["last-event-id"] == "1"


def test_a_display_takes_the_new_page_when_the_line_comes_back(
    visit: Visit, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = visit(f"{stage.url}/screens/window")
    wait_for_heading(page, "Today’s favourites")
    page.context.set_offline(True)
    monkeypatch.setattr("serving.page_routes._build", lambda: "another")
    with page.expect_navigation(timeout=60000):
        page.context.set_offline(False)
    wait_for_heading(page, "Today’s favourites")
    assert '"build":"another"' in page.content()


def test_what_is_shown_and_tapped_of_a_personal_slate_is_told_once(visit: Visit, stage: Stage) -> None:
    page = visit(f"{stage.url}/screens/window")
    wait_for_heading(page, "Today’s favourites")
    page.locator(".card").first.click()  # of nobody's slate nothing is told
    stage.tell("slate", slate(3, personal=True, recommendation_id="one"))
    wait_for_items(page, "11", "12", "13")
    stage.tell("slate", slate(3, personal=True, recommendation_id="one", seconds=90))  # prolonged
    stage.wait_for_words(1)
    page.locator(".card").nth(1).click()
    tapped = {"event_type": "tap", "recommendation_id": "one", "item_ids": ["12"]}
    shown = {"event_type": "impression", "recommendation_id": "one", "item_ids": ["11", "12", "13"]}
    assert stage.wait_for_words(2) == [("/v1/screens/window/responses", one) for one in (shown, tapped)]


def test_only_the_anonymous_slate_is_ever_stored(visit: Visit, stage: Stage) -> None:
    page = visit(f"{stage.url}/screens/window")
    wait_for_heading(page, "Today’s favourites")
    stage.tell("slate", slate(3, personal=True, shopper_greeting="Ada", recommendation_id="secret-one"))
    wait_for_heading(page, "Good to see you, Ada")
    stored = page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")
    assert "Ada" not in stored
    assert "secret-one" not in stored
    assert "r-6-False" in stored


def test_a_slate_that_does_not_say_whom_it_is_for_counts_as_personal(visit: Visit, stage: Stage) -> None:
    unsaid = slate(3)
    del unsaid["personal"]
    stage.tell("slate", unsaid)
    page = visit(f"{stage.url}/screens/window")
    wait_for_items(page, "11", "12", "13")
    assert page.evaluate("localStorage.length") == 0


def test_a_restarted_display_opens_without_a_network(visit: Visit, stage: Stage) -> None:
    page = visit(f"{stage.url}/screens/window")
    wait_for_heading(page, "Today’s favourites")
    page.wait_for_function(KEPT, timeout=60000)
    restart(page, f"{stage.url}/screens/window")
    page.context.set_offline(True)
    page.goto(f"{stage.url}/screens/window")
    wait_for_heading(page, "Today’s favourites")
    assert page.locator(".card").count() == 5
    names = page.evaluate("async () => (await (await caches.open('facings-page')).keys()).map(k => k.url)")
    assert not [name for name in names if "/v1/" in name]


def restart(page: Any, url: str, seconds: float = 60.0) -> None:
    """Open the page anew until the worker stands before it: the browser writes it down a moment after it is active."""
    ends = time.monotonic() + seconds
    while True:
        page.goto(url)
        if page.evaluate("() => navigator.serviceWorker.controller !== null"):
            return
        assert time.monotonic() < ends, "the worker never came to stand before the page"


def test_markup_in_the_data_is_only_text(visit: Visit, stage: Stage) -> None:
    nasty = '<script>window.hit=1</script><img src=x onerror="window.hit=1">'
    items = [item(0, title=nasty, brand=nasty, category=nasty, reason=nasty, image_url="javascript:window.hit=1")]
    code = "<svg xmlns='http://www.w3.org/2000/svg' onload='parent.hit=1'><script>parent.hit=1</script></svg>"
    stage.tell("slate", slate(personal=True, items=items, shopper_greeting=nasty, phone_note=nasty, qr_svg=code))
    page = visit(f"{stage.url}/screens/window")
    wait_for_heading(page, f"Good to see you, {nasty}")
    assert page.locator(".title").text_content() == nasty
    assert page.locator("main script").count() == 0
    assert page.evaluate("window.hit") is None


def test_the_page_asks_nobody_but_its_own_server(visit: Visit, stage: Stage) -> None:
    far = item(0, image_url="https://pictures.example/cola.png")
    stage.tell("slate", slate(personal=True, items=[far]))
    page = visit(f"{stage.url}/screens/window")
    wait_for_items(page, "11")
    assert page.locator(".card img").count() == 0
    assert [url for url in page.requests if not url.startswith((stage.url, "data:"))] == []
    assert page.faults == []


def test_a_picture_that_does_not_load_gives_way_to_the_pattern(visit: Visit, stage: Stage) -> None:
    stage.tell("slate", slate(personal=True, items=[item(0, image_url="/pages/none.png")]))
    page = visit(f"{stage.url}/screens/window")
    page.wait_for_selector(".card .placeholder")
    assert page.locator(".card img").count() == 0


def test_the_token_leaves_the_address_and_travels_in_a_header(visit: Visit, stage: Stage) -> None:
    page = visit(f"{stage.url}/screens/window#token=s3cret")
    wait_for_heading(page, "Today’s favourites")
    assert page.url == f"{stage.url}/screens/window"
    assert stage.asked[0]["authorization"] == "Bearer s3cret"
    assert "s3cret" not in page.content()
    assert not [url for url in page.requests if "s3cret" in url.partition("#")[0]]


@pytest.mark.parametrize("status", [401, 403, 404])
def test_the_installer_is_told_what_is_missing(visit: Visit, stage: Stage, status: int) -> None:
    stage.status = status
    page = visit(f"{stage.url}/screens/window")
    wait_for_heading(page, "This screen is not connected yet")
    assert page.locator(".card").count() == 0
    stage.status = 200
    wait_for_heading(page, "Today’s favourites")


def test_a_running_display_says_nothing_when_it_is_refused(visit: Visit, stage: Stage) -> None:
    page = visit(f"{stage.url}/screens/window")
    wait_for_heading(page, "Today’s favourites")
    stage.status = 401
    page.context.set_offline(True)
    with page.expect_response(lambda answer: answer.status == 401, timeout=60000):
        page.context.set_offline(False)
    page.evaluate("new Promise(requestAnimationFrame)")
    assert page.inner_text("h1") == "Today’s favourites"


def test_where_streams_are_held_back_the_page_asks_instead(visit: Visit, stage: Stage) -> None:
    stage.held_back = True
    page = visit("about:blank")
    page.clock.install()
    page.goto(f"{stage.url}/screens/window")
    stage.wait_for_requests(1)
    page.clock.fast_forward(16000)
    wait_for_heading(page, "Today’s favourites")
    assert page.locator(".card").count() > 0


def test_the_code_can_be_scanned_from_the_screen(visit: Visit, stage: Stage) -> None:
    import cv2
    import numpy as np

    page = visit(f"{stage.url}/screens/window", 1920, 1080, reduced_motion="reduce")
    wait_for_heading(page, "Today’s favourites")
    page.wait_for_function("document.querySelector('.along img').complete")
    picture = cv2.imdecode(np.frombuffer(page.screenshot(), np.uint8), cv2.IMREAD_GRAYSCALE)
    assert cv2.QRCodeDetector().detectAndDecode(picture[500:, :700])[0] == PHONE_URL


def test_the_note_stands_where_the_code_opens_on_this_machine_only(visit: Visit, stage: Stage) -> None:
    stage.tell("idle", slate(phone_note="This code opens on this machine only."))
    page = visit(f"{stage.url}/screens/window")
    wait_for_heading(page, "Today’s favourites")
    assert page.inner_text(".note") == "This code opens on this machine only."
