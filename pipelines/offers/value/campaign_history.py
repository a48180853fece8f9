"""What was known of every shopper when a campaign began, whether it was sent to them, and what they then did.

One row for each campaign and each shopper who came lately. All features are of what lay before the moment; the outcomes
are of the campaign's days. The same table at an earlier moment is the placebo: of a campaign that had not begun there
can be no effect.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import polars as pl

_WEEK = timedelta(days=7)
LATELY = timedelta(weeks=12)
LEAST_HISTORY = timedelta(days=28)
LEAST_WINDOW = timedelta(days=21)
KEYS = ("shopper_id", "campaign_id", "kind", "at", "weeks", "targeted")
OUTCOMES = ("redeemed", "spend", "covered_spend", "control_spend")


@dataclass(frozen=True)
class CampaignData:
    """The tables that the history is made of; times are UTC without a zone.

    Attributes:
        sales: shopper_id, basket_id, item_id, event_time, spend (money paid), discount (money that the price was cut
            by), coupon (money off by coupons), control (whether it is a good that no campaign could touch).
        campaigns: campaign_id, kind, starts, ends (not included).
        covers: campaign_id, item_id: what its coupons are for, each pair once.
        coupons: campaign_id, coupons: how many it has.
        targets: campaign_id, shopper_id: whom it was sent to.
        redemptions: campaign_id, shopper_id, event_time.
    """

    sales: pl.DataFrame
    campaigns: pl.DataFrame
    covers: pl.DataFrame
    coupons: pl.DataFrame
    targets: pl.DataFrame
    redemptions: pl.DataFrame


def campaign_history(data: CampaignData, *, before: bool = False) -> pl.DataFrame:
    """Build the table.

    Args:
        data: all of it.
        before: the placebo: as if each campaign had begun as long before its start as it lasted.

    Returns:
        KEYS (`at`: the moment that features end and outcomes begin at, `weeks`: how long the outcomes' window is as far
        as the data goes), features, and OUTCOMES: `redeemed`, money a week in all, on what the coupons are for, and on
        control goods. A campaign is left out where less than LEAST_HISTORY lies before, or less than LEAST_WINDOW of
        its days in the data; a shopper who did not come within LATELY before.
    """
    first, last = data.sales["event_time"].min(), data.sales["event_time"].max()
    assert isinstance(first, datetime) and isinstance(last, datetime)
    tables = []
    for campaign in data.campaigns.sort("starts", "campaign_id").iter_rows(named=True):
        length = min(campaign["ends"], last) - campaign["starts"]
        at = campaign["starts"] - length if before else campaign["starts"]
        if at - first >= LEAST_HISTORY and length >= LEAST_WINDOW:
            tables.append(_of_campaign(data, campaign, at, length))
    return pl.concat(tables) if tables else pl.DataFrame()


def features_of(table: pl.DataFrame) -> list[str]:
    """Names of a history's features."""
    return [name for name in table.columns if name not in (*KEYS, *OUTCOMES)]


def _of_campaign(data: CampaignData, campaign: dict[str, Any], at: datetime, length: timedelta) -> pl.DataFrame:
    number = campaign["campaign_id"]
    covers = data.covers.filter(pl.col("campaign_id") == number).select("item_id", covered=True)
    sales = data.sales.join(covers, on="item_id", how="left").with_columns(pl.col("covered").fill_null(False))
    past = sales.filter(pl.col("event_time") < at)
    then = sales.filter((pl.col("event_time") >= at) & (pl.col("event_time") < at + length))
    weeks = length / _WEEK
    bought = then.group_by("shopper_id").agg(
        spend=pl.col("spend").sum() / weeks,
        covered_spend=pl.col("spend").filter("covered").sum() / weeks,
        control_spend=pl.col("spend").filter("control").sum() / weeks,
    )
    mine = data.targets.filter(pl.col("campaign_id") == number).select("shopper_id", targeted=True)
    redeemed = data.redemptions.filter(pl.col("campaign_id") == number).select("shopper_id", redeemed=True).unique()
    rows = _habits(past, at).join(_campaigns_before(data, campaign, at), on="shopper_id", how="left")
    for other in (mine, redeemed, bought):
        rows = rows.join(other, on="shopper_id", how="left")
    coupons = data.coupons.filter(pl.col("campaign_id") == number)["coupons"].sum()
    told = rows.with_columns(
        pl.col("targeted", "redeemed").fill_null(False),
        pl.col("spend", "covered_spend", "control_spend").fill_null(0.0),
        pl.col("^(sent|redeemed|running).*_before$").fill_null(0.0),
        campaign_id=pl.lit(number),
        kind=pl.lit(campaign["kind"]),
        at=pl.lit(at),
        weeks=pl.lit(weeks),
        campaign_weeks=pl.lit((campaign["ends"] - campaign["starts"]) / _WEEK),
        campaign_coupons=pl.lit(float(coupons)).log1p(),
        campaign_goods=pl.lit(float(covers.height)).log1p(),
    )
    return told.select(*KEYS, *sorted(features_of(told)), *OUTCOMES).sort("campaign_id", "shopper_id")


def _habits(past: pl.DataFrame, at: datetime) -> pl.DataFrame:
    """Of each shopper who came lately, from sales before the moment; money and counts as log(1 + x)."""
    month, quarter = (pl.col("event_time") >= at - span for span in (timedelta(weeks=4), LATELY))
    covered = pl.col("covered")
    amounts = {
        "spend_4": pl.col("spend").filter(month).sum(),
        "spend_12": pl.col("spend").filter(quarter).sum(),
        "spend_ever": pl.col("spend").sum(),
        "baskets_4": pl.col("basket_id").filter(month).n_unique(),
        "baskets_12": pl.col("basket_id").filter(quarter).n_unique(),
        "covered_4": pl.col("spend").filter(month & covered).sum(),
        "covered_12": pl.col("spend").filter(quarter & covered).sum(),
        "covered_ever": pl.col("spend").filter(covered).sum(),
        "covered_baskets_12": pl.col("basket_id").filter(quarter & covered).n_unique(),
        "covered_items": pl.col("item_id").filter(covered).n_unique(),
        "items_12": pl.col("item_id").filter(quarter).n_unique(),
        "control_12": pl.col("spend").filter(quarter & pl.col("control")).sum(),
        "coupon_12": pl.col("coupon").filter(quarter).sum(),
        "coupon_ever": pl.col("coupon").sum(),
    }
    return (
        past.group_by("shopper_id")
        .agg(
            *(amount.cast(pl.Float64).clip(0).log1p().alias(name) for name, amount in amounts.items()),
            came=quarter.any(),
            days_since=((pl.lit(at) - pl.col("event_time").max()).dt.total_hours() / 24).log1p(),
            weeks_known=(pl.lit(at) - pl.col("event_time").min()).dt.total_hours() / 168,
            discounts=pl.col("discount").filter(quarter).sum()
            / (pl.col("discount") + pl.col("spend")).filter(quarter).sum().clip(0.01),
        )
        .filter("came")
        .drop("came")
        .with_columns(
            covered_share=pl.col("covered_12") - pl.col("spend_12"), trend=pl.col("spend_4") - pl.col("spend_12")
        )
    )


def _campaigns_before(data: CampaignData, campaign: dict[str, Any], at: datetime) -> pl.DataFrame:
    """Of each shopper the earlier campaigns: sent, of this kind, redeemed, and those that run at the moment."""
    earlier = data.campaigns.filter((pl.col("starts") < at) & (pl.col("campaign_id") != campaign["campaign_id"]))
    same = pl.col("kind") == campaign["kind"]
    of_kind = max(1, earlier.filter(same).height)
    sent = (
        data.targets.join(earlier, on="campaign_id")
        .group_by("shopper_id")
        .agg(
            sent_before=pl.len().cast(pl.Float64),
            sent_kind_before=same.sum() / of_kind,
            running_before=(pl.col("ends") > at).sum().cast(pl.Float64),
        )
    )
    used = (
        data.redemptions.filter(pl.col("event_time") < at)
        .group_by("shopper_id")
        .agg(
            redeemed_before=pl.len().cast(pl.Float64).log1p(),
            redeemed_campaigns_before=pl.col("campaign_id").n_unique().cast(pl.Float64),
        )
    )
    return sent.join(used, on="shopper_id", how="full", coalesce=True)
