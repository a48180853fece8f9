"""`facings compare`: the same split for all, figures that are true of the lists, one page that names nobody."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from configs.clock import SystemClock
from configs.errors import FacingsError
from configs.recipe import load_recipe
from configs.settings import Settings, load_settings
from models import metrics
from models.registry import create
from pipelines.signals.ingest import ingest
from pipelines.signals.lake.lake import Lake
from pipelines.training.comparison.compare import ComparisonResult, compare
from pipelines.training.dataset import signals, training_dataset
from pipelines.training.tracking import Tracking
from tests.command import facings
from tests.small_shop import write_small_shop

CLOCK = SystemClock()
NEWCOMER = "newcomer-1"
RECIPES = ("personal_frequency", "popularity")


def silent(_: str) -> None:
    """Progress that nobody reads."""


@pytest.fixture(scope="module", autouse=True)
def _same_code() -> Iterator[None]:
    """These tests are of one code, also while somebody edits a file of the tree they run in."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipelines.training.comparison.compare.code_digest", lambda: "0123456789abcdef")
        yield


@pytest.fixture(scope="module")
def shop_home(tmp_path_factory: pytest.TempPathFactory, trained_home: Path) -> Settings:
    """A home with the small shop, a shopper who came in the last days, and the database of runs already made."""
    root = tmp_path_factory.mktemp("compare")
    folder = write_small_shop(root / "shop")
    rows = pd.read_csv(folder / "interactions.csv", dtype=str)
    late = rows.tail(3).assign(shopper_id=NEWCOMER, event_id=["n1", "n2", "n3"])
    pd.concat([rows, late]).to_csv(folder / "interactions.csv", index=False)
    settings = load_settings(home=root / "home")
    ingest(folder, settings.paths, clock=CLOCK, settings=settings, progress=silent)
    shutil.copy(trained_home / "mlflow.db", settings.paths.mlflow_db)  # spares the first start's migrations
    return settings


@pytest.fixture(scope="module")
def compared(shop_home: Settings) -> ComparisonResult:
    """Personal frequency and popularity, beside each other."""
    return compare(shop_home, RECIPES, clock=CLOCK, progress=silent)


def test_the_figures_are_those_of_lists_trained_on_what_was_known_at_the_cut(
    shop_home: Settings, compared: ComparisonResult
) -> None:
    lake, cut = Lake(shop_home.paths), pd.Timestamp(compared.cut)
    purchases = signals(lake, ["purchase"], pd.Timestamp(compared.end))
    later = purchases[purchases["event_time"] >= cut]
    for found in compared.recipes:
        recipe = load_recipe(found.recipe)
        dataset = training_dataset(shop_home, lake, recipe, cut)
        never = pd.Index(dataset.items["item_id"][~dataset.recommendable])
        truth = later[~later["item_id"].isin(never)]
        model = create(recipe.recommender, recipe.config).fit(dataset, seed=recipe.seed)
        lists = model.recommend(sorted(truth["shopper_id"].unique()), compared.k)
        ours = metrics.evaluate(lists, truth, k=compared.k, history=purchases[purchases["event_time"] < cut])
        for metric in ("ndcg", "recall", "repeat_recall", "new_ndcg"):
            assert found.metrics[metric] == pytest.approx(ours[metric].mean(), abs=1e-12), (found.label, metric)
        assert found.costs.interactions == len(dataset.interactions)
        assert found.costs.peak_mb >= found.costs.before_mb > 0
        assert sum(found.exposure_by_popularity) == pytest.approx(1)


def test_slices_hold_whom_they_name_and_every_difference_has_an_interval(compared: ComparisonResult) -> None:
    sizes = {line.scope: line.shoppers for line in compared.lines if line.metric == "ndcg"}
    assert sizes["cold"] == 1
    assert sizes["cold"] + sizes["light"] + sizes["heavy"] == sizes["all"] == compared.shoppers
    assert {"store s1", "store s2", "store s3", "item_tail"} <= sizes.keys()
    for line in compared.lines:
        if line.recipe == "popularity":
            assert line.lower is not None and line.difference is not None and line.upper is not None
            assert line.lower <= line.difference + 1e-12 and line.difference <= line.upper + 1e-12
    worse = next(line for line in compared.lines if (line.recipe, line.metric) == ("popularity", "ndcg"))
    assert worse.mark == "down", "the small shop's shoppers buy their favourites"


class Reader(HTMLParser):
    """Notes what a page refers to, and whether its elements are closed."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for name, value in attrs if name in {"src", "href", "srcset", "data", "action"}]
        if tag not in {"meta"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for name, value in attrs if name in {"src", "href"}]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_one_file_that_asks_for_nothing_and_names_no_shopper(compared: ComparisonResult) -> None:
    page = Path(compared.page).read_text()
    reader = Reader()
    reader.feed(page)
    assert not reader.open
    assert all(link.startswith("#") for link in reader.links)
    assert "url(" not in page and "@import" not in page and "<script" not in page
    assert "default-src 'none'" in page
    assert "shopper-" not in page and NEWCOMER not in page
    assert len(re.findall(r"<summary>Shopper \d+ ", page)) == 20
    assert "(cold, 0 purchases before)" in page
    assert "Cheese 6" in page, "items bear their titles"
    for heading in ("Repeats and new items", "Slices", "Coverage and exposure", "Cost of training"):
        assert f"{heading}</h2>" in page
    assert page.count("<svg ") >= 4


def test_the_same_comparison_again_trains_nothing_and_gives_the_same_page(
    shop_home: Settings, compared: ComparisonResult, tmp_path: Path
) -> None:
    told: list[str] = []
    again = compare(shop_home, RECIPES, out=tmp_path / "again.html", clock=CLOCK, progress=told.append)
    assert sum("was trained before" in line for line in told) == 2
    assert again.model_dump(exclude={"page"}) == compared.model_dump(exclude={"page"})
    assert (tmp_path / "again.html").read_text() == Path(compared.page).read_text()


def test_a_comparison_is_tracked_with_a_run_below_it_for_each_recipe(
    shop_home: Settings, compared: ComparisonResult
) -> None:
    tracking = Tracking(shop_home)
    runs = [run for run in tracking.runs() if run.job == "compare"]
    assert [run.recipe for run in runs] == ["personal_frequency popularity", *RECIPES]
    assert [run.parent for run in runs] == [None, runs[0].run_id, runs[0].run_id]
    assert runs[1].value == compared.recipes[0].metrics["ndcg"]
    assert (runs[1].metric, runs[1].data, runs[1].code) == ("ndcg@10", compared.data, compared.code)
    card = (tracking.artifact(runs[1].run_id, "") / "model-card.md").read_text()
    assert "| light |" in card and "Limits:" in card
    assert tracking.recipe(runs[2].run_id) == load_recipe("popularity")
    papers = tracking.artifact(runs[0].run_id, "")
    assert (papers / "plots" / "exposure.svg").read_text().startswith("<svg xmlns='http://www.w3.org/2000/svg'")
    assert "Shopper 1" not in (papers / "report.html").read_text(), "histories stay out of what is tracked"


def test_the_champion_is_compared_by_name(trained: Settings) -> None:
    result = compare(trained, ["champion", "popularity"], test_days=20, clock=CLOCK, progress=silent)
    assert [(found.label, found.recipe) for found in result.recipes] == [
        ("champion", "personal_frequency"),
        ("popularity", "popularity"),
    ]
    assert pd.Timestamp(result.end) - pd.Timestamp(result.cut) == pd.Timedelta(days=20)
    with pytest.raises(FacingsError, match="champion and personal_frequency train the same model"):
        compare(trained, ["champion", "personal_frequency"], clock=CLOCK, progress=silent)


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["popularity"], 2, "needs at least two recipes"),
        (["popularity", "nonesuch"], 2, "There is no recipe 'nonesuch'"),
        (["popularity", "popularity"], 2, "popularity and popularity train the same model"),
        (["popularity", "{wrong}"], 2, "key `window_dayz`"),
        (["popularity", "{unknown}"], 2, "There is no recommender 'oracle'"),
        (["popularity", "{content}"], 1, "Recipe content: The recipe names colour"),
        (["champion", "popularity"], 1, "Nothing serves yet, so there is no champion"),
        (["popularity", "personal_frequency", "--test-days", "9000"], 1, "give fewer `--test-days`"),
    ],
)
def test_what_cannot_be_compared_is_told_in_one_sentence(
    shop_home: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
    sentence: str,
) -> None:
    monkeypatch.setenv("FACINGS_HOME", str(shop_home.home))
    files = {
        "wrong": "name: wrong\nrecommender: popularity\nconfig: {window_dayz: 7}\n",
        "unknown": "name: unknown\nrecommender: oracle\n",
        "content": "name: content\nrecommender: personal_frequency\ndata: {item_content: [colour]}\n",
    }
    for name, text in files.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    paths = {name: str(tmp_path / f"{name}.yaml") for name in files}
    outcome = facings("compare", *(argument.format(**paths) for argument in arguments))
    assert (outcome.code, outcome.out) == (code, "")
    assert sentence in outcome.sentence


def test_a_home_without_data_says_how_to_load_some(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACINGS_HOME", str(tmp_path / "empty"))
    outcome = facings("compare", *RECIPES)
    assert (outcome.code, "facings ingest FOLDER" in outcome.sentence) == (1, True)


def test_the_command_prints_one_json_object(
    shop_home: Settings, compared: ComparisonResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACINGS_HOME", str(shop_home.home))
    told = facings("compare", *RECIPES, "--json").told
    assert told["key"] == compared.key
    assert [found["label"] for found in told["recipes"]] == list(RECIPES)
