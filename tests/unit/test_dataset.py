"""What a recommender is trained on: nothing of the moment or later, and every id in its table."""

from __future__ import annotations

import pandas as pd
import pytest

from configs.errors import FacingsError
from models.dataset import Dataset

CUT = pd.Timestamp("2026-03-01", tz="UTC")


def rows(*times: str) -> pd.DataFrame:
    moments = pd.to_datetime(list(times), utc=True, format="ISO8601")
    return pd.DataFrame({"shopper_id": "a", "item_id": [f"i{n}" for n in range(len(times))], "event_time": moments})


@pytest.mark.parametrize("late", ["2026-03-01T00:00:00Z", "2026-03-01T00:00:00.000001Z", "2027-01-01"])
def test_an_interaction_of_the_moment_or_later_is_refused(late: str) -> None:
    with pytest.raises(FacingsError, match="1 interactions are not before"):
        Dataset.build(rows("2026-02-01", late), as_of=CUT)


def test_an_interaction_just_before_the_moment_is_known() -> None:
    dataset = Dataset.build(rows("2026-02-28T23:59:59.999999Z"), as_of=CUT)
    assert dataset.age_days[0] > 0 and list(dataset.item_ids) == ["i0"]


def test_nothing_to_learn_from_an_unknown_column_and_an_id_twice_are_one_sentence_each() -> None:
    with pytest.raises(FacingsError, match="no interaction before 2026-03-01"):
        Dataset.build(rows(), as_of=CUT)
    with pytest.raises(FacingsError, match="names colour, which the item table does not hold"):
        Dataset.build(rows("2026-02-01"), as_of=CUT, item_content=["colour"])
    twice = pd.DataFrame({"item_id": ["i0", "i0"]})
    with pytest.raises(FacingsError, match="more than once"):
        Dataset.build(rows("2026-02-01"), as_of=CUT, items=twice)


def test_what_is_never_recommended_is_told_by_the_root_of_its_category() -> None:
    items = pd.DataFrame({"item_id": ["a", "b", "c"], "category": ["FUEL/PETROL", "Fuels", None]})
    dataset = Dataset.build(rows("2026-02-01"), as_of=CUT, items=items, never_recommend=["fuel"])
    assert dict(zip(dataset.item_ids, dataset.recommendable, strict=True)) == {
        "a": False, "b": True, "c": True, "i0": True,
    }  # fmt: skip
