"""The table of cold items on Complete Journey: what is cold, who is judged, and what the baselines find."""

from __future__ import annotations

import pytest

from pipelines.training.published import cold_items
from pipelines.training.published.cold_items import BOTH, MONTHS, Month, month_of, renamed
from pipelines.training.published.journey_tables import read_tables


@pytest.fixture(scope="module")
def months() -> list[Month]:
    tables, _ = renamed(read_tables())
    return [month_of(tables, name, cut, end) for name, (cut, end) in MONTHS.items()]


def test_the_months_hold_the_cold_items_and_households_that_the_table_states(months: list[Month]) -> None:
    sizes = {month.name: (len(month.cold), len(month.truth), month.truth["shopper_id"].nunique()) for month in months}
    assert sizes == {"november": (29366, 3730, 1188), "december": (26599, 3837, 1088)}
    for month in months:
        assert not month.known.past["item_id"].isin(month.cold["item_id"]).any()
        assert (month.known.past["event_time"] < month.known.cut).all()


def test_the_baselines_find_what_they_found(months: list[Month]) -> None:
    """Nobody published these figures: they are ours, and must not move unseen."""
    chance = [figure.ours for figure in cold_items._expected({BOTH: months})]
    popular = [
        figure.ours
        for figure in cold_items._figures(
            {"popular": {BOTH: cold_items._judged([cold_items._join(map(cold_items.popular_lists, months))], months)}}
        )
    ]
    assert chance == pytest.approx([0.10765, 0.05739], abs=0.00005)
    assert popular == pytest.approx([0.09210, 0.04953], abs=0.00005)
