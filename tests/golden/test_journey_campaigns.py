"""Complete Journey's campaigns: their sizes, and the figures of the models, which must not move unseen."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from configs.errors import FacingsError, UsageError
from configs.recipe import load_recipe
from pipelines.offers.value.campaign_history import campaign_history
from pipelines.training.published.journey_campaigns import Estimate, read_campaigns, redemption, run
from pipelines.training.published.table import LISTS


@pytest.fixture(scope="module")
def history() -> pl.DataFrame:
    return campaign_history(read_campaigns(None))


def test_the_campaigns_are_those_of_the_data(history: pl.DataFrame) -> None:
    sent = history.filter("targeted")
    assert (history["campaign_id"].n_unique(), sent.height, sent["redeemed"].sum()) == (23, 6218, 775)


def test_who_redeems_in_later_campaigns_is_foretold_and_calibrated(history: pl.DataFrame) -> None:
    figures, lists = redemption(history)
    found = {(one.recipe, one.metric): one.ours for one in figures if one.setting == "later campaigns"}
    assert found["redemption", "AUC"] == pytest.approx(0.8351, abs=0.0005)
    assert found["redemption", "AUC"] > found["redeemed before", "AUC"] > found["rate of the kind", "AUC"]
    assert found["redemption", "calibration error"] < 0.02
    assert list(lists.columns) == LISTS and not lists.duplicated(["user", "rank"]).any()


def test_the_plain_difference_is_mostly_whom_it_was_sent_to(history: pl.DataFrame) -> None:
    estimate = Estimate(history.filter(pl.col("kind") == "C"), "spend", seeds=1)
    plain = next(one.ours for one in estimate.overlap_figures("kind C") if one.metric == "plain difference")
    found = estimate.difference("kind C", "all goods")
    assert plain == pytest.approx(50.07, abs=0.01)
    assert found.lower < 0 < found.upper < plain / 2


def test_a_recipe_or_a_folder_without_the_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="leave --recipe out"):
        run(None, [load_recipe("popularity")], seeds=1, peers=False, progress=print)
    with pytest.raises(FacingsError, match=r"holds no transactions\.parquet"):
        read_campaigns(tmp_path)
