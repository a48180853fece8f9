"""Which face of this frame is which of the frame before: by overlap alone, which is enough before a screen."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from identity.detect import Face

OVERLAP = 0.3


@dataclass
class Track:
    """One person in view. `track_id` is random and means nothing outside this view."""

    track_id: str
    face: Face
    seen: float


class Tracker:
    """Follows faces over frames; a face not seen for `patience` seconds has left."""

    def __init__(self, patience: float = 1.5) -> None:
        self._patience = patience
        self._tracks: list[Track] = []

    def update(self, faces: Sequence[Face], now: float) -> tuple[list[Track], list[Track]]:
        """Take a frame's faces at `now` (seconds, never falling); return the tracks in this frame, and those ended."""
        open_tracks = list(self._tracks)
        present: list[Track] = []
        overlaps = [(overlap(track.face.box, face.box), track, face) for track in open_tracks for face in faces]
        left = list(faces)
        for share, track, face in sorted(overlaps, key=lambda pair: -pair[0]):
            if share >= OVERLAP and any(track is one for one in open_tracks) and any(face is one for one in left):
                track.face, track.seen = face, now
                open_tracks = [one for one in open_tracks if one is not track]
                left = [one for one in left if one is not face]
                present.append(track)
        present += [Track(secrets.token_hex(8), face, now) for face in left]
        ended = [track for track in open_tracks if now - track.seen > self._patience]
        waiting = [track for track in open_tracks if now - track.seen <= self._patience]
        self._tracks = present + waiting
        return present, ended

    def end(self) -> list[Track]:
        """Let everybody leave, e.g. because the camera is switched off."""
        ended, self._tracks = self._tracks, []
        return ended


def overlap(one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> float:
    """Intersection over union of two boxes (x, y, width, height), within [0, 1]."""
    corner = np.maximum(one[:2], other[:2])
    far = np.minimum(one[:2] + one[2:4], other[:2] + other[2:4])
    shared = float(np.prod(np.clip(far - corner, 0.0, None)))
    union = float(np.prod(one[2:4]) + np.prod(other[2:4])) - shared
    return shared / union if union > 0 else 0.0
