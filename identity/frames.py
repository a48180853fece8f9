"""Where frames come from: a camera, a video (file or address), one photograph or a folder of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from configs.errors import FacingsError
from identity.images import Picture, read_picture

_PHOTOGRAPHS = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"}
_VIDEOS = {".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v", ".mjpeg"}
# How long a stream that broke off is given to come back before the agent gives up, in seconds.
_PATIENCE = 60.0


def frames(
    source: str, *, rate: float, hold: float, once: bool, sleep: Callable[[float], None] = time.sleep
) -> Iterator[Picture]:
    """Yield frames of `source` at `rate` a second.

    Args:
        source: the number of a camera, a file (photograph or video), a folder of photographs, or a stream's address.
        rate: frames a second.
        hold: how many seconds each photograph stands before the camera, and then nobody does; 0: one frame each.
        once: end after one run (one frame of a camera or stream) instead of going on.
        sleep: waits between frames.

    Raises:
        FacingsError: there is no such source, it is no picture or video, or it broke off.
    """
    path = Path(source)
    if source.isdigit() or "://" in source:
        yield from _live(source, rate, once, sleep)
    elif path.is_dir() or (path.is_file() and path.suffix.lower() not in _VIDEOS):
        yield from _photographs(path, rate, hold, once, sleep)
    elif path.is_file():
        yield from _video(path, rate, once, sleep)
    else:
        raise FacingsError(
            f"There is no source {source!r}; give a camera's number, a photograph, a folder, a video or an address."
        )


def _photographs(path: Path, rate: float, hold: float, once: bool, sleep: Callable[[float], None]) -> Iterator[Picture]:
    files = [path]
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in _PHOTOGRAPHS)
        if not files:
            raise FacingsError(f"The folder {path} holds no photograph; put JPEG or PNG files into it.")
    while True:
        for file in files:
            picture = read_picture(file)
            for _ in range(max(1, round(hold * rate))):
                yield picture
                sleep(1.0 / rate if hold else 0.0)
        if once:
            return


def _video(path: Path, rate: float, once: bool, sleep: Callable[[float], None]) -> Iterator[Picture]:
    while True:
        capture = cv2.VideoCapture(str(path))
        try:
            step = max(1, round((capture.get(cv2.CAP_PROP_FPS) or 25.0) / rate))
            number = 0
            while capture.grab():
                if number % step == 0:
                    picture = capture.retrieve()[1]
                    yield np.asarray(picture, dtype=np.uint8)
                    sleep(1.0 / rate)
                number += 1
        finally:
            capture.release()
        if number == 0:
            raise FacingsError(f"{path} is not a video that can be read; convert it to MP4 (H.264) or AVI.")
        if once:
            return


def _live(source: str, rate: float, once: bool, sleep: Callable[[float], None]) -> Iterator[Picture]:
    """Frames of a camera or stream; one that breaks off is opened again, ever more slowly, for a minute."""
    wait, waited = 0.5, 0.0
    while True:
        capture = cv2.VideoCapture(int(source) if source.isdigit() else source)
        try:
            while capture.isOpened():
                good, picture = capture.read()
                if not good:
                    break
                wait, waited = 0.5, 0.0
                yield np.asarray(picture, dtype=np.uint8)
                if once:
                    return
                sleep(1.0 / rate)
        finally:
            capture.release()
        if once or waited >= _PATIENCE:
            raise FacingsError(f"The camera {source!r} gives no picture; check that it is connected and not in use.")
        sleep(wait)
        waited += wait
        wait = min(2.0 * wait, 10.0)
