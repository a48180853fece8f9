"""`amazon-loo`: popularity to the digit on Amazon Beauty; any other shop in the same format under the same protocol."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from configs.errors import FacingsError, UsageError
from configs.recipe import Recipe, load_recipe
from pipelines.training.published import amazon_loo
from pipelines.training.published.table import LISTS, PublishedTable

RING = 12


def quiet(_: str) -> None:
    """Nobody listens."""


def write_shop(folder: Path, name: str = "Toys", lines: list[str] | None = None, attributes: str | None = None) -> Path:
    """Forty users who walk round a ring of items; ids are words, and two users have too few items to be judged."""
    folder.mkdir(exist_ok=True)
    if lines is None:
        lines = [" ".join([f"user-{n}", *(f"toy-{(n + step) % RING}" for step in range(4 + n % 5))]) for n in range(40)]
        lines += ["short-1 toy-3", "short-2 toy-3 toy-4"]
    (folder / f"{name}.txt").write_text("\n".join(lines) + "\n")
    whole = json.dumps({f"toy-{n}": [n % 3, "wood"] for n in range(RING - 1)})
    (folder / f"{name}_item2attributes.json").write_text(whole if attributes is None else attributes)
    return folder


def table_of(folder: Path, *recipes: Recipe, seeds: int = 1, peers: bool = False) -> PublishedTable:
    return amazon_loo.run(folder, recipes, seeds=seeds, peers=peers, progress=quiet)


def figure(table: PublishedTable, recipe: str, metric: str) -> float:
    (found,) = [each.ours for each in table.figures if (each.recipe, each.metric) == (recipe, metric)]
    return found


@pytest.mark.published_data
def test_popularity_on_amazon_beauty_is_met_to_the_digit(published_data: Path) -> None:
    table = table_of(published_data / "amazon_beauty")
    assert [figure.match for figure in table.figures] == [True, True]
    assert "22,363 users, 12,101 items, 198,502 actions" in table.title
    assert any("eSASRec .0928/.0523" in note for note in table.notes)
    assert len(table.lists) == 22_363 * 10


def test_another_shop_is_judged_by_its_own_last_items_and_compared_with_nothing_published(tmp_path: Path) -> None:
    config = {"width": 16, "epochs": 40, "batch_rows": 1, "learning_rate": 0.01, "negatives": 0}
    recipe = Recipe(name="mine", recommender="sequential", config=config, data={"item_content": ["tags"]})
    table = table_of(write_shop(tmp_path / "shop"), recipe, seeds=2)
    assert "Toys, each user's last item; 42 users, 12 items" in table.title
    assert all(figure.reference is None for figure in table.figures) and table.reproduced
    assert not any("Beauty" in note for note in table.notes)
    assert figure(table, "mine", "hr") > 0.95 and figure(table, "mine", "ndcg") > 0.9


def test_figures_are_what_the_lists_say_and_nothing_known_is_in_them(tmp_path: Path) -> None:
    table = table_of(write_shop(tmp_path / "shop"))
    source = amazon_loo.read_data(tmp_path / "shop")
    lists = table.lists
    assert list(lists.columns) == LISTS and set(lists["setting"]) == {"default"}
    assert lists["user"].nunique() == 40 and not lists["user"].str.startswith("short").any()
    gains = []
    for user, items in source.sequences.items():
        if len(items) < 3:
            continue
        shown = lists[lists["user"] == user].sort_values("rank")["item"].tolist()
        assert not set(shown) & set(items[:-1]) and len(shown) == min(10, RING - len(items) + 1)
        gains.append(1 / np.log2(2 + shown.index(items[-1])) if items[-1] in shown else 0.0)
    assert figure(table, "popular", "ndcg") == pytest.approx(np.mean(gains))
    assert figure(table, "popular", "hr") == pytest.approx(np.mean([gain > 0 for gain in gains]))


def test_the_validation_item_is_judged_by_what_comes_before_it(tmp_path: Path) -> None:
    source = amazon_loo.read_data(write_shop(tmp_path / "shop", lines=["u a b c d", "v c a", "w b d a"]))
    assert source.truth(2).to_dict("list") == {"shopper_id": ["u", "w"], "item_id": ["c", "d"]}
    known = source.known(2)
    assert known.groupby("shopper_id")["item_id"].agg("".join).to_dict() == {"u": "ab", "v": "ca", "w": "b"}
    gaps = known.groupby("shopper_id")["event_time"].diff().dropna()
    assert (gaps == pd.Timedelta(minutes=1)).all()
    assert known.groupby("shopper_id")["event_time"].max().nunique() == 1


def test_what_is_no_such_folder_is_told_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--data"):
        table_of(None)  # type: ignore[arg-type]
    with pytest.raises(FacingsError, match="is no folder"):
        table_of(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FacingsError, match="holds no pair"):
        table_of(tmp_path / "empty")
    write_shop(tmp_path / "two")
    write_shop(tmp_path / "two", name="Games")
    with pytest.raises(FacingsError, match=r"2 pairs \(Games, Toys\)"):
        table_of(tmp_path / "two")


@pytest.mark.parametrize(
    ("lines", "attributes", "words"),
    [
        (["u a b c", "v"], None, "line 2: user v has no item"),
        (["u a b c", "", "u a"], None, "line 3: user u has a line already"),
        (["u a b", "v a"], None, "no user with three items"),
        (None, "{", "is no JSON"),
        (None, "[1, 2]", "map each item to a list"),
        (None, '{"toy-1": 3}', "map each item to a list"),
    ],
)
def test_a_file_out_of_the_format_is_told_in_one_sentence(
    tmp_path: Path, lines: list[str] | None, attributes: str | None, words: str
) -> None:
    with pytest.raises(FacingsError, match=words):
        table_of(write_shop(tmp_path / "shop", lines=lines, attributes=attributes))


def test_peers_are_measured_on_the_same_split_or_said_to_be_missing(tmp_path: Path) -> None:
    table = table_of(write_shop(tmp_path / "shop"), peers=True)
    measured, notes = {figure.recipe for figure in table.figures}, " ".join(table.notes)
    for library, peer in (("implicit", "implicit-als"), ("rectools", "rectools-sasrec")):
        assert (peer in measured) != (f"Peers from {library} are not measured" in notes)


def test_the_recipe_of_the_table_is_complete() -> None:
    recipe = load_recipe("beauty_sequential")
    assert recipe.recommender == "sequential" and recipe.data.item_content == ("tags",)
