"""A real browser, and a stage: the real pages with a stream that says what the test tells it to."""

from __future__ import annotations

import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvicorn
from stage import Stage

_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Chromium, started once a file; the tests that use it skip visibly where there is none.

    No longer than a file: while Playwright runs, this thread counts as inside an event loop, and Prefect's functions
    would answer other tests with coroutines.
    """
    api = pytest.importorskip("playwright.sync_api", reason="no playwright: install the extra `dev`")
    path = os.environ.get("FACINGS_CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)
    if path is None:
        pytest.skip("no Chromium on this machine: install it, or set FACINGS_CHROMIUM to its path")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, headless=True, args=list(_ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: Any) -> Iterator[Callable[..., Any]]:
    """Open a page in a context of its own: `visit(url, width, height)`; its errors and requests are kept on it."""
    contexts = []

    def go(url: str, width: int = 1280, height: int = 720, **options: Any) -> Any:
        context = chromium.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.faults, page.requests = [], []
        page.on("pageerror", lambda error: page.faults.append(str(error)))
        page.on("console", lambda line: page.faults.append(line.text) if line.type == "error" else None)
        page.on("request", lambda request: page.requests.append(request.url))
        page.goto(url)
        return page

    yield go
    for context in contexts:
        context.close()


@pytest.fixture
def stage() -> Iterator[Stage]:
    """The pages on a free port of this machine; `stage.tell("slate", {...})` speaks to every open screen."""
    stage = Stage()
    stage.open(_listening())
    yield stage
    stage.close()


@pytest.fixture
def serve() -> Iterator[Callable[[Any], str]]:
    """Run an ASGI application in a thread and return its address; it is stopped at the end."""
    running = []

    def start(application: Any) -> str:
        listening = _listening()
        server = uvicorn.Server(uvicorn.Config(application, log_level="warning", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        running.append((server, thread))
        return f"http://127.0.0.1:{listening.getsockname()[1]}"

    yield start
    for server, thread in running:
        server.should_exit = True
        thread.join(10)


def _listening() -> socket.socket:
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(64)
    return listening
