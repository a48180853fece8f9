"""The agent beside a screen: frames in, sightings out. What leaves is an embedding and a quality, never an image."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any, Protocol
from urllib.parse import quote

import httpx

from configs.errors import FacingsError
from identity.images import Picture
from identity.match import QUALITY_FLOOR
from identity.reader import Described, FaceReader
from identity.template import MODEL
from identity.track import Track, Tracker

# People described in one frame, the nearest first: a crowd must not slow the frames down.
MAX_PEOPLE = 4


@dataclass
class Counts:
    """What an agent did."""

    frames: int = 0
    people: int = 0
    sent: int = 0
    dropped: int = 0  # sightings that the server was not there for

    def as_dict(self) -> dict[str, int]:
        """The counts by name."""
        return asdict(self)


class Door(Protocol):
    """Where sightings go."""

    def seen(self, track_id: str, described: Described) -> bool:
        """Tell of a person; false when nobody listened."""
        ...

    def left(self, track_id: str) -> bool:
        """Tell that a person left; false when nobody listened."""
        ...


class Agent:
    """Follows the people in view and tells the server of each one's best frame, at least once every `every` seconds."""

    def __init__(
        self,
        reader: FaceReader,
        door: Door,
        *,
        every: float = 1.0,
        patience: float = 1.5,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.counts = Counts()
        self._reader = reader
        self._door = door
        self._every = every
        self._monotonic = monotonic
        self._tracker = Tracker(patience)
        self._told: dict[str, tuple[float, float]] = {}  # track_id: when, and the best quality told

    def run(self, frames: Iterable[Picture]) -> Counts:
        """Take all frames, then tell that everybody left, also when stopped in between."""
        try:
            for picture in frames:
                self.frame(picture)
        except FacingsError:
            self._tracker.end()  # the server refuses or is away: it need not be asked again
            raise
        finally:
            self._leave(self._tracker.end())
        return self.counts

    def frame(self, picture: Picture) -> None:
        """Take one frame."""
        self.counts.frames += 1
        now = self._monotonic()
        present, ended = self._tracker.update(self._reader.faces(picture), now)
        self._leave(ended)
        for track in sorted(present, key=lambda one: -one.face.area)[:MAX_PEOPLE]:
            self._look(picture, track, now)

    def _look(self, picture: Picture, track: Track, now: float) -> None:
        """Describe a person, and tell it when it is the first or a better frame, or time to say they still stand."""
        told = self._told.get(track.track_id)
        described = self._reader.describe(picture, track.face)
        if described.quality < QUALITY_FLOOR:
            return
        if told is None or now - told[0] >= self._every or described.quality > told[1] + 0.1:
            self.counts.people += told is None
            best = max(described.quality, told[1] if told else 0.0)
            self._told[track.track_id] = (now, best)
            if self._door.seen(track.track_id, described):
                self.counts.sent += 1
            else:
                self.counts.dropped += 1

    def _leave(self, tracks: Iterable[Track]) -> None:
        for track in tracks:
            if self._told.pop(track.track_id, None) is not None:
                self._door.left(track.track_id)


class Server:
    """A Facings server as a `Door`.

    A sighting is worth nothing a few seconds later. So while the server is away none is kept: they are dropped, and
    the server is asked again after .5, 1, 2 … 30 seconds. With `patience`, each call waits so many seconds instead.
    """

    def __init__(
        self,
        url: str,
        screen: str,
        token: str | None,
        *,
        progress: Callable[[str], None],
        patience: float = 0.0,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._url = url
        self._path = f"/v1/screens/{quote(screen, safe='')}/sightings"
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._client = httpx.Client(base_url=url, headers=headers, timeout=3.0, transport=transport)
        self._progress = progress
        self._patience = patience
        self._monotonic = monotonic
        self._sleep = sleep
        self._pause = 0.0
        self._again = 0.0

    def seen(self, track_id: str, described: Described) -> bool:
        """POST a sighting; false when the server is away.

        Raises:
            FacingsError: the server refused it for good, or stayed away longer than `patience`.
        """
        body = {
            "track_id": track_id,
            "embedding": [float(value) for value in described.embedding],
            "model": MODEL,
            "quality": round(described.quality, 4),
            "liveness": None,
        }
        return self._call("POST", self._path, body)

    def left(self, track_id: str) -> bool:
        """DELETE a sighting; false when the server is away (it forgets by itself after some seconds)."""
        return self._call("DELETE", f"{self._path}/{track_id}", None)

    def _call(self, method: str, path: str, body: dict[str, Any] | None) -> bool:
        until = self._monotonic() + self._patience
        while True:
            if self._monotonic() >= self._again and self._try(method, path, body):
                return True
            if not self._patience:
                return False
            if self._monotonic() >= until:
                raise FacingsError(f"The server {self._url} does not answer; start it with `facings serve`.")
            self._sleep(max(0.01, min(self._again, until) - self._monotonic()))

    def _try(self, method: str, path: str, body: dict[str, Any] | None) -> bool:
        try:
            answer = self._client.request(method, path, json=body)
        except (httpx.TransportError, httpx.InvalidURL):
            return self._away()
        if answer.status_code in {408, 429} or answer.status_code >= 500:
            return self._away()
        if answer.is_error and not (method == "DELETE" and answer.status_code == 404):
            raise FacingsError(self._refusal(answer))
        if self._pause:
            self._progress(f"The server {self._url} answers again.")
        self._pause = self._again = 0.0
        return True

    def _away(self) -> bool:
        if not self._pause:
            self._progress(f"The server {self._url} does not answer; trying again.")
        self._pause = min(30.0, 2.0 * self._pause or 0.5)
        self._again = self._monotonic() + self._pause
        return False

    def _refusal(self, answer: httpx.Response) -> str:
        if answer.status_code in {401, 403}:
            return f"The server {self._url} refused the token; make one with `facings token add` and set FACINGS_TOKEN."
        try:
            detail = str(answer.json()["detail"])[:300]
        except (ValueError, KeyError, TypeError):
            detail = f"HTTP {answer.status_code}"
        return f"The server {self._url} refused the sighting: {detail}"
