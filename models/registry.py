"""The registry of recommenders: the key is the file's name, and importing one imports no other's libraries."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from inspect import isclass
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from pydantic import ValidationError

import models.recommenders
from configs.errors import FacingsError, UsageError
from models.artifact import read_header
from models.base import Recommender


def recommender_names() -> list[str]:
    """Names of all recommenders, found by their files."""
    return sorted(
        module.name for module in iter_modules(models.recommenders.__path__) if not module.name.startswith("_")
    )


def recommender_class(name: str) -> type[Recommender]:
    """Import the one recommender of file `name`.

    Raises:
        UsageError: there is no such file.
        FacingsError: the file does not hold exactly one recommender, or a library it needs is missing.
    """
    if name not in recommender_names():
        raise UsageError(f"There is no recommender {name!r}; there are {', '.join(recommender_names())}.")
    try:
        module = import_module(f"models.recommenders.{name}")
    except ImportError as error:
        raise FacingsError(
            f"Recommender {name!r} needs a library that is not installed: {error}; install it."
        ) from None
    own = [
        value
        for value in vars(module).values()
        if isclass(value) and issubclass(value, Recommender) and value.__module__ == module.__name__
    ]
    if len(own) != 1:
        raise FacingsError(f"models/recommenders/{name}.py must hold exactly one Recommender; it holds {len(own)}.")
    return own[0]


def create(name: str, config: Mapping[str, Any] | None = None) -> Recommender:
    """Make an untrained recommender from its name and config.

    Raises:
        UsageError: an unknown name, or a config key that is unknown or wrong.
    """
    chosen = recommender_class(name)
    try:
        return chosen(chosen.Config.model_validate(dict(config or {})))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise UsageError(
            f"Config of recommender {name!r}: key `{key}`: {first['msg']}; correct or remove it."
        ) from None


def load(folder: Path) -> Recommender:
    """Read a trained recommender of any kind.

    Raises:
        FacingsError: the folder holds no model, a damaged one, or one of another format.
    """
    try:
        return recommender_class(read_header(folder)["recommender"]).load(folder)
    except KeyError:
        raise FacingsError(
            f"{folder} was trained by a version that kept other arrays; train again with `facings retrain`."
        ) from None
