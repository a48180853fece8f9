"""Interactions as sequences: what each shopper did in order of time, cut and packed for a model that reads it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.dataset import Dataset, FloatArray, IntArray

# Time in buckets: at most a minute, then each twice as long as the one before, up to two years and beyond.
GAPS = 22
_MINUTES_A_DAY = 1440.0


@dataclass(frozen=True)
class Sequences:
    """All shoppers' items, oldest first, one shopper after the other.

    Attributes:
        bounds: where each shopper begins and ends in the other arrays; shape (shoppers + 1,).
        items: columns of items; shape (events,).
        age_days: days from each event to the moment of training; shape (events,).
    """

    bounds: IntArray
    items: IntArray
    age_days: FloatArray

    @property
    def lengths(self) -> IntArray:
        """Events of each shopper; shape (shoppers,)."""
        return np.diff(self.bounds)


@dataclass(frozen=True)
class PackedRows:
    """Several short sequences in one row, so that little is computed for nothing; all int64, shape (rows, length).

    Attributes:
        items: what was bought.
        targets: what was bought next, -1: nothing to learn here.
        segments: which sequence of its row a place belongs to, from 1; 0: empty.
        positions: place within the sequence, from 0.
        gaps: bucket of the time from this event to the next.
    """

    items: IntArray
    targets: IntArray
    segments: IntArray
    positions: IntArray
    gaps: IntArray


def sequences_of(dataset: Dataset) -> Sequences:
    """Order the interactions with recommendable items by shopper and time; equal times as the table has them."""
    kept = np.flatnonzero(dataset.recommendable[dataset.item_rows])
    shoppers, ages = dataset.shopper_rows[kept], dataset.age_days[kept]
    order = np.lexsort((-ages, shoppers))
    counts = np.bincount(shoppers, minlength=len(dataset.shoppers))
    bounds = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Sequences(bounds, dataset.item_rows[kept][order], ages[order])


def gap_buckets(days: FloatArray) -> IntArray:
    """Bucket of a length of time, 0 to GAPS - 1; same shape."""
    minutes = np.maximum(np.asarray(days, np.float64) * _MINUTES_A_DAY, 1.0)
    return np.clip(np.ceil(np.log2(minutes) - 1e-6), 0, GAPS - 1).astype(np.int64)


def pack(sequences: Sequences, length: int, *, events: int | None, rng: np.random.Generator) -> PackedRows:
    """Cut every sequence into windows of at most `length` places, from its end, and pack them into rows.

    Args:
        sequences: of all shoppers; those with fewer than two events have nothing to teach.
        length: places of a row.
        events: read at most so many of each shopper's newest events; None: all.
        rng: decides which windows come to share a row.
    """
    windows = _windows(sequences, length, events)
    windows = windows[rng.permutation(len(windows))]
    row_of, start_of, segment_of, rows = _places(windows[:, 1] - windows[:, 0], length)
    return _fill(sequences, windows, (row_of, start_of, segment_of), (rows, length))


def newest(sequences: Sequences, length: int) -> tuple[IntArray, FloatArray]:
    """The last `length` events of each shopper: items (int64, -1: none) and ages in days, both (shoppers, length).

    The newest event stands at the place before the first -1.
    """
    sizes = np.minimum(sequences.lengths, length)
    items = np.full((len(sizes), length), -1, dtype=np.int64)
    ages = np.zeros((len(sizes), length))
    rows = np.repeat(np.arange(len(sizes)), sizes)
    slots = np.arange(len(rows)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    source = np.repeat(sequences.bounds[1:] - sizes, sizes) + slots
    items[rows, slots] = sequences.items[source]
    ages[rows, slots] = sequences.age_days[source]
    return items, ages


def _windows(sequences: Sequences, length: int, events: int | None) -> IntArray:
    """First and last (exclusive) event that is read; each has a next one. Shape (windows, 2)."""
    found: list[tuple[int, int]] = []
    for first, end in zip(sequences.bounds[:-1].tolist(), sequences.bounds[1:].tolist(), strict=True):
        first = max(first, end - 1 - events) if events else first
        last = end - 1
        while last > first:
            found.append((max(first, last - length), last))
            last -= length
    return np.array(found, dtype=np.int64).reshape(-1, 2)


def _places(sizes: IntArray, length: int) -> tuple[IntArray, IntArray, IntArray, int]:
    """Best fit: each window into the fullest row with room. Row, first place, segment of each; number of rows."""
    open_rows: list[list[int]] = [[] for _ in range(length + 1)]  # by room left
    used: list[int] = []
    segments: list[int] = []
    placed = np.zeros((3, len(sizes)), dtype=np.int64)
    for window, size in enumerate(sizes.tolist()):
        room = next((room for room in range(size, length + 1) if open_rows[room]), None)
        if room is None:
            used.append(0)
            segments.append(0)
            row, room = len(used) - 1, length
        else:
            row = open_rows[room].pop()
        segments[row] += 1
        placed[:, window] = row, used[row], segments[row]
        used[row] += size
        open_rows[room - size].append(row)
    return placed[0], placed[1], placed[2], len(used)


def _fill(sequences: Sequences, windows: IntArray, places: Sequence[IntArray], shape: tuple[int, int]) -> PackedRows:
    row_of, start_of, segment_of = places
    sizes = windows[:, 1] - windows[:, 0]
    offsets = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    source = np.repeat(windows[:, 0], sizes) + offsets
    where = (np.repeat(row_of, sizes), np.repeat(start_of, sizes) + offsets)
    packed = PackedRows(
        np.zeros(shape, np.int64),
        np.full(shape, -1, dtype=np.int64),
        np.zeros(shape, np.int64),
        np.zeros(shape, np.int64),
        np.zeros(shape, np.int64),
    )
    packed.items[where] = sequences.items[source]
    packed.targets[where] = sequences.items[source + 1]
    packed.segments[where] = np.repeat(segment_of, sizes)
    packed.positions[where] = offsets
    packed.gaps[where] = gap_buckets(sequences.age_days[source] - sequences.age_days[source + 1])
    return packed
