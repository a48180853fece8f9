"""Scores become probabilities: isotonic calibration, and how far probabilities are from what happened.

Zadrozny and Elkan, "Transforming classifier scores into accurate multiclass probability estimates", KDD 2002; between
the blocks as in centred isotonic regression (Oron and Flournoy, Statistics in Biopharmaceutical Research 2017), which
keeps the order of scores within a block.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import isotonic_regression

from configs.errors import FacingsError
from models.artifact import Arrays
from models.dataset import FloatArray, IntArray

# A block of equal probability is given so many outcomes of the mean: a few rows in a row prove no 0 and no 1.
PRIOR_ROWS = 1.0


@dataclass(frozen=True)
class Calibration:
    """A non-decreasing map of scores to probabilities, linear between its knots and flat outside.

    Attributes:
        scores: knots, strictly increasing; shape (knots,).
        chances: probability at each, non-decreasing, above 0 and below 1; shape (knots,).
    """

    scores: FloatArray
    chances: FloatArray

    @classmethod
    def fit(
        cls,
        scores: npt.ArrayLike,
        outcomes: npt.ArrayLike,
        weights: npt.ArrayLike | None = None,
        *,
        prior_rows: float = PRIOR_ROWS,
    ) -> Self:
        """Learn the map from held-out scores: those of rows that the model was trained on are too good.

        Equal scores are one point. Blocks of the isotonic regression are shrunk to the mean outcome by `prior_rows`
        rows of it, so that few rows give a flat map and no probability is 0 or 1, even where all outcomes are equal.

        Args:
            scores: anything in which more is likelier; shape (rows,).
            outcomes: 0 or 1, or shares between; shape (rows,).
            weights: of rows, not negative; None: each 1.
            prior_rows: above 0.

        Raises:
            FacingsError: no row has weight, lengths differ, or values that are not finite or not in range; counted.

        >>> found = Calibration.fit([1.0, 2.0, 3.0, 4.0], [0, 1, 0, 1])
        >>> found.predict([0.0, 2.5, 9.0]).round(2).tolist()
        [0.25, 0.5, 0.75]
        """
        told, happened, counts = _checked(scores, outcomes, weights)
        values, place = np.unique(told, return_inverse=True)
        mass = np.bincount(place, counts)
        rates = np.bincount(place, counts * happened) / mass
        mean = (float(counts @ happened) + 0.5 * prior_rows) / (float(counts.sum()) + prior_rows)
        blocks = isotonic_regression(rates, weights=mass).blocks
        starts = np.asarray(blocks)[:-1]
        rows = np.add.reduceat(mass, starts)
        shrunk = (np.add.reduceat(mass * rates, starts) + prior_rows * mean) / (rows + prior_rows)
        # A small block is shrunk more than the large one before it and may fall below: pooled again.
        chances = isotonic_regression(shrunk, weights=rows + prior_rows).x
        centres = np.clip(np.add.reduceat(mass * values, starts) / rows, values[starts], values[blocks[1:] - 1])
        return cls(centres, np.asarray(chances, np.float64))

    def predict(self, scores: npt.ArrayLike) -> FloatArray:
        """Probabilities of scores; the same shape. A NaN stays one."""
        return np.asarray(np.interp(np.asarray(scores, np.float64), self.scores, self.chances), np.float64)

    def to_arrays(self) -> Arrays:
        """The knots, for an artifact."""
        return {"calibration_scores": self.scores, "calibration_chances": self.chances}

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        """Read what `to_arrays` gave.

        Raises:
            FacingsError: an array is missing or damaged.
        """
        try:
            scores, chances = (np.asarray(arrays[f"calibration_{name}"], np.float64) for name in ("scores", "chances"))
        except (KeyError, ValueError):
            raise FacingsError("The model's calibration is missing; train again with `facings retrain`.") from None
        if not len(scores) or scores.shape != chances.shape or not (np.diff(scores) > 0).all():
            raise FacingsError("The model's calibration is damaged; train again with `facings retrain`.")
        return cls(scores, chances)


def calibration_error(chances: npt.ArrayLike, outcomes: npt.ArrayLike, *, bins: int = 10) -> float:
    """Expected calibration error: mean over rows of |mean probability - share that happened| of the row's bin.

    Bins hold about equally many rows, equal probabilities together (Naeini et al., AAAI 2015; Roelofs et al., AISTATS
    2022, for bins of equal mass).

    Raises:
        FacingsError: as `reliability`.
    """
    table = reliability(chances, outcomes, bins=bins)
    return float(np.average((table["chance"] - table["share"]).abs(), weights=table["rows"]))


def reliability(chances: npt.ArrayLike, outcomes: npt.ArrayLike, *, bins: int = 10) -> pd.DataFrame:
    """What was foretold and what happened, bin by bin.

    Returns:
        rows, chance (mean probability), share (mean outcome); at most `bins` rows, by rising probability.

    Raises:
        FacingsError: no row, lengths differ, or values that are not finite or not in range.
    """
    told, happened, _ = _checked(chances, outcomes, None)
    if told.min() < 0 or told.max() > 1:
        raise FacingsError(f"{int(((told < 0) | (told > 1)).sum())} probabilities are not between 0 and 1.")
    edges = np.unique(np.quantile(told, np.linspace(0, 1, bins + 1)[1:-1], method="inverted_cdf"))
    place: IntArray = np.searchsorted(edges, told, side="left")
    table = pd.DataFrame({"bin": place, "chance": told, "share": happened})
    found = table.groupby("bin").agg(rows=("chance", "size"), chance=("chance", "mean"), share=("share", "mean"))
    return found.reset_index(drop=True)


def _checked(
    scores: npt.ArrayLike, outcomes: npt.ArrayLike, weights: npt.ArrayLike | None
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Rows that have weight, as float64."""
    told, happened = np.asarray(scores, np.float64), np.asarray(outcomes, np.float64)
    counts = np.ones(told.shape) if weights is None else np.asarray(weights, np.float64)
    if told.ndim != 1 or told.shape != happened.shape or told.shape != counts.shape:
        raise FacingsError(f"Calibration got {told.size} scores, {happened.size} outcomes and {counts.size} weights.")
    wrong = ~np.isfinite(told) | ~((happened >= 0) & (happened <= 1)) | ~((counts >= 0) & np.isfinite(counts))
    if wrong.any():
        raise FacingsError(
            f"{int(wrong.sum())} of {len(told)} rows cannot be calibrated: scores and weights must be finite, outcomes "
            "between 0 and 1, weights not negative."
        )
    kept = counts > 0
    if not kept.any():
        raise FacingsError("Calibration needs at least one row; give held-out scores and their outcomes.")
    return told[kept], happened[kept], counts[kept]
