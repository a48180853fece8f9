"""Take the README's pictures again, from a home that `facings demo --headless` made: real data, a real recognition.

.venv/bin/python tests/browser/take_screenshots.py --home var --out docs/images
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from configs.settings import load_settings
from pipelines.signals.lake.lake import Lake

SCREEN = "demo-entrance"
LANDSCAPE, PORTRAIT, PHONE = (1920, 1080), (1080, 1920), (390, 844)
WIDTHS = {LANDSCAPE: 1366, PORTRAIT: 768, PHONE: 585}
PATIENCE = 60.0


def main() -> None:
    """Serve the home, look at its screen idle and greeting, then at the list on a phone."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--home", type=Path, required=True)
    arguments.add_argument("--out", type=Path, required=True)
    given = arguments.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    chromium = os.environ.get("FACINGS_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with serving(given.home) as (url, environment), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        picture(browser, f"{url}/screens/{SCREEN}", "Today’s favourites", LANDSCAPE, given.out / "screen-idle.png")
        with seen(given.home / "demo" / "photographs" / "probe.png", environment):
            slate = wait_for(url, personal=True)
            for name, size in (("recognised", LANDSCAPE), ("portrait", PORTRAIT)):
                target = given.out / f"screen-{name}.png"
                picture(browser, f"{url}/screens/{SCREEN}", "Good to see you", size, target)
        claimed = slate["items"][1]["claim_url"].rpartition("/c/")[2]
        picture(browser, f"{url}/c/{claimed}", "Your list", PHONE, given.out / "phone.png")
        browser.close()


@contextmanager
def serving(home: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Run `facings serve` at the moment where the data ends."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    end = Lake(load_settings(home=home).paths).latest_event_time()
    assert end is not None, f"nothing was ingested into {home}"
    environment = {**os.environ, "FACINGS_HOME": str(home), "FACINGS_PORT": str(port)}
    environment["FACINGS_REPLAY_FROM"] = end.isoformat()
    server = subprocess.Popen([sys.executable, "-m", "cli.main", "serve"], env=environment)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for(url, personal=False)
        yield url, environment
    finally:
        server.terminate()
        server.wait()


@contextmanager
def seen(photograph: Path, environment: dict[str, str]) -> Iterator[None]:
    """Hold a photograph before the camera beside the screen."""
    words = ["camera", "--screen", SCREEN, "--source", str(photograph), "--hold", "60", "--once"]
    camera = subprocess.Popen([sys.executable, "-m", "cli.main", *words], env=environment)
    try:
        yield
    finally:
        camera.terminate()
        camera.wait()


def wait_for(url: str, *, personal: bool) -> dict[str, Any]:
    """Wait until the screen has such a slate, and return it."""
    ends = time.monotonic() + PATIENCE
    while time.monotonic() < ends:
        try:
            slate: dict[str, Any] = httpx.get(f"{url}/v1/screens/{SCREEN}/offers", timeout=5).json()
            if slate.get("personal") is personal:
                return slate
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise SystemExit(f"the screen had no such slate within {PATIENCE:.0f} s")


def picture(browser: Browser, address: str, heading: str, size: tuple[int, int], target: Path) -> None:
    """Wait for the heading, take the picture, and make it small enough for a page."""
    scale = 2 if size == PHONE else 1
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]}, device_scale_factor=scale, reduced_motion="reduce"
    )
    page = context.new_page()
    page.goto(address)
    page.wait_for_function("text => document.querySelector('h1')?.textContent.startsWith(text)", arg=heading)
    page.wait_for_function("[...document.images].every(image => image.complete)")
    page.screenshot(path=target)
    context.close()
    with Image.open(target) as taken:
        height = round(taken.height * WIDTHS[size] / taken.width)
        taken.convert("RGB").resize((WIDTHS[size], height), Image.Resampling.LANCZOS).save(target, optimize=True)
    print(f"{target}: {target.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    main()
