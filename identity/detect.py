"""Find faces: YuNet (Wu, Peng, Yu 2023, "YuNet: A Tiny Millisecond-level Face Detector") through OpenCV."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from identity.images import Picture
from identity.template import FloatArray
from identity.weights import yunet

# A frame is searched at no more than this many pixels on its longer side: 720p costs 48 ms, 640 × 360 about 12.
LONG_SIDE = 640
MINIMUM_SCORE = 0.7
# A second face this large (share of the largest one's area) is a second person, not somebody far behind.
_SECOND = 0.25


@dataclass(frozen=True)
class Face:
    """A face found: `box` (4,) x, y, width, height and `landmarks` (5, 2), in pixels of the picture; `score` in [0, 1].

    The landmarks are, as seen by the viewer: left eye, right eye, tip of the nose, left and right corner of the mouth.
    """

    box: FloatArray
    landmarks: FloatArray
    score: float

    @property
    def area(self) -> float:
        """The box's area in pixels."""
        return float(self.box[2] * self.box[3])

    def covers(self, x: float, y: float) -> bool:
        """Tell whether a point lies within the box."""
        left, top, width, height = self.box
        return bool(left <= x <= left + width and top <= y <= top + height)


class Detector:
    """YuNet, loaded once; not for several threads at a time."""

    def __init__(self) -> None:
        """Load the network.

        Raises:
            FacingsError: the weights are missing or not those that were examined.
        """
        model = np.frombuffer(yunet(), dtype=np.uint8)
        self._net = cv2.FaceDetectorYN.create(
            "onnx", model, np.zeros(0, np.uint8), (LONG_SIDE, LONG_SIDE), MINIMUM_SCORE, 0.3, 200
        )
        self._size = (LONG_SIDE, LONG_SIDE)

    def faces(self, picture: Picture) -> list[Face]:
        """Find all faces, the largest first; none is an empty list."""
        found = self._search(picture)
        if not found:  # a face that fills the frame to its edges is found with some space around it
            space = max(picture.shape[:2]) // 4
            wide = cv2.copyMakeBorder(picture, space, space, space, space, cv2.BORDER_REPLICATE)
            moved = np.array([space, space], dtype=np.float32)
            found = [
                Face(face.box - np.array([space, space, 0, 0], np.float32), face.landmarks - moved, face.score)
                for face in self._search(wide)
            ]
        return sorted(found, key=lambda face: -face.area)

    def _search(self, picture: Picture) -> list[Face]:
        height, width = picture.shape[:2]
        scale = min(1.0, LONG_SIDE / max(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = picture if scale == 1.0 else cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        if size != self._size:
            self._net.setInputSize(size)
            self._size = size
        rows: npt.NDArray[np.float32] | None = self._net.detect(small)[1]
        if rows is None:
            return []
        back = np.array([width / size[0], height / size[1]], dtype=np.float32)
        return [
            Face(row[:4] * np.tile(back, 2), row[4:14].reshape(5, 2) * back, float(row[14]))
            for row in rows
            if np.isfinite(row).all() and row[2] > 0 and row[3] > 0
        ]


def subjects(faces: list[Face], picture: Picture) -> list[Face]:
    """Who the photograph is of: one face, or the several that could be meant.

    The one face that covers the middle of the picture is the subject, and the others stand by; unless one of them is
    clearly larger. Else everyone of at least a quarter of the largest face's area could be meant.
    """
    if not faces:
        return []
    height, width = picture.shape[:2]
    largest = max(face.area for face in faces)
    middle = [face for face in faces if face.covers(width / 2, height / 2)]
    if len(middle) == 1 and middle[0].area * 1.5 >= largest:
        return middle
    return [face for face in faces if face.area >= _SECOND * largest]
