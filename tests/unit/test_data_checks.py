"""Which data stops a retraining and which does not: faults and honest changes planted into a small shop."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from configs.errors import UsageError
from configs.quality import RULES, load_quality_rules
from pipelines.signals.contract.tables import TABLES
from pipelines.signals.lake.lake import polars_type
from pipelines.signals.quality.checks import compare
from pipelines.signals.quality.findings import Finding, Severity
from pipelines.signals.quality.page import data_page
from pipelines.signals.quality.profile import Accepted, Profile, profile
from pipelines.signals.quality.shifts import shifts, turnover
from pipelines.signals.quarantine.rows import SCHEMA

THRESHOLDS = load_quality_rules()
STORES, ITEMS, DAYS = 6, 80, 100
FIRST = date(2026, 1, 5)
END = FIRST + timedelta(days=DAYS)
Frames = dict[str, pl.DataFrame]
Change = Callable[[Frames], Frames]


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
        return sorted(self._frames)

    def scan(self, table: str) -> pl.LazyFrame:
        return self._frames[table].lazy()

    def missing(self, table: str) -> tuple[int, dict[str, int]]:
        frame = self._frames[table]
        return frame.height, dict(zip(frame.columns, frame.null_count().row(0), strict=True))


@pytest.fixture(scope="module")
def shop() -> Frames:
    """A hundred days of six stores, some 60 visits of 3 items a day, more at the weekend, closed on Sundays."""
    random = np.random.default_rng(5)
    rows = []
    for number in range(DAYS):
        day = FIRST + timedelta(days=number)
        if day.weekday() == 6:
            continue
        for visit in range(int(random.poisson(60 * (1.5 if day.weekday() >= 4 else 1.0)))):
            who, store = int(random.integers(0, 400)), int(random.integers(0, STORES))
            second = int(np.clip(random.normal(15, 2.5), 8, 20) * 3600)
            for item in random.choice(ITEMS, size=int(random.integers(1, 6)), replace=False):
                price = (1 + int(item) % 9) * float(random.choice([1.0, 1.0, 1.0, 0.8]))
                rows.append((f"p{who}", f"i{item}", day, second, f"s{store}", f"{number}-{visit}", price))
    frame = pl.DataFrame(
        rows, schema=["shopper_id", "item_id", "day", "second", "store_id", "basket_id", "price"], orient="row"
    )
    time = pl.col("day").cast(pl.Datetime("us")) + pl.duration(seconds="second")
    sales = frame.with_row_index("n").select(
        "shopper_id", "item_id", "store_id", "basket_id", "price", time.dt.replace_time_zone("UTC").alias("event_time"),
        pl.lit("purchase").alias("event_type"), pl.format("e{}", "n").alias("event_id"), pl.lit(1.0).alias("quantity"),
    )  # fmt: skip
    numbers = range(ITEMS)
    items = pl.DataFrame(
        {
            "item_id": [f"i{n}" for n in numbers],
            "price": [1.0 + n % 9 for n in numbers],
            "category": [f"C{n % 5}/D{n % 15}" for n in numbers],
        }
    )
    return {"interactions": sales, "items": items}


def look(frames: Frames, accepted: Accepted | None, *, days: int = DAYS) -> tuple[Profile, list[Finding]]:
    at = datetime.combine(FIRST + timedelta(days=days), datetime.min.time(), UTC)
    quarantine = pl.DataFrame(schema=SCHEMA)
    found = profile(Tables(frames), THRESHOLDS, accepted=accepted, quarantine=quarantine, lake="", at=at)
    return found, compare(found, accepted, THRESHOLDS)


def until(frames: Frames, days: int) -> Frames:
    moment = datetime.combine(FIRST + timedelta(days=days), datetime.min.time(), UTC)
    return {**frames, "interactions": frames["interactions"].filter(pl.col("event_time") < moment)}


@pytest.fixture(scope="module")
def accepted(shop: Frames) -> Accepted:
    """The run of a week before."""
    found, findings = look(until(shop, DAYS - 7), None, days=DAYS - 7)
    assert not [finding for finding in findings if finding.severity is Severity.STOP]
    return accept(found)


def accept(found: Profile) -> Accepted:
    items = found.items.select("item_id", "price", "currency", "category", rows=pl.col("before") + pl.col("now"))
    return Accepted(found.meta, found.volumes, items, found.meta.at, {}, {})


def newest(change: Callable[[pl.DataFrame], pl.DataFrame], days: int = 7) -> Change:
    def apply(frames: Frames) -> Frames:
        moment = datetime.combine(END - timedelta(days=days), datetime.min.time(), UTC)
        fresh, rows = pl.col("event_time") >= moment, frames["interactions"]
        return {**frames, "interactions": pl.concat([rows.filter(~fresh), change(rows.filter(fresh))], how="diagonal")}

    return apply


def times(factor: float, where: pl.Expr) -> Callable[[pl.DataFrame], pl.DataFrame]:
    return lambda rows: rows.with_columns(pl.when(where).then(pl.col("price") * factor).otherwise("price"))


def again(rows: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([rows, rows.with_columns(pl.format("x{}", "event_id").alias("event_id"))])


ALL, ONE = pl.col("price").is_not_null(), pl.col("store_id") == "s2"
FAULTS: dict[str, tuple[Change, str]] = {
    "a store missing": (newest(lambda rows: rows.filter(~ONE)), "silent_store"),
    "prices × 100": (newest(times(100, ALL)), "price_level"),
    "prices ÷ 100": (newest(times(0.01, ALL)), "price_level"),
    "prices × 100 in one store": (newest(times(100, ONE)), "price_level"),
    "prices × 100 for some items": (newest(times(100, pl.col("item_id").is_in(["i1", "i2", "i3"]))), "price_level"),
    "catalogue prices × 100": (
        lambda frames: {**frames, "items": frames["items"].with_columns(pl.col("price") * 100)},
        "catalogue_prices",
    ),
    "half the rows": (newest(lambda rows: rows.sample(fraction=0.5, seed=1)), "volume"),
    "half the rows of three days": (newest(lambda rows: rows.sample(fraction=0.4, seed=1), 3), "volume"),
    "categories lost": (
        lambda frames: {**frames, "items": frames["items"].with_columns(pl.lit(None, pl.String).alias("category"))},
        "missing_values",
    ),
    "no store ids": (
        newest(lambda rows: rows.with_columns(pl.lit(None, pl.String).alias("store_id"))),
        "missing_values",
    ),
    "another time zone": (
        newest(lambda rows: rows.with_columns(pl.col("event_time") - timedelta(hours=6))),
        "clock",
    ),
    "midnight only": (newest(lambda rows: rows.with_columns(pl.col("event_time").dt.truncate("1d"))), "clock"),
    "sent twice with new ids": (newest(again), "duplicates"),
    "everything sent twice": (
        lambda frames: {**frames, "interactions": again(frames["interactions"])},
        "history",
    ),
    "item ids of another form": (
        newest(lambda rows: rows.with_columns(pl.format("0{}", "item_id").alias("item_id"))),
        "strangers",
    ),
    "old days gone": (
        lambda frames: {
            **frames,
            "interactions": frames["interactions"].filter(pl.col("event_time").dt.date() > FIRST + timedelta(days=20)),
        },
        "history",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_stops_for_its_own_reason(shop: Frames, accepted: Accepted, name: str) -> None:
    change, code = FAULTS[name]
    _, findings = look(change(shop), accepted)
    stops = [finding for finding in findings if finding.severity is Severity.STOP]
    assert code in {finding.code for finding in stops}
    assert findings[: len(stops)] == stops


HONEST: dict[str, Change] = {
    "nothing": lambda frames: frames,
    "a store opens": newest(
        lambda rows: pl.concat(
            [
                rows,
                rows.filter(ONE).with_columns(
                    pl.lit("s9").alias("store_id"),
                    *(pl.format("n{}", name).alias(name) for name in ("shopper_id", "event_id")),
                ),
            ]
        ),
        5,
    ),
    "a store is closed for a day": newest(lambda rows: rows.filter(~ONE), 1),
    "a holiday": lambda frames: {
        **frames,
        "interactions": frames["interactions"].filter(pl.col("event_time").dt.date() != END - timedelta(days=3)),
    },
    "a promotion": newest(times(0.7, pl.col("item_id").hash() % 4 == 0)),
    "a busy week": newest(lambda rows: again(rows).with_columns(pl.col("quantity").cum_count().cast(pl.Float64))),
    "summer time": newest(lambda rows: rows.with_columns(pl.col("event_time") + timedelta(hours=1))),
}


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_change_does_not_stop(shop: Frames, accepted: Accepted, name: str) -> None:
    _, findings = look(HONEST[name](shop), accepted)
    assert [finding.sentence for finding in findings if finding.severity is Severity.STOP] == []


def stops(frames: Frames, accepted: Accepted | None) -> set[str]:
    return {finding.code for finding in look(frames, accepted)[1] if finding.severity is Severity.STOP}


def test_the_first_run_is_warned_of_its_own_days_and_stopped_by_its_catalogue(shop: Frames) -> None:
    for name in ("a store missing", "prices × 100", "half the rows"):
        change, code = FAULTS[name]
        assert code in {finding.code for finding in look(change(shop), None)[1] if finding.severity is Severity.WARN}
        assert stops(change(shop), None) == set()
    assert stops(FAULTS["catalogue prices × 100"][0](shop), None) == {"catalogue_prices"}


def test_days_that_were_accepted_stop_no_later_run(shop: Frames) -> None:
    half = FAULTS["half the rows"][0](shop)
    assert stops(half, accept(look(half, None)[0])) == set()


def test_rows_that_others_add_to_accepted_days_do_not_stop(shop: Frames, accepted: Accepted) -> None:
    own = ("shopper_id", "event_id", "basket_id")
    added = shop["interactions"].with_columns(pl.format("n{}", name).alias(name) for name in own)
    found = look({**shop, "interactions": pl.concat([shop["interactions"], added])}, accepted)[1]
    assert "history" in {finding.code for finding in found if finding.severity is Severity.WARN}
    assert "history" not in {finding.code for finding in found if finding.severity is Severity.STOP}


def test_a_table_that_came_once_need_not_come_again(shop: Frames, accepted: Accepted) -> None:
    early = until(shop, DAYS - 7)["interactions"]
    views = early.select(
        "shopper_id", pl.col("item_id").alias("content_id"), pl.lit("like").alias("event_type"), "event_time"
    )
    assert stops({**shop, "content_views": views}, accepted) == set()


def test_a_batch_of_events_from_elsewhere_does_not_stop(shop: Frames, accepted: Accepted) -> None:
    for days, apart in ((2, 300), (9, 300), (9, 1), (200, 1)):  # after the last day of the feed; at how many moments
        moment = datetime.combine(END + timedelta(days=days), datetime.min.time(), UTC)
        batch = pl.DataFrame({"n": range(300)}).select(
            shopper_id=pl.format("p{}", pl.col("n") % 30),
            item_id=pl.format("i{}", pl.col("n") % 15),
            event_type=pl.lit("purchase"),
            event_time=pl.lit(moment).dt.cast_time_unit("us") + pl.duration(seconds=pl.col("n") % apart),
            event_id=pl.format("h{}", "n"),
        )
        both = pl.concat([shop["interactions"], batch], how="diagonal")
        assert stops({**shop, "interactions": both}, accepted) == set()


@pytest.mark.parametrize(("shoppers", "every"), [(5, 2.0), (12, 4.0), (40, 5.0)])
def test_a_small_shop_is_not_stopped_by_chance(shoppers: int, every: float) -> None:
    for seed in range(4):
        random = np.random.default_rng(seed)
        rows = []
        for who in range(shoppers):
            for day in np.cumsum(random.exponential(every, 200)):
                moment = datetime(2026, 1, 5, int(random.integers(8, 20)), tzinfo=UTC) + timedelta(days=int(day))
                visit = random.choice(20, size=int(random.integers(1, 8)), replace=False)
                rows += [
                    (f"p{who}", f"i{i}", "purchase", moment, f"s{who % 2}", float(random.uniform(1, 50))) for i in visit
                ]
        names = ["shopper_id", "item_id", "event_type", "event_time", "store_id", "price"]
        whole = pl.DataFrame(rows, schema=names, orient="row").with_columns(
            pl.col("event_time").dt.cast_time_unit("us")
        )
        items = pl.DataFrame({"item_id": [f"i{n}" for n in range(20)], "category": "A"})
        frames = until({"interactions": whole, "items": items}, DAYS)
        for days in (7, 28):
            assert stops(frames, accept(look(until(frames, DAYS - days), None)[0])) == set()
        dear = look(newest(times(100, ALL))(frames), accept(look(until(frames, DAYS - 7), None)[0]))[1]
        told = [finding.sentence for finding in dear if finding.code == "price_level"]
        spans = re.findall(r"from (\S+) to ([\d-]+)", " ".join(told))
        assert told and spans and all(first < last for first, last in spans)


def test_a_closed_store_that_was_accepted_is_not_told_again_but_the_next_one_is(
    shop: Frames, accepted: Accepted
) -> None:
    gone = until(newest(lambda rows: rows.filter(~ONE), 14)(shop), DAYS)
    told = next(finding for finding in look(gone, accepted)[1] if finding.code == "silent_store")
    assert told.subjects == ("s2",)
    known = Accepted(accepted.meta, accepted.volumes, accepted.items, accepted.at, {}, {"s2": told.since or FIRST})
    assert "silent_store" not in {finding.code for finding in look(gone, known)[1]}
    both = newest(lambda rows: rows.filter(pl.col("store_id") != "s4"))(gone)
    assert next(f for f in look(both, known)[1] if f.code == "silent_store").subjects == ("s4",)


def test_an_accepted_price_change_is_the_new_normal(shop: Frames, accepted: Accepted) -> None:
    dearer = newest(times(2, ALL), 20)(shop)
    assert "price_level" in {finding.code for finding in look(dearer, accepted)[1]}
    since = END - timedelta(days=20)
    known = Accepted(accepted.meta, accepted.volumes, accepted.items, accepted.at, {"price_level": since}, {})
    assert "price_level" not in {finding.code for finding in look(dearer, known)[1]}


def test_a_feed_that_stands_still_warns_and_old_data_does_not(shop: Frames, accepted: Accepted) -> None:
    def told(days: int) -> bool:
        return "stalled" in {finding.code for finding in look(until(shop, DAYS - 7), accepted, days=days)[1]}

    assert not told(DAYS - 7)
    assert not told(DAYS - 7 + 6)  # Sundays are closed: a pause of two days is usual
    assert told(DAYS - 7 + 7)


def test_new_and_vanished_items_and_shifts_are_counted(shop: Frames, accepted: Accepted) -> None:
    moved = newest(lambda rows: rows.with_columns(pl.lit("new").alias("item_id")), 8)
    found, _ = look(moved(shop), accepted)
    told = turnover(found, accepted)
    assert (told.new, told.new_share, told.dropped) == (1, 1.0, 0)
    assert told.vanished == ITEMS
    quiet = {shift.column: shift for shift in shifts(look(shop, accepted)[0])}
    loud = {shift.column: shift for shift in shifts(look(newest(times(3, ALL))(shop), accepted)[0])}
    assert quiet["interactions.price"].psi < THRESHOLDS.psi_note < THRESHOLDS.psi_warn < loud["interactions.price"].psi
    assert (loud["interactions.price"].ks or 0) > 0.3 > (quiet["interactions.price"].ks or 1)


def test_nothing_short_and_strange_shops_have_a_report_without_a_stop(shop: Frames) -> None:
    empty = {name: frame.clear() for name, frame in shop.items()}
    views = {**shop, "interactions": shop["interactions"].with_columns(pl.lit("view").alias("event_type"))}
    bare = {"interactions": until(shop, 20)["interactions"].select("shopper_id", "item_id", "event_type", "event_time")}
    for frames in (empty, until(shop, 3), views, {**bare, "items": shop["items"].clear()}):
        found, findings = look(frames, None)
        assert not [finding for finding in findings if finding.severity is Severity.STOP]
        page = data_page(found, None, findings, THRESHOLDS)
        assert "Findings" in page


def test_the_page_asks_for_nothing_and_names_no_shopper(shop: Frames, accepted: Accepted) -> None:
    found, findings = look(FAULTS["a store missing"][0](shop), accepted)
    page = data_page(found, accepted, findings, THRESHOLDS, flagged={"equal_orders": 12})
    assert "one order again and again on one day" in page
    assert page.index("The data is broken") < page.index("Findings") < page.index("Volumes by day")
    assert "went silent (s2 since" in page
    assert "http" not in page.replace("http-equiv", "")
    assert not [who for who in set(shop["interactions"]["shopper_id"]) if f">{who}<" in page]


def test_rules_are_refused_with_the_key_that_is_wrong(tmp_path: Path) -> None:
    for text, key in (
        (RULES.read_text() + "volume_lower: 1\n", "volume_lower"),
        (RULES.read_text().replace("silent_days: 2", "silent_days: 0"), "silent_days"),
        (RULES.read_text().replace("psi_warn: 0.25\n", ""), "psi_warn"),
    ):
        (tmp_path / "rules.yaml").write_text(text)
        with pytest.raises(UsageError, match=key):
            load_quality_rules(tmp_path / "rules.yaml")
