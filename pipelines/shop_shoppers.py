"""What the shop's snapshot holds of each shopper: the goods that they have, and what they were shown of late.

Of each item that a shopper bought and kept it says from when on it may be shown to them again:

- a durable good: never;
- where a time between two purchases is known (the shopper's own for the item, else the item's): once a part of that
  time is over, so that a replenishment is not shown before it is due;
- any other: some days after the purchase.

What was shown within the caps' window stands there by item and minute. Eight bytes for each such item or showing; what
has passed at the newest interaction of the lake is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from struct import unpack
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from configs.policy import PolicySettings
from pipelines.packed import LmdbFile, key_of, write_lmdb
from pipelines.signals.lake.lake import Lake

FILE = "shoppers.mdb"
INTERVALS = "intervals.npy"
TABLE = "shoppers"
MINUTE, DAY = 60_000_000, 86_400_000_000  # microseconds
_OWN_GAPS, _ITEM_GAPS = 2, 20  # with fewer times between two purchases none is taken for usual
_NEVER = (1 << 31) - 1  # as a minute
_TIME = pl.Datetime("us", "UTC")
Ints = npt.NDArray[np.int64]


class Own(NamedTuple):
    """One shopper's; items by their position in the shop, times in minutes since 1970 (UTC).

    Attributes:
        held: items that they have: (item, when it may be shown again, NEVER_MINUTE: never; whether that is because
            their supply lasts, and not because they just bought it).
        shown: items that they were shown, and when.
    """

    held: list[tuple[int, int, bool]]
    shown: list[tuple[int, int]]


NEVER_MINUTE = _NEVER
NO_SHOPPER = Own([], [])


def hold_minutes(interval_days: npt.ArrayLike, durable: npt.ArrayLike, policy: PolicySettings) -> Ints:
    """Minutes after a purchase for which an item is held back; NEVER_MINUTE: for ever.

    Args:
        interval_days: usual time between two purchases; NaN: not known.
        durable: whether it is bought once.
        policy: the share of that time, and the days where it is not known.
    """
    days = np.asarray(interval_days, np.float64)
    held = np.where(np.isnan(days), policy.bought_days, days * policy.due_share)
    return np.where(durable, _NEVER, np.ceil(np.minimum(held, 36_500.0) * 1440)).astype(np.int64)


def write_shoppers(
    folder: Path, lake: Lake, sales: pl.LazyFrame, items: pl.DataFrame, policy: PolicySettings
) -> dict[str, int]:
    """Write the file and the items' usual times between two purchases (days, NaN: not known); return its entries.

    Args:
        folder: of the draft.
        lake: holds the impressions.
        sales: purchases that count: shopper_id, item_id, event_time.
        items: item_id, place and durable of every item, by place.
        policy: how long what was bought is held back, and the caps' window.
    """
    newest = lake.scan("interactions").select(pl.col("event_time").max()).collect().item()
    moment = 0 if newest is None else int(newest.timestamp() // 60)
    kept, intervals = holds(sales, items, policy)
    np.save(folder / INTERVALS, intervals, allow_pickle=False)
    kept = kept.with_columns(shown=pl.lit(False))
    rows = pl.concat([kept.filter(pl.col("minute") > moment), _shown(lake, items, moment, policy)])
    return write_lmdb(folder / FILE, {TABLE: _packed(rows.sort("shopper_id", "shown", "place", "minute"))})


def holds(
    sales: pl.LazyFrame, items: pl.DataFrame, policy: PolicySettings
) -> tuple[pl.DataFrame, npt.NDArray[np.float32]]:
    """Until when each shopper has what they bought: shopper_id, place, minute, lasts; and the items' usual times.

    Args:
        sales, items, policy: as in `write_shoppers`.
    """
    bought, intervals = _bought(sales, items)
    last = bought["last"].dt.epoch("us").to_numpy()
    place = bought["place"].to_numpy()
    own = bought["interval"].to_numpy()
    days = np.where(np.isnan(own), intervals[place], own)
    hold = hold_minutes(days, items["durable"].to_numpy()[place], policy)
    until = np.minimum(-(-last // MINUTE) + hold, _NEVER)
    kept = bought.select("shopper_id", "place").with_columns(
        pl.Series("minute", until), pl.Series("lasts", ~np.isnan(days) | (hold == _NEVER))
    )
    return kept, intervals


def _bought(sales: pl.LazyFrame, items: pl.DataFrame) -> tuple[pl.DataFrame, npt.NDArray[np.float32]]:
    """Each shopper's items with the last purchase and their usual time between two, and the items' usual times."""
    days = (
        sales.group_by("shopper_id", "item_id", pl.col("event_time").dt.truncate("1d").alias("day"))
        .agg(pl.col("event_time").max().alias("last"))
        .collect(engine="streaming")
        .sort("shopper_id", "item_id", "day")
        .join(items.select("item_id", "place"), on="item_id", maintain_order="left")
    )
    same = (pl.col("shopper_id") == pl.col("shopper_id").shift()) & (pl.col("item_id") == pl.col("item_id").shift())
    gap = (pl.col("last") - pl.col("last").shift()).dt.total_microseconds() / DAY
    days = days.with_columns(pl.when(same).then(gap).alias("gap"))
    enough = pl.col("gap").count()
    usual = days.group_by("place").agg(pl.when(enough >= _ITEM_GAPS).then(pl.col("gap").median()).alias("interval"))
    intervals = np.full(items.height, np.nan, np.float32)
    known = usual.drop_nulls()
    intervals[known["place"].to_numpy()] = known["interval"].to_numpy()
    median = pl.when(enough >= _OWN_GAPS).then(pl.col("gap").median()).cast(pl.Float64).fill_null(np.nan)
    return days.group_by("shopper_id", "place").agg(pl.col("last").max(), median.alias("interval")), intervals


def _shown(lake: Lake, items: pl.DataFrame, moment: int, policy: PolicySettings) -> pl.DataFrame:
    since = (moment - round(policy.cap_days * 1440)) * MINUTE
    rows = (
        lake.scan("interactions")
        .filter(pl.col("event_type") == "impression", pl.col("event_time") >= pl.lit(since).cast(_TIME))
        .join(items.lazy().select("item_id", "place"), on="item_id")
        .select("shopper_id", "place", (pl.col("event_time").dt.epoch("us") // MINUTE).alias("minute"))
        .unique()
        .collect()
    )
    return rows.with_columns(lasts=pl.lit(False), shown=pl.lit(True))


def _packed(rows: pl.DataFrame) -> Iterator[tuple[bytes, bytes]]:
    """Of each shopper how many items they have, these with minute and reason, then those that they were shown."""
    if rows.is_empty():
        return
    place = rows["place"].to_numpy().astype("<u4")
    minute = rows["minute"].to_numpy().astype("<u4") | rows["lasts"].to_numpy().astype("<u4") << np.uint32(31)
    pairs = np.ascontiguousarray(np.stack([place, minute], axis=1))
    sizes = rows.group_by("shopper_id", maintain_order=True).agg((~pl.col("shown")).sum().alias("held"), pl.len())
    at = 0
    for shopper, held, count in sizes.iter_rows():
        yield key_of(str(shopper)), int(held).to_bytes(4, "little") + pairs[at : at + count].tobytes()
        at += count


class ShopShoppers:
    """Read-only access to the file."""

    def __init__(self, folder: Path) -> None:
        self._file = LmdbFile(folder / FILE, [TABLE])

    def own(self, shopper_id: str) -> Own:
        """What is held of a shopper; nothing of one who is not known."""
        raw = self._file.get(TABLE, key_of(shopper_id))
        if raw is None:
            return NO_SHOPPER
        ends, numbers = 2 * int.from_bytes(raw[:4], "little"), unpack(f"<{len(raw) // 4 - 1}I", raw[4:])
        return Own(
            [
                (place, minute & _NEVER, minute > _NEVER)
                for place, minute in zip(numbers[:ends:2], numbers[1:ends:2], strict=True)
            ],
            list(zip(numbers[ends::2], numbers[ends + 1 :: 2], strict=True)),
        )

    def close(self) -> None:
        """Let the file go."""
        self._file.close()
