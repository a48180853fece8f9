"""The simulated town keeps its own laws: stock, luck that policies share, stated probabilities, planted truth."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest

from configs.errors import UsageError
from pipelines.simulation.config import VARIANTS, TownConfig
from pipelines.simulation.draws import Stream
from pipelines.simulation.offers import Slates
from pipelines.simulation.tables import as_events
from pipelines.simulation.tastes import SEGMENTS
from pipelines.simulation.town import Town
from pipelines.simulation.truth import truth_of
from pipelines.simulation.visits import Visits
from pipelines.simulation.words import TOPICS

variants = pytest.mark.parametrize("variant", VARIANTS)


def _town(variant: str = "base", seed: int = 4, **sizes: Any) -> Town:
    size = {"shoppers": 400, "stores": 4, "days": 20} | sizes
    return Town.build(TownConfig.model_validate({"variant": variant} | size), seed)


def _plenty(town: Town) -> None:
    town.shelves.units[town.shelves.carried] = 10_000


def _slates(town: Town, visits: Visits, places: int = 3, discount: float = 0.2) -> Slates:
    items = town.draws.below(town.config.items, Stream.HOUSE, visits.shopper[:, None], np.arange(places), 77)
    return Slates.of(items, discount)


def _lines(answer: Any, visits: Visits) -> set[tuple[int, int, int]]:
    bought = answer.purchases
    return set(zip(visits.shopper[bought.visit].tolist(), bought.item.tolist(), bought.quantity.tolist(), strict=True))


@variants
def test_stock_is_never_negative_and_what_is_out_is_not_sold(variant: str) -> None:
    town = _town(variant, shoppers=600, stores=2)
    out, unlaunched = 0, 0
    for day in range(12):
        visits = town.visits(day)
        town.shelves.units[:] = np.minimum(town.shelves.units, 4)  # a shortage
        before = town.shelves.units.copy()
        bought = town.respond(visits, town.house(visits)[0]).purchases
        sold = np.zeros_like(before)
        np.add.at(sold, (visits.store[bought.visit], bought.item), bought.quantity)
        assert (bought.quantity > 0).all() and (sold <= before).all()
        assert np.array_equal(town.shelves.units, before - sold)
        out += int((town.shelves.units[town.shelves.carried] == 0).sum())
        unlaunched += int((town.catalogue.launch[bought.item] > day).sum())
    assert out > 100 and unlaunched == 0


@variants
def test_two_policies_face_the_same_shoppers_and_the_same_luck(variant: str) -> None:
    one, other = _town(variant), _town(variant)
    for day in range(2):
        visits, again = one.visits(day), other.visits(day)
        assert np.array_equal(visits.shopper, again.shopper) and np.array_equal(visits.minds, again.minds)
        for town in (one, other):
            _plenty(town)
            town.encounters.memory.crowd[:] = 0
        slates = _slates(one, visits)
        bare = np.arange(len(visits)) % 2 == 0
        slates = Slates.of(np.where(bare[:, None], -1, slates.items), slates.discounts)
        with_offers, without = one.respond(visits, slates), other.respond(visits, Slates.empty(len(visits)))
        if day == 0:  # later, memories differ
            touched = {
                (int(shopper), int(category))
                for shopper, row in zip(visits.shopper, slates.items, strict=True)
                for category in one.catalogue.category[row[row >= 0]]
            }
            changed = _lines(with_offers, visits) ^ _lines(without, visits)
            assert changed
            assert {(shopper, int(one.catalogue.category[item])) for shopper, item, _ in changed} <= touched


@variants
def test_a_visit_buys_what_is_shown_as_often_as_stated(variant: str) -> None:
    """The same visits with new luck each time: a test of each, at five standard deviations."""
    town = _town(variant)
    for day in range(6):
        town.step(day)
    visits = town.visits(6)
    _plenty(town)
    passing = visits.take(np.flatnonzero(visits.placement >= 0)[:8])
    slates = _slates(town, passing, places=1)
    stated = [town.purchase_probability(passing, slates.items, 0.2, noticed=seen)[:, 0] for seen in (False, True)]
    looks = town.encounters.looks(passing, slates)[:, 0].astype(int)
    tries = 500
    rows = np.repeat(np.arange(8), tries)
    luck = town.draws.keys(Stream.CHOICE, np.arange(len(rows)), 12_345)
    answer = town.respond(replace(passing.take(rows), key=luck), slates.take(rows))
    own = answer.purchases.item == slates.items[rows, 0][answer.purchases.visit]
    counts = np.bincount(rows[answer.purchases.visit[own]], minlength=8)
    chance = np.where(looks == 1, stated[1], stated[0])
    assert (np.abs(counts - tries * chance) <= 5 * np.sqrt(tries * chance * (1 - chance)) + 1).all()


@variants
def test_expected_profit_is_what_baskets_bring_on_average_and_gain_adds_up(variant: str) -> None:
    town = _town(variant, shoppers=2_000)
    visits = town.visits(0)
    _plenty(town)
    slates = _slates(town, visits)
    stated = town.expected_profit(visits, slates)
    bare = town.expected_profit(visits, Slates.empty(len(visits)))
    alone = slates.first(1)
    gain = town.gain(visits, alone.items, alone.discounts)[:, 0]
    look = np.array([0.8, 0.65, 0.9, 0.0])[visits.placement]
    assert np.allclose(town.expected_profit(visits, alone) - bare, look * gain, atol=1e-9)
    profit = town.respond(visits, slates).profit
    assert abs(profit.mean() - stated.mean()) < 4 * profit.std() / np.sqrt(len(profit))
    assert np.array_equal(bare[visits.placement < 0], stated[visits.placement < 0])


def test_what_was_shown_again_and_again_is_taken_less() -> None:
    town = _town()
    visits = town.visits(0)
    _plenty(town)
    items = _slates(town, visits, places=1).items
    fresh = town.purchase_probability(visits, items)
    town.encounters.memory.seen[visits.shopper] = items
    town.encounters.memory.seen_day[visits.shopper] = 0
    tired = town.purchase_probability(visits, items)
    sold = fresh > 0
    assert sold.sum() > 50 and (tired < fresh)[sold].all()
    town.encounters.memory.seen_day[visits.shopper] = -30
    assert np.array_equal(town.purchase_probability(visits, items), fresh)


def test_further_down_is_looked_at_less() -> None:
    town = _town(shoppers=3_000)
    visits = town.visits(0)
    looks = town.encounters.looks(visits, _slates(town, visits, places=6))
    share = looks[visits.placement >= 0].mean(axis=0)
    assert (np.diff(share) < 0).all() and 0.7 < share[0] < 0.87
    assert not looks[visits.placement < 0].any()


def test_days_come_one_after_another_and_a_bad_slate_is_refused() -> None:
    town = _town(days=2)
    visits = town.visits(0)
    for day in (2, -1):
        with pytest.raises(UsageError, match="days come one after another"):
            town.visits(day)
    with pytest.raises(UsageError, match="one for each"):
        town.respond(visits, Slates.empty(0))
    with pytest.raises(UsageError, match="does not have"):
        town.respond(visits, Slates.of(np.full((len(visits), 1), 10_000)))
    with pytest.raises(UsageError, match="below 1"):
        town.respond(visits, Slates.of(np.zeros((len(visits), 1)), 1.0))
    with pytest.raises(UsageError, match="no item 'x'"):
        town.slates([[("x", 0.1)]])


@pytest.fixture(scope="module", params=VARIANTS)
def history(request: pytest.FixtureRequest) -> tuple[Town, pl.DataFrame]:
    town = _town(request.param, shoppers=600, days=40)
    rows = pl.concat([town.step(day)["interactions"] for day in range(40)])
    return town, rows


def _share(frame: pl.DataFrame, kind: str) -> int:
    return frame.filter(pl.col("event_type") == kind).height


def test_the_house_shows_all_kinds_of_goods(history: tuple[Town, pl.DataFrame]) -> None:
    """To everybody who passes a screen: about half on offer, the rest anything that anybody may see, half held out."""
    town, rows = history
    shown = rows.filter(pl.col("event_type") == "impression")
    held_out = rows.filter(pl.col("event_type") == "promotion_not_offered")
    assert 0.45 < (shown["discount"] > 0).mean() < 0.65  # type: ignore[operator]
    assert (shown["campaign_id"].is_not_null() == (shown["discount"] > 0)).all()
    assert 0.95 < held_out.height / shown.height < 1.05
    goods = town.catalogue
    hidden = goods.counterfeit | (goods.age_restricted | goods.sensitive)[goods.category]
    names = np.array(town.names.items)
    assert not set(shown["item_id"]) & set(names[hidden])
    assert shown["item_id"].n_unique() > 0.9 * (~hidden & (goods.launch < 20)).sum()
    people = dict(zip(town.names.shoppers, town.shoppers.recognised, strict=False))
    assert 0.3 < np.mean([people[name] for name in shown["shopper_id"]]) < 0.7


def test_a_history_looks_like_a_shop(history: tuple[Town, pl.DataFrame]) -> None:
    """Bounds are generous: each form of response has its own figures, and none is fitted to a real shop."""
    town, rows = history
    bought = rows.filter((pl.col("event_type") == "purchase") & (pl.col("channel") == "store")).sort("event_time")
    nth = bought.select(pl.int_range(pl.len()).over("shopper_id", "item_id")).to_series()
    assert 0.2 < (nth > 0).mean() < 0.65  # repeats among purchases, over 40 days
    assert 4 < bought.height / bought["basket_id"].n_unique() < 10
    sold = bought["item_id"].value_counts(sort=True)["count"].to_numpy()
    assert 0.4 < sold[: len(sold) // 5].sum() / sold.sum() < 0.85  # what the best fifth of items sells
    week = bought.group_by(pl.col("event_time").dt.weekday()).len().sort("event_time")["len"].to_numpy()
    assert 1.3 < week[5] / week[1] < 2.8  # Saturdays against Tuesdays
    on_offer = rows.filter(pl.col("discount") > 0)
    assert 0.02 < _share(on_offer, "redeem") / _share(on_offer, "impression") < 0.25
    assert 0.005 < town.shelves.days_out[town.shelves.carried].mean() / 40 < 0.25
    assert (
        0.3
        < _share(rows, "promotion_offered")
        / (_share(rows, "promotion_offered") + _share(rows, "promotion_not_offered"))
        < 0.7
    )


def test_planted_mischief_is_in_the_rows(history: tuple[Town, pl.DataFrame]) -> None:
    town, rows = history
    truth = truth_of(town)
    for burst in truth["brushing"]["bursts"]:
        found = rows.filter(
            (pl.col("event_type") == "purchase")
            & pl.col("item_id").is_in(burst["item_ids"])
            & pl.col("shopper_id").is_in(burst["shopper_ids"])
            & pl.col("event_time").is_between(_moment(burst["starts"]), _moment(burst["ends"]))
        )
        assert found.height == burst["purchases"] >= 60
    accounts = rows.filter(pl.col("shopper_id").is_in(truth["brushing"]["accounts"]))
    assert accounts.height == sum(burst["purchases"] for burst in truth["brushing"]["bursts"]) > 0
    bots = rows.filter(pl.col("shopper_id").is_in(truth["bots"]))
    assert bots.height > 1_000 and set(bots["event_type"]) == {"view"}


def test_who_only_watches_buys_what_the_truth_says_and_not_before(history: tuple[Town, pl.DataFrame]) -> None:
    town, rows = history
    told = truth_of(town)["watch_only"]
    bought = rows.filter(pl.col("event_type") == "purchase")
    assert len(told["shoppers"]) == 48
    for shopper in told["shoppers"]:
        own = bought.filter(pl.col("shopper_id") == shopper["shopper_id"])
        assert set(own["item_id"]) == set(shopper["later_bought"])
        assert own.filter(pl.col("event_time") < _moment(told["until"])).is_empty()
        assert sum(shopper["interest"].values()) == pytest.approx(1.0)
    assert sum(bool(shopper["later_bought"]) for shopper in told["shoppers"]) > 20


def test_offers_move_those_who_mind_prices_most(history: tuple[Town, pl.DataFrame]) -> None:
    segments = {one["segment"]: one for one in truth_of(history[0])["segments"]}
    uplift = [segments[name]["uplift_of_purchase_if_noticed"] for name in SEGMENTS]
    assert 0 < uplift[0] < uplift[2]
    assert all(one["randomised_offers"] > 200 for one in segments.values())


def test_the_randomised_offers_show_the_uplift(history: tuple[Town, pl.DataFrame]) -> None:
    """A difference of means over the coin: offered and bought that day, against held out and bought that day."""
    _, rows = history
    day = pl.col("event_time").dt.date().alias("day")
    bought = rows.filter(pl.col("event_type") == "purchase").select("shopper_id", "item_id", day, bought=True).unique()
    coin = rows.filter(pl.col("event_type").str.starts_with("promotion_")).select(
        "shopper_id", "item_id", "event_type", day
    )
    share = (
        coin.join(bought, on=["shopper_id", "item_id", "day"], how="left")
        .group_by("event_type")
        .agg(pl.col("bought").fill_null(False).mean())
    )
    rate = dict(share.iter_rows())
    assert rate["promotion_offered"] > 1.5 * rate["promotion_not_offered"]


def test_repurchase_intervals_and_elasticity_show_in_the_rows(history: tuple[Town, pl.DataFrame]) -> None:
    """Gaps between purchases of a category follow its planted interval; a dearer week sells less of an item."""
    town, rows = history
    number = {item: place for place, item in enumerate(town.names.items)}
    bought = rows.filter((pl.col("event_type") == "purchase") & (pl.col("channel") == "store"))
    item = np.array([number[one] for one in bought["item_id"]])
    table = pl.DataFrame(
        {
            "shopper": bought["shopper_id"],
            "category": town.catalogue.category[item],
            "day": bought["event_time"].dt.ordinal_day() - 6,
            "item": item,
        }
    )
    gaps = table.sort("day").with_columns(gap=pl.col("day").diff().over("shopper", "category")).drop_nulls()
    typical = gaps.group_by("category").agg(pl.col("gap").mean(), pl.len()).filter(pl.col("len") >= 100)
    planted = town.catalogue.interval[typical["category"].to_numpy()]
    assert np.corrcoef(typical["gap"].to_numpy(), planted)[0, 1] > 0.5
    days = np.arange(40)
    level = np.stack([town.catalogue.prices(town.draws, day) for day in days]) / town.catalogue.price
    sold = np.zeros_like(level)
    np.add.at(sold, (table["day"].to_numpy(), item), 1)
    known = np.broadcast_to(town.catalogue.launch < 0, level.shape)
    cheap, dear = (sold[known & near].mean() for near in (level < 0.95, level > 1.05))
    assert -5 < np.log(cheap / dear) / np.log(0.9 / 1.1) < -0.5


@variants
def test_the_best_slate_is_not_what_sells_best(variant: str) -> None:
    town = _town(variant)
    for day in range(8):
        town.step(day)
    visits = town.visits(8)
    visits = visits.take(np.flatnonzero(visits.placement >= 0)[:40])
    every = np.tile(np.arange(town.config.items), (len(visits), 1))
    best = np.argsort(-town.gain(visits, every, 0.1), axis=1)[:, :3]
    popular = np.broadcast_to(np.argsort(-town.tally.sold)[:3], best.shape)
    profit = [town.expected_profit(visits, Slates.of(items, 0.1)).mean() for items in (best, popular)]
    bare = town.expected_profit(visits, Slates.empty(len(visits))).mean()
    assert profit[0] - bare > 2 * abs(profit[1] - bare) and profit[0] > 1.02 * bare


def test_the_planted_slope_is_found_by_a_regression() -> None:
    """In each neighbourhood: shoppers' share of purchases of a topic's goods on their share of views of the topic."""
    town = _town(shoppers=2_400, stores=12, days=25, seed=8)
    steps = [town.step(day) for day in range(25)]
    views, rows = (pl.concat([step[name] for step in steps]) for name in ("content_views", "interactions"))
    items = {item: number for number, item in enumerate(town.names.items)}
    shoppers = {shopper: number for number, shopper in enumerate(town.names.shoppers)}
    contents = {content: number for number, content in enumerate(town.names.contents)}
    watched = np.zeros((2_400, len(TOPICS) + 1))
    for shopper, content in (
        views.filter(pl.col("event_type") == "content_view").select("shopper_id", "content_id").iter_rows()
    ):
        watched[shoppers[shopper], town.contents.topic[contents[content]]] += 1
    bought = np.zeros_like(watched)
    for shopper, item in rows.filter(pl.col("event_type") == "purchase").select("shopper_id", "item_id").iter_rows():
        bought[shoppers[shopper], town.catalogue.topics[items[item], 0]] += 1
    keep = (watched.sum(axis=1) >= 5) & (bought.sum(axis=1) >= 20)
    found, planted = [], []
    for place in range(len(town.places)):
        mine = keep & (town.shoppers.neighbourhood == place)
        x, y = (table[mine] / table[mine].sum(axis=1, keepdims=True) for table in (watched, bought))
        for topic in range(7):  # topics about an origin
            if x[:, topic].std() > 0.1:
                found.append(np.cov(x[:, topic], y[:, topic])[0, 1] / x[:, topic].var() / max(y[:, topic].mean(), 0.01))
                planted.append(town.places.slope[place, topic])
    found_at, planted_at = np.array(found), np.array(planted)
    assert len(found_at) > 15
    assert np.corrcoef(found_at, planted_at)[0, 1] > 0.5
    assert found_at[planted_at > 2].mean() > 3 * np.abs(found_at[planted_at == 0].mean())


def test_counterfeits_are_named_and_earn_complaints() -> None:
    town = _town(shoppers=1_200, stores=2, days=30)
    steps = [town.step(day) for day in range(30)]
    truth = truth_of(town)["counterfeits"]
    things = town.standing()
    items, makers = things["items"], things["makers"]
    false = items.filter(pl.col("item_id").is_in(truth["item_ids"]))
    assert 0 < false.height == len(truth["item_ids"]) and set(false["maker_id"]) == set(truth["maker_ids"])
    allowed = dict(makers.select("maker_id", "authorised_brands").iter_rows())
    forged = [allowed[maker] != brand for maker, brand in items.select("maker_id", "brand").iter_rows()]
    assert set(items.filter(pl.Series(forged))["item_id"]) == set(truth["item_ids"])
    rows, complaints = (pl.concat([step[name] for step in steps]) for name in ("interactions", "complaints"))
    sold = rows.filter(pl.col("event_type") == "purchase")
    of_false = complaints["item_id"].is_in(truth["item_ids"]).sum() / sold["item_id"].is_in(truth["item_ids"]).sum()
    assert of_false > 5 * complaints.height / sold.height


def test_events_are_what_the_http_door_takes() -> None:
    town = _town()
    row = as_events(town.step(0)["interactions"])[0]
    assert row["simulated"] is True and row["event_time"].endswith("Z") and None not in row.values()


def _moment(text: str) -> Any:
    return pl.lit(text).str.to_datetime(time_zone="UTC", time_unit="us")
