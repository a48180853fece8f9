"""A served small shop: a home with a shop snapshot, slates of a real model where asked, and the application on it."""

from __future__ import annotations

import base64
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from configs.clock import Clock, FixedClock
from configs.settings import Settings, load_settings
from models.registry import create
from pipelines import snapshot
from pipelines.signals.ingest import ingest
from pipelines.signals.lake.lake import Lake
from pipelines.training.dataset import signals
from tests.small_shop import END


def quiet(_: str) -> None:
    """Progress that nobody reads."""


def ingest_shop(folder: Path, home: Path, **given: Any) -> Settings:
    """Ingest a folder and switch to its shop snapshot; return the settings."""
    settings = load_settings(home=home, **given)
    key = settings.paths.secrets / "pseudonym"
    if not key.exists():  # what is drawn is the same in every run
        key.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        key.write_text(base64.b64encode(b"k" * 32).decode())
    ingest(folder, settings.paths, clock=FixedClock(END), settings=settings, progress=quiet)
    built = snapshot.build_shop(settings.paths, Lake(settings.paths), settings, now=END, progress=quiet)
    snapshot.switch(settings.paths, "shop", built)
    return settings


def publish_slates(
    settings: Settings,
    version: str = "1",
    recommender: str = "personal_frequency",
    item_content: tuple[str, ...] = (),
) -> str:
    """Train on the lake and switch to the model's slates; return the snapshot's id."""
    from models.dataset import Dataset

    lake = Lake(settings.paths)
    dataset = Dataset.build(
        signals(lake, ("purchase",), END),  # type: ignore[arg-type]
        items=lake.read("items"),
        shoppers=lake.read("shoppers"),
        as_of=END,  # type: ignore[arg-type]
        never_recommend=settings.never_recommend,
        item_content=item_content,
    )
    model = create(recommender).fit(dataset)
    built = snapshot.build_slates(
        settings.paths, model, version=version, recipe=recommender, candidates=40, progress=quiet
    )
    snapshot.switch(settings.paths, "slates", built)
    return built


@contextmanager
def served(settings: Settings, clock: Clock | None = None) -> Iterator[str]:
    """Serve the application from a thread; yield its address."""
    from serving.app import create_app
    from serving.run import Server

    app = create_app(settings, clock=clock or FixedClock(END))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(128)
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=3)
        server = Server(config, app.state.services)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        until = time.monotonic() + 60
        while not server.started:
            assert time.monotonic() < until, "the server did not start"
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(10)
        assert not thread.is_alive(), "the server did not stop"
