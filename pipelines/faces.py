"""Enrol a shopper's face, load who may be recognised, and say who is on a photograph."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict

from configs.clock import Clock
from configs.errors import FacingsError, UsageError
from configs.home import Home
from configs.settings import Settings
from identity.gallery import Gallery, GallerySource
from identity.match import Decision, Status, decide
from identity.template import FloatArray
from identity.vault import Enrolled, Vault
from state.consent import TEXT_VERSION, Consents
from state.engine import open_engine
from state.files import exclusive

if TYPE_CHECKING:  # OpenCV loads only where a picture is read; the server does without
    from identity.images import Picture
    from identity.reader import Described, FaceReader

# Photographs of one shopper must agree at least so much (cosine); of 1,000 pairs of strangers about 5 do.
AGREEMENT = 0.30
MAX_TEMPLATES = 12
_SAME_PICTURE = 0.999
_MAX_ID = 200
_MAX_GREETING = 40
_REFUSALS = {
    Status.NO_FACE: "shows no face; take it from the front, in even light",
    Status.SEVERAL_FACES: "shows several faces; enrol from a photograph of one person alone",
    Status.LOW_QUALITY: "shows a face too small, blurred, dark or turned away; take a clearer one from the front",
}


class EnrolReport(BaseModel):
    """What an enrolment did."""

    model_config = ConfigDict(frozen=True)

    shopper_id: str
    photographs: int
    templates: int
    stores: tuple[str, ...]
    greeting: str | None
    consent: str


def open_consents(settings: Settings) -> Consents:
    """Open the consent records of the home."""
    return Consents(open_engine(settings.state_uri), settings.paths)


def gallery_source(home: Home, consents: Consents, store: str | None = None) -> GallerySource:
    """Who may be recognised in `store` (None: in the whole home); loads again when the vault changes."""
    vault = Vault(home)
    return GallerySource(lambda: Gallery.load(vault, consents.checker(), store), vault.generation)


def identify(picture: Picture, reader: FaceReader, gallery: Gallery) -> Decision:
    """Say who is on a photograph."""
    described = reader.subject(picture)
    if isinstance(described, Status):
        return Decision(described)
    return decide(gallery, described.embedding, described.quality)


def enrol(
    home: Home,
    consents: Consents,
    reader: FaceReader,
    pictures: Sequence[tuple[str, Picture]],
    *,
    shopper_id: str,
    clock: Clock,
    store: str | None = None,
    greeting: str | None = None,
) -> EnrolReport:
    """Record the shopper's consent and keep templates of their photographs.

    The caller vouches that the shopper agreed. What was enrolled before stays, the newest 12 templates of all are
    kept. Nothing is written unless every photograph is usable, and no template is written before the consent is.

    Args:
        home: where the vault is.
        consents: the consent records.
        reader: the networks.
        pictures: name (for errors) and pixels of each photograph.
        shopper_id: 1 to 200 printable characters; need not be known otherwise.
        clock: tells when.
        store: where the shopper may be recognised; None: in every store of the home. Enrolled again, stores add up.
        greeting: the name the shopper chose to be greeted by; None: as before.

    Raises:
        UsageError: the id, the store or the greeting is empty, too long or not printable.
        FacingsError: a photograph shows no face, several or a poor one, or another person than the others.
    """
    _check_text(shopper_id, "shopper's id", _MAX_ID)
    for text, what, length in ((store, "store", _MAX_ID), (greeting, "greeting", _MAX_GREETING)):
        if text is not None:
            _check_text(text, what, length)
    names = [name for name, _ in pictures]
    new = np.stack([_usable(name, picture, reader).embedding for name, picture in pictures])
    vault = Vault(home)
    with faces_lock(home):
        before = vault.get(shopper_id) if consents.holds(shopper_id) else None
        old = before.templates if before else new[:0]
        _check_agreement(names, new, old)
        templates = _distinct(new, old)[:MAX_TEMPLATES]
        consents.give(shopper_id, at=clock.now())
        enrolled = Enrolled(
            shopper_id=shopper_id,
            templates=templates,
            created=before.created if before else clock.now(),
            stores=_stores(before, store),
            greeting=greeting or (before.greeting if before else None),
        )
        vault.put(enrolled)
    return EnrolReport(
        shopper_id=shopper_id,
        photographs=len(pictures),
        templates=len(templates),
        stores=enrolled.stores,
        greeting=enrolled.greeting,
        consent=TEXT_VERSION,
    )


def faces_lock(home: Home) -> AbstractContextManager[None]:
    """Enrolling and forgetting take turns, so that no template outlives its consent."""
    return exclusive(home.vault / ".people", "enrolment", wait=True)


def _usable(name: str, picture: Picture, reader: FaceReader) -> Described:
    described = reader.subject(picture)
    if isinstance(described, Status):
        raise FacingsError(f"{name} {_REFUSALS[described]}. Nothing was enrolled.")
    return described


def _check_agreement(names: Sequence[str], new: FloatArray, old: FloatArray) -> None:
    """Every photograph must resemble at least one other of the shopper's."""
    everything = np.concatenate([new, old])
    if len(everything) < 2:
        return
    alike = new @ everything.T
    alike[np.arange(len(new)), np.arange(len(new))] = -1.0
    worst = int(np.argmin(alike.max(axis=1)))
    if alike[worst].max() < AGREEMENT:
        others = "the other photographs" if len(new) > 1 else "the photographs enrolled before"
        raise FacingsError(
            f"{names[worst]} does not seem to show the same person as {others}; leave it out or take it again. "
            "Nothing was enrolled."
        )


def _distinct(new: FloatArray, old: FloatArray) -> FloatArray:
    """The newest first, without a second template of the same picture."""
    kept: list[FloatArray] = []
    for template in np.concatenate([new, old]):
        if all(float(template @ other) < _SAME_PICTURE for other in kept):
            kept.append(template)
    return np.stack(kept)


def _stores(before: Enrolled | None, store: str | None) -> tuple[str, ...]:
    """Stores add up; whom every store may recognise stays so."""
    if store is None or (before is not None and not before.stores):
        return ()
    return tuple(sorted({store, *(before.stores if before else ())}))


def _check_text(text: str, what: str, length: int) -> None:
    if not text.strip() or len(text) > length or not text.isprintable():
        raise UsageError(f"The {what} must be 1 to {length} printable characters; correct it.")
