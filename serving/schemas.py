"""What answers look like, for the OpenAPI document; the hot path encodes plain mappings of this shape."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from identity.match import Status
from models.reasons import Reason
from pipelines.offers.budgets.pacing import OfferRefusal
from pipelines.offers.decide import fallbacks
from pipelines.offers.eligibility import Placement, Refusal


class OfferTerms(BaseModel):
    """What an item costs here and now, in integer minor units of `currency`."""

    offer_id: str | None
    price: int | None
    was: int | None
    discount: float | None
    ends: str | None
    currency: str


class RecommendedItem(BaseModel):
    """One item of a slate."""

    item_id: str
    rank: int
    score: float
    reason: Reason
    propensity: float
    offer: OfferTerms
    title: str | None
    image_url: str | None
    claim_url: str
    rules_off: list[Literal["margin"]] = Field(
        description="rules that could not be applied to it: `margin` where its price or its cost is not known"
    )


class ScreenItem(RecommendedItem):
    """One item of a screen's slate. `in_stock`: true, or null where no stock table says so."""

    brand: str | None
    category: str | None
    in_stock: bool | None


class RefusedItem(BaseModel):
    """An item that may not be shown, and why."""

    item_id: str
    codes: list[Refusal]


class RefusedOffer(BaseModel):
    """A running offer that an item of the slate does not have, and why."""

    item_id: str
    offer_id: str
    codes: list[OfferRefusal]


class _Decided(BaseModel):
    recommendation_id: str
    model_version: str = Field(description="of the champion; `none` before the first one was published")
    policy_version: str
    fallback: Annotated[str, Field(json_schema_extra={"enum": list(fallbacks())})] | None = Field(
        description="null: the shopper's own slate; else why not, and from which level it was filled instead"
    )
    live: bool = Field(description="whether what the shopper did since the last training counts in it")
    placement: Placement
    store_id: str | None
    stock_rule: Literal["on", "off"] = Field(description="off where no stock table was ever ingested")
    took_ms: float


class RecommendAnswer(_Decided):
    """A slate, best first. `refused` and `refused_offers` only where `explain` was asked for."""

    items: list[RecommendedItem]
    refused: list[RefusedItem] | None = None
    refused_offers: list[RefusedOffer] | None = None


class ScreenSlate(_Decided):
    """A screen's slate, with what the page shows beside it."""

    items: list[ScreenItem]
    screen_id: str
    personal: bool
    shopper_greeting: str | None
    phone_url: str
    qr_svg: str
    phone_note: str | None
    now: str
    expires_at: str


class SightingAnswer(BaseModel):
    """Whether the person is known; never who it is."""

    status: Status
    expires_at: str | None
    track_id: str


class QuietAnswer(BaseModel):
    """Until when nobody is recognised at a screen."""

    quiet_until: str


class RejectedEvent(BaseModel):
    """An interaction that does not hold."""

    index: int
    reason: str


class EventsAnswer(BaseModel):
    """What became of a batch."""

    accepted: int
    duplicates: int
    rejected: list[RejectedEvent]


class ResponseAnswer(BaseModel):
    """How many interactions a page's word became; none where the slate was nobody's."""

    accepted: int
    duplicates: int


class HealthAnswer(BaseModel):
    """The state of the server."""

    status: Literal["live", "ready"]
    model_version: str | None = None
    stock_rule: Literal["on", "off"] | None = None
