"""The pages that people see: a store's display, the phone that takes its list along, and what they are made of.

What the pages read (the slate JSON of `GET /v1/screens/{screen_id}/offers`, of the events `slate` and `idle`, and of
the list that `open_list` returns):

    personal        false: may be shown to everybody and kept; anything else counts as personal and is never kept
    now, expires_at ISO times of the server's own clock (a replay's too); a personal slate ends by itself after
                    `expires_at - now`, whatever the display's clock says and with no network
                    (so a sighting that prolongs it is told by the same slate again; the page does not redraw for it)
    items           [{item_id, title, brand, category, image_url, reason, in_stock (true, or null: not known),
                    offer: {price, was, discount, currency, ...} or null, price (minor units, where there is no offer)}]
    currency        ISO 4217, where an item does not say its own
    phone_url, qr_svg, phone_note, shopper_greeting, recommendation_id
    claimed_item_id on the phone: the item whose code was scanned, or null

Nothing here knows a shopper: the pages get titles, prices and codes of reasons, and turn the codes into words.
"""

from __future__ import annotations

import hashlib
import html
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from string import Template
from typing import Any

import orjson
import segno
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

_FOLDER = Path(__file__).with_name("pages")
_TYPES = {".css": "text/css", ".js": "text/javascript"}
_UNKNOWN_SCREEN = (
    "This screen is not set up yet",
    "The server does not know a screen with this name. To set it up:",
    (
        "Add a row with its <code>screen_id</code> and <code>store_id</code> to the table <code>screens</code>.",
        "Load the folder again: <code>facings ingest FOLDER</code>.",
        "Reload this page.",
    ),
)
_CLOSED_LIST = (
    "This list has closed",
    "Lists from the screen stay open for a short while. Scan the code on the screen again for a new one.",
    (),
)
_UNKNOWN_LIST = (
    "This is not one of our lists",
    "The address may have been cut off on its way. Scan the code on the screen again.",
    (),
)


@dataclass(frozen=True)
class Place:
    """Where a screen hangs, or where a list was taken along, as far as a page says it."""

    store: str | None


class ListClosed(Exception):  # noqa: N818 - an outcome, not a fault
    """The list was real and its time is over."""


@dataclass(frozen=True)
class Pages:
    """What the pages ask of the application.

    `find_screen` returns None for an unknown screen. `open_list` returns the slate JSON behind a token and its place,
    None for a token that is not ours, and raises ListClosed when its time is over.
    """

    find_screen: Callable[[str], Place | None]
    open_list: Callable[[str], tuple[Mapping[str, Any], Place] | None]
    currency: str
    picture_origins: Sequence[str] = ()


def page_routes(pages: Pages) -> list[Route]:
    """Return the routes of the pages; none of them needs a token, none of them holds anything of a shopper but /c."""

    def screen(request: Request) -> Response:
        screen_id = request.path_params["screen_id"]
        place = pages.find_screen(screen_id)
        if place is None:
            return _notice(_UNKNOWN_SCREEN, 404)
        page = _page("screen.html", pages, screen_id=screen_id, store=place.store)
        return _with_etag(page, request, _headers(pages, frame="'self'", cache="no-cache"))

    def phone(request: Request) -> Response:
        try:
            opened = pages.open_list(request.path_params["token"])
        except ListClosed:
            return _notice(_CLOSED_LIST, 410)
        if opened is None:
            return _notice(_UNKNOWN_LIST, 404)
        slate, place = opened
        page = _page("phone.html", pages, list=slate, store=place.store)
        return HTMLResponse(page, headers=_headers(pages, frame="'none'", cache="no-store"))

    return [
        Route("/screens/{screen_id}", screen, methods=["GET"], name="screen page", include_in_schema=False),
        Route("/c/{token}", phone, methods=["GET"], name="phone page", include_in_schema=False),
        Route("/pages/{name}", _file, methods=["GET"], name="page file", include_in_schema=False),
    ]


def qr_svg(address: str) -> str:
    """Return `address` as a QR code: an SVG without size or colours of its own beyond ink, with a quiet zone."""
    out = io.BytesIO()
    # Level L, raised by segno where that costs nothing: larger squares reach further than a repair of dirt on glass.
    code = segno.make(address, error="l", micro=False)
    code.save(out, kind="svg", xmldecl=False, omitsize=True, border=4, dark="#1e1c18", light="#ffffff")
    return out.getvalue().decode()


def _page(name: str, pages: Pages, **facts: Any) -> str:
    config = {**facts, "build": _build(), "currency": pages.currency, "picture_origins": list(pages.picture_origins)}
    # Inside a script element only "<" could end it; as an escape it is the same JSON.
    text = orjson.dumps(config).decode().replace("<", "\\u003c")
    return Template(_text(name)).substitute(config=text)


def _notice(words: tuple[str, str, tuple[str, ...]], status: int) -> Response:
    title, line, steps = words
    listed = "<ol>" + "".join(f"<li>{step}</li>" for step in steps) + "</ol>" if steps else ""
    page = Template(_text("notice.html")).substitute(title=html.escape(title), line=html.escape(line), steps=listed)
    headers = {"Cache-Control": "no-store", "Content-Security-Policy": _policy((), "'none'"), **_GUARDS}
    return HTMLResponse(page, status, headers)


def _file(request: Request) -> Response:
    name = request.path_params["name"]
    kind = _TYPES.get(Path(name).suffix)
    if kind is None or name not in _names():
        return Response("There is no such page file.", 404, media_type="text/plain")
    headers = {"Cache-Control": "no-cache", "Content-Type": f"{kind}; charset=utf-8", "Facings-Build": _build()}
    if name == "worker.js":
        headers["Service-Worker-Allowed"] = "/screens/"
    return _with_etag(_text(name), request, {**headers, **_GUARDS})


def _with_etag(text: str, request: Request, headers: Mapping[str, str]) -> Response:
    tag = f'"{hashlib.sha256(text.encode()).hexdigest()[:20]}"'
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers={"ETag": tag})
    return HTMLResponse(text, headers={**headers, "ETag": tag})


_GUARDS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}


def _headers(pages: Pages, *, frame: str, cache: str) -> dict[str, str]:
    policy = _policy(tuple(pages.picture_origins), frame)
    return {"Content-Security-Policy": policy, "Cache-Control": cache, "Facings-Build": _build(), **_GUARDS}


def _policy(picture_origins: tuple[str, ...], frame: str) -> str:
    pictures = " ".join(("'self'", "data:", *picture_origins))
    # connect-src data: Chromium at times counts the code's image as a connection while a service worker is starting.
    return (
        f"default-src 'self'; connect-src 'self' data:; img-src {pictures}; object-src 'none'; base-uri 'none'; "
        f"form-action 'none'; frame-ancestors {frame}; require-trusted-types-for 'script'; trusted-types facings"
    )


@cache
def _names() -> frozenset[str]:
    return frozenset(path.name for path in _FOLDER.iterdir())


@cache
def _build() -> str:
    """A digest of all page files: a display that runs on an older one reloads itself."""
    return hashlib.sha256("".join(_text(name) for name in sorted(_names())).encode()).hexdigest()[:16]


@cache
def _text(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")
