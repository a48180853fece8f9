"""Erasing a shopper from what training leaves behind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models.base import Recommender
from models.dataset import Dataset
from models.registry import create, load
from pipelines.forget_models import forget_in_models, forget_in_tables

ZEBRA = "shopper-zebra-4711"


def holds(root: Path, text: str) -> list[Path]:
    """Files below `root` that contain the text in any encoding that arrays and tables use."""
    shapes = [text.encode(coding) for coding in ("utf-8", "utf-16-le", "utf-32-le", "utf-32-be")]
    return [file for file in root.rglob("*") if file.is_file() and any(shape in file.read_bytes() for shape in shapes)]


@pytest.fixture(params=["popularity", "lightfm"])
def model(request: pytest.FixtureRequest) -> Recommender:
    random = np.random.default_rng(0)
    shoppers = [ZEBRA, *(f"s{number}" for number in range(30))]
    rows = [
        (shopper, f"i{item}", pd.Timestamp("2026-01-01", tz="UTC") + pd.Timedelta(days=int(random.integers(0, 50))))
        for shopper in shoppers
        for item in random.choice(20, 6, replace=False)
    ]
    interactions = pd.DataFrame(rows, columns=["shopper_id", "item_id", "event_time"])
    dataset = Dataset.build(interactions, as_of=pd.Timestamp("2026-03-01", tz="UTC"))
    return create(request.param).fit(dataset, seed=1)


def test_the_shopper_is_gone_from_the_files_and_the_others_get_what_they_got(
    model: Recommender, tmp_path: Path
) -> None:
    folder = tmp_path / "runs" / "abc" / "serving"
    model.save(folder)
    (folder / "note.txt").write_text("kept")
    before = load(folder).recommend(["s1", "s2"], 5)
    assert holds(tmp_path, ZEBRA)
    assert forget_in_models(tmp_path, ZEBRA) == 1
    assert holds(tmp_path, ZEBRA) == []
    assert (folder / "note.txt").read_text() == "kept"
    after = load(folder)
    assert ZEBRA not in after.shopper_ids
    pd.testing.assert_frame_equal(after.recommend(["s1", "s2"], 5), before)
    assert forget_in_models(tmp_path, ZEBRA) == 0
    assert [path.name for path in folder.parent.iterdir()] == ["serving"]


def test_rows_of_tables_are_erased_and_other_tables_left_alone(tmp_path: Path) -> None:
    lists = pd.DataFrame({"shopper_id": ["a", ZEBRA, ZEBRA, "b"], "rank": [1, 1, 2, 1]})
    lists.to_parquet(tmp_path / "lists.parquet")
    pd.DataFrame({"item_id": ["x"]}).to_parquet(tmp_path / "items.parquet")
    assert forget_in_tables(tmp_path, ZEBRA) == 2
    assert pd.read_parquet(tmp_path / "lists.parquet")["shopper_id"].tolist() == ["a", "b"]
    assert holds(tmp_path, ZEBRA) == []
    assert forget_in_tables(tmp_path, ZEBRA) == 0
