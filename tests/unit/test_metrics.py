"""Metrics against values computed by hand as fractions, and the laws they keep."""

from __future__ import annotations

import doctest
from fractions import Fraction
from math import log2

import numpy as np
import pandas as pd
import pytest

import models.metrics.bootstrap
import models.metrics.shoppers
import models.metrics.whole
from configs.errors import FacingsError
from models import metrics


def lists(**items: str) -> pd.DataFrame:
    """One list a shopper: a letter is an item, its place the rank."""
    rows = [(shopper, rank, item) for shopper, line in items.items() for rank, item in enumerate(line, start=1)]
    return pd.DataFrame(rows, columns=["shopper_id", "rank", "item_id"])


def pairs(**items: str) -> pd.DataFrame:
    rows = [(shopper, item) for shopper, line in items.items() for item in line]
    return pd.DataFrame(rows, columns=["shopper_id", "item_id"])


def dcg(*ranks: int) -> float:
    return sum(1 / log2(rank + 1) for rank in ranks)


def row(frame: pd.DataFrame, shopper: str) -> dict[str, float]:
    found: dict[str, float] = frame.set_index("shopper_id").loc[shopper].to_dict()
    return found


def test_each_metric_equals_the_fraction_computed_by_hand() -> None:
    # k = 5, hits at ranks 1, 3 and 4, of a truth of four
    found = row(metrics.evaluate(lists(ann="abcde"), pairs(ann="acdz"), k=5), "ann")
    assert found["precision"] == pytest.approx(float(Fraction(3, 5)))
    assert found["recall"] == pytest.approx(float(Fraction(3, 4)))
    assert found["map"] == pytest.approx(float((Fraction(1, 1) + Fraction(2, 3) + Fraction(3, 4)) / 4))
    assert found["mrr"] == 1.0
    assert found["hit_rate"] == 1.0
    assert found["ndcg"] == pytest.approx(dcg(1, 3, 4) / dcg(1, 2, 3, 4))


def test_the_first_hit_at_rank_three_gives_a_third() -> None:
    found = row(metrics.evaluate(lists(ann="abcde"), pairs(ann="c"), k=5), "ann")
    assert found["mrr"] == pytest.approx(float(Fraction(1, 3)))
    assert found["map"] == pytest.approx(float(Fraction(1, 3)))
    assert found["precision"] == pytest.approx(float(Fraction(1, 5)))


def test_the_ideal_is_cut_at_k_or_is_the_whole_basket() -> None:
    ranked, truth = lists(ann="ab"), pairs(ann="abcd")
    assert row(metrics.evaluate(ranked, truth, k=2), "ann")["ndcg"] == 1.0
    whole = row(metrics.evaluate(ranked, truth, k=2, ideal="basket"), "ann")["ndcg"]
    assert whole == pytest.approx(dcg(1, 2) / dcg(1, 2, 3, 4))


def test_a_short_list_pays_for_its_empty_places_in_precision_only() -> None:
    found = row(metrics.evaluate(lists(ann="a"), pairs(ann="a"), k=10), "ann")
    assert found["precision"] == pytest.approx(float(Fraction(1, 10)))
    assert found["recall"] == found["ndcg"] == found["map"] == 1.0


def test_a_shopper_without_a_list_has_zeros_and_one_without_truth_is_not_measured() -> None:
    found = metrics.evaluate(lists(ann="a", eve="a"), pairs(ann="a", bob="a"), k=1)
    assert found["shopper_id"].tolist() == ["ann", "bob"]
    assert row(found, "bob") == dict.fromkeys(metrics.METRICS, 0.0)


def test_who_is_asked_for_is_measured_in_that_order_and_without_truth_is_nan() -> None:
    found = metrics.evaluate(lists(ann="a"), pairs(ann="a", bob="a"), k=1, shoppers=["eve", "ann"])
    assert found["shopper_id"].tolist() == ["eve", "ann"]
    assert np.isnan(row(found, "eve")["recall"])


def test_repeats_and_discoveries_are_judged_apart() -> None:
    # a and d were bought before; truth a, c, d: hits a (1), c (3); d is missed
    found = row(metrics.evaluate(lists(ann="abc"), pairs(ann="acd"), k=3, history=pairs(ann="adx", bob="c")), "ann")
    assert found["repeat_recall"] == pytest.approx(float(Fraction(1, 2)))
    assert found["new_recall"] == 1.0
    assert found["repeat_precision"] + found["new_precision"] == pytest.approx(found["precision"])
    assert found["repeat_ndcg"] == pytest.approx(dcg(1) / dcg(1, 2))
    assert found["new_ndcg"] == pytest.approx(dcg(3) / dcg(1))
    assert found["new_mrr"] == pytest.approx(float(Fraction(1, 3)))


def test_a_part_of_which_the_truth_holds_nothing_is_not_a_number() -> None:
    found = row(metrics.evaluate(lists(ann="ab"), pairs(ann="a"), k=2, history=pairs(ann="a")), "ann")
    assert found["repeat_recall"] == 1.0
    assert all(np.isnan(found[f"new_{name}"]) for name in metrics.METRICS)


def test_a_broken_list_is_refused() -> None:
    truth = pairs(ann="a")
    with pytest.raises(FacingsError, match="same item twice"):
        metrics.evaluate(lists(ann="aa"), truth, k=2)
    with pytest.raises(FacingsError, match="same rank twice"):
        metrics.evaluate(lists(ann="ab").assign(rank=1), truth, k=2)
    with pytest.raises(FacingsError, match="1 or more"):
        metrics.evaluate(lists(ann="a"), truth, k=0)


def test_auc_is_the_share_of_pairs_in_the_right_order() -> None:
    # b (2) and d (4) among five: b beats c, e; d beats e; of 2 × 3 pairs
    found = metrics.auc(lists(ann="abcde"), pairs(ann="bd"), n_items=5)
    assert found["auc"].tolist() == [pytest.approx(float(Fraction(3, 6)))]
    with pytest.raises(FacingsError, match="every item ranked"):
        metrics.auc(lists(ann="abcd"), pairs(ann="be"), n_items=5)


def test_coverage_gini_and_novelty_equal_the_fractions_computed_by_hand() -> None:
    # exposure a 2, b 1, c 1, d 0
    popularity = pd.Series({"a": 7, "b": 1, "c": 3})
    found = metrics.summary(lists(ann="ab", bob="ca"), k=2, n_items=4, popularity=popularity)
    assert found["coverage"] == pytest.approx(float(Fraction(3, 4)))
    assert found["gini"] == pytest.approx(float(Fraction(-3 * 0 - 1 * 1 + 1 * 1 + 3 * 2, 4 * 4)))
    shares = [Fraction(8, 15), Fraction(2, 15), Fraction(4, 15), Fraction(8, 15)]
    assert found["novelty"] == pytest.approx(sum(-log2(share) for share in shares) / 4)


def test_diversity_is_the_mean_distance_of_category_paths() -> None:
    paths = pd.Series({"a": "FOOD/TEA/GREEN", "b": "FOOD/TEA/BLACK", "c": "FOOD/MILK", "d": "SOAP", "x": None})
    # a-b: 1 - 2/3, a-c: 1 - 1/3, b-c: 1 - 1/3; bob: c-d: 1; x is unknown
    found = metrics.summary(lists(ann="abc", bob="cxd"), k=3, n_items=5, categories=paths)
    ann = (Fraction(1, 3) + Fraction(2, 3) + Fraction(2, 3)) / 3
    assert found["diversity"] == pytest.approx(float((ann + 1) / 2))


def test_no_lists_cover_nothing_and_measure_nothing() -> None:
    found = metrics.summary(lists(), k=3, n_items=5, popularity=pd.Series({"a": 1}), categories=pd.Series({"a": "A"}))
    assert found["coverage"] == 0
    assert all(np.isnan(found[name]) for name in ("gini", "novelty", "diversity"))
    with pytest.raises(FacingsError, match="only 1"):
        metrics.summary(lists(ann="ab"), k=3, n_items=1)


@pytest.mark.parametrize("module", [models.metrics.shoppers, models.metrics.whole, models.metrics.bootstrap])
def test_the_examples_in_the_docstrings_hold(module: object) -> None:
    done = doctest.testmod(module, optionflags=doctest.ELLIPSIS)  # type: ignore[arg-type]
    assert done.attempted and not done.failed
