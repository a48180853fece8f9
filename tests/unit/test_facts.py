"""What a decision is told beside its view survives being written down."""

from __future__ import annotations

import math

import orjson
from hypothesis import given
from hypothesis import strategies as st

from pipelines.offers.facts import NEVER_AGAIN, NOTHING, Facts, read_facts

places, times = st.integers(0, 1 << 27), st.integers(0, NEVER_AGAIN)
facts = st.builds(
    Facts,
    held=st.dictionaries(places, st.tuples(times, st.booleans())),
    shown=st.dictionaries(places, st.integers(1, 99)),
    quiet_until=st.none() | times.filter(bool),
    blocked_items=st.sets(places).map(lambda found: tuple(sorted(found))),
    blocked_makers=st.sets(places).map(lambda found: tuple(sorted(found))),
    shadow=st.dictionaries(st.text(max_size=5), st.floats(0, 1e9) | st.just(math.inf)),
    holdout=st.booleans(),
    variants=st.dictionaries(st.text(max_size=5), st.text(max_size=5)),
)


@given(told=facts)
def test_facts_come_back_the_same_from_json(told: Facts) -> None:
    assert read_facts(orjson.loads(orjson.dumps(told.told()))) == told


def test_nothing_known_takes_no_place() -> None:
    assert NOTHING.told() == {} and read_facts({}) == NOTHING
