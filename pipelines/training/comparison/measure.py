"""From the lists of a comparison to its figures: means, paired differences, slices, exposure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from models.dataset import BoolArray, FloatArray
from models.metrics.bootstrap import paired_difference
from pipelines.training.comparison.child import Costs
from pipelines.training.comparison.training import Trained
from pipelines.training.evaluate import SLICE_METRICS, Test, measure_lists
from pipelines.training.slices import shopper_slices

# Two-sided 95 %: each bound holds with 97.5 %.
CONFIDENCE = 0.975
METRICS = ("ndcg", "recall", "precision", "map", "mrr", "hit_rate")
PARTS = ("repeat_recall", "repeat_ndcg", "new_recall", "new_ndcg")
ALL = "all"
_DECILES, _CURVE_POINTS = 10, 60


class Line(BaseModel):
    """One metric of one recipe over one set of shoppers, and its difference to the first recipe's (none: it is it)."""

    model_config = ConfigDict(frozen=True)

    recipe: str
    scope: str
    metric: str
    shoppers: int
    mean: float
    difference: float | None = None
    lower: float | None = None
    upper: float | None = None

    @property
    def mark(self) -> str:
        """up or down where the interval leaves out 0, else even."""
        if self.lower is None or self.upper is None or self.lower <= 0 <= self.upper:
            return "even"
        return "up" if self.lower > 0 else "down"


@dataclass(frozen=True)
class Measured:
    """The figures of one recipe.

    Attributes:
        frame: metrics of each shopper, means over seeds; one row each, in the order of the test's shoppers.
        summary: means over shoppers and metrics of the lists as a whole, means over seeds.
        lists: of the first seed.
        costs: means over seeds; memory is the largest.
    """

    frame: pd.DataFrame
    summary: dict[str, float]
    lists: pd.DataFrame
    costs: Costs


def measure_all(trained: dict[str, list[Trained]], test: Test) -> dict[str, Measured]:
    """Measure every recipe's lists on the same test."""
    return {label: _measure(runs, test) for label, runs in trained.items()}


def _measure(runs: Sequence[Trained], test: Test) -> Measured:
    found = [measure_lists(run.lists, test) for run in runs]
    values = sum((frame.drop(columns="shopper_id") for frame, _ in found[1:]), found[0][0].drop(columns="shopper_id"))
    frame = values / len(found)
    frame.insert(0, "shopper_id", found[0][0]["shopper_id"])
    costs = [run.costs.model_dump() for run in runs]
    mean = {name: float(np.mean([cost[name] for cost in costs])) for name in costs[0]}
    most = {name: max(cost[name] for cost in costs) for name in ("before_mb", "peak_mb", "interactions")}
    return Measured(
        frame=frame,
        summary={name: float(np.mean([summary[name] for _, summary in found])) for name in found[0][1]},
        lists=runs[0].lists,
        costs=Costs.model_validate({**mean, **most}),
    )


def compare_lines(measured: dict[str, Measured], test: Test, *, resamples: int, seed: int) -> list[Line]:
    """Compare everything with the first recipe, over all shoppers and over each slice.

    A metric that is defined for nobody of a set (no repeat was bought, no new item) has no line.
    """
    shoppers = test.shoppers
    everybody = np.ones(len(shoppers), dtype=bool)
    sets: list[tuple[str, BoolArray, Sequence[str]]] = [(ALL, everybody, (*METRICS, *PARTS))]
    sets += [
        (name, inside, SLICE_METRICS) for name, inside in shopper_slices(shoppers, test.counts, test.stores).items()
    ]
    lines = []
    for scope, inside, names in sets:
        for metric in names:
            lines += _lines(measured, scope, inside, metric, metric, resamples, seed)
    for name in test.item_slices:
        for metric in SLICE_METRICS:
            lines += _lines(measured, name, everybody, metric, f"{name}_{metric}", resamples, seed)
    return lines


def _lines(
    measured: dict[str, Measured],
    scope: str,
    inside: BoolArray,
    metric: str,
    column: str,
    resamples: int,
    seed: int,
) -> list[Line]:
    first = next(iter(measured.values())).frame[column].to_numpy(np.float64)
    asked = inside & np.isfinite(first)
    if not asked.any():
        return []
    found: list[Line] = []
    for label, own in measured.items():
        values: FloatArray = own.frame[column].to_numpy(np.float64)[asked]
        line = Line(recipe=label, scope=scope, metric=metric, shoppers=int(asked.sum()), mean=float(values.mean()))
        if found:
            gap = paired_difference(values, first[asked], confidence=CONFIDENCE, resamples=resamples, seed=seed)
            bounds = {"difference": gap.difference, "lower": gap.lower, "upper": gap.upper}
            line = line.model_copy(update=bounds)
        found.append(line)
    return found


def exposure_deciles(lists: pd.DataFrame, popularity: pd.Series, items: pd.Index) -> list[float]:
    """Share of the lists' places that goes to each tenth of the items, the best sold first (of equals, by id).

    Args:
        lists: item_id, one row a place.
        popularity: interactions before the cut, indexed by item_id.
        items: what may be recommended.
    """
    sold = popularity.reindex(items.sort_values()).fillna(0).sort_values(ascending=False, kind="stable")
    places = lists["item_id"].value_counts().reindex(sold.index).fillna(0).to_numpy(np.float64)
    shares = [float(part.sum()) for part in np.array_split(places, _DECILES)]
    total = sum(shares)
    return [share / total if total else 0.0 for share in shares]


def concentration(lists: pd.DataFrame, items: int) -> list[tuple[float, float]]:
    """Share of the lists' places that the n most shown items hold, at up to _CURVE_POINTS values of n up to `items`.

    It is the Lorenz curve from its other end, with n in the place of a share, so that a long range can be read.
    """
    shown = np.zeros(items)
    counts = lists["item_id"].value_counts().to_numpy(np.float64)
    shown[: len(counts)] = np.sort(counts)[::-1]
    running = np.cumsum(shown) / max(1.0, counts.sum())
    steps = np.unique(np.geomspace(1, items, min(items, _CURVE_POINTS)).round().astype(int))
    return [(float(step), float(running[step - 1])) for step in steps]
