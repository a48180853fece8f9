"""What a treatment adds: T-, X- and DR-learner for several levels of a treatment, and how good an order by uplift is.

T- and X-learner: Künzel et al., "Metalearners for estimating heterogeneous treatment effects using machine learning",
PNAS 2019. DR-learner: Kennedy, "Towards optimal doubly robust estimation of heterogeneous causal effects", EJS 2023,
with cross-fitted nuisances (Chernozhukov et al., Econometrics Journal 2018).

Levels are 0 (the control: no offer) to k, by rising depth; effects are always against level 0. Estimates mean what they
say where, given the features, the level was as good as random. Nothing in here can check that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from configs.errors import FacingsError
from models.dataset import FloatArray, IntArray
from models.estimators.learners import Learner, Predicts

CLIP = 0.01


@dataclass(frozen=True)
class Experience:
    """Who got which level, and what came of it.

    Attributes:
        features: known before the level was chosen; shape (rows, features). NaN where the learner takes it.
        level: 0 (control) to the number of levels less one, each at least once; shape (rows,).
        outcome: shape (rows,).
        group: rows that are not independent, as those of one shopper, have the same; None: each its own. Groups are
            split and resampled as wholes. Shape (rows,).
    """

    features: FloatArray
    level: IntArray
    outcome: FloatArray
    group: IntArray | None = None
    levels: int = field(init=False)

    def __post_init__(self) -> None:
        """Refuse what no learner could use, with counts."""
        rows = len(self.features)
        group = np.arange(rows) if self.group is None else self.group
        if not rows == len(self.level) == len(self.outcome) == len(group):
            raise FacingsError(
                f"An experience of {rows} rows has {len(self.level)} levels and {len(self.outcome)} outcomes, "
                f"{len(group)} groups."
            )
        if missing := int((~np.isfinite(self.outcome)).sum()):
            raise FacingsError(f"{missing} of {rows} outcomes are no finite numbers; leave those rows out.")
        counts = np.bincount(self.level) if rows and self.level.min() >= 0 else np.zeros(1, np.int64)
        if len(counts) < 2 or not counts.all():
            raise FacingsError(
                f"Uplift needs rows of level 0 and of each level up to the highest; there are {counts.tolist()}."
            )
        object.__setattr__(self, "levels", len(counts))
        object.__setattr__(self, "group", np.unique(group, return_inverse=True)[1])


@dataclass(frozen=True)
class Nuisance:
    """What is expected of each row, from models that did not see the row or others of its group.

    Attributes:
        outcome: under each level; shape (rows, levels).
        propensity: probability of each level, clipped; shape (rows, levels).
        clipped: share of rows whose own level was less likely than the clip: they weigh less than they should.
    """

    outcome: FloatArray
    propensity: FloatArray
    clipped: float


class Uplift:
    """Effects of each level against level 0."""

    def __init__(self, parts: Sequence[tuple[Sequence[Predicts], Sequence[float]]], *, monotone: bool) -> None:
        """Keep trained parts.

        Args:
            parts: for each level above 0 what to predict and to sum, with which factors.
            monotone: effects never fall with the level, and are not below 0.
        """
        self._parts, self._monotone = parts, monotone

    def effects(self, features: FloatArray) -> FloatArray:
        """Expected outcome under each level above 0 less that under level 0; shape (rows, levels - 1)."""
        columns = [
            np.sum([factor * model.predict(features) for model, factor in zip(models, factors, strict=True)], axis=0)
            for models, factors in self._parts
        ]
        found: FloatArray = np.stack(columns, axis=1).astype(np.float64)
        return rising(found) if self._monotone else found


def t_learner(data: Experience, learner: Learner, *, monotone: bool = False) -> Uplift:
    """Two models: what is expected under a level less what is expected under level 0.

    Simple, and right where both are; where the groups are of unlike size the smaller one's error is the effect's.
    """
    control, *others = _of_levels(data, learner, np.arange(len(data.outcome)))
    return Uplift([([model, control], [1.0, -1.0]) for model in others], monotone=monotone)


def x_learner(
    data: Experience,
    learner: Learner,
    effect_learner: Learner,
    *,
    monotone: bool = False,
    share: FloatArray | None = None,
) -> Uplift:
    """Impute each row's effect with the other group's model, then learn effects in both groups and mix them.

    Strong where one group is far smaller than the other, as who is shown an offer often is.

    Args:
        data: who got what.
        learner: of outcomes.
        effect_learner: of effects, which may be of either sign.
        monotone: see `Uplift`.
        share: weight of the effects learned in the control group, a number for each level above 0; None: the level's
            share among itself and the control, so that the larger group's outcome model counts.
    """
    everyone = np.arange(len(data.outcome))
    control, *others = _of_levels(data, learner, everyone)
    untreated = data.level == 0
    parts = []
    for number, model in enumerate(others):
        treated = data.level == number + 1
        gained = data.outcome[treated] - control.predict(data.features[treated])
        missed = model.predict(data.features[untreated]) - data.outcome[untreated]
        in_treated = effect_learner(data.features[treated], gained, None)
        in_control = effect_learner(data.features[untreated], missed, None)
        weight = float(treated.sum() / (treated.sum() + untreated.sum())) if share is None else float(share[number])
        parts.append(([in_control, in_treated], [weight, 1.0 - weight]))
    return Uplift(parts, monotone=monotone)


def dr_learner(
    data: Experience, nuisance: Nuisance, effect_learner: Learner, *, monotone: bool = False
) -> tuple[Uplift, FloatArray]:
    """Regress doubly robust effects of rows on their features.

    Right on average where either the outcome models or the propensities are.

    Returns:
        The effects' models, and the effects of rows (`row_effects`), whose mean is the average effect.
    """
    effects = row_effects(data, nuisance)
    models = [effect_learner(data.features, effects[:, number], None) for number in range(data.levels - 1)]
    return Uplift([([model], [1.0]) for model in models], monotone=monotone), effects


def cross_fit(
    data: Experience,
    learner: Learner,
    propensity: FloatArray | Learner,
    *,
    folds: int = 5,
    clip: float = CLIP,
    seed: int = 0,
) -> Nuisance:
    """What is expected of each row, learned from the other folds; all rows of a group lie in one fold.

    Args:
        data: who got what.
        learner: of outcomes, one model a level.
        propensity: known, shape (rows, levels), rows summing to 1; or a learner of probabilities, one model a level,
            the found ones divided by their sum.
        folds: at least 2.
        clip: propensities below it are set to it; the share of such rows is told.
        seed: of the folds.

    Raises:
        FacingsError: a level has no row outside a fold, or known propensities are no probabilities (counted).
    """
    known = None if callable(propensity) else np.asarray(propensity, np.float64)
    if known is not None:
        _check_propensities(known, data)
    fold = _folds(data, folds, seed)
    outcome, chance = np.empty((len(fold), data.levels)), np.empty((len(fold), data.levels))
    for number in range(int(fold.max()) + 1):
        inside, others = fold == number, np.flatnonzero(fold != number)
        for level, model in enumerate(_of_levels(data, learner, others)):
            outcome[inside, level] = model.predict(data.features[inside])
        if callable(propensity):
            for level in range(data.levels):
                got = (data.level[others] == level).astype(np.float64)
                chance[inside, level] = propensity(data.features[others], got, None).predict(data.features[inside])
    if known is None:
        total = np.maximum(chance.sum(axis=1, keepdims=True), 1e-12)
        known = np.clip(chance / total, 0.0, 1.0)
    own = known[np.arange(len(fold)), data.level]
    return Nuisance(outcome, np.maximum(known, clip), float((own < clip).mean()))


def row_effects(data: Experience, nuisance: Nuisance) -> FloatArray:
    """Doubly robust effect of each level above 0 on each row, unbiased and noisy; shape (rows, levels - 1).

    With expected outcomes of 0 it is the effect by inverse propensity alone.
    """
    weight = np.zeros(nuisance.propensity.shape)
    rows = np.arange(len(data.level))
    weight[rows, data.level] = 1 / nuisance.propensity[rows, data.level]
    told = nuisance.outcome + weight * (data.outcome[:, None] - nuisance.outcome)
    return np.asarray(told[:, 1:] - told[:, :1], np.float64)


def rising(effects: FloatArray) -> FloatArray:
    """The nearest effects that never fall with the level and are not below 0; shape (rows, levels above 0).

    Isotonic regression of each row by its min-max formula; with the control's 0 held fixed it is that, cut at 0.

    >>> rising(np.array([[0.2, 0.4, 0.1], [-1.0, 0.5, 0.6]]))
    array([[0.2 , 0.25, 0.25],
           [0.  , 0.5 , 0.6 ]])
    """
    rows, levels = effects.shape
    sums = np.concatenate([np.zeros((rows, 1)), np.cumsum(effects, axis=1)], axis=1)
    found = np.empty_like(effects)
    for level in range(levels):
        best = np.full(rows, -np.inf)
        for start in range(level + 1):
            ends = np.arange(level, levels)
            means = (sums[:, ends + 1] - sums[:, [start]]) / (ends + 1 - start)
            best = np.maximum(best, means.min(axis=1))
        found[:, level] = best
    return np.maximum(found, 0.0)


def _of_levels(data: Experience, learner: Learner, rows: IntArray) -> list[Predicts]:
    """A model for each level, of some of the rows."""
    chosen = [rows[data.level[rows] == level] for level in range(data.levels)]
    if short := [level for level, mine in enumerate(chosen) if not len(mine)]:
        raise FacingsError(
            f"Level {short[0]} has no row to learn from outside a fold; give more rows of it or fewer folds."
        )
    return [learner(data.features[mine], data.outcome[mine], None) for mine in chosen]


def _folds(data: Experience, folds: int, seed: int) -> IntArray:
    """Fold of each row, of about equally many groups."""
    assert data.group is not None
    groups = int(data.group.max()) + 1
    if not 2 <= folds <= groups:
        raise FacingsError(f"{folds} folds cannot be made of {groups} groups of rows; take 2 to {groups}.")
    shuffled = np.random.default_rng(seed).permutation(groups)
    return np.asarray(shuffled[data.group] % folds, np.int64)


def _check_propensities(known: FloatArray, data: Experience) -> None:
    if known.shape != (len(data.level), data.levels):
        raise FacingsError(
            f"Propensities of {len(data.level)} rows and {data.levels} levels are needed: {known.shape}."
        )
    own = known[np.arange(len(known)), data.level]
    wrong = ~((known >= 0) & (known <= 1)).all(axis=1) | (np.abs(known.sum(axis=1) - 1) > 1e-6) | ~(own > 0)
    if wrong.any():
        raise FacingsError(
            f"{int(wrong.sum())} of {len(known)} rows have propensities that are no probabilities summing to 1, or 0 "
            "for the level they got; give those that the level was drawn with."
        )
