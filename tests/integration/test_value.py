"""From a simulated shop to slates that say what showing is worth: the law of time, and what is kept of whom."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from configs.clock import FixedClock
from configs.settings import Settings, load_settings
from models.base import Recommender
from models.dataset import Dataset
from models.registry import create
from pipelines import snapshot
from pipelines.forget_models import forget_in_tables
from pipelines.offers.value.data import Events, ValueData, read_value_data
from pipelines.offers.value.examples import examples
from pipelines.offers.value.features import NAMES, Asked, Known
from pipelines.offers.value.job import train_value
from pipelines.offers.value.kept import ODDS, PLACES, Kept, ValueFacts, read_facts
from pipelines.offers.value.model import fit_value
from pipelines.offers.value.odds import chance
from pipelines.offers.value.parameters import FOLDER, kept_model
from pipelines.offers.value.scored import score_anew
from pipelines.offers.view import open_view
from pipelines.signals.ingest import ingest
from pipelines.signals.lake.lake import Lake
from pipelines.simulation.config import START, TownConfig
from pipelines.simulation.history import write_history
from pipelines.training.dataset import signals

DAYS, CANDIDATES = 40, 40
END = datetime(START.year, START.month, START.day, tzinfo=UTC) + timedelta(days=DAYS)


def quiet(_: str) -> None:
    """Progress that nobody reads."""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Recommender]:
    """A home with a simulated shop in it, and a recommender that was trained on it."""
    folder = tmp_path_factory.mktemp("value")
    write_history(TownConfig(shoppers=220, stores=2, days=DAYS, items=120), 7, folder / "town", progress=quiet)
    settings = load_settings(home=folder / "home")
    ingest(folder / "town", settings.paths, clock=FixedClock(END), settings=settings, progress=quiet)
    lake = Lake(settings.paths)
    snapshot.refresh_shop(settings.paths, lake, settings, now=END, progress=quiet)
    dataset = Dataset.build(
        signals(lake, ("purchase",), END),  # type: ignore[arg-type]
        items=lake.read("items"),
        shoppers=lake.read("shoppers"),
        as_of=END,  # type: ignore[arg-type]
    )
    return settings, create("personal_frequency").fit(dataset)


@pytest.fixture(scope="module")
def trained(shop: tuple[Settings, Recommender]) -> Path:
    """The folder of a value model of that shop."""
    settings, model = shop
    folder = settings.paths.runs / "value"
    train(folder, settings, model)
    return folder


def train(folder: Path, settings: Settings, model: Recommender) -> ValueFacts:
    cut = END - timedelta(days=10)
    return train_value(folder, settings, Lake(settings.paths), model, cut=cut, end=END, candidates=CANDIDATES,
                       seed=0, progress=quiet)  # fmt: skip


def test_slates_say_what_showing_is_worth_to_every_shopper_and_place(
    shop: tuple[Settings, Recommender], trained: Path
) -> None:
    settings, model = shop
    facts = read_facts(trained)
    assert facts is not None and facts.trained
    assert {"calibration_error", "auuc", "qini", "profit", "profit_top_fifth"} <= set(facts.metrics)
    assert 0 <= facts.metrics["calibration_error"] < 0.1
    built = snapshot.build_slates(
        settings.paths, model, version="1", recipe="r", candidates=CANDIDATES, progress=quiet, value=trained
    )
    snapshot.switch(settings.paths, "slates", built)
    view = open_view(settings.paths)
    assert view is not None
    try:
        served = [view.candidates(str(shopper)) for shopper in model.shopper_ids]
        told = [one for one in served if len(one)]
        assert len(told) > 150 and all(len(one) <= CANDIDATES for one in told)
        odds = np.concatenate([one.odds for one in told if one.odds is not None]).astype(np.float64)
        known = ~np.isnan(odds[:, 0])
        assert known.mean() > 0.9
        assert (odds[known, 2] >= 0).all() and (np.abs(odds[known, 3]) <= 1).all() and (odds[known, 4] >= 0).all()
        rising = chance(odds[known], np.tile([0.0, 0.1, 0.2, 0.3], (int(known.sum()), 1)))
        assert (np.diff(rising, axis=1) >= 0).all()
        for level in ("home", "store", "chain"):
            place = view.popular(level, "st0001")
            assert place.odds is not None and np.isfinite(place.odds[:, 0]).mean() > 0.5
            assert len(np.unique(place.items)) == len(place)
    finally:
        view.close()


def test_a_value_model_is_made_once_and_the_same_again(shop: tuple[Settings, Recommender], trained: Path) -> None:
    settings, model = shop
    before = (trained / ODDS).stat().st_mtime_ns
    assert train(trained, settings, model) == read_facts(trained)
    assert (trained / ODDS).stat().st_mtime_ns == before
    again = settings.paths.runs / "again"
    train(again, settings, model)
    assert pl.read_parquet(again / ODDS).equals(pl.read_parquet(trained / ODDS))


def test_a_kept_model_tells_the_very_odds_that_training_wrote(
    shop: tuple[Settings, Recommender], trained: Path, tmp_path: Path
) -> None:
    settings, model = shop
    facts = score_anew(tmp_path, trained, settings, Lake(settings.paths), model, moment=END, progress=quiet)
    assert facts == read_facts(trained) == read_facts(tmp_path)
    for name in (ODDS, PLACES):
        assert pl.read_parquet(tmp_path / name).equals(pl.read_parquet(trained / name)), name
    kept = [file for file in (trained / FOLDER).rglob("*") if file.is_file()]
    assert {file.suffix for file in kept} == {".txt", ".npz", ".json"}
    names = b"".join(file.read_bytes() for file in kept)
    assert not any(str(shopper).encode() in names for shopper in model.shopper_ids)


def test_a_kept_model_reads_goods_and_places_by_their_names(shop: tuple[Settings, Recommender], trained: Path) -> None:
    """A good of a new category comes before all others, and a neighbourhood gets another name."""
    settings, _ = shop

    class Later(Lake):
        def scan(self, table: str) -> pl.LazyFrame:
            rows = super().scan(table)
            if table == "items":
                new = rows.head(1).with_columns(item_id=pl.lit("a-new-one"), category=pl.lit("A/new"), tags=pl.lit(""))
                return pl.concat([rows, new])
            return rows

    now, data = (read_value_data(lake(settings.paths), END) for lake in (Lake, Later))
    assert now is not None and data is not None
    assert data.item_ids[0] == "a-new-one" and data.category_names[0] == "A/new"
    before, value = (kept_model(trained / FOLDER, each) for each in (now, data))
    assert np.isfinite(value.odds(np.zeros(1, np.int64), np.zeros(1, np.int64))).all()
    liked = before.taste  # fitted anew it is nearly this; here it is the same, but for the new good
    taste = replace(liked, item=np.r_[0.0, liked.item], price=np.r_[0.0, liked.price])
    who, what = np.repeat(np.arange(20), len(now.item_ids)), np.tile(np.arange(len(now.item_ids)), 20)
    told = before.odds(who, what), replace(value, taste=taste).odds(who, what + 1)
    np.testing.assert_allclose(told[1], told[0], rtol=1e-12)
    elsewhere = Known(replace(data, place_names=("new", *data.place_names[1:])), value.known.place_names)
    moved = data.home == 0
    assert moved.any() and (elsewhere.home[moved] == elsewhere.places - 1).all()
    assert np.array_equal(elsewhere.home[~moved], value.known.home[~moved])


def test_nothing_of_a_moment_or_later_is_told_of_what_came_before(shop: tuple[Settings, Recommender]) -> None:
    settings, _ = shop
    data = read_value_data(Lake(settings.paths), END)
    assert data is not None
    cut = data.moment - 12 * 86_400
    known, changed = Known(data), Known(other_future(data, cut))
    rows = np.flatnonzero(data.visits.start < cut)[-400:]
    rng = np.random.default_rng(0)
    taste = known.taste(cut - 86_400, rng)
    asked = replace(examples_of(data, rows, rng), time=np.minimum(data.visits.start[rows], cut))
    told = known.features(asked, taste, int(asked.time.min()))
    assert np.array_equal(told, changed.features(asked, taste, int(asked.time.min())), equal_nan=True)
    ones = np.ones(len(rows))
    assert np.array_equal(known.shown(asked, ones, ones, ones), changed.shown(asked, ones, ones, ones))
    one, other = (world.taste(cut, np.random.default_rng(1)) for world in (known, changed))
    assert np.array_equal(one.item, other.item) and np.array_equal(one.own, other.own)


def examples_of(data: ValueData, rows: np.ndarray, rng: np.random.Generator):  # type: ignore[no-untyped-def]
    from pipelines.offers.value.features import Asked

    visits = data.visits
    return Asked(visits.shopper[rows], rng.integers(0, len(data.item_ids), len(rows)), visits.start[rows],
                 visits.store[rows])  # fmt: skip


def other_future(data: ValueData, cut: int) -> ValueData:
    """The same shop, in which from `cut` on everybody did something else."""

    def turned(events: Events, codes: int) -> Events:
        late = events.time >= cut
        item = np.where(late, (events.item * 7 + 3) % codes, events.item)
        extra = {name: np.where(late, values[::-1], values) for name, values in events.extra.items()}
        return Events(events.shopper, item, events.time, events.visit, extra)

    goods = len(data.item_ids)
    return replace(
        data,
        purchases=turned(data.purchases, goods),
        showings=turned(data.showings, goods),
        draws=turned(data.draws, goods),
        looks=turned(data.looks, goods),
        interests=turned(data.interests, data.tags.shape[1]),
    )


def test_a_forgotten_shopper_has_no_odds_and_the_others_keep_theirs(trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "value"
    shutil.copytree(trained, folder)
    before = pl.read_parquet(folder / ODDS)
    gone, other = before["shopper_id"].unique().sort()[:2]
    assert forget_in_tables(tmp_path, gone) == before.filter(pl.col("shopper_id") == gone).height > 0
    kept = Kept.of(folder)
    assert kept is not None and kept.of_shoppers([gone]).height == 0
    assert kept.of_shoppers([other]).equals(before.filter(pl.col("shopper_id") == other))


@pytest.mark.parametrize("kept", ["purchase", "nothing shown"])
def test_a_shop_that_showed_nothing_has_no_value_model_and_the_job_says_so(
    shop: tuple[Settings, Recommender], tmp_path: Path, kept: str
) -> None:
    settings, model = shop
    lines: list[str] = []
    folder = tmp_path / "value"

    class Unshown(Lake):
        def scan(self, table: str) -> pl.LazyFrame:
            rows = super().scan(table)
            if table != "interactions":
                return rows
            return rows.filter(pl.col("event_type") == "purchase") if kept == "purchase" else rows.head(0)

    tell: Callable[[str], None] = lines.append
    facts = train_value(folder, settings, Unshown(settings.paths), model, cut=END - timedelta(days=10), end=END,
                        candidates=CANDIDATES, seed=0, progress=tell)  # fmt: skip
    assert not facts.trained and facts.why is not None and "explored" in facts.why
    assert any("no value model" in line for line in lines)
    built = snapshot.build_slates(
        settings.paths, model, version="2", recipe="r", candidates=CANDIDATES, progress=quiet, value=folder
    )
    assert snapshot.check(settings.paths, "slates", built)["value"] is False


def test_looks_are_one_a_session_taken_if_clicked_and_known_when_the_session_ends(
    shop: tuple[Settings, Recommender],
) -> None:
    settings, _ = shop
    lake = Lake(settings.paths)
    rows = lake.scan("interactions")
    buyers = rows.filter(pl.col("event_type") == "purchase").select("shopper_id").unique()
    one = rows.filter(pl.col("event_type") == "view").join(buyers, on="shopper_id", how="semi").head(1).collect()
    who, what = one["shopper_id"][0], one["item_id"][0]

    class Looked(Lake):
        """The shop's, but of this shopper only these looks: two sessions, the first with a click."""

        def scan(self, table: str) -> pl.LazyFrame:
            rows = super().scan(table)
            if table != "interactions":
                return rows
            theirs = (pl.col("shopper_id") == who) & pl.col("event_type").is_in(["view", "click", "add_to_cart"])
            begin = END - timedelta(days=3)
            kinds = [("view", 0), ("view", 20), ("click", 45), ("view", 60 * 24)]
            told = pl.concat([
                one.with_columns(pl.lit(kind).cast(one.schema["event_type"]).alias("event_type"),
                                 pl.lit(begin + timedelta(minutes=after)).cast(one.schema["event_time"])
                                 .alias("event_time"))
                for kind, after in kinds
            ])  # fmt: skip
            return pl.concat([rows.filter(~theirs), told.lazy()])

    data = read_value_data(Looked(settings.paths), END)
    assert data is not None
    theirs = np.flatnonzero(data.looks.shopper == data.shopper_ids.get_loc(who))
    looks = data.looks.take(theirs)
    assert [data.item_ids[item] for item in looks.item] == [what, what]
    assert looks.extra["taken"].tolist() == [1.0, 0.0]
    begin = int((END - timedelta(days=3)).timestamp())
    assert looks.time.tolist() == [begin + 45 * 60, begin + 24 * 3_600]


def test_that_anything_of_a_category_is_bought_is_foretold(shop: tuple[Settings, Recommender]) -> None:
    settings, _ = shop
    data = read_value_data(Lake(settings.paths), END)
    assert data is not None
    cut = data.moment - 7 * 86_400
    model = fit_value(data.before(cut), seed=0)
    assert model is not None
    known, visits = Known(data), np.flatnonzero(data.visits.start >= cut)
    visit = np.repeat(visits, data.categories)
    first = np.array([np.flatnonzero(data.category == kind)[0] for kind in range(data.categories)])
    item = np.tile(first, len(visits))
    asked = Asked(data.visits.shopper[visit], item, data.visits.start[visit], data.visits.store[visit])
    chance = expit(model.of_category(known.features(asked, model.taste, cut)))
    key = data.purchases.visit * data.categories + data.category[data.purchases.item]
    bought = np.isin(visit * data.categories + data.category[item], key)
    assert roc_auc_score(bought, chance) > 0.7
    assert chance.mean() == pytest.approx(bought.mean(), rel=0.25)


def test_windows_follow_each_other_and_every_row_is_of_its_own(shop: tuple[Settings, Recommender]) -> None:
    settings, _ = shop
    data = read_value_data(Lake(settings.paths), END)
    assert data is not None
    unshown, kinds, shown, drawn = examples(Known(data), np.random.default_rng(0))
    assert 1 > kinds.bought.mean() > unshown.bought.mean()  # of a category more is bought than of one good
    assert set(np.unique(unshown.bought)) == {0.0, 1.0} and 0 < shown.bought.mean() < 0.5
    assert drawn is not None and set(np.unique(drawn.offered)) == {0.0, 1.0}
    assert ((drawn.propensity > 0) & (drawn.propensity < 1)).all()


def test_what_was_bought_because_it_was_shown_is_no_habit_but_fills_the_need(
    shop: tuple[Settings, Recommender],
) -> None:
    settings, _ = shop
    data = read_value_data(Lake(settings.paths), END)
    assert data is not None
    bought, shown, goods = data.purchases, data.showings, len(data.item_ids)
    seen = np.isin(bought.visit * goods + bought.item, shown.visit * goods + shown.item)
    one = np.flatnonzero(~seen)[-1]
    extra = {name: np.append(values, 1.0) for name, values in shown.extra.items()}
    told = [np.append(column, getattr(bought, name)[one]) for name, column in
            ((name, getattr(shown, name)) for name in ("shopper", "item", "time", "visit"))]  # fmt: skip
    changed = replace(data, showings=Events(*told, extra))
    asked = Asked(bought.shopper[[one]], bought.item[[one]], np.array([data.moment]), np.array([-1]))
    taste = Known(data).taste(data.moment, np.random.default_rng(0))
    plain, prompted = (
        dict(zip(NAMES, Known(each).features(asked, taste, data.moment)[0, : len(NAMES)].tolist(), strict=True))
        for each in (data, changed)
    )
    for name in ("own_item", "own_category"):
        assert np.expm1(plain[name]) - np.expm1(prompted[name]) == pytest.approx(1, abs=1e-3)
    assert np.expm1(prompted["prompted_item"]) == pytest.approx(1, abs=1e-3) and plain["prompted_item"] == 0
    for name in ("prompted_category", "shown_category"):
        assert np.expm1(prompted[name]) - np.expm1(plain[name]) == pytest.approx(1, abs=1e-3)
    for name in ("item_days", "category_days", "visits"):
        assert plain[name] == prompted[name]
