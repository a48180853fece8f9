"""The offers of a shop as one array: looked up for many items at once as one by one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipelines.offers.running import running
from pipelines.shop_offers import UNKNOWN_PRICE, ShopOffers, discounted, pack_offers

NOW = datetime(2026, 6, 1, tzinfo=UTC)
MOMENT = int(NOW.timestamp()) * 1_000_000

times = st.none() | st.integers(-2, 2).map(lambda hours: MOMENT + hours * 3_600_000_000)
rows = st.lists(
    st.fixed_dictionaries(
        {
            "place": st.integers(0, 5),
            "offer_id": st.sampled_from(["a", "b", "c"]),
            "campaign_id": st.none() | st.sampled_from(["x", "y"]),
            "discount": st.none() | st.sampled_from([0.0, 0.1, 0.25, 0.5]),
            "floor": st.none() | st.integers(0, 200),
            "stores": st.none() | st.sampled_from([["s1"], ["s2", "s3"]]),
            "starts": times,
            "ends": times,
        }
    ),
    max_size=20,
).map(lambda made: sorted(made, key=lambda row: (row["place"], -(row["discount"] or -1.0), row["offer_id"])))


@given(rows=rows, store=st.sampled_from([None, "s1", "s2"]), prices=st.lists(
    st.just(UNKNOWN_PRICE) | st.integers(0, 300), min_size=6, max_size=6), asked=st.permutations(range(6)))  # fmt: skip
def test_what_runs_is_found_for_many_items_as_for_each(rows: list[dict[str, Any]], store: str | None,
                                                       prices: list[int], asked: list[int]) -> None:  # fmt: skip
    offers = ShopOffers(*pack_offers(rows, np.array(prices)))
    at, found = running(offers, np.array(asked[:4], np.int32), NOW, store)
    expected = []
    for index, item in enumerate(asked[:4]):
        for number, row in enumerate(rows):
            base, part = prices[item], row["discount"] or 0.0
            price = base if base == UNKNOWN_PRICE else discounted(base, float(str(part)))
            floor = row["floor"]
            holds = floor is None or (base != UNKNOWN_PRICE and price >= floor)
            if holds and row["place"] == item and offers.offer(number).runs(NOW, store):
                expected.append((index, number))
                assert offers.rows[number]["price"] == price
    assert list(zip(at.tolist(), found.tolist(), strict=True)) == expected


def test_a_row_is_told_by_its_names() -> None:
    row = {"place": 3, "offer_id": "a", "campaign_id": None, "discount": None, "floor": None, "stores": ["s1"],
           "starts": MOMENT, "ends": None}  # fmt: skip
    offers = ShopOffers(*pack_offers([row], np.zeros(4, np.int64)))
    one = offers.offer(0)
    assert (one.offer_id, one.campaign_id, one.discount, one.floor, one.stores) == ("a", None, None, None, ("s1",))
    assert one.runs(NOW, "s1") and not one.runs(NOW - timedelta(microseconds=1), "s1") and not one.runs(NOW, None)
