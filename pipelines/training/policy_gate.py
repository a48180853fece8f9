"""Whether another policy may take over, judged from what the present one did before anybody is shown anything of it.

A policy (or a model's slates under the present policy) that never served has no lists to measure: what it would have
earned is estimated from logged decisions (`pipelines.offers.evaluation`), and it passes only where these can tell.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite

import numpy as np
import polars as pl

from configs.errors import FacingsError
from configs.recipe import GateRecipe
from pipelines.offers.evaluation.estimators import LEAST_ESS, MEAN_WEIGHT_OFF, Estimate, estimate
from pipelines.offers.evaluation.policy_log import MODEL, check_log
from pipelines.training.gate import Check, Kind

LEAST_DECISIONS = 1000
_SLICE, _BINS = "slice", 10
_CALIBRATED = (0.8, 1.25)


def judge_policy(kind: Kind, log: pl.DataFrame, rules: GateRecipe) -> list[Check]:
    """Check a challenger by a log of the champion's decisions.

    Args:
        kind: replacement: what it earns more has a lower bound above 0; refresh: one that is not below the margin.
        log: columns of `policy_log.NEEDED`, MODEL where there is a reward model, and `slice` where parts are judged
            apart.
        rules: margin, confidence, slices' margin.
    """
    try:
        checked = check_log(log)
    except FacingsError as error:
        return [Check.no("logged decisions", str(error).rstrip("."))]
    decisions = checked["decision_id"].n_unique()
    if decisions < LEAST_DECISIONS:
        return [Check.no("logged decisions", f"{decisions:,} decisions; fewer than {LEAST_DECISIONS:,} cannot tell")]
    found = estimate(checked, confidence=2 * rules.confidence - 1)  # of a two-sided interval each bound is one-sided
    share = found.ess / found.n
    checks = [
        Check.yes("logged decisions", f"{decisions:,} decisions with {found.n:,} slots"),
        Check.of(
            "effective sample size",
            share >= LEAST_ESS,
            f"{found.ess:,.0f} of {found.n:,} slots ({share:.1%}); at least {LEAST_ESS:.0%}",
        ),
        Check.of(
            "mean weight",
            abs(found.mean_weight - 1) <= MEAN_WEIGHT_OFF,
            f"{found.mean_weight:.3f}; 1 ± {MEAN_WEIGHT_OFF:g}, else propensities or target probabilities are wrong",
        ),
        _value(kind, found.gains, found.logged, rules),
    ]
    if MODEL[0] in checked.columns:
        checks.append(_calibration(checked))
    return [*checks, *_parts(checked, log, rules)]


def judge_model(log: pl.DataFrame, rules: GateRecipe) -> list[Check]:
    """Check a model's slates by a log of the champion's decisions, beside all that is measured of it.

    It has other evidence, and most logs are too short to bound what a model that shows other goods would have earned:
    what they cannot tell is not judged. It is refused where the whole interval lies below the margin. (A small loss
    that is sure does not refuse: a model fit before the cut is tried with odds learned from what the other one showed.)

    Args:
        log: as for `judge_policy`; `slice` parts it.
        rules: margin, confidence, slices' margin.
    """
    checked = check_log(log)
    found = estimate(checked, confidence=2 * rules.confidence - 1)
    told = (
        f"{checked['decision_id'].n_unique():,} decisions, effective {found.ess / found.n:.1%} of {found.n:,} slots, "
    )
    told += f"mean weight {found.mean_weight:.3f}"
    if not found.trusted:
        asked = f"at least {LEAST_ESS:.0%} and 1 ± {MEAN_WEIGHT_OFF:g} are needed"
        return [Check.unjudged("logged decisions", f"{told}; {asked} to tell")]
    name, gain = _best(found.gains)
    if gain is None:
        return [Check.unjudged("logged decisions", f"{told}; nothing that it would show was logged")]
    least = -rules.margin * abs(found.logged.value)
    told += (
        f"; {gain.value:+.4g} a slot beside {found.logged.value:.4g} ({name}), from {gain.low:+.4g} to {gain.high:+.4g}"
    )
    if gain.low < least <= gain.high:
        checks = [Check.unjudged("logged decisions", f"{told}; too wide to tell a loss of {rules.margin:.0%}")]
    else:
        checks = [Check.of("logged decisions", gain.low >= least, f"{told}, must reach {least:+.4g}")]
    return [*checks, *_parts(checked, log, rules)]


def _best(gains: Mapping[str, Estimate | None]) -> tuple[str, Estimate | None]:
    """Doubly robust where there is a model of the reward, else self-normalised."""
    return next(((name, gains[name]) for name in ("dr", "snips") if gains.get(name) is not None), ("snips", None))


def _value(kind: Kind, gains: Mapping[str, Estimate | None], logged: Estimate, rules: GateRecipe) -> Check:
    name, gain = _best(gains)
    if gain is None:
        return Check.no("value", "nothing that the target would ever do was logged")
    least = 0.0 if kind is Kind.REPLACEMENT else -rules.margin * abs(logged.value)
    held = gain.low > least if kind is Kind.REPLACEMENT else gain.low >= least
    sentence = (
        f"{gain.value:+.4g} a slot more than the {logged.value:.4g} that were earned ({name}), lower bound "
        f"{gain.low:+.4g} ({rules.confidence:.0%}), must {'be above 0' if kind is Kind.REPLACEMENT else 'reach'}"
        f"{'' if kind is Kind.REPLACEMENT else f' {least:+.4g}'}"
    )
    return Check.of("value", held, sentence)


def _parts(checked: pl.DataFrame, log: pl.DataFrame, rules: GateRecipe) -> list[Check]:
    if _SLICE not in log.columns:
        return []
    sliced = checked.with_columns(log[_SLICE].cast(pl.String).fill_null("unknown"))
    parts = {str(name): part for (name,), part in sliced.partition_by(_SLICE, as_dict=True).items()}
    return [_part(name, parts[name], rules) for name in sorted(parts)]


def _part(name: str, part: pl.DataFrame, rules: GateRecipe) -> Check:
    """A slice refuses when its loss is large and no accident, as in `gate`."""
    label, found = f"value of {name}", estimate(part.drop(_SLICE), confidence=2 * rules.confidence - 1)
    which, gain = _best(found.gains)
    if part["decision_id"].n_unique() < rules.minimum_shoppers or gain is None or not isfinite(gain.high):
        return Check.unjudged(label, f"{part['decision_id'].n_unique():,} decisions cannot tell")
    lost = gain.value < -rules.slice_margin * abs(found.logged.value) and gain.high < 0
    sentence = (
        f"{gain.value:+.4g} a slot beside {found.logged.value:.4g} ({which}), upper bound {gain.high:+.4g} "
        f"({rules.confidence:.0%}), margin {rules.slice_margin:.0%}"
    )
    return Check.of(label, not lost, sentence)


def _calibration(log: pl.DataFrame) -> Check:
    """Whether what the reward model promises is what came, over all and between its timid and its bold promises.

    The slope of the reward on the promise, by tenths of the promise (Cox, 1958): below 1 the model exaggerates, and an
    engine that ranks by it burns discounts on promises. It refuses where slope or sum is off beyond chance.
    """
    promised, came = (log[name].to_numpy().astype(np.float64) for name in (MODEL[0], "reward"))
    order = np.argsort(promised, kind="stable")
    bins = [part for part in np.array_split(order, _BINS) if len(part)]
    x, y = (np.array([values[part].mean() for part in bins]) for values in (promised, came))
    noise = np.array([came[part].var() / len(part) for part in bins])
    spread = float(((x - x.mean()) ** 2).sum())
    low, high = _CALIBRATED
    total, error = float(y.mean()), float(np.sqrt(noise.mean() / len(bins)))
    sentence = f"the reward model promised {x.mean():.4g} a slot and {total:.4g} came"
    wrong = total + 2 * error < low * x.mean() or total - 2 * error > high * x.mean()
    if spread > 0:
        slope = float(((x - x.mean()) * (y - total)).sum()) / spread
        doubt = float(np.sqrt((((x - x.mean()) / spread) ** 2 * noise).sum()))
        sentence += f", of a unit promised more {slope:.2f} ± {2 * doubt:.2f} came"
        wrong = wrong or slope + 2 * doubt < low
    return Check.of("calibration", not wrong, f"{sentence}; at least {low:g} and at most {high:g} of it, within chance")
