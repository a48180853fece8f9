"""An experiment judged: intervals that hold however often one looks, and whether to stop. Pure.

A shopper is one unit, and counts once: when the time after they first took part, in which what they do counts, is over.
So units come in one after another, independent of each other, and differences of means have a confidence sequence
(`pipelines.training.guard.sequence_radius`): it holds at all numbers of shoppers at once, so an experiment may be
looked at daily and be stopped as soon as its interval leaves zero. A fixed-sample interval looked at daily would find
harm or success in every third experiment in which nothing differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import BaseModel, ConfigDict
from scipy.stats import chisquare, norm

from configs.experiments import HOLDOUT_LAYER, Experiment
from pipelines.training.guard import sequence_radius

UNITS = {
    "variant": pl.String(),  # HOLDOUT: of the permanent holdout
    "profit": pl.Float64(),  # minor units in the window; null: costs are not known
    "redeemed": pl.Float64(),  # whether they redeemed an offer in it, 0 or 1
    "spent": pl.Float64(),  # minor units in it
    "visits": pl.Float64(),  # different baskets, else days with purchases
    "before": pl.Float64(),  # minor units spent in as long a window before they took part
}
"""One row a shopper whose window is over."""
HOLDOUT = HOLDOUT_LAYER
METRICS: Mapping[str, tuple[str, str | None]] = {
    "profit": ("profit", None),
    "redemption": ("redeemed", None),
    "basket": ("spent", "visits"),
}
LEAST_UNITS = 100
"""Shoppers an arm before anything is judged: the intervals hold for means that are nearly normal."""
MISMATCH = 0.005
"""Chance, over all looks, of calling the sizes of the arms wrong where they are right. If they are wrong, what decides
or logs treats the arms differently, and nothing else about them can be believed."""

Values = npt.NDArray[np.float64]
Status = Literal["waiting", "running", "better", "harm", "mismatch"]


class Difference(BaseModel):
    """A variant's mean less another's, with its interval over all looks."""

    model_config = ConfigDict(frozen=True)

    value: float
    low: float
    high: float


class Arm(BaseModel):
    """One variant: its shoppers, the mean of each metric, and the differences to the control and to the holdout."""

    model_config = ConfigDict(frozen=True)

    name: str
    shoppers: int
    means: dict[str, float | None]
    against_control: dict[str, Difference] = {}
    against_holdout: dict[str, Difference] = {}
    status: Status = "running"


class Judged(BaseModel):
    """An experiment: its arms, and whether shares and the time before are alike in them."""

    model_config = ConfigDict(frozen=True)

    name: str
    control: str
    confidence: float
    shoppers: int
    decided_by: str  # the metric by which it is stopped: profit, or what was spent where costs are not known
    mismatch_p: float | None  # of the sizes of the arms; a single look
    before_p: dict[str, float]  # variant → of what was spent before, against the control; a single look
    arms: list[Arm]
    status: Status
    stop: bool
    sentence: str


class _Mean(NamedTuple):
    value: float
    variance: float
    units: int


def judge(name: str, experiment: Experiment, units: pl.DataFrame) -> Judged:
    """Judge an experiment by what is known so far.

    Args:
        name, experiment: which.
        units: columns of UNITS.
    """
    arms = {variant: units.filter(pl.col("variant") == variant) for variant in (*experiment.variants, HOLDOUT)}
    sizes = {variant: part.height for variant, part in arms.items()}
    shares = {variant: one.share for variant, one in experiment.variants.items()}
    decided_by = "basket" if units["profit"].null_count() else "profit"
    total = sum(sizes[variant] for variant in shares)
    mismatch = mismatch_chance([sizes[variant] for variant in shares], list(shares.values())) if total else None
    # The doubt is shared by all comparisons that may stop the experiment.
    level = 1 - (1 - experiment.confidence) / (2 * (len(shares) - 1))

    def against(variant: str, other: str) -> dict[str, Difference]:
        if min(sizes[variant], sizes[other]) < LEAST_UNITS:
            return {}
        found = {}
        for metric in METRICS:
            one, two = _mean(arms[variant], metric), _mean(arms[other], metric)
            if one is not None and two is not None:
                found[metric] = difference(one, two, level, experiment.expected)
        return found

    broken = mismatched([sizes[variant] for variant in shares], list(shares.values()), experiment.expected)
    told = []
    for variant in shares:
        compared = {} if variant == experiment.control else against(variant, experiment.control)
        told.append(
            Arm(
                name=variant,
                shoppers=sizes[variant],
                means=_means(arms[variant]),
                against_control=compared,
                against_holdout=against(variant, HOLDOUT),
                status=_status(variant == experiment.control, compared.get(decided_by), broken=broken),
            )
        )
    if sizes[HOLDOUT]:
        told.append(Arm(name=HOLDOUT, shoppers=sizes[HOLDOUT], means=_means(arms[HOLDOUT])))
    states = {arm.status for arm in told if arm.name not in (experiment.control, HOLDOUT)}
    order: tuple[Status, ...] = ("mismatch", "harm", "better", "running", "waiting")
    status = next(state for state in order if state in states)
    return Judged(
        name=name,
        control=experiment.control,
        confidence=experiment.confidence,
        shoppers=total,
        decided_by=decided_by,
        mismatch_p=mismatch,
        before_p=_before(arms, experiment),
        arms=told,
        status=status,
        stop=status in ("harm", "mismatch"),
        sentence=_sentence(name, status, told, decided_by, mismatch),
    )


def _status(is_control: bool, deciding: Difference | None, *, broken: bool) -> Status:
    """How an arm stands; `deciding` is its difference to the control in the metric that decides."""
    if broken:
        return "mismatch"
    if is_control:
        return "running"
    if deciding is None:
        return "waiting"
    if deciding.high < 0:
        return "harm"
    return "better" if deciding.low > 0 else "running"


def difference(one: _Mean, other: _Mean, level: float, expected: int) -> Difference:
    """The difference of two means with its confidence sequence; `level` is that of each side."""
    units = one.units + other.units
    deviation = sqrt(units * (one.variance / one.units + other.variance / other.units))
    radius = sequence_radius(units, deviation, level, best_at=expected)
    value = one.value - other.value
    return Difference(value=value, low=value - radius, high=value + radius)


def mean_of(values: Values, per: Values | None = None) -> _Mean | None:
    """A mean, or a ratio of means with the variance of its linearised parts; None: nothing to divide by."""
    if len(values) < 2:
        return None
    if per is None:
        return _Mean(float(values.mean()), float(values.var(ddof=1)), len(values))
    middle = float(per.mean())
    if middle <= 0:
        return None
    value = float(values.mean()) / middle
    return _Mean(value, float(((values - value * per) / middle).var(ddof=1)), len(values))


def mismatch_chance(sizes: list[int], shares: list[float]) -> float:
    """Chance of arms so far from their shares (chi-square of the sample ratio), in a single look."""
    expected = np.array(shares) * sum(sizes)
    return float(chisquare(sizes, expected).pvalue)


def mismatched(sizes: list[int], shares: list[float], expected: int) -> bool:
    """Whether the sizes of arms are not by chance what they are, however often one looks."""
    total = sum(sizes)
    if total < LEAST_UNITS:
        return False
    level = 1 - MISMATCH / (2 * len(shares))
    return any(
        abs(size / total - share) > sequence_radius(total, sqrt(share * (1 - share)), level, best_at=expected)
        for size, share in zip(sizes, shares, strict=True)
    )


def _mean(part: pl.DataFrame, metric: str) -> _Mean | None:
    column, per = METRICS[metric]
    if part[column].null_count():
        return None
    return mean_of(part[column].to_numpy(), None if per is None else part[per].to_numpy())


def _means(part: pl.DataFrame) -> dict[str, float | None]:
    found = {metric: _mean(part, metric) for metric in METRICS}
    return {metric: None if one is None else one.value for metric, one in found.items()}


def _before(arms: Mapping[str, pl.DataFrame], experiment: Experiment) -> dict[str, float]:
    """A/A: what was spent before anybody took part must not differ."""
    control = mean_of(arms[experiment.control]["before"].to_numpy())
    found = {}
    for variant in experiment.variants:
        own = mean_of(arms[variant]["before"].to_numpy())
        if variant == experiment.control or own is None or control is None:
            continue
        spread = sqrt(own.variance / own.units + control.variance / control.units)
        if spread > 0:
            found[variant] = float(2 * norm.sf(abs(own.value - control.value) / spread))
    return found


def _sentence(name: str, status: Status, arms: list[Arm], metric: str, mismatch: float | None) -> str:
    which = ", ".join(arm.name for arm in arms if arm.status == status)
    return {
        "mismatch": f"{name}: the arms have not the sizes they should have (p {mismatch or 0:.1g}): what decides or "
        "logs treats them differently, and nothing can be concluded; it is to be stopped",
        "harm": f"{name}: {which} loses in {metric}, beyond chance over all looks; it is to be stopped",
        "better": f"{name}: {which} gains in {metric}, beyond chance over all looks",
        "running": f"{name}: no difference in {metric} beyond chance yet",
        "waiting": f"{name}: fewer than {LEAST_UNITS} shoppers an arm whose time is over",
    }[status]
