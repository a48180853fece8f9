"""No path of the decision breaks a hard rule, whatever the shop holds and whatever is asked; and it always answers."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.offers.decide import Ask, decide
from pipelines.offers.eligibility import PLACEMENTS
from pipelines.offers.view import View, open_view
from tests.serving_town import ingest_shop, publish_slates
from tests.small_shop import END

ITEMS = [f"i{number}" for number in range(12)]
STORES = ["north", "south"]
SHOPPERS = ["ann", "bob", "eve"]

shops = st.fixed_dictionaries(
    {
        "bought": st.lists(
            st.tuples(*map(st.sampled_from, (SHOPPERS, ITEMS, STORES))), min_size=1, max_size=30
        ),
        "age_restricted": st.sets(st.sampled_from(ITEMS)),
        "sensitive": st.sets(st.sampled_from(ITEMS)),
        "fuel": st.sets(st.sampled_from(ITEMS)),
        "stock": st.none() | st.lists(
            st.tuples(st.sampled_from(STORES), st.sampled_from(ITEMS), st.integers(0, 3)),
            min_size=1, max_size=20, unique_by=lambda row: row[:2],
        ),
        "offers": st.lists(
            st.tuples(st.sampled_from(ITEMS), st.floats(0.01, 0.9), st.integers(-5, 5), st.integers(0, 5),
                      st.none() | st.floats(0, 3)),
            max_size=8, unique_by=lambda row: row[0],
        ),
    }
)  # fmt: skip
asks = st.builds(
    Ask,
    placement=st.sampled_from(PLACEMENTS),
    store_id=st.none() | st.sampled_from(STORES),
    count=st.integers(1, 15),
    shopper_id=st.none() | st.sampled_from([*SHOPPERS, "stranger"]),
    exclude=st.lists(st.sampled_from([*ITEMS, "unknown"]), max_size=4),
    candidates=st.none() | st.lists(st.sampled_from([*ITEMS, "unknown"]), max_size=6),
    categories=st.sampled_from([(), ("FOOD",), ("FOOD/SWEET", "FUEL")]),
)


@contextmanager
def opened(shop: dict[str, Any]) -> Iterator[View]:
    """The shop, ingested and with a champion's slates."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "shop").mkdir()
        for name, table in tables(shop).items():
            table.write_parquet(root / "shop" / f"{name}.parquet")
        chain = ingest_shop(root / "shop", root / "home")
        publish_slates(chain)
        view = open_view(chain.paths)
        assert view is not None
        try:
            yield view
        finally:
            view.close()


def tables(shop: dict[str, Any]) -> dict[str, pl.DataFrame]:
    made = {
        "interactions": pl.DataFrame(
            [
                {"shopper_id": who, "item_id": item, "store_id": store, "event_type": "purchase",
                 "event_time": END - timedelta(days=1, seconds=place), "event_id": str(place)}
                for place, (who, item, store) in enumerate(shop["bought"])
            ]
        ),
        "items": pl.DataFrame(
            [
                {"item_id": item, "price": 2.0, "category": "FUEL/X" if item in shop["fuel"] else "FOOD/X",
                 "age_restricted": item in shop["age_restricted"], "sensitive": item in shop["sensitive"]}
                for item in ITEMS
            ]
        ),
        "stores": pl.DataFrame({"store_id": STORES}),
    }  # fmt: skip
    if shop["stock"] is not None:
        made["stock"] = pl.DataFrame(
            [
                {"store_id": s, "item_id": i, "units": float(n), "as_of": END - timedelta(days=1)}
                for s, i, n in shop["stock"]
            ]
        )
    if shop["offers"]:
        made["offers"] = pl.DataFrame(
            [
                {"offer_id": f"o-{item}", "item_id": item, "discount": discount, "floor_price": floor,
                 "starts": END + timedelta(days=starts), "ends": END + timedelta(days=starts + length)}
                for item, discount, starts, length, floor in shop["offers"]
            ],
            schema_overrides={"floor_price": pl.Float64},
        )  # fmt: skip
    return made


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(shop=shops, questions=st.lists(asks, min_size=5, max_size=15))
def test_no_slate_on_any_path_breaks_a_hard_rule(shop: dict[str, Any], questions: list[Ask]) -> None:
    terms = {item: (starts, starts + length, floor) for item, _, starts, length, floor in shop["offers"]}
    with opened(shop) as view:
        for ask in questions:
            slate = decide(view, ask, END)
            shown = [card["item_id"] for card in view.shop.cards([chosen.place for chosen in slate.items])]
            assert len(shown) == len(set(shown)) <= ask.count
            assert bool(shown) or slate.fallback is not None, "an empty slate says why"
            assert not set(shown) & (set(ask.exclude) | shop["fuel"])
            if ask.placement != "phone":
                assert not set(shown) & shop["age_restricted"]
            if ask.shopper_id is not None:
                assert not set(shown) & shop["sensitive"]
            if ask.candidates is not None:
                assert set(shown) <= set(ask.candidates)
            if shop["stock"] is not None and ask.store_id is not None:
                assert set(shown) <= {
                    item for store, item, units in shop["stock"] if store == ask.store_id and units > 0
                }
            for item, chosen in zip(shown, slate.items, strict=True):
                if chosen.terms.offer is not None:
                    starts, ends, floor = terms[item]
                    assert starts <= 0 < ends, "an offer that does not run"
                    assert chosen.terms.price is not None and chosen.terms.price >= round((floor or 0) * 100)
                    assert chosen.terms.was == 200 >= chosen.terms.price
