"""What is remembered of a question is what would be decided now, whatever changed meanwhile."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from configs.policy import PolicySettings
from features.live import micros
from pipelines.offers.decide import BEST_SELLERS, OWN, Ask, Slate, decide
from pipelines.offers.facts import NOTHING, Facts
from pipelines.offers.memory import Memory
from pipelines.offers.steps import finished
from tests.property.test_hard_rules import asks, opened, shops
from tests.property.test_replay import live
from tests.small_shop import END

POLICIES = (PolicySettings(), PolicySettings(exploration=0.5, newcomer_days=400))
FACTS = (NOTHING, Facts(shown={3: 99}), Facts(held={2: (micros(END) * 2, True)}), Facts(shadow={"spring": 2.0}))
moments = st.tuples(
    st.integers(0, 3),  # which question
    st.integers(-6, 11).map(lambda days: END + timedelta(days=days)),
    st.sampled_from(FACTS),
    st.sampled_from(POLICIES),
    st.sampled_from(["0" * 32, "1" * 32]),
    st.integers(0, 1),
)


def answer(memory: Memory, *asked: Any, **told: Any) -> Slate:
    """What a memory answers."""
    return finished(memory.deciding(*asked, **told))


def shown(slate: Slate) -> tuple[Any, ...]:
    lists = [one for one in slate.looked if one.level in (OWN, *BEST_SELLERS)]
    read = [(one.level, one.ranked.items.tolist(), one.ranked.scores.tolist()) for one in lists]
    return slate.items, slate.fallback, slate.refused, slate.policy, slate.seed, slate.facts, read


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(shop=shops, questions=st.lists(asks, min_size=4, max_size=4), turns=st.lists(moments, min_size=20, max_size=60))
def test_what_is_remembered_is_what_would_be_decided_now(
    shop: dict[str, Any], questions: list[Ask], turns: list[tuple[Any, ...]]
) -> None:
    memory = Memory(most=3)
    with opened(shop) as view:
        newest = {number: live(view, ask, 1) for number, ask in enumerate(questions)}
        for number, now, facts, policy, seed, with_live in turns:
            ask, given_too = questions[number], {"facts": facts, "policy": policy, "seed": seed}
            mine = newest[number] if with_live else None
            fresh = decide(view, ask, now, live=mine, **given_too)
            assert shown(answer(memory, view, ask, now, live=mine, **given_too)) == shown(fresh)


def test_a_question_that_was_asked_twice_is_decided_no_more_until_somebody_is_forgotten() -> None:
    shop = {"bought": [("ann", "i1", "north")], "age_restricted": set(), "sensitive": set(), "fuel": set(),
            "stock": None, "offers": [("i1", 0.2, -1, 2, None)]}  # fmt: skip
    memory, ask = Memory(), Ask("phone", "north", 4, "ann")
    told: dict[str, Any] = {"facts": NOTHING, "policy": POLICIES[0], "seed": "0" * 32}
    with opened(shop) as view:
        first, second, third = (answer(memory, view, ask, END + timedelta(minutes=one), **told) for one in range(3))
        assert len(first.pool.places) and len(second.pool.places), "most questions are asked once"
        assert not len(third.pool.places), "the second was remembered"
        assert third.items == second.items == first.items
        later = answer(memory, view, ask, END + timedelta(days=1), **told)
        assert len(later.pool.places) and later.items != first.items, "its offer has ended"
        assert len(answer(memory, view, ask, END + timedelta(days=1), **told, forgotten=1).pool.places)
        assert len(answer(memory, view, replace(ask, exclude=["i2"]), END, **told).pool.places)


def test_what_is_remembered_does_not_hold_all_that_a_store_has() -> None:
    shop = {"bought": [("ann", "i1", "north")], "age_restricted": set(), "sensitive": set(), "fuel": set(),
            "stock": None, "offers": []}  # fmt: skip
    memory, ask = Memory(), Ask("aisle", "north", 4, categories=("nothing/such",))
    told: dict[str, Any] = {"facts": NOTHING, "policy": POLICIES[0], "seed": "0" * 32}
    with opened(shop) as view:
        _, decided, remembered = (answer(memory, view, ask, END, **told) for _ in range(3))
        assert {one.level for one in decided.looked} - {one.level for one in remembered.looked} == {"assortment"}
        assert shown(remembered) == shown(decided)
