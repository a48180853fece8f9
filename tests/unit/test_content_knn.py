"""Content kNN against its formula, written down densely; what is known by content alone, and what by nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models.content.vectors import content_vectors
from models.dataset import Dataset
from models.reasons import Reason
from models.registry import create, load

AS_OF = pd.Timestamp("2024-03-01", tz="UTC")
ITEMS = pd.DataFrame(
    [
        ("milk", "FOOD/DAIRY", "Meadow", "whole milk"),
        ("cream", "FOOD/DAIRY", "Meadow", "single cream"),
        ("bread", "FOOD/BAKERY", "Oakfield", "rye bread"),
        ("new-milk", "FOOD/DAIRY", "Meadow", "oat milk"),
        ("new-bread", "FOOD/BAKERY", "Oakfield", "seed bread"),
        ("blank", None, None, None),
    ],
    columns=["item_id", "category", "brand", "title"],
)


def shop() -> Dataset:
    rows = [("dairy", "milk", 3), ("dairy", "milk", 2), ("dairy", "cream", 1), ("baker", "bread", 4)]
    return Dataset.build(
        pd.DataFrame(
            [(who, what, AS_OF - pd.Timedelta(days=age)) for who, what, age in rows],
            columns=["shopper_id", "item_id", "event_time"],
        ),
        items=ITEMS,
        as_of=AS_OF,
        item_content=["category", "brand", "title"],
    )


def test_it_sums_the_cosines_to_the_shopper_s_items_weighted_by_how_often_they_were_bought() -> None:
    dataset = shop()
    model = create("content_knn", {"counts": "log"}).fit(dataset)
    vectors = content_vectors(dataset, text_columns=["title"]).toarray()
    held = np.log1p(dataset.matrix().toarray())
    known = np.flatnonzero(ITEMS.set_index("item_id")["category"].reindex(dataset.item_ids).notna())
    expected = held @ (vectors @ vectors.T)
    np.testing.assert_allclose(model._score(np.arange(2))[:, known], expected[:, known], atol=1e-6)


def test_a_vector_has_length_one_and_what_is_rare_weighs_more() -> None:
    vectors = content_vectors(shop()).toarray()
    lengths = np.linalg.norm(vectors, axis=1)
    np.testing.assert_allclose(lengths[lengths > 0], 1, rtol=1e-6)
    assert (lengths == 0).sum() == 1  # nothing is known of "blank"
    bread = shop().item_ids.get_loc("bread")
    values = vectors[bread][vectors[bread] > 0]
    assert len(np.unique(values.round(6))) > 1


def test_what_nobody_bought_is_ranked_by_its_content_and_what_says_nothing_comes_last() -> None:
    lists = create("content_knn").fit(shop()).recommend(["dairy", "baker"], 10, new_only=True)
    order = lists.groupby("shopper_id")["item_id"].agg(list)
    assert order["dairy"].index("new-milk") < order["dairy"].index("new-bread")
    assert order["baker"][0] == "new-bread"
    assert all(own[-1] == "blank" for own in order)
    assert (lists.loc[lists["item_id"] == "new-bread", "reason"] == Reason.SIMILAR_TASTE).all()


def test_it_ranks_the_same_after_it_was_saved(tmp_path: Path) -> None:
    model = create("content_knn").fit(shop())
    model.save(tmp_path)
    asked = ["dairy", "baker", "nobody"]
    pd.testing.assert_frame_equal(load(tmp_path).recommend(asked, 6), model.recommend(asked, 6))


def test_items_of_other_categories_are_not_alike_where_the_recipe_says_so() -> None:
    apart = content_vectors(shop(), text_columns=["title"], shared_levels=2)
    together = content_vectors(shop(), text_columns=["title"])
    ids = shop().item_ids
    one, same, other = (ids.get_loc(name) for name in ("milk", "new-milk", "bread"))
    likeness, freely = (apart @ apart.T).toarray(), (together @ together.T).toarray()
    assert likeness[one, same] == pytest.approx(freely[one, same])
    assert likeness[one, other] == 0 < freely[one, other]
