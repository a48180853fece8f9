"""The gate: whether a challenger may replace the champion. Pure: metrics of each shopper in, a decision out.

docs/retraining.md states the rules and why they are so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Self

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict
from scipy.stats import wilcoxon

from configs.errors import FacingsError
from configs.recipe import GateRecipe
from models.metrics.bootstrap import paired_difference


class Kind(StrEnum):
    """Which rule judges a challenger."""

    FIRST = "first"  # nothing serves yet, so best-sellers do: its mean not below popularity's by more than the margin
    REFRESH = "refresh"  # the champion's recipe on newer data: not worse than the champion
    REPLACEMENT = "replacement"  # another recipe: better than the champion, and than its recipe refreshed


class Check(BaseModel):
    """One requirement besides the metric: whether it holds, and a sentence with what was found and what is asked."""

    model_config = ConfigDict(frozen=True)

    name: str
    judged: bool
    passed: bool
    sentence: str

    @classmethod
    def of(cls, name: str, passed: bool, sentence: str) -> Self:
        """A check that could be judged."""
        verdict = "holds" if passed else "does not hold"
        return cls(name=name, judged=True, passed=passed, sentence=f"{name}: {sentence}: {verdict}")

    @classmethod
    def yes(cls, name: str, sentence: str) -> Self:
        """A check that holds."""
        return cls.of(name, True, sentence)

    @classmethod
    def no(cls, name: str, sentence: str) -> Self:
        """A check that does not hold."""
        return cls.of(name, False, sentence)

    @classmethod
    def unjudged(cls, name: str, sentence: str) -> Self:
        """A check that this data cannot decide; it refuses nobody, and the page says so."""
        return cls(name=name, judged=False, passed=True, sentence=f"{name}: {sentence}: not judged")


class Comparison(BaseModel):
    """A challenger beside a reference on one set of shoppers; every value is a mean over those shoppers.

    `lower` and `upper` are the one-sided bounds of the difference challenger − reference, each at `confidence`.
    """

    model_config = ConfigDict(frozen=True)

    reference: str
    scope: str  # "all" or a slice's name
    shoppers: int
    mean_challenger: float
    mean_reference: float
    difference: float
    lower: float
    upper: float
    confidence: float
    judged: bool
    passed: bool


class GateDecision(BaseModel):
    """What the gate says of one challenger."""

    model_config = ConfigDict(frozen=True)

    passed: bool
    kind: Kind
    metric: str
    mean_challenger: float
    mean_champion: float  # of the reference that the rule compares with
    difference: float
    interval: tuple[float, float]  # one-sided bounds: lower and upper
    confidence: float
    shoppers: int
    reasons: list[str]  # a sentence for each comparison, then for each check
    comparisons: list[Comparison]
    checks: list[Check] = []

    @property
    def refusals(self) -> list[str]:
        """What did not hold: the rule's kind, a slice's or a check's name."""
        lost = [one for one in self.comparisons if not one.passed]
        scopes = [str(self.kind) if one.scope == "all" else one.scope for one in lost]
        return list(dict.fromkeys([*scopes, *(check.name for check in self.checks if not check.passed)]))


def with_checks(decision: GateDecision, checks: Sequence[Check]) -> GateDecision:
    """The decision with further requirements: all of them must hold."""
    return decision.model_copy(
        update={
            "passed": decision.passed and all(check.passed for check in checks),
            "reasons": [*decision.reasons, *(check.sentence for check in checks)],
            "checks": [*decision.checks, *checks],
        }
    )


def decide(
    kind: Kind,
    challenger: pd.DataFrame,
    references: Mapping[str, pd.DataFrame],
    *,
    slices: pd.Series,
    rules: GateRecipe,
    neighbourhoods: pd.Series | None = None,
    challengers: int = 1,
    seed: int = 0,
) -> GateDecision:
    """Judge one challenger.

    Args:
        kind: the rule.
        challenger: one row a shopper of the test window: shopper_id and the metric's column.
        references: the same for what it is compared with, by name. The first decides by the rule of `kind`; each
            further one is another draw of the same incumbent (the serving champion beside its recipe refreshed), and
            the rule must hold against it as well: to beat one of two may be luck of the training.
        slices: the slice of each shopper, indexed by shopper_id.
        rules: metric, margins, confidence, resamples, slices.
        neighbourhoods: the home store of each shopper where it is known, indexed by shopper_id.
        challengers: how many replacements are tried in this run; each is tested at (1 − confidence) / challengers, so
            that trying many does not let one through by luck (Bonferroni).
        seed: of the bootstrap.

    Raises:
        FacingsError: no shopper to judge by, or the frames are not of the same shoppers.
    """
    frames = {"challenger": challenger, **references}
    values = _aligned(frames, rules.metric)
    first, *further = list(references)
    confidence = rules.confidence
    if kind is Kind.REPLACEMENT:
        confidence = 1 - (1 - confidence) / max(1, challengers)
    main = _compare(values, first, "all", None, rules, confidence, seed)
    comparisons = [main.model_copy(update={"passed": _holds(kind, main, rules)})]
    for name in further:
        beside = _compare(values, name, "all", None, rules, confidence, seed)
        comparisons.append(beside.model_copy(update={"passed": _holds(kind, beside, rules)}))
    comparisons += _slices(values, first, slices, rules, seed)
    comparisons += _item_slices(challenger, references[first], first, rules, seed)
    checks = [] if neighbourhoods is None else [_neighbourhoods(values, first, neighbourhoods, rules)]
    decision = GateDecision(
        passed=all(comparison.passed for comparison in comparisons),
        kind=kind,
        metric=rules.metric,
        mean_challenger=main.mean_challenger,
        mean_champion=main.mean_reference,
        difference=main.difference,
        interval=(main.lower, main.upper),
        confidence=confidence,
        shoppers=main.shoppers,
        reasons=[_sentence(kind, rules, comparison) for comparison in comparisons],
        comparisons=comparisons,
    )
    return with_checks(decision, checks)


def slice_shoppers(shoppers: Sequence[str], counts: pd.Series) -> pd.Series:
    """Name the slice of each shopper by the number of interactions before the cut.

    cold: none; light: up to the median of those who have any; heavy: above it.

    Args:
        shoppers: the shoppers of the test window.
        counts: interactions before the cut, indexed by shopper_id; a shopper not in it has none.
    """
    mine = counts.reindex(pd.Index(shoppers, dtype=object)).fillna(0)
    known = mine[mine > 0]
    median = float(known.median()) if len(known) else 0.0
    names = np.where(mine == 0, "cold", np.where(mine <= median, "light", "heavy"))
    return pd.Series(names, index=mine.index, dtype=object)


def _holds(kind: Kind, main: Comparison, rules: GateRecipe) -> bool:
    """The rule of each kind."""
    if kind is Kind.REPLACEMENT:
        return main.lower > 0
    least = -rules.margin * main.mean_reference
    return (main.difference if kind is Kind.FIRST else main.lower) >= least


def _slices(values: pd.DataFrame, reference: str, slices: pd.Series, rules: GateRecipe, seed: int) -> list[Comparison]:
    """A slice refuses when its loss exceeds the margin and is no accident: the upper bound lies below zero, too."""
    found = []
    of_shopper = slices.reindex(values.index)
    for name in rules.slices:
        inside = (of_shopper == name).to_numpy()
        if not inside.any():
            continue
        found.append(_slice(_compare(values, reference, name, inside, rules, rules.confidence, seed), rules))
    return found


def _slice(part: Comparison, rules: GateRecipe) -> Comparison:
    judged = part.shoppers >= rules.minimum_shoppers
    lost = part.difference < -rules.slice_margin * part.mean_reference and part.upper < 0
    return part.model_copy(update={"judged": judged, "passed": not (judged and lost)})


def _item_slices(
    challenger: pd.DataFrame, reference: pd.DataFrame, name: str, rules: GateRecipe, seed: int
) -> list[Comparison]:
    """Shoppers who bought of a slice of items, judged by those purchases alone: new items, small makers, new makers."""
    found = []
    for column in challenger.columns:
        scope = str(column).removesuffix("_ndcg")
        if not str(column).startswith("item_") or scope == column or column not in reference.columns:
            continue
        pairs = {"challenger": challenger, name: reference}
        values = pd.DataFrame({label: frame.set_index("shopper_id")[column] for label, frame in pairs.items()})
        known = values.sort_index().dropna()
        if len(known):
            found.append(_slice(_compare(known, name, scope, None, rules, rules.confidence, seed), rules))
    return found


def _neighbourhoods(values: pd.DataFrame, reference: str, homes: pd.Series, rules: GateRecipe) -> Check:
    """Whether any neighbourhood loses more than the slice's margin and more than chance explains, however small.

    Each is tested by the signed ranks of its shoppers' differences (Wilcoxon, 1945), which asks no number of shoppers:
    a handful cannot lose by more than chance unless all of them do. Of many tests some look bad by luck, so the levels
    are Holm's (1979).
    """
    of = homes.reindex(values.index)
    names, losses, chances = [], [], []
    for name, part in values.groupby(of, sort=True):
        gaps = (part["challenger"] - part[reference]).to_numpy(np.float64)
        names.append(str(name))
        before = float(part[reference].mean())
        losses.append(float(gaps.mean()) < -rules.slice_margin * before)
        moved = gaps[gaps != 0]
        chances.append(float(wilcoxon(moved, alternative="less").pvalue) if len(moved) else 1.0)
    if len(names) < 2:
        return Check.unjudged("neighbourhoods", "there is but one, or none is known")
    order, level, bad = np.argsort(chances, kind="stable"), 1 - rules.confidence, []
    for rank, at in enumerate(order):
        if chances[at] > level / (len(names) - rank):
            break
        if losses[at]:
            bad.append(f"{names[at]} (p {chances[at]:.1g})")
    asked = f"of {len(names)} none may lose more than {rules.slice_margin:.0%} and more than chance explains (Holm)"
    told = f"{', '.join(bad)} lost" if bad else f"the least sure has p {min(chances):.2g}"
    return Check.of("neighbourhoods", not bad, f"{asked}; {told}")


def _compare(
    values: pd.DataFrame,
    reference: str,
    scope: str,
    inside: np.ndarray[tuple[int], np.dtype[np.bool_]] | None,
    rules: GateRecipe,
    confidence: float,
    seed: int,
) -> Comparison:
    part = values if inside is None else values[inside]
    ours, theirs = part["challenger"].to_numpy(np.float64), part[reference].to_numpy(np.float64)
    bounds = paired_difference(ours, theirs, confidence=confidence, resamples=rules.resamples, seed=seed)
    return Comparison(
        reference=reference,
        scope=scope,
        shoppers=len(part),
        mean_challenger=float(ours.mean()),
        mean_reference=float(theirs.mean()),
        difference=bounds.difference,
        lower=bounds.lower,
        upper=bounds.upper,
        confidence=confidence,
        judged=True,
        passed=True,
    )


def _aligned(frames: Mapping[str, pd.DataFrame], metric: str) -> pd.DataFrame:
    """One row a shopper (index, in the order of ids), one column a candidate."""
    columns = {}
    for name, frame in frames.items():
        if metric not in frame.columns:
            known = ", ".join(column for column in frame.columns if column != "shopper_id")
            raise FacingsError(f"The gate's metric {metric!r} is not measured; the recipe may name one of {known}.")
        columns[name] = frame.set_index("shopper_id")[metric]
    values = pd.DataFrame(columns).sort_index()
    if values.empty:
        raise FacingsError("Nobody bought anything in the test window; ingest newer data or lengthen split.test_days.")
    if values.isna().to_numpy().any():
        raise FacingsError("The candidates were not measured on the same shoppers; run `facings retrain` again.")
    return values


def _sentence(kind: Kind, rules: GateRecipe, comparison: Comparison) -> str:
    """Say what was required, what was found, and whether it passed."""
    found = (
        f"{rules.metric} {comparison.mean_challenger:.4f} against {comparison.mean_reference:.4f} of "
        f"{comparison.reference} over {comparison.shoppers} shoppers, difference {comparison.difference:+.4f}"
    )
    share = f"{comparison.confidence:.1%}".replace(".0%", "%")
    verdict = "holds" if comparison.passed else "does not hold"
    if comparison.scope != "all":
        if not comparison.judged:
            return f"slice {comparison.scope}: {found}; fewer than {rules.minimum_shoppers} shoppers, not judged"
        bound = f"upper bound {comparison.upper:+.4f} ({share}), margin {rules.slice_margin:.0%}"
        return f"slice {comparison.scope}: {found}, {bound}: not worse {verdict}"
    bound = f"{found}, lower bound {comparison.lower:+.4f} ({share})"
    if kind is Kind.REPLACEMENT:
        return f"{kind}: {bound} must be above 0: {verdict}"
    least = -rules.margin * comparison.mean_reference
    if kind is Kind.FIRST:
        return f"{kind}: {found} must reach {least:+.4f}: {verdict}"
    unsure = not comparison.passed and comparison.difference >= least
    why = " (the difference itself is within the margin; more shoppers are needed to be sure)" if unsure else ""
    return f"{kind}: {bound} must reach {least:+.4f}: {verdict}{why}"
