"""Checks of prices: what is paid against what was, and the catalogue against the accepted one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import date

import polars as pl

from configs.quality import QualityRules
from pipelines.signals.quality.findings import SHOWN, Finding, Severity, count_told, more_told, stop_or_warn, when_told
from pipelines.signals.quality.profile import Accepted, Profile


def prices(found: Profile, rules: QualityRules, since: date) -> Iterator[Finding]:
    """What was paid for an item against what is usually paid for it: for the chain by day, and for each store's day."""
    del since  # the usual prices are those after an accepted change already
    window = found.meta.window
    assert window is not None
    priced = found.stores.filter(pl.col("priced") > 0)
    now = priced.filter(pl.col("day") >= window.first)
    yield from _chain_prices(priced, now, window.first, rules)
    past = priced.filter(pl.col("day") < window.first, pl.col("store_id").is_not_null())
    stop = max(math.log(rules.price_stop), _sway(past, rules))
    each = now.filter(pl.col("store_id").is_not_null())
    counts = (pl.col("priced") >= rules.price_rows) & (pl.col("visits") >= rules.price_visits)
    known = pl.concat([_levels(each, "store_id", "day"), _levels(each, "store_id")], how="diagonal")
    off = known.filter(counts, pl.col("level").abs() >= stop)
    stores = off.group_by("store_id").agg(pl.col("level").median(), pl.col("first").min()).sort("store_id")
    if len(stores):
        names = tuple(stores["store_id"])
        levels = ", ".join(
            f"{name} ×{_times(level)}" for name, level in stores.head(SHOWN).select("store_id", "level").rows()
        )
        yield Finding(
            code="price_level",
            severity=Severity.STOP,
            sentence=f"Prices changed level in {count_told(len(names), 'store')}: {levels}{more_told(len(names))}.",
            advice="prices come in another unit or currency: correct the export and send these rows again",
            since=min(stores["first"].to_list()),
            subjects=names,
        )


def _chain_prices(priced: pl.DataFrame, now: pl.DataFrame, first: date, rules: QualityRules) -> Iterator[Finding]:
    past = priced.filter(pl.col("day") < first)
    # The whole window too: a small shop has too few rows a day.
    if now.is_empty():
        return
    whole = _levels(now.with_columns(pl.lit(0).alias("all")), "all")
    days = pl.concat([_levels(now, "day").with_columns(first="day"), whole], how="diagonal").filter(
        pl.col("priced") >= rules.price_rows
    )
    days = days.sort("first").with_columns(pl.col("day").fill_null(now["day"].max()).alias("last"))
    moved = days.filter(pl.col("level").abs() >= max(math.log(rules.price_warn), _sway(_levels(past, "day"), rules)))
    if len(moved):
        level = float(moved["level"].abs().max() or 0.0)  # type: ignore[arg-type]
        sign = moved.filter(pl.col("level").abs() == level)["level"][0]
        # A single day of several may be chance; prices far off on one day are wild ones.
        grave = int((moved["level"].abs() >= math.log(rules.price_stop)).sum()) >= 2
        yield Finding(
            code="price_level",
            severity=stop_or_warn(grave),
            sentence=f"The median item was paid ×{_times(sign)} its usual price {when_told(_span(moved))}.",
            advice="prices come in another unit or currency: correct the export and send these rows again"
            if grave
            else "a large promotion or a price round does this",
            since=moved["first"][0],
        )
    usual = float(past["wild"].sum()) / max(float(past["priced"].sum()), 1.0)
    chance = usual * pl.col("priced") + rules.volume_sigmas * (usual * pl.col("priced")).sqrt()
    wild = days.filter(
        pl.col("wild") >= (usual + rules.wild_share) * pl.col("priced"),
        pl.col("wild") >= SHOWN,
        pl.col("wild") > chance,
    )
    if len(wild):
        share = float(wild["wild"].sum()) / float(wild["priced"].sum())
        yield Finding(
            code="price_level",
            severity=Severity.STOP,
            sentence=f"{share:.1%} of the prices {when_told(_span(wild))} are at least "
            f"{rules.wild_factor:.0f} times their item's usual one, or that part of it (usually {usual:.1%}).",
            advice="some prices come in another unit: correct the export and send these rows again",
            since=wild["first"][0],
        )


def _sway(past: pl.DataFrame, rules: QualityRules) -> float:
    """How far a level moves by itself: prices of a marketplace differ from sale to sale.

    The robust standard deviation of the levels before, those of the few rows of a day or a store's day among them only
    where there are no others, times `volume_sigmas`.
    """
    enough = past.filter(pl.col("priced") >= rules.price_rows)
    levels = (enough if len(enough) >= SHOWN else past)["level"]
    return rules.volume_sigmas * 1.4826 * _median((levels - _median(levels)).abs())


def _span(days: pl.DataFrame) -> list[date]:
    """The first and the last day that they tell of; one where it is the same."""
    return sorted({days["first"].to_list()[0], max(days["last"].to_list())})


def _levels(priced: pl.DataFrame, *by: str) -> pl.DataFrame:
    """Put stores' days together: rows and visits add up, the level is the median of the days' medians, by rows."""
    half = pl.col("priced").sort_by("level").cum_sum() * 2 >= pl.col("priced").sum()
    return priced.group_by(*by).agg(
        pl.col("priced").sum(),
        pl.col("visits").sum(),
        pl.col("wild").sum(),
        pl.col("level").sort_by("level").get(half.arg_max()),
        pl.col("day").min().alias("first"),
    )


def _times(level: float) -> str:
    return f"{math.exp(level):.3g}"


def catalogue(found: Profile, accepted: Accepted | None, rules: QualityRules) -> Iterator[Finding]:
    """Catalogue prices against the accepted ones; without these, against what is paid."""
    advice = (
        "correct the prices of the table items and ingest it again; until then screens show the last accepted prices"
    )
    items = found.items.filter(pl.col("price") > 0)
    if accepted is None:
        both = items.filter(pl.col("usual") > 0)
        ratios = (both["price"] / both["usual"]).log()
        if len(ratios) >= rules.price_rows and abs(_median(ratios)) >= math.log(rules.catalogue_factor):
            factor = _times(_median(ratios))
            sentence = f"The catalogue's prices are ×{factor} what is paid, at the median of {len(ratios):,} items."
            yield Finding(code="catalogue_prices", severity=Severity.STOP, sentence=sentence, advice=advice)
        return
    old = accepted.items.filter(pl.col("price") > 0).select("item_id", pl.col("price").alias("old"))
    both = items.join(old, on="item_id")
    ratios = (both["price"] / both["old"]).log()
    if len(ratios) < rules.price_rows:
        return
    level = _median(ratios)
    wild = float((ratios.abs() >= math.log(rules.wild_factor)).sum()) / len(ratios)
    if abs(level) >= math.log(rules.price_warn):
        sentence = (
            f"The catalogue's prices are ×{_times(level)} the accepted ones, at the median of {len(ratios):,} items."
        )
        grave = abs(level) >= math.log(rules.price_stop)
        yield Finding(code="catalogue_prices", severity=stop_or_warn(grave), sentence=sentence, advice=advice)
    elif wild >= rules.wild_share:
        factor = f"{rules.wild_factor:.0f} times the accepted ones, or that part"
        sentence = f"{wild:.1%} of the catalogue's prices are at least {factor}."
        yield Finding(code="catalogue_prices", severity=Severity.STOP, sentence=sentence, advice=advice)


def _median(values: pl.Series) -> float:
    return float(values.median() or 0.0)  # type: ignore[arg-type]
