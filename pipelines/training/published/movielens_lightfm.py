"""`movielens-lightfm`: MovieLens 100k under the protocol of LightFM's own documentation.

The protocol: `ua.base` is train, `ua.test` is test (ten ratings of each of 943 users); every rating is a positive,
whatever its stars. LightFM with its default ten components, learning rate .05, ten epochs, identity features only.
Items of the training data are not masked, neither when the train nor when the test part is judged. P@10: of the ten
best of all 1,682 items the share that is in the part, averaged over its users. AUC: the share of (positive, other)
pairs of a user in the right order, averaged over the users of the test part.

Published: BPR .59 / .10 / .86, WARP .61 / .11 / .90 (P@10 train, test, AUC test); computed again over five seeds: BPR
.593 / .100 / .857, WARP .602 / .109 / .901. Ours match when the difference of the two means lies within two of its
standard errors; the spread of a single seed was measured over ten seeds of ours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from configs.errors import FacingsError, UsageError
from configs.recipe import Recipe
from models import metrics
from models.base import Recommender
from models.dataset import Dataset
from models.registry import create
from pipelines.training.published.table import LISTS, Figure, PublishedTable, distinct_names

K = 10
SETTING = "default"
_COLUMNS = ["shopper_id", "item_id", "rating", "seconds"]
_MEASURED = ("precision_train", "precision_test", "auc_test")
# Loss: the means over five seeds, and the standard deviation of one seed (ours, ten seeds).
_PUBLISHED = {"bpr": (0.593, 0.100, 0.857), "warp": (0.602, 0.109, 0.901)}
_SPREAD = {"bpr": (0.011, 0.0030, 0.0039), "warp": (0.0071, 0.0025, 0.0013)}
_PUBLISHED_SEEDS = 5


def read_data(data: Path | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read train and test.

    Raises:
        UsageError: no folder was named.
        FacingsError: the folder does not hold ua.base and ua.test.
    """
    if data is None:
        raise UsageError(
            "movielens-lightfm needs MovieLens 100k: give its folder with --data (it holds ua.base and ua.test)."
        )
    try:
        train, test = (pd.read_csv(data / name, sep="\t", names=_COLUMNS) for name in ("ua.base", "ua.test"))
    except (OSError, ValueError) as error:
        why = " ".join(str(error).split())
        raise FacingsError(f"{data} does not hold a readable ua.base and ua.test: {why}.") from None
    return _ready(train), _ready(test)


def run(
    data: Path | None, recipes: Sequence[Recipe], *, seeds: int, peers: bool, progress: Callable[[str], None]
) -> PublishedTable:
    """Train LightFM with both losses, and further recipes beside them.

    Args:
        data: folder of the files.
        recipes: further recipes; content columns they name are not there and are refused.
        seeds: train each with so many seeds; figures are means.
        peers: changes nothing but a note: the table is LightFM's own.
        progress: told what is being done.

    Raises:
        UsageError: no folder was named, or two recipes bear the same name.
        FacingsError: the files are not there, or a recipe cannot learn from them.
    """
    train, test = read_data(data)
    figures: list[Figure] = []
    lists: list[pd.DataFrame] = []
    for recipe in (*_own_recipes(recipes), *recipes):
        dataset = _dataset(train, test, recipe)
        runs: list[list[float]] = []
        for seed in range(recipe.seed, recipe.seed + seeds):
            progress(f"movielens-lightfm: training {recipe.name}, seed {seed}")
            model = create(recipe.recommender, recipe.config).fit(dataset, seed=seed)
            best = model.recommend(list(dataset.shopper_ids), K)
            runs.append(_measure(model, best, train, test))
            if seed == recipe.seed:
                lists.append(best.assign(recipe=recipe.name, user=best["shopper_id"], item=best["item_id"]))
        figures += _figures(recipe.name, np.mean(runs, axis=0).tolist(), seeds)
    notes = [f"{seeds} seed{'s' * (seeds > 1)} a recipe; the published values are means over {_PUBLISHED_SEEDS}."]
    return PublishedTable(
        name="movielens-lightfm",
        title=f"movielens-lightfm: MovieLens 100k, ua split; P@{K} with training items unmasked, AUC over all items",
        figures=tuple(figures),
        notes=(*notes, *(["This table has no peers: it is a library's own."] if peers else [])),
        lists=pd.concat(lists, ignore_index=True).assign(setting=SETTING)[LISTS],
    )


def _own_recipes(others: Sequence[Recipe]) -> list[Recipe]:
    """LightFM with each loss, named by it.

    Raises:
        UsageError: another recipe bears such a name.
    """
    distinct_names(others, _PUBLISHED)
    config = {"components": 10, "learning_rate": 0.05, "epochs": 10}
    return [Recipe(name=loss, recommender="lightfm", config={**config, "loss": loss}) for loss in _PUBLISHED]


def _dataset(train: pd.DataFrame, test: pd.DataFrame, recipe: Recipe) -> Dataset:
    """All items of both parts are ranked; of an item and a user nothing but the id is known."""
    return Dataset.build(
        train,
        items=pd.DataFrame({"item_id": sorted({*train["item_id"], *test["item_id"]})}),
        as_of=train["event_time"].max() + pd.Timedelta(seconds=1),
        item_content=recipe.data.item_content,
        shopper_attributes=(*recipe.data.shopper_attributes, *recipe.data.shopper_features),
    )


def _measure(model: Recommender, best: pd.DataFrame, train: pd.DataFrame, test: pd.DataFrame) -> list[float]:
    """The values of _MEASURED."""
    width = len(model.item_ids)
    whole = model.recommend(sorted(test["shopper_id"].unique()), width)
    shares = [metrics.evaluate(best, truth, k=K)["precision"].mean() for truth in (train, test)]
    return [*map(float, shares), float(metrics.auc(whole, test, n_items=width)["auc"].mean())]


def _figures(name: str, values: Sequence[float], seeds: int) -> list[Figure]:
    error = np.sqrt(1 / seeds + 1 / _PUBLISHED_SEEDS)
    published, spread = _PUBLISHED.get(name, (None,) * 3), _SPREAD.get(name, (0.0,) * 3)
    return [
        Figure(recipe=name, setting=SETTING, metric=metric, ours=ours, reference=reference, tolerance=2 * sd * error)
        for metric, ours, reference, sd in zip(_MEASURED, values, published, spread, strict=True)
    ]


def _ready(table: pd.DataFrame) -> pd.DataFrame:
    times = pd.to_datetime(table["seconds"], unit="s", utc=True)
    ids = {name: table[name].astype(str) for name in ("shopper_id", "item_id")}
    return table.assign(**ids, event_time=times)[["shopper_id", "item_id", "event_time"]]
