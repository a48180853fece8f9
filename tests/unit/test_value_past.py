"""Counts before a moment: as if every event were looked at, and nothing of the moment itself or later."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipelines.offers.value.past import DAY, Past

events = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 40), st.floats(0.5, 2.0)), max_size=30)
asked = st.lists(st.tuples(st.integers(0, 7), st.integers(-5, 50), st.integers(-5, 50)), min_size=1, max_size=10)


@given(events=events, asked=asked)
def test_what_lay_before_a_moment_is_counted_as_if_every_event_were_looked_at(
    events: list[tuple[int, int, float]], asked: list[tuple[int, int, int]]
) -> None:
    keys, times = (np.array([one[part] for one in events], dtype=np.int64) for part in range(2))
    weights = np.array([one[2] for one in events])
    plain, weighed = Past(keys, times), Past(keys, times, weights)
    key, before, since = (np.array([one[part] for one in asked], dtype=np.int64) for part in range(3))
    for row in range(len(asked)):
        told = key[row : row + 1], before[row : row + 1]
        hit = (keys == key[row]) & (times < before[row])
        late = hit & (times >= since[row])
        assert plain.count(*told) == hit.sum()
        assert plain.count(*told, since=since[row : row + 1]) == late.sum()
        assert np.isclose(weighed.count(*told, since=since[row : row + 1]), weights[late].sum())
        if hit.any():
            assert np.isclose(plain.last(*told), (before[row] - times[hit].max()) / DAY)
            assert np.isclose(plain.first(*told), (before[row] - times[hit].min()) / DAY)
        else:
            assert np.isnan(plain.last(*told)).all() and np.isnan(plain.first(*told)).all()
