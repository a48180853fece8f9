"""Running the server: the shop's snapshot is brought up to the lake first, then the port is bound."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from pathlib import Path

import uvicorn

from configs.clock import Clock
from configs.errors import FacingsError
from configs.settings import Settings
from pipelines import snapshot
from pipelines.signals.lake import Lake
from serving.app import create_app


def run_server(
    settings: Settings,
    *,
    progress: Callable[[str], None],
    tls_cert: Path | None = None,
    tls_key: Path | None = None,
    clock: Clock | None = None,
) -> None:
    """Serve until stopped.

    Raises:
        FacingsError: nothing was ingested, or the address cannot be bound.
    """
    clock = clock or settings.clock()
    shop = snapshot.build_shop(settings.paths, Lake(settings.paths), settings, now=clock.now(), progress=progress)
    if shop != snapshot.current(settings.paths, "shop"):
        snapshot.switch(settings.paths, "shop", shop)
    with bind(settings.host, settings.port) as listening:
        scheme = "https" if tls_cert else "http"
        progress(f"Serving on {scheme}://{settings.host}:{settings.port} (stop with Ctrl-C)")
        app = create_app(settings, clock=clock)
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=3,
            ssl_certfile=tls_cert,
            ssl_keyfile=tls_key,
            server_header=False,
        )
        uvicorn.Server(config).run(sockets=[listening])


def bind(host: str, port: int) -> socket.socket:
    """Bind the address before anything is built on it.

    Raises:
        FacingsError: it is in use, not allowed or not an address of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        why = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be bound ({error.strerror or error})"
        raise FacingsError(f"{host}:{port} {why}; choose another with --host and --port.") from None
    listening.listen(2048)
    listening.setblocking(False)
    return listening
