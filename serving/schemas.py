"""What answers look like, for the OpenAPI document; the hot path encodes plain mappings of this shape."""

from __future__ import annotations

from pydantic import BaseModel

from identity.match import Status
from models.reasons import Reason
from pipelines.offers.eligibility import Placement, Refusal


class OfferTerms(BaseModel):
    """What an item costs here and now, in integer minor units of `currency`."""

    offer_id: str | None
    campaign_id: str | None
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
    brand: str | None
    category: str | None
    image_url: str | None
    claim_url: str


class RefusedItem(BaseModel):
    """An item that may not be shown, and why."""

    item_id: str
    codes: list[Refusal]


class RecommendAnswer(BaseModel):
    """A slate. `fallback` is null, or `<why>:<level>` (why: anonymous, unsure, no_model, unknown_shopper, too_few,
    nothing_allowed; level: shopper, neighbourhood, store, chain, requested). `stock_rule` is `off` where no stock table
    was ever ingested or no store is known."""

    recommendation_id: str
    model_version: str
    policy_version: str
    fallback: str | None
    placement: Placement
    store_id: str | None
    stock_rule: str
    items: list[RecommendedItem]
    refused: list[RefusedItem] | None = None
    took_ms: float


class ScreenSlate(RecommendAnswer):
    """A screen's slate, with what the page shows beside it."""

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


class RejectedEvent(BaseModel):
    """An interaction that does not hold."""

    index: int
    reason: str


class EventsAnswer(BaseModel):
    """What became of a batch."""

    accepted: int
    duplicates: int
    rejected: list[RejectedEvent]
