"""The laws of every recommender, on a checkerboard: even shoppers buy even items, odd ones odd items.

Recommenders are found by their files; a new one needs nothing here, unless its default config learns nothing in a tiny
shop.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import models.recommenders
from configs.errors import FacingsError, UsageError
from models.base import Recommender
from models.dataset import Dataset
from models.reasons import Reason
from models.registry import create, load, recommender_class, recommender_names

AS_OF = pd.Timestamp("2024-06-01", tz="UTC")
SIZE = 20  # shoppers and items; shopper n never buys item n, which is of their colour
COLOURS = ("even", "odd")
# What the checkerboard needs beyond a default config: it is learned from 200 purchases.
CONFIGS: dict[str, dict[str, Any]] = {
    "lightfm": {"components": 8, "epochs": 40},
    "two_tower": {"components": 8, "epochs": 40, "learning_rate": 0.1, "batch": 8, "targets": 4, "history": 8},
    "blend": {"discovery": {"recommender": "lightfm", "config": {"components": 8, "epochs": 40}}},
    "next_basket": {  # of one visit each: what it would learn of several is that nobody on the board buys a thing again
        **{"learned_from": "last_visits_out", "levels": 1, "negatives": 30, "features_share": 1.0},
        **{"rounds": 20, "leaves": 4, "rows_in_leaf": 5, "threads": 1},
    },
    "repurchase": {"new_weight": 0},  # nobody on the board buys anything again, and it would learn that
    "tifu_knn": {"neighbours": 8},
    "ranker": {"fallback": {"recommender": "lightfm", "config": {"components": 8, "epochs": 40}}},
}


def shopper(number: int) -> str:
    return f"shopper-{number:02}"


def item(number: int) -> str:
    return f"item-{number:02}"


@cache
def board(flip: bool = False) -> Dataset:
    """The checkerboard. `fuel` is bought by all and never recommended; two items of either colour are not sold yet."""
    rows = []
    for person in range(SIZE):
        for thing in range(SIZE):
            if person % 2 == (thing + flip) % 2 and person != thing:
                rows += [(shopper(person), item(thing), AS_OF - pd.Timedelta(days=1 + (person + thing) % 9))]
        rows += [(shopper(person), "fuel", AS_OF - pd.Timedelta(days=2))] * 3
    items = [(item(n), f"FOOD/{COLOURS[n % 2]}") for n in range(SIZE)]
    items += [(f"cold-{colour}", f"FOOD/{colour}") for colour in COLOURS] + [("fuel", "FUEL/DIESEL")]
    people = [(shopper(n), COLOURS[n % 2]) for n in range(SIZE)] + [("quiet", "even")]
    return Dataset.build(
        pd.DataFrame(rows, columns=["shopper_id", "item_id", "event_time"]),
        items=pd.DataFrame(items, columns=["item_id", "category"]),
        shoppers=pd.DataFrame(people, columns=["shopper_id", "colour"]),
        as_of=AS_OF,
        item_content=["category"],
        shopper_attributes=["colour"],
        never_recommend=["FUEL"],
    )


EVERYBODY = [shopper(n) for n in range(SIZE)]
STRANGERS = pd.DataFrame({"shopper_id": ["new-even", "new-odd"], "colour": ["even", "odd"]})


def untrained(name: str) -> Recommender:
    return create(name, CONFIGS.get(name))


@cache
def trained(name: str) -> Recommender:
    return untrained(name).fit(board(), seed=3)


def bought(person: str) -> set[str]:
    table = board().interactions
    return set(table["item_id"][table["shopper_id"] == person])


def colours(table: pd.DataFrame, key: str, lists: pd.DataFrame) -> pd.Series:
    """The colour of the shopper or the item in each row of the lists."""
    text = table.set_index(key).filter(["colour", "category"]).squeeze(axis=1)
    return text.str.split("/").str[-1].reindex(lists[key]).reset_index(drop=True)


def assert_same_lists(one: Recommender, other: Recommender) -> None:
    asked = [*EVERYBODY, "quiet", "new-even", "nobody"]
    pd.testing.assert_frame_equal(
        one.recommend(asked, 30, attributes=STRANGERS), other.recommend(asked, 30, attributes=STRANGERS)
    )


pytestmark = pytest.mark.parametrize("name", recommender_names())


# ---------------------------------------------------------------------- learning


def test_a_second_fit_equals_one_fit(name: str) -> None:
    assert_same_lists(untrained(name).fit(board(flip=True), seed=9).fit(board(), seed=3), trained(name))


def test_the_same_seed_gives_the_same_lists(name: str) -> None:
    assert_same_lists(untrained(name).fit(board(), seed=3), trained(name))


def test_a_personal_list_shows_the_shopper_s_colour(name: str) -> None:
    lists = trained(name).recommend(EVERYBODY, 9)
    alike = lists.groupby("shopper_id")["item_id"].agg(tuple).nunique() == 1
    right = colours(board().items, "item_id", lists) == colours(board().shoppers, "shopper_id", lists)
    assert right.mean() >= (0.4 if alike else 0.95)


# ---------------------------------------------------------------------- lists


def test_ranks_run_from_one_without_gaps_and_scores_fall(name: str) -> None:
    lists = trained(name).recommend([*EVERYBODY, "quiet"], 30)
    assert np.isfinite(lists["score"]).all()
    assert not lists.duplicated(["shopper_id", "item_id"]).any()
    for _, rows in lists.groupby("shopper_id"):
        assert rows["rank"].tolist() == list(range(1, len(rows) + 1))
        assert rows["score"].is_monotonic_decreasing


def test_k_cuts_the_list_and_changes_nothing_above_the_cut(name: str) -> None:
    model = trained(name)
    short, long = model.recommend(EVERYBODY, 4), model.recommend(EVERYBODY, 12)
    pd.testing.assert_frame_equal(short, long[long["rank"] <= 4].reset_index(drop=True))


@pytest.mark.parametrize("k", [0, -1, 10**9])
def test_a_k_out_of_range_is_refused(name: str, k: int) -> None:
    with pytest.raises(UsageError, match=f"k is {k}"):
        trained(name).recommend(EVERYBODY[:1], k)


def test_a_shopper_named_twice_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="more than once"):
        trained(name).recommend([shopper(1), shopper(1)], 3)


def test_lists_stand_in_the_order_asked_and_do_not_depend_on_who_else_is_asked(name: str) -> None:
    model = trained(name)
    asked = [*reversed(EVERYBODY), "new-odd", "quiet"]
    together = model.recommend(asked, 8, attributes=STRANGERS)
    assert list(dict.fromkeys(together["shopper_id"])) == [who for who in asked if who in set(together["shopper_id"])]
    for who in (shopper(4), "new-odd", "quiet"):
        alone = model.recommend([who], 8, attributes=STRANGERS)
        mine = together[together["shopper_id"] == who].reset_index(drop=True)
        pd.testing.assert_frame_equal(alone, mine, check_exact=True)


def test_nobody_asked_gives_an_empty_table_of_the_same_types(name: str) -> None:
    model = trained(name)
    empty, full = model.recommend([], 5), model.recommend(EVERYBODY[:1], 5)
    assert empty.empty
    assert empty.dtypes.to_dict() == full.dtypes.to_dict()


def test_new_only_leaves_out_what_was_bought(name: str) -> None:
    lists = trained(name).recommend(EVERYBODY, 30, new_only=True)
    assert not any(row.item_id in bought(row.shopper_id) for row in lists.itertuples())


def test_only_candidates_are_ranked_and_unknown_ones_ignored(name: str) -> None:
    model = trained(name)
    chosen = [item(2), item(3), "fuel", "no-such-item"]
    lists = model.recommend(EVERYBODY, 30, candidates=chosen)
    assert set(lists["item_id"]) == {item(2), item(3)}
    assert model.recommend(EVERYBODY, 5, candidates=[]).empty


def test_excluded_items_are_left_out_for_that_shopper_only(name: str) -> None:
    model = trained(name)
    one, other = shopper(0), shopper(2)
    gone = model.recommend([one], 3)["item_id"].tolist()
    asked = [one, other, "new-even"]
    unwanted = {one: [*gone, "no-such-item"], "new-even": np.array([item(4)], dtype=object)}
    lists = model.recommend(asked, 30, exclude=unwanted)
    assert not set(gone) & set(lists["item_id"][lists["shopper_id"] == one])
    assert set(gone) <= set(model.recommend([other], 30)["item_id"])
    assert item(4) not in set(lists["item_id"][lists["shopper_id"] == "new-even"])


def test_what_must_never_be_recommended_is_not(name: str) -> None:
    lists = trained(name).recommend([*EVERYBODY, "quiet", "new-odd"], 30, attributes=STRANGERS)
    assert "fuel" not in set(lists["item_id"])


def test_a_reason_is_known_and_bought_before_is_true(name: str) -> None:
    lists = trained(name).recommend([*EVERYBODY, "quiet", "new-odd"], 30)
    assert set(lists["reason"]) <= set(Reason)
    for row in lists[lists["reason"] == Reason.BOUGHT_BEFORE].itertuples():
        assert row.item_id in bought(row.shopper_id)


def test_what_nobody_bought_is_never_told_as_popular(name: str) -> None:
    lists = trained(name).recommend([*EVERYBODY, "quiet", "new-odd", "nobody"], 30, attributes=STRANGERS)
    never = lists[lists["item_id"].str.startswith("cold-")]
    assert len(never) and not (never["reason"] == Reason.POPULAR).any()


# ---------------------------------------------------------------------- what is declared


def test_unknown_shoppers_are_served_as_declared(name: str) -> None:
    model = trained(name)
    lists = model.recommend(["nobody", shopper(3), "new-odd"], 5, attributes=STRANGERS)
    served = set(lists["shopper_id"])
    assert served == ({"nobody", shopper(3), "new-odd"} if model.capabilities.cold_shoppers else {shopper(3)})
    if model.capabilities.cold_shoppers:
        with pytest.raises(UsageError, match="more than once"):
            model.recommend(["new-odd"], 5, attributes=pd.concat([STRANGERS, STRANGERS]))


def test_a_known_shopper_without_a_purchase_is_served(name: str) -> None:
    assert len(trained(name).recommend(["quiet"], 5)) == 5


def test_repeats_are_shown_as_declared(name: str) -> None:
    model = trained(name)
    lists = model.recommend(EVERYBODY, 9)
    repeats = sum(row.item_id in bought(row.shopper_id) for row in lists.itertuples())
    assert (repeats > 0) == model.capabilities.repeats


def test_items_never_sold_are_ranked_as_declared(name: str) -> None:
    model = trained(name)
    lists = model.recommend(EVERYBODY, 30, new_only=True)
    place = lists.set_index(["shopper_id", "item_id"])["rank"].unstack()
    right = pd.Series({who: place.loc[who, f"cold-{COLOURS[n % 2]}"] for n, who in enumerate(EVERYBODY)})
    wrong = pd.Series({who: place.loc[who, f"cold-{COLOURS[1 - n % 2]}"] for n, who in enumerate(EVERYBODY)})
    if model.capabilities.cold_items:
        assert right.mean() < wrong.mean()
    else:
        sold = place.drop(columns=[f"cold-{colour}" for colour in COLOURS]).max(axis=1)
        assert (sold < pd.concat([right, wrong], axis=1).min(axis=1)).all()


def newest(*pairs: tuple[str, str]) -> pd.DataFrame:
    """Events an hour apart, the last one half an hour after the model's moment."""
    times = AS_OF + pd.Timedelta(minutes=30) - pd.to_timedelta(range(len(pairs)), unit="h")[::-1]
    return pd.DataFrame(pairs, columns=["shopper_id", "item_id"]).assign(event_time=times)


def test_newest_events_make_a_personal_list_of_a_stranger_without_a_refit_as_declared(name: str) -> None:
    model = trained(name)
    events = newest(*[("stranger", item(n)) for n in (1, 3, 5, 7)], ("stranger", "no-such-item"))
    if not model.capabilities.fold_in:
        with pytest.raises(UsageError, match="without training"):
            model.fold_in(events, 5)
        return
    lists = model.fold_in(events, 5, new_only=True)
    assert lists["shopper_id"].eq("stranger").all() and lists["rank"].tolist() == [1, 2, 3, 4, 5]
    assert not set(lists["item_id"]) & {item(n) for n in (1, 3, 5, 7)} and "fuel" not in set(lists["item_id"])
    other = model.fold_in(newest(*[("stranger", item(n)) for n in (0, 2, 4, 6)]), 5, new_only=True)
    right = colours(board().items, "item_id", lists) == "odd"
    # One that ranks what nobody bought before alike for all says nothing of a taste beyond repeats.
    assert right.mean() >= 0.8 or set(other["item_id"]) - set(lists["item_id"]) <= {item(n) for n in (1, 3, 5, 7)}
    assert lists.attrs["fallbacks"] == {"unknown_shopper": 1, "no_history": 0, "unknown_item": 1}


def test_what_the_newest_events_name_is_told_as_bought_before(name: str) -> None:
    model = trained(name)
    if not model.capabilities.fold_in:
        return
    named = {("stranger", item(2)), ("stranger", item(4)), (shopper(3), item(4))}
    lists = model.fold_in(newest(*sorted(named)), 30)
    for row in lists.itertuples():
        known = row.item_id in bought(row.shopper_id) or (row.shopper_id, row.item_id) in named
        assert (row.reason in {Reason.BOUGHT_BEFORE, Reason.DUE_AGAIN}) == known, row


def test_what_was_only_looked_at_is_no_repeat(name: str) -> None:
    model = trained(name)
    if not model.capabilities.fold_in:
        return
    looks = newest(("stranger", item(2)), ("stranger", item(4)), (shopper(3), item(4)))
    lists = model.fold_in(looks.assign(event_type=["view", "content_view", "click"]), 30)
    for row in lists.itertuples():
        repeat = row.reason in {Reason.BOUGHT_BEFORE, Reason.DUE_AGAIN}
        assert repeat == (row.item_id in bought(row.shopper_id)), row
    stranger = lists[lists["shopper_id"] == "stranger"].set_index("item_id")["reason"]
    assert item(4) not in stranger or stranger[item(4)] == Reason.WATCHED
    fresh = model.fold_in(looks.assign(event_type="view"), 30, new_only=True)
    assert set(fresh.loc[fresh["shopper_id"] == "stranger", "item_id"]) == set(stranger.index)


def test_what_a_folded_in_reason_is_about_is_told_when_asked(name: str) -> None:
    model = trained(name)
    if not model.capabilities.fold_in:
        return
    events = newest((shopper(3), item(4)))
    folded = model.fold_in(events, 30, explain=True).set_index("item_id")
    plain = model.recommend([shopper(3)], 30, explain=True).set_index("item_id")
    both = [thing for thing in folded.index.intersection(plain.index) if thing != item(4)]
    pd.testing.assert_frame_equal(folded.loc[both, ["reason", "about"]], plain.loc[both, ["reason", "about"]])
    quiet = model.fold_in(newest(("quiet", item(4))), 30)
    assert not (quiet.loc[quiet["item_id"] != item(4), "reason"] == Reason.BOUGHT_BEFORE).any()
    assert not (quiet["reason"] == Reason.POPULAR).any(), "a list made from events is personal"


def test_folding_in_neither_changes_the_model_nor_depends_on_who_else_is_asked(name: str) -> None:
    model = trained(name)
    if not model.capabilities.fold_in:
        return
    before = model.recommend(EVERYBODY, 8)
    own, other = newest(("stranger", item(2)), ("stranger", item(4))), newest((shopper(3), item(5)))
    together = model.fold_in(pd.concat([other, own]), 8, now=AS_OF + pd.Timedelta(days=1))
    alone = model.fold_in(own, 8, now=AS_OF + pd.Timedelta(days=1))
    mine = together[together["shopper_id"] == "stranger"].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, mine, check_exact=True)
    pd.testing.assert_frame_equal(model.recommend(EVERYBODY, 8), before)
    with pytest.raises(UsageError, match="events lie after"):
        model.fold_in(own, 5, now=AS_OF - pd.Timedelta(days=1))


def test_events_of_unknown_items_alone_serve_as_if_there_were_none(name: str) -> None:
    model = trained(name)
    if not model.capabilities.fold_in:
        return
    lists = model.fold_in(newest((shopper(2), "no-such-item")), 6)
    plain = model.recommend([shopper(2)], 6)
    assert lists["item_id"].tolist() == plain["item_id"].tolist()
    assert lists.attrs["fallbacks"]["unknown_item"] == 1


def test_the_moment_of_a_visit_is_taken_as_declared(name: str) -> None:
    model = trained(name)
    at = {shopper(1): AS_OF + pd.Timedelta(days=1)}
    if not model.capabilities.visit_date:
        with pytest.raises(UsageError, match="moment of a visit"):
            model.recommend(EVERYBODY, 5, at=at)
        return
    lists = model.recommend(EVERYBODY, 5, at=at)
    assert lists.groupby("shopper_id").size().eq(5).all()
    others = [who for who in EVERYBODY if who not in at]
    rest = lists[lists["shopper_id"].isin(others)].reset_index(drop=True)
    pd.testing.assert_frame_equal(rest, model.recommend(others, 5), check_exact=True)


def test_what_was_served_otherwise_than_asked_is_counted(name: str) -> None:
    model = trained(name)
    lists = model.recommend([shopper(1), "quiet", "nobody"], 3, candidates=[item(2), "no-such-item"])
    assert lists.attrs["fallbacks"] == {"unknown_shopper": 1, "no_history": 1, "unknown_item": 1}


def test_what_a_reason_is_about_is_told_when_asked(name: str) -> None:
    model = trained(name)
    told = model.recommend([*EVERYBODY, "quiet"], 9, explain=True)
    assert list(told.columns[-2:]) == ["reason", "about"]
    assert told["about"].map(type).eq(str).all()
    pd.testing.assert_frame_equal(told.drop(columns="about"), model.recommend([*EVERYBODY, "quiet"], 9))


# ---------------------------------------------------------------------- keeping


def test_a_saved_model_loads_without_unpickling_and_ranks_the_same(name: str, tmp_path: Path) -> None:
    trained(name).save(tmp_path / "model")
    files = [path for path in (tmp_path / "model").rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".npy", ".json"}
    for path in files:
        if path.suffix == ".npy":
            np.load(path, allow_pickle=False)
    again = load(tmp_path / "model")
    assert type(again) is type(trained(name))
    assert_same_lists(again, trained(name))


def test_a_saved_model_saves_to_the_same_bytes(name: str, tmp_path: Path) -> None:
    trained(name).save(tmp_path / "one")
    load(tmp_path / "one").save(tmp_path / "two")
    for path in (tmp_path / "one").rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes()


def test_a_damaged_model_is_refused_in_one_sentence(name: str, tmp_path: Path) -> None:
    trained(name).save(tmp_path / "model")
    header = tmp_path / "model" / "artifact.json"
    whole = json.loads(header.read_text())
    header.write_text(json.dumps({**whole, "config": {**whole["config"], "gone": 1}}))
    with pytest.raises(FacingsError, match="`gone`"):
        load(tmp_path / "model")
    header.write_text(json.dumps(whole))
    (tmp_path / "model" / "history_indices.npy").write_bytes(b"torn")
    with pytest.raises(FacingsError, match="history_indices"):
        load(tmp_path / "model")


def test_forgetting_removes_a_shopper_from_every_byte_and_changes_nobody_else(name: str, tmp_path: Path) -> None:
    trained(name).save(tmp_path / "before")
    model = load(tmp_path / "before")
    others = [who for who in EVERYBODY if who != shopper(7)]
    lists = model.recommend(others, 30)
    assert model.forget([shopper(7), "nobody"]) == 1
    model.save(tmp_path / "after")
    again = load(tmp_path / "after")
    pd.testing.assert_frame_equal(again.recommend(others, 30), lists)
    assert Reason.BOUGHT_BEFORE not in set(again.recommend([shopper(7)], 9)["reason"])
    for encoding in ("utf-8", "utf-32-le"):
        needle = shopper(7).encode(encoding)
        assert any(needle in path.read_bytes() for path in (tmp_path / "before").rglob("*.*")) or encoding == "utf-8"
        assert not any(needle in path.read_bytes() for path in (tmp_path / "after").rglob("*.*"))


def test_a_config_round_trips_and_an_unknown_key_is_refused(name: str) -> None:
    config = untrained(name).config
    again = type(config).model_validate(json.loads(config.model_dump_json()))
    assert again == config
    with pytest.raises(UsageError, match="no_such_key"):
        create(name, {"no_such_key": 1})
    with pytest.raises(ValueError, match="frozen"):
        setattr(config, next(iter(type(config).model_fields)), None)


# ---------------------------------------------------------------------- libraries


@cache
def imported(name: str) -> frozenset[str]:
    """Top-level modules that importing only this recommender brings in."""
    line = f"import sys, models.recommenders.{name}; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=True)
    return frozenset(done.stdout.split())


def own_imports(name: str) -> set[str]:
    tree = ast.parse(Path(models.recommenders.__path__[0], f"{name}.py").read_text())
    found = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    found |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    return {module.partition(".")[0] for module in found}


def test_importing_one_brings_in_no_library_of_another(name: str) -> None:
    recommender_class(name)
    others = [other for other in recommender_names() if other != name]
    loaded = imported(name)
    assert not loaded & {f"models.recommenders.{other}" for other in others}
    fenced = {"lightfm", "torch", "implicit", "lightgbm", "rectools"}
    fenced |= set().union(*map(own_imports, others)) - {
        "models",
        "features",
        "configs",
        "numpy",
        "pandas",
        "scipy",
        "pydantic",
    }
    assert not (loaded & fenced) - own_imports(name) - set(sys.stdlib_module_names)
