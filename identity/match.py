"""From similarities to a decision. "Unknown" is the normal answer: most people who pass a screen never enrolled.

The threshold. A stranger is compared with every template, so the chance to be greeted by mistake (FPIR) grows with
the gallery. Measured over all of LFW with SFace int8 (docs/identity.md has the table): one comparison passes a cosine
of .45 about 2 times in 100,000 and .50 about 2 times in a million, i.e. ten times less for each .05. With FPIR ≈
comparisons × that rate, FPIR ≤ 0.5 % needs .45 + .05 × log10(comparisons / 250); below 250 templates it stays at .45.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

import numpy as np

from configs.clock import Clock
from identity.gallery import Found, Gallery
from identity.template import FloatArray, unit

BASE_THRESHOLD = 0.45
_BASE_TEMPLATES = 250
_STEP = 0.05
MARGIN = 0.05
QUALITY_FLOOR = 0.15
GOOD_QUALITY = 0.40
LIVENESS_FLOOR = 0.30
_CLEAR = 0.05
_KEEP = 0.04
_SAME_PERSON = 0.35
_FRAMES = 5
_TRACKS = 1024


class Status(StrEnum):
    """What can be said of who stands before a screen."""

    KNOWN = "known"
    UNKNOWN = "unknown"
    AMBIGUOUS = "ambiguous"
    NO_FACE = "no_face"
    SEVERAL_FACES = "several_faces"
    LOW_QUALITY = "low_quality"


@dataclass(frozen=True)
class Decision:
    """An answer. `shopper_id` is given only when known; `score` and `margin` are cosines, None: nothing to compare."""

    status: Status
    shopper_id: str | None = None
    score: float | None = None
    margin: float | None = None


def threshold(templates: int) -> float:
    """The cosine that a match must reach in a gallery of so many templates; the rule stands at the file's top."""
    return BASE_THRESHOLD + _STEP * max(0.0, math.log10(max(1, templates) / _BASE_TEMPLATES))


def decide(gallery: Gallery, embedding: FloatArray, quality: float) -> Decision:
    """Judge one photograph: `embedding` of shape (128,), `quality` within [0, 1] as identity.quality measures it.

    Raises:
        FacingsError: the embedding has another shape or holds no direction.
    """
    if quality < QUALITY_FLOOR:
        return Decision(Status.LOW_QUALITY)
    return _judge(gallery.search(unit(embedding)), threshold(gallery.templates))


def _judge(found: Found, needed: float) -> Decision:
    if found.shopper_id is None:
        return Decision(Status.UNKNOWN)
    if found.score < needed:
        return Decision(Status.UNKNOWN, None, found.score, found.margin)
    if found.margin < MARGIN:
        return Decision(Status.AMBIGUOUS, None, found.score, found.margin)
    return Decision(Status.KNOWN, found.shopper_id, found.score, found.margin)


@dataclass
class _Track:
    seen: datetime
    frames: deque[tuple[FloatArray, float]] = field(default_factory=lambda: deque(maxlen=_FRAMES))
    known: str | None = None

    def mean(self) -> FloatArray:
        """The quality-weighted mean of the last frames, not scaled to 1: its cosines are the mean of theirs."""
        weights = np.array([quality for _, quality in self.frames], dtype=np.float32)
        vectors = np.stack([vector for vector, _ in self.frames])
        return np.asarray(weights @ vectors / weights.sum(), dtype=np.float32)


class TrackDecider:
    """Decides over the frames of tracked persons, for one asyncio loop or one thread.

    The mean over the last five usable frames is judged, not the luckiest frame: a stranger who stays does not get a
    new chance with each frame. One frame decides alone when it is good, or clearly above the threshold; else two must
    agree. A known person stays known a little below the threshold, so that a greeting does not flicker. A frame that
    shows somebody else than the frames before starts afresh.
    """

    def __init__(self, gallery: Callable[[], Gallery], clock: Clock, *, seconds: float = 8.0) -> None:
        """Take `gallery` (e.g. `GallerySource.current`); a track not seen for `seconds` has left."""
        self._gallery = gallery
        self._clock = clock
        self._life = timedelta(seconds=seconds)
        self._tracks: OrderedDict[str, _Track] = OrderedDict()

    def __len__(self) -> int:
        """How many tracks are remembered; 1,024 at most, the longest unseen go first."""
        return len(self._tracks)

    def observe(self, track_id: str, embedding: FloatArray, quality: float, liveness: float | None = None) -> Decision:
        """Take one frame of a track and decide: shape (128,), `quality` and `liveness` within [0, 1].

        Liveness is a filter, never a proof: a frame that looks like a picture of a face is left out.

        Raises:
            FacingsError: the embedding has another shape or holds no direction.
        """
        vector = unit(embedding)
        track = self._track(track_id)
        if not quality >= QUALITY_FLOOR or (liveness is not None and not liveness >= LIVENESS_FLOOR):
            return self._conclude(track) if track.frames else Decision(Status.LOW_QUALITY)
        if track.frames and float(track.mean() @ vector) < _SAME_PERSON:
            track.frames.clear()
            track.known = None
        track.frames.append((vector, min(quality, 1.0)))
        return self._conclude(track)

    def leave(self, track_id: str) -> bool:
        """Forget a track; tell whether it was there."""
        return self._tracks.pop(track_id, None) is not None

    def _track(self, track_id: str) -> _Track:
        now = self._clock.now()
        while self._tracks and next(iter(self._tracks.values())).seen < now - self._life:
            self._tracks.popitem(last=False)
        track = self._tracks.setdefault(track_id, _Track(now))
        track.seen = now
        self._tracks.move_to_end(track_id)
        if len(self._tracks) > _TRACKS:
            self._tracks.popitem(last=False)
        return track

    def _conclude(self, track: _Track) -> Decision:
        decision = self._decide(track)
        track.known = decision.shopper_id
        return decision

    def _decide(self, track: _Track) -> Decision:
        gallery = self._gallery()
        needed = threshold(gallery.templates)
        found = gallery.search(track.mean())
        if track.known is not None and found.shopper_id == track.known:
            needed -= _KEEP
        decision = _judge(found, needed)
        if decision.status is Status.KNOWN and track.known is None and len(track.frames) == 1:
            quality = track.frames[0][1]
            if quality < GOOD_QUALITY and found.score < needed + _CLEAR:
                return Decision(Status.UNKNOWN, None, found.score, found.margin)
        return decision
