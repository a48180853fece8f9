"""`POST /v1/placements/{placement}:recommend`, and its way past the framework, which costs half as much as a slate."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from configs.errors import UsageError
from pipelines.offers.decide import Ask, probable
from pipelines.offers.doubt import check_probabilities
from pipelines.offers.eligibility import PLACEMENTS, Placement
from pipelines.offers.steps import Result, Steps, step
from pipelines.offers.view import View
from serving.bodies import RecommendBody, read_body
from serving.described import json_response
from serving.problems import Problem, problem_response, unexpected
from serving.services import Services

_BEFORE, _AFTER = "/v1/placements/", ":recommend"
PATH = f"{_BEFORE}{{placement}}{_AFTER}"
Recommend = Callable[[Request, str], Awaitable[Response]]


def recommending(services: Services) -> Recommend:
    """The handler, bound to one server's services."""

    async def recommend(request: Request, placement: str) -> Response:
        """Rank items for one placement; it always answers, and says in `fallback` why it is not the shopper's own."""
        services.doorkeeper.require(request, "recommend")
        if placement not in PLACEMENTS:
            raise Problem(404, f"There is no such placement; use {', '.join(PLACEMENTS)}.", field="placement")
        body = await read_body(request, RecommendBody)
        view = services.current.get()
        ask = _ask(view, placement, body)
        await services.live.prepare(view, ask.shopper_id)
        steps = services.answering.recommending(view, ask, explain=body.explain, screen_id=body.screen_id)
        answer = await _beside_others(steps)
        return json_response(answer)

    return recommend


class Application(FastAPI):
    """Hands this one call to its handler before anything else looks at it; all others go the usual way."""

    def take(self, recommend: Recommend) -> None:
        """Take the handler."""

        async def answer(scope: Scope, receive: Receive, placement: str) -> Response:
            try:
                return await recommend(Request(scope, receive), placement)
            except Problem as problem:
                return problem_response(problem.status, problem.detail, problem.field)
            except Exception as error:
                return unexpected(error)

        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        placement = _placement(scope)
        if placement:
            response = await self._answer(scope, receive, placement)
            await response(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


async def _beside_others(steps: Steps[Result]) -> Result:
    """Do steps, each together with those of the other requests that are there (`pipelines.offers.steps`)."""
    await asyncio.sleep(0)
    while (ended := step(steps)) is None:
        await asyncio.sleep(0)
    return ended.result


def _placement(scope: Scope) -> str:
    """What a path names as a placement; nothing where it is another path."""
    path: str = scope["path"] if scope["type"] == "http" and scope["method"] == "POST" else ""
    placement = path[len(_BEFORE) : -len(_AFTER)] if path.startswith(_BEFORE) and path.endswith(_AFTER) else ""
    return "" if "/" in placement else placement


def _ask(view: View, placement: Placement, body: RecommendBody) -> Ask:
    possible = [(one.shopper_id, one.probability) for one in body.shoppers or ()]
    try:
        check_probabilities(possible)
    except UsageError as error:
        raise Problem(422, str(error), field="shoppers") from None
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
    if possible:
        sure = view.popular("chain", store).odds is None or max(chance for _, chance in possible) == 1
        if sure:  # without odds what is shown in doubt would be a guess: one of them is served, or nobody
            shopper, possible = probable(possible), []
            unsure = shopper is None
    return Ask(
        placement,
        store,
        body.count,
        shopper,
        unsure,
        body.exclude_ids,
        body.candidates,
        _categories(view, body),
        possible,
    )


def _categories(view: View, body: RecommendBody) -> Sequence[str]:
    if body.context is not None and body.context.categories is not None:
        return body.context.categories
    return () if body.screen_id is None else view.shop.categories_of(body.screen_id)
