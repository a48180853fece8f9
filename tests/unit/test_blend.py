"""Blend: repeats by one part, discoveries by the other, merged by the rate at which they are bought."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from configs.errors import UsageError
from models.base import Recommender
from models.dataset import Dataset
from models.reasons import Reason
from models.registry import create, load

AS_OF = pd.Timestamp("2024-03-01", tz="UTC")
LIGHTFM = {"recommender": "lightfm", "config": {"components": 8, "epochs": 20, "popularity_weight": 0.5}}
REPEATS = {"recommender": "personal_frequency", "config": {"decay_days": 60}}


def town() -> Dataset:
    random = np.random.default_rng(11)
    rows = []
    for number in range(30):
        taste = "tea" if number % 2 else "coffee"
        for item in random.choice(14, size=6, replace=False):
            times = int(random.integers(1, 6))
            for age in random.uniform(0.1, 80, times):
                rows.append((f"s{number:02}", f"{taste}{item:02}", AS_OF - pd.Timedelta(days=float(age))))
    items = [(f"{kind}{n:02}", f"DRINKS/{kind}") for kind in ("tea", "coffee") for n in range(15)] + [("fuel", "FUEL/")]
    return Dataset.build(
        pd.DataFrame(rows, columns=["shopper_id", "item_id", "event_time"]),
        items=pd.DataFrame(items, columns=["item_id", "category"]),
        shoppers=pd.DataFrame(
            [(f"s{n:02}", "tea" if n % 2 else "coffee") for n in range(30)], columns=["shopper_id", "taste"]
        ),
        as_of=AS_OF,
        item_content=["category"],
        shopper_attributes=["taste"],
        never_recommend=["FUEL"],
    )


def fitted(**config: object) -> Recommender:
    return create("blend", {"repeats": REPEATS, "discovery": LIGHTFM, **config}).fit(town(), seed=2)


@pytest.fixture(scope="module")
def model() -> Recommender:
    return fitted()


def bought(model: Recommender, shopper: str) -> set[str]:
    return set(model.item_ids[model.history[model.shopper_ids.get_loc(shopper)].indices])


def test_repeats_stand_in_the_order_of_their_part_and_discoveries_in_that_of_theirs(model: Recommender) -> None:
    repeats = create("personal_frequency", REPEATS["config"]).fit(town(), seed=2)
    discovery = create("lightfm", LIGHTFM["config"]).fit(town(), seed=2)
    for shopper in ("s00", "s07", "s20"):
        merged = model.recommend([shopper], 30)["item_id"].tolist()
        again = [item for item in repeats.recommend([shopper], 30)["item_id"] if item in bought(model, shopper)]
        new = discovery.recommend([shopper], 30, new_only=True)["item_id"].tolist()
        assert [item for item in merged if item in bought(model, shopper)] == again
        assert [item for item in merged if item not in bought(model, shopper)] == new
        assert len(merged) == 30


def test_new_only_gives_the_lists_of_the_discovery_part(model: Recommender) -> None:
    discovery = create("lightfm", LIGHTFM["config"]).fit(town(), seed=2)
    shoppers = list(model.shopper_ids)
    columns = ["shopper_id", "rank", "item_id", "reason"]
    ours, theirs = (part.recommend(shoppers, 12, new_only=True)[columns] for part in (model, discovery))
    pd.testing.assert_frame_equal(ours, theirs)


def test_the_order_below_the_exact_depth_is_still_the_discovery_part_s() -> None:
    deep, shallow = fitted(), fitted(discovery_depth=3)
    columns = ["shopper_id", "rank", "item_id"]
    lists = [part.recommend(list(part.shopper_ids), 24, new_only=True)[columns] for part in (deep, shallow)]
    pd.testing.assert_frame_equal(*lists)


def test_scores_are_rates_by_the_two_formulas() -> None:
    model = fitted(repeat_scale=0.3, repeat_power=1.5)
    repeats = create("personal_frequency", REPEATS["config"]).fit(town(), seed=2)
    top = model.recommend(["s03"], 30).set_index("item_id")["score"]
    own = repeats.recommend(["s03"], 30).set_index("item_id")["score"]
    again = top.index.isin(bought(model, "s03"))
    np.testing.assert_allclose(top[again], 0.3 * own[top.index[again]] ** 1.5)
    config = model.config
    ranks = np.arange(1, int((~again).sum()) + 1)
    np.testing.assert_allclose(top[~again], config.discovery_first * ranks**-config.discovery_fall)  # type: ignore[attr-defined]


def test_what_is_bought_every_hour_is_no_equal_of_what_is_bought_every_two() -> None:
    rows = [("a", item, AS_OF - pd.Timedelta(hours=hours * n)) for item, hours in (("x", 2), ("y", 1)) for n in
            range(1, 1000)]  # fmt: skip
    rows += [("b", "z", AS_OF - pd.Timedelta(days=1))]
    dataset = Dataset.build(pd.DataFrame(rows, columns=["shopper_id", "item_id", "event_time"]), as_of=AS_OF)
    model = create("blend", {"repeats": REPEATS, "discovery": LIGHTFM, "repeat_power": 1.2}).fit(dataset)
    top = model.recommend(["a"], 3)
    assert top["item_id"].tolist() == ["y", "x", "z"]
    assert top["score"].is_monotonic_decreasing
    assert top["score"].is_unique


def test_what_sells_at_present_rises_among_the_repeats() -> None:
    dataset = town()
    plain, trending = fitted(), fitted(trend_weight=0.5, trend_days=20)
    pairs = dataset.interactions[dataset.age_days <= 20].drop_duplicates(["shopper_id", "item_id"])
    recent = pairs["item_id"].value_counts().reindex(dataset.item_ids, fill_value=0).to_numpy()
    row = np.array([4])
    columns = plain.history[4].indices
    before, after = (part._score(row)[0, columns] for part in (plain, trending))
    np.testing.assert_allclose(after, before * (1 + recent[columns]) ** 0.5)


def test_a_reason_is_true_of_the_history_and_names_what_it_is_about(model: Recommender) -> None:
    lists = model.recommend(list(model.shopper_ids), 20, explain=True)
    for shopper, rows in lists.groupby("shopper_id"):
        own = bought(model, str(shopper))
        before = rows["item_id"].isin(own)
        assert rows["reason"][before].isin([Reason.BOUGHT_BEFORE, Reason.DUE_AGAIN]).all()
        assert not rows["reason"][~before].isin([Reason.BOUGHT_BEFORE, Reason.DUE_AGAIN]).any()
        goes = rows[rows["reason"] == Reason.GOES_WITH]
        assert goes["about"].isin(own).all()
    assert set(lists["reason"]) >= {Reason.BOUGHT_BEFORE, Reason.DUE_AGAIN, Reason.SIMILAR_TASTE}


def test_rules_of_reasons_come_from_the_recipe() -> None:
    strict = fitted(reasons={"item_gaps": 10_000, "own_gaps": 10_000})
    assert Reason.DUE_AGAIN not in set(strict.recommend(list(strict.shopper_ids), 20)["reason"])
    with pytest.raises(UsageError, match=r"reasons\.lifted"):
        create("blend", {"reasons": {"lifted": 3}})


def test_a_stranger_is_served_by_the_discovery_part(model: Recommender) -> None:
    strangers = pd.DataFrame({"shopper_id": ["x", "y"], "taste": ["tea", None]})
    lists = model.recommend(["x", "y"], 6, attributes=strangers).groupby("shopper_id")
    assert lists.get_group("x")["item_id"].str.startswith("tea").all()
    assert set(lists.get_group("y")["reason"]) == {Reason.POPULAR}


def test_new_events_make_repeats_and_discoveries_of_a_stranger(model: Recommender) -> None:
    share = {}
    for taste in ("tea", "coffee"):
        items = [f"{taste}{n:02}" for n in range(4)]
        events = pd.DataFrame({"shopper_id": "x", "item_id": items, "event_time": AS_OF})
        lists = model.fold_in(events, 12)["item_id"].tolist()
        assert set(lists[:4]) == set(items)
        assert lists[4:] == model.fold_in(events, 8, new_only=True)["item_id"].tolist()
        share[taste] = np.mean([item.startswith("tea") for item in lists[4:]])
    assert share["tea"] > share["coffee"]


def test_a_part_that_cannot_fold_in_is_named() -> None:
    model = fitted(discovery={"recommender": "popularity"})
    events = pd.DataFrame({"shopper_id": ["x"], "item_id": ["tea01"], "event_time": [AS_OF]})
    with pytest.raises(UsageError, match="Part popularity"):
        model.fold_in(events, 3)


def test_what_may_not_be_recommended_takes_no_place(model: Recommender) -> None:
    assert "fuel" not in set(model.recommend(list(model.shopper_ids), 31)["item_id"])


def test_a_loaded_blend_ranks_exactly_the_same(model: Recommender, tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    again = load(tmp_path / "model")
    shoppers = [*model.shopper_ids, "x"]
    pd.testing.assert_frame_equal(model.recommend(shoppers, 25), again.recommend(shoppers, 25))


def test_forgetting_reaches_both_parts(model: Recommender, tmp_path: Path) -> None:
    model.save(tmp_path / "before")
    forgetful = load(tmp_path / "before")
    others = [shopper for shopper in forgetful.shopper_ids if shopper != "s07"]
    lists = forgetful.recommend(others, 10)
    assert forgetful.forget(["s07"]) == 1
    pd.testing.assert_frame_equal(forgetful.recommend(others, 10), lists)
    forgetful.save(tmp_path / "after")
    files = [path for path in (tmp_path / "after").rglob("*") if path.is_file()]
    assert {path.parent.name for path in files} == {"after", "repeats", "discovery"}
    assert all("s07".encode("utf-32-le") not in path.read_bytes() for path in files)


def test_a_wrong_part_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match="no recommender 'nobody'"):
        create("blend", {"repeats": {"recommender": "nobody"}})
    with pytest.raises(UsageError, match="Config of recommender 'lightfm'"):
        create("blend", {"discovery": {"recommender": "lightfm", "config": {"epoch": 3}}})
