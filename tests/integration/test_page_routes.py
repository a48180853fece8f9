"""The pages over HTTP: what they say of themselves, and who gets which."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from serving import page_routes as module
from serving.page_routes import ListClosed, Pages, Place, page_routes, qr_svg

PAGES = Path(module.__file__).with_name("pages")
NASTY = "</script><script>alert(1)</script>"


def open_list(token: str) -> tuple[Mapping[str, Any], Place] | None:
    if token == "old":
        raise ListClosed
    return ({"items": [{"item_id": "1", "title": NASTY}]}, Place("Elm Road")) if token == "good" else None


@pytest.fixture
def client() -> TestClient:
    pages = Pages(
        find_screen=lambda screen_id: Place(NASTY) if screen_id == "window" else None,
        open_list=open_list,
        currency="EUR",
        picture_origins=("https://pictures.example",),
    )
    return TestClient(Starlette(routes=list(page_routes(pages))))


def config_of(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="config">(.*?)</script>', page, re.S)
    assert found
    return dict(json.loads(found[1]))


def test_a_known_screen_gets_its_page_with_a_strict_policy(client: TestClient) -> None:
    answer = client.get("/screens/window")
    policy = answer.headers["content-security-policy"]
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert "default-src 'self';" in policy
    assert "img-src 'self' data: https://pictures.example;" in policy
    assert "unsafe" not in policy
    assert answer.headers["referrer-policy"] == "no-referrer"


def test_what_the_page_is_told_cannot_end_its_element(client: TestClient) -> None:
    page = client.get("/screens/window").text
    assert NASTY not in page
    assert config_of(page) == {
        "build": client.get("/screens/window").headers["facings-build"],
        "screen_id": "window",
        "store": NASTY,
        "currency": "EUR",
        "picture_origins": ["https://pictures.example"],
    }
    assert config_of(client.get("/c/good").text)["list"]["items"][0]["title"] == NASTY


def test_an_unknown_screen_tells_the_installer_what_to_do(client: TestClient) -> None:
    answer = client.get("/screens/<script>alert(1)")
    assert answer.status_code == 404
    assert "facings ingest" in answer.text
    assert "alert(1)" not in answer.text


@pytest.mark.parametrize(("token", "status"), [("good", 200), ("old", 410), ("forged", 404)])
def test_a_list_opens_while_its_token_holds_and_is_never_cached(client: TestClient, token: str, status: int) -> None:
    answer = client.get(f"/c/{token}")
    assert answer.status_code == status
    assert answer.headers["cache-control"] == "no-store"
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


def test_a_page_that_did_not_change_is_not_sent_again(client: TestClient) -> None:
    tag = client.get("/pages/screen.js").headers["etag"]
    answer = client.get("/pages/screen.js", headers={"If-None-Match": tag})
    assert answer.status_code == 304
    assert answer.content == b""


@pytest.mark.parametrize("name", ["nothing.js", "..%2Fpage_routes.py", "screen.html", "%2e%2e", ".js"])
def test_only_the_pages_own_files_are_served(client: TestClient, name: str) -> None:
    assert client.get(f"/pages/{name}").status_code == 404


def test_the_pages_refer_to_nothing_outside_and_hold_no_code_inline() -> None:
    for path in PAGES.iterdir():
        text = path.read_text()
        addresses = set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+", text)) - {"//www.w3.org"}
        assert {address for address in addresses if "www.w3.org" not in address} == set(), path.name
        assert "innerHTML" not in text, path.name
        assert not re.search(r"<script(?! type=\"(application/json|module)\")|<style|\son\w+=|\sstyle=", text), (
            path.name
        )


def test_the_worker_keeps_every_file_that_the_screen_needs() -> None:
    kept = set(re.findall(r'"([\w.]+\.(?:js|css))"', (PAGES / "worker.js").read_text()))
    needed = set(re.findall(r"/pages/([\w.]+)", (PAGES / "screen.html").read_text()))
    for name in sorted(needed):
        needed |= imports(name)
    assert kept == needed


def imports(name: str) -> set[str]:
    found = set(re.findall(r'from "\./([\w.]+)"', (PAGES / name).read_text()))
    return found.union(*(imports(one) for one in found))


def test_a_code_is_an_image_of_its_own_size_without_script() -> None:
    svg = qr_svg("https://shop.example/c/abc")
    assert svg.startswith("<svg")
    assert "viewBox" in svg
    assert "script" not in svg
