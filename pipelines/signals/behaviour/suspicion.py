"""Bots and brushing: rows that hold but are hardly real. Flagged with a reason, discounted, never deleted.

A flag covers what one shopper did on one day (UTC), or did with one item, and is known from the end of that day: it
rests on nothing later, and its thresholds on the days up to it. So what was known at a moment are the flags with
known_at at or before it. Flags are computed from the lake alone; the lake is never changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import duckdb
import numpy as np
import numpy.typing as npt
import pandas as pd
import polars as pl

from configs.settings import Settings
from configs.suspicion import SuspicionRules
from features.history import NOTHING
from pipelines.signals.lake.lake import Lake
from state.files import draft_beside

COLUMNS = ["shopper_id", "item_id", "since", "until", "known_at", "reason", "weight"]
REASONS = {
    "inhuman_rate": "more acts within ten minutes than a person makes",
    "round_the_clock": "acts in nearly every hour of a day",
    "repeated_item": "one item in many separate orders on one day (the first is not flagged)",
    "equal_orders": "one order again and again on one day (the first is not flagged)",
    "burst": "one maker's goods or one item bought on one day by many shoppers who buy little else",
}
BELIEVED = 0.5  # what counts less does not count
_MEMORY = "2GB"
_NEEDED = {"shopper_id": "VARCHAR", "item_id": "VARCHAR", "event_type": "VARCHAR", "event_time": "TIMESTAMPTZ",
           "basket_id": "VARCHAR", "order_id": "VARCHAR", "quantity": "DOUBLE"}  # fmt: skip
# An order is a basket, else an order, else the moment: a till writes the lines of one at one time. Ids are grouped by
# their 64-bit hashes, which is several times as quick as by their text.
_ACTS = """
CREATE TABLE acts AS
    SELECT hash(shopper_id) AS shopper, hash(item_id) AS item, event_type = 'purchase' AS bought,
        epoch_us(event_time) AS t, t // 86400000000 AS day, coalesce(quantity, 1) AS quantity,
        CASE WHEN bought THEN hash(coalesce(basket_id, order_id, CAST(t AS VARCHAR))) END AS ordered
    FROM interactions
    WHERE event_type NOT IN ('impression', 'promotion_offered', 'promotion_not_offered', 'return', 'redeem');
CREATE TABLE single AS
    SELECT shopper, t // 600000000 AS slot, count(DISTINCT coalesce(ordered, hash(item, t))) AS acts
    FROM acts GROUP BY ALL;
CREATE TABLE busy AS
    SELECT shopper, day, count(DISTINCT ordered) AS orders FROM acts WHERE bought GROUP BY ALL HAVING orders >= 2;
CREATE TABLE many AS
    SELECT shopper, day, item, ordered, sum(quantity) AS quantity, min(t) AS t
    FROM acts JOIN busy USING (shopper, day) WHERE bought AND orders >= $orders GROUP BY ALL;
CREATE TABLE firsts AS SELECT shopper, min(day) AS first_day FROM acts GROUP BY ALL;
"""
_RATE = """
SELECT shopper, slot // 144 AS day, max(acts) AS value FROM single GROUP BY ALL
"""
_CLOCK = """
SELECT shopper, slot // 144 AS day FROM single GROUP BY ALL HAVING count(DISTINCT slot // 6) >= $hours
"""
_REPEATED = """
SELECT shopper, item, day, min(t) AS first FROM many GROUP BY ALL HAVING count(DISTINCT ordered) >= $of_an_item
"""
_EQUAL = """
WITH orders AS (
    SELECT shopper, day, ordered, min(t) AS t, count(*) AS lines,
        list(struct_pack(item, quantity) ORDER BY item) AS content
    FROM many GROUP BY ALL HAVING lines >= 2
), alike AS (
    SELECT shopper, day, content, min(t) AS first FROM orders GROUP BY ALL HAVING count(*) >= $alike
)
SELECT DISTINCT shopper, item, day, first FROM alike JOIN orders USING (shopper, day, content)
JOIN many USING (shopper, day, ordered)
"""
# A shopper's day is devoted to a group (a maker's goods, or an item) when that is all that they bought that day, in
# several orders; it is fresh when the shopper is new and never bought anything else. Both happen by chance to some
# of those who buy of a group, as to those of any group that day: far more than that is a burst.
_BURST = """
WITH lines AS (SELECT shopper, day, item, {group} AS grouped FROM acts {join} WHERE bought),
odd AS (
    SELECT shopper, day, any_value(grouped) AS grouped, true AS devoted FROM lines JOIN busy USING (shopper, day)
    GROUP BY ALL HAVING count(DISTINCT grouped) = 1 AND count(*) = count(grouped)
    UNION ALL
    SELECT shopper, day, lowest, false FROM (
        SELECT DISTINCT shopper, day, min(grouped) OVER past AS lowest, max(grouped) OVER past AS highest,
            bool_and(grouped IS NOT NULL) OVER past AS named
        FROM lines JOIN firsts USING (shopper) WHERE day < first_day + $new_days
        WINDOW past AS (PARTITION BY shopper ORDER BY day)
    ) WHERE lowest = highest AND named AND day >= $known_from
), buyers AS (
    SELECT grouped, day, count(DISTINCT shopper) AS buyers FROM lines WHERE grouped IS NOT NULL GROUP BY ALL
), cells AS (
    SELECT grouped, day, devoted, count(*) AS value FROM odd GROUP BY ALL
), totals AS (
    SELECT day, devoted, sum(value) AS odd FROM cells GROUP BY ALL
), pairs AS (
    SELECT day, sum(buyers) AS pairs FROM buyers GROUP BY ALL
), bursts AS (  -- expected by the other groups of the day: a burst must not raise its own measure
    SELECT grouped, day, devoted, buyers * (odd - value) / greatest(pairs - buyers, 1) AS expected
    FROM cells JOIN buyers USING (grouped, day) JOIN totals USING (day, devoted) JOIN pairs USING (day)
    WHERE value >= $floor AND value >= 3 * expected + 4 * sqrt(expected) AND (devoted OR value >= $share * buyers)
)
SELECT DISTINCT shopper, item, day
FROM bursts JOIN odd USING (grouped, day, devoted) JOIN lines USING (shopper, day, grouped)
"""
_NAMES = """
SELECT found.* EXCLUDE (shopper, item), shopper_id, item_id FROM found
JOIN (SELECT DISTINCT hash(shopper_id) AS shopper, shopper_id FROM interactions
      WHERE hash(shopper_id) IN (SELECT shopper FROM found)) USING (shopper)
LEFT JOIN (SELECT DISTINCT hash(item_id) AS item, item_id FROM interactions
           WHERE hash(item_id) IN (SELECT item FROM found)) USING (item)
"""


class Tables(Protocol):
    """What is needed of the lake to find flags."""

    def has(self, table: str) -> bool:
        """Whether the table was ever ingested."""
        ...

    def paths(self, table: str) -> list[Path]:
        """Its parquet files."""
        ...

    def fingerprint(self, tables: Sequence[str] | None = None) -> str:
        """Digest of its rows."""
        ...


def suspicions(settings: Settings, lake: Tables) -> pd.DataFrame:
    """Return the flags of all that is in the lake, computed once for each content of the lake.

    Returns:
        COLUMNS: shopper_id, item_id (None: all that they did), since and until (UTC: since ≤ event_time < until),
        known_at, reason, weight (what a row counts).
    """
    rules = settings.suspicion
    if not rules.on or not lake.has("interactions"):
        return _none()
    text = "\n".join([lake.fingerprint(["interactions", "items"]), rules.model_dump_json(), "2"])
    path = settings.paths.suspicions / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.parquet"
    try:
        return _typed(pd.read_parquet(path))
    except FileNotFoundError:
        flags = find_suspicions(lake.paths("interactions"), lake.paths("items") if lake.has("items") else [], rules)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = draft_beside(path)
    flags.to_parquet(draft, index=False)
    draft.replace(path)
    for other in path.parent.glob("*.parquet"):  # of an earlier content
        if other != path:
            other.unlink(missing_ok=True)
    return flags


def find_suspicions(interactions: Sequence[Path], items: Sequence[Path], rules: SuspicionRules) -> pd.DataFrame:
    """Compute flags from parquet files of interactions and items; one pass of groupings that spill to the disk."""
    with duckdb.connect(":memory:", config={"memory_limit": _MEMORY}) as duck:
        _view(duck, "interactions", interactions, _NEEDED)
        _view(duck, "items", items, {"item_id": "VARCHAR", "maker_id": "VARCHAR"})
        for statement in filter(str.strip, _ACTS.split(";")):
            orders = {"orders": min(rules.orders_of_an_item, rules.equal_orders)} if "$orders" in statement else None
            duck.execute(statement, orders)
        seen = duck.execute("SELECT first_day AS day, count(*) AS shoppers FROM firsts GROUP BY ALL ORDER BY day").df()
        if seen.empty:
            return _none()
        rate = _over(duck.execute(_RATE).df(), rules.acts_in_10_minutes, rules)
        asked = {
            "new_days": rules.new_days,
            "floor": rules.burst_shoppers,
            "share": rules.burst_share,
            "known_from": int(seen["day"].iloc[0]) + rules.new_days,
        }  # fmt: skip - before it everybody is new
        found = {
            "inhuman_rate": [rate[["shopper", "day"]]],
            "round_the_clock": [duck.execute(_CLOCK, {"hours": rules.hours_of_a_day}).df()],
            "repeated_item": [duck.execute(_REPEATED, {"of_an_item": rules.orders_of_an_item}).df()],
            "equal_orders": [duck.execute(_EQUAL, {"alike": rules.equal_orders}).df()],
        }
        found = {reason: [_rare(part, seen, rules) for part in several] for reason, several in found.items()}
        found |= {
            "burst": [duck.execute(_BURST.format(group="item", join=""), asked).df()],
        }
        # All of it: duckdb registers no table beside a result that was read in part.
        ((named,),) = duck.execute("SELECT count(maker_id) FROM items").fetchall()
        if named:
            makers = "LEFT JOIN (SELECT hash(item_id) AS item, hash(maker_id) AS maker FROM items) USING (item)"
            found["burst"].append(duck.execute(_BURST.format(group="maker", join=makers), asked).df())
        parts = [_part(part, reason) for reason, several in found.items() for part in several if len(part)]
        if not parts:
            return _none()
        duck.register("found", pd.concat(parts, ignore_index=True))
        return _flags(duck.execute(_NAMES).df(), rules)


def doubtful(rows: pd.DataFrame, flags: pd.DataFrame, as_of: pd.Timestamp | None = None) -> npt.NDArray[np.float64]:
    """What each row counts (1: whole) by the flags that were known at a moment; None: by all.

    `rows` have shopper_id, item_id and event_time.
    """
    weights = np.ones(len(rows))
    known = flags if as_of is None else flags[flags["known_at"] <= as_of]
    at = np.flatnonzero(rows["shopper_id"].isin(known["shopper_id"].unique())) if len(known) else np.zeros(0, int)
    if not len(at):
        return weights
    # A flag lies within one day (UTC): by shopper alone every row of a robot would meet all of its days.
    some = rows.iloc[at][["shopper_id", "item_id", "event_time"]].assign(row=at)
    some["day"] = some["event_time"].dt.floor("D")
    flagged = known.rename(columns={"item_id": "flagged"}).assign(
        day=known["until"].dt.floor("D") - pd.Timedelta(days=1)
    )
    hits = some.merge(flagged, on=["shopper_id", "day"])
    inside = (hits["event_time"] >= hits["since"]) & (hits["event_time"] < hits["until"])
    inside &= hits["flagged"].isna() | (hits["flagged"] == hits["item_id"])
    np.minimum.at(weights, hits.loc[inside, "row"].to_numpy(), hits.loc[inside, "weight"].to_numpy(np.float64))
    return weights


def believed(rows: pd.DataFrame, flags: pd.DataFrame, as_of: pd.Timestamp | None = None) -> npt.NDArray[np.bool_]:
    """Whether each row counts half or more by the flags that were known at a moment; None: by all."""
    return doubtful(rows, flags, as_of) >= BELIEVED


def count_flagged(lake: Lake, flags: pd.DataFrame) -> dict[str, int]:
    """How many rows of the interactions each reason covers; a row under two reasons counts under both."""
    if flags.empty:
        return {}
    who = pl.Series(flags["shopper_id"].unique())
    rows = (
        lake.scan("interactions")
        .select("shopper_id", "item_id", "event_time")
        .filter(pl.col("shopper_id").is_in(who.implode()))
        .collect()
        .to_pandas()
    )
    return {str(reason): int((doubtful(rows, some) < 1).sum()) for reason, some in flags.groupby("reason", sort=True)}


def _over(cells: pd.DataFrame, floor: int, rules: SuspicionRules) -> pd.DataFrame:
    """Cells above the shop's own distribution on the days up to theirs, and at or above the floor."""
    high = cells[cells["value"] >= floor]
    if high.empty:
        return high
    days = cells.groupby("day")["value"]
    median = days.median()
    spread = (cells["value"] - cells["day"].map(median)).abs().groupby(cells["day"]).median()
    # Medians of the days up to each, so that what comes later moves no threshold.
    limit = (median.expanding().median() + rules.deviations * 1.4826 * spread.expanding().median()).rename("limit")
    return high[high["value"] > high["day"].map(limit)]


def _rare(found: pd.DataFrame, seen: pd.DataFrame, rules: SuspicionRules) -> pd.DataFrame:
    """What was found on days up to which it fits few of the shoppers seen: what many do is how this shop is.

    Args:
        found: shopper, day and more.
        seen: day and shoppers first seen on it, in the order of days.
        rules: `most_shoppers`.
    """
    if found.empty:
        return found
    shoppers = seen["shoppers"].cumsum().to_numpy()[np.searchsorted(seen["day"], found["day"], side="right") - 1]
    firsts = np.sort(found.groupby("shopper")["day"].min().to_numpy())
    return found[np.searchsorted(firsts, found["day"], side="right") <= rules.most_shoppers * shoppers]


def _part(found: pd.DataFrame, reason: str) -> pd.DataFrame:
    """Columns of one shape; a 64-bit hash must never pass through a float."""
    item = found["item"].astype("UInt64") if "item" in found else pd.Series(pd.NA, found.index, "UInt64")
    first = found["first"].astype("Int64") if "first" in found else pd.Series(pd.NA, found.index, "Int64")
    return found[["shopper", "day"]].assign(item=item, first=first, reason=reason)


def _flags(found: pd.DataFrame, rules: SuspicionRules) -> pd.DataFrame:
    day = pd.to_datetime(found["day"].astype("int64") * 86_400_000_000, unit="us", utc=True)
    first = pd.to_datetime(found["first"], unit="us", utc=True) + pd.Timedelta(1, unit="us")
    until = day + pd.Timedelta(days=1)
    made = found.assign(since=first.fillna(day), until=until, known_at=until, weight=rules.weight)
    return _typed(made[COLUMNS].drop_duplicates().sort_values(["since", *COLUMNS[:2], "reason"], ignore_index=True))


def _typed(flags: pd.DataFrame) -> pd.DataFrame:
    times = dict.fromkeys(("since", "until", "known_at"), "datetime64[us, UTC]")
    made = flags.astype({**times, "weight": "float64"})
    made["item_id"] = made["item_id"].astype(object).where(made["item_id"].notna(), NOTHING)
    return made


def _none() -> pd.DataFrame:
    return _typed(pd.DataFrame({name: pd.Series([], dtype=object) for name in COLUMNS}))


def _view(duck: duckdb.DuckDBPyConnection, table: str, paths: Sequence[Path], columns: dict[str, str]) -> None:
    if paths:
        found = duck.read_parquet([str(path) for path in paths], union_by_name=True)
        present = set(found.columns)
    else:
        found, present = duck.sql("SELECT 1 AS nothing WHERE false"), set()
    wanted = [
        f"CAST({name} AS {kind}) AS {name}" if name in present else f"CAST(NULL AS {kind}) AS {name}"
        for name, kind in columns.items()
    ]
    found.project(", ".join(wanted)).create_view(table)
