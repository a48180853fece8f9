"""The TAIW protocol on both data sets, to the published digits, and its laws on a hand-made file."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from configs.errors import FacingsError, UsageError
from configs.recipe import DataRecipe
from models.registry import create
from pipelines.training.published import tafeng_taiw, taiw, taobao_taiw

HEADER = "TRANSACTION_DT,CUSTOMER_ID,AGE_GROUP,PIN_CODE,PRODUCT_SUBCLASS,PRODUCT_ID,AMOUNT,ASSET,SALES_PRICE"


@pytest.mark.published_data
def test_ta_feng_s_filter_leaves_the_published_counts_and_its_baselines_meet_every_digit(published_data: Path) -> None:
    source = tafeng_taiw.read_data(published_data / "tafeng" / "ta_feng.csv.zip")
    assert source.rows["shopper_id"].nunique() == 7358
    assert (source.rows["item_id"].nunique(), len(source.rows), len(source.visits)) == (11202, 368951, 7357)
    protocol = taiw.Protocol(name="x", title="", settings=(taiw.UNKNOWN,), published=tafeng_taiw.PROTOCOL.published)
    table = taiw.run(protocol, source, [], seeds=1, peers=False, progress=lambda _: None)
    met = [figure for figure in table.figures if figure.reference is not None]
    assert len(met) == 6 and table.reproduced, table.text()
    assert len(table.lists) == 2 * 7357 * 10


@pytest.mark.published_data
def test_taobao_s_counts_and_popularity_meet_every_digit(published_data: Path) -> None:
    source = taobao_taiw.read_data(published_data / "taobao_baskets" / "TaoBao.json")
    assert source.rows["shopper_id"].nunique() == 10092
    assert (source.rows["item_id"].nunique(), len(source.rows), len(source.visits)) == (22286, 67991, 9307)
    users = list(source.visits.index)
    model = create("popularity").fit(source.dataset(DataRecipe()))
    best = model.recommend(users[:1], 10).drop(columns="shopper_id")
    lists = pd.DataFrame({"shopper_id": users}).merge(best, how="cross")  # the same list for everybody
    frame = taiw.judge(lists, source.test, source.past, users)
    for metric, published in taobao_taiw.PROTOCOL.published["popular"].items():
        assert frame[metric].mean() == pytest.approx(published, abs=0.00005)


def baskets(*rows: tuple[str, str, str]) -> taiw.Baskets:
    table = pd.DataFrame(rows, columns=["shopper_id", "item_id", "day"])
    table["event_time"] = pd.to_datetime(table.pop("day"), utc=True)
    return taiw.Baskets(
        rows=taiw.number_baskets(table),
        items=pd.DataFrame({"item_id": sorted(table["item_id"].unique())}),
        shoppers=pd.DataFrame({"shopper_id": sorted(table["shopper_id"].unique())}),
        as_of=table["event_time"].max() + pd.Timedelta(days=1),
    )


def test_the_last_of_three_days_is_test_and_a_user_of_two_days_is_known_and_not_judged() -> None:
    source = baskets(
        ("a", "x", "2001-01-01"), ("a", "y", "2001-01-02"), ("a", "y", "2001-01-02"), ("a", "z", "2001-01-05"),
        ("b", "x", "2001-01-01"), ("b", "z", "2001-01-09"),
    )  # fmt: skip
    assert source.test[["shopper_id", "item_id"]].to_numpy().tolist() == [["a", "z"]]
    assert len(source.past) == 5
    assert source.visits.to_dict() == {"a": pd.Timestamp("2001-01-05", tz="UTC")}


def test_an_item_twice_in_a_basket_makes_it_longer_and_is_hit_once() -> None:
    lists = pd.DataFrame({"shopper_id": "a", "rank": [1, 2], "item_id": ["x", "q"]})
    test = pd.DataFrame({"shopper_id": "a", "item_id": ["x", "x", "y"]})
    frame = taiw.judge(lists, test, test.head(0), ["a"])
    assert frame["precision"].item() == pytest.approx(0.1)
    assert frame["recall"].item() == pytest.approx(1 / 3)
    assert frame["ndcg"].item() == pytest.approx(1 / (1 + 0.6309297535714575 + 0.5))


def test_with_the_date_known_only_earlier_sales_make_the_popular_list() -> None:
    rows = [("a", "x", f"2001-01-0{day}") for day in (1, 2, 3)]
    rows += [(who, "later", f"2001-02-0{day}") for who in "bcd" for day in (1, 2, 3)]
    protocol = taiw.Protocol(name="t", title="", settings=(taiw.UNKNOWN, taiw.PAST, taiw.SAME_DAY), published={})
    table = taiw.run(protocol, baskets(*rows), [], seeds=1, peers=False, progress=lambda _: None)
    popular = table.lists[(table.lists["recipe"] == "popular") & (table.lists["user"] == "a")]
    first = popular[popular["rank"] == 1].set_index("setting")["item"].to_dict()
    assert first == {taiw.UNKNOWN: "later", taiw.PAST: "x", taiw.SAME_DAY: "later"}


def test_a_raw_file_that_is_missing_or_another_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--data"):
        tafeng_taiw.read_data(None)
    with pytest.raises(UsageError, match="--data"):
        taobao_taiw.read_data(None)
    with pytest.raises(FacingsError, match=r"no .*gone"):
        tafeng_taiw.read_data(tmp_path / "gone.zip")
    other = tmp_path / "other.csv"
    other.write_text("a,b\n1,2\n")
    with pytest.raises(FacingsError, match="lacks the column TRANSACTION_DT"):
        tafeng_taiw.read_data(other)
    other.write_text(f"{HEADER}\n11/1/2000,1,,115,110411,47,1,2,soon\n")
    with pytest.raises(FacingsError, match="line 2"):
        tafeng_taiw.read_data(other)
    for content in ("no json", "[]", json.dumps({"test": {"0": [["x"]]}}), json.dumps({"train": {}})):
        other.write_text(content)
        with pytest.raises(FacingsError, match="must be JSON"):
            taobao_taiw.read_data(other)
