"""The global time split: what lies before one moment is learned from, what comes after it judges.

One moment for everybody. A split by each shopper's last purchase would let a model learn from what other shoppers did
after the purchase it must foresee (Ji et al., "A critical study on data leakage in recommender system offline
evaluation", TOIS 2023, arXiv:2010.11060).
"""

from __future__ import annotations

import pandas as pd

from configs.errors import FacingsError, UsageError


def time_split(
    interactions: pd.DataFrame, cut: pd.Timestamp, end: pd.Timestamp | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Divide interactions at `cut`.

    Args:
        interactions: one row each, with event_time (UTC); the order of rows is kept.
        cut: UTC; a row of exactly this moment is test.
        end: UTC, exclusive end of the test window; later rows are in neither part. None: everything from `cut` on.

    Returns:
        train (event_time < cut) and test (cut <= event_time < end), both with all columns and a fresh index.

    Raises:
        UsageError: `end` is not after `cut`, or a moment has no time zone.
        FacingsError: one of the two parts is empty; the sentence says which.
    """
    for moment in (cut, end):
        if moment is not None and moment.tzinfo is None:
            raise UsageError(f"{moment} has no time zone; a split is made in UTC.")
    if end is not None and end <= cut:
        raise UsageError(f"The test window ends at {end}, which is not after its start {cut}.")
    times = interactions["event_time"]
    train = interactions[times < cut]
    later = times >= cut
    test = interactions[later if end is None else later & (times < end)]
    for part, frame, side in (("train on", train, "before"), ("test on", test, "from")):
        if frame.empty:
            raise FacingsError(f"There is nothing to {part}: no interaction lies {side} {cut}; move the cut.")
    return train.reset_index(drop=True), test.reset_index(drop=True)
