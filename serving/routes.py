"""The HTTP interface (docs/http.md): thin handlers, each answering with JSON that is encoded once."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import Response

from pipelines.offers.decide import Ask, probable
from pipelines.offers.eligibility import PLACEMENTS, Placement
from pipelines.offers.view import View
from serving.bodies import EventsBody, RecommendBody, read_body
from serving.described import PROBLEMS, gives, json_response, takes
from serving.intake import take_events
from serving.problems import Problem
from serving.responses import response_routes
from serving.schemas import EventsAnswer, HealthAnswer, RecommendAnswer
from serving.screen_routes import screen_routes
from serving.services import Services


def api_routes(services: Services) -> APIRouter:
    """The routes of the API, bound to one server's services."""
    router = APIRouter(responses=PROBLEMS)
    router.include_router(_placements(services))
    router.include_router(screen_routes(services))
    router.include_router(response_routes(services))
    router.include_router(_operations(services))
    return router


def _placements(services: Services) -> APIRouter:
    router = APIRouter(tags=["offers"])

    @router.post(
        "/v1/placements/{placement}:recommend", openapi_extra=takes(RecommendBody), responses=gives(RecommendAnswer)
    )
    async def recommend(request: Request, placement: str) -> Response:
        """Rank items for one placement; it always answers, and says in `fallback` why it is not the shopper's own."""
        services.doorkeeper.require(request, "recommend")
        if placement not in PLACEMENTS:
            raise Problem(404, f"There is no such placement; use {', '.join(PLACEMENTS)}.", field="placement")
        body = await read_body(request, RecommendBody)
        view = services.current.get()
        ask = _ask(view, placement, body)
        await services.live.prepare(view, ask.shopper_id)
        answer = services.answering.recommend(view, ask, explain=body.explain, screen_id=body.screen_id)
        return json_response(answer)

    @router.post("/v1/events:batch", tags=["signals"], openapi_extra=takes(EventsBody), responses=gives(EventsAnswer))
    async def events(request: Request) -> Response:
        """Take interactions: each is durable before the answer, and a repeat of an event_id is a duplicate."""
        services.doorkeeper.require(request, "events")
        body = await read_body(request, EventsBody)
        return json_response(await take_events(services, body.events))

    return router


def _ask(view: View, placement: Placement, body: RecommendBody) -> Ask:
    store = body.store_id
    if body.screen_id is not None:
        screen = view.shop.screens.get(body.screen_id)
        if screen is None:
            raise Problem(422, "screen_id is not in the screens table; ingest it or leave it out.", field="screen_id")
        store = store or screen["store_id"]
    if store is None and (view.shop.has_stores or view.shop.has_stock):
        raise Problem(422, "store_id is missing; say for which store, so that its stock counts.", field="store_id")
    if store is not None and view.shop.has_stores and store not in view.shop.stores:
        raise Problem(422, "store_id is not in the stores table; ingest it or leave it out.", field="store_id")
    shopper, unsure = body.shopper_id, False
    if body.shoppers:
        shopper = probable([(one.shopper_id, one.probability) for one in body.shoppers])
        unsure = shopper is None
    return Ask(
        placement, store, body.count, shopper, unsure, body.exclude_ids, body.candidates, _categories(view, body)
    )


def _categories(view: View, body: RecommendBody) -> Sequence[str]:
    if body.context is not None and body.context.categories is not None:
        return body.context.categories
    return () if body.screen_id is None else view.shop.categories_of(body.screen_id)


def _operations(services: Services) -> APIRouter:
    router = APIRouter(tags=["operations"])

    @router.get("/health/live", responses=gives(HealthAnswer))
    async def live() -> Response:
        """The process answers."""
        return json_response({"status": "live"})

    @router.get("/health/ready", responses=gives(HealthAnswer))
    async def ready() -> Response:
        """There is something to serve; tells what. 503 with the reason as long as there is not."""
        view = services.current.get()
        rule = "on" if view.shop.has_stock else "off"
        return json_response({"status": "ready", "model_version": view.model_version, "stock_rule": rule})

    @router.get("/metrics", responses={200: {"content": {"text/plain": {}}}})
    async def metrics(request: Request) -> Response:
        """Prometheus metrics, without any id."""
        services.doorkeeper.require(request, "admin")
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return router
