"""Templates of faces at rest: one AES-256-GCM file a shopper, whose name and content tell nothing without the key.

Inside, each template is turned by a secret orthogonal matrix (a rotation). Angles, and so cosines, stay what they are;
but a template that leaks is of no use against another vault, and `renew` makes the old ones worthless.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import json
import os
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from configs.errors import FacingsError
from configs.home import Home
from configs.secrets import secret
from identity.template import DIMENSION, MODEL, FloatArray
from state.files import exclusive, sync_folder, write_atomic

_MAGIC = b"FACINGS-FACE-1\n"
_NONCE = 12
_SUFFIX = ".face"


@dataclass(frozen=True)
class Enrolled:
    """What the vault keeps of one shopper. `templates` has the shape (n, 128) and rows of length 1, not rotated."""

    shopper_id: str
    templates: FloatArray
    created: datetime
    stores: tuple[str, ...] = ()  # where the shopper may be recognised; none named: in every store of this home
    greeting: str | None = None  # the name the shopper chose to be greeted by
    model: str = MODEL

    def serves(self, store: str | None) -> bool:
        """Tell whether the shopper may be recognised in `store` (None: asked for the whole home)."""
        return store is None or not self.stores or store in self.stores


@dataclass
class Content:
    """What one whole reading of the vault found."""

    rotation: FloatArray  # (128, 128): turns an embedding into the space of the templates below
    enrolled: list[Enrolled] = field(default_factory=list)  # with rotated templates
    damaged: list[str] = field(default_factory=list)  # one sentence for each file that could not be read


class Vault:
    """The folder `vault` of one home. Its key is the home's secret of the same name."""

    def __init__(self, home: Home) -> None:
        self._folder = home.vault
        key = secret(home, "vault")
        self._cipher = AESGCM(_subkey(key, b"encryption"))
        self._names = _subkey(key, b"names")
        self._rotations = _subkey(key, b"rotation")

    def put(self, enrolled: Enrolled) -> None:
        """Keep a shopper's templates, in place of what was kept; whole or not at all."""
        with self._alone():
            self._write(enrolled, self._salt())
            self._changed()

    def get(self, shopper_id: str) -> Enrolled | None:
        """Return what is kept of a shopper (templates not rotated), or None.

        Raises:
            FacingsError: the file is damaged or was made with another key.
        """
        path = self._path(shopper_id)
        if not path.exists():
            return None
        enrolled, salt = self._read(path)
        return _turned(enrolled, self._matrix(salt).T)

    def remove(self, shopper_id: str) -> int:
        """Erase a shopper's templates, damaged or not; return the number of files erased (0 or 1)."""
        if not self._folder.is_dir():
            return 0
        path = self._path(shopper_id)
        with self._alone():
            found = path.exists()
            path.unlink(missing_ok=True)
            for draft in self._folder.glob(f".draft-{path.name}-*"):
                draft.unlink(missing_ok=True)  # of an enrolment that was cut off
            sync_folder(self._folder)
            self._changed()
        return int(found)

    def read(self) -> Content:
        """Read everything; a damaged file is told in `damaged` and does not stop the others."""
        if not self._folder.is_dir():
            return Content(np.eye(DIMENSION, dtype=np.float32))
        salt = self._salt()
        matrix = self._matrix(salt)
        content = Content(matrix.astype(np.float32))
        for path in sorted(self._folder.glob(f"*{_SUFFIX}")):
            try:
                enrolled, own = self._read(path)
            except FileNotFoundError:
                continue  # forgotten while we read
            except FacingsError as error:
                content.damaged.append(str(error))
                continue
            if own != salt:  # a renewal is under way or was cut off
                enrolled = _turned(enrolled, matrix @ self._matrix(own).T)
            content.enrolled.append(enrolled)
        return content

    def renew(self) -> int:
        """Turn all templates by a new secret rotation; return how many shoppers. Safe to cut off and to run again.

        Raises:
            FacingsError: a file is damaged; those before it are renewed, and all stay usable.
        """
        count = 0
        with self._alone():
            salt = os.urandom(16).hex()
            write_atomic(self._folder / "rotation", salt, mode=0o600)
            for path in sorted(self._folder.glob(f"*{_SUFFIX}")):
                enrolled, own = self._read(path)
                self._write(_turned(enrolled, self._matrix(own).T), salt)
                count += 1
            self._changed()
        return count

    def generation(self) -> tuple[int, str]:
        """A value that differs after any change; costs a stat and a short read (about 20 µs)."""
        try:
            moment = self._folder.stat().st_mtime_ns
            return moment, (self._folder / "generation").read_text()
        except FileNotFoundError:
            return 0, ""

    # ------------------------------------------------------------------ inner workings

    def _alone(self) -> AbstractContextManager[None]:
        """Hold the vault while it is changed; readers need no lock, since each file appears whole."""
        return exclusive(self._folder / ".lock", "change of the vault", wait=True)

    def _changed(self) -> None:
        write_atomic(self._folder / "generation", os.urandom(8).hex(), mode=0o600)

    def _path(self, shopper_id: str) -> Path:
        digest = hmac.new(self._names, shopper_id.encode(), hashlib.sha256).hexdigest()
        return self._folder / f"{digest[:40]}{_SUFFIX}"

    def _salt(self) -> str:
        """The current rotation's salt (hex); made at the first writing, under the vault's lock."""
        path = self._folder / "rotation"
        if not path.exists():
            write_atomic(path, os.urandom(16).hex(), mode=0o600)
        return path.read_text()

    def _matrix(self, salt: str) -> npt.NDArray[np.float64]:
        return _orthogonal(hmac.digest(self._rotations, salt.encode(), "sha256"))

    def _write(self, enrolled: Enrolled, salt: str) -> None:
        """Encrypt for one file name: a file that is renamed to another shopper's no longer opens."""
        path = self._path(enrolled.shopper_id)
        rotated = np.asarray(enrolled.templates @ self._matrix(salt).T, dtype="<f4")
        body = {
            "shopper_id": enrolled.shopper_id,
            "stores": enrolled.stores,
            "greeting": enrolled.greeting,
            "created": enrolled.created.isoformat(),
            "model": enrolled.model,
            "rotation": salt,
            "templates": base64.b64encode(rotated.tobytes()).decode(),
        }
        nonce = os.urandom(_NONCE)
        sealed = self._cipher.encrypt(nonce, json.dumps(body).encode(), _MAGIC + path.name.encode())
        write_atomic(path, _MAGIC + nonce + sealed, mode=0o600)

    def _read(self, path: Path) -> tuple[Enrolled, str]:
        content = path.read_bytes()
        start = len(_MAGIC) + _NONCE
        try:
            if not content.startswith(_MAGIC):
                raise ValueError
            plain = self._cipher.decrypt(content[len(_MAGIC) : start], content[start:], _MAGIC + path.name.encode())
            body = json.loads(plain)
            templates = np.frombuffer(base64.b64decode(body["templates"]), dtype="<f4").reshape(-1, DIMENSION)
            created = datetime.fromisoformat(body["created"])
        except (InvalidTag, ValueError, KeyError, TypeError):
            raise FacingsError(
                f"The template file {path} is damaged or was made with another key; restore it from a backup "
                "(with the secret `vault`), or delete it and enrol the shopper again."
            ) from None
        enrolled = Enrolled(
            str(body["shopper_id"]),
            templates.astype(np.float32),
            created,
            tuple(body["stores"]),
            body["greeting"],
            str(body["model"]),
        )
        return enrolled, str(body["rotation"])


def _turned(enrolled: Enrolled, matrix: npt.NDArray[np.float64]) -> Enrolled:
    """The same shopper with every template (a row) multiplied by `matrix`."""
    return replace(enrolled, templates=np.asarray(enrolled.templates @ matrix.T, dtype=np.float32))


def _subkey(key: bytes, purpose: bytes) -> bytes:
    """One key for each purpose (HKDF-Expand of RFC 5869, one block): none tells anything about another."""
    return hmac.digest(key, b"facings vault " + purpose + b"\x01", "sha256")


@functools.lru_cache(maxsize=4)
def _orthogonal(key: bytes) -> npt.NDArray[np.float64]:
    """A random orthogonal matrix, shape (128, 128), uniform over rotations and reflections (Mezzadri 2007).

    The normal deviates come from SHAKE-256 and Box-Muller, not from numpy's generator, whose stream may change between
    versions: the matrix must stay the same for as long as the templates live.
    """
    half = DIMENSION * DIMENSION // 2
    words = np.frombuffer(hashlib.shake_256(key).digest(half * 16), dtype="<u8")
    uniform = ((words >> np.uint64(11)).astype(np.float64) + 0.5) / 2.0**53
    radius, angle = np.sqrt(-2.0 * np.log(uniform[:half])), 2.0 * np.pi * uniform[half:]
    normal = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)]).reshape(DIMENSION, DIMENSION)
    q, r = np.linalg.qr(normal)
    return np.asarray(q * np.sign(np.diag(r)), dtype=np.float64)
