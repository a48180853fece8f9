"""Secrets: from the environment, or generated at random on first use and kept with mode 0600. There is no default."""

from __future__ import annotations

import base64
import binascii
import os
import secrets as _random
from pathlib import Path

from configs.errors import UsageError
from configs.home import Home

_LENGTH = 32


def secret(home: Home, name: str) -> bytes:
    """Return the 32-byte secret `name`: FACINGS_SECRET_<NAME> (base64) or the home's own file, made on first use.

    Raises:
        UsageError: the value given is not base64 of 32 bytes, or the file was damaged.
    """
    variable = f"FACINGS_SECRET_{name.upper()}"
    given = os.environ.get(variable)
    if given is not None:
        return _decode(given, f"The environment variable {variable}")
    path = home.secrets / name
    if not path.exists():
        _create(path)
    return _decode(path.read_text(), f"The secret file {path}")


def _decode(text: str, where: str) -> bytes:
    try:
        value = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        value = b""
    if len(value) != _LENGTH:
        raise UsageError(f"{where} must hold base64 of {_LENGTH} bytes; restore it from a backup or give a new one.")
    return value


def _create(path: Path) -> None:
    """Write a new secret; when two processes race, the first one's stays."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{_random.token_hex(4)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(base64.b64encode(_random.token_bytes(_LENGTH)).decode() + "\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
