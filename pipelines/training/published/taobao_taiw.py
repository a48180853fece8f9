"""`taobao-taiw`: baskets of Taobao without dates, under the protocol of `taiw`.

The file holds three parts; `test` has every user's whole sequence of baskets, the last of which is the test basket
(`validate` and `train` are the same sequences one and two baskets shorter, and are not needed). 10,092 users, 22,286
items, 67,991 rows; the 9,307 users of three or more baskets are judged. There is no date: a basket's place before the
user's last stands for its age in days, so that "yesterday" is the last known basket of everybody.

The published TopPersonal leaves open in which order items of equal count stand. Orders at random give P .01152,
R .1113, NDCG .0742 with standard deviations of .00003, .0003 and .0006 (20 of them): ours, ties by popularity and lists
not filled up, counts as the same within two of these.

Item numbers run in order of appearance, user by user, test baskets included: a new item of a test basket often follows
the user's highest number. That gives the answer away, so no recommender here makes anything of the numbers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from configs.errors import FacingsError, UsageError
from configs.recipe import Recipe
from pipelines.training.published import taiw
from pipelines.training.published.table import PublishedTable

_END = pd.Timestamp("2000-01-01", tz="UTC")  # stands for the day of every last basket
PROTOCOL = taiw.Protocol(
    name="taobao-taiw",
    title=(
        "taobao-taiw: baskets of Taobao, each user's last; {users:,} users, {items:,} items, {rows:,} rows, "
        "{judged:,} test users; metrics at 10"
    ),
    settings=(taiw.DEFAULT,),
    published={
        "popular": {"precision": 0.0005, "recall": 0.0055, "ndcg": 0.0029},
        taiw.AGAINST: {"precision": 0.0115, "recall": 0.1116, "ndcg": 0.0741},
    },
    tolerance={taiw.AGAINST: {"precision": 0.0001, "recall": 0.0006, "ndcg": 0.0012}},
    fill=False,
    notes=("The published order of equals in personal frequency is not stated; ours may differ by its spread.",),
)


def read_data(data: Path | None) -> taiw.Baskets:
    """Read the file.

    Args:
        data: the file, or a folder that holds `TaoBao.json`.

    Raises:
        UsageError: no file was named.
        FacingsError: it is not there, or of another form.
    """
    if data is None:
        raise UsageError("taobao-taiw needs its raw file: name it by --data, or its folder by FACINGS_BENCHMARK_DATA.")
    path = data / "TaoBao.json" if data.is_dir() else data
    if not path.is_file():
        raise FacingsError(f"There is no {path}; name the file of Taobao's baskets (TaoBao.json) by --data.")
    rows = _rows(path)
    count = rows.groupby("shopper_id")["basket_id"].transform("max")
    age = count - rows["basket_id"] + (count < 3)  # 0 is the test basket, 1 the last known one
    rows = rows.assign(event_time=_END - pd.to_timedelta(age, unit="D"))
    rows = rows.sort_values(["event_time", "shopper_id", "item_id"], kind="stable", ignore_index=True)
    return taiw.Baskets(
        rows=rows,
        items=pd.DataFrame({"item_id": sorted(rows["item_id"].unique())}),
        shoppers=pd.DataFrame({"shopper_id": sorted(rows["shopper_id"].unique())}),
        as_of=_END,
    )


def run(
    data: Path | None, recipes: Sequence[Recipe], *, seeds: int, peers: bool, progress: Callable[[str], None]
) -> PublishedTable:
    """Reproduce the baselines and measure the recipes; arguments and errors as `read_data` and `taiw.run`."""
    progress("taobao-taiw: reading the file")
    return taiw.run(PROTOCOL, read_data(data), recipes, seeds=seeds, peers=peers, progress=progress)


def _rows(path: Path) -> pd.DataFrame:
    """shopper_id, item_id, basket_id of every row."""
    try:
        users: dict[str, Any] = json.loads(path.read_text())["test"]
        rows = [
            (user, str(int(item)), number)
            for user, baskets in users.items()
            for number, basket in enumerate(baskets, start=1)
            for item in basket
        ]
    except (ValueError, KeyError, TypeError, AttributeError, UnicodeDecodeError):
        rows = []
    if not rows:
        raise FacingsError(
            f'{path} must be JSON of the form {{"test": {{user: [[item, …], …]}}}}; it is not TaoBao.json.'
        )
    return pd.DataFrame(rows, columns=["shopper_id", "item_id", "basket_id"])
