"""Sequences: what a transformer reads is what shoppers did, in their order, and nothing twice."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from models.dataset import Dataset
from models.neural.sequences import GAPS, Sequences, gap_buckets, newest, pack, sequences_of

AS_OF = pd.Timestamp("2024-06-01", tz="UTC")


def made_of(lengths: list[int]) -> Sequences:
    """Every event is an item of its own, so that a pair of items tells whose it is."""
    bounds = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    ages = np.concatenate([np.arange(size, 0, -1.0) for size in lengths] or [np.zeros(0)])
    return Sequences(bounds, np.arange(bounds[-1]), ages)


lengths_of_shoppers = st.lists(st.integers(0, 23), min_size=1, max_size=30)


@given(lengths_of_shoppers, st.integers(1, 9), st.integers(0, 99))
def test_every_step_from_one_item_to_the_next_is_learned_once(lengths: list[int], length: int, seed: int) -> None:
    sequences = made_of(lengths)
    rows = pack(sequences, length, events=None, rng=np.random.default_rng(seed))
    learned = rows.targets >= 0
    found = Counter(zip(rows.items[learned].tolist(), rows.targets[learned].tolist(), strict=True))
    ends = set((sequences.bounds[1:] - 1).tolist())
    assert found == Counter((event, event + 1) for event in range(sum(lengths)) if event not in ends)
    assert ((rows.segments > 0) == learned).all()


@given(lengths_of_shoppers, st.integers(1, 9))
def test_a_segment_is_one_shopper_s_events_in_order_from_position_zero(lengths: list[int], length: int) -> None:
    sequences = made_of(lengths)
    rows = pack(sequences, length, events=None, rng=np.random.default_rng(0))
    owner = np.repeat(np.arange(len(lengths)), lengths)
    for items, segments, positions in zip(rows.items, rows.segments, rows.positions, strict=True):
        for segment in set(segments.tolist()) - {0}:
            own = items[segments == segment]
            assert len({int(owner[item]) for item in own}) == 1 and (np.diff(own) == 1).all()
            assert positions[segments == segment].tolist() == list(range(len(own)))


def test_short_sequences_share_rows() -> None:
    rows = pack(made_of([3] * 40), 50, events=None, rng=np.random.default_rng(0))
    assert len(rows.items) == 2


def test_only_the_newest_events_are_learned_from_where_a_number_is_given() -> None:
    rows = pack(made_of([10, 3]), 5, events=2, rng=np.random.default_rng(0))
    assert sorted(rows.targets[rows.targets >= 0].tolist()) == [8, 9, 11, 12]


def test_the_newest_events_stand_left_and_end_with_the_last() -> None:
    items, ages = newest(made_of([5, 0, 2]), 3)
    assert items.tolist() == [[2, 3, 4], [-1, -1, -1], [5, 6, -1]]
    assert ages.tolist() == [[3, 2, 1], [0, 0, 0], [2, 1, 0]]


def test_a_gap_s_bucket_doubles_and_ends_somewhere() -> None:
    minutes = np.array([0.0, 1, 2, 3, 4, 60, 1440])
    assert gap_buckets(minutes / 1440).tolist() == [0, 0, 1, 2, 2, 6, 11]
    assert gap_buckets(np.array([1e9])).tolist() == [GAPS - 1]


def test_items_that_are_never_recommended_are_left_out_and_the_rest_ordered_by_time() -> None:
    rows = [("b", "x", 1), ("a", "x", 2), ("a", "fuel", 3), ("a", "y", 5)]
    table = pd.DataFrame(rows, columns=["shopper_id", "item_id", "days"])
    table["event_time"] = AS_OF - pd.to_timedelta(table.pop("days"), unit="D")
    items = pd.DataFrame({"item_id": ["fuel", "x", "y"], "category": ["FUEL", "FOOD", "FOOD"]})
    found = sequences_of(Dataset.build(table, items=items, as_of=AS_OF, never_recommend=["FUEL"]))
    assert found.bounds.tolist() == [0, 2, 3]
    assert found.items.tolist() == [2, 1, 1] and found.age_days.tolist() == [5, 2, 1]
