"""The parts of the value model on data whose truth is known: taste by neighbourhood, and response with few showings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.special import gamma

from pipelines.offers.value import taste
from pipelines.offers.value.attention import clicked
from pipelines.offers.value.cycle import Cycle, learn_cycle
from pipelines.offers.value.data import DAY, Events, ValueData, Visits
from pipelines.offers.value.features import NAMES, SHOWN_NAMES, Asked, Known
from pipelines.offers.value.gaps import own_gaps, usual_gaps
from pipelines.offers.value.others import Others, learn_others, parts
from pipelines.offers.value.response import Response
from pipelines.offers.value.shelves import Shelves
from pipelines.offers.value.taste import Choices, fit_taste

RNG = np.random.default_rng(3)


def test_what_is_watched_sells_in_one_neighbourhood_and_not_in_the_other_and_who_minds_prices_is_found() -> None:
    people, each, items, words, among = 300, 30, 40, 4, 5
    tags = sparse.csr_matrix(np.eye(words)[np.arange(items) % words])
    dear, interest = RNG.normal(0, 0.3, items), RNG.dirichlet(np.ones(words), people)
    place, minds = np.arange(people) % 2, RNG.uniform(0.5, 5.0, people)
    slope = np.array([[4.0] * words, [0.0] * words])
    worth = (slope[place] * interest)[:, np.arange(items) % words] - minds[:, None] * dear
    person = np.repeat(np.arange(people), each)
    offered = np.array([RNG.choice(items, among, replace=False) for _ in person])
    best = (worth[person[:, None], offered] + RNG.gumbel(size=offered.shape)).argmax(axis=1)
    order = np.argsort(np.arange(among) != best[:, None], axis=1, kind="stable")  # what was chosen first
    item = np.take_along_axis(offered, order, axis=1).ravel()
    told = Choices(
        person=person, place=place[person], kind=np.zeros(len(person), np.int64), interest=interest,
        first=np.arange(len(person)) * among, item=item, dear=dear[item], again=np.zeros(len(item)),
    )  # fmt: skip
    found = fit_taste(told, tags, 2, 1)
    assert (found.slope[0] > 2.5).all() and (np.abs(found.slope[1]) < 1.0).all()
    own = -(found.price[0] + found.own[:, -1])
    assert np.corrcoef(own, minds)[0, 1] > 0.8
    assert np.polyfit(own, minds, 1)[0] == pytest.approx(1.0, abs=0.2)  # told as far as it is known, and no further
    assert found.own[:, :-1].std() < 0.25  # nobody differs from what their interests tell


def shop_of_one_category(utility: np.ndarray, visits: int) -> ValueData:
    """On each visit one of the goods is chosen by these utilities, all at one price, by shoppers without a home."""
    random = np.random.default_rng(11)
    goods, people = len(utility), 200
    who, time = random.integers(0, people, visits), 3_600 * 3 * np.arange(visits)
    item = (utility + random.gumbel(size=(visits, goods))).argmax(axis=1)
    none = np.zeros(0, np.int64)
    nothing = Events(none, none, none, none, {})
    sales = {"units": np.ones(visits), "price": np.ones(visits), "off": np.zeros(visits)}
    return ValueData(
        shopper_ids=pd.Index([f"s{number}" for number in range(people)]),
        item_ids=pd.Index([f"i{number}" for number in range(goods)]),
        store_ids=pd.Index([]), moment=int(time[-1]) + 1, price=np.ones(goods), cost=np.full(goods, 0.5),
        category=np.zeros(goods, np.int64), category_names=("A",), tags=sparse.csr_matrix((goods, 1)), place_names=(),
        launched=np.zeros(goods, np.int64), usual_store=np.full(people, -1), home=np.full(people, -1),
        visits=Visits(who, time, np.full(visits, -1)), purchases=Events(who, item, time, np.arange(visits), sales),
        showings=nothing, draws=nothing, looks=Events(none, none, none, none, {"taken": np.zeros(0)}),
        interests=Events(none, none, none, none, {"weight": np.zeros(0)}), displays=np.zeros((0, 4), np.int64),
    )  # fmt: skip


@pytest.mark.parametrize("goods", [7, 24])
def test_what_goods_are_worth_is_found_whether_all_or_some_of_the_others_are_told(goods: int) -> None:
    """Alternatives that betray which good was chosen would bias it, however much is bought."""
    utility = np.random.default_rng(goods).normal(0.0, 0.7, goods)
    data = shop_of_one_category(utility, 8_000)
    found = Known(data).taste(data.moment, np.random.default_rng(0)).item
    missed = (found - found.mean()) - (utility - utility.mean())
    assert np.sqrt((missed**2).mean()) < 0.15


def test_who_never_chose_has_the_taste_of_all_and_nothing_chosen_is_no_taste() -> None:
    none = np.zeros(0, np.int64)
    tags = sparse.csr_matrix((3, 1))
    nothing = Choices(none, none, none, np.ones((2, 1)), none, none, np.zeros(0), np.zeros(0))
    found = fit_taste(nothing, tags, 1, 1)
    assert not found.item.any() and not found.own.any() and found.again == 0
    ten = np.arange(10)
    told = Choices(
        person=np.zeros(10, np.int64), place=np.zeros(10, np.int64), kind=np.zeros(10, np.int64),
        interest=np.ones((2, 1)), first=2 * ten, item=np.tile([0, 1], 10), dear=np.tile([1.0, 0.0], 10),
        again=np.zeros(20),
    )  # fmt: skip
    found = fit_taste(told, tags, 1, 1)
    assert found.own[0, -1] > 0 and not found.own[1].any()


def test_what_is_ones_own_is_found_some_people_at_a_time_as_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    people, each, items = 40, 6, 12
    person = np.sort(RNG.integers(0, people, people * each))
    item = np.concatenate([RNG.choice(items, 3, replace=False) for _ in person])
    told = Choices(
        person=person, place=person % 2, kind=np.zeros(len(person), np.int64),
        interest=RNG.dirichlet(np.ones(2), people), first=3 * np.arange(len(person)), item=item,
        dear=RNG.normal(0, 1, items)[item], again=np.zeros(len(item)),
    )  # fmt: skip
    tags = sparse.csr_matrix((RNG.random((items, 2)) < 0.5).astype(np.float64))
    whole = fit_taste(told, tags, 2, 1)
    monkeypatch.setattr(taste, "_CELLS", 7 * 9)
    parts_of_it = fit_taste(told, tags, 2, 1)
    assert whole.own.any() and np.allclose(whole.own, parts_of_it.own, atol=1e-12)
    assert whole.again == pytest.approx(parts_of_it.again)


def test_own_purchases_take_nothing_from_what_all_like() -> None:
    people, each = 400, 30
    person = np.repeat(np.arange(people), each)
    item = (RNG.random(len(person)) < 0.25).astype(np.int64)  # item 0 is chosen three times as often, by everybody
    own = np.concatenate([[0.0], np.cumsum(item == 0)[:-1]]) - np.repeat(
        np.cumsum(item == 0)[::each] - (item[::each] == 0), each
    )
    share = own / (np.tile(np.arange(each), people) + 1.0)
    other_share = (np.tile(np.arange(each), people) - own) / (np.tile(np.arange(each), people) + 1.0)
    again, other_again = np.where(item == 0, share, other_share), np.where(item == 0, other_share, share)
    none = np.zeros(len(person), np.int64)
    told = Choices(
        person=person, place=none, kind=none, interest=np.zeros((people, 1)), first=2 * np.arange(len(person)),
        item=np.stack([item, 1 - item], axis=1).ravel(), dear=np.zeros(2 * len(person)),
        again=np.stack([again, other_again], axis=1).ravel(),
    )  # fmt: skip
    found = fit_taste(told, sparse.csr_matrix((2, 1)), 1, 1)
    assert found.item[0] - found.item[1] == pytest.approx(np.log(3), abs=0.15)
    assert abs(found.again) < 0.2


def test_a_shelf_is_empty_where_what_sells_well_is_not_sold_for_long() -> None:
    hours, end = np.arange(60 * 24) * 3_600, 60 * DAY
    gap = (hours > 20 * DAY) & (hours < 30 * DAY)
    # Item 0 sells hourly in store 0, but for ten days, never in store 1; item 1 once in each; item 2 hourly in both.
    sold = [(0, 0, hours[~gap]), (0, 1, hours[:1]), (1, 1, hours[:1]), (0, 2, hours), (1, 2, hours)]
    store, item, time = (np.concatenate(parts) for parts in zip(
        *((np.full(len(when), where), np.full(len(when), what), when) for where, what, when in sold), strict=True
    ))  # fmt: skip
    number = np.arange(len(time))
    shelves = Shelves(
        Events(number, item, time, number, {}), Visits(number, time, store.astype(np.int64)), goods=3, moment=end
    )
    ask = [(0, 0, 10), (0, 0, 25), (0, 0, 40), (1, 0, 10), (1, 1, 50), (1, 2, 25), (-1, 0, 25), (7, 0, 25)]
    where, what, day = (np.array(column) for column in zip(*ask, strict=True))
    assert shelves.had(where, what, day * DAY).tolist() == [True, False, True, False, True, True, True, True]
    nothing = Shelves(Events(*[np.zeros(0, np.int64)] * 4, {}), Visits(*[np.zeros(0, np.int64)] * 3), 3, end)
    assert nothing.had(where, what, day * DAY).all()


def rows(count: int) -> tuple[np.ndarray, np.ndarray]:
    features = np.zeros((count, len(NAMES)), np.float32)
    for name in ("taste", "thrift", "category_near"):
        features[:, NAMES.index(name)] = RNG.normal(0, 1, count)
    features[:, NAMES.index("own_category")] = np.log1p(RNG.integers(0, 8, count))
    features[:, NAMES.index("visits")] = np.log1p(20)
    shown = np.zeros((count, len(SHOWN_NAMES)), np.float32)
    shown[:, SHOWN_NAMES.index("position")] = RNG.integers(1, 5, count)
    shown[:, SHOWN_NAMES.index("cut")] = -np.log1p(-RNG.choice([0.0, 0.1, 0.3], count))
    return features, shown


@pytest.mark.parametrize("count", [0, 400])
def test_a_deeper_discount_never_lowers_the_odds_whatever_the_showings_seem_to_say(count: int) -> None:
    features, shown = rows(500)
    code = np.zeros(count, np.int64)
    against = (shown[:count, -1] == 0).astype(np.float64)  # only what had no discount was bought
    model = Response.fit(features[:count], np.full((count, 2), -3.0), shown[:count], code, code, against,
                         categories=1, items=1)  # fmt: skip
    assert (model.slope(features) >= 0).all()
    deeper = shown.copy()
    deeper[:, -1] += 0.2
    zero, unshown = np.zeros(500, np.int64), np.full((500, 2), -3.0)
    low, high = (model.margin(features, unshown, how, zero, zero) for how in (shown, deeper))
    assert (high >= low - 1e-12).all()
    assert (high - low <= 0.2 * model.slope(features) + 1e-6).all()


def test_without_showings_the_expected_weights_hold_and_many_showings_outweigh_them() -> None:
    features, shown = rows(6000)
    taste, never = (features[:, NAMES.index(name)].astype(np.float64) for name in ("taste", "own_category"))
    new = never == 0
    truth = np.where(new, -1.0 + 0.4 * taste, -2.0)
    bought = (RNG.random(6000) < 1 / (1 + np.exp(-truth))).astype(np.float64)
    code, unshown = np.zeros(6000, np.int64), np.full((6000, 2), -3.0)
    few = Response.fit(features[:0], unshown[:0], shown[:0], code[:0], code[:0], bought[:0], categories=1, items=1)
    many = Response.fit(features, unshown, shown, code, code, bought, categories=1, items=1)
    slope = [np.polyfit(taste[new], model.margin(features, unshown, shown, code, code)[new], 1)[0]
             for model in (few, many)]  # fmt: skip
    assert slope[0] == pytest.approx(0.6, abs=0.1) and slope[1] == pytest.approx(0.4, abs=0.15)


def test_who_takes_the_first_good_that_will_do_is_told_by_the_odds_of_the_category() -> None:
    features, shown = rows(8_000)
    features[:, NAMES.index("own_category")] = np.log1p(10)  # no category is foreign
    unshown = RNG.normal(-3.0, 1.0, (len(features), 2))
    bought = (RNG.random(len(features)) < 1 / (1 + np.exp(-1.0 - unshown[:, 1]))).astype(np.float64)
    code = np.zeros(len(features), np.int64)
    model = Response.fit(features, unshown, shown, code, code, bought, categories=1, items=1)
    design = np.c_[unshown, np.ones(len(unshown))]
    item, category, _ = np.linalg.lstsq(design, model.margin(features, unshown, shown, code, code), rcond=None)[0]
    assert category > 0.7 and abs(item) < 0.2


def test_how_often_a_category_is_bought_before_it_is_no_longer_foreign_is_learned() -> None:
    """Here it takes five purchases; then only what is bought unshown tells, and before only taste."""
    features, shown = rows(12_000)
    features[:, NAMES.index("own_category")] = np.log1p(RNG.integers(0, 11, len(features)))
    shown[:, SHOWN_NAMES.index("cut")] = 0.0
    taste = features[:, NAMES.index("taste")].astype(np.float64)
    foreign = np.expm1(features[:, NAMES.index("own_category")]) < 4.5
    unshown = RNG.normal(-3.0, 1.0, (len(features), 2))
    truth = np.where(foreign, -1.5 + taste, 0.5 + unshown[:, 0])
    bought = (RNG.random(len(features)) < 1 / (1 + np.exp(-truth))).astype(np.float64)
    code = np.zeros(len(features), np.int64)
    model = Response.fit(features, unshown, shown, code, code, bought, categories=1, items=1)
    margin = model.margin(features, unshown, shown, code, code)
    slopes = {}
    for times in (2, 9):
        some = np.round(np.expm1(features[:, NAMES.index("own_category")])) == times
        design = np.stack([taste, unshown[:, 0], np.ones(len(taste))], axis=1)[some]
        slopes[times] = np.linalg.lstsq(design, margin[some], rcond=None)[0][:2]
    assert slopes[2][0] > 0.7 and abs(slopes[2][1]) < 0.2  # taste counts, the odds unshown do not
    assert slopes[9][1] > 0.7 and abs(slopes[9][0]) < 0.2


def test_a_response_is_carried_to_other_numbers_by_name_and_what_is_new_weighs_nothing_of_its_own() -> None:
    """Three categories, five items, two places; then a category and an item come, and one of each goes."""
    count = 2000
    features, shown = rows(count)
    features[:, NAMES.index("place")] = RNG.integers(0, 2, count)
    category, item = RNG.integers(0, 3, count), RNG.integers(0, 5, count)
    bought = (RNG.random(count) < (category + item + 1) / 12).astype(np.float64)
    unshown = RNG.normal(-3.0, 1.0, (count, 2))
    model = Response.fit(features, unshown, shown, category, item, bought, categories=3, items=5, places=2)
    categories, items = np.array([-1, 2, 0]), np.array([4, -1, 0, 1, 2])
    other = model.carried(categories, items)
    stays = np.flatnonzero(np.isin(category, categories) & np.isin(item, items))

    def told(by: Response, rows: np.ndarray, category: np.ndarray, item: np.ndarray) -> np.ndarray:
        return by.margin(features[rows], unshown[rows], shown[rows], category, item)

    now = [np.argmax(place[:, None] == code[stays], axis=0) for place, code in ((categories, category), (items, item))]
    assert np.array_equal(told(other, stays, *now), told(model, stays, category[stays], item[stays]))
    same = model.carried(np.arange(3), np.arange(5))
    assert np.array_equal(same.weights, model.weights)
    nothing = model.carried(np.full(3, -1), np.full(5, -1))
    assert np.ptp([told(nothing, stays, *np.full((2, len(stays)), one)) for one in range(3)], axis=0).max() == 0
    new = told(other, stays, np.zeros(len(stays), np.int64), np.ones(len(stays), np.int64))
    assert np.array_equal(new, told(nothing, stays, *np.zeros((2, len(stays)), np.int64)))


def learned(count: int, taken: float, brought: float) -> Others:
    """From random offers of which one in three was made, in categories of one other good with a profit of 2."""
    random = np.random.default_rng(count)
    cut, usual = random.choice([0.1, 0.2, 0.35], count), random.beta(1, 3, count) * 0.8
    own, added = np.full(count, 0.05), random.uniform(0.0, 0.15, count)
    less, more = parts(own, added, cut, 2.0 * usual, usual)
    offered = random.random(count) < 1 / 3
    sold = random.random(count) < usual + offered * (taken * less + brought * more) / 2.0
    return learn_others(less, more, usual=2.0 * usual, square=4.0 * usual, profit=2.0 * sold,
                        offered=offered.astype(np.float64), propensity=np.where(offered, 1 / 3, 2 / 3))  # fmt: skip


def test_what_a_discount_brings_by_other_goods_is_found_where_it_does_and_nowhere_else() -> None:
    brought, nothing, few = learned(100_000, 1.0, 2.5), learned(100_000, 0.5, 0.0), learned(20, 1.0, 2.5)
    assert brought.brought == pytest.approx(2.5, abs=0.4) and brought.taken == pytest.approx(1.0, abs=0.4)
    assert nothing.brought < 0.25 and nothing.taken == pytest.approx(0.5, abs=0.3)
    assert few.brought < 0.5 and few.taken == pytest.approx(1.0, abs=0.3)
    assert learn_others(*[np.zeros(0)] * 2, usual=np.zeros(0), square=np.zeros(0), profit=np.zeros(0),
                        offered=np.zeros(0), propensity=np.zeros(0)) == Others()  # fmt: skip


def test_others_are_told_of_by_what_else_the_shopper_would_buy_in_the_category() -> None:
    shopper, category = np.array([0, 0, 0, 1]), np.array([0, 0, 1, 0])
    chance, margin = np.array([0.2, 0.3, 0.4, 0.5]), np.array([2.0, 1.0, 1.0, 0.0])
    keeps, lift = Others(1.0, 2.0).told(shopper, category, chance, margin, 1.0)
    assert keeps == pytest.approx([1 - 0.3 / 0.8 / 2.0, 1 - 0.4 / 0.7 / 1.0, 1.0, 1.0])
    assert lift == pytest.approx([2 * 0.3 * 0.5 / 2.0, 2 * 0.4 * 0.5 / 1.0, 0.0, 0.0])


DAYS, MOMENT = 200, 200 * 86_400


def cycle(people: int, *, others: int = 0, unprompted: bool = True) -> Cycle:
    """Of a category whose shoppers come once a day and buy by cycles with a mean of their own; `others` buy there once,
    and come again as often."""
    random = np.random.default_rng(people)
    gaps = random.uniform(5, 15, people)[:, None] * random.weibull(6.0, (people, 60)) / gamma(1 + 1 / 6.0)
    days = np.floor(random.uniform(0, 20, people)[:, None] + np.cumsum(np.maximum(gaps, 1.0), axis=1))
    bought = np.zeros((people + others, DAYS), bool)
    who, turn = np.nonzero(days < DAYS)
    bought[who, days[who, turn].astype(np.int64)] = True
    bought[people + np.arange(others), random.integers(0, DAYS, others)] = True
    day, shopper = np.divmod(np.arange(bought.size), people + others)
    start = day * 86_400 + shopper
    row = np.flatnonzero(bought.T.ravel())
    none = np.zeros(len(row), np.int64)
    purchases = Events(shopper[row], none, start[row] + 60, row, {})
    return learn_cycle(
        purchases, np.full(len(row), unprompted), Visits(shopper, start, 0 * start), np.zeros(1, np.int64), 1, MOMENT
    )


def test_a_sale_just_before_the_next_one_is_due_hardly_lasts_and_one_just_after_the_last_does() -> None:
    told = cycle(300)
    part = np.array([0.0, 0.5, 1.0, 1.25])
    kinds, often = np.zeros(4, np.int64), np.full(4, 9.0)
    lasts = told.lasts(kinds, often, part * 10, part)
    assert lasts[0] > 0.8 and lasts[1] == pytest.approx(0.5, abs=0.08)
    assert lasts[2] < 0.3 and (told.lasting >= 0).all() and (told.lasting <= 1).all()
    unknown = told.lasts(kinds, often, part * told.usual[0], np.full(4, np.nan))  # the category's usual time counts
    assert unknown == pytest.approx(lasts)


def test_where_no_purchase_would_follow_a_sale_lasts() -> None:
    kind, one = np.zeros(1, np.int64), np.ones(1)
    assert cycle(300).lasts(kind, 0 * one, one * np.nan, one * np.nan) == 1.0  # never bought there
    assert cycle(40, others=1000).lasts(kind, one, 10 * one, one * np.nan) > 0.8
    assert (cycle(1).lasting == 1).all()  # too few to say
    assert (cycle(300, unprompted=False).lasting == 1).all()  # screens sold it


def test_what_lasts_not_is_lost_at_the_profit_that_is_usual_in_the_category() -> None:
    shopper, category = np.zeros(2, np.int64), np.zeros(2, np.int64)
    chance, margin = np.array([0.2, 0.3]), np.array([2.0, 1.0])
    keeps, lift = Others(0.0, 2.0).told(shopper, category, chance, margin, 1.0, np.array([1.0, 0.25]))
    usual = (0.2 * 2.0 + 0.3 * 1.0) / 0.5
    assert keeps == pytest.approx([1.0, 1 - 0.75 * usual / 1.0])
    assert lift == pytest.approx([2 * 0.3 * 0.5 / 2.0, 0.25 * 2 * 0.4 * 0.5 / 1.0])


def test_how_far_goods_differ_when_shown_is_learned_from_the_showings() -> None:
    count, goods = 12_000, 60
    features, shown = rows(count)
    item, unshown = RNG.integers(0, goods, count), np.full((count, 2), -3.0)
    code = np.zeros(count, np.int64)
    found = []
    for spread in (0.0, 1.5):
        own = spread * RNG.normal(0, 1, goods)
        bought = (RNG.random(count) < 1 / (1 + np.exp(1.5 - own[item]))).astype(np.float64)
        model = Response.fit(features, unshown, shown, code, item, bought, categories=1, items=goods)
        found.append(model.spread[-1])
    assert found[0] < 0.25 and 0.9 < found[1] < 2.1


def test_how_readily_goods_are_clicked_is_told_and_little_said_of_what_was_hardly_looked_at() -> None:
    goods, kinds, looks = 60, 6, 12_000
    category = np.arange(goods) % kinds
    truth = RNG.normal(0, 0.5, kinds)[category] + RNG.normal(0, 0.7, goods)
    item = RNG.integers(1, goods, looks)
    taken = (RNG.random(looks) < 1 / (1 + np.exp(1.0 - truth[item]))).astype(np.float64)
    found, of_kinds = clicked(item, taken, category, kinds)
    assert np.corrcoef(found[1:], truth[1:])[0, 1] > 0.9
    assert np.polyfit(found[1:], truth[1:], 1)[0] == pytest.approx(1.0, abs=0.15)
    alike = found[category == category[0]]  # nobody looked at the first: it is as its category
    assert alike.min() < found[0] < alike.max()
    assert found[0] == pytest.approx(of_kinds[0], abs=1e-3) and len(np.unique(of_kinds)) == kinds
    means = [found[category == kind].mean() for kind in range(kinds)]
    assert np.corrcoef(of_kinds[:kinds], means)[0, 1] > 0.9
    for nothing in (clicked(item[:50], taken[:50], category, kinds), clicked(item, np.zeros(looks), category, kinds)):
        assert not np.any(nothing)


def test_usual_gaps_are_found_and_a_shopper_s_own_count_the_more_the_more_there_are() -> None:
    people, days, kinds = 400, 120, 3
    shopper, category, time = [], [], []
    for kind, usual in enumerate((5.0, 40.0)):  # of the third there were no two
        for person in range(people):
            when = RNG.uniform(0, usual)
            while when < days:
                shopper.append(person), category.append(kind), time.append(when * DAY)
                when += usual * RNG.gamma(4.0, 0.25)
    shopper.append(0), category.append(2), time.append(0.0)
    columns = [np.array(column, np.int64) for column in (shopper, category, time)]
    found = usual_gaps(*columns, days * DAY, kinds)
    assert found[0] == pytest.approx(5.0, rel=0.1) and found[1] == pytest.approx(40.0, rel=0.25)
    assert found[0] < found[2] < found[1], "as in all categories together"
    nobody = usual_gaps(*(column[:0] for column in columns), days * DAY, kinds)
    assert np.isfinite(nobody).all() and (nobody > 0).all()
    told = own_gaps(np.full(4, 10.0), np.array([np.nan, 0.0, 20.0, 380.0]), np.array([0.0, 1.0, 2.0, 20.0]))
    assert told[:2].tolist() == [10.0, 10.0] and 10 < told[2] < told[3] < 20


def test_several_goods_of_one_visit_are_one_time_that_somebody_came_back() -> None:
    one = shop_of_one_category(np.zeros(3), 400)
    thrice = replace(one, purchases=one.purchases.take(np.repeat(np.arange(400), 3)))
    told = []
    for data in (one, thrice):
        known = Known(data)
        asked = Asked(np.arange(50), np.zeros(50, np.int64), np.full(50, data.moment), np.full(50, -1))
        features = known.features(asked, known.taste(data.moment, np.random.default_rng(0)), data.moment)
        told.append(features[:, [NAMES.index(name) for name in ("category_gap", "category_due_all")]])
    assert np.array_equal(told[0], told[1], equal_nan=True) and np.isfinite(told[0]).any(axis=0).all()
