"""The folder of tables: which tables a shop may bring, their columns, and what identifies a row.

A column that is not named here is kept as it comes, as an attribute.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["id", "text", "time", "number", "integer", "boolean", "list"]

EVENT_TYPES = (
    "view", "click", "add_to_cart", "purchase", "return", "content_view", "like", "share", "comment", "impression",
    "tap", "scan", "redeem", "promotion_offered", "promotion_not_offered",
)  # fmt: skip
# A column that says of a row why it is refused before its values are looked at; only a reader of rows adds it.
REFUSED = "_refused"
# Columns that the lake or its readers add; a table may not bring them.
RESERVED = frozenset({"ingested_at", "_row", "_key_high", "_key_low", REFUSED})
MAX_NUMBER = 1e15  # of any column: what is more is a slip, and money in minor units must fit into 64 bits
# What may stand beside the tables and is none: the planted effects of a simulated town.
BESIDE = frozenset({"truth.json"})


@dataclass(frozen=True)
class Column:
    """One column of the contract.

    Attributes:
        name: the column's name.
        kind: how its values are read; a list is text joined by `|`.
        required: the table is refused without it, and a row without a value is quarantined.
        low, high: inclusive bounds of a number.
        past: a time that may not lie in the future.
        choices: the only values allowed.
        pattern: a regular expression that a text must match.
        refers_to: the table whose key this value must be, if that table was ever ingested.
    """

    name: str
    kind: Kind = "text"
    required: bool = False
    low: float | None = None
    high: float | None = None
    past: bool = False
    choices: tuple[str, ...] = ()
    pattern: str | None = None
    refers_to: str | None = None


@dataclass(frozen=True)
class Table:
    """One table: its columns, and its key (a later row of the same key replaces the earlier; no key: rows add up)."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()

    def column(self, name: str) -> Column | None:
        """Return the contract's column of that name, if there is one."""
        return next((column for column in self.columns if column.name == name), None)

    @property
    def required(self) -> tuple[str, ...]:
        """Names of the columns without which the table is refused."""
        return tuple(column.name for column in self.columns if column.required)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all columns of the contract."""
        return tuple(column.name for column in self.columns)


def unknown_reason(column: Column, value: str) -> str:
    """The reason of a row that names what the other table does not hold; at most 40 characters of the value."""
    return f"{column.name} {value[:40]!r} is not in the {column.refers_to} table"


def _id(name: str, *, required: bool = False, refers_to: str | None = None) -> Column:
    return Column(name, "id", required=required, refers_to=refers_to)


def _time(name: str, *, required: bool = False, past: bool = False) -> Column:
    return Column(name, "time", required=required, past=past)


def _amount(name: str, high: float | None = None) -> Column:
    return Column(name, "number", low=0.0, high=high)


_EVENT = (
    _id("shopper_id", required=True),
    _id("item_id", required=True),
    _time("event_time", required=True, past=True),
)
_CURRENCY = Column("currency", pattern=r"^[A-Z]{3}$")
_SPAN = (_time("starts"), _time("ends"))

_ALL = (
    Table("interactions", (
        *_EVENT[:2], Column("event_type", required=True, choices=EVENT_TYPES), _EVENT[2], _id("event_id"),
        _id("order_id"), _id("basket_id"), _id("session_id"), _id("store_id", refers_to="stores"), Column("channel"),
        _amount("quantity"), _amount("price"), _CURRENCY, Column("position", "integer", low=0), _id("campaign_id"),
        Column("attribution_token"),
    )),
    Table("items", (
        _id("item_id", required=True), Column("title"), Column("brand"), _id("maker_id"), Column("category"),
        Column("tags", "list"), _amount("price"), _amount("cost"), Column("origin"), Column("image_url"),
        _time("first_seen"), Column("age_restricted", "boolean"), Column("sensitive", "boolean"), _CURRENCY,
    ), key=("item_id",)),
    Table("contents", (
        _id("content_id", required=True), Column("title"), Column("tags", "list"), Column("item_ids", "list"),
        _amount("duration_seconds"),
    ), key=("content_id",)),
    Table("content_views", (
        _id("shopper_id", required=True), _id("content_id", required=True, refers_to="contents"),
        Column("event_type", required=True, choices=EVENT_TYPES), _EVENT[2], _id("event_id"), _amount("dwell_seconds"),
    )),
    Table("searches", (
        _id("shopper_id", required=True), Column("query", required=True), _EVENT[2], _id("event_id"),
        Column("results", "list"), _id("clicked_item_id"),
    )),
    Table("reviews", (*_EVENT, _id("event_id"), Column("rating", "number"), Column("text"))),
    Table("complaints", (_EVENT[1], _EVENT[2], _id("event_id"), _id("shopper_id"), Column("kind"))),
    Table("shoppers", (
        _id("shopper_id", required=True), _id("home_store_id", refers_to="stores"), Column("age_band"),
        Column("household"),
    ), key=("shopper_id",)),
    Table("stores", (
        _id("store_id", required=True), Column("name"), Column("city"), Column("neighbourhood"), Column("attributes"),
        Column("excluded_brands", "list"), Column("excluded_categories", "list"),
    ), key=("store_id",)),
    Table("screens", (
        _id("screen_id", required=True), _id("store_id", required=True, refers_to="stores"),
        Column("placement", choices=("entrance", "aisle", "checkout", "phone")),
        Column("orientation", choices=("portrait", "landscape")), Column("categories", "list"),
    ), key=("screen_id",)),
    Table("makers", (
        _id("maker_id", required=True), Column("name"), _time("since"), Column("authorised_brands", "list"),
    ), key=("maker_id",)),
    Table("campaigns", (
        _id("campaign_id", required=True), _amount("budget"), *_SPAN, _id("maker_id"), Column("stores", "list"),
        _CURRENCY,
    ), key=("campaign_id",)),
    Table("offers", (
        _id("offer_id", required=True), _id("item_id", required=True, refers_to="items"),
        _id("campaign_id", refers_to="campaigns"),
        _amount("discount", high=1.0), _amount("floor_price"), *_SPAN,
    ), key=("offer_id", "item_id")),
    Table("promotions", (
        _id("store_id", required=True, refers_to="stores"), _id("item_id", required=True),
        _time("starts", required=True), _time("ends", required=True), Column("display"), Column("mailer"),
    )),
    Table("stock", (
        _id("store_id", required=True, refers_to="stores"), _id("item_id", required=True),
        Column("units", "number", required=True), _time("as_of", required=True, past=True),
    ), key=("store_id", "item_id")),
)  # fmt: skip

TABLES: dict[str, Table] = {table.name: table for table in _ALL}

# What a table refers to is loaded before it, so that one folder may bring both.
LOAD_ORDER = (
    "stores", "makers", "items", "contents", "campaigns", "shoppers", "screens", "offers", "promotions", "stock",
    "interactions", "content_views", "searches", "reviews", "complaints",
)  # fmt: skip
