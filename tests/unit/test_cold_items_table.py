"""The table of cold items on a shop that can be counted by hand."""

from __future__ import annotations

import pandas as pd
import pytest

from pipelines.training.published import cold_items
from pipelines.training.published.cold_items import Month, month_of
from pipelines.training.published.journey_tables import Tables

CUT, END = pd.Timestamp("2017-11-01", tz="UTC"), pd.Timestamp("2017-12-01", tz="UTC")


def tables() -> Tables:
    """Tea of two types and makers, and soap; only t1, t2 and s1 were sold before November."""
    items = [
        ("t1", "FOOD/TEA/GREEN", "m1"),
        ("t2", "FOOD/TEA/BLACK", "m2"),
        ("t3", "FOOD/TEA/BLACK", "m2"),
        ("t4", "FOOD/TEA/GREEN", "m1"),
        ("t5", "FOOD/TEA/BLACK", "m1"),
        ("s1", "HOME/SOAP/BAR", "m3"),
        ("s2", "HOME/SOAP/BAR", "m3"),
        ("x", None, None),
    ]
    rows = [("a", "t1", -9), ("a", "t2", -3), ("b", "t2", -2), ("b", "s1", -40)]
    rows += [("a", "t3", 0), ("a", "t3", 4), ("a", "t1", 5), ("b", "s2", 6), ("b", "t4", 7), ("b", "t5", 30)]
    return Tables(
        rows=pd.DataFrame(
            [(who, what, CUT + pd.Timedelta(days=day), f"{who}{day}", "s", 1.0, 1.0) for who, what, day in rows],
            columns=["shopper_id", "item_id", "event_time", "basket_id", "store_id", "quantity", "price"],
        ),
        items=pd.DataFrame(items, columns=["item_id", "category", "maker_id"]),
        shoppers=pd.DataFrame({"shopper_id": ["a", "b"]}),
    )


@pytest.fixture
def november() -> Month:
    return month_of(tables(), "november", CUT, END)


def test_cold_is_what_nobody_bought_before_and_all_of_the_category_s_is_ranked(november: Month) -> None:
    assert list(november.asked()) == [("FOOD/TEA", ["a", "b"], ["t3", "t4", "t5"]), ("HOME/SOAP", ["b"], ["s2"])]
    # A row of exactly the first moment is judged, one of exactly the end is not; what was bought twice counts once.
    assert november.truth[["shopper_id", "item_id"]].to_numpy().tolist() == [["a", "t3"], ["b", "s2"], ["b", "t4"]]


def test_an_item_is_as_popular_as_its_type_and_then_as_its_maker_there(november: Month) -> None:
    lists = cold_items.popular_lists(november)
    tea = lists[(lists["category"] == "FOOD/TEA") & (lists["shopper_id"] == "a")]
    assert tea["item_id"].tolist() == ["t3", "t5", "t4"]  # black tea sold twice, green once; m2's black tea twice


def test_recall_counts_what_the_first_places_hold_of_all_that_a_household_bought(
    november: Month, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cold_items, "DEPTHS", (1, 3))
    found = cold_items._judged([cold_items.popular_lists(november)], [november]).set_index("shopper_id")
    assert found["recall@1"].to_dict() == {"a": 1.0, "b": 0.5} and found["recall@3"].to_dict() == {"a": 1.0, "b": 1.0}
    chance = {figure.metric: figure.ours for figure in cold_items._expected({"november": [november]})}
    assert chance == {"recall@1": pytest.approx((1 / 3 + (1 + 1 / 3) / 2) / 2), "recall@3": 1.0}


def test_lists_are_written_one_for_each_household_month_and_category(november: Month) -> None:
    written = cold_items._written({"popular": cold_items.popular_lists(november)}, pd.Series({"t3": "0003"}))
    assert set(written["setting"]) == {"november FOOD/TEA", "november HOME/SOAP"}
    assert not written.duplicated(["recipe", "setting", "user", "rank"]).any()
    assert (written.loc[written["setting"] == "november FOOD/TEA", "item"].dropna() == "3").all()


def test_items_are_renamed_one_to_one_and_nothing_else_changes() -> None:
    own = tables()
    new, numbers = cold_items.renamed(own)
    assert numbers.is_unique and numbers.index.is_unique
    assert new.items["item_id"].map(numbers).tolist() == own.items["item_id"].tolist() != new.items["item_id"].tolist()
    assert new.rows["item_id"].map(numbers).tolist() == own.rows["item_id"].tolist()
    assert not (new.items["item_id"].rank() == own.items["item_id"].rank()).all()
