"""The HTTP interface (docs/http.md): thin handlers, each answering with JSON that is encoded once."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Any

import orjson
from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from configs.errors import FacingsError
from identity.match import Decision, Status
from identity.template import check_model, unit
from pipelines.offers.decide import Ask, probable
from pipelines.offers.eligibility import PLACEMENTS, Placement
from pipelines.offers.view import View
from pipelines.signals.events import check_interactions
from serving.bodies import EventsBody, RecommendBody, SightingBody, read_body
from serving.metrics import EVENTS, SIGHTINGS, STREAMS
from serving.problems import Problem, ProblemDetail
from serving.schemas import EventsAnswer, RecommendAnswer, ScreenSlate, SightingAnswer
from serving.services import Services
from state.events import append_events
from state.forgotten import forgotten_among

PING_SECONDS = 15.0
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    code: {"model": ProblemDetail, "content": {"application/problem+json": {}}}
    for code in (400, 401, 403, 404, 413, 422)
}


def _takes(body: type[Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": body.model_json_schema()}}}}


def _gives(answer: type[Any]) -> dict[int | str, dict[str, Any]]:
    return {200: {"model": answer}}


def _json(content: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")


def api_routes(services: Services) -> APIRouter:
    """The routes of the API, bound to one server's services."""
    router = APIRouter(responses=_PROBLEMS)
    router.include_router(_placements(services))
    router.include_router(_screens(services))
    router.include_router(_operations(services))
    return router


def _placements(services: Services) -> APIRouter:
    router = APIRouter(tags=["offers"])

    @router.post(
        "/v1/placements/{placement}:recommend", openapi_extra=_takes(RecommendBody), responses=_gives(RecommendAnswer)
    )
    async def recommend(request: Request, placement: str) -> Response:
        """Rank items for one placement; it always answers, and says in `fallback` why it is not the shopper's own."""
        services.doorkeeper.require(request, "recommend")
        if placement not in PLACEMENTS:
            raise Problem(404, f"There is no such placement; use {', '.join(PLACEMENTS)}.", field="placement")
        body = await read_body(request, RecommendBody)
        view = services.current.get()
        ask = _ask(view, placement, body)
        return _json(services.answering.recommend(view, ask, explain=body.explain))

    @router.post("/v1/events:batch", tags=["signals"], openapi_extra=_takes(EventsBody), responses=_gives(EventsAnswer))
    async def events(request: Request) -> Response:
        """Take interactions: each is durable before the answer, and a repeat of an event_id is a duplicate."""
        services.doorkeeper.require(request, "events")
        body = await read_body(request, EventsBody)
        return _json(await run_in_threadpool(_take_events, services, body.events))

    return router


def _ask(view: View, placement: Placement, body: RecommendBody) -> Ask:
    store = body.store_id
    if body.screen_id is not None:
        screen = view.shop.screens.get(body.screen_id)
        if screen is None:
            raise Problem(422, "screen_id is not in the screens table; ingest it or leave it out.", field="screen_id")
        store = store or screen["store_id"]
    if store is not None and view.shop.has_stores and store not in view.shop.stores:
        raise Problem(422, "store_id is not in the stores table; ingest it or leave it out.", field="store_id")
    shopper, unsure = body.shopper_id, False
    if body.shoppers:
        shopper = probable([(one.shopper_id, one.probability) for one in body.shoppers])
        unsure = shopper is None
    return Ask(placement, store, body.count, shopper, unsure, body.exclude_ids, body.candidates)


def _take_events(services: Services, rows: list[Any]) -> dict[str, Any]:
    now = services.answering.clock.now()
    shop = services.current.get().shop if services.current.ready else None
    stores = frozenset(shop.stores) if shop is not None and shop.has_stores else None
    skew = services.answering.settings.clock_skew_seconds
    good, bad = check_interactions(rows, now=now, skew_seconds=skew, known_stores=stores)
    rejected = [{"index": entry.index, "reason": entry.reason} for entry in bad]
    gone = forgotten_among(services.engine, {row["shopper_id"] for row in good}, services.pseudonym_key)
    if gone:
        refused = {entry.index for entry in bad}
        places = [index for index in range(len(rows)) if index not in refused]
        reason = "the shopper was forgotten"
        lost = [index for index, row in zip(places, good, strict=True) if row["shopper_id"] in gone]
        rejected += [{"index": index, "reason": reason} for index in lost]
        good = [row for row in good if row["shopper_id"] not in gone]
    with services.event_lock:
        accepted = append_events(services.engine, good, now)
    duplicates = len(good) - accepted
    for outcome, count in (("accepted", accepted), ("duplicate", duplicates), ("rejected", len(rejected))):
        EVENTS.labels(outcome).inc(count)
    rejected.sort(key=lambda entry: int(str(entry["index"])))
    return {"accepted": accepted, "duplicates": duplicates, "rejected": rejected}


def _screens(services: Services) -> APIRouter:
    router = APIRouter(tags=["screens"], prefix="/v1/screens/{screen_id}")

    def known(screen_id: str) -> View:
        view = services.current.get()
        if screen_id not in view.shop.screens:
            raise Problem(404, "There is no such screen; add it to the screens table and ingest it.", field="screen_id")
        return view

    @router.get("/offers", responses=_gives(ScreenSlate))
    async def offers(request: Request, screen_id: str) -> Response:
        """The screen's slate: personal only for the device's own token, where tokens are required."""
        known(screen_id)
        own = services.doorkeeper.holds(request, f"screen:{screen_id}")
        word = services.screens.word(screen_id, personal=own)
        headers = {"ETag": word.etag, "Cache-Control": "no-cache", "Vary": "Authorization"}
        if request.headers.get("if-none-match") == word.etag:
            return Response(status_code=304, headers=headers)
        return Response(word.body, headers=headers, media_type="application/json")

    @router.get("/stream")
    async def stream(request: Request, screen_id: str) -> Response:
        """Server-sent events: `slate` and `idle` (both carry the slate's JSON), and `ping`; the state comes first."""
        services.doorkeeper.require(request, f"screen:{screen_id}")
        known(screen_id)
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(_events(services, screen_id), media_type="text/event-stream", headers=headers)

    @router.post("/sightings", openapi_extra=_takes(SightingBody), responses=_gives(SightingAnswer))
    async def sighting(request: Request, screen_id: str) -> Response:
        """One good frame of one tracked person, or a scanned code; the answer names nobody."""
        services.doorkeeper.require(request, f"screen:{screen_id}")
        view = known(screen_id)
        body = await read_body(request, SightingBody)
        decision, track = _recognise(services, view, screen_id, body)
        SIGHTINGS.labels(decision.status).inc()
        expires = None
        if decision.shopper_id is not None:
            expires = services.screens.seen(screen_id, track, decision.shopper_id)
        else:
            services.screens.left(screen_id, track)
        return _json({"status": decision.status, "expires_at": expires and expires.isoformat(), "track_id": track})

    @router.delete("/sightings/{track_id}")
    async def left(request: Request, screen_id: str, track_id: str) -> Response:
        """That person left; the screen clears."""
        services.doorkeeper.require(request, f"screen:{screen_id}")
        view = known(screen_id)
        services.decider(str(view.shop.screens[screen_id]["store_id"])).leave(f"{screen_id}/{track_id}")
        services.screens.left(screen_id, track_id)
        return Response(status_code=204)

    return router


def _recognise(services: Services, view: View, screen_id: str, body: SightingBody) -> tuple[Decision, str]:
    if body.qr_token is not None:
        track = body.track_id or f"code-{hashlib.sha256(body.qr_token.encode()).hexdigest()[:16]}"
        claim = services.answering.claims.open(body.qr_token)
        if claim is None:
            raise Problem(422, "qr_token is not one of this server's codes.", field="qr_token")
        if claim.expires <= services.answering.clock.now() or claim.shopper_id is None:
            return Decision(Status.UNKNOWN), track
        return Decision(Status.KNOWN, claim.shopper_id), track
    assert body.track_id is not None and body.embedding is not None
    assert body.quality is not None and body.model is not None
    try:
        check_model(body.model)
    except FacingsError as error:
        raise Problem(422, str(error), field="model") from None
    try:
        vector = unit(body.embedding)
        decider = services.decider(str(view.shop.screens[screen_id]["store_id"]))
        decision = decider.observe(f"{screen_id}/{body.track_id}", vector, body.quality, body.liveness)
    except FacingsError as error:
        raise Problem(422, str(error), field="embedding") from None
    return decision, body.track_id


async def _events(services: Services, screen_id: str) -> AsyncIterator[bytes]:
    """Tell the state now, then every change; what has expired in between is never told."""
    screen = services.screens.screen(screen_id)
    changed = asyncio.Event()
    screen.listeners.add(changed)
    STREAMS.inc()
    told = ""
    try:
        while not services.stopping.is_set():
            changed.clear()
            if services.current.ready and screen_id in services.current.get().shop.screens:
                word = services.screens.word(screen_id)
                if word.etag != told:
                    told = word.etag
                    name = f"{services.screens.boot}-{screen.number}"
                    yield f"id: {name}\nevent: {word.kind}\ndata: ".encode() + word.body + b"\n\n"
            try:
                await asyncio.wait_for(changed.wait(), PING_SECONDS)
            except TimeoutError:
                yield b"event: ping\ndata: {}\n\n"
    finally:
        screen.listeners.discard(changed)
        STREAMS.dec()


def _operations(services: Services) -> APIRouter:
    router = APIRouter(tags=["operations"])

    @router.get("/health/live")
    async def live() -> Response:
        """The process answers."""
        return _json({"status": "live"})

    @router.get("/health/ready")
    async def ready() -> Response:
        """There is something to serve; tells what."""
        view = services.current.get()
        return _json({"status": "ready", "model_version": view.model_version, "stock_rule": view.shop.has_stock})

    @router.get("/metrics")
    async def metrics(request: Request) -> Response:
        """Prometheus metrics, without any id."""
        services.doorkeeper.require(request, "admin")
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return router
