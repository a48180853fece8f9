"""A home's own decisions judged: the policy that served is worth what it earned, and another one is told honestly."""

from __future__ import annotations

import os
import random
from datetime import timedelta
from pathlib import Path

import httpx
import polars as pl
import pytest
import yaml

from configs.errors import FacingsError
from configs.policy import PolicySettings
from configs.recipe import GateRecipe, load_recipe
from configs.settings import Settings, load_settings
from models.dataset import Dataset
from models.registry import create
from pipelines.offers.evaluation.estimators import estimate
from pipelines.offers.evaluation.logged import logged, slates_of
from pipelines.offers.evaluation.policy_log import check_log
from pipelines.signals.lake.lake import Lake
from pipelines.training import off_policy
from pipelines.training.dataset import signals
from pipelines.training.gate import Check
from pipelines.training.off_policy import judge_by_log
from tests.command import facings
from tests.serving_town import ingest_shop, publish_slates, served
from tests.small_shop import END, SHOPPERS, STORES, write_small_shop

SINCE, UNTIL = END - timedelta(hours=1), END + timedelta(hours=1)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home whose decisions led to purchases: of what was shown first, of every third slate."""
    folder = tmp_path_factory.mktemp("judged")
    settings = ingest_shop(write_small_shop(folder / "shop"), folder / "home")
    publish_slates(settings, "1")
    chance = random.Random(3)
    with served(settings) as base, httpx.Client(base_url=base) as client:
        for number in range(120):
            body = {"store_id": chance.choice(STORES), "count": 3, "shopper_id": chance.choice(SHOPPERS)}
            answer = client.post("/v1/placements/phone:recommend", json=body).raise_for_status().json()
            if number % 3 == 0:
                event = {"shopper_id": body["shopper_id"], "item_id": answer["items"][0]["item_id"],
                         "event_type": "purchase", "price": 2.0, "quantity": 1, "event_id": f"bought-{number}",
                         "attribution_token": answer["recommendation_id"],
                         "event_time": (END + timedelta(seconds=number)).isoformat()}  # fmt: skip
                told = client.post("/v1/events:batch", json={"events": [event]}).json()
                assert told["accepted"] == 1, told
    return settings


def test_the_policy_that_served_is_worth_what_it_earned(shop: Settings) -> None:
    found = logged(shop, SINCE, UNTIL, reward="purchase")
    log = check_log(found.table)
    assert found.decisions == 120 and not found.left_out
    assert log.filter(pl.col("propensity") != pl.col("target_probability")).is_empty()
    judged = estimate(log)
    assert judged.estimators["ips"].value == judged.logged.value == pytest.approx(40 / log.height)
    assert judged.mean_weight == 1 and judged.decisions == 120


def test_another_policy_is_judged_on_what_could_be_shown(shop: Settings) -> None:
    found = logged(shop, SINCE, UNTIL, policy=PolicySettings(exploration=1.0), reward="purchase")
    judged = estimate(check_log(found.table))
    assert found.decisions > 50 and judged.estimators["dr"] is not None
    # Where each slot is drawn, nothing can be more probable than it was where it was the best.
    best = found.table.filter(pl.col("propensity") > 0.5)
    assert (best["target_probability"] < best["propensity"]).all()
    assert set(found.table["rank"]) == {1, 2, 3}


def test_another_models_slates_are_judged_by_the_command(
    shop: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_slates(shop, "2", "popularity")
    monkeypatch.setenv("FACINGS_HOME", str(shop.home))
    span = ("--since", SINCE.isoformat(), "--until", UNTIL.isoformat())
    outcome = facings("evaluate-policy", "--model", "2", *span, "--reward", "purchase", "--json", "--log-out",
                      tmp_path / "log.parquet", "--out", tmp_path / "page.html")  # fmt: skip
    assert outcome.code == 0, outcome.err
    told = outcome.told
    assert told["decisions_taken_again"] + sum(told["left_out"].values()) == 120
    again = facings("evaluate-policy", tmp_path / "log.parquet", "--json").told
    assert again["estimators"]["ips"] == pytest.approx(told["estimators"]["ips"]), "the written log says the same"
    assert not set(SHOPPERS) & set(pl.read_parquet(tmp_path / "log.parquet")["decision_id"])
    assert "decisions of this home" in (tmp_path / "page.html").read_text()
    same = logged(shop, SINCE, UNTIL, slates_id=slates_of(shop, "1"), reward="purchase")
    kept = same.table.filter(pl.col("propensity") != pl.col("target_probability"))
    assert kept.is_empty(), "the slates that served, named, decide as they did"


def test_what_cannot_be_judged_is_said(shop: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACINGS_HOME", str(shop.home))
    assert "There are no slates of a model 99" in facings("evaluate-policy", "--model", "99").sentence
    assert "Give either a LOG" in facings("evaluate-policy").sentence
    (tmp_path / "policy.yaml").write_text(yaml.safe_dump({"maker_cap": 1}))
    never = facings("evaluate-policy", "--policy", tmp_path / "policy.yaml", "--until", "2020-01-01")
    assert never.code == 1 and "there is none in the log" in never.sentence
    with pytest.raises(FacingsError, match=r"40 items that were bought .* have no cost"):
        logged(shop, SINCE, UNTIL, reward="profit")


def test_the_gate_asks_the_log_about_a_challenger_and_says_where_it_cannot_tell(
    shop: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sorted(path.name for path in (shop.paths.snapshots / "slates").iterdir())
    asked = {"recipe": load_recipe("personal_frequency"), "rules": GateRecipe(), "since": SINCE, "until": UNTIL}
    past = signals(Lake(shop.paths), ("purchase",), END)  # type: ignore[arg-type]
    create("personal_frequency").fit(Dataset.build(past, as_of=END)).save(tmp_path)  # type: ignore[arg-type]

    def told() -> Check:
        return judge_by_log(shop, tmp_path, **asked, progress=lambda _: None)[0]  # type: ignore[arg-type]

    assert "fewer than 1,000" in told().sentence and not told().judged
    monkeypatch.setattr(off_policy, "LEAST_DECISIONS", 100)
    like = told()
    assert like.passed, like.sentence
    assert "a slot beside" in like.sentence
    assert sorted(path.name for path in (shop.paths.snapshots / "slates").iterdir()) == before


def test_of_a_version_that_was_scored_anew_the_slates_that_serve_are_meant_else_the_newest(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path)
    folder = settings.paths.snapshots / "slates"
    for age, name in enumerate(("v3-bb", "v3-cc", "v3-aa", "v31-dd")):  # the newest first
        (folder / name).mkdir(parents=True)
        (folder / name / "meta.json").write_text("{}")
        os.utime(folder / name / "meta.json", (1_000_000 - age, 1_000_000 - age))
    assert slates_of(settings, "3") == "v3-bb"
    assert slates_of(settings, "v3-aa") == "v3-aa"
    (settings.paths.snapshots / "CURRENT-slates").write_text("v3-cc\n")
    assert slates_of(settings, "3") == "v3-cc" and slates_of(settings, "31") == "v31-dd"
