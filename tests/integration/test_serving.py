"""The server as a display and a camera meet it: sightings, streams, new snapshots, tokens."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl
import pytest

from configs.clock import FixedClock
from configs.errors import FacingsError
from configs.settings import Settings
from identity.template import MODEL, unit
from identity.vault import Enrolled, Vault
from pipelines import snapshot
from pipelines.faces import open_consents
from pipelines.signals.lake.lake import Lake
from state.engine import open_engine
from state.tokens import add_token, revoke_token
from tests.serving_town import ingest_shop, publish_slates, quiet, served
from tests.small_shop import END, write_small_shop

SCREEN = "/v1/screens/entrance-1"
AISLE = "/v1/placements/aisle:recommend"
ASK = {"shopper_id": "shopper-00", "store_id": "s1"}


class MovableClock:
    """Tells the time that the test sets."""

    def __init__(self) -> None:
        self.moment = END

    def now(self) -> Any:
        return self.moment


@pytest.fixture
def shop(tmp_path: Path) -> Settings:
    settings = ingest_shop(write_small_shop(tmp_path / "shop"), tmp_path / "home")
    publish_slates(settings)
    return settings


def enrol(settings: Settings, shopper: str, seed: int) -> list[float]:
    """Give a shopper consent and a template; return the embedding that a camera would send."""
    vector = unit(np.random.default_rng(seed).normal(size=128))
    open_consents(settings).give(shopper, at=END)
    Vault(settings.paths).put(Enrolled(shopper, vector[None, :], END))
    return [float(value) for value in vector]


def sighting(track: str, embedding: list[float]) -> dict[str, Any]:
    return {"track_id": track, "embedding": embedding, "model": MODEL, "quality": 0.9, "liveness": None}


@contextmanager
def events(base: str, headers: dict[str, str] | None = None) -> Iterator[Iterator[tuple[str, Any]]]:
    """Listen to the screen's stream: (event, data) one after another."""
    with httpx.stream("GET", f"{base}{SCREEN}/stream", headers=headers, timeout=60) as stream:
        assert stream.status_code == 200

        def read() -> Iterator[tuple[str, Any]]:
            kind, until = "", time.monotonic() + 60
            for line in stream.iter_lines():
                if line.startswith("event: "):
                    kind = line.removeprefix("event: ")
                elif line.startswith("data: ") and kind != "ping":
                    yield kind, json.loads(line.removeprefix("data: "))
                    until = time.monotonic() + 60
                # Pings keep a line alive on which nothing is told: without this a broken server would hang the test.
                assert time.monotonic() < until, "the stream told nothing for 60 s"

        yield read()


def test_a_sighting_turns_the_screen_to_the_shopper_and_leaving_turns_it_back(shop: Settings) -> None:
    face = enrol(shop, "shopper-00", 1)
    with served(shop) as base, events(base) as heard, httpx.Client(base_url=base) as client:
        assert next(heard)[0] == "idle"
        answer = client.post(f"{SCREEN}/sightings", json=sighting("t1", face)).json()
        assert answer["status"] == "known" and answer["expires_at"]
        kind, slate = next(heard)
        assert (kind, slate["personal"], slate["fallback"]) == ("slate", True, None)
        assert "shopper-00" not in json.dumps(slate) + json.dumps(answer)
        assert client.get(f"{SCREEN}/offers").json()["recommendation_id"] == slate["recommendation_id"]
        assert client.delete(f"{SCREEN}/sightings/t1").status_code == 204
        kind, slate = next(heard)
        assert (kind, slate["personal"]) == ("idle", False)


def test_a_stranger_changes_nothing_and_two_known_people_get_nobody_s_slate(shop: Settings) -> None:
    one, other = enrol(shop, "shopper-00", 1), enrol(shop, "shopper-01", 2)
    stranger = [float(value) for value in unit(np.random.default_rng(3).normal(size=128))]
    with served(shop) as base, httpx.Client(base_url=base) as client:
        assert client.post(f"{SCREEN}/sightings", json=sighting("s", stranger)).json()["status"] == "unknown"
        assert not client.get(f"{SCREEN}/offers").json()["personal"]
        client.post(f"{SCREEN}/sightings", json=sighting("a", one))
        assert client.get(f"{SCREEN}/offers").json()["personal"]
        client.post(f"{SCREEN}/sightings", json=sighting("b", other))
        assert not client.get(f"{SCREEN}/offers").json()["personal"]
        client.delete(f"{SCREEN}/sightings/b")
        assert client.get(f"{SCREEN}/offers").json()["personal"]


def test_two_known_people_see_nothing_sensitive_as_one_would_not(tmp_path: Path) -> None:
    folder = write_small_shop(tmp_path / "shop", purchases=300)
    items = pl.read_csv(folder / "items.csv")
    items.with_columns(sensitive=pl.col("category").str.starts_with("DAIRY")).write_csv(folder / "items.csv")
    shop = ingest_shop(folder, tmp_path / "home")
    publish_slates(shop)
    faces = enrol(shop, "shopper-00", 1), enrol(shop, "shopper-01", 2)
    with served(shop) as base, httpx.Client(base_url=base) as client:

        def shown() -> tuple[bool, bool]:
            slate = client.get(f"{SCREEN}/offers").json()
            return slate["personal"], any(item["category"].startswith("DAIRY") for item in slate["items"])

        assert shown() == (False, True), "to nobody in particular"
        for track, face in enumerate(faces):
            client.post(f"{SCREEN}/sightings", json=sighting(str(track), face))
            assert shown() == (track == 0, False)
        for track in range(2):
            client.delete(f"{SCREEN}/sightings/{track}")
        assert shown() == (False, True)


def test_who_is_not_seen_any_more_has_left_and_a_reconnect_hears_only_the_present(shop: Settings) -> None:
    face, clock = enrol(shop, "shopper-00", 1), MovableClock()
    with served(shop, clock) as base, httpx.Client(base_url=base) as client:
        client.post(f"{SCREEN}/sightings", json=sighting("t1", face))
        assert client.get(f"{SCREEN}/offers").json()["personal"]
        clock.moment += timedelta(seconds=shop.sighting_seconds + 1)
        assert not client.get(f"{SCREEN}/offers").json()["personal"]
        with events(base, {"Last-Event-ID": "old-1"}) as heard:
            assert next(heard)[0] == "idle"


def test_a_stream_is_told_when_the_time_of_a_sighting_is_over(shop: Settings) -> None:
    from configs.clock import SystemClock
    from configs.settings import load_settings

    face = enrol(shop, "shopper-00", 1)
    quick = load_settings(**{**shop.model_dump(), "sighting_seconds": 0.3})
    with served(quick, SystemClock()) as base, events(base) as heard:
        next(heard)
        httpx.post(f"{base}{SCREEN}/sightings", json=sighting("t1", face))
        assert [next(heard)[0] for _ in range(2)] == ["slate", "idle"]


@pytest.mark.parametrize("last", ["consent", "templates"])
def test_without_consent_or_without_templates_nobody_is_recognised(shop: Settings, last: str) -> None:
    face = enrol(shop, "shopper-00", 1)
    with served(shop) as base, httpx.Client(base_url=base) as client:
        assert client.post(f"{SCREEN}/sightings", json=sighting("t1", face)).json()["status"] == "known"
        if last == "consent":
            open_consents(shop).withdraw("shopper-00", at=END)
        else:
            Vault(shop.paths).remove("shopper-00")
        assert client.post(f"{SCREEN}/sightings", json=sighting("t1", face)).json()["status"] == "unknown"
        assert not client.get(f"{SCREEN}/offers").json()["personal"]


def test_a_scanned_code_brings_the_shopper_to_another_screen(shop: Settings) -> None:
    face = enrol(shop, "shopper-00", 1)
    with served(shop) as base, httpx.Client(base_url=base) as client:
        client.post(f"{SCREEN}/sightings", json=sighting("t1", face))
        token = client.get(f"{SCREEN}/offers").json()["phone_url"].rpartition("/")[2]
        answer = client.post("/v1/screens/checkout-2/sightings", json={"qr_token": token}).json()
        assert answer["status"] == "known"
        assert client.get("/v1/screens/checkout-2/offers").json()["personal"]


def test_a_new_champion_is_taken_into_use_without_a_request_lost(shop: Settings) -> None:
    versions, failures, done = set(), [], threading.Event()

    def hammer(base: str) -> None:
        with httpx.Client(base_url=base) as client:
            while not done.is_set():
                answer = client.post(
                    "/v1/placements/aisle:recommend", json={"shopper_id": "shopper-00", "store_id": "s1"}
                )
                if answer.status_code != 200 or len(answer.json()["items"]) != 10:
                    failures.append(answer.text)
                versions.add(answer.json().get("model_version"))

    with served(shop) as base, events(base) as heard:
        next(heard)
        threads = [threading.Thread(target=hammer, args=(base,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            for version, recommender in (("2", "popularity"), ("3", "personal_frequency")):
                publish_slates(shop, version, recommender)
                assert next(slate for kind, slate in heard if kind == "idle")["model_version"] == version
        finally:
            done.set()
            for thread in threads:
                thread.join()
    assert not failures and {"1", "2", "3"} >= versions and "3" in versions


def test_a_damaged_snapshot_is_not_taken_and_what_serves_goes_on(
    shop: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    from serving.current import CurrentView

    current = CurrentView(shop.paths)
    current.refresh()
    built = publish_slates(shop, "2", "popularity")
    target = shop.paths.snapshots / "slates" / built / "slates.mdb"
    content = bytearray(target.read_bytes())
    content[len(content) // 2] ^= 0xFF
    target.write_bytes(content)
    assert current.refresh() is None
    assert current.get().model_version == "1" and "damaged" in caplog.text
    current.close()


def test_the_pointer_never_names_a_snapshot_that_is_damaged_or_not_there(shop: Settings) -> None:
    before = snapshot.current(shop.paths, "shop")
    assert before is not None
    (shop.paths.snapshots / "shop" / before / "prices.npy").write_bytes(b"cut off")
    for wrong in (before, "never-built"):
        with pytest.raises(FacingsError, match="damaged"):
            snapshot.switch(shop.paths, "shop", wrong)
    assert snapshot.current(shop.paths, "shop") == before


def test_a_home_that_was_only_ingested_answers_and_a_later_screen_is_found(tmp_path: Path) -> None:
    settings = ingest_shop(write_small_shop(tmp_path / "shop"), tmp_path / "home")
    with served(settings) as base, httpx.Client(base_url=base) as client:
        slate = client.post(
            "/v1/placements/entrance:recommend", json={"shopper_id": "shopper-00", "store_id": "s1"}
        ).json()
        assert (slate["fallback"], slate["model_version"]) == ("no_model:neighbourhood", "none")
        more = tmp_path / "more"
        more.mkdir()
        (more / "screens.csv").write_text("screen_id,store_id\nlate-3,s3\n")
        ingest_shop(more, tmp_path / "home")
        until = time.monotonic() + 60
        while (answer := client.get("/v1/screens/late-3/offers")).status_code == 404:
            assert time.monotonic() < until, "the server did not take the new screen"
            time.sleep(0.05)
        assert answer.json()["store_id"] == "s3"


def test_beyond_loopback_nothing_is_answered_without_the_right_token(shop: Settings) -> None:
    from configs.settings import load_settings

    face = enrol(shop, "shopper-00", 1)
    engine = open_engine(shop.state_uri)
    own = add_token(engine, "window", "screen:entrance-1", END)
    other = add_token(engine, "till", "events", END)
    strict = load_settings(**{**shop.model_dump(), "auth": "required"})

    def bearer(token: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {token}"}

    with served(strict) as base, httpx.Client(base_url=base) as client:
        path = f"{SCREEN}/sightings"
        assert client.post(path, json=sighting("t", face)).status_code == 401
        assert client.post(path, json=sighting("t", face), headers=bearer(other)).status_code == 403
        assert client.post(path, json=sighting("t", face), headers=bearer(own)).json()["status"] == "known"
        assert client.get(f"{SCREEN}/offers", headers=bearer(own)).json()["personal"]
        assert not client.get(f"{SCREEN}/offers", headers=bearer(other)).json()["personal"]
        assert not client.get(f"{SCREEN}/offers").json()["personal"]
        assert client.get(f"{SCREEN}/stream").status_code == 401
        assert client.post("/v1/placements/entrance:recommend", json={}).status_code == 401
        assert client.get("/metrics").status_code == 401
        revoke_token(engine, "window", END)
        assert client.post(path, json=sighting("t", face), headers=bearer(own)).status_code == 401


def test_the_verb_says_in_one_sentence_why_it_cannot_serve(tmp_path: Path) -> None:
    import os
    import socket

    def serve(home: Path, port: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "cli.main", "serve", "--port", str(port)]
        environment = {**os.environ, "FACINGS_HOME": str(home)}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)

    empty = serve(tmp_path / "empty", 1)
    assert empty.returncode == 1 and "facings ingest" in empty.stderr and empty.stderr.count("\n") == 1
    settings = ingest_shop(write_small_shop(tmp_path / "shop"), tmp_path / "home")
    assert snapshot.current(settings.paths, "shop") is not None
    assert Lake(settings.paths).has("stock")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        busy = serve(tmp_path / "home", taken.getsockname()[1])
    assert busy.returncode == 1 and "is in use" in busy.stderr and "Traceback" not in busy.stderr
    assert FixedClock(END).now() == END and quiet("") is None
