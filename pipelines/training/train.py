"""Train one recipe and keep it as a folder that is either whole or not there."""

from __future__ import annotations

from pathlib import Path

from configs.recipe import Recipe
from models.base import Recommender
from models.dataset import Dataset
from models.registry import create, load
from pipelines.training.portrait import Learned
from state.files import build_folder

LEARNED_FILE = "learned.json"


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

    def build(draft: Path) -> None:
        fit(recipe, dataset).save(draft)
        (draft / LEARNED_FILE).write_text(Learned.of(dataset).model_dump_json(indent=1))

    if not folder.exists():
        build_folder(folder, build)
    return load(folder)


def what_it_learned(folder: Path) -> Learned | None:
    """What a trained folder was made of; None: an earlier version did not write it down."""
    path = folder / LEARNED_FILE
    return Learned.model_validate_json(path.read_text()) if path.exists() else None
