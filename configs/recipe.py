"""A recipe: one YAML that says everything about one experiment. Unknown keys are refused."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from configs.errors import UsageError

_CONFIGS = Path(__file__).resolve().parent


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DataRecipe(_Part):
    """Which signals and which content the model sees."""

    event_types: tuple[str, ...] = Field(("purchase",), description="interactions that count as positive signals")
    item_content: tuple[str, ...] = Field((), description="columns of items (or attributes) used as content")
    shopper_attributes: tuple[str, ...] = Field((), description="columns of shoppers used as attributes")
    shopper_features: tuple[str, ...] = Field((), description="features of Feast's shopper view used as attributes")


class SplitRecipe(_Part):
    """The global time split used to evaluate."""

    test_days: int = Field(28, ge=1, description="length of the test window at the end of the data, in days")
    k: int = Field(10, ge=1, le=1000, description="length of the evaluated lists")


class GateRecipe(_Part):
    """When a challenger may replace the champion."""

    metric: str = Field("ndcg", description="the metric that decides, at the split's k")
    margin: float = Field(
        0.02, ge=0, lt=1, description="refresh: how much worse is tolerated, as a share of the champion's value"
    )
    confidence: float = Field(0.95, gt=0.5, lt=1, description="one-sided confidence of the paired bootstrap")
    resamples: int = Field(2000, ge=100, description="bootstrap resamples")
    slices: tuple[str, ...] = Field(("cold", "light", "heavy"), description="slices of shoppers that may not get worse")
    slice_margin: float = Field(0.10, ge=0, lt=1, description="tolerated loss within a slice, as a share")
    minimum_shoppers: int = Field(30, ge=2, description="a slice smaller than this is reported, not judged")


class SlateRecipe(_Part):
    """What is published for serving."""

    candidates: int = Field(100, ge=1, le=1000, description="candidates kept for each shopper")


class Recipe(_Part):
    """One experiment, complete in itself."""

    name: str = Field(description="the recipe's name in reports and in MLflow", pattern=r"^[a-z0-9_.-]+$")
    recommender: str = Field(description="file name in models/recommenders/")
    seed: int = Field(0, ge=0)
    config: dict[str, Any] = Field(default_factory=dict, description="the recommender's own config")
    data: DataRecipe = DataRecipe()
    split: SplitRecipe = SplitRecipe()
    gate: GateRecipe = GateRecipe()
    slate: SlateRecipe = SlateRecipe()

    @property
    def fingerprint(self) -> str:
        """Hex digest of the content; two files that say the same have the same."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def load_recipe(reference: str | Path) -> Recipe:
    """Read a recipe from a YAML path or by its name under configs/.

    Raises:
        UsageError: there is no such recipe, it is no YAML, or a key is unknown or wrong; the sentence names it.
    """
    path = _find(str(reference))
    try:
        content = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise UsageError(
            f"Recipe {path} is not valid YAML: {' '.join(str(error).split())}; correct the file."
        ) from None
    if not isinstance(content, dict):
        raise UsageError(f"Recipe {path} must be a mapping with at least `name` and `recommender`.")
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"Recipe {path}: key `{key}`: {first['msg']}; correct or remove it.") from None


def recipe_names() -> list[str]:
    """Return the names of the recipes that ship under configs/recipes/."""
    return sorted(path.stem for path in (_CONFIGS / "recipes").glob("*.yaml"))


def _find(reference: str) -> Path:
    given = Path(reference)
    if given.suffix in {".yaml", ".yml"} and given.is_file():
        return given
    for found in sorted(_CONFIGS.rglob(f"{given.stem if given.suffix in {'.yaml', '.yml'} else reference}.yaml")):
        return found
    raise UsageError(
        f"There is no recipe {reference!r}; give a path of a YAML file or one of: {', '.join(recipe_names())}."
    )
