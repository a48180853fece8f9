"""What was served can be decided again, bit for bit, from its record alone: whatever the shop, whatever was asked."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from configs.clock import FixedClock
from configs.policy import PolicySettings
from features.live import micros
from pipelines.offers.decide import Ask, decide
from pipelines.offers.facts import Facts
from pipelines.offers.filling import EVEN
from pipelines.offers.log.decision_log import DecisionLog
from pipelines.offers.log.record import Asked
from pipelines.offers.log.replay import find_record, replay
from pipelines.offers.log.slots import slots
from pipelines.offers.view import View
from pipelines.packed import ODDS, Ranked
from state.decisions import new_id, open_decisions
from tests.property.test_hard_rules import asks, opened, shops
from tests.small_shop import END


def live(view: View, ask: Ask, kind: int) -> Ranked | None:
    """Candidates that are not the snapshot's, as those of the newest events are not; with odds or without."""
    if ask.shopper_id is None or kind == 0:
        return None
    own = view.candidates(ask.shopper_id)
    odds = np.random.default_rng(len(own)).normal(0, 1, (len(own), ODDS)).astype(np.float16)
    odds[:, 2:] = np.abs(odds[:, 2:]) % 1
    odds[::3] = np.nan
    return Ranked(own.items[::-1], own.scores[::-1] / 3, own.reasons, odds if kind == 2 else None)


told = st.fixed_dictionaries(
    {
        "facts": st.builds(
            Facts,
            shadow=st.dictionaries(st.sampled_from(["spring", "none"]), st.sampled_from([0.0, 0.7, math.inf])),
            quiet_until=st.none() | st.sampled_from([micros(END), micros(END) + 1]),
            holdout=st.booleans(),
            blocked_items=st.sets(st.integers(0, 11), max_size=2).map(lambda places: tuple(sorted(places))),
            exposure=st.none() | st.dictionaries(st.integers(0, 2), st.sampled_from([0.01, 0.3])),
        ),
        "policy": st.builds(
            PolicySettings,
            exploration=st.sampled_from([0.05, 0.5]),
            diversity=st.sampled_from([0.0, 0.3]),
            maker_cap=st.integers(1, 3),
            newcomers_most=st.just(0.4),
        ),
        "seed": st.integers(0, 2**128 - 1).map(lambda number: f"{number:032x}"),
    }
)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(shop=shops, questions=st.lists(st.tuples(asks, told, st.booleans(), st.integers(0, 2)), min_size=5, max_size=15))
def test_every_decision_replays_to_what_was_served(
    shop: dict[str, Any], questions: list[tuple[Ask, dict[str, Any], bool, int]]
) -> None:
    counted: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        engine = open_decisions(f"sqlite:///{Path(folder) / 'decisions.db'}")
        log = DecisionLog(
            engine, b"k" * 32, clock=FixedClock(END), keep_days=1, forgotten=lambda _: set(),
            count=lambda outcome, rows: counted.update({outcome: counted.get(outcome, 0) + rows}),
        )  # fmt: skip
        log.start()
        served = []
        with opened(shop) as view:
            for ask, given_too, explain, kind in questions:
                slate = decide(view, ask, END, explain=explain, live=live(view, ask, kind), **given_too)
                names = [card["item_id"] for card in view.shop.cards([one.place for one in slate.items])]
                asked = Asked(new_id(END), END, explain)
                log.note(asked, view, ask, slate, names)
                served.append((asked, names, slate))
        assert log.flush()
        assert counted == {"logged": len(questions)}
        for asked, names, slate in served:  # the shop's files are gone by now
            record = find_record(engine, asked.recommendation_id)
            again = replay(record)
            assert again.agrees, again.why
            assert [item[:2] for item in again.items] == [
                [name, one.score] for name, one in zip(names, slate.items, strict=True)
            ]
            assert record.answer["fallback"] == slate.fallback and record.asked.now == END
            assert (record.facts, record.policy, record.seed) == (slate.facts, slate.policy, slate.seed)
            for slot, one in zip(slots(record), slate.items, strict=True):
                assert slot.places[slot.chosen] == one.place and slot.propensities[slot.chosen] == one.propensity
                assert slot.propensities.sum() == pytest.approx(1) and (slot.target == slot.propensities).all()
            for slot in slots(record, policy=PolicySettings(maker_cap=9, exploration=1.0)):
                could = np.count_nonzero(slot.target)
                assert (slot.target[slot.target > 0] >= EVEN / max(could, len(record.reads.shop.prices))).all()
                assert slot.target.sum() <= 1 + 1e-9
        log.close()
