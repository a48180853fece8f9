"""What we know, as tables: the names of entities, views, features and services, each in this one place.

Every view has its keys, `event_timestamp` (the moment it speaks of: only events before it are used) and
`created_timestamp` (since when that row was known). Numbers are float64, missing is NaN; texts are strings or None.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

from features.engagement import HALF_LIFE_DAYS

EVENT_TIME = "event_timestamp"
CREATED_TIME = "created_timestamp"

# A row older than this is not shown any more: what a shop knew five weeks ago is not what it knows.
TTL_DAYS = 35
# What a shopper does now: without an event for so long, the session is over.
LIVE_TTL_MINUTES = 30

# What a stored row means: each moment is whole, and who has no row any more has one without features.
_RULES = "whole moments"


@dataclass(frozen=True)
class Feature:
    """One column of a view: its name, `number` (float64) or `text` (str), its unit and its formula in words."""

    name: str
    kind: Literal["number", "text"]
    unit: str
    meaning: str


@dataclass(frozen=True)
class View:
    """One table of features: its name, the ids that key it, its columns and how long a row stays valid (days).

    A view that is `pushed` comes into the online store row by row as events arrive, and not by materialising.
    """

    name: str
    keys: tuple[str, ...]
    features: tuple[Feature, ...]
    ttl_days: float = TTL_DAYS
    pushed: bool = False

    @property
    def feature_names(self) -> list[str]:
        """Names of the features, in order."""
        return [feature.name for feature in self.features]

    @property
    def columns(self) -> list[str]:
        """Every column of the table: keys, the two timestamps, features."""
        return [*self.keys, EVENT_TIME, CREATED_TIME, *self.feature_names]

    @property
    def folder(self) -> str:
        """Folder of its rows below the home's features; other columns or rules are another folder, never a mixture."""
        digest = hashlib.sha256("\n".join([_RULES, *self.columns]).encode()).hexdigest()[:8]
        return f"offline/{self.name}-{digest}"


def push_source(view: View) -> str:
    """Name of the Feast source through which rows of a view are pushed."""
    return f"{view.name}_push"


def _number(name: str, unit: str, meaning: str) -> Feature:
    return Feature(name, "number", unit, meaning)


def _text(name: str, unit: str, meaning: str) -> Feature:
    return Feature(name, "text", unit, meaning)


def _topics(name: str, meaning: str) -> tuple[Feature, ...]:
    """Three topics, the strongest first, each with its share."""
    return tuple(
        feature
        for place, rank in ((1, "strongest"), (2, "second"), (3, "third"))
        for feature in (
            _text(f"{name}_{place}", "topic", f"the {rank} by the share: {meaning}"),
            _number(f"{name}_{place}_share", "fraction", f"the share of {name}_{place}"),
        )
    )


_CATEGORY = "category: the first two levels of the item's path"

SHOPPER = View(
    "shopper",
    ("shopper_id",),
    (
        _number("recency_days", "days", "since the last purchase"),
        _number("tenure_days", "days", "since the first purchase"),
        _number("visits_30d", "visits", "distinct visits with a purchase, last 30 days"),
        _number("visits_90d", "visits", "distinct visits with a purchase, last 90 days"),
        _number("days_between_visits", "days", "mean gap between visits, last 365 days; missing below two visits"),
        _number("items_90d", "items", "distinct items bought, last 90 days"),
        _number("spend_30d", "currency, major units", "money paid, last 30 days"),
        _number("spend_90d", "currency, major units", "money paid, last 90 days"),
        _number("basket_value_90d", "currency, major units", "spend_90d per visit; missing without a visit"),
        _text(
            "top_category", "category path", f"most bought {_CATEGORY}, by lines, last 365 days; ties: first by name"
        ),
        _number("top_category_share", "fraction", "share of top_category in the lines with a category, last 365 days"),
        _number(
            "price_level", "ratio", "median over lines of unit price / typical unit price of the category, 365 days"
        ),
        _number("promotion_share_90d", "fraction", "share of lines bought under promotion, last 90 days"),
        _number(
            "discount_share_90d", "fraction", "share of lines with a discount where discounts are known, last 90 days"
        ),
        _number("redemptions_365d", "events", "redeemed offers, last 365 days"),
    ),
)
ITEM = View(
    "item",
    ("item_id",),
    (
        _number("recency_days", "days", "since the last sale"),
        _number("age_days", "days", "since the first sale"),
        _number("sales_7d", "lines", "purchase lines, last 7 days"),
        _number("sales_30d", "lines", "purchase lines, last 30 days"),
        _number("sales_90d", "lines", "purchase lines, last 90 days"),
        _number("shoppers_90d", "shoppers", "distinct shoppers who bought it, last 90 days"),
        _number("spend_90d", "currency, major units", "money paid for it, last 90 days"),
        _number("unit_price", "currency, major units", "median unit price paid, last 365 days"),
        _number("price_level", "ratio", "unit_price / typical unit price of its category, 365 days"),
        _number("repeat_share", "fraction", "share of its shoppers with two visits or more that hold it, 365 days"),
        _number("promotion_share_90d", "fraction", "share of its lines sold under promotion, last 90 days"),
        _number("discount_share_90d", "fraction", "share of its lines with a discount where known, last 90 days"),
    ),
)
STORE = View(
    "store",
    ("store_id",),
    (
        _number("recency_days", "days", "since the last sale"),
        _number("visits_30d", "visits", "distinct visits, last 30 days"),
        _number("shoppers_90d", "shoppers", "distinct shoppers, last 90 days"),
        _number("items_90d", "items", "distinct items sold, last 90 days"),
        _number("spend_30d", "currency, major units", "money taken, last 30 days"),
        _number("basket_value_30d", "currency, major units", "spend_30d per visit; missing without a visit"),
        _text("top_category", "category path", f"most sold {_CATEGORY}, by lines, last 90 days; ties: first by name"),
        _number("top_category_share", "fraction", "share of top_category in the lines with a category, last 90 days"),
        _number(
            "price_level", "ratio", "median over lines of unit price / typical unit price of the category, 90 days"
        ),
        _number("promotion_share_90d", "fraction", "share of lines sold under promotion, last 90 days"),
    ),
)
SHOPPER_ITEM = View(
    "shopper_item",
    ("shopper_id", "item_id"),
    (
        _number("recency_days", "days", "since this shopper last bought this item"),
        _number("visits_365d", "visits", "distinct visits that hold the item, last 365 days"),
        _number("spend_365d", "currency, major units", "money this shopper paid for it, last 365 days"),
        _number("visit_share", "fraction", "visits_365d / all visits of the shopper, last 365 days"),
        _number("gap_days", "days", "mean gap between visits that hold it, last 365 days; missing below two"),
        _number("due_ratio", "ratio", "recency_days / gap_days: about 1 when a repeat is due"),
        _number("price_level", "ratio", "median unit price paid / median unit price all paid for it, 365 days"),
        _number("promotion_share", "fraction", "share of the pair's lines bought under promotion, 365 days"),
    ),
)
CONTENT_AFFINITY = View(
    "content_affinity",
    ("shopper_id",),
    (
        _number("content_recency_days", "days", "since the last content was viewed, liked, shared or commented on"),
        _number("content_views_30d", "views", "contents viewed, last 30 days"),
        _number("content_reactions_90d", "events", "likes, shares and comments, last 90 days"),
        _number("content_dwell_90d", "seconds", "time spent on contents, last 90 days"),
        _number(
            "content_completion_90d", "fraction", "mean of dwell / duration, at most 1, where both are known, 90 days"
        ),
        _number("content_engagement", "whole views", f"engagement, halved every {HALF_LIFE_DAYS:g} days"),
        *_topics("content_topic", "of engagement that the shopper gave to it, halved likewise; ties: first by name"),
        _number("content_items_bought_90d", "items", "distinct items named by a viewed content and bought after it"),
    ),
)
NEIGHBOURHOOD_CONTENT = View(
    "neighbourhood_content",
    ("store_id",),
    (
        _number("neighbourhood_watchers", "shoppers", "of this home store, with engagement; at least five"),
        *_topics("neighbourhood_topic", "mean share over its watchers, shrunk to the chain's; ties: first by name"),
        _text(
            "neighbourhood_own_topic",
            "topic",
            "the one with the highest share over the chain's; missing where none is above it",
        ),
        _number("neighbourhood_own_topic_lift", "ratio", "share of neighbourhood_own_topic over the chain's"),
    ),
)
# Live features look at a shopper's last so many events, and list so many of a session.
KEPT_EVENTS, LISTED_EVENTS = 200, 50
_ROWS = f"JSON list of [id, event_type, microseconds since 1970], the oldest first, at most the last {LISTED_EVENTS}"
SHOPPER_LIVE = View(
    "shopper_live",
    ("shopper_id",),
    (
        _text("session_items", _ROWS, "items of the session's events but for those of contents"),
        _text("session_contents", _ROWS, "contents of the session's events (content_view, like, share, comment)"),
        _number("session_minutes", "minutes", "since the session's first event; 0 without a session"),
        _number("session_events", "events", "of the session"),
        _number("session_looks", "events", "view, click, tap and scan in the session"),
        _number("session_carts", "events", "add_to_cart in the session"),
        _number("session_purchases", "events", "purchase in the session"),
        _number("events_1h", "events", "last hour"),
        _number("events_24h", "events", "last 24 hours"),
        _number("purchases_24h", "events", "purchase, last 24 hours"),
        _number("contents_24h", "events", "content_view, like, share and comment, last 24 hours"),
    ),
    ttl_days=LIVE_TTL_MINUTES / (24 * 60),
    pushed=True,
)

VIEWS = {
    view.name: view
    for view in (SHOPPER, ITEM, STORE, SHOPPER_ITEM, CONTENT_AFFINITY, NEIGHBOURHOOD_CONTENT, SHOPPER_LIVE)
}

# A service is what one consumer asks for in one call; feature names do not collide within one.
SERVICES: dict[str, tuple[View, ...]] = {
    "shopper": (SHOPPER, CONTENT_AFFINITY),
    "item": (ITEM,),
    "store": (STORE, NEIGHBOURHOOD_CONTENT),
    "shopper_item": (SHOPPER_ITEM,),
    "shopper_live": (SHOPPER_LIVE,),
}
