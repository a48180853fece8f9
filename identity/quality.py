"""How well a face can be recognised on a picture: one number within [0, 1] from four plain measurements.

quality = size × sharpness × pose × exposure, each a ramp from 0 (of no use) to 1 (good). The bounds were set on the
photographs of LFW, nearly all of which reach .4 (`GOOD_QUALITY` in identity.match, where one frame may decide alone);
below .15 (`QUALITY_FLOOR`) a face is not compared at all, because blurred and dark faces resemble one another.
"""

from __future__ import annotations

import cv2
import numpy as np

from identity.detect import Face
from identity.images import Picture


def quality(face: Face, aligned: Picture) -> float:
    """Measure a face and its aligned crop (112, 112, 3)."""
    grey = np.asarray(cv2.cvtColor(aligned, cv2.COLOR_BGR2GRAY), dtype=np.uint8)
    return _size(face) * _sharpness(grey) * _pose(face) * _exposure(grey)


def _size(face: Face) -> float:
    """Pixels between the eyes of the original picture: 10 are too few, 32 are enough."""
    return _ramp(float(np.linalg.norm(face.landmarks[1] - face.landmarks[0])), 10.0, 32.0)


def _sharpness(grey: Picture) -> float:
    """Variance of the Laplacian (Pech-Pacheco et al. 2000), on a log scale: 4 is a blur, 40 shows the features."""
    variance = float(cv2.Laplacian(grey, cv2.CV_64F).var())
    return _ramp(float(np.log(max(variance, 1e-6))), float(np.log(4.0)), float(np.log(40.0)))


def _pose(face: Face) -> float:
    """How far the nose is from the middle between the eyes, and how high between eyes and mouth."""
    left, right, nose, mouth_left, mouth_right = face.landmarks.astype(np.float64)
    across = right - left
    width = float(np.linalg.norm(across))
    if width < 1.0:
        return 0.0
    across /= width
    down = np.array([-across[1], across[0]])
    middle, mouth = (left + right) / 2.0, (mouth_left + mouth_right) / 2.0
    yaw = abs(float((nose - middle) @ across)) / width  # 0: straight; about .5: a half profile
    height = float((mouth - middle) @ down)
    pitch = float((nose - middle) @ down) / height if height > 0.2 * width else 0.0  # .56 in the mean
    return _ramp(yaw, 0.9, 0.4) * _ramp(abs(pitch - 0.56), 0.4, 0.15)


def _exposure(grey: Picture) -> float:
    """Neither too dark, nor too bright, nor all contrast gone at either end."""
    mean = float(grey.mean())
    lost = float(((grey < 8) | (grey > 247)).mean())
    return _ramp(mean, 20.0, 60.0) * _ramp(mean, 240.0, 200.0) * _ramp(lost, 0.9, 0.5)


def _ramp(value: float, none: float, full: float) -> float:
    """0 at `none`, 1 at `full`, straight in between and flat outside; either bound may be the larger one."""
    return min(1.0, max(0.0, (value - none) / (full - none)))
