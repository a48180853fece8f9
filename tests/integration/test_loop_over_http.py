"""A town driven from outside: slates over HTTP, its shoppers' answers as events, trained in between."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import polars as pl

from configs.settings import Settings
from pipelines.closed_loop.config import LoopConfig
from pipelines.closed_loop.loop import here, run_loop
from pipelines.closed_loop.product import Answered, Served, TownClock
from pipelines.offers.decide import Ask
from pipelines.offers.view import View
from pipelines.training.job import RetrainResult
from state.decisions import answers_between, open_decisions
from tests.serving_town import served


class OverHttp:
    """The product's jobs here, and its server on the town's clock; it takes the new snapshots by itself."""

    def __init__(self, settings: Settings, jobs: Served, clock: TownClock) -> None:
        self._settings, self._jobs, self._clock, self._stack = settings, jobs, clock, ExitStack()
        self._base: str | None = None
        self.answers: list[dict[str, Any]] = []
        self.logged: set[str] = set()
        self.accepted = 0

    @property
    def view(self) -> View:
        return self._jobs.view

    @property
    def key(self) -> bytes:
        return self._jobs.key

    def learn(self, name: str, tables: Mapping[str, pl.DataFrame], *, train: bool) -> RetrainResult | None:
        self._stack.close()  # a shop closes for the night: then every slate of the day is of the day's snapshots
        result = self._jobs.learn(name, tables, train=train)
        self._base = self._stack.enter_context(served(self._settings, self._clock))
        return result

    def answer(self, ask: Ask, now: datetime, *, screen_id: str | None) -> Answered:
        self._clock.set(now)
        body = {"store_id": ask.store_id, "screen_id": screen_id, "count": ask.count, "shopper_id": ask.shopper_id}
        given = {name: value for name, value in body.items() if value is not None}
        told = httpx.post(f"{self._base}/v1/placements/{ask.placement}:recommend", json=given).raise_for_status().json()
        self.answers.append(told)
        offers = [(item["item_id"], item["offer"]["discount"] or 0.0) for item in told["items"]]
        return Answered(told["recommendation_id"], offers, told["fallback"])

    def take(self, events: Sequence[Mapping[str, Any]], now: datetime) -> int:
        self._clock.set(now)
        told = httpx.post(f"{self._base}/v1/events:batch", json={"events": list(events)}, timeout=60)
        assert told.raise_for_status().json()["rejected"] == []
        self.accepted += told.json()["accepted"]
        again = httpx.post(f"{self._base}/v1/events:batch", json={"events": list(events[:50])}).json()
        assert (again["accepted"], again["duplicates"]) == (0, 50)
        return int(told.json()["accepted"])

    def close(self) -> None:
        self._stack.close()
        engine = open_decisions(self._settings.decisions_uri)
        since, until = datetime.fromisoformat("2025-01-01T00:00Z"), datetime.fromisoformat("2025-03-01T00:00Z")
        self.logged = {row[0] for row in answers_between(engine, since, until)}
        self._jobs.close()


def test_a_town_is_served_over_http_and_the_product_learns_from_it(tmp_path: Path) -> None:
    config = LoopConfig(days=2, seed=5, shoppers=120, stores=2, history_days=15, retrain_every=2)
    products: list[OverHttp] = []

    def start(settings: Settings, recipe: str, clock: TownClock, folder: Path) -> OverHttp:
        products.append(OverHttp(settings, here(settings, recipe, clock, folder), clock))
        return products[-1]

    result = run_loop(config, tmp_path, progress=lambda _: None, start=start)
    told, product = result.figures, products[0]
    assert len(product.answers) >= told.screen_visits > 0
    assert product.logged == {one["recommendation_id"] for one in product.answers}
    assert product.accepted > 500
    assert result.trainings[0].status == "published"
    versions = [one["model_version"] for one in product.answers]
    assert versions[0] == result.trainings[0].version
    assert any(one["fallback"] is None for one in product.answers)
    assert any(item["offer"]["discount"] for one in product.answers for item in one["items"])
