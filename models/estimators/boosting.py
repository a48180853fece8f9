"""Gradient-boosted trees: the one place that knows LightGBM, imported when a model is trained or read.

Trees are kept as the bytes of LightGBM's own text format in a uint8 array, so that an artifact needs no pickle.
LambdaRank: Burges, "From RankNet to LambdaRank to LambdaMART: an overview", Microsoft Research, 2010.
LightGBM: Ke et al., "LightGBM: a highly efficient gradient boosting decision tree", NeurIPS 2017.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import numpy.typing as npt

from configs.errors import FacingsError
from models.dataset import FloatArray

if TYPE_CHECKING:
    import lightgbm

# Fewer rows are not sampled: a share of one row is none, which LightGBM refuses.
_LEAST_TO_SAMPLE = 100
# Of fewer rows threads cost more than they bring: they meet at each leaf, and on a busy machine wait for each other.
_FEW_ROWS = 200_000
Objective = Literal["lambdarank", "binary", "regression"]


class Boosting:
    """A trained ensemble of trees; `train` and `from_array` make one."""

    def __init__(self, booster: lightgbm.Booster) -> None:
        self._booster = booster

    @classmethod
    def train(
        cls,
        features: npt.NDArray[np.floating],
        labels: npt.NDArray[Any],
        *,
        objective: Objective,
        rounds: int,
        groups: npt.NDArray[np.integer] | None = None,
        parameters: Mapping[str, Any] | None = None,
        weights: npt.NDArray[np.floating] | None = None,
        seed: int = 0,
        threads: int = 0,
    ) -> Self:
        """Train trees; the same rows, parameters and seed give the same model.

        Args:
            features: shape (rows, features); NaN: not known.
            labels: gains for lambdarank (small whole numbers), 0 or 1 for binary, else any number; shape (rows,).
            objective: "lambdarank" ranks within groups, "binary" gives probabilities, "regression" expected labels.
            rounds: number of trees.
            groups: rows of each list, in order, summing to `rows`; only lambdarank needs and uses it.
            parameters: LightGBM's own, over the defaults here.
            weights: of rows, not negative; None: each 1.
            seed: of sampling rows and features.
            threads: 0: as many as the machine has, or one where rows are few; the number does not change the trees.

        Raises:
            FacingsError: there is no row, groups do not add up, or LightGBM is not installed or refuses a parameter.
        """
        lightgbm = _library()
        if not len(features) or (objective == "lambdarank" and (groups is None or int(groups.sum()) != len(features))):
            raise FacingsError(
                f"Trees need rows to learn from, in lists that add up: {len(features)} rows, "
                f"{0 if groups is None else int(groups.sum())} in lists."
            )
        settings = {
            "objective": objective,
            "verbosity": -1,
            "deterministic": True,
            "force_row_wise": True,
            "seed": seed,
            "num_threads": _threads(len(features), threads),
            **dict(parameters or {}),
        }
        if len(features) < _LEAST_TO_SAMPLE:
            settings["bagging_freq"] = 0
        data = lightgbm.Dataset(
            features,
            label=labels,
            weight=weights,
            group=groups if objective == "lambdarank" else None,
            params=settings,
            free_raw_data=True,
        )
        try:
            return cls(lightgbm.train(settings, data, num_boost_round=rounds))
        except lightgbm.basic.LightGBMError as error:
            raise FacingsError(f"LightGBM could not train: {error}; correct the recipe's tree parameters.") from None

    def predict(self, features: npt.NDArray[np.floating], *, threads: int = 0) -> FloatArray:
        """Score rows: a rank score, a probability for binary, an expected label for regression; shape (rows,)."""
        if not len(features):
            return np.zeros(0)
        found: FloatArray = np.asarray(
            self._booster.predict(features, num_threads=_threads(len(features), threads)), dtype=np.float64
        )
        return found

    def gains(self) -> FloatArray:
        """Sum of the gains of the splits on each feature; shape (features,)."""
        found: FloatArray = np.asarray(self._booster.feature_importance(importance_type="gain"), dtype=np.float64)
        return found

    def to_array(self) -> npt.NDArray[np.uint8]:
        """The trees as bytes of LightGBM's text; shape (bytes,)."""
        return np.frombuffer(self._booster.model_to_string(num_iteration=-1).encode(), dtype=np.uint8).copy()

    @classmethod
    def from_array(cls, array: npt.NDArray[np.uint8]) -> Self:
        """Read what `to_array` gave.

        Raises:
            FacingsError: the bytes are damaged, or LightGBM is not installed.
        """
        lightgbm = _library()
        try:
            return cls(lightgbm.Booster(model_str=np.asarray(array, dtype=np.uint8).tobytes().decode()))
        except (lightgbm.basic.LightGBMError, UnicodeDecodeError):
            raise FacingsError("The model's trees are damaged; train again with `facings retrain`.") from None


def _threads(rows: int, asked: int) -> int:
    return 1 if not asked and rows < _FEW_ROWS else asked


def _library() -> Any:
    """LightGBM, or one sentence where it is missing."""
    try:
        import lightgbm
    except (ImportError, OSError) as error:
        raise FacingsError(f"This recommender needs lightgbm, which cannot be loaded: {error}; install it.") from None
    return lightgbm
