"""Serve, respond, events, learn again: three days of a town whose screens show what a recommender learned from it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl

from configs.clock import FixedClock
from configs.settings import load_settings
from models.dataset import Dataset
from models.registry import create
from pipelines.signals.ingest import ingest_events
from pipelines.signals.lake.lake import Lake
from pipelines.signals.live.events import check_interactions
from pipelines.simulation.config import TownConfig
from pipelines.simulation.offers import Slates
from pipelines.simulation.tables import as_events
from pipelines.simulation.town import Town

DAYS, PLACES = 3, 3


def test_a_recommender_serves_a_town_and_learns_from_its_answers(home: Path) -> None:
    town = Town.build(TownConfig(shoppers=200, stores=2, days=7 + DAYS), seed=2)
    settings = load_settings(home=home)
    lake, stores = Lake(settings.paths), frozenset(town.names.stores)
    begins = datetime(2025, 1, 6, tzinfo=UTC)
    taken, shown, bought_when_shown = 0, 0, 0
    rows = [row for day in range(7) for row in as_events(town.step(day)["interactions"])]
    for day in range(7, 7 + DAYS + 1):
        now = begins + timedelta(days=day)
        good, bad = check_interactions(rows, now=now, skew_seconds=0, known_stores=stores)
        assert bad == []
        report = ingest_events(good, settings.paths, clock=FixedClock(now), settings=settings)
        assert report.tables["interactions"].kept == len(rows)
        taken += len(rows)
        if day == 7 + DAYS:
            break
        history = lake.read("interactions", ["shopper_id", "item_id", "event_type", "event_time"])
        assert len(history) == taken
        purchases = history[history["event_type"] == "purchase"].drop(columns="event_type")
        dataset = Dataset.build(purchases, as_of=pd.Timestamp(now))
        model = create("popularity").fit(dataset)
        visits = town.visits(day)
        people = town.visit_table(visits)["shopper_id"].to_list()
        lists = model.recommend(people, PLACES).groupby("shopper_id")["item_id"].agg(list)
        slates = town.slates([[(item, 0.2) for item in lists.get(shopper, [])] for shopper in people])
        before = town.expected_profit(visits, Slates.empty(len(visits)))
        served = [f"r-{day}-{number}" for number in range(len(visits))]
        answer = town.respond(visits, slates, recommendation_ids=served)
        redeemed = answer.events.filter(pl.col("event_type") == "redeem")
        whose = dict(zip(people, served, strict=True))
        assert [whose[one] for one in redeemed["shopper_id"]] == redeemed["attribution_token"].to_list()
        assert len(answer.profit) == len(before) == len(visits)
        shown += int(answer.looks.sum())
        bought_when_shown += int((answer.purchases.place >= 0).sum())
        tables = town.elsewhere()
        rows = as_events(answer.events) + as_events(tables["interactions"])
        kinds = set(answer.events["event_type"])
        assert {"impression", "tap", "redeem", "purchase"} <= kinds
    assert shown > 100 and np.isfinite(before).all()
    assert 0 < bought_when_shown < shown
