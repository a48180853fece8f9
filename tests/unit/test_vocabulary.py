"""Content as features: what a vocabulary learns and how it maps rows it has never seen; what a profile keeps."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import sparse

from models.content.vocabulary import Vocabulary
from models.dataset import Dataset
from models.purchases.profiles import over_represented, visits

ITEMS = pd.DataFrame(
    {
        "category": ["FOOD/CHEESE/GOUDA", "FOOD/CHEESE/BRIE", "FOOD/BREAD", None],
        "brand": ["own", "own", "other", "own"],
        "price": [1.0, 2.0, 3.0, np.nan],
    }
)


def test_a_category_path_gives_one_feature_for_each_prefix() -> None:
    vocabulary = Vocabulary.learn(ITEMS, ["category"])
    assert vocabulary.columns[0].values == (
        "FOOD", "FOOD/BREAD", "FOOD/CHEESE", "FOOD/CHEESE/BRIE", "FOOD/CHEESE/GOUDA",
    )  # fmt: skip
    expected = [[1, 0, 1, 0, 1], [1, 0, 1, 1, 0], [1, 1, 0, 0, 0], [0, 0, 0, 0, 0]]
    np.testing.assert_array_equal(vocabulary.encode(ITEMS).toarray(), expected)


def test_a_slash_in_another_column_is_only_text() -> None:
    sizes = pd.DataFrame({"size": ["1/2 LB", "1/2 LB", "16 OZ"]})
    assert Vocabulary.learn(sizes, ["size"]).columns[0].values == ("1/2 LB", "16 OZ")


def test_rare_values_are_no_features() -> None:
    assert Vocabulary.learn(ITEMS, ["brand", "category"], minimum=2).columns[1].values == ("FOOD", "FOOD/CHEESE")


def test_numbers_fall_into_buckets_of_their_quantiles_and_outside_ones_into_the_last() -> None:
    vocabulary = Vocabulary.learn(pd.DataFrame({"price": np.arange(100.0)}), ["price"], buckets=4)
    assert vocabulary.columns[0].bounds == (24.75, 49.5, 74.25)
    asked = pd.DataFrame({"price": [-5.0, 49.5, 1e9, None]})
    np.testing.assert_array_equal(
        vocabulary.encode(asked).toarray(), [[1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]]
    )


def test_a_column_of_equal_numbers_is_no_failure() -> None:
    vocabulary = Vocabulary.learn(pd.DataFrame({"price": [2.0, 2.0]}), ["price"])
    assert vocabulary.encode(pd.DataFrame({"price": [1.0, 2.0, 3.0]})).toarray().sum(axis=1).tolist() == [1, 1, 1]


def test_a_number_that_is_none_or_infinite_is_missing() -> None:
    broken = pd.DataFrame({"price": [np.nan, np.inf, -np.inf, *np.arange(100.0)]})
    vocabulary = Vocabulary.learn(broken, ["price"], buckets=4)
    assert vocabulary == Vocabulary.learn(pd.DataFrame({"price": np.arange(100.0)}), ["price"], buckets=4)
    features = vocabulary.encode(broken)
    assert features[:3].nnz == 0
    assert (features[3:].sum(axis=1) == 1).all()


def test_unknown_values_and_missing_columns_give_no_feature() -> None:
    vocabulary = Vocabulary.learn(ITEMS, ["brand", "price"])
    assert vocabulary.encode(pd.DataFrame({"brand": ["strange", None]})).nnz == 0


def test_a_vocabulary_survives_json() -> None:
    vocabulary = Vocabulary.learn(ITEMS, ["category", "brand", "price"])
    again = Vocabulary.model_validate_json(vocabulary.model_dump_json())
    np.testing.assert_array_equal(again.encode(ITEMS).toarray(), vocabulary.encode(ITEMS).toarray())
    assert again.width == vocabulary.width == vocabulary.encode(ITEMS).shape[1]


def test_a_profile_holds_what_stands_out_and_sums_to_one() -> None:
    weights = sparse.csr_matrix([[8.0, 1.0, 1.0], [1.0, 1.0, 8.0], [0.0, 0.0, 0.0]])
    # Shares .8 .1 .1 and .1 .1 .8; their mean over three shoppers .3 .0667 .3.
    one = over_represented(weights, 1).toarray()
    np.testing.assert_array_equal(one, [[1, 0, 0], [0, 0, 1], [0, 0, 0]])
    two = over_represented(weights, 2).toarray()
    np.testing.assert_allclose(two[0], [0.5 / (0.5 + 1 / 30), (1 / 30) / (0.5 + 1 / 30), 0], rtol=1e-6)


def test_visits_count_by_store_and_skip_the_unknown_store() -> None:
    moment = pd.Timestamp("2024-01-01", tz="UTC")
    rows = pd.DataFrame(
        {"shopper_id": ["a", "a", "a", "b"], "item_id": "x", "event_time": moment, "store_id": ["s", "s", None, "t"]}
    )
    dataset = Dataset.build(rows, as_of=moment + pd.Timedelta(days=1))
    np.testing.assert_array_equal(visits(dataset).toarray(), [[2, 0], [0, 1]])


def test_each_tag_of_a_list_is_a_feature_of_its_own() -> None:
    table = pd.DataFrame({"tags": ["vegan|new", "new", None, "|", "vegan|vegan"]})
    vocabulary = Vocabulary.learn(table, ["tags"])
    assert vocabulary.columns[0].values == ("new", "vegan")
    assert vocabulary.encode(table).toarray().tolist() == [[1, 1], [1, 0], [0, 0], [0, 0], [0, 1]]
