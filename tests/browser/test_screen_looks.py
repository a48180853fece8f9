"""How the display looks: room, size, contrast, and what becomes of awkward data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from stage import STORE, Stage, item, slate, wait_for_heading, wait_for_items

pytestmark = pytest.mark.browser

SIZES = [(1920, 1080), (1080, 1920), (1280, 720)]
OVERFLOW, CONTRASTS = (Path(__file__).with_name(name).read_text() for name in ("overflow.js", "contrast.js"))
Visit = Callable[..., Any]


@pytest.mark.parametrize(("width", "height"), [*SIZES, (1920, 540), (1024, 768)])
def test_nothing_overflows_at_any_size(visit: Visit, stage: Stage, width: int, height: int) -> None:
    page = visit(f"{stage.url}/screens/window", width, height, reduced_motion="reduce")
    for count in range(7):
        stage.tell(
            "slate", slate(personal=True, items=awkward(count), shopper_greeting=f"Wolfeschlegelsteinhausen{count}")
        )
        if count:
            wait_for_heading(page, f"Good to see you, Wolfeschlegelsteinhausen{count}")
        else:
            wait_for_heading(page, f"Welcome to {STORE}")
        assert page.evaluate(OVERFLOW) == [], f"with {count} items"


def awkward(count: int) -> list[dict[str, Any]]:
    """Items of which every third has far too much to say and costs a fortune."""
    long = {"title": "EXTRAORDINARILY LONG-WINDED DESCRIPTION OF AN UNPRONOUNCEABLE DELICACY " * 2, "brand": "B" * 60}
    costly = {"price": 123456789, "was": 987654321, "discount": 0.875}
    return [item(place, **long, offer=costly) if place % 3 == 0 else item(place) for place in range(count)]


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_titles_are_readable_from_three_metres(visit: Visit, stage: Stage, width: int, height: int) -> None:
    page = visit(f"{stage.url}/screens/window", width, height)
    wait_for_heading(page, "Today’s favourites")
    unit = min(width, height) / 100
    sizes = page.evaluate("[...document.querySelectorAll('.title')].map(t => parseFloat(getComputedStyle(t).fontSize))")
    assert min(sizes) >= 3.8 * unit
    prices = page.evaluate("[...document.querySelectorAll('.now')].map(t => parseFloat(getComputedStyle(t).fontSize))")
    assert min(prices) >= 6.5 * unit


def test_an_item_without_title_price_or_brand_is_still_decent(visit: Visit, stage: Stage) -> None:
    bare = {"item_id": "99", "title": None, "brand": None, "category": None, "image_url": None, "offer": None}
    kind = {**bare, "item_id": "98", "category": "GROCERY/SOFT DRINKS", "price": 120, "brand": "Private"}
    stage.tell("slate", slate(personal=True, items=[bare, kind], phone_url=None, qr_svg=None))
    page = visit(f"{stage.url}/screens/window")
    wait_for_items(page, "99", "98")
    assert page.locator(".title").all_text_contents() == ["Item 99", "Soft drinks"]
    assert page.locator(".price").all_text_contents() == ["Price at the shelf", "$1.20"]
    assert page.locator(".brand").all_text_contents() == ["Our own brand"]
    assert "Take this list" not in page.inner_text("main")
    assert page.faults == []


def test_the_page_can_be_heard_as_well_as_seen(visit: Visit, stage: Stage) -> None:
    page = visit(f"{stage.url}/screens/window")
    wait_for_heading(page, "Today’s favourites")
    assert page.get_attribute("html", "lang") == "en"
    assert page.locator("img:not([alt])").count() == 0
    assert page.locator("h1").count() == 1
    assert page.locator("svg:not([aria-hidden])").count() == 0


def test_every_colour_of_text_stands_out_enough(visit: Visit, stage: Stage) -> None:
    page = visit(f"{stage.url}/screens/window")
    wait_for_heading(page, "Today’s favourites")
    ratios = page.evaluate(CONTRASTS)
    assert len(ratios) > 12
    assert {name: round(ratio, 2) for name, ratio in ratios.items() if ratio < 4.5} == {}


def test_text_is_calm_and_money_is_in_the_currencys_own_way(visit: Visit, stage: Stage) -> None:
    page = visit(f"{stage.url}/screens/window")
    titles = ["BBQ SAUCE/HOT", "CANDY BARS (SINGLES)(INCLUDING", "Müsli Crunch", "TV", None, "ÄPFEL & BIRNEN"]
    calm = "async (all) => { const { calm } = await import('/pages/text.js'); return all.map(calm); }"
    quiet = ["BBQ sauce/hot", "Candy bars (singles)", "Müsli Crunch", "TV", "", "Äpfel & birnen"]
    assert page.evaluate(calm, titles) == quiet
    money = """async (all) => {
      const { money } = await import("/pages/text.js");
      return all.map(([minor, currency]) => money(minor, currency, "en")?.map((part) => part.value).join("") ?? null);
    }"""
    sums = [[349, "USD"], [349, "JPY"], [1234567, "EUR"], [0, "USD"], [None, "USD"], [349, "nonsense"]]
    assert page.evaluate(money, sums) == ["$3.49", "¥349", "€12,345.67", "$0.00", None, "3.49"]
