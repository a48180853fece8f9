"""A slate for several possible people: between the shopper's own and nobody's, never worth less than nobody's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.errors import UsageError
from pipelines.offers.doubt import Floats, Pool, Weighed, check_probabilities, doubted, pool, weigh
from pipelines.offers.value.odds import UNSHOWN, chance, gain
from pipelines.offers.worth import NO_OFFER, Options
from pipelines.packed import NOBODY, Ranked

ITEMS, SLOTS = 30, 4
PRICE, COST = np.linspace(100, 900, ITEMS), np.linspace(60, 500, ITEMS)
DISCOUNTS = np.array([0.0, 0.1, 0.3])


def candidates(seed: int, size: int, first: int = 0) -> Ranked:
    """Some items, in the order of what they are worth to this person, as lists come."""
    random = np.random.default_rng(seed)
    items = random.permutation(ITEMS)[:size].astype(np.int32)
    unshown = random.normal(-3, 1.2, size)
    random_parts = [random.gamma(1, 0.8, size), random.random(size), random.random(size)]
    odds = np.stack([unshown, unshown + random_parts[0], *random_parts[1:], np.zeros(size)], axis=1)
    ranked = Ranked(items, np.linspace(1, 0, size, dtype=np.float32), np.full(size, first, np.uint8), odds.astype("f2"))
    return ranked.take(np.argsort(-worths_of(ranked).max(axis=1), kind="stable"))


def worths_of(ranked: Ranked) -> Floats:
    assert ranked.odds is not None
    return gain(ranked.odds, PRICE[ranked.items], COST[ranked.items], np.tile(DISCOUNTS, (len(ranked), 1)))


def worths(people: Pool) -> Floats:
    return np.stack(
        [worths_of(Ranked(people.items, people.scores[0], people.reasons[0], odds)) for odds in people.odds]
    )


def best(values: Floats, items: np.ndarray) -> list[int]:  # type: ignore[type-arg]
    """Items by the best of their options; ties as they come."""
    return [int(item) for item in items[np.argsort(-values.max(axis=1), kind="stable")]]


def slate(shoppers: list[tuple[float, Ranked]], level: Ranked, harm: float = 20.0) -> tuple[list[int], Weighed, Pool]:
    people = pool(shoppers, level)
    found = weigh(people, worths(people), harm, np.array(best(worths_of(level), level.items)[:SLOTS]))
    return best(found.worth, people.items), found, people


def value(shown: list[int], found: Weighed, people: Pool) -> float:
    """Expected worth of a slate over who may stand there, without the harm."""
    at = [int(np.flatnonzero(people.items == item)[0]) for item in shown]
    return float((found.worth[at] + found.harm[at]).max(axis=1).sum())


seeds = st.integers(0, 10_000)
sizes = st.integers(SLOTS, ITEMS)


@given(seeds, sizes, sizes, st.floats(0, 500))
def test_one_certain_shopper_has_their_own_slate_and_nobody_that_of_the_level(
    seed: int, own: int, others: int, harm: float
) -> None:
    shopper, level = candidates(seed, own), candidates(seed + 1, others, 1)
    certain, found, people = slate([(1.0, shopper)], level, harm)
    assert certain[:own] == best(worths_of(shopper), shopper.items) and not found.harm.any()
    assert certain[own:] == [item for item in best(worths_of(level), level.items) if item not in shopper.items]
    assert found.own[np.isin(people.items, shopper.items)].all()
    nobody, found, _ = slate([(0.0, shopper)], level, harm)
    assert nobody == best(worths_of(level), level.items) and not found.own.any()
    assert np.allclose(found.worth, worths_of(level))


@given(seeds, sizes, sizes, st.lists(st.floats(0, 1), min_size=1, max_size=3), st.floats(0, 500))
def test_the_best_slate_is_worth_at_least_the_anonymous_one(
    seed: int, own: int, others: int, weights: list[float], harm: float
) -> None:
    total = max(1.0, sum(weights))
    shoppers = [(weight / total, candidates(seed + place, own)) for place, weight in enumerate(weights)]
    level = candidates(seed + 9, others)
    shown, found, people = slate(shoppers, level, harm)
    anonymous = best(worths_of(level), level.items)[:SLOTS]
    assert value(shown[:SLOTS], found, people) >= value(anonymous, found, people) - 1e-9
    assert (found.harm >= 0).all() and np.allclose(found.owed.sum(axis=0), 1)


@settings(max_examples=40, deadline=None)
@given(seeds, sizes, sizes, st.floats(0, 200))
def test_what_it_is_worth_above_the_anonymous_slate_never_falls_with_the_probability(
    seed: int, own: int, others: int, harm: float
) -> None:
    shopper, level = candidates(seed, own), candidates(seed + 1, others)
    anonymous = best(worths_of(level), level.items)[:SLOTS]
    above = []
    for probability in np.linspace(0, 1, 21):
        shown, found, people = slate([(float(probability), shopper)], level, harm)
        at = [int(np.flatnonzero(people.items == item)[0]) for item in shown[:SLOTS]]
        above.append(found.worth[at].max(axis=1).sum() - value(anonymous, found, people))
    assert (np.diff(above) >= -1e-9).all() and above[0] == pytest.approx(0)


@settings(max_examples=60, deadline=None)
@given(seeds, st.floats(0.001, 0.999), st.floats(0, 0.999))
def test_a_little_more_probability_changes_worth_a_little(seed: int, probability: float, other: float) -> None:
    one, two, level = candidates(seed, 12), candidates(seed + 1, 12), candidates(seed + 2, 20)
    rest = (1 - probability) * other
    _, found, people = slate([(probability, one), (rest, two)], level)
    _, near, others = slate([(probability * (1 - 1e-10), one), (rest * (1 - 1e-10), two)], level)
    if np.array_equal(people.items, others.items):
        assert np.allclose(found.worth, near.worth, atol=1e-3)
    slightly = slate([(probability, one), (1e-9, two)], level)
    alone = slate([(probability, one)], level)
    assert slightly[0][:SLOTS] == alone[0][:SLOTS]


def odds_of(*rows: tuple[float, float]) -> np.ndarray:  # type: ignore[type-arg]
    """Probabilities unshown and shown as odds, without response to prices, all of it kept."""
    chance = np.array(rows)
    log = np.log(chance / (1 - chance))
    return np.column_stack([log, np.zeros(len(rows)), np.ones(len(rows)), np.zeros(len(rows))]).astype("f2")


def test_harm_is_what_only_one_would_buy_times_the_chance_that_it_is_not_them() -> None:
    places = np.array([1, 2, 3], np.int32)
    own = Ranked(places, np.ones(3, "f4"), np.zeros(3, "u1"), odds_of((0.2, 0.5), (0.2, 0.5), (0.2, 0.5)))
    level = Ranked(
        np.array([0, 1, 2], np.int32),
        np.ones(3, "f4"),
        np.zeros(3, "u1"),
        odds_of((0.1, 0.3), (0.2, 0.21), (0.05, 0.1)),
    )
    people = pool([(0.6, own)], level)
    found = weigh(people, worths(people), 100.0, np.array([0]))
    harm = dict(zip(people.items.tolist(), found.harm[:, 0], strict=True))
    assert harm[0] == 0  # the anonymous slate would show it
    assert harm[1] == pytest.approx(0, abs=1e-2)  # the neighbourhood buys it as often
    assert harm[3] == pytest.approx(100 * 0.4, rel=1e-3)  # only the shopper would
    owed = dict(zip(people.items.tolist(), found.owed[0], strict=True))
    assert harm[2] == pytest.approx(100 * 0.4 * owed[2] * 0.75, rel=1e-2) and 0.8 < owed[2] < 1
    assert np.allclose(weigh(people, worths(people), 0.0, np.array([0])).harm, 0)


def test_a_good_that_makes_sense_for_both_who_may_stand_there_tells_of_neither() -> None:
    level = candidates(3, 8)
    item = np.array([int(np.setdiff1d(np.arange(ITEMS), level.items)[0])], np.int32)
    both = Ranked(item, np.ones(1, "f4"), np.zeros(1, "u1"), odds_of((0.3, 0.5)))
    apart = Ranked(item, np.ones(1, "f4"), np.zeros(1, "u1"), odds_of((0.0001, 0.0002)))
    alike = pool([(0.5, both), (0.5, both)], level)
    unlike = pool([(0.5, both), (0.5, apart)], level)
    harms = [weigh(people, worths(people), 100.0, level.items[:SLOTS]).harm[0, 0] for people in (alike, unlike)]
    assert harms[0] == pytest.approx(0) and harms[1] == pytest.approx(50, rel=0.01)


def offered(odds: Floats, items: np.ndarray) -> Options:  # type: ignore[type-arg]
    """No offer, and for every second item two others, the deepest first; row numbers tell item and depth."""
    at = np.repeat(np.arange(0, len(items), 2), 2)
    discount = np.tile([0.3, 0.1], len(at) // 2)
    plain = gain(odds, PRICE[items], COST[items])
    worths = gain(odds[at], PRICE[items[at]], COST[items[at]], discount)
    none = np.full(len(items), NO_OFFER)
    none[at[::2]] = at[::2] * 10 + 3
    bought, earned = chance(odds), chance(odds) * (PRICE[items] - COST[items])
    return Options(plain, none, bought, earned, plain, at, at * 10 + np.array(discount * 10, int), worths)


@given(seeds, st.floats(0, 1))
def test_each_item_gets_its_best_offer_over_who_may_stand_there(seed: int, probability: float) -> None:
    shopper, level = candidates(seed, 12), candidates(seed + 1, 15)
    people = pool([(probability, shopper)], level)
    found, weighed = doubted(people, [offered(odds, people.items) for odds in people.odds], 5.0, level.items[:SLOTS])
    for item in range(len(people.items)):
        may = {NO_OFFER: found.plain[item]}
        may |= dict(zip(found.rows[found.at == item].tolist(), found.worths[found.at == item], strict=True))
        assert found.worth[item] == pytest.approx(max(may.values())) == pytest.approx(may[int(found.row[item])])
    assert np.allclose(weighed.worth[:, 0], found.plain)
    bought = [np.where(np.isnan(one), np.nan_to_num(chance(people.odds[-1])), one) for one in map(chance, people.odds)]
    told = np.isfinite(found.worth)
    assert np.allclose(found.chance[told], (people.probability @ np.stack(bought))[told])
    assert set(found.row) - {NO_OFFER} <= set(found.rows)


def test_an_item_that_nobody_has_odds_for_keeps_the_offer_it_has_without_them() -> None:
    bare = Ranked(np.array([0, 1, 2], np.int32), np.ones(3, "f4"), np.zeros(3, "u1"))
    people = pool([(0.4, bare)], NOBODY)
    found, _ = doubted(people, [offered(odds, people.items) for odds in people.odds], 5.0, np.zeros(0, np.int32))
    assert np.isnan(found.worth).all() and found.row.tolist() == [3, NO_OFFER, 23]


def test_of_a_long_list_the_likeliest_have_a_say_and_the_others_are_somebody_else() -> None:
    level = candidates(1, 10)
    many = [(0.01 * number, candidates(number, 6)) for number in range(1, 10)]
    people = pool(many, level)
    assert people.probability == pytest.approx([0.09, 0.08, 0.07, 0.06, 0.05, 0.65])
    assert set(people.items) == {int(one) for _, ranked in many[-5:] for one in ranked.items} | set(level.items)


def test_reason_and_score_are_of_the_list_that_most_is_owed_to() -> None:
    own, level = candidates(5, 10, 2), candidates(6, 10, 1)
    _, found, people = slate([(0.9, own)], level, 0.0)
    in_own, in_level = np.isin(people.items, own.items), np.isin(people.items, level.items)
    assert (found.reasons[in_own & ~in_level] == 2).all() and (found.reasons[in_level & ~in_own] == 1).all()
    assert np.isfinite(found.scores).all()


def test_without_odds_an_item_has_no_worth_and_an_empty_list_no_say() -> None:
    bare = Ranked(np.array([1, 2], np.int32), np.ones(2, "f4"), np.zeros(2, "u1"))
    people = pool([(0.5, bare), (0.2, NOBODY)], candidates(1, 5))
    found = weigh(people, worths(people), 10.0, np.zeros(0, np.int32))
    assert np.isnan(people.odds[:2, :, UNSHOWN]).all()
    listed = np.isin(people.items, candidates(1, 5).items)
    assert np.isfinite(found.worth[listed]).all() and np.isnan(found.worth[~listed]).all()
    empty = pool([(1.0, NOBODY)], NOBODY)
    assert weigh(empty, np.zeros((2, 0, 3)), 1.0, np.zeros(0, np.int32)).worth.shape == (0, 3)


@pytest.mark.parametrize(
    ("shoppers", "said"),
    [
        ([("a", 0.5), ("b", -0.1), ("c", 2.0)], "2 of 3 shoppers have a probability"),
        ([("a", float("nan"))], "1 of 1 shoppers"),
        ([("a", 0.7), ("b", 0.4)], "2 shoppers sum to 1.100"),
        ([("a", 0.4), ("a", 0.4)], "1 of 2 shoppers are named twice"),
    ],
)
def test_weights_that_are_no_probabilities_are_refused_and_counted(
    shoppers: list[tuple[str, float]], said: str
) -> None:
    with pytest.raises(UsageError, match=said) as refused:
        check_probabilities(shoppers)
    assert "'a'" not in str(refused.value)
    check_probabilities([("a", 0.6), ("b", 0.4), ("c", 0.0)])
    check_probabilities([])
