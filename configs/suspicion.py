"""What counts as suspicious: bots, and brushing (bursts of fake purchases); FACINGS_SUSPICION sets keys as JSON."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class SuspicionRules(BaseModel):
    """Thresholds. Floors hold at least; above them a shop's own median + `deviations` × 1.4826 × MAD does.

    An act is something that a shopper did: an event other than what the shop showed; the lines of one order are one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    on: bool = Field(True, description="whether anything is flagged at all")
    deviations: float = Field(8.0, gt=0, description="robust standard deviations above the shop's median")
    acts_in_10_minutes: int = Field(60, ge=2, description="floor: a shopper with so many is no human")
    hours_of_a_day: int = Field(20, ge=2, le=24, description="acting in so many hours of one day is not human")
    most_shoppers: float = Field(
        0.2, gt=0, le=1, description="a rule (not that of bursts) that fits more of the shoppers up to a day flags none"
    )
    orders_of_an_item: int = Field(5, ge=2, description="floor: separate orders of one item by one shopper on one day")
    equal_orders: int = Field(4, ge=2, description="orders of two lines or more, alike, by one shopper on one day")
    burst_shoppers: int = Field(
        6,
        ge=2,
        description="floor: shoppers who on one day buy nothing but one maker's goods or one item, repeatedly",
    )
    burst_share: float = Field(
        0.3, gt=0, le=1, description="of those who buy it that day, so many are new and never bought anything else"
    )
    new_days: int = Field(7, ge=1, description="a shopper is new for so long after the first event")
    weight: float = Field(0.0, ge=0, le=1, description="what a flagged row counts; below .5 it trains nothing")
