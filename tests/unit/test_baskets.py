"""Next baskets: what a visit may know, what counts as a basket, and who is near whom, on logs small enough to check."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from models.baskets.features import Candidates, Features, Kinds, Pool, labels
from models.baskets.log import Purchases, Visits, last_visits
from models.baskets.scenes import Scenes
from models.dataset import Dataset
from models.recommenders.repurchase import intervals
from models.registry import create

START = pd.Timestamp("2024-01-01", tz="UTC")
RANDOM = np.random.default_rng(11)


def dataset(*rows: tuple[str, str, float], days: int = 100) -> Dataset:
    table = pd.DataFrame(rows, columns=["shopper_id", "item_id", "day"])
    table["event_time"] = START + pd.to_timedelta(table.pop("day"), unit="D")
    return Dataset.build(table, as_of=START + pd.Timedelta(days=days))


def random_log(count: int = 3000) -> Purchases:
    table = pd.DataFrame(
        {
            "shopper_id": [f"s{number:02}" for number in RANDOM.integers(0, 40, count)],
            "item_id": [f"i{int(number):03}" for number in RANDOM.exponential(15, count)],
            "event_time": START + pd.to_timedelta(RANDOM.integers(0, 60, count), unit="D"),
            "price": RANDOM.integers(1, 9, count).astype(float),
        }
    )
    return Purchases.of(Dataset.build(table, as_of=START + pd.Timedelta(days=60)))


def kinds(log: Purchases) -> Kinds:
    return Kinds({"category": np.arange(log.size[1]) % 7}, {"age_band": np.arange(log.size[0]) % 3})


def computed(log: Purchases, visits: Visits, knows: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    made = Features(log, kinds(log), knows, Pool(recent=20), 10)  # type: ignore[arg-type]
    parts = list(made.of(visits))
    where = np.concatenate([part.visits * log.size[1] + part.items for part in parts])
    order = np.argsort(where)
    return where[order], np.concatenate([part.features for part in parts])[order], np.array(made.names)


def test_a_day_is_one_visit_and_an_item_counts_once_in_it() -> None:
    log = Purchases.of(dataset(("a", "x", 0.1), ("a", "x", 0.9), ("a", "y", 0.5), ("a", "x", 3.0), ("b", "y", 1.0)))
    assert len(log) == 4
    assert log.visits.tolist() == [0, 0, 1, 2]
    assert log.left.tolist() == [1, 1, 0, 0]


def test_taking_the_last_visits_out_leaves_what_was_known_before_them() -> None:
    log = Purchases.of(dataset(("a", "x", 0), ("a", "y", 2), ("a", "z", 5), ("b", "x", 4)))
    known, visits, rows = last_visits(log, 1)
    assert known.items.tolist() == [0, 1]
    assert visits.shoppers.tolist() == [0]  # b has no earlier visit
    assert rows.items.tolist() == [2]


def test_with_the_date_known_nothing_of_that_day_or_later_shapes_candidates_or_features() -> None:
    log = random_log()
    day = int(log.days.min()) + 40
    visits = Visits(np.arange(10), np.full(10, day))
    whole, cut = (
        computed(log, visits, "date_known_past"),
        computed(log.where(log.days < day), visits, "date_known_past"),
    )
    np.testing.assert_array_equal(whole[0], cut[0])
    np.testing.assert_allclose(whole[1], cut[1], rtol=1e-4, atol=1e-6)


def test_same_day_looks_at_other_shoppers_later_sales_and_never_at_the_shopper_s_own() -> None:
    log = random_log()
    day = int(log.days.min()) + 40
    visits = Visits(np.array([3]), np.array([day]))
    whole = computed(log, visits, "same_day")
    own = (log.shoppers == 3) & (log.days >= day)
    names = whole[2].tolist()
    personal = [place for place, name in enumerate(names) if name.startswith("own_") and name != "own_due"]
    without = computed(log.where(~own), visits, "same_day")
    common = np.intersect1d(whole[0], without[0])
    for place in personal:
        one = whole[1][np.searchsorted(whole[0], common), place]
        np.testing.assert_allclose(one, without[1][np.searchsorted(without[0], common), place], rtol=1e-5)
    earlier = computed(log.where(log.days < day), visits, "date_known_past")
    assert len(earlier[0]) != len(whole[0]) or not np.array_equal(earlier[0], whole[0])


def test_features_do_not_depend_on_who_else_is_asked() -> None:
    log = random_log()
    for knows in ("date_known_past", "date_unknown", "same_day"):
        days = int(log.days.min()) + 40 + np.arange(8) % 3
        together = computed(log, Visits(np.arange(8), days), knows)
        alone = computed(log, Visits(np.array([5]), days[5:6]), knows)
        mine = together[0] // log.size[1] == 5
        np.testing.assert_array_equal(together[1][mine], alone[1])


def test_windows_weigh_shares_of_sales_and_a_guessed_date_follows_the_usual_gap() -> None:
    rows = [(f"s{who}", "x", float(day)) for who in range(6) for day in range(who, 90, 10)]
    log = Purchases.of(dataset(*rows))
    first = int(log.days.min())
    past = Scenes(log, "date_known_past").scene(first + 50)
    assert (past.windows["day_3"] > 0).sum() == ((log.days < first + 50) & (log.days >= first + 47)).sum()
    assert all(weights[log.days >= first + 50].sum() == 0 for weights in past.windows.values())
    guessed = Scenes(log, "date_unknown")
    scene, _ = next(iter(guessed.groups(Visits(np.array([0]), np.array([-1])))))
    assert scene.day == first + 80 and not scene.dated
    assert all(weights.sum() <= 1.001 for weights in scene.windows.values())


def test_labels_are_the_items_of_each_visit_s_own_basket() -> None:
    candidates = Candidates(np.array([0, 0, 1]), np.array([2, 3, 2]), np.zeros((3, 1), np.float32))
    assert labels(candidates, np.array([0 * 10 + 3, 1 * 10 + 2]), 10).tolist() == [0, 1, 1]
    assert labels(candidates, np.array([], dtype=np.int64), 10).tolist() == [0, 0, 0]


def test_tifu_knn_averages_own_baskets_with_those_of_the_nearest() -> None:
    data = dataset(("a", "x", 0), ("a", "x", 5), ("a", "y", 5), ("b", "x", 1), ("c", "z", 1))
    lists = create("tifu_knn", {"neighbours": 2, "alpha": 0.5}).fit(data).recommend(["a"], 3)
    # a's vector: x 1, y .5; its two nearest are a and b: x 1, y .25
    assert lists["item_id"].tolist() == ["x", "y", "z"]
    assert lists["score"].tolist()[:2] == pytest.approx([1.0, 0.375], abs=1e-6)


def test_an_item_s_interval_is_the_geometric_mean_of_its_gaps_shrunk_to_that_of_all() -> None:
    log = Purchases.of(dataset(("a", "x", 0), ("a", "x", 4), ("a", "x", 20), ("b", "y", 0), ("b", "y", 8)))
    between, again = intervals(log, weight=1e-9)
    assert between.tolist() == pytest.approx([8.0, 8.0])
    shrunk, _ = intervals(log, weight=3)
    assert shrunk.tolist() == pytest.approx([8.0, 8.0])
    assert (again > 0.3).all()


def test_repurchase_lists_first_what_is_due_and_not_what_was_just_bought() -> None:
    rows = [(f"s{who}", item, day) for who in range(30) for item, gap in (("week", 7), ("month", 28))
            for day in np.arange(who % 7, 85.0, gap)]  # fmt: skip
    rows += [("me", "week", day) for day in range(0, 84, 7)] + [("me", "month", day) for day in (0, 28, 56, 98)]
    model = create("repurchase", {"new_weight": 0}).fit(dataset(*rows))
    lists = model.recommend(["me"], 2, at={"me": START + pd.Timedelta(days=99)})
    assert lists["item_id"].tolist() == ["week", "month"]


def test_who_never_bought_gets_what_a_stranger_gets_whatever_the_trees_learned_of_others() -> None:
    rows = [(f"s{who:02}", f"own-{who}", day) for who in range(40) for day in range(who % 5, 95, 5)]
    rows += [(f"s{who:02}", item, 97) for who in range(40) for item in ("hit", "second")[: 1 + who % 2]]
    sold = dataset(*rows).interactions
    quiet = pd.DataFrame({"shopper_id": ["quiet"]})
    made = Dataset.build(sold, shoppers=quiet, as_of=START + pd.Timedelta(days=100))
    model = create("next_basket", {"rounds": 20, "rows_in_leaf": 5}).fit(made, seed=1)
    lists = model.recommend(["quiet", "stranger"], 5)
    own = lists.groupby("shopper_id")[["item_id", "reason"]].agg(list)
    assert own.loc["quiet"].tolist() == own.loc["stranger"].tolist()
    assert own.loc["quiet", "item_id"][0] == "hit"


@pytest.mark.parametrize("name", ["repurchase", "next_basket"])
def test_what_sold_on_the_last_day_is_known_though_that_day_has_not_ended(name: str) -> None:
    noon = pd.Timestamp("2026-03-10 12:00", tz="UTC")
    rows = [(f"s{who}", f"i{number}", noon - pd.Timedelta(days=9 + number)) for who in range(12) for number in range(8)]
    rows += [(f"s{who}", "new", noon - pd.Timedelta(1, unit="us")) for who in range(10)]
    table = pd.DataFrame(rows, columns=["shopper_id", "item_id", "event_time"])
    model = create(name, {"rounds": 5} if name == "next_basket" else {}).fit(Dataset.build(table, as_of=noon), seed=1)
    found = model.recommend(["s11"], 9, new_only=True)
    assert found["item_id"].tolist() == ["new"] and (found["score"] > 0).all(), "a candidate, not what fills a list"
