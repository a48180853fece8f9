"""The whole way on a real server: a shop is ingested, a face is seen, the display greets, the phone takes the list."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from stage import wait_for_heading

from configs.clock import ReplayClock
from configs.settings import load_settings
from identity.template import MODEL
from identity.vault import Enrolled, Vault
from pipelines import snapshot
from pipelines.faces import open_consents
from pipelines.signals.ingest import ingest
from pipelines.signals.lake.lake import Lake
from serving.app import create_app
from tests.small_shop import END, ITEMS, SHOPPERS

pytestmark = pytest.mark.browser

Visit = Callable[..., Any]
SCREEN, SHOPPER = "entrance-1", "shopper-04"
FACE = np.eye(128)[3]


@dataclass(frozen=True)
class Shop:
    """A running server, seen from the camera's side."""

    url: str

    def sees(self, face: Any, track: str = "t1") -> str:
        """Tell the server that a face was seen; return what it makes of it."""
        body = {"track_id": track, "embedding": list(face), "model": MODEL, "quality": 0.9, "liveness": None}
        answer = httpx.post(f"{self.url}/v1/screens/{SCREEN}/sightings", json=body)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["status"])

    def lost(self, track: str = "t1") -> None:
        """Tell the server that a person left."""
        httpx.delete(f"{self.url}/v1/screens/{SCREEN}/sightings/{track}").raise_for_status()


@pytest.fixture
def shop(small_shop: Path, tmp_path: Path, serve: Callable[[Any], str], request: pytest.FixtureRequest) -> Shop:
    seconds = getattr(request, "param", 60.0)
    settings = load_settings(home=tmp_path / "home", sighting_seconds=seconds, public_url="http://192.168.1.20:8080")
    clock = ReplayClock(END)
    ingest(small_shop, settings.paths, clock=clock, settings=settings, progress=lambda _: None)
    made = snapshot.build_shop(settings.paths, Lake(settings.paths), settings, now=clock.now(), progress=lambda _: None)
    snapshot.switch(settings.paths, "shop", made)
    open_consents(settings).give(SHOPPER, at=clock.now())
    Vault(settings.paths).put(Enrolled(SHOPPER, FACE[None, :], clock.now(), greeting="Robin"))
    return Shop(serve(create_app(settings, clock=clock)))


def test_a_face_is_seen_and_the_screen_greets_until_it_leaves(visit: Visit, shop: Shop) -> None:
    page = visit(f"{shop.url}/screens/{SCREEN}", 1920, 1080)
    wait_for_heading(page, "Today’s favourites")
    idle = page.locator(".card").count()
    assert shop.sees(FACE) == "known"
    wait_for_heading(page, "Good to see you, Robin")
    assert page.locator(".card").count() == idle == 5
    shop.lost()
    wait_for_heading(page, "Today’s favourites")
    assert page.faults == []


def test_a_stranger_is_greeted_as_nobody(visit: Visit, shop: Shop) -> None:
    assert shop.sees(np.eye(128)[9]) == "unknown"
    assert httpx.get(f"{shop.url}/v1/screens/{SCREEN}/offers").json()["personal"] is False
    wait_for_heading(visit(f"{shop.url}/screens/{SCREEN}"), "Today’s favourites")


@pytest.mark.parametrize("shop", [1.5], indirect=True)
def test_who_is_not_seen_any_more_has_left(visit: Visit, shop: Shop) -> None:
    page = visit(f"{shop.url}/screens/{SCREEN}")
    wait_for_heading(page, "Today’s favourites")
    shop.sees(FACE)
    wait_for_heading(page, "Good to see you, Robin")
    wait_for_heading(page, "Today’s favourites")
    assert "Robin" not in page.content()


def test_whoever_is_greeted_as_another_says_so_and_nobody_is_greeted_for_a_while(visit: Visit, shop: Shop) -> None:
    page = visit(f"{shop.url}/screens/{SCREEN}")
    shop.sees(FACE)
    wait_for_heading(page, "Good to see you, Robin")
    with page.expect_response(lambda answer: answer.url.endswith("/not-me")) as said:
        page.click(".not-me")
    assert said.value.status == 200
    wait_for_heading(page, "Today’s favourites")
    assert not httpx.get(f"{shop.url}/v1/screens/{SCREEN}/offers").json()["personal"]
    assert page.query_selector(".not-me") is None


def test_no_id_of_a_shopper_reaches_the_page(visit: Visit, shop: Shop) -> None:
    bodies: list[str] = []
    page = visit(f"{shop.url}/screens/{SCREEN}")
    shop.sees(FACE)
    wait_for_heading(page, "Good to see you, Robin")
    bodies.append(page.content())
    bodies.append(httpx.get(f"{shop.url}/v1/screens/{SCREEN}/offers").text)
    bodies.append(page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])"))
    assert not [shopper for shopper in SHOPPERS for body in bodies if shopper in body]
    assert "Robin" not in bodies[2]
    assert [url for url in page.requests if not url.startswith((shop.url, "data:"))] == []


def test_the_code_on_the_screen_carries_the_list_to_a_phone(visit: Visit, shop: Shop) -> None:
    shop.sees(FACE)
    slate = httpx.get(f"{shop.url}/v1/screens/{SCREEN}/offers").json()
    assert slate["personal"] is True
    token = slate["phone_url"].removeprefix("http://192.168.1.20:8080")
    phone = visit(f"{shop.url}{token}", 390, 844)
    phone.wait_for_selector(".card")
    shown = phone.locator(".card").evaluate_all("cards => cards.map(card => card.dataset.item)")
    # The same list, but for what a slot explores: each placement draws for itself.
    assert len(set(shown[:8]) & {item["item_id"] for item in slate["items"]}) >= 4
    assert set(shown) <= set(ITEMS)
    assert "In stock at North" in phone.inner_text("main")
    assert SHOPPER not in phone.content()
    assert phone.faults == []


def test_the_code_of_one_item_puts_it_first(visit: Visit, shop: Shop) -> None:
    item = httpx.get(f"{shop.url}/v1/screens/{SCREEN}/offers").json()["items"][3]
    phone = visit(item["claim_url"].replace("http://192.168.1.20:8080", shop.url), 390, 844)
    phone.wait_for_selector(".card.first")
    assert phone.locator(".card").first.get_attribute("data-item") == item["item_id"]
    assert phone.locator(f"[data-item='{item['item_id']}']").count() == 1


def test_a_changed_token_opens_nothing(visit: Visit, shop: Shop) -> None:
    address = httpx.get(f"{shop.url}/v1/screens/{SCREEN}/offers").json()["phone_url"]
    token = address.rpartition("/")[2]
    other = token[:-4] + ("AAAA" if not token.endswith("AAAA") else "BBBB")
    assert httpx.get(f"{shop.url}/c/{other}").status_code == 404


def test_a_screen_that_nobody_set_up_tells_the_installer(visit: Visit, shop: Shop) -> None:
    page = visit("about:blank")
    assert page.goto(f"{shop.url}/screens/nowhere").status == 404
    assert "facings ingest" in page.inner_text("main")
