"""`facings camera`: the agent beside a screen."""

from __future__ import annotations

import click

from cli.output import json_option, progress, settings_of, show
from configs.errors import UsageError


@click.command(epilog="Example: facings camera --screen entrance-1 --source 0 --server https://shop.example:8443")
@click.option("--screen", required=True, help="The screen that the camera stands beside.")
@click.option("--source", required=True, help="A camera's number, a photograph, a folder of them, a video, a URL.")
@click.option("--server", help="Address of the Facings server (default: http://HOST:PORT of the settings).")
@click.option("--token", envvar="FACINGS_TOKEN", help="The device's token; better given as FACINGS_TOKEN.")
@click.option("--once", is_flag=True, help="End after one run through the source (one frame of a live camera).")
@click.option("--rate", type=click.FloatRange(0.1, 60), default=5.0, show_default=True, help="Frames a second.")
@click.option(
    "--hold",
    type=click.FloatRange(0, 3600),
    default=5.0,
    show_default=True,
    help="Seconds that each photograph stands before the camera.",
)
@json_option
@click.pass_context
def camera(
    context: click.Context,
    screen: str,
    source: str,
    server: str | None,
    token: str | None,
    once: bool,
    rate: float,
    hold: float,
    as_json: bool,
) -> None:
    """Watch a camera and tell the server who stands before SCREEN.

    What leaves this machine is an embedding and a quality for each person in view, never an image. While the server
    is away the agent goes on and tries again.
    """
    settings = settings_of(context)
    address = server or f"http://{settings.host}:{settings.port}"
    if not address.startswith(("http://", "https://")):
        raise UsageError(f"The server {address!r} must begin with http:// or https://; correct --server.")
    from identity.frames import frames
    from identity.reader import FaceReader
    from pipelines.camera import Agent, Server

    door = Server(address, screen, token, progress=progress, patience=10.0 if once else 0.0)
    agent = Agent(FaceReader(threads=1), door)
    try:
        agent.run(frames(source, rate=rate, hold=hold, once=once))
    except KeyboardInterrupt:
        progress("Stopped.")
    counts = agent.counts
    lines = [f"{counts.frames} frame(s), {counts.people} person(s), {counts.sent} sighting(s) sent."]
    show(counts.as_dict(), lines, as_json=as_json)
