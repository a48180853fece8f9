"""The real pages behind a stream that a test writes: for what a shop's data would rarely bring up by itself."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from serving.page_routes import ListClosed, Pages, Place, page_routes, qr_svg

NOW = datetime(2018, 1, 1, 10, tzinfo=UTC)  # a replay's clock, years from the display's own
STORE = "Maple Street Market"
PHONE_URL = "http://192.168.1.20:8080/c/Jd83hdkslE93jdkslwie93kdlslw93kdks"
ITEMS: list[dict[str, Any]] = [
    {"item_id": "11", "title": "SOFT DRINKS 12/18&15PK CAN CAR", "category": "GROCERY/SOFT DRINKS", "brand": "Cooler"},
    {"item_id": "12", "title": "Ground coffee, medium roast", "category": "GROCERY/COFFEE", "brand": "Hillside"},
    {"item_id": "13", "title": "STRAWBERRIES", "category": "PRODUCE/BERRIES", "brand": None},
    {"item_id": "14", "title": "Wholegrain loaf", "category": "PASTRY/BREAD", "brand": "Our bakery"},
    {"item_id": "15", "title": "Mature cheddar", "category": "DELI/CHEESE", "brand": None},
    {"item_id": "16", "title": "Bananas", "category": "PRODUCE/TROPICAL FRUIT", "brand": None},
]
_REASONS = ("bought_before", "similar_taste", "popular", "popular_in_store", "popular_in_neighbourhood", "popular")


def item(place: int, **changes: Any) -> dict[str, Any]:
    """The stage's item at `place`, with every other one reduced."""
    reduced = place % 2 == 0
    offer = {"price": 349 + place, "was": 499 if reduced else None, "discount": 0.3 if reduced else 0.0}
    return {**ITEMS[place], "reason": _REASONS[place], "image_url": None, "offer": offer, "in_stock": True, **changes}


def slate(count: int = 6, *, personal: bool = False, seconds: float = 60.0, **changes: Any) -> dict[str, Any]:
    """A slate as the server sends it; it expires `seconds` after it was sent."""
    return {
        "personal": personal,
        "now": NOW.isoformat(),
        "expires_at": (NOW + timedelta(seconds=seconds)).isoformat(),
        "recommendation_id": f"r-{count}-{personal}",
        "items": [item(place) for place in range(count)],
        "phone_url": PHONE_URL,
        "qr_svg": qr_svg(PHONE_URL),
        "phone_note": None,
        "shopper_greeting": None,
        **changes,
    }


class Stage:
    """Serves the pages; every open screen hears what `tell` says, and a new one hears the last word first."""

    def __init__(self) -> None:
        self._word: tuple[int, str, Any] = (1, "idle", slate())
        self._changed = threading.Condition()
        self._open = True
        self.status = 200
        self.held_back = False
        self.lists: dict[str, Mapping[str, Any]] = {}
        self.asked: list[Mapping[str, str]] = []
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.pages = Pages(find_screen=_find_screen, open_list=self._open_list, currency="USD")

    def open(self, listening: socket.socket) -> None:
        """Start serving on a socket that listens."""
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        api = [
            Route("/v1/screens/{screen}/stream", self._stream),
            Route("/v1/screens/{screen}/offers", self._offers),
            Route("/v1/screens/{screen}/responses", self._responses, methods=["POST"]),
            Route("/v1/claims/{token}/responses", self._responses, methods=["POST"]),
        ]
        application = Starlette(routes=[*api, *page_routes(self.pages)])
        self._server = uvicorn.Server(uvicorn.Config(application, log_level="error", timeout_graceful_shutdown=1))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [listening]}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving; open streams end."""
        self._open = False
        with self._changed:
            self._changed.notify_all()
        self._server.should_exit = True
        self._thread.join(10)

    def tell(self, event: str, data: Any) -> None:
        """Send an event to every open screen."""
        with self._changed:
            self._word = (self._word[0] + 1, event, data)
            self._changed.notify_all()

    def wait_for_requests(self, count: int, seconds: float = 60.0) -> None:
        """Wait until the stream was asked for `count` times."""
        ends = time.monotonic() + seconds
        while len(self.asked) < count:
            assert time.monotonic() < ends, f"the page asked {len(self.asked)} times, not {count}"
            time.sleep(0.02)

    def wait_for_words(self, count: int, seconds: float = 60.0) -> list[tuple[str, dict[str, Any]]]:
        """Wait until pages told of `count` responses; return (path, body) of each."""
        ends = time.monotonic() + seconds
        while len(self.told) < count:
            assert time.monotonic() < ends, f"the pages told {len(self.told)} responses, not {count}"
            time.sleep(0.02)
        return self.told

    async def _responses(self, request: Request) -> Response:
        self.told.append((request.url.path, await request.json()))
        return JSONResponse({"accepted": 1, "duplicates": 0})

    def _stream(self, request: Request) -> Response:
        self.asked.append(dict(request.headers))
        if self.status != 200:
            return JSONResponse({"title": "refused"}, self.status)
        return StreamingResponse(self._events(), media_type="text/event-stream")

    def _events(self) -> Iterator[str]:
        last = 0
        while self._open:
            number, event, data = self._word
            if number != last and not self.held_back:
                last = number
                yield f"id: {number}\nevent: {event}\ndata: {json.dumps(data)}\n\n"
            with self._changed:
                if self._word[0] == last or self.held_back:
                    self._changed.wait(0.5)
            if not self.held_back:
                yield ": still here\n\n"

    def _offers(self, request: Request) -> Response:
        return JSONResponse(self._word[2], headers={"ETag": f'"{self._word[0]}"'})

    def _open_list(self, token: str) -> tuple[Mapping[str, Any], Place] | None:
        if token == "closed":
            raise ListClosed
        return (self.lists[token], Place(STORE)) if token in self.lists else None


def _find_screen(screen_id: str) -> Place | None:
    return Place(STORE) if screen_id == "window" else None


def wait_for_heading(page: Any, text: str) -> None:
    """Wait until the screen greets so."""
    page.wait_for_function("text => document.querySelector('h1')?.textContent === text", arg=text, timeout=60000)


def wait_for_items(page: Any, *ids: str) -> None:
    """Wait until exactly these items are shown, in this order."""
    same = "ids => JSON.stringify([...document.querySelectorAll('.card')].map(c => c.dataset.item)) === ids"
    page.wait_for_function(same, arg="[" + ",".join(f'"{one}"' for one in ids) + "]", timeout=60000)
