"""Evidence: for each reason a small shop where it must be told, and ones where it must not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from configs.errors import FacingsError
from models.dataset import Dataset
from models.explanation.evidence import Rules
from models.explanation.explain import Evidence
from models.reasons import Reason

AS_OF = pd.Timestamp("2024-06-01", tz="UTC")
COLUMNS = ["shopper_id", "item_id", "age", "basket_id", "store_id"]
# Small shops need small thresholds; those that a test is about stand in it.
RULES = {"item_gaps": 2, "together_baskets": 3, "together_shoppers": 2, "maker_purchases": 3, "store_purchases": 2}


def shop(*rows: tuple[Any, ...], items: pd.DataFrame | None = None, watched: list[Any] | None = None) -> Dataset:
    """Rows of shopper, item and age in days, then basket and store where the test needs them."""
    table = pd.DataFrame([(*row, *[None] * (5 - len(row))) for row in rows], columns=COLUMNS)
    table["event_time"] = AS_OF - pd.to_timedelta(table.pop("age").astype(float), unit="D")
    views, contents = None, None
    if watched is not None:
        views = pd.DataFrame(watched, columns=["shopper_id", "content_id", "item_id", "age"])
        views["event_time"] = AS_OF - pd.to_timedelta(views.pop("age").astype(float), unit="D")
        views = views.assign(event_type="content_view", engagement=1.0)
        contents = views.groupby("content_id", as_index=False)["item_id"].agg("|".join)
        contents = contents.rename(columns={"item_id": "item_ids"})
    return Dataset.build(table, items=items, as_of=AS_OF, watched=views, contents=contents)


def told(dataset: Dataset, shopper: str, item: str, **rules: float) -> tuple[str, str]:
    """The reason for showing an item to a shopper, and what it is about."""
    history = dataset.matrix().astype(bool)
    evidence = Evidence.learn(dataset, history, Rules(**{**RULES, **rules}))  # type: ignore[arg-type]
    row = np.array([dataset.shopper_ids.get_loc(shopper)])
    columns = np.array([[dataset.item_ids.get_loc(item), -1]])
    otherwise = np.full((1, 2), str(Reason.SIMILAR_TASTE), dtype=object)
    codes, about = evidence.reasons(history, dataset.item_ids, row, columns, otherwise)
    assert about[0, 1] == ""
    return codes[0, 0], about[0, 0]


# ---------------------------------------------------------------------- due again


def test_due_by_the_shopper_s_own_interval() -> None:
    rows = [("ann", "tea", age) for age in (9, 16, 23)]  # every seven days, nine days ago
    assert told(shop(*rows), "ann", "tea") == (Reason.DUE_AGAIN, "")


@pytest.mark.parametrize(("latest", "reason"), [(6, Reason.BOUGHT_BEFORE), (20, Reason.DUE_AGAIN)])
def test_what_was_just_bought_is_not_due(latest: int, reason: Reason) -> None:
    assert told(shop(*[("ann", "tea", latest + 7 * n) for n in range(3)]), "ann", "tea")[0] == reason


def test_what_a_shopper_gave_up_is_not_due() -> None:
    rows = [("ann", "tea", age) for age in (22, 29, 36)]
    assert told(shop(*rows), "ann", "tea", lapsed=3)[0] == Reason.BOUGHT_BEFORE


def test_an_item_bought_once_is_due_by_the_interval_of_all_shoppers() -> None:
    others = [(who, "tea", age) for who in ("bob", "cem") for age in (1, 11, 21)]
    assert told(shop(("ann", "tea", 12), *others), "ann", "tea")[0] == Reason.DUE_AGAIN
    assert told(shop(("ann", "tea", 9), *others), "ann", "tea")[0] == Reason.BOUGHT_BEFORE
    assert told(shop(("ann", "tea", 12), *others), "ann", "tea", item_gaps=5)[0] == Reason.BOUGHT_BEFORE


def test_a_shopper_s_own_interval_comes_before_that_of_the_others() -> None:
    others = [(who, "tea", age) for who in ("bob", "cem") for age in (1, 4, 7)]
    assert told(shop(*[("ann", "tea", age) for age in (10, 30, 50)], *others), "ann", "tea")[0] == Reason.BOUGHT_BEFORE


def test_two_purchases_on_one_day_are_no_interval() -> None:
    rows = [("ann", "tea", age) for age in (5.0, 5.1, 5.2, 5.3)]
    assert told(shop(*rows), "ann", "tea")[0] == Reason.BOUGHT_BEFORE


# ---------------------------------------------------------------------- goes with


def pairs(count: int, shoppers: int = 5, apart: int = 20) -> list[tuple[Any, ...]]:
    """Pasta and sauce in one basket so often, by so many shoppers; and baskets of other things."""
    rows = []
    for n in range(count):
        who = f"other{n % shoppers}"
        rows += [(who, "pasta", 30 + n, f"b{n}"), (who, "sauce", 30 + n, f"b{n}")]
    return rows + [(f"other{n % shoppers}", "soap", 3 + n, f"c{n}") for n in range(apart)]


def test_what_goes_with_a_late_purchase_names_it() -> None:
    assert told(shop(*pairs(5), ("ann", "pasta", 4, "a1")), "ann", "sauce") == (Reason.GOES_WITH, "pasta")


def test_it_does_not_go_with_what_was_bought_too_seldom_together_or_by_one_shopper_only() -> None:
    mine = ("ann", "pasta", 4, "a1")
    assert told(shop(*pairs(5), mine), "ann", "sauce", together_baskets=6)[0] == Reason.SIMILAR_TASTE
    assert told(shop(*pairs(5, shoppers=1), mine), "ann", "sauce")[0] == Reason.SIMILAR_TASTE


def test_it_does_not_go_with_what_is_together_no_more_than_by_chance() -> None:
    assert told(shop(*pairs(5, apart=0), ("ann", "pasta", 4, "a1")), "ann", "sauce")[0] == Reason.SIMILAR_TASTE


def test_it_does_not_go_with_a_purchase_of_long_ago() -> None:
    rows = [*pairs(5), ("ann", "pasta", 95, "a1")]
    assert told(shop(*rows), "ann", "sauce", recent_days=90)[0] == Reason.SIMILAR_TASTE
    assert told(shop(*rows), "ann", "sauce", recent_days=99)[0] == Reason.GOES_WITH


def test_of_two_partners_the_one_of_the_higher_lift_is_named() -> None:
    rows = pairs(5) + [(f"other{n % 3}", item, 50 + n, f"d{n}") for n in range(4) for item in ("basil", "sauce")]
    rows += [("ann", "pasta", 4, "a1"), ("ann", "basil", 4, "a2")]
    lift = {"pasta": 5 / (6 * 9), "basil": 4 / (5 * 9)}
    assert told(shop(*rows), "ann", "sauce") == (Reason.GOES_WITH, max(lift, key=lambda item: lift[item]))


# ---------------------------------------------------------------------- maker


def makers(**of: str) -> pd.DataFrame:
    return pd.DataFrame({"item_id": list(of), "maker_id": list(of.values()), "category": "FOOD"})


ITEMS = makers(tea="twig", mint="twig", soap="suds", foam="suds", salt="suds")


def test_a_maker_bought_often_and_more_than_by_others_is_named() -> None:
    rows = [("ann", "tea", n) for n in (1, 2, 3)] + [("bob", "soap", n) for n in (1, 2, 3)]
    assert told(shop(*rows, items=ITEMS), "ann", "mint") == (Reason.MAKER_YOU_LIKE, "twig")
    assert told(shop(*rows, items=ITEMS), "ann", "foam")[0] == Reason.SIMILAR_TASTE
    assert told(shop(*rows, items=ITEMS), "ann", "mint", maker_purchases=4)[0] == Reason.SIMILAR_TASTE


def test_a_maker_that_everybody_buys_is_no_reason() -> None:
    rows = [(who, "tea", n) for n in (1, 2, 3) for who in ("ann", "bob")]
    assert told(shop(*rows, items=ITEMS), "ann", "mint")[0] == Reason.SIMILAR_TASTE


def test_a_shopper_alone_likes_no_maker_more_than_others() -> None:
    assert told(shop(*[("ann", "tea", n) for n in (1, 2, 3)], items=ITEMS), "ann", "mint")[0] == Reason.SIMILAR_TASTE


def test_an_item_without_a_maker_has_none_to_like() -> None:
    items = pd.DataFrame({"item_id": ["tea", "mint"], "maker_id": [None, None]})
    rows = [("ann", "tea", n) for n in (1, 2, 3)] + [("bob", "soap", 1)]
    assert told(shop(*rows, items=items), "ann", "mint")[0] == Reason.SIMILAR_TASTE


# ---------------------------------------------------------------------- new in a category


def catalogue(**seen: float) -> pd.DataFrame:
    """Teas first seen so many days ago (NaN: not known), and soap."""
    items = pd.DataFrame({"item_id": list(seen), "category": "FOOD/TEA"})
    items["first_seen"] = AS_OF - pd.to_timedelta(pd.Series(list(seen.values()), dtype=float), unit="D")
    items.loc[items["item_id"] == "soap", "category"] = "CARE/SOAP"
    return items


def test_a_new_item_of_a_category_that_the_shopper_buys_names_the_category() -> None:
    items = catalogue(tea=200, mint=10, old=60, soap=10)
    rows = [("ann", "tea", 50), ("ann", "tea", 40)]
    assert told(shop(*rows, items=items), "ann", "mint") == (Reason.NEW_IN_CATEGORY, "FOOD/TEA")
    assert told(shop(*rows, items=items), "ann", "old")[0] == Reason.SIMILAR_TASTE
    assert told(shop(*rows, items=items), "ann", "soap")[0] == Reason.SIMILAR_TASTE
    assert told(shop(*rows, items=items), "ann", "mint", category_purchases=3)[0] == Reason.SIMILAR_TASTE


def test_an_item_sold_before_the_catalogue_first_saw_it_is_not_new() -> None:
    rows = [("ann", "tea", 50), ("ann", "tea", 40), ("bob", "mint", 80)]
    assert told(shop(*rows, items=catalogue(tea=200, mint=10)), "ann", "mint")[0] == Reason.SIMILAR_TASTE


def test_a_first_sale_is_new_only_where_the_data_reach_back_far_enough() -> None:
    items = catalogue(tea=200, mint=np.nan)
    rows = [("ann", "tea", 15), ("ann", "tea", 14), ("bob", "mint", 10)]
    assert told(shop(*rows, items=items), "ann", "mint", new_days=42)[0] == Reason.SIMILAR_TASTE
    long = [*rows, ("bob", "tea", 52)]
    assert told(shop(*long, items=items), "ann", "mint", new_days=42)[0] == Reason.NEW_IN_CATEGORY


def test_a_first_sight_still_to_come_makes_nothing_new() -> None:
    rows = [("ann", "tea", 50), ("ann", "tea", 40)]
    assert told(shop(*rows, items=catalogue(tea=200, mint=-5)), "ann", "mint")[0] == Reason.SIMILAR_TASTE


# ---------------------------------------------------------------------- store


def test_what_sells_best_in_the_store_of_most_visits_names_the_store() -> None:
    rows: list[tuple[Any, ...]] = [("ann", "salt", 1, None, "north"), ("ann", "salt", 2, None, "north")]
    rows += [("ann", "salt", 3.0 + n / 100, None, "south") for n in range(5)]  # one day, many rows
    rows += [("bob", "tea", 5, None, "north"), ("cem", "tea", 6, None, "north")]
    rows += [("bob", "soap", 5, None, "south"), ("cem", "soap", 6, None, "south")]
    assert told(shop(*rows), "ann", "tea") == (Reason.POPULAR_IN_STORE, "north")
    assert told(shop(*rows), "ann", "soap")[0] == Reason.SIMILAR_TASTE
    assert told(shop(*rows), "ann", "tea", store_purchases=3)[0] == Reason.SIMILAR_TASTE
    assert told(shop(*rows), "ann", "tea", recent_days=4)[0] == Reason.SIMILAR_TASTE
    assert (
        told(shop(*rows), "ann", "tea", store_items=1)[0] == Reason.SIMILAR_TASTE
    )  # salt sells as well, and comes first


# ---------------------------------------------------------------------- watched


def test_a_content_watched_of_late_is_named_the_latest_first() -> None:
    views = [("ann", "film-1", "pan", 9), ("ann", "film-2", "pan", 5), ("bob", "film-3", "pan", 1)]
    views += [("ann", "film-4", "no-such-item", 1), ("nobody", "film-1", "pan", 1), ("ann", "film-5", "pot", 95)]
    views += [("cem", "film-6", "tea", 3)]
    dataset = shop(("ann", "tea", 1), ("cem", "pan", 1), ("bob", "pan", 1), ("bob", "pot", 1), watched=views)
    assert told(dataset, "ann", "pan") == (Reason.WATCHED, "film-2")
    assert told(dataset, "ann", "pot")[0] == Reason.SIMILAR_TASTE
    assert told(dataset, "bob", "tea")[0] == Reason.SIMILAR_TASTE
    assert told(dataset, "cem", "tea") == (Reason.WATCHED, "film-6")


# ---------------------------------------------------------------------- order, keeping


def test_a_repeat_is_told_as_one_whatever_else_is_true() -> None:
    dataset = shop(*pairs(5), ("ann", "pasta", 4, "a1"), ("ann", "sauce", 4, "a2"), watched=[("ann", "f", "sauce", 1)])
    assert told(dataset, "ann", "sauce") == (Reason.BOUGHT_BEFORE, "")


def test_watched_comes_before_goes_with_and_that_before_the_maker() -> None:
    items = makers(pasta="twig", sauce="twig", soap="suds")
    rows = [*pairs(5), *[("ann", "pasta", 4 + n, f"a{n}") for n in range(9)]]
    watched = [("ann", "film", "sauce", 1)]
    assert told(shop(*rows, items=items, watched=watched), "ann", "sauce")[0] == Reason.WATCHED
    assert told(shop(*rows, items=items), "ann", "sauce")[0] == Reason.GOES_WITH
    assert told(shop(*rows, items=items), "ann", "sauce", lift=50)[0] == Reason.MAKER_YOU_LIKE


def test_a_forgotten_shopper_s_evidence_is_gone_and_that_of_the_others_stays() -> None:
    rows = [("ann", "tea", n) for n in (1, 2, 3)] + [("bob", "soap", n, None, "north") for n in (8, 15, 22)]
    dataset = shop(*rows, ("cem", "foam", 1), items=ITEMS, watched=[("ann", "film", "foam", 1), ("bob", "b", "tea", 1)])
    history = dataset.matrix().astype(bool)
    evidence = Evidence.learn(dataset, history, Rules(**RULES))  # type: ignore[arg-type]
    columns = np.tile(np.arange(len(dataset.items)), (2, 1))
    otherwise = np.full(columns.shape, str(Reason.POPULAR), dtype=object)
    before = evidence.reasons(history, dataset.item_ids, np.array([1, 2]), columns, otherwise)
    evidence.keep_shoppers(np.array([1, 2]), history)
    again = Evidence.restore(evidence.state())
    after = again.reasons(history[[1, 2]], dataset.item_ids, np.array([0, 1]), columns, otherwise)
    np.testing.assert_array_equal(before, after)
    per_shopper = ("liked_indptr", "bought_indptr", "watched_indptr", "store_of")
    sizes = {name: len(evidence.state("")[name]) for name in per_shopper}
    assert sizes == {"liked_indptr": 3, "bought_indptr": 3, "watched_indptr": 3, "store_of": 2}
    assert len(evidence.state("")["flags"]) == history[[1, 2]].nnz


def test_a_model_without_evidence_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(FacingsError, match="train again"):
        Evidence.restore({"trend": np.zeros(1)})
