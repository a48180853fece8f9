"""How often the data checks stop an honest week of Complete Journey, and whether they stop planted faults.

Each week from the tenth on comes in as new data after the weeks before it were accepted. A silent store that the checks
find is compared with the weeks to come: a store that never sells again is no false alarm. Then faults, and honest
changes, are planted into several weeks.

Run it: .venv/bin/python benchmarks/data_quality.py --out benchmarks/results
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.frame import frame, write
from configs.quality import load_quality_rules
from pipelines.signals.contract.tables import TABLES
from pipelines.signals.lake.lake import polars_type
from pipelines.signals.quality.checks import compare
from pipelines.signals.quality.findings import Finding, Severity
from pipelines.signals.quality.profile import Accepted, Profile, profile
from pipelines.signals.quarantine.rows import SCHEMA
from pipelines.signals.sources.complete_journey import learning_tables

COMMAND = ".venv/bin/python benchmarks/data_quality.py --out benchmarks/results"
START, FIRST_WEEK, WEEKS = date(2017, 1, 1), 9, 52
FAULT_WEEKS = (12, 18, 24, 30, 36, 42, 50)
RULES = load_quality_rules()
Frames = dict[str, pl.DataFrame]


class Tables:
    """Tables in memory, with all columns of the contract."""

    def __init__(self, frames: Frames) -> None:
        self._frames = {
            name: frame.with_columns(
                pl.lit(None, polars_type(column.kind)).alias(column.name)
                for column in TABLES[name].columns
                if column.name not in frame.columns
            )
            for name, frame in frames.items()
        }

    def tables(self) -> list[str]:
        """Names of the tables."""
        return sorted(self._frames)

    def scan(self, table: str) -> pl.LazyFrame:
        """One table."""
        return self._frames[table].lazy()

    def missing(self, table: str) -> tuple[int, dict[str, int]]:
        """Rows, and those without a value by column."""
        frame = self._frames[table]
        return frame.height, dict(zip(frame.columns, frame.null_count().row(0), strict=True))


def moment(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def end_of(week: int) -> date:
    return START + timedelta(days=7 * week)


def up_to(tables: Frames, day: date) -> Frames:
    return {**tables, "interactions": tables["interactions"].filter(pl.col("event_time") < moment(day))}


def look(tables: Frames, accepted: Accepted | None, day: date) -> tuple[Profile, list[Finding], float]:
    start = time.perf_counter()
    found = profile(
        Tables(tables), RULES, accepted=accepted, quarantine=pl.DataFrame(schema=SCHEMA), lake="", at=moment(day)
    )
    return found, compare(found, accepted, RULES), time.perf_counter() - start


def accept(found: Profile, silent: dict[str, date]) -> Accepted:
    items = found.items.select("item_id", "price", "currency", "category", rows=pl.col("before") + pl.col("now"))
    return Accepted(found.meta, found.volumes, items, found.meta.at, {}, silent)


def stops(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.severity is Severity.STOP]


# ---------------------------------------------------------------------- faults and honest changes


def new_rows(change: Callable[[pl.DataFrame], pl.DataFrame], days: int = 7) -> Callable[[Frames, date], Frames]:
    """A change of the last days' rows only."""

    def apply(tables: Frames, end: date) -> Frames:
        rows = tables["interactions"]
        fresh = pl.col("event_time") >= moment(end - timedelta(days=days))
        return {**tables, "interactions": pl.concat([rows.filter(~fresh), change(rows.filter(fresh))], how="diagonal")}

    return apply


def priced(factor: float, where: pl.Expr = pl.lit(True)) -> Callable[[pl.DataFrame], pl.DataFrame]:  # noqa: B008
    return lambda rows: rows.with_columns(
        pl.when(where).then(pl.col("price") * factor).otherwise("price").alias("price")
    )


def half(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.sample(fraction=0.5, seed=1)


def half_of_the_baskets(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.filter(pl.col("basket_id").hash(seed=1) % 2 == 0)


def later(hours: int) -> Callable[[pl.DataFrame], pl.DataFrame]:
    return lambda rows: rows.with_columns(pl.col("event_time") + timedelta(hours=hours))


def twice(rows: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([rows, rows.with_columns(pl.format("again-{}", "event_id").alias("event_id"))])


def without(column: str) -> Callable[[pl.DataFrame], pl.DataFrame]:
    return lambda rows: rows.with_columns(pl.lit(None, rows.schema[column]).alias(column))


def of_items(**columns: pl.Expr) -> Callable[[Frames, date], Frames]:
    return lambda tables, _: {**tables, "items": tables["items"].with_columns(**columns)}


def store(rank: int) -> str:
    """The store of this rank by sales in the whole year."""
    return str(SALES["store_id"][rank])


def faults() -> dict[str, Callable[[Frames, date], Frames]]:
    at = lambda rank: pl.col("store_id") == store(rank)  # noqa: E731
    return {
        "the largest store missing": new_rows(lambda rows: rows.filter(~at(0))),
        "a store of 0.9 % missing": new_rows(lambda rows: rows.filter(~at(40))),
        "the largest store missing for the last 3 days": new_rows(lambda rows: rows.filter(~at(0)), 3),
        "prices × 100": new_rows(priced(100)),
        "prices ÷ 100": new_rows(priced(0.01)),
        "prices × 100 in the largest store": new_rows(priced(100, at(0))),
        "prices × 100 in a store of 0.9 %": new_rows(priced(100, at(40))),
        "prices × 100 for every tenth item": new_rows(priced(100, pl.col("item_id").hash() % 10 == 0)),
        "prices in another currency (× 1.8)": new_rows(priced(1.8)),
        "catalogue prices × 100": of_items(price=pl.col("price") * 100),
        "half of the rows": new_rows(half),
        "half of the rows of the last 3 days": new_rows(half, 3),
        "half of the rows of the last day": new_rows(half, 1),
        "half of the baskets of the last 3 days": new_rows(half_of_the_baskets, 3),
        "categories lost": of_items(category=pl.lit(None, pl.String)),
        "times 5 hours later": new_rows(later(5)),
        "times 7 hours earlier": new_rows(later(-7)),
        "the feed twice, with new ids": new_rows(twice),
        "item ids of another form": new_rows(
            lambda rows: rows.with_columns(pl.format("0{}", "item_id").alias("item_id"))
        ),
        "no store ids": new_rows(without("store_id")),
    }  # fmt: skip


def honest() -> dict[str, Callable[[Frames, date], Frames]]:
    largest = pl.col("store_id") == store(0)

    def opened(rows: pl.DataFrame) -> pl.DataFrame:
        other = (pl.format("new-{}", name).alias(name) for name in ("shopper_id", "event_id"))
        return pl.concat([rows, rows.filter(largest).with_columns(pl.lit("new").alias("store_id"), *other)])

    return {
        "a large store opens": new_rows(opened, 5),
        "the largest store is closed on the last day": new_rows(lambda rows: rows.filter(~largest), 1),
        "the chain is closed on one day": lambda tables, end: {
            **tables,
            "interactions": tables["interactions"].filter(pl.col("event_time").dt.date() != end - timedelta(days=4)),
        },
        "a third of the items 25 % cheaper": new_rows(priced(0.75, pl.col("item_id").hash() % 3 == 0)),
        "all items 10 % dearer": new_rows(priced(1.1)),
        "summer time: 1 hour": new_rows(later(1)),
    }


# ---------------------------------------------------------------------- measuring


def slide(tables: Frames) -> tuple[list[dict[str, Any]], dict[int, Accepted]]:
    """Let each week come in after the ones before; return what was found, and what was accepted before each week."""
    accepted: Accepted | None = None
    told, states = [], {}
    newest = dict(tables["interactions"].group_by("store_id").agg(pl.col("event_time").max().dt.date()).rows())
    for week in range(FIRST_WEEK, WEEKS + 1):
        found, findings, seconds = look(up_to(tables, end_of(week)), accepted, end_of(week))
        stopping = stops(findings)
        silent = {
            name: finding.since or date.min
            for finding in findings
            if finding.code == "silent_store"
            for name in finding.subjects
        }
        true = [f for f in stopping if f.code == "silent_store" and all(newest[s] < end_of(week) for s in f.subjects)]
        told.append(
            {
                "week_ends": end_of(week).isoformat(),
                "seconds": round(seconds, 2),
                "stop": [finding.sentence for finding in stopping],
                "of them stores that never sell again": len(true),
                "warn": [finding.sentence for finding in findings if finding.severity is Severity.WARN],
            }
        )
        accepted = accept(found, {**(accepted.silent if accepted else {}), **silent})
        states[week + 1] = accepted
    return told, states


def plant(
    tables: Frames, states: dict[int, Accepted], changes: dict[str, Callable[[Frames, date], Frames]]
) -> dict[str, Any]:
    told = {}
    for name, change in changes.items():
        codes = []
        for week in FAULT_WEEKS:
            _, findings, _ = look(change(up_to(tables, end_of(week)), end_of(week)), states[week], end_of(week))
            codes.append(sorted({finding.code for finding in stops(findings)}))
        told[name] = {"weeks": len(codes), "stopped": sum(bool(code) for code in codes), "codes": codes}
        print(f"{name}: {told[name]['stopped']} of {len(codes)}  {codes[0]}", flush=True)
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the dated result file")
    out: Path = parser.parse_args().out
    tables = learning_tables()
    tables["interactions"] = tables["interactions"].sort("event_time")
    global SALES
    SALES = tables["interactions"].group_by("store_id").len().sort("len", "store_id", descending=True)
    weeks, states = slide(tables)
    stopped = [week for week in weeks if week["stop"]]
    false = [week for week in stopped if len(week["stop"]) > week["of them stores that never sell again"]]
    print(f"{len(weeks)} weeks, {len(stopped)} stopped, {len(false)} of them falsely", flush=True)
    result = {
        **frame("data_quality", COMMAND, "polars", "numpy", "scipy"),
        "data": "Complete Journey: purchases, items and shoppers; 2017",
        "weeks": len(weeks),
        "weeks_stopped": len(stopped),
        "weeks_stopped_falsely": len(false),
        "faults": plant(tables, states, faults()),
        "honest_changes": plant(tables, states, honest()),
        "findings": [week for week in weeks if week["stop"] or week["warn"]],
        "seconds_a_profile": sorted(week["seconds"] for week in weeks)[len(weeks) // 2],
    }
    print(write(result, "data_quality", out))


SALES = pl.DataFrame()

if __name__ == "__main__":
    main()
