"""What one retraining run will do, named by its content, so that a killed run is found again and goes on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from importlib.metadata import version as package_version
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict

from configs.home import Home
from configs.recipe import Recipe, load_recipe
from pipelines.training.dataset import Moments
from pipelines.training.promote import Champion

DEFAULT_RECIPE = "ranker"
STAND_IN = "popularity"
BASELINES = (STAND_IN, "personal_frequency")
PLAN_FILE, RESULT_FILE = "plan.json", "result.json"
_ROOT = Path(__file__).resolve().parents[2]
# What shapes a model and its judgement: a change here makes another run, a change of a page or a verb does not.
_SOURCES = ("configs/recipe.py", "features", "models", "pipelines/offers/value", "pipelines/training")


class Role(StrEnum):
    """Why a candidate is in a run."""

    CHALLENGER = "challenger"  # asked for
    REFRESHED = "refreshed"  # the champion's recipe on the newest data
    BASELINE = "baseline"  # shown beside, never published by itself


class Candidate(BaseModel):
    """One recipe of a run; `label` names it in metrics and reports."""

    model_config = ConfigDict(frozen=True)

    label: str
    role: Role
    recipe: Recipe


class Plan(BaseModel):
    """Everything that a run depends on; the key is its content."""

    model_config = ConfigDict(frozen=True)

    key: str
    asked: str  # hash of data, code and the recipes asked for, whatever served then
    data: str  # hash of the data learned from
    code: str  # hash of the sources that shape a model
    at: datetime  # when the run was first begun
    cut: AwareDatetime
    end: AwareDatetime
    champion: str | None
    refresh: bool  # false: the champion was made from this data and code, its own recipe gives nothing new
    rules: Recipe  # its split and gate hold: the champion's where one serves, so that no challenger sets its own bar
    candidates: tuple[Candidate, ...]

    @property
    def needs_features(self) -> bool:
        """Whether a candidate learns from Feast's features at the cut."""
        return any(candidate.recipe.data.shopper_features for candidate in self.candidates)

    def folder(self, home: Home) -> Path:
        """The run's work folder."""
        return home.runs / self.key


def recipes_asked(references: Sequence[str], champion: Champion | None) -> list[Recipe]:
    """Return the recipes to try: those named, or the champion's own, or the default where nothing serves.

    While popularity stands in for want of a better model, the default is tried beside it every time.

    Raises:
        UsageError: a recipe does not exist or is wrong.
    """
    if references:
        return _distinct(load_recipe(reference) for reference in references)
    if champion is None:
        return [load_recipe(DEFAULT_RECIPE)]
    stand_in = model_fingerprint(champion.recipe) == model_fingerprint(load_recipe(STAND_IN))
    return _distinct([champion.recipe, *([load_recipe(DEFAULT_RECIPE)] if stand_in else [])])


def split_rules(asked: Sequence[Recipe], champion: Champion | None) -> Recipe:
    """Return the recipe whose split and gate hold in this run."""
    return champion.recipe if champion else asked[0]


def model_fingerprint(recipe: Recipe) -> str:
    """Hex digest of what makes the model: two recipes that differ in name, gate, split or slate train the same one."""
    parts = recipe.model_dump(mode="json", include={"recommender", "seed", "config", "data"})
    return _digest(parts)


def make_plan(
    asked: Sequence[Recipe], champion: Champion | None, *, data: str, code: str, moments: Moments, at: datetime
) -> Plan:
    """Choose the candidates and name the run by all it depends on."""
    candidates = _candidates(asked, champion)
    content = {
        "data": data,
        "code": code,
        "cut": moments.cut.isoformat(),
        "champion": champion.version if champion else None,
        "rules": split_rules(asked, champion).fingerprint,
        "recipes": [[candidate.role, candidate.recipe.fingerprint] for candidate in candidates],
    }
    return Plan(
        key=_digest(content),
        asked=asked_key(asked, data, code),
        data=data,
        code=code,
        at=at,
        cut=moments.cut.to_pydatetime(),
        end=moments.end.to_pydatetime(),
        champion=champion.version if champion else None,
        refresh=champion is not None and not made_from(champion, candidates[0].recipe, data, code),
        rules=split_rules(asked, champion),
        candidates=tuple(candidates),
    )


def asked_key(asked: Sequence[Recipe], data: str, code: str) -> str:
    """Hex digest of a request: the same data, code and recipes give the same."""
    return _digest({"data": data, "code": code, "recipes": sorted(recipe.fingerprint for recipe in asked)})


def made_from(champion: Champion, recipe: Recipe, data: str, code: str) -> bool:
    """Tell whether the version in force is what this recipe, data and code give."""
    tags = champion.tags
    return (tags.get("fingerprint"), tags.get("data"), tags.get("code")) == (recipe.fingerprint, data, code)


def code_digest() -> str:
    """Hex digest of the sources that shape a model and of the version of this package."""
    files = [_ROOT / source for source in _SOURCES if (_ROOT / source).is_file()]
    for source in _SOURCES:
        files += sorted(file for file in (_ROOT / source).rglob("*.py") if file.parent.name != "published")
    text = hashlib.sha256(package_version("facings").encode())
    for file in files:
        text.update(file.relative_to(_ROOT).as_posix().encode() + b"\0" + file.read_bytes())
    return text.hexdigest()[:16]


def commit() -> str | None:
    """The commit that is checked out where this code lies, read from .git; None where there is none."""
    git = _ROOT / ".git"
    try:
        head = (git / "HEAD").read_text().strip()
        if not head.startswith("ref: "):
            return head
        reference = head.removeprefix("ref: ")
        if (git / reference).is_file():
            return (git / reference).read_text().strip()
        packed = (git / "packed-refs").read_text().splitlines()
    except OSError:
        return None
    return next((line.split()[0] for line in packed if line.endswith(f" {reference}")), None)


def _candidates(asked: Sequence[Recipe], champion: Champion | None) -> list[Candidate]:
    """The champion's recipe first where one serves, then what is asked for, then the baselines not among them."""
    roles: list[tuple[Role, Recipe]] = []
    others = list(asked)
    if champion:
        own = model_fingerprint(champion.recipe)
        same = [recipe for recipe in asked if model_fingerprint(recipe) == own]
        others = [recipe for recipe in asked if model_fingerprint(recipe) != own]
        roles.append((Role.REFRESHED, (same or [champion.recipe])[-1]))
    roles += [(Role.CHALLENGER, recipe) for recipe in others]
    made = {model_fingerprint(recipe) for _, recipe in roles}
    for name in BASELINES:
        baseline = load_recipe(name)
        if model_fingerprint(baseline) not in made:
            roles.append((Role.BASELINE, baseline))
    names = [recipe.name for _, recipe in roles]
    return [
        Candidate(
            label=recipe.name if names.count(recipe.name) == 1 else f"{recipe.name}-{recipe.fingerprint[:6]}",
            role=role,
            recipe=recipe,
        )
        for role, recipe in roles
    ]


def _distinct(recipes: Iterable[Recipe]) -> list[Recipe]:
    found: dict[str, Recipe] = {}
    for recipe in recipes:
        found.setdefault(model_fingerprint(recipe), recipe)
    return list(found.values())


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
