"""The time split: nothing of the cut or later is learned from."""

from __future__ import annotations

import pandas as pd
import pytest

from configs.errors import FacingsError, UsageError
from models.splits import time_split

CUT = pd.Timestamp("2024-03-01", tz="UTC")
MICRO = pd.Timedelta(1, unit="us")


def at(*times: pd.Timestamp) -> pd.DataFrame:
    return pd.DataFrame({"shopper_id": "s", "item_id": [f"i{n}" for n in range(len(times))], "event_time": list(times)})


def test_the_moment_of_the_cut_is_test_and_the_microsecond_before_is_train() -> None:
    train, test = time_split(at(CUT, CUT - MICRO, CUT + MICRO), CUT)
    assert train["item_id"].tolist() == ["i1"]
    assert test["item_id"].tolist() == ["i0", "i2"]


def test_the_end_is_exclusive_and_what_lies_after_it_is_in_neither_part() -> None:
    end = CUT + pd.Timedelta(days=7)
    train, test = time_split(at(CUT - MICRO, end - MICRO, end, end + MICRO), CUT, end)
    assert len(train) == 1
    assert test["item_id"].tolist() == ["i1"]


def test_nothing_learned_from_is_later_than_anything_that_judges() -> None:
    times = [CUT + pd.Timedelta(hours=hours) for hours in (-30, 4, -1, 90, 0, -0.001)]
    train, test = time_split(at(*times), CUT)
    assert train["event_time"].max() < CUT <= test["event_time"].min()
    assert len(train) + len(test) == len(times)


def test_a_wrong_window_is_refused() -> None:
    with pytest.raises(UsageError, match="not after its start"):
        time_split(at(CUT), CUT, CUT)
    with pytest.raises(UsageError, match="no time zone"):
        time_split(at(CUT), pd.Timestamp("2024-03-01"))


def test_an_empty_part_is_named() -> None:
    with pytest.raises(FacingsError, match="nothing to train on"):
        time_split(at(CUT), CUT)
    with pytest.raises(FacingsError, match="nothing to test on"):
        time_split(at(CUT - MICRO), CUT)
