"""The bodies of requests, checked once; unknown keys are refused, so that a typing error is found at once."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from starlette.requests import ClientDisconnect, Request

from serving.problems import Problem, from_validation

MAX_BODY = 4 * 1024 * 1024
MAX_COUNT = 100
MAX_IDS = 10_000
MAX_EVENTS = 1_000

Id = Annotated[str, Field(min_length=1, max_length=2000)]
RecommendationId = Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
Ids = Annotated[list[Id], Field(max_length=MAX_IDS)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class PossibleShopper(_Body):
    """One of several people who may stand there."""

    shopper_id: Id
    # Its bounds are checked with the sum of all (`check_probabilities`), whose sentence counts those that are wrong.
    probability: Annotated[float, Field(allow_inf_nan=False, json_schema_extra={"minimum": 0, "maximum": 1})]


class Context(BaseModel):
    """What else is known of the moment; keys that no rule uses are taken and left."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    categories: Annotated[list[Id], Field(max_length=50)] | None = Field(
        None, description="paths of categories whose goods go first, as of the aisle; none: those of the screen"
    )


class RecommendBody(_Body):
    """What `POST /v1/placements/{placement}:recommend` takes."""

    shopper_id: Id | None = Field(None, description="for whom; none: nobody in particular")
    shoppers: Annotated[list[PossibleShopper], Field(max_length=50)] | None = Field(
        None, description="several possible shoppers instead; probabilities sum to 1 at most"
    )
    store_id: Id | None = Field(
        None, description="the store; needed where stores or stock were ever ingested, unless screen_id tells it"
    )
    screen_id: Id | None = Field(None, description="the screen; its store counts where no store_id is given")
    count: Annotated[int, Field(ge=1, le=MAX_COUNT)] = Field(10, description="how many items at most")
    exclude_ids: Ids = Field([], description="items to leave out")
    candidates: Ids | None = Field(None, description="rank these items only")
    context: Context | None = Field(None, description="time, weather, …; only `categories` counts in this version")
    explain: bool = Field(False, description="also tell which items were refused, with codes")

    @model_validator(mode="after")
    def _one_way_to_name_a_shopper(self) -> RecommendBody:
        if self.shopper_id is not None and self.shoppers is not None:
            raise ValueError("give shopper_id or shoppers, not both")
        return self


class SightingBody(_Body):
    """What `POST /v1/screens/{screen_id}/sightings` takes: one good frame of one tracked person, or a scanned code."""

    track_id: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    embedding: Annotated[list[float], Field(min_length=1, max_length=4096)] | None = None
    model: Annotated[str, Field(max_length=200)] | None = None
    quality: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    liveness: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    qr_token: Annotated[str, Field(min_length=1, max_length=4096)] | None = None

    @model_validator(mode="after")
    def _frame_or_code(self) -> SightingBody:
        frame = (self.track_id, self.embedding, self.model, self.quality)
        if self.qr_token is None and any(part is None for part in frame):
            raise ValueError("give track_id, embedding, model and quality, or qr_token")
        if self.qr_token is not None and self.embedding is not None:
            raise ValueError("give an embedding or a qr_token, not both")
        return self


class ResponseBody(_Body):
    """What a phone tells: `POST /v1/claims/{token}/responses`."""

    event_type: Literal["impression", "tap", "scan"] = Field(description="what happened")
    recommendation_id: RecommendationId | None = Field(
        None, description="of what; none: of the slate on whose screen the code was"
    )
    item_ids: Annotated[list[Id], Field(max_length=MAX_COUNT)] | None = Field(
        None, description="which of its items; none: all of them"
    )


class ScreenResponseBody(ResponseBody):
    """What a display tells: `POST /v1/screens/{screen_id}/responses`."""

    event_type: Literal["impression", "tap"] = Field(description="what happened")
    recommendation_id: RecommendationId = Field(description="the slate it shows")


class EventsBody(_Body):
    """What `POST /v1/events:batch` takes."""

    events: Annotated[list[Any], Field(max_length=MAX_EVENTS)]


Body = TypeVar("Body", bound=BaseModel)


async def read_body(request: Request, kind: type[Body]) -> Body:
    """Read and check a JSON body.

    Raises:
        Problem: 400 no JSON, 413 too large, 415 another media type, 422 a field that does not fit.
    """
    media, announced = b"application/json", b""
    for name, value in request.scope["headers"]:
        if name == b"content-type":
            media = value
        elif name == b"content-length":
            announced = value
    if media.partition(b";")[0].strip().lower() not in {b"application/json", b""}:
        raise Problem(415, "Send the body as application/json.")
    too_large = f"The body is larger than {MAX_BODY:,} bytes; send it in parts."
    if announced.isdigit() and int(announced) > MAX_BODY:
        raise Problem(413, too_large)
    parts, size, more = list[bytes](), 0, True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        more = message.get("more_body", False)
        if size > MAX_BODY:
            raise Problem(413, too_large)
    try:
        return kind.model_validate_json(b"".join(parts))
    except ValidationError as error:
        raise from_validation(error) from None
