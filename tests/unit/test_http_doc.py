"""docs/http.md names every route that the application has, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from configs.settings import load_settings
from serving.app import create_app

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "http.md").read_text()


def test_every_route_of_the_application_is_described_and_no_other(tmp_path: Path) -> None:
    app = create_app(load_settings(home=tmp_path / "home"))
    operations = {
        (method.upper(), path) for path, methods in app.openapi()["paths"].items() for method in methods
    }  # the pages and /docs are not part of the document
    pages = {
        ("GET", f"/{path}") for path in ("screens/{screen_id}", "c/{token}", "pages/{name}", "docs", "openapi.json")
    }
    listed = {(method, path) for method, path in re.findall(r"`(GET|POST|DELETE) (/[^`]*)`", PAGE)}
    assert listed == operations | pages


def test_every_setting_it_names_is_one() -> None:
    from configs.settings import Settings

    named = {name.lower() for name in re.findall(r"FACINGS_([A-Z_]+)", PAGE)}
    assert named <= set(Settings.model_fields)
