"""Attributes computed at one moment say nothing of an earlier one, and a model that looks back leaves them out."""

from __future__ import annotations

import numpy as np
import pandas as pd

from models.baskets.log import next_day
from models.dataset import Dataset
from models.ranking_features.past import Past
from models.ranking_features.windows import dataset_before
from models.recommenders.next_basket import kinds_of

AS_OF = pd.Timestamp("2026-03-01", tz="UTC")


def dataset() -> Dataset:
    rows = pd.DataFrame(
        {
            "shopper_id": ["a", "b"] * 30,
            "item_id": [f"i{number % 5}" for number in range(60)],
            "event_time": AS_OF - pd.to_timedelta(np.arange(1, 61), unit="D"),
        }
    )
    shoppers = pd.DataFrame({"shopper_id": ["a", "b"], "age_band": ["19-24", "65+"], "count_30d": [15.0, 15.0]})
    return Dataset.build(
        rows,
        shoppers=shoppers,
        as_of=AS_OF,
        shopper_attributes=["age_band", "count_30d"],
        dated_attributes=["count_30d"],
    )


def test_a_feature_of_the_moment_is_in_no_window_before_it() -> None:
    assert set(Past.read(dataset()).attributes) == {"age_band"}
    assert set(kinds_of(dataset()).shoppers) == {"age_band"}
    earlier = dataset_before(dataset(), 20, 10, planned=False)
    assert earlier.shopper_attributes == ("age_band",)
    assert dataset().shopper_attributes == ("age_band", "count_30d"), "a model of that moment may use both"


def test_a_day_that_has_begun_counts_as_ended_and_midnight_begins_the_next() -> None:
    midnight = (AS_OF - pd.Timestamp(0, tz="UTC")).days
    assert next_day(AS_OF) == midnight
    assert next_day(AS_OF + pd.Timedelta(1, unit="us")) == midnight + 1
    assert next_day(AS_OF - pd.Timedelta(1, unit="us")) == midnight
