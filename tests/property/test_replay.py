"""What was served can be decided again, bit for bit, from its record alone: whatever the shop, whatever was asked."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from configs.clock import FixedClock
from pipelines.offers.decide import Ask, decide
from pipelines.offers.log.decision_log import DecisionLog
from pipelines.offers.log.record import Asked
from pipelines.offers.log.replay import find_record, replay
from pipelines.offers.view import View
from pipelines.packed import Ranked
from state.decisions import new_id, open_decisions
from tests.property.test_hard_rules import asks, opened, shops
from tests.small_shop import END


def backwards(view: View, ask: Ask) -> Ranked | None:
    """Candidates that are not those of the snapshot, as those of a shopper's newest events are not."""
    if ask.shopper_id is None:
        return None
    own = view.candidates(ask.shopper_id)
    return Ranked(own.items[::-1], own.scores[::-1] / 3, own.reasons)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(shop=shops, questions=st.lists(st.tuples(asks, st.booleans(), st.booleans()), min_size=5, max_size=15))
def test_every_decision_replays_to_what_was_served(
    shop: dict[str, Any], questions: list[tuple[Ask, bool, bool]]
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
            for ask, explain, live_too in questions:
                live = backwards(view, ask) if live_too else None
                slate = decide(view, ask, END, explain=explain, live=live)
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
        log.close()
