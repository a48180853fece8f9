"""A recipe: one YAML that says everything about one experiment. Unknown keys are refused."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

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
    promotions: Literal["none", "past", "planned"] = Field(
        "none", description="advertising that the model may know: none, what had started, or the plan ahead as well"
    )
    contents: bool = Field(False, description="whether the model knows which contents a shopper watched")


class SplitRecipe(_Part):
    """The global time split used to evaluate."""

    test_days: int = Field(28, ge=1, description="length of the test window at the end of the data, in days")
    k: int = Field(10, ge=1, le=1000, description="length of the evaluated lists")


class ChecksRecipe(_Part):
    """What else a challenger must hold besides its metric; each is measured beside what it would take over from."""

    served_margin: float = Field(0.01, ge=0, lt=1, description="by how much the share of shoppers served may fall")
    full_margin: float = Field(0.05, ge=0, lt=1, description="by how much the share of lists that are full may fall")
    stock_margin: float = Field(0.10, ge=0, lt=1, description="by how much the share that is in stock may fall")
    exposure_margin: float = Field(
        0.40, ge=0, lt=1, description="share of the range, of the difference between shoppers, of the places of new "
        "and small makers that may be lost",
    )  # fmt: skip
    maker_rise: float = Field(
        0.10, gt=0, le=1, description="how far a maker's share of places may rise above what it sells and had"
    )
    closed_gap: float = Field(
        0.35, gt=0, le=1, description="how much of what is missing to perfect foresight may be won in one step"
    )
    foreseen: float = Field(0.02, ge=0, le=1, description="by how much the share of shoppers foreseen whole may rise")
    flat: float = Field(0.5, ge=0, le=1, description="share of lists whose scores may all be alike")
    drift: float = Field(0.6, gt=0, description="how far a refresh's scores may move, in standard deviations of them")
    stale_days: float = Field(3.0, gt=0, description="how much older than the data what it learned from may be")
    known_margin: float = Field(0.10, ge=0, lt=1, description="by how much the share of known features may fall")
    slower: float = Field(3.0, ge=1, description="how many times slower it may be than what it would take over from")
    cost: float = Field(
        200.0, gt=0, description="what one shopper may always cost, in scorings of the catalogue by 64 numbers"
    )  # fmt: skip


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
    checks: ChecksRecipe = ChecksRecipe()


class SlateRecipe(_Part):
    """What is published for serving."""

    candidates: int = Field(100, ge=1, le=1000, description="candidates kept for each shopper")


class RangeRecipe(_Part):
    """Where `facings tune` looks for one key of the config: an interval or a list."""

    low: float | None = Field(None, description="lowest value")
    high: float | None = Field(None, description="highest value, included")
    log: bool = Field(False, description="search on a logarithmic scale; low must be above 0")
    step: float | None = Field(None, gt=0, description="distance of two values; 1 for whole numbers")
    choices: tuple[Any, ...] | None = Field(None, description="the values themselves, instead of an interval")

    @model_validator(mode="after")
    def _is_an_interval_or_a_list(self) -> Self:
        if (self.choices is None) == (self.low is None or self.high is None):
            raise ValueError("give either low and high, or choices")
        if self.choices is not None:
            if not self.choices or self.log or self.step or self.low is not None or self.high is not None:
                raise ValueError("choices need at least one value, and neither low, high, log nor step")
            return self
        assert self.low is not None and self.high is not None
        if self.low >= self.high:
            raise ValueError(f"the range is reversed or empty: low {self.low:g} is not below high {self.high:g}")
        if self.log and (self.low <= 0 or self.step):
            raise ValueError("a logarithmic range starts above 0 and takes no step")
        return self

    @property
    def whole(self) -> bool:
        """Whether the interval holds whole numbers."""
        return all(value is None or float(value).is_integer() for value in (self.low, self.high)) and (
            self.step is not None and float(self.step).is_integer()
        )


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
    ranges: dict[str, RangeRecipe] = Field(
        default_factory=dict, description="where `facings tune` searches, by dotted key below `config`"
    )

    @property
    def fingerprint(self) -> str:
        """Hex digest of the content; two files that say the same have the same. Ranges shape no model and are out."""
        text = json.dumps(self.model_dump(mode="json", exclude={"ranges"}), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def load_recipe(reference: str | Path) -> Recipe:
    """Read a recipe from a YAML path or by its name under configs/.

    Raises:
        UsageError: there is no such recipe, it is no YAML, or a key is unknown or wrong; the sentence names it.
    """
    path = _find(str(reference))
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"Recipe {path} cannot be read as text: {error}; give a YAML file.") from None
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
    """A path where the reference looks like one, else the name of a recipe that ships."""
    given = Path(reference)
    if given.suffix in {".yaml", ".yml"} or len(given.parts) != 1:
        if given.is_file():
            return given
        raise UsageError(f"There is no recipe file {reference}; give a path of a YAML file or a recipe's name.")
    for found in sorted(_CONFIGS.rglob("*.yaml")):
        if found.stem == reference:
            return found
    raise UsageError(
        f"There is no recipe {reference!r}; give a path of a YAML file or one of: {', '.join(recipe_names())}."
    )
