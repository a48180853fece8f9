"""The camera agent against a real HTTP server that writes down what it receives."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from cli.main import main
from configs.errors import FacingsError
from identity.frames import frames
from identity.images import Picture
from identity.reader import FaceReader
from pipelines.camera import Agent, Server
from pipelines.demo_photograph import enrol_picture, probe_picture, write_demo_photographs


class Recorder(ThreadingHTTPServer):
    """Answers each call with the next of `answers` (204 when there is none left) and remembers it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.calls: list[tuple[str, str, dict[str, str], Any]] = []
        self.answers: list[tuple[int, bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Recorder

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        content = json.loads(body) if body else None
        self.server.calls.append((self.command, self.path, dict(self.headers), content))
        status, answer = self.server.answers.pop(0) if self.server.answers else (204, b"")
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_POST = do_DELETE = _answer  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Recorder]:
    recorder = Recorder()
    thread = threading.Thread(target=recorder.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield recorder
    recorder.shutdown()
    thread.join()
    recorder.server_close()


@pytest.fixture(scope="module")
def reader() -> FaceReader:
    return FaceReader(threads=1)


class Time:
    """A monotonic clock that moves only when somebody sleeps."""

    def __init__(self) -> None:
        self.moment = 100.0

    def now(self) -> float:
        return self.moment

    def sleep(self, seconds: float) -> None:
        self.moment += seconds


def _pixels(image: Any) -> Picture:
    return np.ascontiguousarray(np.asarray(image)[:, :, ::-1])


def _door(server: Recorder, time: Time, said: list[str] | None = None, **options: Any) -> Server:
    lines = [] if said is None else said
    return Server(
        server.url, "screen 1/a", "a token", progress=lines.append, monotonic=time.now, sleep=time.sleep, **options
    )


def test_the_command_tells_of_each_photograph_and_never_sends_an_image(
    server: Recorder,
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_demo_photographs(tmp_path / "photographs")
    monkeypatch.setenv("FACINGS_TOKEN", "secret-token")
    monkeypatch.setattr(sys, "argv", ["facings", "camera", "--screen", "s1", "--source", str(tmp_path / "photographs"),
                                      "--server", server.url, "--once", "--hold", "0", "--json"])  # fmt: skip
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    counts = json.loads(capsys.readouterr().out)
    assert counts["frames"] == 2
    assert counts["sent"] == counts["people"] >= 1
    posts = [call for call in server.calls if call[0] == "POST"]
    assert len(posts) == counts["sent"]
    for _, path, headers, body in posts:
        assert path == "/v1/screens/s1/sightings"
        assert headers["Authorization"] == "Bearer secret-token"
        assert set(body) == {"track_id", "embedding", "model", "quality", "liveness"}
        assert len(body["embedding"]) == 128
        assert abs(sum(value * value for value in body["embedding"]) - 1.0) < 1e-3
    gone = {path.rpartition("/")[2] for method, path, _, _ in server.calls if method == "DELETE"}
    assert gone == {body["track_id"] for _, _, _, body in posts}
    assert not home.exists()


def test_one_person_who_stays_is_one_track_told_once_a_second(server: Recorder, reader: FaceReader) -> None:
    time = Time()
    agent = Agent(reader, _door(server, time), every=1.0, patience=1.5, monotonic=time.now)
    face, nobody = _pixels(enrol_picture()), np.full((300, 300, 3), 128, np.uint8)
    for _ in range(11):
        agent.frame(face)
        time.sleep(0.2)
    posts = [body["track_id"] for method, _, _, body in server.calls if method == "POST"]
    assert len(posts) == 3
    assert len(set(posts)) == 1
    for _ in range(12):
        agent.frame(nobody)
        time.sleep(0.2)
    assert [(method, path) for method, path, _, _ in server.calls[3:]] == [
        ("DELETE", f"/v1/screens/screen%201%2Fa/sightings/{posts[0]}")
    ]


def test_while_the_server_is_away_the_agent_goes_on_and_asks_again_ever_more_slowly(
    server: Recorder, reader: FaceReader
) -> None:
    time, said = Time(), []
    agent = Agent(reader, _door(server, time, said), every=0.1, monotonic=time.now)
    server.answers = [(503, b"")] * 3
    face = _pixels(probe_picture())
    for _ in range(20):
        agent.frame(face)
        time.sleep(0.25)
    assert agent.counts.dropped > 3
    assert agent.counts.sent > 1
    moments = len(server.calls)
    assert moments == 3 + agent.counts.sent  # between the tries nothing was sent
    assert len(said) == 2
    assert "does not answer" in said[0]
    assert "answers again" in said[1]


def test_run_once_it_waits_for_the_server_and_then_says_that_it_is_away(reader: FaceReader) -> None:
    time = Time()
    door = Server("http://127.0.0.1:9", "s", None, progress=lambda _: None, patience=10.0,
                  monotonic=time.now, sleep=time.sleep)  # fmt: skip
    with pytest.raises(FacingsError, match=r"does not answer; start it with `facings serve`"):
        Agent(reader, door, monotonic=time.now).run([_pixels(enrol_picture())])
    assert 110.0 <= time.moment <= 111.0


@pytest.mark.parametrize(
    ("status", "body", "sentence"),
    [
        (401, b"", "token"),
        (403, b"", "token"),
        (404, b'{"detail": "There is no screen s1."}', "no screen s1"),
        (422, b"<html>", "HTTP 422"),
    ],
)
def test_a_server_that_refuses_ends_the_agent_with_its_reason(
    server: Recorder, reader: FaceReader, status: int, body: bytes, sentence: str
) -> None:
    time = Time()
    server.answers = [(status, body)] * 3
    with pytest.raises(FacingsError, match=sentence):
        Agent(reader, _door(server, time), monotonic=time.now).run([_pixels(enrol_picture())])
    assert len(server.calls) == 1


def test_a_video_is_read_frame_by_frame(tmp_path: Path) -> None:
    path = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 20.0, (160, 120))
    for number in range(20):
        writer.write(np.full((120, 160, 3), number * 10, np.uint8))
    writer.release()
    waits: list[float] = []
    taken = list(frames(str(path), rate=5.0, hold=0.0, once=True, sleep=waits.append))
    assert [round(float(frame.mean()) / 10) for frame in taken] == [0, 4, 8, 12, 16]
    assert waits == [0.2] * 5


@pytest.mark.parametrize("source", ["empty", "rubbish.mp4", "rubbish.jpg", "nowhere", "97"])
def test_a_source_that_gives_no_picture_is_told(tmp_path: Path, source: str) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("rubbish.mp4", "rubbish.jpg"):
        (tmp_path / name).write_bytes(b"rubbish")
    place = source if source.isdigit() else str(tmp_path / source)
    with pytest.raises(FacingsError, match=source):
        next(frames(place, rate=5.0, hold=0.0, once=True, sleep=lambda _: None))
