"""Running the server: the shop's snapshot is brought up to the lake first, then the port is bound."""

from __future__ import annotations

import errno
import gc
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from configs.clock import Clock
from configs.errors import FacingsError
from configs.settings import Settings
from pipelines import snapshot
from pipelines.signals.lake.lake import Lake
from serving.app import create_app
from serving.metrics import LIVE_PUSH_SECONDS
from serving.push import PushProcess
from serving.services import Services, own_url

_GRACE_SECONDS = 3
_COLLECT_TICKS = 600  # of a tenth of a second
_MOST_UNCOLLECTED = 1_000_000  # objects


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
        FacingsError: nothing was ingested, the address cannot be bound, or the certificate cannot be read.
    """
    clock = clock or settings.clock()
    address = own_url(settings, "https" if tls_cert else "http")
    settings = settings.model_copy(update={"public_url": settings.public_url or address})
    with bind(settings.host, settings.port) as listening:
        snapshot.refresh_shop(settings.paths, Lake(settings.paths), settings, now=clock.now(), progress=progress)
        app = create_app(settings, clock=clock)
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            ws="none",
            timeout_graceful_shutdown=_GRACE_SECONDS,
            ssl_certfile=tls_cert,
            ssl_keyfile=tls_key,
            server_header=False,
        )
        _load(config)
        gc.collect()
        gc.freeze()  # what was imported stays for good: collections need not walk it
        gc.disable()  # requests leave no cycles, and finding none held up one in a hundred for milliseconds
        try:
            with _pushing(settings):
                progress(f"Serving on {address} (stop with Ctrl-C)")
                Server(config, app.state.services).run(sockets=[listening])
        finally:
            gc.enable()
            gc.unfreeze()  # libraries tell at the end of a process of what could not be collected


@contextmanager
def _pushing(settings: Settings) -> Iterator[None]:
    """Live features go into Feast's online store as long as the server runs, where the settings say so."""
    if settings.live_features == "off":
        yield
        return
    beside = PushProcess(settings)
    beside.start()
    LIVE_PUSH_SECONDS.set_function(beside.took)
    try:
        yield
    finally:
        beside.stop()


class Server(uvicorn.Server):
    """Ends the open streams first when it is asked to stop, which they would hold up; collects garbage now and then."""

    def __init__(self, config: uvicorn.Config, services: Services) -> None:
        super().__init__(config)
        self._services = services

    async def on_tick(self, counter: int) -> bool:
        """Collect what others than requests may have left."""
        if counter % _COLLECT_TICKS == _COLLECT_TICKS - 1 or gc.get_count()[0] > _MOST_UNCOLLECTED:
            gc.collect()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End streams, let requests finish, stop."""
        self._services.stop()
        await super().shutdown(sockets)


def _load(config: uvicorn.Config) -> None:
    try:
        config.load()
    except (ssl.SSLError, OSError) as error:
        reason = getattr(error, "reason", None) or error.strerror or type(error).__name__
        raise FacingsError(
            f"The certificate and its key cannot be used ({reason}); give a matching pair of PEM files."
        ) from None


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
        listening.listen(2048)
    except OSError as error:
        listening.close()
        why = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be bound ({error.strerror or error})"
        raise FacingsError(f"{host}:{port} {why}; choose another with --host and --port.") from None
    listening.setblocking(False)
    return listening
