"""What people do with what is shown to them: the pages tell it, and it becomes interactions of the shopper.

The pages know no shopper. A screen's page says which recommendation it shows, and the server knows for whom that was
made; a phone's page bears a claim, which says so. Where a slate was nobody's, there is nobody to keep it for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from serving.bodies import ResponseBody, ScreenResponseBody, read_body
from serving.described import gives, json_response, takes
from serving.intake import take_events
from serving.problems import Problem
from serving.schemas import ResponseAnswer
from serving.services import Services
from state.forgotten import pseudonym


def response_routes(services: Services) -> APIRouter:
    """The routes by which pages tell impressions, taps and scans, bound to one server's services."""
    router = APIRouter(tags=["signals"])

    @router.post(
        "/v1/screens/{screen_id}/responses", openapi_extra=takes(ScreenResponseBody), responses=gives(ResponseAnswer)
    )
    async def of_screen(request: Request, screen_id: str) -> Response:
        """A display shows, or somebody taps, items of the personal slate that it was last given."""
        services.doorkeeper.require(request, f"screen:{screen_id}")
        shop = services.current.get().shop
        if screen_id not in shop.screens:
            raise Problem(404, "There is no such screen; add it to the screens table and ingest it.", field="screen_id")
        body = await read_body(request, ScreenResponseBody)
        shopper, shown = services.screens.shown(screen_id, body.recommendation_id)
        rows = _rows(services, shopper, shop.screens[screen_id]["store_id"], "screen", body, shown)
        return json_response(await _keep(services, rows))

    @router.post("/v1/claims/{token}/responses", openapi_extra=takes(ResponseBody), responses=gives(ResponseAnswer))
    async def of_claim(request: Request, token: str) -> Response:
        """A phone opened the list behind a code (scan), shows items of it or has one tapped. The code is the key."""
        claim = services.answering.claims.open(token)
        if claim is None:
            raise Problem(404, "This is not one of this server's codes; scan the code again.", field="token")
        if claim.expires <= services.answering.clock.now():
            raise Problem(410, "This code has expired; scan the code on the screen again.", field="token")
        body = await read_body(request, ResponseBody)
        named = body.model_copy(update={"recommendation_id": body.recommendation_id or claim.recommendation_id})
        shown = await run_in_threadpool(_shown, services, claim.shopper_id, named.recommendation_id)
        rows = _rows(services, claim.shopper_id, claim.store_id, "phone", named, shown)
        return json_response(await _keep(services, rows))

    return router


def _shown(services: Services, shopper: str | None, recommendation_id: str | None) -> Sequence[str]:
    """Items of a shopper's slate; of another's recommendation a claim can tell nothing, whatever it names."""
    if shopper is None or recommendation_id is None:
        return ()
    return services.answering.log.shown(recommendation_id, pseudonym(shopper, services.pseudonym_key))


def _rows(
    services: Services, shopper: str | None, store: str | None, channel: str, body: ResponseBody, shown: Sequence[str]
) -> list[dict[str, Any]]:
    """An interaction for each item that was indeed shown; told twice, it is one event."""
    if shopper is None:
        return []
    now = services.answering.clock.now().isoformat()
    wanted = set(shown if body.item_ids is None else body.item_ids)
    return [
        {
            "event_id": f"{body.event_type}-{body.recommendation_id}-{item}",
            "shopper_id": shopper,
            "item_id": item,
            "event_type": body.event_type,
            "event_time": now,
            "channel": channel,
            "position": position,
            "attribution_token": body.recommendation_id,
            **({} if store is None else {"store_id": store}),
        }
        for position, item in enumerate(shown, start=1)
        if item in wanted
    ]


async def _keep(services: Services, rows: list[dict[str, Any]]) -> dict[str, Any]:
    taken = await take_events(services, rows) if rows else {"accepted": 0, "duplicates": 0}
    return {"accepted": taken["accepted"], "duplicates": taken["duplicates"]}
