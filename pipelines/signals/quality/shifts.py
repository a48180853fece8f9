"""How far distributions moved between the days before and those that are judged, and which items came and went."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict

from configs.quality import QualityRules
from pipelines.signals.quality.findings import CURVE_ROWS, Finding, Severity
from pipelines.signals.quality.profile import Accepted, Profile
from pipelines.signals.quality.statistics import EDGES, Counts, kolmogorov_smirnov, psi, tenths


class Shift(BaseModel):
    """How far one column's distribution moved; `ks` and `chance` are null for names."""

    model_config = ConfigDict(frozen=True)

    column: str
    rows_before: int
    rows_now: int
    psi: float
    ks: float | None
    chance: float | None


def distributions(found: Profile) -> dict[str, tuple[Counts, Counts]]:
    """Counts over the cells of the grid (of the day's hours) before the window and in it, by column."""
    if found.meta.window is None:
        return {}
    hours = found.hours.select(
        pl.lit("hour of day").alias("column"), "day", pl.col("hour").cast(pl.Int32).alias("cell"), "rows"
    )
    numbers = found.numbers.select(pl.format("{}.{}", "table", "column").alias("column"), "day", "cell", "rows")
    is_now = pl.col("day") >= found.meta.window.first
    told = {}
    for (column,), rows in pl.concat([hours, numbers]).group_by("column", maintain_order=True):
        size = 24 if column == "hour of day" else len(EDGES) + 1
        told[str(column)] = (spread_of(rows.filter(~is_now), size), spread_of(rows.filter(is_now), size))
    return told


def shifts(found: Profile) -> list[Shift]:
    """How far the distribution of each watched column moved, the furthest first; columns with rows on both sides."""
    told = []
    for column, (before, now) in distributions(found).items():
        if before.sum() and now.sum():
            distance, chance = kolmogorov_smirnov(before, now)
            told.append(_shift(column, before, now, psi(*tenths(before, now)), distance, chance))
    for (column,), rows in found.values.group_by("column", maintain_order=True):
        before, now = (rows[name].to_numpy().astype(np.float64) for name in ("before", "now"))
        if before.sum() and now.sum() and len(rows) > 1:
            told.append(_shift(str(column), before, now, psi(before, now), None, None))
    return sorted(told, key=lambda shift: -shift.psi)


def _shift(
    column: str, before: Counts, now: Counts, index: float, distance: float | None, chance: float | None
) -> Shift:
    return Shift(
        column=column, rows_before=int(before.sum()), rows_now=int(now.sum()), psi=index, ks=distance, chance=chance
    )


def spread_of(rows: pl.DataFrame, size: int) -> Counts:
    """Counts of the columns cell and rows over all cells from 0 to `size` - 1."""
    counts = np.zeros(size)
    np.add.at(counts, rows["cell"].to_numpy(), rows["rows"].to_numpy())
    return counts


def shifted(shift: Shift, rules: QualityRules) -> Iterator[Finding]:
    """A shift that is worth telling; it never stops a run by itself."""
    distance = shift.ks or 0.0
    if shift.psi < rules.psi_note and distance < rules.ks_note:
        return
    grave = shift.psi >= rules.psi_warn or distance >= rules.ks_warn
    figures = f"PSI {shift.psi:.2f}" + (f", KS {shift.ks:.2f}" if shift.ks is not None else "")
    yield Finding(
        code="distribution_shift",
        severity=Severity.WARN if grave and shift.rows_now >= CURVE_ROWS else Severity.NOTE,
        sentence=f"The distribution of {shift.column} moved ({figures}, {shift.rows_now:,} new rows).",
        advice="look at the plot; a season, a promotion or a new range does this, a changed export as well",
    )


class ItemTurnover(BaseModel):
    """Items that came and went, with their share of the rows."""

    model_config = ConfigDict(frozen=True)

    new: int  # sold in the window, not in the days before
    new_share: float
    vanished: int  # sold in the days before, not in the window
    vanished_share: float
    dropped: int  # in the accepted catalogue, not in this one


def turnover(found: Profile, accepted: Accepted | None) -> ItemTurnover:
    """Count new and vanished items."""
    items = found.items
    new, gone = (
        items.filter(pl.col("before") == 0, pl.col("now") > 0),
        items.filter(pl.col("before") > 0, pl.col("now") == 0),
    )
    dropped = 0 if accepted is None else accepted.items.join(items, on="item_id", how="anti").height
    return ItemTurnover(
        new=new.height,
        new_share=float(new["now"].sum()) / max(float(items["now"].sum()), 1.0),
        vanished=gone.height,
        vanished_share=float(gone["before"].sum()) / max(float(items["before"].sum()), 1.0),
        dropped=dropped,
    )
