"""A YAML file as a strict model: one sentence for whatever is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from configs.errors import UsageError

Model = TypeVar("Model", bound=BaseModel)


def read_model(model: type[Model], path: Path, *, missing: str) -> Model:
    """Read and check a file.

    Args:
        model: what its content must be.
        path: of the file.
        missing: the sentence where it is not there.

    Raises:
        UsageError: the file is missing or no YAML, or a key is unknown, missing or wrong; the sentence names it.
    """
    try:
        return model.model_validate(yaml.safe_load(path.read_text()))
    except OSError:
        raise UsageError(missing) from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is no text; give a YAML file.") from None
    except yaml.YAMLError as error:
        raise UsageError(f"{path} is not valid YAML: {' '.join(str(error).split())}; correct the file.") from None
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if not key and first["type"] == "value_error":  # what holds of no key alone
            raise UsageError(f"{path}: {first['ctx']['error']}.") from None
        if not key:
            raise UsageError(f"{path} must be a mapping of keys; correct the file.") from None
        raise UsageError(f"{path}: key `{key}`: {first['msg']}; correct or remove it.") from None
