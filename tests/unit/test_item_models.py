"""EASE and item-kNN against their formulas, written down densely; what enters, what follows, what is folded in."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from configs.errors import FacingsError, UsageError
from models.base import Recommender
from models.dataset import Dataset
from models.reasons import Reason
from models.recommenders import item_knn
from models.registry import create

AS_OF = pd.Timestamp("2024-03-01", tz="UTC")


def shop(seed: int = 0, shoppers: int = 30, items: int = 12) -> Dataset:
    """Random purchases; item 0 is never recommended, the last two are never sold."""
    random = np.random.default_rng(seed)
    rows = [
        (f"s{who:02}", f"i{what:02}", AS_OF - pd.Timedelta(days=float(age)))
        for who in range(shoppers)
        for what, age in zip(
            random.integers(0, items - 2, size=random.integers(2, 9)), random.uniform(0.1, 60, 9), strict=False
        )
    ]
    names = pd.DataFrame({"item_id": [f"i{n:02}" for n in range(items)], "category": ["FUEL", *["FOOD"] * (items - 1)]})
    return Dataset.build(
        pd.DataFrame(rows, columns=["shopper_id", "item_id", "event_time"]),
        items=names,
        shoppers=pd.DataFrame({"shopper_id": [*(f"s{n:02}" for n in range(shoppers)), "silent"]}),
        as_of=AS_OF,
        never_recommend=["FUEL"],
    )


def weights(dataset: Dataset, decay: float) -> np.ndarray:
    dense = np.log1p(dataset.matrix(np.exp(-dataset.age_days / decay)).toarray())
    return dense * dataset.recommendable


def ranked(model: Recommender, shopper: str, **options: bool) -> list[str]:
    return model.recommend([shopper], 50, **options)["item_id"].tolist()


def test_ease_is_the_ridge_regression_of_every_item_on_all_others() -> None:
    dataset = shop()
    model = create("ease", {"counts": "log", "decay_days": 30, "regularisation": 5}).fit(dataset)
    x = weights(dataset, 30)
    sold = np.flatnonzero(x.sum(axis=0))
    scores = model._score(np.arange(len(dataset.shoppers)))
    for item in sold:
        others = np.setdiff1d(sold, item)
        # The regression of one item on all others with an L2 penalty, solved by itself: no inverse is shared.
        gram = x[:, others].T @ x[:, others] + 5 * np.eye(len(others))
        alone = np.linalg.solve(gram, x[:, others].T @ x[:, item])
        np.testing.assert_allclose(scores[:, item], x[:, others] @ alone, atol=1e-5)


@pytest.mark.parametrize("block", [1, 4, 256])
def test_the_inverse_is_the_same_however_it_is_cut_into_blocks(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from models.recommenders import ease

    rows = np.arange(31)
    whole = create("ease").fit(shop())._score(rows)
    monkeypatch.setattr(ease, "_BLOCK", block)
    np.testing.assert_allclose(create("ease").fit(shop())._score(rows), whole, atol=1e-6)


def test_powers_scale_items_and_shoppers_before_the_regression() -> None:
    dataset = shop()
    config = {"counts": "log", "decay_days": 30, "regularisation": 5, "item_power": 0.5, "shopper_power": 1.0}
    x = weights(dataset, 30)
    sold = np.flatnonzero(x.sum(axis=0))
    lengths = np.sqrt((x[:, sold] ** 2).sum(axis=1))
    heard = x[:, sold] / np.sqrt(np.maximum(lengths, 1e-12))[:, None]
    scale = np.sqrt((heard**2).sum(axis=0)) ** 0.5
    inverse = np.linalg.inv((heard / scale).T @ (heard / scale) + 5 * np.eye(len(sold)))
    between = -inverse / np.diag(inverse)
    np.fill_diagonal(between, 0)
    expected = (x[:, sold] / scale) @ between * scale
    scores = create("ease", config).fit(dataset)._score(np.arange(len(dataset.shoppers)))
    np.testing.assert_allclose(scores[:, sold], expected, atol=1e-5)


def test_only_the_items_with_most_shoppers_enter_the_inverse_and_the_others_follow_by_popularity() -> None:
    dataset = shop()
    model = create("ease", {"max_items": 4, "popularity_days": 999}).fit(dataset)
    assert model._state()[1]["between"].shape == (4, 4)
    shoppers = pd.Series(np.asarray(dataset.matrix().getnnz(axis=0)), dataset.item_ids).drop("i00")
    best = set(shoppers.sort_values(ascending=False, kind="stable").index[:4])
    lists = model.recommend(["s01"], 50, new_only=True)
    inside = lists["item_id"].isin(best)
    assert inside[: inside.sum()].all()
    assert shoppers[lists["item_id"][~inside]].is_monotonic_decreasing
    sold = lists["item_id"].isin(shoppers.index[shoppers > 0])
    assert set(lists["reason"][~inside & sold]) == {Reason.POPULAR}
    assert set(lists["reason"][~sold]) <= {Reason.IN_ASSORTMENT}, "nobody bought it, so it is not popular"


@pytest.mark.parametrize("neighbours", [2, 100])
def test_item_knn_scores_by_the_cosine_of_the_nearest_items(neighbours: int) -> None:
    dataset = shop()
    model = create("item_knn", {"counts": "log", "decay_days": 30, "neighbours": neighbours}).fit(dataset)
    x = weights(dataset, 30)
    lengths = np.maximum(np.sqrt((x**2).sum(axis=0)), 1e-12)
    cosine = (x / lengths).T @ (x / lengths)
    np.fill_diagonal(cosine, 0)
    for column in range(len(cosine)):
        cosine[np.argsort(-cosine[:, column], kind="stable")[neighbours:], column] = 0
    sold = x.sum(axis=0) > 0
    scores = model._score(np.arange(len(dataset.shoppers)))
    np.testing.assert_allclose(scores[:, sold], (x @ cosine)[:, sold], atol=1e-5)


def test_shrinkage_holds_back_a_likeness_that_few_shoppers_show() -> None:
    groups = sparse.csr_matrix([[1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 1, 1]], dtype=np.float32)
    plain = item_knn.nearest(groups, 5).toarray()
    shrunk = item_knn.nearest(groups, 5, shrinkage=2).toarray()
    np.testing.assert_allclose([plain[0, 1], plain[2, 3]], [1, 1], rtol=1e-6)
    np.testing.assert_allclose([shrunk[0, 1], shrunk[2, 3]], [1 / 3, 3 / 5], rtol=1e-6)


def test_of_equally_near_items_those_of_the_lower_column_are_kept() -> None:
    groups = sparse.csr_matrix(np.ones((2, 6), np.float32))
    kept = item_knn.nearest(groups, 2).toarray() > 0
    assert [np.flatnonzero(kept[:, column]).tolist() for column in range(3)] == [[1, 2], [0, 2], [0, 1]]


def test_neighbours_are_the_same_however_they_are_cut_into_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    groups = sparse.random(40, 25, 0.3, format="csr", random_state=1, dtype=np.float32)
    whole = item_knn.nearest(groups, 4, 1.0).toarray()
    monkeypatch.setattr(item_knn, "_CELLS", 60)
    np.testing.assert_allclose(item_knn.nearest(groups, 4, 1.0).toarray(), whole, rtol=1e-6)


def test_baskets_join_only_what_was_bought_at_once() -> None:
    rows = [("ann", "tea", 1.0, "b1"), ("ann", "lemon", 1.0, "b1"), ("ann", "soap", 1.0, "b2")]
    rows += [("bob", "tea", 2.0, None), ("bob", "lemon", 2.01, None), ("bob", "soap", 9.0, None)]
    table = pd.DataFrame(rows, columns=["shopper_id", "item_id", "age", "basket_id"])
    table["event_time"] = AS_OF - pd.to_timedelta(table.pop("age"), unit="D") + pd.Timedelta(hours=1)
    table["event_time"] -= pd.Timedelta(hours=2)
    dataset = Dataset.build(table, as_of=AS_OF)
    model = create("item_knn", {"together": "basket"}).fit(dataset)
    likeness = pd.DataFrame(model._likeness.toarray(), dataset.item_ids, dataset.item_ids)  # type: ignore[attr-defined]
    assert likeness.loc["tea", "lemon"] == pytest.approx(1)
    assert likeness.loc["soap"].sum() == 0


@pytest.mark.parametrize("likeness", ["cosine", "tf-idf", "bm25"])
def test_every_likeness_lies_between_nought_and_one(likeness: str) -> None:
    model = create("item_knn", {"likeness": likeness}).fit(shop())
    values = model._likeness.data  # type: ignore[attr-defined]
    assert len(values)
    assert (values > 0).all() and (values <= 1 + 1e-6).all()


@pytest.mark.parametrize("name", ["ease", "item_knn"])
def test_new_events_move_an_unknown_shopper_to_where_a_trained_one_with_the_same_purchases_is(name: str) -> None:
    dataset = shop()
    model = create(name, {"counts": "log", "decay_days": 30}).fit(dataset)
    mine = dataset.interactions[dataset.interactions["shopper_id"] == "s03"]
    folded = model.fold_in(mine.assign(shopper_id="stranger"), 50, now=AS_OF)
    known = model.recommend(["s03"], 50)
    assert folded["item_id"].tolist() == known["item_id"].tolist()
    np.testing.assert_allclose(folded["score"], known["score"], rtol=1e-5)


@pytest.mark.parametrize("name", ["ease", "item_knn"])
def test_new_events_of_a_known_shopper_come_on_top_of_their_history(name: str) -> None:
    dataset = shop()
    model = create(name, {"counts": "count"}).fit(dataset)
    new = pd.DataFrame({"shopper_id": "s03", "item_id": ["i05", "i05", "i07"], "event_time": AS_OF})
    whole = pd.concat([dataset.interactions[dataset.interactions["shopper_id"] == "s03"], new], ignore_index=True)
    on_top = model.fold_in(new, 50)
    together = model.fold_in(whole.assign(shopper_id="stranger"), 50)
    assert on_top["item_id"].tolist() == together["item_id"].tolist()
    np.testing.assert_allclose(on_top["score"], together["score"], rtol=1e-5)


@pytest.mark.parametrize("name", ["ease", "item_knn"])
def test_who_has_no_history_gets_the_best_sellers_of_late_and_is_told_so(name: str) -> None:
    dataset = shop()
    model = create(name, {"popularity_days": 20}).fit(dataset)
    recent = dataset.interactions[dataset.age_days <= 20].drop_duplicates(["shopper_id", "item_id"])
    counts = recent["item_id"].value_counts()
    for who in ("silent", "stranger"):
        lists = model.recommend([who], 5)
        assert counts[lists["item_id"]].is_monotonic_decreasing
        assert set(lists["reason"]) == {Reason.POPULAR}


def test_binary_counts_refuse_to_decay() -> None:
    with pytest.raises(UsageError, match="binary counts do not decay"):
        create("ease", {"counts": "binary", "decay_days": 30})


@pytest.mark.parametrize("name", ["ease", "item_knn"])
def test_purchases_that_may_not_be_recommended_teach_nothing(name: str) -> None:
    only_fuel = pd.DataFrame({"shopper_id": ["s"], "item_id": ["fuel"], "event_time": [AS_OF - pd.Timedelta(days=1)]})
    items = pd.DataFrame({"item_id": ["fuel"], "category": ["FUEL"]})
    with pytest.raises(FacingsError, match="nothing to learn"):
        create(name).fit(Dataset.build(only_fuel, items=items, as_of=AS_OF, never_recommend=["FUEL"]))
