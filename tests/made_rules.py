"""Random shops, moments and questions, and the hard rules told once more, item by item, as plainly as can be.

The reference shares nothing with the product but the words: no array, no code, exact fractions for money.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import numpy as np
import numpy.typing as npt

from configs.policy import PolicySettings
from pipelines.offers.decide import Ask, Slate
from pipelines.offers.eligibility import PLACEMENTS
from pipelines.offers.facts import NEVER_AGAIN, Facts
from pipelines.packed import NOBODY, ODDS, REASONS, Ranked
from pipelines.shop_offers import UNKNOWN_PRICE, ShopOffers, pack_offers
from pipelines.shop_snapshot import AGE_RESTRICTED, NEVER, SENSITIVE

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
MICROS = int(NOW.timestamp()) * 1_000_000
HOUR = 3_600_000_000
STORES = ("north", "south")
SHOPPERS = ("ann", "bob")
CATEGORIES = ("Food/Milk", "Food/Bread", "Food/Bread/Rye", "Drinks/Wine", "Care/Remedies")
MAKERS = ("m0", "m1", "m2", "m3")
BRANDS = ("b0", "b1", "b2")
MARGINS = ("-0.1", "0.0", "0.07", "0.25")


@dataclass(frozen=True)
class Item:
    """One item as a person would write it down; money in minor units, None: not known."""

    price: int | None
    cost: int | None
    never: bool
    age_restricted: bool
    sensitive: bool
    maker: str | None
    brand: str | None
    category: str | None


@dataclass(frozen=True)
class MadeShop:
    """A shop in memory in the shape in which decisions read one (`pipelines.offers.view.ShopReads`)."""

    items: list[Item]
    rows: list[dict[str, Any]]
    stock: dict[str, set[int]] | None
    unwanted: dict[str, tuple[set[str], set[str]]]
    prices: npt.NDArray[np.int64] = field(init=False)
    costs: npt.NDArray[np.int64] = field(init=False)
    flags: npt.NDArray[np.uint8] = field(init=False)
    makers: npt.NDArray[np.int32] = field(init=False)
    brands: npt.NDArray[np.int32] = field(init=False)
    categories: npt.NDArray[np.int32] = field(init=False)
    joined: npt.NDArray[np.int64] = field(init=False)
    offers: ShopOffers = field(init=False)
    names: dict[str, list[str]] = field(init=False)

    def __post_init__(self) -> None:
        def put(name: str, value: Any) -> None:
            object.__setattr__(self, name, value)

        put("names", {"makers": list(MAKERS), "brands": list(BRANDS), "categories": list(CATEGORIES)})
        put("prices", np.array([UNKNOWN_PRICE if one.price is None else one.price for one in self.items], np.int64))
        put("costs", np.array([UNKNOWN_PRICE if one.cost is None else one.cost for one in self.items], np.int64))
        flags = [one.never * NEVER + one.age_restricted * AGE_RESTRICTED + one.sensitive * SENSITIVE
                 for one in self.items]  # fmt: skip
        put("flags", np.array(flags, np.uint8))
        for name, words in (("makers", MAKERS), ("brands", BRANDS), ("categories", CATEGORIES)):
            told = [getattr(one, {"makers": "maker", "brands": "brand", "categories": "category"}[name])
                    for one in self.items]  # fmt: skip
            put(name, np.array([-1 if one is None else words.index(one) for one in told], np.int32))
        put("joined", np.array([MICROS - 24 * HOUR, -1, -1, -1], np.int64))  # m0 is new
        put("offers", ShopOffers(*pack_offers(self.rows, self.prices)))

    @property
    def size(self) -> int:
        return len(self.items)

    def positions(self, item_ids: list[str]) -> npt.NDArray[np.int32]:
        return np.array([int(name[1:]) if int(name[1:]) < self.size else -1 for name in item_ids], np.int32)

    def cards(self, positions: list[int]) -> list[dict[str, Any]]:
        return [{"item_id": f"i{place}"} for place in positions]

    def in_stock(self, store_id: str | None) -> npt.NDArray[np.int32] | None:
        if self.stock is None or store_id is None:
            return None
        return np.array(sorted(self.stock.get(store_id, ())), np.int32)

    def stocked(self, store_id: str | None) -> npt.NDArray[np.bool_] | None:
        if self.stock is None or store_id is None:
            return None
        held = np.zeros(self.size, bool)
        held[list(self.stock.get(store_id, ()))] = True
        return held

    def excluded(self, store_id: str | None) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]] | None:
        if store_id not in self.unwanted:
            return None
        brands, paths = self.unwanted[store_id]
        below = [code for code, name in enumerate(CATEGORIES) if any(_lies(name, path) for path in paths)]
        return np.array(sorted(BRANDS.index(one) for one in brands), np.int32), np.array(below, np.int32)


@dataclass(frozen=True)
class MadeReads:
    """A shop with its best-sellers and shoppers' candidates."""

    shop: MadeShop
    lists: dict[tuple[str, str | None], Ranked]
    own: dict[str, Ranked]
    model_version: str = "1"

    def candidates(self, shopper_id: str) -> Ranked:
        return self.own.get(shopper_id, NOBODY)

    def popular(self, level: str, store_id: str | None) -> Ranked:
        return self.lists.get((level, store_id), NOBODY)


def made_reads(draw: np.random.Generator, size: int) -> MadeReads:
    """A random shop of so many items; all that may break a rule is common in it."""

    def some(chance: float) -> bool:
        return bool(draw.random() < chance)

    def one_of(words: Sequence[str]) -> str | None:
        return None if some(0.15) else str(words[draw.integers(len(words))])

    items = []
    for _ in range(size):
        price = None if some(0.1) else int(draw.integers(1, 500))
        # Costs lie on both sides of the price and of the margin floor, often on the very edge of it.
        cost = None if some(0.25) else int(draw.integers(0, 300)) if price is None or some(0.6) else max(
            0, int(price / (1 + float(draw.choice([-0.1, 0, 0.07, 0.25])))) + int(draw.integers(-1, 2))
        )  # fmt: skip
        items.append(
            Item(price, cost, some(0.05), some(0.1), some(0.1), one_of(MAKERS), one_of(BRANDS), one_of(CATEGORIES))
        )
    rows = []
    for place in range(size):
        for name in range(int(draw.choice([0, 1, 3], p=[0.4, 0.4, 0.2]))):
            starts, ends = (int(hours) for hours in (draw.integers(-5, 2), draw.integers(-1, 6)))
            rows.append(
                {
                    "place": place,
                    "offer_id": f"o{name}",
                    "campaign_id": None if some(0.3) else f"c{draw.integers(3)}",
                    "discount": None if some(0.15) else round(float(draw.uniform(0, 0.95)), 2),
                    "floor": None if some(0.5) else int(draw.integers(0, 300)),
                    "stores": None if some(0.6) else [STORES[draw.integers(2)]],
                    "starts": None if some(0.3) else MICROS + starts * HOUR,
                    "ends": None if some(0.3) else MICROS + ends * HOUR,
                }
            )
    rows.sort(key=lambda row: (row["place"], -(-1.0 if row["discount"] is None else row["discount"]), row["offer_id"]))
    stock = None if some(0.2) else {
        store: {place for place in range(size) if some(0.8)} for store in STORES[: 1 + some(0.8)]
    }  # fmt: skip
    unwanted = {
        store: ({str(draw.choice(BRANDS))} if some(0.5) else set(), {str(draw.choice(["Food/Bread", "Drinks"]))})
        for store in STORES
        if some(0.4)
    }
    shop = MadeShop(items, rows, stock, unwanted)
    lists = {(level, store): _ranked(draw, size) for level in ("home", "store", "chain") for store in (*STORES, None)}
    return MadeReads(shop, lists, {shopper: _ranked(draw, size) for shopper in SHOPPERS if some(0.8)})


def _ranked(draw: np.random.Generator, size: int) -> Ranked:
    count = int(draw.integers(0, size + 1)) if draw.random() < 0.7 else 0
    places = draw.permutation(size)[:count].astype(np.int32)
    odds = None
    if draw.random() < 0.5:
        odds = draw.normal(-1, 1, (count, ODDS)).astype(np.float16)
        odds[:, 2], odds[:, 3], odds[:, 4] = np.abs(odds[:, 2]), draw.random(count), np.abs(odds[:, 4])
        odds[draw.random(count) < 0.2] = np.nan
    scores = np.sort(draw.random(count).astype(np.float32))[::-1].copy()
    return Ranked(places, scores, draw.integers(0, len(REASONS), count).astype(np.uint8), odds)


def made_moment(draw: np.random.Generator, size: int) -> tuple[Ask, Facts, PolicySettings]:
    """A random question, what is true when it is asked, and by which settings it is answered."""

    def some(chance: float) -> bool:
        return bool(draw.random() < chance)

    def places(chance: float) -> list[int]:
        return [place for place in range(size) if some(chance)]

    shopper = None if some(0.3) else str(draw.choice([*SHOPPERS, "stranger"]))
    named = [f"i{place}" for place in draw.integers(0, size + 2, int(draw.integers(1, size + 1)))]
    ask = Ask(
        PLACEMENTS[draw.integers(len(PLACEMENTS))],
        None if some(0.1) else "elsewhere" if some(0.05) else str(draw.choice(STORES)),
        int(draw.integers(1, 12)),
        shopper,
        shopper is None and some(0.3),
        [f"i{place}" for place in places(0.1)] if some(0.5) else (),
        named if some(0.3) else None,
        ("Drinks", "Food/Bread") if some(0.2) else (),
    )
    ends = (-HOUR, -1, 0, 1, HOUR, NEVER_AGAIN - MICROS)
    held = {place: (MICROS + int(draw.choice(ends)), some(0.5)) for place in places(0.2)} if shopper else {}
    facts = Facts(
        held=held,
        shown={place: int(draw.integers(1, 6)) for place in places(0.25)} if shopper else {},
        quiet_until=MICROS + int(draw.choice([-1, 0, 1])) if some(0.2) else None,
        blocked_items=tuple(places(0.1)) if some(0.5) else (),
        blocked_makers=tuple(sorted({int(draw.integers(4))})) if some(0.15) else (),
        shadow={f"c{number}": float(draw.choice([0, 0.5, 2, np.inf])) for number in range(3)} if some(0.6) else {},
        holdout=shopper is not None and some(0.1),
    )
    margin = float(draw.choice(np.array([float(one) for one in MARGINS])))
    policy = PolicySettings(
        margin_floor=margin, offer_cap=int(draw.integers(1, 5)), exploration=0.05 if some(0.5) else 1.0,
        diversity=float(draw.choice([0.0, 0.2, 1.0])), maker_cap=int(draw.integers(1, 4)),
    )  # fmt: skip
    return ask, facts, policy


# ---------------------------------------------------------------------- the rules, told plainly


def _lies(category: str, path: str) -> bool:
    return category == path or category.startswith(path + "/")


def _too_cheap(price: int | None, cost: int | None, policy: PolicySettings) -> bool:
    if price is None or cost is None:
        return False
    return price * 100 < cost * (100 + round(100 * policy.margin_floor))  # margins are whole hundredths here


def broken(shop: MadeShop, place: int, ask: Ask, facts: Facts, policy: PolicySettings) -> set[str]:
    """The rules that showing this item would break."""
    item, found = shop.items[place], set()
    if f"i{place}" in ask.exclude:
        found.add("excluded")
    if place in facts.blocked_items or (item.maker and MAKERS.index(item.maker) in facts.blocked_makers):
        found.add("blocked")
    if item.never:
        found.add("category_excluded")
    if ask.store_id in shop.unwanted:
        brands, paths = shop.unwanted[ask.store_id]
        if item.brand in brands or (item.category and any(_lies(item.category, path) for path in paths)):
            found.add("store_excluded")
    if item.age_restricted and ask.placement != "phone":
        found.add("age_restricted")
    if item.sensitive and (ask.shopper_id is not None or ask.unsure):
        found.add("sensitive")
    if _too_cheap(item.price, item.cost, policy):
        found.add("below_margin")
    if place in facts.held and facts.held[place][0] > MICROS:
        found.add("not_due" if facts.held[place][1] else "just_bought")
    if facts.shown.get(place, 0) >= policy.offer_cap:
        found.add("shown_often")
    if shop.stock is not None and ask.store_id is not None and place not in shop.stock.get(ask.store_id, ()):
        found.add("out_of_stock")
    return found


def broken_offer(shop: MadeShop, row: dict[str, Any], ask: Ask, facts: Facts, policy: PolicySettings) -> set[str]:
    """The rules that showing an item at this offer would break."""
    item, found = shop.items[row["place"]], set()
    if row["starts"] is not None and row["starts"] > MICROS:
        found.add("offer_not_begun")
    if row["ends"] is not None and row["ends"] <= MICROS:
        found.add("offer_ended")
    if row["stores"] is not None and ask.store_id not in row["stores"]:
        found.add("offer_elsewhere")
    price = reduced(item.price, row["discount"])
    if row["floor"] is not None and (price is None or price < row["floor"]):
        found.add("offer_below_floor")
    if _too_cheap(price, item.cost, policy):
        found.add("offer_below_margin")
    if row["campaign_id"] is not None and facts.shadow.get(row["campaign_id"], 0.0) == float("inf"):
        found.add("offer_spent")
    return found


def reduced(price: int | None, discount: float | None) -> int | None:
    """A price less a discount, half a minor unit rounded up."""
    if price is None or not discount:
        return price
    return int((Decimal(price) * (1 - Decimal(str(discount)))).quantize(Decimal(1), ROUND_HALF_UP))


def faults(
    reads: MadeReads, ask: Ask, facts: Facts, policy: PolicySettings, slate: Slate, verdicts: Sequence[set[str]]
) -> Iterator[str]:
    """What is wrong with a slate; `verdicts` are `broken` of every item of the shop."""
    shop = reads.shop
    places = [one.place for one in slate.items]
    if len(set(places)) < len(places) or len(places) > ask.count:
        yield "an item twice, or too many"
    asked = None if ask.candidates is None else {int(name[1:]) for name in ask.candidates}
    for one in slate.items:
        yield from (f"item: {code}" for code in verdicts[one.place])
        if asked is not None and one.place not in asked:
            yield "item: not asked for"
        price = shop.items[one.place].price
        if one.terms.offer is None:
            if (one.terms.price, one.terms.was) != (price, None):
                yield "price: not the usual one"
            continue
        offer = one.terms.offer
        row = next(row for row in shop.rows if row["place"] == one.place and row["offer_id"] == offer.offer_id)
        yield from (f"offer: {code}" for code in broken_offer(shop, row, ask, facts, policy))
        lowered = bool(row["discount"]) and price is not None
        if (one.terms.price, one.terms.was) != (reduced(price, row["discount"]), price if lowered else None):
            yield "price: not the offer's"
    quiet = facts.quiet_until is not None and facts.quiet_until > MICROS
    if (quiet or facts.holdout or ask.shopper_id is None) and slate.fallback is None:
        yield "a personal slate where nobody may be recognised"
    if any(looked.level == "shopper" for looked in slate.looked) and (quiet or facts.holdout):
        yield "own candidates were read where nobody may be recognised"
    may = [place for place, codes in enumerate(verdicts) if not codes and (asked is None or place in asked)]
    if may and not slate.items:
        yield "nothing shown though something may be"
    if not slate.items and slate.fallback != "nothing_allowed":
        yield "an empty slate that does not say why"
    makers = [shop.items[place].maker for place in places]
    if any(makers.count(maker) > policy.maker_cap for maker in set(makers) if maker):
        yield "too many of one maker"
    if asked is not None and slate.refused:
        told = {name: {str(code) for code in codes} for name, codes in slate.refused.items()}
        want = {f"i{place}": verdicts[place] for place in asked if place < shop.size and verdicts[place]}
        want |= {name: {"unknown_item"} for name in ask.candidates or () if int(name[1:]) >= shop.size}
        if told != want:
            yield "refused for other reasons than the rules give"
