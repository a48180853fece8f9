"""Describe a face by 128 numbers: SFace through OpenCV, after turning and scaling it to a standard position."""

from __future__ import annotations

import cv2
import numpy as np

from identity.detect import Face
from identity.images import Picture
from identity.template import FloatArray, unit
from identity.weights import sface


class Embedder:
    """SFace, loaded once; not for several threads at a time."""

    def __init__(self) -> None:
        """Load the network.

        Raises:
            FacingsError: the weights are missing or not those that were examined.
        """
        model = np.frombuffer(sface(), dtype=np.uint8)
        self._net = cv2.FaceRecognizerSF.create("onnx", model, np.zeros(0, np.uint8))

    def align(self, picture: Picture, face: Face) -> Picture:
        """Turn, scale and cut the face so that its five landmarks lie where SFace learned them; (112, 112, 3) uint8."""
        row = np.concatenate([face.box, face.landmarks.ravel(), [face.score]]).astype(np.float32)
        return np.asarray(self._net.alignCrop(picture, row), dtype=np.uint8)

    def embed(self, aligned: Picture) -> FloatArray:
        """Return the embedding of an aligned face: shape (128,), float32, length 1."""
        return unit(self._net.feature(aligned)[0])
