"""`movielens-lightfm`: MovieLens 100k under the protocol of LightFM's own documentation.

The protocol: `ua.base` is train, `ua.test` is test (ten ratings of each of 943 users); every rating is a positive,
whatever its stars. LightFM with its default ten components, learning rate .05, ten epochs, identity features only.
Items of the training data are not masked, neither when the train nor when the test part is judged. P@10: of the ten
best of all 1,682 items the share that is in the part, averaged over its users. AUC: the share of (positive, other)
pairs of a user in the right order, equals counting half, averaged over the users of the test part.

Published: BPR .59 / .10 / .86, WARP .61 / .11 / .90 (P@10 train, test, AUC test); computed again over five seeds: BPR
.593 / .100 / .857, WARP .602 / .109 / .901. A single seed lies within some hundredths of these.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import rankdata

from configs.errors import FacingsError, UsageError
from configs.recipe import Recipe
from models import metrics
from models.base import Recommender
from models.dataset import Dataset
from models.registry import create
from pipelines.training.published.table import LISTS, Figure, PublishedTable

K = 10
SETTING = "default"
_COLUMNS = ["shopper_id", "item_id", "rating", "seconds"]
# Loss, and the figures computed again over five seeds.
_RECIPES = {
    "bpr": {"precision_train": 0.593, "precision_test": 0.100, "auc_test": 0.857},
    "warp": {"precision_train": 0.602, "precision_test": 0.109, "auc_test": 0.901},
}
# How far a mean over a few seeds may lie from the published mean.
_NOISE = {"precision_train": 0.02, "precision_test": 0.01, "auc_test": 0.01}


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
        peers: there is no other peer here: the table is LightFM's own.
        progress: told what is being done.

    Raises:
        UsageError: no folder was named.
        FacingsError: the files are not there, or a recipe cannot learn from them.
    """
    del peers
    train, test = read_data(data)
    items = pd.DataFrame({"item_id": sorted({*train["item_id"], *test["item_id"]})})
    as_of = train["event_time"].max() + pd.Timedelta(seconds=1)
    known = Dataset.build(train, items=items, as_of=as_of)
    figures: list[Figure] = []
    lists: list[pd.DataFrame] = []
    built = [
        Recipe(name=loss, recommender="lightfm", config={"loss": loss, "learning_rate": 0.05, "epochs": 10})
        for loss in _RECIPES
    ]
    for recipe in (*built, *recipes):
        values: list[dict[str, float]] = []
        for number in range(seeds):
            progress(f"movielens-lightfm: training {recipe.name}, seed {recipe.seed + number}")
            content, attributes = recipe.data.item_content, recipe.data.shopper_attributes
            dataset = known if not (content or attributes) else Dataset.build(
                train, items=items, as_of=as_of, item_content=content, shopper_attributes=attributes
            )  # fmt: skip
            model = create(recipe.recommender, recipe.config).fit(dataset, seed=recipe.seed + number)
            best = model.recommend(sorted(train["shopper_id"].unique()), K)
            values.append(_measure(model, best, train, test))
            if number == 0:
                lists.append(
                    best.assign(recipe=recipe.name, setting=SETTING, user=best["shopper_id"], item=best["item_id"])
                )
        figures += _figures(recipe.name, {metric: float(np.mean([v[metric] for v in values])) for metric in _NOISE})
    return PublishedTable(
        name="movielens-lightfm",
        title=f"movielens-lightfm: MovieLens 100k, ua split; P@{K} with training items unmasked, AUC over all items",
        figures=tuple(figures),
        notes=(f"{seeds} seed{'s' * (seeds > 1)} a recipe; the published values are means over five.",),
        lists=pd.concat(lists, ignore_index=True)[LISTS],
    )


def _measure(model: Recommender, best: pd.DataFrame, train: pd.DataFrame, test: pd.DataFrame) -> dict[str, float]:
    judged = {"train": train, "test": test}
    shares = {part: metrics.evaluate(best, truth, k=K)["precision"] for part, truth in judged.items()}
    found = {f"precision_{part}": float(share.mean()) for part, share in shares.items()}
    return {**found, "auc_test": auc(model, test)}


def auc(model: Recommender, truth: pd.DataFrame) -> float:
    """Mean over shoppers of the share of (positive, other) item pairs in the right order; equals count half."""
    width = len(model.item_ids)
    ranked = model.recommend(sorted(truth["shopper_id"].unique()), width)
    places = model.item_ids.get_indexer(pd.Index(ranked["item_id"]))
    wanted = truth.groupby("shopper_id")["item_id"].agg(list)
    shares = []
    for shopper, rows in ranked.groupby("shopper_id", sort=False).indices.items():
        scores: npt.NDArray[np.float64] = np.full(width, -np.inf)
        scores[places[rows]] = ranked["score"].to_numpy()[rows]
        positive = np.unique(model.item_ids.get_indexer(pd.Index(wanted[str(shopper)])))
        ranks = rankdata(scores)[positive].sum() - len(positive) * (len(positive) + 1) / 2
        shares.append(ranks / (len(positive) * (width - len(positive))))
    return float(np.mean(shares))


def _figures(name: str, values: dict[str, float]) -> list[Figure]:
    published = _RECIPES.get(name, {})
    return [
        Figure(
            recipe=name, setting=SETTING, metric=metric, ours=value,
            reference=published.get(metric), tolerance=_NOISE[metric],
        )
        for metric, value in values.items()
    ]  # fmt: skip


def _ready(table: pd.DataFrame) -> pd.DataFrame:
    times = pd.to_datetime(table["seconds"], unit="s", utc=True)
    ids = {name: table[name].astype(str) for name in ("shopper_id", "item_id")}
    return table.assign(**ids, event_time=times)[["shopper_id", "item_id", "event_time"]]
