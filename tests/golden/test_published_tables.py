"""The published figures, met to the digits that were published."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from cli.benchmark import TABLES
from cli.main import facings
from configs.errors import UsageError
from configs.recipe import Recipe
from pipelines.training.published import complete_journey, movielens_lightfm
from pipelines.training.published.journey_promotions import read_promotions
from pipelines.training.published.table import LISTS, PublishedTable


@pytest.fixture(scope="module")
def journey() -> PublishedTable:
    return complete_journey.run(None, [], seeds=1, peers=False, progress=lambda _: None)


def test_complete_journey_meets_every_published_baseline_to_the_digit(journey: PublishedTable) -> None:
    published = [figure for figure in journey.figures if figure.reference is not None]
    assert len(published) == 22
    missed = [figure for figure in published if round(figure.ours, 4) != figure.reference and not figure.match]
    assert not missed
    assert "2,051 households" in journey.title and "calls the data simulated" in journey.title


def test_complete_journey_s_lists_are_in_the_data_s_own_ids_and_complete(journey: PublishedTable) -> None:
    lists = journey.lists
    assert list(lists.columns) == LISTS
    assert lists["user"].astype(int).between(1, 2500).all()
    one = lists[(lists["recipe"] == "popular") & (lists["setting"] == "month")]
    assert one.groupby("user")["rank"].apply(list).map(lambda ranks: ranks == list(range(1, 11))).all()
    assert one["user"].nunique() == 2051


def test_complete_journey_states_what_a_clairvoyant_would_reach(journey: PublishedTable) -> None:
    (note,) = [note for note in journey.notes if note.startswith("Oracle bounds")]
    bounds = [float(word) for word in re.findall(r"0?\.\d{4}", note)]
    assert len(bounds) == 4 and all(0 < bound < 1 for bound in bounds)
    assert bounds[0] > bounds[1] and bounds[2] > bounds[3]


def test_complete_journey_s_promotions_end_at_the_cut_unless_the_plan_is_known() -> None:
    told = [read_promotions(None, cut=complete_journey.CUT, planned=planned, pad=9) for planned in (False, True)]
    past, plan = (table["starts"].max() for table in told)
    assert past < complete_journey.CUT <= plan < complete_journey.CUT + pd.Timedelta(days=31)


@pytest.mark.published_data
def test_movielens_meets_lightfm_s_own_figures_within_noise(published_data: Path) -> None:
    table = movielens_lightfm.run(published_data / "ml-100k", [], seeds=1, peers=False, progress=lambda _: None)
    assert table.reproduced, table.text()
    assert sorted(table.lists["recipe"].unique()) == ["bpr", "warp"]
    assert len(table.lists) == 2 * 943 * 10


def test_the_verb_says_what_tables_there_are_and_what_data_they_need(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FACINGS_BENCHMARK_DATA", raising=False)
    unknown = CliRunner().invoke(facings, ["benchmark", "nope"])
    assert all(name in str(unknown.exception) for name in TABLES)
    missing = CliRunner().invoke(facings, ["benchmark", "movielens-lightfm"])
    assert "--data" in str(missing.exception)
    nowhere = CliRunner().invoke(facings, ["benchmark", "movielens-lightfm", "--data", "/nonexistent"])
    assert "ua.base" in str(nowhere.exception)


def test_a_recipe_that_bears_the_name_of_a_baseline_is_refused() -> None:
    mine = Recipe(name="popular", recommender="popularity")
    with pytest.raises(UsageError, match="'popular' already"):
        complete_journey.run(None, [mine], seeds=1, peers=False, progress=lambda _: None)


def test_a_table_that_misses_a_figure_is_not_called_reproduced(journey: PublishedTable) -> None:
    wrong = journey.figures[0].model_copy(update={"ours": journey.figures[0].ours + 0.001})
    table = journey.model_copy(update={"figures": (wrong, *journey.figures[1:])})
    assert not table.reproduced and "NO" in "\n".join(table.text())
    assert json.loads(json.dumps(table.result()))["reproduced"] is False
    assert isinstance(table.lists, pd.DataFrame)
