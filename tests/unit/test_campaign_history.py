"""The table of campaigns knows nothing of what came after a campaign began, but its outcomes."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from configs.errors import FacingsError
from pipelines.offers.value.campaign_history import KEYS, OUTCOMES, CampaignData, campaign_history, features_of
from pipelines.offers.value.redemption import Redemption, ended_before

FIRST = datetime(2025, 1, 1)
STARTS = (FIRST + timedelta(days=60), FIRST + timedelta(days=120))
DAYS, LENGTH = 180, timedelta(days=28)


@pytest.fixture(scope="module")
def data() -> CampaignData:
    random = np.random.default_rng(1)
    rows = 12_000
    shopper, day = random.integers(0, 200, rows), random.integers(0, DAYS, rows)
    item = random.integers(0, 40, rows)
    sales = pl.DataFrame(
        {
            "shopper_id": [f"s{one}" for one in shopper],
            "basket_id": [f"{one}-{when}" for one, when in zip(shopper, day, strict=True)],
            "item_id": [f"i{one}" for one in item],
            "event_time": [FIRST + timedelta(days=int(when), hours=int(when) % 12) for when in day],
            "spend": random.gamma(2, 2, rows),
            "discount": random.random(rows),
            "coupon": random.random(rows),
            "control": item >= 35,
        }
    )
    campaigns = pl.DataFrame(
        {"campaign_id": ["1", "2"], "kind": ["A", "B"], "starts": STARTS, "ends": [start + LENGTH for start in STARTS]}
    )
    sent = [(number, f"s{one}") for number in ("1", "2") for one in range(0, 200, 2)]
    redeemed = [
        (number, f"s{one}", start + timedelta(days=3))
        for number, start in zip(("1", "2"), STARTS, strict=True)
        for one in range(0, 200, 8)
    ]
    return CampaignData(
        sales=sales,
        campaigns=campaigns,
        covers=pl.DataFrame({"campaign_id": ["1"] * 5 + ["2"] * 5, "item_id": [f"i{one}" for one in range(10)]}),
        coupons=pl.DataFrame({"campaign_id": ["1", "2"], "coupons": [3, 4]}),
        targets=pl.DataFrame(sent, schema=["campaign_id", "shopper_id"], orient="row"),
        redemptions=pl.DataFrame(redeemed, schema=["campaign_id", "shopper_id", "event_time"], orient="row"),
    )


def test_features_are_the_same_when_the_future_is_taken_away(data: CampaignData) -> None:
    """What happens from the second campaign's start on moves no feature, the campaign's own redemptions included."""
    whole = campaign_history(data).filter(pl.col("campaign_id") == "2")
    past = pl.col("event_time") < STARTS[1]
    other = data.sales.filter(~past).with_columns(pl.col("spend") * 7, item_id=pl.lit("i9"))
    changed = replace(
        data,
        sales=pl.concat([data.sales.filter(past), other]),
        redemptions=data.redemptions.filter(past),
        targets=data.targets.filter((pl.col("campaign_id") == "1") | (pl.col("shopper_id") == "s2")),
    )
    found = campaign_history(changed).filter(pl.col("campaign_id") == "2")
    assert_frame_equal(whole.select("shopper_id", *features_of(whole)), found.select("shopper_id", *features_of(found)))
    assert found["targeted"].sum() == 1 and not found["redeemed"].any()
    assert not np.allclose(whole["spend"], found["spend"])


def test_outcomes_are_of_the_campaign_s_days_alone(data: CampaignData) -> None:
    table = campaign_history(data)
    row = table.filter((pl.col("campaign_id") == "1") & (pl.col("shopper_id") == "s8")).row(0, named=True)
    window = pl.col("event_time").is_between(STARTS[0], STARTS[0] + LENGTH, closed="left")
    mine = data.sales.filter((pl.col("shopper_id") == "s8") & window)
    covered = mine.filter(pl.col("item_id").is_in(["i0", "i1", "i2", "i3", "i4"]))
    assert row["spend"] == pytest.approx(mine["spend"].sum() / 4)
    assert row["covered_spend"] == pytest.approx(covered["spend"].sum() / 4)
    assert row["control_spend"] == pytest.approx(mine.filter("control")["spend"].sum() / 4)
    assert row["targeted"] and row["redeemed"] and row["weeks"] == 4
    assert set(table.columns) == {*KEYS, *OUTCOMES, *features_of(table)} and not table.null_count().sum_horizontal()[0]


def test_the_placebo_ends_where_the_campaign_begins(data: CampaignData) -> None:
    real, before = campaign_history(data), campaign_history(data, before=True)
    shift = before["at"].unique().sort().to_list()
    assert shift == [start - LENGTH for start in STARTS]
    assert before["targeted"].sum() == real["targeted"].sum()


def test_campaigns_without_history_or_with_hardly_a_day_in_the_data_are_left_out(data: CampaignData) -> None:
    edges = data.campaigns.with_columns(starts=pl.Series([FIRST + timedelta(days=9), FIRST + timedelta(days=170)]))
    edges = edges.with_columns(ends=pl.col("starts") + LENGTH)
    assert campaign_history(replace(data, campaigns=edges)).is_empty()


def test_a_redemption_model_knows_who_redeems_and_needs_shoppers(data: CampaignData) -> None:
    history = campaign_history(data)
    over = ended_before(history, STARTS[1])
    assert set(over["campaign_id"]) == {"1"}
    told = Redemption.fit(over.with_columns(redeemed=pl.col("baskets_12") > pl.col("baskets_12").median()))
    unsent = over.filter(~pl.col("targeted"))
    chance, many = told.chance(unsent), unsent["baskets_12"].to_numpy()
    assert ((chance > 0) & (chance < 1)).all() and np.corrcoef(chance, many)[0, 1] > 0.7
    with pytest.raises(FacingsError, match="were sent to 2 shoppers"):
        Redemption.fit(over.filter(pl.col("shopper_id").is_in(["s2", "s4"])))
