"""Train one recipe and keep it as a folder that is either whole or not there."""

from __future__ import annotations

from pathlib import Path

from configs.recipe import Recipe
from models.base import Recommender
from models.dataset import Dataset
from models.registry import create, load
from state.files import build_folder


def fit(recipe: Recipe, dataset: Dataset) -> Recommender:
    """Train the recipe's recommender with its config and seed.

    Raises:
        UsageError: the recipe names an unknown recommender or config key.
        FacingsError: a library it needs is missing, or there is nothing to learn from.
    """
    return create(recipe.recommender, recipe.config).fit(dataset, seed=recipe.seed)


def train_into(folder: Path, recipe: Recipe, dataset: Dataset) -> Recommender:
    """Train into `folder`, which appears in one step; a folder that is there already is read, not trained again.

    What is returned was read back from the folder, so that what is judged is what would serve.
    """
    if not folder.exists():
        build_folder(folder, fit(recipe, dataset).save)
    return load(folder)
