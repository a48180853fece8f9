"""The HTTP interface (docs/http.md): thin handlers, each answering with JSON that is encoded once."""

from __future__ import annotations

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import Response

from serving.bodies import EventsBody, RecommendBody, read_body
from serving.described import PROBLEMS, gives, json_response, takes
from serving.intake import take_events
from serving.recommend import PATH, recommending
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

    router.add_api_route(
        PATH,
        recommending(services),
        methods=["POST"],
        openapi_extra=takes(RecommendBody),
        responses=gives(RecommendAnswer),
    )

    @router.post("/v1/events:batch", tags=["signals"], openapi_extra=takes(EventsBody), responses=gives(EventsAnswer))
    async def events(request: Request) -> Response:
        """Take interactions: each is durable before the answer, and a repeat of an event_id is a duplicate."""
        services.doorkeeper.require(request, "events")
        body = await read_body(request, EventsBody)
        return json_response(await take_events(services, body.events))

    return router


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
