"""A small town, an honest challenger that is better than the champion, and bad ones that look better than they are.

Most bad challengers are the honest one with a single flaw: the gate must refuse each for that flaw. Used by
tests/unit/test_bad_challengers.py (some, quickly) and benchmarks/gate.py (all, with 200 like against like).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from configs.recipe import ChecksRecipe, GateRecipe
from models.dataset import Dataset
from models.recommenders.personal_frequency import PersonalFrequency, PersonalFrequencyConfig
from pipelines.training.candidates import examine
from pipelines.training.checks import Evidence, Ground
from pipelines.training.cost import Cost, measure_costs
from pipelines.training.evaluate import Test, make_test
from pipelines.training.gate import GateDecision, Kind
from pipelines.training.portrait import Learned, ask_also
from pipelines.training.verdict import judge_one

START = pd.Timestamp("2026-01-01", tz="UTC")
DAYS, TEST_DAYS, K = 200, 28, 10
CUT = START + pd.Timedelta(days=DAYS)
END = CUT + pd.Timedelta(days=TEST_DAYS)
NEW_MAKER_DAY = DAYS - 40
STORES, MAKERS, PER_MAKER, TASTES = 30, 24, 10, 6
ITEMS = MAKERS * PER_MAKER
NEW_MAKERS = (20, 21, 22, 23)
BLOCKED = ("i003", "i057")
LABELS = ("challenger", "refreshed", "champion", "popularity")


@dataclass(frozen=True)
class Town:
    """The data of one town at the cut, and what came after."""

    past: pd.DataFrame
    later: pd.DataFrame
    items: pd.DataFrame
    dataset: Dataset
    test: Test


def make_town(seed: int, shoppers: int = 480, cold: int = 100) -> Town:
    """Shoppers with favourites that change half way, so that counting recent purchases more is better.

    Of `shoppers`, the last `cold` come for the first time after the cut, and the first 40 no more after it.
    """
    random = np.random.default_rng(seed)
    taste = random.integers(TASTES, size=shoppers)
    store = np.minimum(random.geometric(0.12, shoppers) - 1, STORES - 1)  # a few large neighbourhoods, many small
    maker = np.arange(ITEMS) // PER_MAKER
    of_taste = [np.flatnonzero(np.arange(ITEMS) % TASTES == one) for one in range(TASTES)]
    shares = random.dirichlet(np.full(ITEMS, 0.25))
    own = np.stack([
        np.stack([random.choice(of_taste[one], 8, replace=False) for one in taste]) for _ in range(2)
    ])  # fmt: skip
    visits = random.random((DAYS + TEST_DAYS, shoppers)) < 0.16
    visits[:DAYS, shoppers - cold :] = False
    visits[DAYS:, :40] = False
    day, who = np.nonzero(visits)
    times = random.integers(1, 5, len(day))
    day, who = np.repeat(day, times), np.repeat(who, times)
    count = len(day)
    favourite = own[(day > DAYS // 2).astype(int), who, random.integers(8, size=count)]
    like = np.stack([members[random.integers(len(members), size=count)] for members in of_taste])[
        taste[who], range(count)
    ]
    popular = random.choice(ITEMS, count, p=shares)
    kind = random.random(count)
    item = np.where(kind < 0.6, favourite, np.where(kind < 0.85, like, popular))
    soon = np.isin(maker[item], NEW_MAKERS) & (day < NEW_MAKER_DAY)
    day, who, item = day[~soon], who[~soon], item[~soon]
    seconds = day * 86_400 + random.integers(8 * 3600, 20 * 3600, len(day))
    rows = pd.DataFrame({
        "shopper_id": [f"s{number:03d}" for number in who],
        "item_id": [f"i{number:03d}" for number in item],
        "store_id": [f"store-{number:02d}" for number in store[who]],
        "event_time": (START + pd.to_timedelta(seconds, unit="s")).astype("datetime64[us, UTC]"),
    })  # fmt: skip
    items = pd.DataFrame({
        "item_id": [f"i{number:03d}" for number in range(ITEMS)],
        "maker_id": [f"m{number:02d}" for number in maker],
        "category": [f"C{number % TASTES}/D{number % 30}" for number in range(ITEMS)],
    })  # fmt: skip
    stock = pd.DataFrame(
        [
            (f"store-{one:02d}", f"i{other:03d}")
            for one in range(STORES)
            for other in np.flatnonzero(random.random(ITEMS) < 0.8)
        ],
        columns=["store_id", "item_id"],
    )
    past, later = rows[rows["event_time"] < CUT], rows[rows["event_time"] >= CUT]
    dataset = build(past, items)
    test = make_test(dataset, later, K, blocked=BLOCKED, stock=stock)
    return Town(past, later, items, dataset, test)


def build(past: pd.DataFrame, items: pd.DataFrame, as_of: pd.Timestamp = CUT) -> Dataset:
    """What may be learned from these purchases."""
    return Dataset.build(past.reset_index(drop=True), items=items, as_of=as_of, blocked=BLOCKED)


def counting(dataset: Dataset, decay_days: float | None) -> PersonalFrequency:
    """The champion's recipe counts all purchases alike, the honest challenger recent ones more."""
    return PersonalFrequency(PersonalFrequencyConfig(decay_days=decay_days)).fit(dataset)


def lists_of(model: Any, test: Test) -> pd.DataFrame:
    """Everybody who is asked for."""
    found: pd.DataFrame = model.recommend([*test.shoppers, *ask_also(test)], K, attributes=test.attributes)
    return found


def resampled(past: pd.DataFrame, random: np.random.Generator) -> pd.DataFrame:
    """The purchases drawn anew with replacement: the same town, other luck."""
    return past.iloc[random.integers(len(past), size=len(past))]


class Bench:
    """The town with what every challenger of it is compared with."""

    def __init__(self, town: Town) -> None:
        self.town, self.test = town, town.test
        week_ago = CUT - pd.Timedelta(days=7)
        self.refreshed = counting(town.dataset, None)
        self.champion = counting(build(town.past[town.past["event_time"] < week_ago], town.items, week_ago), None)
        self.honest = counting(town.dataset, 25.0)
        from models.registry import create

        self.popularity = create("popularity").fit(town.dataset)
        self.models = {"honest": self.honest, "refreshed": self.refreshed, "champion": self.champion}
        self.costs = measure_costs(self.models, self.test)
        self.learned = Learned.of(town.dataset)
        self.found = {
            "refreshed": self.evidence(lists_of(self.refreshed, self.test), cost=self.costs["refreshed"]),
            "champion": self.evidence(lists_of(self.champion, self.test), cost=self.costs["champion"]),
            "popularity": self.evidence(lists_of(self.popularity, self.test)),
        }
        self.good = lists_of(self.honest, self.test)

    def evidence(self, lists: pd.DataFrame, *, as_of: pd.Timestamp = CUT, learned: Learned | None = None,
                 broken: str | None = None, cost: Cost | None = None) -> Evidence:  # fmt: skip
        """What the gate is told of lists; what is not said is as an honest challenger's."""
        found = examine(lists, self.test, as_of=as_of, learned=learned or self.learned, broken=broken)
        return Evidence(found.frame, found.portrait, cost or self.costs["honest"])

    def judge(self, ours: Evidence, kind: Kind = Kind.REPLACEMENT, seed: int = 0) -> GateDecision:
        """Put a challenger through the gate."""
        references = ["champion"] if kind is Kind.REFRESH else ["refreshed", "champion"]
        ground = Ground(CUT.to_pydatetime(), self.test.newest.to_pydatetime(), self.test.sales, RULES)
        return judge_one(kind, "challenger", references, {"challenger": ours, **self.found}, ground, seed=seed)


RULES = GateRecipe(resamples=1000, checks=ChecksRecipe(cost=80.0))
Bad = Callable[[Bench], Evidence]
BAD: dict[str, tuple[str, Bad]] = {}
"""Bad challengers by name: what must refuse them, and how they are made."""


def bad(*reasons: str) -> Callable[[Bad], Bad]:
    """Plant a challenger; `reasons` are the names of the rule, slices or checks of which each must refuse it."""

    def plant(make: Bad) -> Bad:
        BAD[make.__name__] = (", ".join(reasons), make)
        return make

    return plant


def ranked(lists: pd.DataFrame) -> pd.DataFrame:
    """Ranks and falling scores by the order of the rows, cut at K."""
    lists = lists.drop_duplicates(["shopper_id", "item_id"])
    lists = lists.assign(rank=lists.groupby("shopper_id", sort=False).cumcount() + 1)
    lists = lists[lists["rank"] <= K]
    return lists.assign(score=1.0 / lists["rank"])


def lists_from(shoppers: Sequence[str], rows: Sequence[Sequence[str]]) -> pd.DataFrame:
    """Lists of item ids, one a shopper."""
    pairs = [(shopper, item) for shopper, own in zip(shoppers, rows, strict=True) for item in own]
    return ranked(pd.DataFrame(pairs, columns=["shopper_id", "item_id"]))


def asked(bench: Bench) -> list[str]:
    """Whom lists are made for."""
    return [*bench.test.shoppers, *ask_also(bench.test)]


def first(lists: pd.DataFrame, front: pd.DataFrame) -> pd.DataFrame:
    """Put the rows of `front` before each shopper's list."""
    columns = ["shopper_id", "item_id"]
    both = pd.concat([front[columns].assign(at=0), lists[columns].assign(at=1)])
    return ranked(both.sort_values(["shopper_id", "at"], kind="stable"))


def map_items(lists: pd.DataFrame, to: Mapping[str, str]) -> pd.DataFrame:
    """Other items in the same places."""
    return lists.assign(item_id=lists["item_id"].map(lambda item: to.get(item, item)))


def wide(bench: Bench, k: int = 60) -> pd.DataFrame:
    """Longer lists of the honest challenger, to choose others from."""
    return bench.honest.recommend(asked(bench), k, attributes=bench.test.attributes)


# ---------------------------------------------------------------------- knows too much, or nothing


@bad("foresight")
def trained_on_the_test_window(bench: Bench) -> Evidence:
    whole = pd.concat([bench.town.past, bench.town.later])
    early = whole.assign(event_time=whole["event_time"].clip(upper=CUT - pd.Timedelta(seconds=1)))
    model = counting(build(early.assign(event_time=early["event_time"]), bench.town.items), 3.0)
    return bench.evidence(lists_of(model, bench.test))


@bad("foreseen whole")
def label_leak_for_a_tenth(bench: Bench) -> Evidence:
    some = set(bench.test.shoppers[::10])
    front = bench.test.truth[bench.test.truth["shopper_id"].isin(some)]
    known = pd.MultiIndex.from_frame(bench.test.history[["shopper_id", "item_id"]])
    front = front[~pd.MultiIndex.from_frame(front[["shopper_id", "item_id"]]).isin(known)]
    return bench.evidence(first(bench.good, front))


@bad("knowledge")
def says_that_it_knows_a_later_moment(bench: Bench) -> Evidence:
    return bench.evidence(bench.good, as_of=CUT + pd.Timedelta(days=3))


@bad("replacement")
def shuffled_labels(bench: Bench) -> Evidence:
    mixed = bench.town.past.assign(item_id=np.random.default_rng(1).permutation(bench.town.past["item_id"].to_numpy()))
    return bench.evidence(lists_of(counting(build(mixed, bench.town.items), 25.0), bench.test))


@bad("replacement")
def random_lists(bench: Bench) -> Evidence:
    random, allowed = np.random.default_rng(2), bench.test.allowed.to_numpy()
    shoppers = asked(bench)
    return bench.evidence(lists_from(shoppers, [random.choice(allowed, K, replace=False) for _ in shoppers]))


@bad("replacement")
def item_ids_off_by_one(bench: Bench) -> Evidence:
    ids = list(bench.test.allowed)
    return bench.evidence(map_items(bench.good, dict(zip(ids, [*ids[1:], ids[0]], strict=True))))


@bad("knowledge", "freshness")
def stale_model(bench: Bench) -> Evidence:
    then = CUT - pd.Timedelta(days=60)
    dataset = build(bench.town.past[bench.town.past["event_time"] < then], bench.town.items, then)
    lists = lists_of(counting(dataset, 25.0), bench.test)
    return bench.evidence(lists, as_of=then, learned=Learned.of(dataset))


@bad("freshness")
def stale_features(bench: Bench) -> Evidence:
    return bench.evidence(bench.good, learned=bench.learned.model_copy(update={"features": {"visits_28d": 0.0}}))


@bad("freshness")
def a_feed_that_stopped(bench: Bench) -> Evidence:
    part = bench.town.past[bench.town.past["event_time"] < CUT - pd.Timedelta(days=6)]
    dataset = build(part, bench.town.items)
    return bench.evidence(lists_of(counting(dataset, 25.0), bench.test), learned=Learned.of(dataset))


# ---------------------------------------------------------------------- some are worse off


@bad("reach")
def cold_shoppers_get_nothing(bench: Bench) -> Evidence:
    return bench.evidence(bench.good[bench.good["shopper_id"].isin(bench.test.counts.index)])


@bad("cold")
def cold_shoppers_get_garbage(bench: Bench) -> Evidence:
    cold = ~bench.good["shopper_id"].isin(bench.test.counts.index)
    least = bench.test.popularity.index[bench.test.popularity.index.isin(bench.test.allowed)][-K:]
    shoppers = bench.good["shopper_id"][cold].unique()
    garbage = lists_from(list(shoppers), [list(least)] * len(shoppers))
    return bench.evidence(pd.concat([bench.good[~cold], garbage]))


@bad("neighbourhoods")
def one_neighbourhood_broken(bench: Bench) -> Evidence:
    sizes = bench.test.stores.reindex(bench.test.shoppers).value_counts()
    small = sizes[sizes >= 14].index[-1]  # one of the small ones that can be told from bad luck among thirty
    there = bench.good["shopper_id"].map(bench.test.stores) == small
    ids = list(bench.test.allowed)
    moved = map_items(bench.good[there], dict(zip(ids, ids[1:] + ids[:1], strict=True)))
    return bench.evidence(pd.concat([bench.good[~there], moved]))


@bad("reach")
def only_who_comes_in_the_test_window(bench: Bench) -> Evidence:
    return bench.evidence(bench.good[bench.good["shopper_id"].isin(bench.test.shoppers)])


# ---------------------------------------------------------------------- what is shown


@bad("personal")
def popularity_in_disguise(bench: Bench) -> Evidence:
    random = np.random.default_rng(3)
    best = bench.test.popularity.index[bench.test.popularity.index.isin(bench.test.allowed)][:14].to_numpy()
    shoppers = asked(bench)
    return bench.evidence(lists_from(shoppers, [random.choice(best, K, replace=False) for _ in shoppers]))


@bad("places of new makers")
def new_makers_dropped(bench: Bench) -> Evidence:
    makers = bench.test.makers
    assert makers is not None
    new = {f"m{number:02d}" for number in NEW_MAKERS}
    kept = wide(bench)
    return bench.evidence(ranked(kept[~kept["item_id"].map(makers).isin(new)]))


@bad("makers")
def one_maker_pushed(bench: Bench) -> Evidence:
    push = [f"i{number:03d}" for number in range(50, 50 + 2)]
    shoppers = asked(bench)
    kept = bench.good[bench.good["rank"] <= K - 2]
    tail = lists_from(shoppers, [push] * len(shoppers)).assign(rank=K - 1)
    rest = bench.good[bench.good["rank"] > K - 2]
    every = pd.concat([kept, tail, rest]).sort_values("rank", kind="stable").sort_values("shopper_id", kind="stable")
    return bench.evidence(ranked(every))


@bad("range")
def truncated_catalogue(bench: Bench) -> Evidence:
    best = set(bench.test.popularity.index[: ITEMS // 4])
    kept = wide(bench, 200)
    return bench.evidence(ranked(kept[kept["item_id"].isin(best)]))


@bad("sound")
def blocked_goods_listed(bench: Bench) -> Evidence:
    return bench.evidence(first(bench.good, pd.DataFrame({"shopper_id": asked(bench)[:1], "item_id": [BLOCKED[0]]})))


@bad("stock")
def ignores_stock(bench: Bench) -> Evidence:
    kept = wide(bench)
    held = pd.MultiIndex.from_frame(bench.test.stock[["store_id", "item_id"]])  # type: ignore[index]
    there = pd.MultiIndex.from_arrays([kept["shopper_id"].map(bench.test.stores), kept["item_id"]]).isin(held)
    late = kept.assign(at=there & (kept["rank"] > 6))
    return bench.evidence(ranked(late.sort_values(["shopper_id", "at", "rank"], kind="stable")))


@bad("replacement")
def only_what_was_bought_last(bench: Bench) -> Evidence:
    last = bench.town.past.sort_values("event_time", ascending=False, kind="stable")
    return bench.evidence(first(lists_of(bench.popularity, bench.test), last[last["shopper_id"].isin(asked(bench))]))


# ---------------------------------------------------------------------- broken as lists


@bad("scores")
def constant_scores(bench: Bench) -> Evidence:
    return bench.evidence(bench.good.assign(score=1.0))


@bad("sound")
def scores_that_are_no_numbers(bench: Bench) -> Evidence:
    return bench.evidence(bench.good.assign(score=bench.good["score"].where(bench.good["rank"] < K, np.nan)))


@bad("sound")
def infinite_scores(bench: Bench) -> Evidence:
    return bench.evidence(bench.good.assign(score=bench.good["score"].where(bench.good["rank"] > 1, np.inf)))


@bad("sound")
def an_item_twice(bench: Bench) -> Evidence:
    leader = bench.good.groupby("shopper_id")["item_id"].transform("first")
    return bench.evidence(bench.good.assign(item_id=bench.good["item_id"].where(bench.good["rank"] < K, leader)))


@bad("sound")
def cannot_be_asked(bench: Bench) -> Evidence:
    return bench.evidence(bench.good.iloc[:0], broken="a score is not a number")


@bad("length")
def lists_too_short(bench: Bench) -> Evidence:
    part = np.arange(len(bench.good)) % 97 < 60
    return bench.evidence(bench.good[part | (bench.good["rank"] < K - 1)])


@bad("cost")
def slow(bench: Bench) -> Evidence:
    model = Slow(PersonalFrequencyConfig(decay_days=25.0)).fit(bench.town.dataset)
    cost = measure_costs({"slow": model}, bench.test, clock=model.clock, yardstick=model.work)
    return bench.evidence(bench.good, cost=cost["slow"])


class Slow(PersonalFrequency):
    """Does half as much again as may be done for a list, in pieces of the yardstick, by a clock that counts them."""

    done = 0.0

    def clock(self) -> float:
        return self.done

    def work(self, pieces: float = 1.0) -> None:
        self.done += pieces

    def _score(self, shopper_rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        self.work(1.5 * ChecksRecipe().cost * len(shopper_rows))
        return super()._score(shopper_rows)


def like_with_like(town: Town, trials: int, seed: int) -> list[GateDecision]:
    """Judge challengers that are the champion's own recipe on the same town with other luck, as replacements."""
    random = np.random.default_rng(seed)
    decisions = []
    for _ in range(trials):
        found = {}
        for label in ("challenger", "refreshed", "champion"):
            dataset = build(resampled(town.past, random), town.items)
            made = examine(
                lists_of(counting(dataset, None), town.test), town.test, as_of=CUT, learned=Learned.of(dataset)
            )
            found[label] = Evidence(made.frame, made.portrait, None)
        ground = Ground(CUT.to_pydatetime(), town.test.newest.to_pydatetime(), town.test.sales, RULES)
        references = ["refreshed", "champion"]
        decisions.append(judge_one(Kind.REPLACEMENT, "challenger", references, found, ground))
    return decisions
