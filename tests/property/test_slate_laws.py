"""Laws of a slate: what its rules promise whatever is drawn, and propensities that tell how often a thing is shown."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.policy import PolicySettings
from pipelines.offers.explore import draws, seed_of
from pipelines.offers.filling import EVEN, SHARED, leaning, leans_to
from pipelines.offers.slate import Drawn, Goods, Right, Room, fill
from tests.small_shop import END

policies = st.builds(
    PolicySettings,
    exploration=st.sampled_from([0.05, 0.3, 1.0]),
    diversity=st.sampled_from([0.0, 0.2, 1.0]),
    maker_cap=st.integers(1, 3),
    newcomers_most=st.sampled_from([0.0, 0.1, 0.5]),
)


def goods(seed: int, size: int, *, groups: int = 3, newcomers: bool = True) -> Goods:
    """Candidates in order: the best group first, in it the best worth."""
    chance = np.random.default_rng(seed)
    group, value = chance.integers(0, groups, size), np.round(chance.normal(5, 3, size), 1)
    order = np.lexsort((-value, group))
    paths = np.array([[-1, 0, 0, 1, 2, 2, 2], [-1, 0, 0, 1, 2, 3, 3], [-1, 0, 1, 2, 3, 4, 5]], np.int32)
    makers = chance.integers(-1, 5, size).astype(np.int32)
    new = [0, 3] if newcomers else []
    kinds = chance.integers(0, paths.shape[1], size)
    bought = np.where(chance.random(size) < 0.2, np.nan, chance.beta(1, 3, size))
    return Goods(
        group[order],
        value[order],
        bought,
        np.where(chance.random(size) < 0.1, np.nan, np.maximum(value[order], 0) + bought * chance.exponential(2, size)),
        traits(makers, chance.integers(-1, 5, size), kinds - 1, paths[:, kinds]),
        tuple(Right(code, 0.02 * (code + 1), items) for code in new if (items := of_maker(makers, code))),
    )


def traits(makers: Any, brands: Any, categories: Any, paths: Any) -> Any:
    """As `Goods` has them."""
    return np.ascontiguousarray(np.stack([makers, brands, categories, *paths], axis=1), np.int32)


def of_makers(pool: Goods, makers: Any, rights: tuple[Right, ...]) -> Goods:
    """The same goods, made by others."""
    return replace(pool, traits=traits(makers, pool.brands, pool.categories, pool.paths), rights=rights)


def of_maker(makers: Any, code: int) -> tuple[int, ...]:
    """Where its items stand."""
    return tuple(np.flatnonzero(makers == code).tolist())


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 10**6), size=st.integers(0, 30), count=st.integers(1, 12), policy=policies)
def test_every_slot_keeps_the_rules_and_its_propensities_sum_to_one(
    seed: int, size: int, count: int, policy: PolicySettings
) -> None:
    pool = goods(seed, size)
    found = fill(pool, count, policy, draws(f"{seed:032x}", count + 1))
    shown = [slot.at for slot in found]
    room = Room(count, policy.maker_cap)
    room.take(pool.traits, np.ones(size, bool))
    assert len(shown) == len(set(shown)) == count - room.left, "it always answers"
    makers = [maker for maker in pool.makers[shown].tolist() if maker >= 0]
    assert all(makers.count(maker) <= policy.maker_cap for maker in makers)
    for number, slot in enumerate(found):
        chances = slot.propensities()
        assert chances.sum() == pytest.approx(1, abs=1e-12) and chances[slot.at] == pytest.approx(slot.propensity)
        even = policy.exploration * EVEN / slot.open.sum()
        assert (chances[slot.open] >= even - 1e-12).all(), "all is explored"
        if slot.open.sum() > 1 and not any(slot.best in right.items for right in pool.rights):
            assert chances[slot.best] <= 1 - policy.exploration + even + 1e-12, "the best is not what exploration draws"
        owed = {right: right.share for right in pool.rights if slot.open[list(right.items)].any()}
        scale = min(1, policy.newcomers_most / max(sum(owed.values()), 1e-9))
        for right, share in owed.items():
            theirs = chances[list(right.items)].sum()
            assert theirs >= share * scale - 1e-12, "new makers get what they have a right to"
        assert not chances[~slot.open].any() and not slot.open[shown[:number]].any() and slot.open[slot.best]


def alike(pool: Goods, one: int, other: int) -> int:
    """Twelfths: two for each level of the category's path that is the same, three each for maker and brand."""
    levels = pool.paths[0, one] >= 0 and sum(pool.paths[:, one] == pool.paths[:, other])
    names = [codes[one] == codes[other] >= 0 for codes in (pool.makers, pool.brands)]
    return int(2 * levels + 3 * sum(names))


def beside(pool: Goods, one: int, held: list[int]) -> float:
    """What a good adds to a slate: it, and those of its category that are held, are bought by the odds of each."""
    rivals = [other for other in held if pool.categories[other] == pool.categories[one] >= 0]
    rivals = [other for other in rivals if np.isfinite(pool.earned[other])]
    if not rivals or np.isnan(pool.earned[one]):
        return float(pool.value[one])
    odds = pool.chance / (1 - pool.chance)
    profit = pool.earned / pool.chance

    def earns(of: list[int]) -> float:
        return float((odds[of] * profit[of]).sum() / (1 + odds[of].sum()))

    taken = pool.earned[one] - pool.value[one]
    return min(float(pool.value[one]), earns([*rivals, one]) - earns(rivals) - taken)


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 10**6), size=st.integers(1, 40), count=st.integers(1, 12), policy=policies)
def test_the_best_of_a_slot_is_what_looking_at_every_candidate_finds(
    seed: int, size: int, count: int, policy: PolicySettings
) -> None:
    pool = goods(seed, size)
    shown: list[int] = []
    for slot in fill(pool, count, policy, draws(f"{seed:032x}", count + 1)):
        group = min(pool.group[slot.open])
        worth = {}
        for at in np.flatnonzero(slot.open & (pool.group == group)).tolist():
            adds, like = beside(pool, at, shown), max((alike(pool, at, held) for held in shown), default=0)
            worth[at] = adds - policy.diversity / 12 * abs(adds) * like
        best = max(worth, key=lambda at: worth[at])  # of equal ones the first
        assert slot.best == best or worth[slot.best] == pytest.approx(worth[best], rel=1e-9, abs=1e-12)
        shown.append(slot.at)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), size=st.integers(1, 25), other=policies)
def test_another_policy_is_judged_on_the_same_slots(seed: int, size: int, other: PolicySettings) -> None:
    pool, policy = goods(seed, size), PolicySettings()
    chance = draws(f"{seed:032x}", 6)
    shown = [slot.at for slot in fill(pool, 5, policy, chance)]
    again = fill(pool, 5, policy, chance, shown)
    assert [slot.propensity for slot in again] == [slot.propensity for slot in fill(pool, 5, policy, chance)]
    for slot in fill(pool, 5, other, chance, shown):
        assert slot.propensities().sum() == pytest.approx(1) and slot.at in shown
        assert slot.propensity == pytest.approx(slot.propensities()[slot.at])
    for slot in fill(pool, 5, other, chance, [-1] * 3):
        assert slot.propensity == 0 and slot.open.all()


def test_what_is_shown_comes_as_often_as_its_propensity_tells() -> None:
    pool, policy, times = goods(3, 8), PolicySettings(exploration=0.3, newcomers_most=0.2), 6_000
    counts = np.zeros((3, len(pool)))
    expected = np.zeros((3, len(pool)))
    for number in range(times):
        for place, slot in enumerate(fill(pool, 3, policy, draws(f"{number:032x}", 4))):
            counts[place, slot.at] += 1
            expected[place] += slot.propensities()
    spread = np.sqrt(expected * (1 - expected / times)) + 1
    assert (np.abs(counts - expected) < 4.5 * spread).all()


def test_the_best_of_the_first_group_goes_first_and_ties_stay_in_their_order() -> None:
    sure: dict[str, Any] = {"chance": np.full((4, 2), 0.999)}  # draws nothing
    none = np.full(6, -1, np.int32)
    paths = np.full((3, 6), -1, np.int32)
    value = np.array([2.0, 2, 1, 9, 9, 9])
    alike = Goods(np.array([0, 0, 0, 1, 1, 1]), value, value * np.nan, value, traits(none, none, none, paths))
    assert [slot.at for slot in fill(alike, 4, PolicySettings(), **sure)] == [0, 1, 2, 3]


def test_a_second_of_a_kind_is_worth_less_and_a_third_of_a_maker_is_not_shown() -> None:
    sure: dict[str, Any] = {"chance": np.full((4, 2), 0.999)}
    makers = np.array([7, 7, 7, 8], np.int32)
    paths = np.array([[0, 0, 0, 2], [1, 1, 1, 3], [1, 1, 1, 3]], np.int32)
    value, nobody_says = np.array([10.0, 9.0, 8.5, 8.0]), np.full(4, np.nan)
    kinds = Goods(np.zeros(4, np.int64), value, nobody_says, nobody_says, traits(makers, makers, paths[2], paths))
    assert [slot.at for slot in fill(kinds, 4, PolicySettings(diversity=0.0), **sure)] == [0, 1, 3]
    assert [slot.at for slot in fill(kinds, 4, PolicySettings(diversity=0.2), **sure)] == [0, 3, 1]


def test_a_good_adds_what_it_does_not_take_from_those_of_its_category_on_the_slate() -> None:
    none, sure = np.full(3, -1, np.int32), np.full((3, 2), 0.999)
    paths = np.array([[0, 0, 1]] * 3, np.int32)
    worth, chance = np.array([10.0, 9.0, 4.0]), np.array([0.5, 0.5, 0.1])
    pool = Goods(np.zeros(3, np.int64), worth, chance, worth, traits(none, none, paths[0], paths))
    plain = PolicySettings(diversity=0.0)
    # Sold half of the time each, both together two thirds of the time: 20 / 3 + 18 / 3 - 10 = 2.67 is less than 4.
    assert [slot.at for slot in fill(pool, 3, plain, sure)] == [0, 2, 1]
    for kinds in (none, np.arange(3, dtype=np.int32)):  # none is known to take from another
        assert [slot.at for slot in fill(replace(pool, traits=traits(none, none, kinds, paths)), 3, plain, sure)] == [
            0,
            1,
            2,
        ]
    seldom = replace(pool, chance=chance / 10)  # dear goods that few buy hardly take from each other
    assert [slot.at for slot in fill(seldom, 3, plain, sure)] == [0, 1, 2]


def test_new_makers_get_their_share_of_the_slots_and_no_more() -> None:
    pool = goods(1, 40, groups=1, newcomers=False)
    makers = np.where(np.arange(40) < 38, -1, np.arange(40)).astype(np.int32)
    rights = (Right(38, 0.02, (38,)), Right(39, 0.02, (39,)))  # they have the two that are worth least
    pool = of_makers(pool, makers, rights)
    for most, share in ((0.1, 0.04), (0.01, 0.01)):
        policy = PolicySettings(newcomers_most=most)
        slots = [fill(pool, 1, policy, draws(f"{number:032x}", 1))[0] for number in range(4000)]
        even, leans = 0.05 * EVEN, 0.05 * (1 - EVEN)
        leans -= min(share, leans * SHARED)  # what is drawn for new makers counts as exploration
        told = even * 2 / 40 + leans * sum(leaning(rank, 39, 2) for rank in (37, 38)) + share
        assert np.mean([slot.propensities()[-2:].sum() for slot in slots]) == pytest.approx(told)
        assert np.mean([slot.at >= 38 for slot in slots]) == pytest.approx(told, abs=4.5 * np.sqrt(told / 4000))


def test_a_new_maker_is_shown_with_what_is_worth_most_of_its_goods_and_with_all_of_them() -> None:
    pool = goods(1, 40, groups=1, newcomers=False)
    makers = np.where(np.arange(40) < 30, -1, 7).astype(np.int32)

    def first(share: float, makers: Any) -> Drawn:
        rights = (Right(7, share, of_maker(makers, 7)),) if share else ()
        return fill(of_makers(pool, makers, rights), 1, PolicySettings(), np.full((1, 2), 0.999))[0]

    with_it, without = first(0.1, makers), first(0.0, makers)
    of_ten = (with_it.propensities() - without.propensities())[30:]
    assert of_ten[0] > 0.8 * 0.1 - 1e-3 and (of_ten[1:] > 0.1 * EVEN / 10 - 1e-3).all()
    assert with_it.propensities()[30:].sum() >= 0.1
    makers[0] = 7  # what is worth most is theirs: nothing is drawn for them
    on_merit = first(0.1, makers)
    assert on_merit.at == on_merit.best == 0 and on_merit.propensity == first(0.0, makers).propensity > 0.9


@given(others=st.integers(1, 3000), reach=st.integers(1, 40), uniform=st.floats(0, 1, exclude_max=True))
def test_leaning_draws_take_each_rank_as_often_as_they_tell(others: int, reach: int, uniform: float) -> None:
    told = np.array([leaning(rank, others, reach) for rank in range(others)])
    assert told.sum() == pytest.approx(1, abs=1e-12) and (told > 0).all() and (np.diff(told) < 0).all()
    rank, summed = leans_to(uniform, others, reach), np.concatenate([[0.0], told.cumsum()])
    assert summed[rank] - 1e-9 <= uniform <= summed[rank + 1] + 1e-9


def test_a_question_draws_the_same_within_its_time_and_anew_after_it() -> None:
    key, other = b"k" * 32, b"o" * 32
    first = seed_of(key, "shopper-1", "aisle", END, 10)
    assert first == seed_of(key, "shopper-1", "aisle", END + timedelta(minutes=9, seconds=59), 10)
    changed = [seed_of(key, "shopper-1", "aisle", END + timedelta(minutes=10), 10),
               seed_of(key, "shopper-2", "aisle", END, 10), seed_of(key, "shopper-1", "phone", END, 10),
               seed_of(other, "shopper-1", "aisle", END, 10)]  # fmt: skip
    assert len({first, *changed}) == 5
    uniform = np.concatenate([draws(seed_of(key, str(number), "aisle", END, 10), 5).ravel() for number in range(4000)])
    assert uniform.min() >= 0 and uniform.max() < 1 and abs(uniform.mean() - 0.5) < 4 * np.sqrt(1 / 12 / len(uniform))
