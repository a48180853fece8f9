"""The decision and its rules: prices, offers, claims, packed candidates."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.errors import FacingsError
from configs.policy import PolicySettings
from pipelines import snapshot
from pipelines.offers.claims import Claim, Claims
from pipelines.offers.decide import Ask, decide, fallbacks, probable
from pipelines.offers.eligibility import Placement
from pipelines.offers.view import View, open_view
from pipelines.packed import NOBODY, ODDS, REASONS, Ranked, pack, unpack
from pipelines.shop_offers import UNKNOWN_PRICE, discounted
from pipelines.shop_snapshot import minor_units
from tests.serving_town import ingest_shop
from tests.small_shop import END, ITEMS, NEVER_SOLD, SOLD_OUT, write_small_shop

CLAIM = Claim("0" * 32, "shopper-01", "s1", None, END + timedelta(minutes=5))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small shop with bread that only adults may buy, chips that are private, and offers of every kind."""
    folder = write_small_shop(tmp_path_factory.mktemp("offers") / "shop")
    items = (
        pl.read_csv(folder / "items.csv")
        .with_columns(
            age_restricted=pl.col("category") == "BAKERY/BREAD",
            sensitive=pl.col("category") == "SNACKS/CHIPS",
            cost=pl.when(pl.col("item_id") != "item-08").then(pl.col("price") * 0.6).round(2),
        )
        .with_columns(
            pl.when(pl.col("item_id") != "item-13").then(pl.col(name)).alias(name)
            for name in ("brand", "maker_id", "category")
        )
    )
    items.write_csv(folder / "items.csv")
    day = "2026-05-01"
    campaigns = [("runs", None, None), ("spent", 0.0, None), ("elsewhere", 9.0, "s2|s3")]
    pl.DataFrame(campaigns, schema=["campaign_id", "budget", "stores"], orient="row").write_csv(
        folder / "campaigns.csv"
    )
    offers = [
        ("floored", "item-00", "runs", 0.5, 0.9, day, "2026-07-01"),  # .50 lies below the floor of .90
        ("allowed", "item-00", "runs", 0.1, 0.9, day, "2026-07-01"),
        ("spent", "item-01", "spent", 0.5, None, day, "2026-07-01"),
        ("elsewhere", "item-05", "elsewhere", 0.2, None, day, "2026-07-01"),
        ("ends-now", "item-06", "runs", 0.2, None, day, END.isoformat()),
        ("starts-now", "item-10", "runs", 0.2, None, END.isoformat(), "2026-07-01"),
        ("only-told", "item-11", "runs", None, 99.0, day, "2026-07-01"),  # costs 3.75, its floor is 99
    ]
    columns = ["offer_id", "item_id", "campaign_id", "discount", "floor_price", "starts", "ends"]
    pl.DataFrame(offers, schema=columns, orient="row").write_csv(folder / "offers.csv")
    return folder


@pytest.fixture(scope="module")
def view(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> View:
    settings = ingest_shop(folder, tmp_path_factory.mktemp("offers") / "home")
    opened = open_view(settings.paths)
    assert opened is not None
    return opened


def shown(view: View, *items: str, store: str = "s1", placement: Placement = "phone") -> dict[str, tuple[object, ...]]:
    """Item → (offer, price, was), of the items that may be shown."""
    slate = decide(view, Ask(placement, store, 100, candidates=items), END)
    cards = view.shop.cards([chosen.place for chosen in slate.items])
    terms = [chosen.terms for chosen in slate.items]
    return {
        card["item_id"]: (one.offer and one.offer.offer_id, one.price, one.was)
        for card, one in zip(cards, terms, strict=True)
    }


def test_the_deepest_discount_that_keeps_its_floor_counts(view: View) -> None:
    assert shown(view, "item-00") == {"item-00": ("allowed", 90, 100)}
    assert shown(view, "item-11") == {"item-11": (None, 375, None)}


def test_an_offer_runs_from_its_start_until_before_its_end(view: View) -> None:
    assert shown(view, "item-06", "item-10") == {"item-06": (None, 250, None), "item-10": ("starts-now", 280, 350)}


def test_an_offer_counts_in_its_campaign_s_stores_and_while_there_is_a_budget(view: View) -> None:
    assert shown(view, "item-01", "item-05") == {"item-01": (None, 125, None), "item-05": (None, 225, None)}
    assert shown(view, "item-05", store="s2") == {"item-05": ("elsewhere", 180, 225)}


def test_the_shop_tells_cost_maker_brand_and_category_of_every_item(view: View) -> None:
    shop, places = view.shop, view.shop.positions(["item-00", "item-08"])
    assert shop.costs[places].tolist() == [60, UNKNOWN_PRICE]
    assert [shop.names["makers"][code] for code in shop.makers[places]] == ["maker-0", "maker-1"]
    assert [shop.names["brands"][code] for code in shop.brands[places]] == ["Meadow", "Harbour"]
    assert [shop.names["categories"][code] for code in shop.categories[places]] == ["DAIRY/MILK", "SNACKS/CHIPS"]
    unknown = shop.positions(["item-13"])
    assert shop.makers[unknown] == shop.brands[unknown] == shop.categories[unknown] == -1


def test_age_restricted_items_are_for_the_phone_alone(view: View) -> None:
    assert shown(view, "item-02") and not shown(view, "item-02", placement="checkout")
    for placement in ("entrance", "aisle", "checkout"):
        slate = decide(view, Ask(placement, "s1", 60), END)
        assert not {"BAKERY/BREAD"} & {card["category"] for card in view.shop.cards([one.place for one in slate.items])}


def test_sensitive_items_are_never_shown_to_a_known_shopper(view: View) -> None:
    assert decide(view, Ask("aisle", "s1", 1, candidates=["item-03"]), END).items
    assert not decide(view, Ask("aisle", "s1", 1, "shopper-01", candidates=["item-03"]), END).items


def test_when_best_sellers_are_used_up_whatever_the_store_has_fills_the_slate(view: View) -> None:
    sold = [item for item in ITEMS if item != NEVER_SOLD]
    assert decide(view, Ask("phone", "s1", 5, exclude=sold), END).fallback == "nothing_allowed"  # it is FUEL
    slate = decide(view, Ask("phone", "s1", 100), END, policy=PolicySettings(maker_cap=100))
    stocked = {item for number, item in enumerate(ITEMS) if item != SOLD_OUT and number % 5 != 4}
    assert {card["item_id"] for card in view.shop.cards([one.place for one in slate.items])} == stocked
    assert slate.fallback in fallbacks()


def test_a_store_without_a_row_of_stock_gets_an_empty_slate_and_the_reason(view: View) -> None:
    slate = decide(view, Ask("aisle", "nowhere", 5), END)
    assert (slate.items, slate.fallback) == ((), "nothing_allowed")


@given(price=st.integers(0, 10**9), discount=st.integers(0, 10_000).map(lambda part: part / 10_000))
def test_a_discount_is_exact_in_minor_units_with_half_rounded_up(price: int, discount: float) -> None:
    exact = Decimal(price) * (1 - Decimal(str(discount)))
    assert discounted(price, discount) == int(exact.quantize(Decimal(1), ROUND_HALF_UP))
    assert 0 <= discounted(price, discount) <= price


@pytest.mark.parametrize(
    ("amount", "currency", "minor"),
    [(1.005, "USD", 101), (0.1 + 0.2, "EUR", 30), (499.5, "JPY", 500), (1.5, "KWD", 1500)],
)
def test_money_becomes_minor_units_of_its_currency(amount: float, currency: str, minor: int) -> None:
    assert minor_units(amount, currency) == minor


def test_only_a_probable_shopper_is_served_as_such() -> None:
    assert probable([("a", 0.1), ("b", 0.8)]) == "b"
    assert probable([("a", 0.79), ("b", 0.2)]) is None and probable([]) is None


def test_a_claim_opens_with_its_own_key_only_and_shows_nobody(view: View) -> None:
    claims, token = Claims(b"k" * 32), Claims(b"k" * 32).seal(CLAIM)
    assert claims.open(token) == CLAIM
    assert Claims(b"o" * 32).open(token) is None
    assert "shopper" not in token and claims.seal(CLAIM) != token


@given(place=st.integers(0, 10**6), sign=st.characters(codec="ascii"))
def test_a_claim_in_any_other_spelling_opens_nothing(place: int, sign: str) -> None:
    claims = Claims(b"k" * 32)
    token = claims.seal(CLAIM)
    place %= len(token)
    for other in (token[:place] + sign + token[place + 1 :], token[:place] + sign + token[place:], token[:place]):
        assert other == token or claims.open(other) is None


def test_candidates_are_packed_into_eight_bytes_each_and_come_back_the_same() -> None:
    codes = np.arange(len(REASONS), dtype=np.uint8)
    items = np.linspace(0, (1 << 28) - 1, len(codes)).astype(np.int32)
    scores = np.linspace(-1e30, 1e30, len(codes)).astype(np.float32)
    packed = pack(Ranked(items, scores, codes))
    back = unpack(packed)
    assert len(packed) == 8 * len(codes) and len(REASONS) <= 16
    assert (back.items == items).all() and (back.scores == scores).all() and (back.reasons == codes).all()
    assert back.odds is None and len(unpack(pack(NOBODY))) == 0


@given(count=st.integers(0, 9))
def test_odds_take_ten_bytes_more_and_come_back_the_same(count: int) -> None:
    odds = np.linspace(-9, 9, count * ODDS).astype(np.float16).reshape(count, ODDS)
    odds[1::3] = np.nan
    items, scores, codes = np.arange(count, dtype=np.int32), np.ones(count, np.float32), np.full(count, 3, np.uint8)
    packed = pack(Ranked(items, scores, codes, odds))
    back = unpack(packed)
    assert len(packed) == 18 * count + 1 and back.odds is not None and back.odds.shape == (count, ODDS)
    assert (back.items == items).all() and (back.scores == scores).all() and (back.reasons == codes).all()
    assert np.array_equal(back.odds, odds, equal_nan=True)
    part = back.take(items % 2 == 0)
    assert (
        part.odds is not None and np.array_equal(part.odds, odds[::2], equal_nan=True) and len(part) == -(-count // 2)
    )


def test_what_was_packed_before_a_discount_told_of_other_goods_is_read_as_it_was_meant() -> None:
    odds = np.arange(8, dtype=np.float16).reshape(2, 4)
    plain = pack(Ranked(np.arange(2, dtype=np.int32), np.ones(2, np.float32), np.zeros(2, np.uint8)))
    back = unpack(plain + odds.astype("<f2").tobytes() + b"\x01")
    assert len(back) == 2 and back.odds is not None and np.array_equal(back.odds[:, :4], odds)
    assert back.odds.shape == (2, ODDS) and (back.odds[:, 4] == 0).all()


def test_a_damaged_shop_is_refused_and_built_anew_from_the_lake(folder: Path, tmp_path: Path) -> None:
    from pipelines.signals.lake.lake import Lake

    settings = ingest_shop(folder, tmp_path / "home")
    name = snapshot.current(settings.paths, "shop")
    assert name is not None
    file = settings.paths.snapshots / "shop" / name / "places.json"
    file.write_text(file.read_text() + " ")
    with pytest.raises(FacingsError, match=r"places\.json is damaged; ingest again"):
        snapshot.check(settings.paths, "shop", name)
    now = datetime.now(UTC)
    assert snapshot.refresh_shop(settings.paths, Lake(settings.paths), settings, now=now, progress=print) == name
    assert snapshot.check(settings.paths, "shop", name)["has_stock"]
    assert not list((settings.paths.snapshots / "shop").glob(".draft-*"))
