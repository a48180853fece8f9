"""What one comparison is of: recipes beside each other on one split of one home's data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from pydantic import AwareDatetime, BaseModel, ConfigDict

from configs.errors import FacingsError, UsageError
from configs.recipe import Recipe, load_recipe
from configs.settings import Settings
from pipelines.training.candidates import check
from pipelines.training.plan import model_fingerprint
from pipelines.training.promote import champion

CHAMPION = "champion"


class Entrant(BaseModel):
    """One recipe of a comparison; `label` names it on the page."""

    model_config = ConfigDict(frozen=True)

    label: str
    recipe: Recipe


class ComparisonPlan(BaseModel):
    """Everything that the figures depend on; the key is its content."""

    model_config = ConfigDict(frozen=True)

    data: str
    code: str
    cut: AwareDatetime
    end: AwareDatetime
    k: int
    seeds: int
    entrants: tuple[Entrant, ...]

    @property
    def ground(self) -> str:
        """Hex digest of all but the recipes: trained models are shared by comparisons on the same ground."""
        return _digest([self.data, self.code, self.cut.isoformat(), self.end.isoformat(), self.k])

    @property
    def key(self) -> str:
        """Hex digest of the whole."""
        recipes = [[entrant.label, entrant.recipe.fingerprint] for entrant in self.entrants]
        return _digest([self.ground, self.seeds, recipes])

    @property
    def sentence(self) -> str:
        """What was known, what was tested, and on how long lists."""
        return (
            f"Known before {self.cut:%Y-%m-%d %H:%M} UTC, tested up to {self.end:%Y-%m-%d %H:%M} UTC "
            f"on lists of {self.k}; {self.seeds} seed{'s' * (self.seeds > 1)} a recipe."
        )


def entrants(settings: Settings, references: Sequence[str]) -> tuple[Entrant, ...]:
    """Return the recipes to compare; `champion` stands for the recipe that serves.

    Raises:
        UsageError: fewer than two, one that does not exist or is wrong, or two that train the same model.
        FacingsError: the champion is asked for and nothing serves.
    """
    if len(references) < 2:
        raise UsageError("A comparison needs at least two recipes; name another one, for example `popularity`.")
    recipes = [_recipe(settings, reference) for reference in references]
    for recipe in recipes:
        check(recipe)
    seen: dict[str, str] = {}
    for reference, recipe in zip(references, recipes, strict=True):
        model = model_fingerprint(recipe)
        if model in seen:
            raise UsageError(
                f"{seen[model]} and {reference} train the same model (recommender, config, data and seed agree); "
                "leave one out or change it."
            )
        seen[model] = reference
    names = [
        CHAMPION if reference == CHAMPION else recipe.name
        for reference, recipe in zip(references, recipes, strict=True)
    ]
    return tuple(
        Entrant(label=name if names.count(name) == 1 else f"{name}-{recipe.fingerprint[:6]}", recipe=recipe)
        for name, recipe in zip(names, recipes, strict=True)
    )


def _recipe(settings: Settings, reference: str) -> Recipe:
    if reference != CHAMPION:
        return load_recipe(reference)
    serving = champion(settings)
    if serving is None:
        raise FacingsError("Nothing serves yet, so there is no champion to compare with; run `facings retrain` first.")
    return serving.recipe


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
