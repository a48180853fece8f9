"""Each feature against a value computed by hand."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pytest

from configs.errors import FacingsError
from features.content_affinity import content_affinity_features
from features.history import History
from features.item import item_features
from features.shopper import shopper_features
from features.shopper_item import shopper_item_features
from features.store_features import store_features
from features.tables import VIEWS
from features.topics import neighbourhood_topics, shopper_topics

AS_OF = pd.Timestamp("2024-06-01", tz="UTC")


def days_ago(days: float) -> pd.Timestamp:
    return AS_OF - pd.Timedelta(days=days)


def bought(shopper: str, item: str, days: float, basket: str, price: float = 1.0, **more: Any) -> dict[str, Any]:
    row = {"shopper_id": shopper, "item_id": item, "event_type": "purchase", "event_time": days_ago(days)}
    return {**row, "basket_id": basket, "store_id": "s", "quantity": 1.0, "price": price, "currency": "USD", **more}


ITEMS = pd.DataFrame(
    {
        "item_id": ["milk", "bread", "tea", "pen"],
        "category": ["food/dairy/milk", "food/bakery", "food/bakery", None],
    }
)
ROWS = pd.DataFrame(
    [
        bought("ann", "milk", 1, "b3", 2.0, quantity=3.0),
        bought("ann", "bread", 1, "b3", 4.0),
        bought("ann", "milk", 11, "b2", 2.0, campaign_id="c"),
        bought("ann", "pen", 41, "b1", 10.0),
        bought("bob", "tea", 100, "b4", 8.0),
        {"shopper_id": "ann", "item_id": "bread", "event_type": "redeem", "event_time": days_ago(0.9)},
        {"shopper_id": "cy", "item_id": "milk", "event_type": "view", "event_time": days_ago(2)},
    ]
)


def one(frame: pd.DataFrame, **keys: str) -> dict[str, Any]:
    for name, value in keys.items():
        frame = frame[frame[name] == value]
    assert len(frame) == 1
    return {str(name): value for name, value in frame.iloc[0].items()}


def test_a_shopper_is_described_by_what_they_bought() -> None:
    ann = one(shopper_features(ROWS, ITEMS, AS_OF), shopper_id="ann")
    assert ann["recency_days"] == 1
    assert ann["tenure_days"] == 41
    assert (ann["visits_30d"], ann["visits_90d"]) == (2, 3)
    assert ann["days_between_visits"] == (41 - 1) / 2
    assert ann["items_90d"] == 3
    assert (ann["spend_30d"], ann["spend_90d"]) == (3 * 2 + 4 + 2, 3 * 2 + 4 + 2 + 10)
    assert ann["basket_value_90d"] == 22 / 3
    assert (ann["top_category"], ann["top_category_share"]) == ("food/dairy", 2 / 3)
    # milk at its own typical price twice (1, 1); bread at 4 where bakery is typically (4 + 8) / 2 = 6.
    assert ann["price_level"] == 1.0
    # Two of four lines: the one with a campaign and the one redeemed that day.
    assert ann["promotion_share_90d"] == 2 / 4
    assert ann["redemptions_365d"] == 1


def test_a_window_without_purchases_is_zero_or_missing() -> None:
    bob = one(shopper_features(ROWS, ITEMS, AS_OF), shopper_id="bob")
    assert (bob["visits_90d"], bob["spend_90d"]) == (0, 0)
    assert math.isnan(bob["basket_value_90d"]) and math.isnan(bob["promotion_share_90d"])
    assert math.isnan(bob["days_between_visits"])
    assert bob["price_level"] == 8 / 6


def test_a_shopper_who_bought_nothing_has_no_row() -> None:
    assert sorted(shopper_features(ROWS, ITEMS, AS_OF)["shopper_id"]) == ["ann", "bob"]


def test_an_item_is_described_by_its_sales() -> None:
    frame = item_features(ROWS, ITEMS, AS_OF)
    milk, tea = one(frame, item_id="milk"), one(frame, item_id="tea")
    assert (milk["recency_days"], milk["age_days"]) == (1, 11)
    assert (milk["sales_7d"], milk["sales_30d"], milk["sales_90d"], milk["shoppers_90d"]) == (1, 2, 2, 1)
    assert (milk["spend_90d"], milk["unit_price"], milk["price_level"]) == (8, 2, 1)
    assert (milk["repeat_share"], milk["promotion_share_90d"]) == (1, 1 / 2)
    assert (tea["price_level"], tea["repeat_share"]) == (8 / 6, 0)


def test_a_store_is_described_by_its_takings_and_lines_without_a_store_are_left_out() -> None:
    rows = pd.concat([ROWS, pd.DataFrame([bought("dot", "pen", 3, "b9", store_id=None)])])
    frame = store_features(rows, ITEMS, AS_OF)
    assert list(frame["store_id"]) == ["s"]
    store = one(frame, store_id="s")
    assert (store["recency_days"], store["visits_30d"], store["shoppers_90d"], store["items_90d"]) == (1, 2, 1, 3)
    assert (store["spend_30d"], store["basket_value_30d"]) == (12, 6)
    assert (store["top_category"], store["top_category_share"]) == ("food/dairy", 2 / 3)


def test_a_pair_says_when_a_repeat_is_due() -> None:
    milk = one(shopper_item_features(ROWS, ITEMS, AS_OF), shopper_id="ann", item_id="milk")
    assert (milk["recency_days"], milk["visits_365d"], milk["spend_365d"]) == (1, 2, 8)
    assert milk["visit_share"] == 2 / 3
    assert (milk["gap_days"], milk["due_ratio"]) == (10, 1 / 10)
    assert (milk["price_level"], milk["promotion_share"]) == (1, 1 / 2)


def test_pairs_are_held_in_bounds_by_the_stated_rule() -> None:
    pairs = shopper_item_features(ROWS, ITEMS, AS_OF, within_days=30, most_items=1)
    assert pairs[["shopper_id", "item_id"]].to_numpy().tolist() == [["ann", "milk"]]
    assert "bob" not in set(shopper_item_features(ROWS, ITEMS, AS_OF)["shopper_id"])


def test_an_item_advertised_in_the_store_is_under_promotion() -> None:
    rows = ROWS[ROWS["event_type"] == "purchase"].drop(columns="campaign_id")
    advert = {"store_id": "s", "item_id": "bread", "starts": days_ago(1), "ends": days_ago(0.5)}
    over = {"store_id": "s", "item_id": "milk", "starts": days_ago(5), "ends": days_ago(1)}
    frame = shopper_features(rows, ITEMS, AS_OF, promotions=pd.DataFrame([advert, advert, over]))
    assert one(frame, shopper_id="ann")["promotion_share_90d"] == 1 / 4


def test_where_nothing_is_known_of_promotions_their_share_is_missing_not_zero() -> None:
    rows = ROWS[ROWS["event_type"] == "purchase"].drop(columns="campaign_id")
    assert shopper_features(rows, ITEMS, AS_OF)["promotion_share_90d"].isna().all()


def test_a_discount_counts_among_the_lines_whose_discount_is_known() -> None:
    rows = ROWS.assign(
        retail_disc=[0.5, 0.0, None, 0.0, None, None, None], coupon_disc=[0.0, 0.0, None, 1.0, None, None, None]
    )
    assert one(shopper_features(rows, ITEMS, AS_OF), shopper_id="ann")["discount_share_90d"] == 2 / 3
    assert one(item_features(rows, ITEMS, AS_OF), item_id="milk")["discount_share_90d"] == 1
    assert shopper_features(ROWS, ITEMS, AS_OF)["discount_share_90d"].isna().all()


def test_money_in_another_currency_is_not_added_up() -> None:
    rows = pd.concat([ROWS, pd.DataFrame([bought("ann", "milk", 2, "b7", 500.0, currency="JPY")])])
    ann = one(shopper_features(rows, ITEMS, AS_OF), shopper_id="ann")
    assert ann["spend_30d"] == 12
    assert ann["visits_30d"] == 3


def test_content_affinity_counts_tags_and_what_was_bought_after_seeing_it() -> None:
    contents = pd.DataFrame({"content_id": ["v1", "v2"], "tags": ["tea|cake", "tea"], "item_ids": ["milk|pen", None]})
    contents["duration_seconds"] = [60.0, None]
    views = pd.DataFrame(
        {
            "shopper_id": ["ann", "ann", "ann"],
            "content_id": ["v1", "v2", "v1"],
            "event_type": ["content_view", "view", "like"],
            "event_time": [days_ago(20), days_ago(40), days_ago(1)],
            "dwell_seconds": [30.0, 12.5, 99.0],
        }
    )
    ann = one(content_affinity_features(ROWS, contents, views, AS_OF), shopper_id="ann")
    assert (ann["content_recency_days"], ann["content_views_30d"], ann["content_dwell_90d"]) == (1, 1, 42.5)
    assert (ann["content_reactions_90d"], ann["content_completion_90d"]) == (1, 30 / 60)
    first = 0.5 * 0.5 ** (20 / 30) + 2 * 0.5 ** (1 / 30)  # half of v1 watched and a like of it
    second = 12.5 / 30 * 0.5 ** (40 / 30)  # of a content without a duration, thirty seconds are the whole
    assert ann["content_engagement"] == pytest.approx(first + second)
    assert (ann["content_topic_1"], ann["content_topic_2"], ann["content_topic_3"]) == ("tea", "cake", None)
    assert ann["content_topic_1_share"] == pytest.approx((first / 2 + second) / (first + second))
    assert ann["content_items_bought_90d"] == 1  # milk after it was shown; the pen was bought before


def test_what_was_watched_counts_the_same_as_an_interaction_and_once_where_it_stands_in_both() -> None:
    contents = pd.DataFrame({"content_id": ["v1", "v2"], "tags": ["tea|cake", "tea"], "item_ids": ["milk|pen", None]})
    views = pd.DataFrame(
        {
            "shopper_id": ["ann", "ann", "bob"],
            "content_id": ["v1", "v2", "v1"],
            "event_type": ["content_view", "like", "share"],
            "event_time": [days_ago(20), days_ago(40), days_ago(1)],
            "dwell_seconds": [30.0, None, None],
        }
    )
    told = pd.concat([ROWS, views.rename(columns={"content_id": "item_id"})], ignore_index=True)
    plain = content_affinity_features(ROWS, contents, views, AS_OF)
    pd.testing.assert_frame_equal(content_affinity_features(told, contents, views.iloc[:0], AS_OF), plain)
    pd.testing.assert_frame_equal(content_affinity_features(told, contents, views, AS_OF), plain)


def test_a_content_without_tags_stands_for_the_categories_of_the_items_it_names() -> None:
    contents = pd.DataFrame({"content_id": ["v"], "tags": [None], "item_ids": ["milk|pen|bread|tea"]})
    views = pd.DataFrame({"shopper_id": ["ann"], "content_id": ["v"], "event_type": ["view"]})
    views = views.assign(event_time=days_ago(3), dwell_seconds=20.0)
    with History(ROWS, ITEMS, contents=contents, content_views=views) as history:
        topics = shopper_topics(history, AS_OF)
    assert topics[["topic", "share"]].to_numpy().tolist() == [["food/bakery", 0.5], ["food/dairy", 0.5]]


def watched_by(tastes: dict[str, dict[str, int]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Shoppers of each store, so many of whom watched a content of one topic; and their home stores."""
    views, shoppers = [], []
    for store, topics in tastes.items():
        for topic, count in topics.items():
            names = [f"{store}-{topic}-{number}" for number in range(count)]
            shoppers += [{"shopper_id": name, "home_store_id": store} for name in names]
            views += [{"shopper_id": name, "content_id": topic, "event_time": days_ago(2)} for name in names]
    return pd.DataFrame(views).assign(event_type="view", dwell_seconds=20.0), pd.DataFrame(shoppers)


def topics_of(tastes: dict[str, dict[str, int]]) -> pd.DataFrame:
    views, shoppers = watched_by(tastes)
    contents = pd.DataFrame({"content_id": ["tea", "cake", "wine"], "tags": ["tea", "cake", "wine"]})
    with History(ROWS, ITEMS, contents=contents, content_views=views, shoppers=shoppers) as history:
        return neighbourhood_topics(history, AS_OF).set_index(["store_id", "topic"])


def test_a_neighbourhood_s_share_lies_between_its_own_and_the_chain_s() -> None:
    found = topics_of({"north": {"tea": 60, "cake": 40}, "south": {"tea": 20, "cake": 80}})
    assert found.loc[("north", "tea"), "watchers"] == 100 and found.loc[("north", "tea"), "shoppers"] == 60
    assert 0.4 < found.loc[("north", "tea"), "share"] < 0.6 and 0.2 < found.loc[("south", "tea"), "share"] < 0.4
    assert found.loc[("north", "tea"), "lift"] == pytest.approx(found.loc[("north", "tea"), "share"] / 0.4)
    few = topics_of({"north": {"tea": 6, "cake": 5}, "south": {"tea": 5, "cake": 6}})
    assert few["lift"].round(9).eq(1).all()  # differences that chance explains


def test_what_few_are_behind_is_not_told_of_a_neighbourhood() -> None:
    found = topics_of(
        {"north": {"tea": 30, "cake": 5, "wine": 4}, "south": {"tea": 20, "cake": 80}, "west": {"tea": 4}}
    )
    assert set(found.index.get_level_values("store_id")) == {"north", "south"}  # west has four watchers
    assert "wine" not in found.index.get_level_values("topic")
    more = topics_of({"north": {"tea": 60, "cake": 4}, "south": {"tea": 20, "cake": 80}})
    assert more.loc[("north", "cake"), "shoppers"] == 0 and more.loc[("north", "cake"), "lift"] == 1


def test_one_shopper_counts_as_one_however_much_they_watch() -> None:
    tastes = {"north": {"tea": 60, "cake": 40}, "south": {"tea": 20, "cake": 80}}
    views, shoppers = watched_by(tastes)
    glued = pd.concat([views, *[views[views["shopper_id"] == "north-cake-0"]] * 50])
    contents = pd.DataFrame({"content_id": ["tea", "cake"], "tags": ["tea", "cake"]})
    found = []
    for rows in (views, glued):
        with History(ROWS, ITEMS, contents=contents, content_views=rows, shoppers=shoppers) as history:
            found.append(neighbourhood_topics(history, AS_OF))
    pd.testing.assert_frame_equal(*found)


def test_every_frame_has_exactly_the_views_columns_and_dtypes() -> None:
    frames = {
        "shopper": shopper_features(ROWS, ITEMS, AS_OF),
        "item": item_features(ROWS, ITEMS, AS_OF),
        "store": store_features(ROWS, ITEMS, AS_OF),
        "shopper_item": shopper_item_features(ROWS, ITEMS, AS_OF),
        "content_affinity": content_affinity_features(ROWS, None, pd.DataFrame(), AS_OF),
    }
    for name, frame in frames.items():
        view = VIEWS[name]
        assert list(frame.columns) == view.columns
        for feature in view.features:
            assert frame[feature.name].dtype == ("float64" if feature.kind == "number" else "object")
        assert str(frame["event_timestamp"].dtype) == "datetime64[us, UTC]"
        assert (frame["created_timestamp"] == frame["event_timestamp"]).all()


def test_columns_that_a_shop_does_not_have_are_simply_unknown() -> None:
    bare = ROWS[["shopper_id", "item_id", "event_type", "event_time"]]
    ann = one(shopper_features(bare, None, AS_OF), shopper_id="ann")
    assert ann["visits_90d"] == 3  # three days
    assert ann["spend_90d"] == 0 and ann["top_category"] is None and math.isnan(ann["price_level"])


def test_a_missing_required_column_is_named() -> None:
    with pytest.raises(FacingsError, match="interactions has no column event_time"):
        shopper_features(ROWS.drop(columns="event_time"), ITEMS, AS_OF)


def test_an_item_listed_twice_is_refused_because_its_sales_would_count_twice() -> None:
    with pytest.raises(FacingsError, match="milk more than once"):
        shopper_features(ROWS, pd.concat([ITEMS, ITEMS.head(1)]), AS_OF)
