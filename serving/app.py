"""The application: routes, pages, error handling, and the watch over new snapshots."""

from __future__ import annotations

import asyncio
import html
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import HTMLResponse

from configs.clock import Clock
from configs.settings import Settings
from pipelines.offers.decide import Ask
from pipelines.offers.view import View
from serving.page_routes import ListClosed, Pages, Place, page_routes
from serving.problems import add_handlers
from serving.recommend import Application, recommending
from serving.routes import api_routes
from serving.services import Services, build_services

_LOG = logging.getLogger("facings.serving")
_LIST_COUNT = 12


def create_app(settings: Settings, *, clock: Clock | None = None) -> FastAPI:
    """Make the application for one home.

    Args:
        settings: where the home is, what is bound, who may ask.
        clock: tells the time; default: the settings' own.
    """
    services = build_services(settings, clock or settings.clock())
    services.current.refresh()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        services.start()
        watch = asyncio.create_task(_watch(services))
        yield
        services.stop()
        watch.cancel()
        await asyncio.to_thread(services.end)
        services.current.close()

    app = Application(
        title="Facings",
        description="Offers, screens and events. Every error is an RFC 9457 problem.",
        version="1",
        docs_url=None,  # FastAPI's own page loads its scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.services = services
    app.take(recommending(services))
    add_handlers(app)
    app.include_router(api_routes(services))
    pages = Pages(
        find_screen=lambda screen_id: _place(services, screen_id),
        open_list=lambda token: _open_list(services, token),
        currency=settings.currency,
        picture_origins=settings.picture_origins,
    )
    app.router.routes.extend(page_routes(pages))

    @app.get("/docs", include_in_schema=False)
    async def docs(_: Request) -> HTMLResponse:
        return HTMLResponse(_docs(app.openapi()))

    return app


async def _watch(services: Services) -> None:
    while True:
        try:
            async for _ in services.current.changes():
                services.live.warm(services.current.get())
                services.screens.renew(services.gone)
        except Exception as error:  # whatever happens here, requests go on on what is in use
            _LOG.error("the watch over snapshots met %s and goes on", type(error).__name__)


def _place(services: Services, screen_id: str) -> Place | None:
    if not services.current.ready:
        return None
    shop = services.current.get().shop
    screen = shop.screens.get(screen_id)
    return None if screen is None else Place(_store_name(services, screen["store_id"]))


def _store_name(services: Services, store_id: str | None) -> str | None:
    row = services.current.get().shop.stores.get(store_id or "")
    return store_id if row is None else row.get("name") or store_id


def _open_list(services: Services, token: str) -> tuple[Mapping[str, Any], Place] | None:
    """The slate that a scanned code carries on to the phone, decided anew: what is gone since is not promised."""
    claim = services.answering.claims.open(token)
    if claim is None:
        return None
    if claim.expires <= services.answering.clock.now():
        raise ListClosed
    view = services.current.get()
    shopper = claim.shopper_id
    if shopper is not None and services.gone({shopper}):
        shopper = None
    services.live.prepare_here(view, shopper)
    first = [claim.item_id] if claim.item_id else []
    ask = Ask("phone", claim.store_id, _LIST_COUNT, shopper, exclude=first)
    answer = services.answering.recommend(view, ask, for_page=True)
    if claim.item_id:
        ask = Ask("phone", claim.store_id, 1, shopper, candidates=first)
        own = services.answering.recommend(view, ask, for_page=True)
        mine = [{**one, "recommendation_id": own["recommendation_id"]} for one in own["items"]]
        if mine:
            answer["items"] = mine + _beside(view, claim.item_id, answer["items"], services.answering.moment.maker_cap)
    return (
        {
            **answer,
            "personal": shopper is not None,
            "now": services.answering.clock.now().isoformat(),
            "expires_at": claim.expires.isoformat(),
            "claimed_item_id": claim.item_id,
            "shopper_greeting": None,
        },
        Place(_store_name(services, claim.store_id)),
    )


def _beside(view: View, item_id: str, items: list[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    """Those that may stand beside an item, so that no more than `most` of its maker are on the page."""
    maker, *others = view.shop.makers[view.shop.positions([item_id, *(one["item_id"] for one in items)])].tolist()
    same = [maker != -1 and other == maker for other in others]
    return [one for at, one in enumerate(items) if not same[at] or sum(same[: at + 1]) < most]


def _docs(schema: Mapping[str, Any]) -> str:
    """The interface on one page, without a script from elsewhere."""
    rows = "".join(
        f"<tr><td><code>{method.upper()}</code></td><td><code>{html.escape(path)}</code></td>"
        f"<td>{html.escape(str(operation.get('description', '')))}</td></tr>"
        for path, operations in schema["paths"].items()
        for method, operation in operations.items()
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Facings: the HTTP interface</title>'
        "<style>body{font:16px/1.5 system-ui;max-width:70rem;margin:2rem auto;padding:0 1rem}"
        "td{padding:.4rem 1rem .4rem 0;vertical-align:top}</style>"
        f"<h1>Facings {html.escape(schema['info']['version'])}</h1><p>{html.escape(schema['info']['description'])} "
        'Schemas of every body, answer and code: <a href="/openapi.json">openapi.json</a>.</p>'
        f"<table>{rows}</table></html>"
    )
