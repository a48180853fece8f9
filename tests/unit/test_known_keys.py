"""Keys that were seen, against a plain set; low halves collide here, which 64 random bits hardly ever do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.signals.lake import known_keys
from pipelines.signals.lake.known_keys import KnownKeys

CHUNKS = st.lists(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=12), max_size=8)


@settings(max_examples=200, deadline=None)
@given(CHUNKS, st.integers(1, 20))
def test_a_key_is_new_once(chunks: list[list[tuple[int, int]]], run_rows: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(known_keys, "RUN_ROWS", run_rows)
        known, seen = KnownKeys(), set()
        for chunk in chunks:
            expected = []
            for key in chunk:
                expected.append(key not in seen)
                seen.add(key)
            keys = np.array(chunk, dtype=np.uint64).reshape(-1, 2)
            assert known.add_new(keys).tolist() == expected
