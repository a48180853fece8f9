"""What a display and its camera ask: the slate, the stream of slates, and who stands there."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from configs.errors import FacingsError
from identity.match import Decision, Status
from identity.template import check_model, unit
from pipelines.offers.view import View
from serving.bodies import SightingBody, read_body
from serving.described import gives, json_response, takes
from serving.metrics import SIGHTINGS, STREAMS
from serving.problems import Problem
from serving.schemas import QuietAnswer, ScreenSlate, SightingAnswer
from serving.services import Services

PING_SECONDS = 15.0


def screen_routes(services: Services) -> APIRouter:
    """The routes of screens, bound to one server's services."""
    router = APIRouter(tags=["screens"], prefix="/v1/screens/{screen_id}")
    _add_display(router, services)
    _add_camera(router, services)
    return router


def _known(services: Services, screen_id: str) -> View:
    """What is served now; it knows the screen."""
    view = services.current.get()
    if screen_id not in view.shop.screens:
        raise Problem(404, "There is no such screen; add it to the screens table and ingest it.", field="screen_id")
    return view


def _add_display(router: APIRouter, services: Services) -> None:
    """What a display asks: the slate, and the stream of slates."""

    @router.get("/offers", responses={**gives(ScreenSlate), 304: {"description": "as the ETag says"}})
    async def offers(request: Request, screen_id: str) -> Response:
        """The screen's slate. Where tokens are required it is personal only for the device's own token."""
        _known(services, screen_id)
        own = services.doorkeeper.owns(request, f"screen:{screen_id}")
        word = services.screens.word(screen_id, personal=own)
        headers = {"ETag": word.etag, "Cache-Control": "private, no-cache", "Vary": "Authorization"}
        if word.etag in {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}:
            return Response(status_code=304, headers=headers)
        return Response(word.body, headers=headers, media_type="application/json")

    @router.get("/stream", responses={200: {"content": {"text/event-stream": {}}}})
    async def stream(request: Request, screen_id: str) -> Response:
        """Server-sent events: `slate` (a known shopper's), `idle` (nobody's), both with the slate's JSON, and `ping`.

        The first event is the present state, whatever the Last-Event-ID: what has expired since is not told.
        """
        services.doorkeeper.require(request, f"screen:{screen_id}")
        own = services.doorkeeper.owns(request, f"screen:{screen_id}")
        _known(services, screen_id)
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        told = _events(services, screen_id, personal=own)
        return StreamingResponse(told, media_type="text/event-stream", headers=headers)


def _add_camera(router: APIRouter, services: Services) -> None:
    """What a camera, and who stands before it, tell: who is there, who is not, who left."""

    @router.post("/sightings", openapi_extra=takes(SightingBody), responses=gives(SightingAnswer))
    async def sighting(request: Request, screen_id: str) -> Response:
        """One good frame of one tracked person, or a scanned code; the answer names nobody."""
        services.doorkeeper.require(request, f"screen:{screen_id}")
        _known(services, screen_id)
        body = await read_body(request, SightingBody)
        view = _known(services, screen_id)  # it may have changed while the body came in
        decision, track = _recognise(services, view, screen_id, body)
        await services.live.prepare(view, decision.shopper_id)
        if services.screens.quiet(screen_id):  # somebody said `not me`: for a while nobody is known here
            decision = Decision(Status.UNKNOWN)
        SIGHTINGS.labels(decision.status).inc()
        expires = None
        if decision.shopper_id is not None:
            expires = services.screens.seen(screen_id, track, decision.shopper_id)
        else:
            services.screens.left(screen_id, track)
        answer = {"status": decision.status, "expires_at": expires and expires.isoformat(), "track_id": track}
        return json_response(answer)

    @router.post("/not-me", responses=gives(QuietAnswer))
    async def not_me(request: Request, screen_id: str) -> Response:
        """Whoever stands there is not who is greeted: nobody's slate, and nobody is recognised there for a while."""
        services.doorkeeper.require(request, f"screen:{screen_id}")
        view = _known(services, screen_id)
        decider = services.decider(str(view.shop.screens[screen_id]["store_id"]))
        for track in services.screens.tracks(screen_id):
            decider.leave(f"{screen_id}/{track}")
        until = services.screens.not_me(screen_id)
        return json_response({"quiet_until": until.isoformat()})

    @router.delete("/sightings/{track_id}", status_code=204, responses={204: {"description": "the person left"}})
    async def left(request: Request, screen_id: str, track_id: str) -> Response:
        """That person left; the screen clears. A track that is not known is none any more."""
        services.doorkeeper.require(request, f"screen:{screen_id}")
        view = _known(services, screen_id)
        services.decider(str(view.shop.screens[screen_id]["store_id"])).leave(f"{screen_id}/{track_id}")
        services.screens.left(screen_id, track_id)
        return Response(status_code=204)


def _recognise(services: Services, view: View, screen_id: str, body: SightingBody) -> tuple[Decision, str]:
    if body.qr_token is not None:
        return _by_code(services, body.qr_token, body.track_id)
    assert body.track_id is not None and body.embedding is not None
    assert body.quality is not None and body.model is not None
    try:
        check_model(body.model)
    except FacingsError as error:
        raise Problem(422, str(error), field="model") from None
    try:
        vector = unit(body.embedding)
    except FacingsError as error:
        raise Problem(422, str(error), field="embedding") from None
    decider = services.decider(str(view.shop.screens[screen_id]["store_id"]))
    decision = decider.observe(f"{screen_id}/{body.track_id}", vector, body.quality, body.liveness)
    if decision.shopper_id is not None and not services.consents.holds(decision.shopper_id):
        # The gallery in memory follows the vault; a consent may end a moment before the templates are gone.
        decision = Decision(Status.UNKNOWN)
    return decision, body.track_id


def _by_code(services: Services, token: str, track_id: str | None) -> tuple[Decision, str]:
    """Whom a scanned code names: nobody once it has ended, or once they were forgotten."""
    claim = services.answering.claims.open(token)
    if claim is None:
        raise Problem(422, "qr_token is not one of this server's codes; scan the code again.", field="qr_token")
    track = track_id or f"code-{hashlib.sha256(token.encode()).hexdigest()[:16]}"
    shopper = claim.shopper_id
    ended = claim.expires <= services.answering.clock.now()
    if shopper is None or ended or services.gone({shopper}):
        return Decision(Status.UNKNOWN), track
    return Decision(Status.KNOWN, shopper), track


async def _events(services: Services, screen_id: str, *, personal: bool) -> AsyncIterator[bytes]:
    """Tell the state now, then every change; what has expired in between is never told."""
    screen = services.screens.screen(screen_id)
    changed = asyncio.Event()
    screen.listeners.add(changed)
    STREAMS.inc()
    told = ""
    try:
        while not services.stopping:
            changed.clear()
            if services.current.ready and screen_id in services.current.get().shop.screens:
                word = services.screens.word(screen_id, personal=personal)
                if word.etag != told:
                    told = word.etag
                    name = f"{services.screens.boot}-{screen.number}"
                    yield f"id: {name}\nevent: {word.kind}\ndata: ".encode() + word.body + b"\n\n"
                    continue
            try:
                await asyncio.wait_for(changed.wait(), PING_SECONDS)
            except TimeoutError:
                yield b"event: ping\ndata: {}\n\n"
    finally:
        screen.listeners.discard(changed)
        STREAMS.dec()
