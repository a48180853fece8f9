"""Decisions in random shops against the hard rules told once more, item by item (tests/made_rules.py)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.offers import decide as decide_module
from pipelines.offers.decide import decide
from pipelines.offers.eligibility import BITS, Refusal, Setting, refusals
from pipelines.offers.view import Reads
from tests.made_rules import NOW, broken, faults, made_moment, made_reads

CODES = sorted(set(Refusal) - {Refusal.UNKNOWN_ITEM})
assert sorted(BITS) == CODES


def found_in(seed: int, decisions: int, *, explain: bool) -> set[str]:
    """The faults of so many decisions."""
    draw = np.random.default_rng(seed)
    found: set[str] = set()
    for number in range(decisions):
        if number % 25 == 0:
            reads = made_reads(draw, int(draw.integers(1, 24)))
        ask, facts, policy = made_moment(draw, reads.shop.size)
        slate = decide(reads, ask, NOW, facts=facts, policy=policy, seed=draw.bytes(16).hex(), explain=explain)
        verdicts = [broken(reads.shop, place, ask, facts, policy) for place in range(reads.shop.size)]
        found.update(faults(reads, ask, facts, policy, slate, verdicts))
    return found


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**63), explain=st.booleans())
def test_no_rule_is_broken_on_any_path_and_every_refusal_has_its_reasons(seed: int, explain: bool) -> None:
    assert found_in(seed, 50, explain=explain) == set()


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**63))
def test_an_explanation_changes_nothing_of_what_is_explained(seed: int) -> None:
    draw = np.random.default_rng(seed)
    for _ in range(20):
        reads = made_reads(draw, int(draw.integers(8, 40)))
        ask, facts, policy = made_moment(draw, reads.shop.size)
        facts = replace(facts, exposure={0: 0.3, 1: 0.1})  # of new makers items are taken in at the end
        told: dict[str, Any] = {"facts": facts, "policy": policy, "seed": draw.bytes(16).hex()}
        quiet, explained = (decide(reads, ask, NOW, explain=explain, **told) for explain in (False, True))
        assert explained.items == quiet.items and explained.fallback == quiet.fallback
        assert explained.pool.places.tolist() == quiet.pool.places.tolist()


@pytest.mark.parametrize("code", CODES)
def test_the_reference_notices_a_rule_that_is_left_out(code: Refusal, monkeypatch: pytest.MonkeyPatch) -> None:
    def without(view: Reads, places: npt.NDArray[np.int32], setting: Setting) -> object:
        return refusals(view, places, setting) & ~np.uint16(BITS[code])

    monkeypatch.setattr(decide_module, "refusals", without)
    assert f"item: {code}" in found_in(1, 250, explain=False)
