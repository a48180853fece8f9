"""Who is enrolled, in memory: exact search by cosine. 100,000 templates take about 2 ms, so no index is needed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from identity.template import DIMENSION, MODEL, FloatArray
from identity.vault import Content, Vault


@dataclass(frozen=True)
class Found:
    """The most similar shopper, and how similar the next one is (cosines; 0: there is none)."""

    shopper_id: str | None
    score: float
    runner_up: float

    @property
    def margin(self) -> float:
        """By how much the best is more similar than the runner-up."""
        return self.score - self.runner_up


class Gallery:
    """Templates of the shoppers who may be recognised in one store; immutable, safe to read from several threads."""

    def __init__(self, content: Content, consented: Callable[[str], bool], store: str | None = None) -> None:
        """Take from `content` whom `store` (None: the whole home) may recognise and whose consent is in force."""
        chosen = [
            enrolled
            for enrolled in content.enrolled
            if enrolled.model == MODEL
            and len(enrolled.templates)
            and enrolled.serves(store)
            and consented(enrolled.shopper_id)
        ]
        self.damaged = tuple(content.damaged)
        self._rotation = content.rotation
        self._ids = [enrolled.shopper_id for enrolled in chosen]
        self._greetings = {enrolled.shopper_id: enrolled.greeting for enrolled in chosen}
        counts = np.array([len(enrolled.templates) for enrolled in chosen], dtype=np.int64)
        self._starts: npt.NDArray[np.int64] = np.concatenate([[0], np.cumsum(counts)[:-1]]) if chosen else counts
        rows = [enrolled.templates for enrolled in chosen]
        self._templates: FloatArray = np.concatenate(rows) if rows else np.zeros((0, DIMENSION), np.float32)

    @classmethod
    def load(cls, vault: Vault, consented: Callable[[str], bool], store: str | None = None) -> Gallery:
        """Read the vault; `consented` tells for a shopper's id whether the consent is in force."""
        return cls(vault.read(), consented, store)

    @property
    def shoppers(self) -> int:
        """How many shoppers can be recognised."""
        return len(self._ids)

    @property
    def templates(self) -> int:
        """How many templates an unknown face is compared with: what the threshold depends on."""
        return len(self._templates)

    def greeting(self, shopper_id: str) -> str | None:
        """The name by which the shopper chose to be greeted, if any."""
        return self._greetings.get(shopper_id)

    def search(self, embedding: FloatArray) -> Found:
        """Find the shopper most similar to `embedding`, shape (128,); a shopper counts by the best of the templates.

        A vector shorter than 1 (a mean over frames) gives the mean's cosines in proportion.
        """
        if not self._ids:
            return Found(None, 0.0, 0.0)
        cosines = self._templates @ (self._rotation @ embedding)
        scores = np.maximum.reduceat(cosines, self._starts)
        best = int(np.argmax(scores))
        score = float(scores[best])
        others = np.delete(scores, best)
        return Found(self._ids[best], score, float(others.max()) if len(others) else 0.0)


class GallerySource:
    """The newest gallery: loads again when `generation` differs, and else hands out the one it has."""

    def __init__(self, load: Callable[[], Gallery], generation: Callable[[], Hashable]) -> None:
        self._load = load
        self._generation = generation
        self._lock = threading.Lock()
        self._seen: Hashable = None
        self._gallery: Gallery | None = None

    def current(self) -> Gallery:
        """Return the gallery as of now; a change costs one reading of the vault (about 50 µs a shopper)."""
        with self._lock:
            # The generation is read before the content: a change in between is found the next time.
            generation = self._generation()
            if self._gallery is None or generation != self._seen:
                self._gallery, self._seen = self._load(), generation
            return self._gallery
