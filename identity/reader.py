"""A photograph or a frame in, described faces out. The only door to OpenCV for the rooms above."""

from __future__ import annotations

from dataclasses import dataclass

import cv2

from identity.detect import Detector, Face, subjects
from identity.embed import Embedder
from identity.images import Picture
from identity.match import QUALITY_FLOOR, Status
from identity.quality import quality
from identity.template import FloatArray


@dataclass(frozen=True)
class Described:
    """A face with its `embedding` (shape (128,), length 1) and its `quality` within [0, 1]."""

    face: Face
    embedding: FloatArray
    quality: float


class FaceReader:
    """Both networks, loaded once (about 0.15 s); not for several threads at a time."""

    def __init__(self, threads: int | None = None) -> None:
        """Load the networks; `threads` bounds OpenCV's threads in this process (None: as OpenCV likes).

        Raises:
            FacingsError: the weights are missing or not those that were examined.
        """
        if threads is not None:
            cv2.setNumThreads(threads)
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
        self._detector = Detector()
        self._embedder = Embedder()

    def faces(self, picture: Picture) -> list[Face]:
        """Find all faces of a frame, the largest first, without describing them."""
        return self._detector.faces(picture)

    def describe(self, picture: Picture, face: Face) -> Described:
        """Embed one face and measure its quality."""
        aligned = self._embedder.align(picture, face)
        return Described(face, self._embedder.embed(aligned), quality(face, aligned))

    def subject(self, picture: Picture) -> Described | Status:
        """Describe the one person a photograph is of, or say why not: no_face, several_faces or low_quality."""
        found = subjects(self._detector.faces(picture), picture)
        if not found:
            return Status.NO_FACE
        if len(found) > 1:
            return Status.SEVERAL_FACES
        described = self.describe(picture, found[0])
        return described if described.quality >= QUALITY_FLOOR else Status.LOW_QUALITY
