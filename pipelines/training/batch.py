"""Batch lists: the best items for many shoppers at once, from what serves or from what was known at a moment."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import pandas as pd

from configs.clock import Clock
from configs.errors import FacingsError, UsageError
from configs.recipe import Recipe, load_recipe
from configs.settings import Settings
from features.store import FeatureStore
from models.artifact import read_header
from models.base import Recommender
from models.registry import create, load
from pipelines.signals.feature_store.materialise import materialise
from pipelines.signals.lake.lake import Lake
from pipelines.training.dataset import moments, training_dataset
from pipelines.training.plan import DEFAULT_RECIPE
from pipelines.training.promote import Champion, champion
from state.files import write_atomic

Progress = Callable[[str], None]


def read_shoppers(path: Path) -> list[str]:
    """Read the column shopper_id of a CSV or parquet file, as text.

    Raises:
        FacingsError: the file is not there, not readable, or empty.
        UsageError: another extension, or no such column.
    """
    if path.suffix not in {".csv", ".parquet"}:
        raise UsageError(f"{path} must be a .csv or .parquet file with a column shopper_id.")
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False) if path.suffix == ".csv" else pd.read_parquet(path)
    except FileNotFoundError:
        raise FacingsError(f"There is no file {path}.") from None
    except (OSError, ValueError) as error:
        raise FacingsError(f"{path} cannot be read ({' '.join(str(error).split())[:200]}).") from None
    if "shopper_id" not in table.columns:
        raise UsageError(f"{path} has no column shopper_id; it has {', '.join(map(str, table.columns))}.")
    missing = table["shopper_id"].isna() | (table["shopper_id"].astype(str).str.strip() == "")
    if table.empty or missing.any():
        raise FacingsError(f"{path} names no shopper in {int(missing.sum()) or 'any'} row(s); every row needs one.")
    return [str(shopper) for shopper in table["shopper_id"]]


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV or parquet, by the extension, whole or not at all.

    Raises:
        UsageError: another extension.
        FacingsError: the place cannot be written.
    """
    if path.suffix not in {".csv", ".parquet"}:
        raise UsageError(f"{path} must end in .csv or .parquet.")
    buffer = io.BytesIO()
    if path.suffix == ".csv":
        table.to_csv(buffer, index=False)
    else:
        table.to_parquet(buffer, index=False)
    try:
        write_atomic(path, buffer.getvalue())
    except OSError as error:
        raise FacingsError(f"{path} cannot be written ({error.strerror}); choose another place.") from None


def batch_lists(
    settings: Settings,
    shoppers: Sequence[str] | None,
    k: int,
    *,
    new_only: bool,
    as_of: pd.Timestamp | None,
    recipe: Recipe | None = None,
    clock: Clock,
    progress: Progress,
) -> pd.DataFrame:
    """Rank items for shoppers.

    Args:
        settings: names the home.
        shoppers: whom to serve; None: everybody the model knows. Unknown ones are served as cold.
        k: length of the lists.
        new_only: leave out what they bought before.
        as_of: know nothing from this moment on; None: everything that is known.
        recipe: train this one; None: what serves.
        clock: dates features that are computed.
        progress: told what is being done.

    Returns:
        shopper_id, rank (from 1), item_id, score, reason; `attrs["fallbacks"]` counts what was served otherwise.

    Raises:
        FacingsError: nothing serves yet, or nothing is known before `as_of`.
        UsageError: k is out of range, or a shopper is named twice.
    """
    lake = Lake(settings.paths)
    serving = champion(settings)
    if recipe is not None:
        known = as_of if as_of is not None else moments(lake, recipe.split).end
        progress(f"Training {recipe.name} on what was known before {known.isoformat()}")
        model = _trained(settings, lake, recipe, known, clock, progress)
    elif as_of is None:
        if serving is None:
            raise FacingsError("Nothing is published yet; run `facings retrain` first.")
        model = load(serving.serving)
    else:
        model = _model_of(settings, lake, serving, as_of, clock, progress)
    asked = list(model.shopper_ids) if shoppers is None else list(shoppers)
    return model.recommend(asked, k, new_only=new_only, attributes=lake.read("shoppers"))


def _model_of(
    settings: Settings, lake: Lake, serving: Champion | None, as_of: pd.Timestamp, clock: Clock, progress: Progress
) -> Recommender:
    """An artifact that knows exactly what was known at `as_of`, or the served recipe trained on that."""
    for folder in (serving.evaluation, serving.serving) if serving else ():
        if pd.Timestamp(read_header(folder)["as_of"]) == as_of:
            return load(folder)
    recipe = serving.recipe if serving else load_recipe(DEFAULT_RECIPE)
    progress(f"Training {recipe.name} on what was known before {as_of.isoformat()}")
    return _trained(settings, lake, recipe, as_of, clock, progress)


def _trained(
    settings: Settings, lake: Lake, recipe: Recipe, as_of: pd.Timestamp, clock: Clock, progress: Progress
) -> Recommender:
    if not recipe.data.shopper_features:
        dataset = training_dataset(settings, lake, recipe, as_of)
    else:
        newest = moments(lake, recipe.split).end  # stays the one online
        materialise(settings, lake, as_of=[as_of, newest], clock=clock, progress=progress)
        with closing(FeatureStore(settings, clock=clock)) as store:
            dataset = training_dataset(settings, lake, recipe, as_of, store)
    return create(recipe.recommender, recipe.config).fit(dataset, seed=recipe.seed)
