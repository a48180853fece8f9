"""`facings serve`: offers, screens and events over HTTP."""

from __future__ import annotations

from pathlib import Path

import click

from cli.output import progress, settings_of
from configs.errors import UsageError
from configs.settings import load_settings


@click.command(epilog="Example: facings serve --port 8080   (then open http://127.0.0.1:8080/screens/<screen_id>)")
@click.option("--host", help="Address to bind; beyond loopback tokens are required. Default: FACINGS_HOST, 127.0.0.1.")
@click.option("--port", type=int, help="Port to bind. Default: FACINGS_PORT, 8080.")
@click.option("--tls-cert", type=click.Path(path_type=Path), help="Certificate file, for HTTPS.")
@click.option("--tls-key", type=click.Path(path_type=Path), help="Key file of the certificate.")
@click.pass_context
def serve(
    context: click.Context, host: str | None, port: int | None, tls_cert: Path | None, tls_key: Path | None
) -> None:
    """Serve offers, screens and events; a home that was only ingested answers by fallback.

    A new champion is taken into use within a second, without a request lost.
    """
    from serving.run import run_server

    given = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    if (tls_cert is None) != (tls_key is None):
        raise UsageError("Give both --tls-cert and --tls-key, or neither.")
    for path in (tls_cert, tls_key):
        if path is not None and not path.is_file():
            raise UsageError(f"There is no file {path}; give the certificate and its key as PEM files.")
    settings = load_settings(**{**settings_of(context).model_dump(), **given})
    run_server(settings, progress=progress, tls_cert=tls_cert, tls_key=tls_key)
