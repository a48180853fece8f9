"""An experiment on a served home: shoppers stay in their variant, results come from the log, a stop takes effect."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import httpx
import pytest
import yaml

from configs.clock import FixedClock
from configs.errors import FacingsError
from configs.experiments import load_experiments
from configs.settings import Settings
from pipelines.forget import forget
from pipelines.offers.experiments.judge import HOLDOUT
from pipelines.offers.experiments.results import results, units_of
from pipelines.offers.experiments.stops import Running, stop, stopped
from pipelines.offers.log.recorded import facts_of_row
from state.decisions import decisions_between, open_decisions
from tests.command import facings
from tests.serving_town import ingest_shop, publish_slates, quiet, served
from tests.small_shop import END, SHOPPERS, write_small_shop

NOW = END + timedelta(minutes=4)


@pytest.fixture
def shop(tmp_path: Path) -> Settings:
    file, policy = tmp_path / "experiments.yaml", tmp_path / "policy.yaml"
    arms = {"old": {"share": 0.5}, "wild": {"share": 0.5, "policy": {"exploration": 1.0}}}
    one = {"layer": "a", "starts": (END - timedelta(days=1)).isoformat(), "days": 0.001, "control": "old",
           "variants": arms}  # fmt: skip
    file.write_text(yaml.safe_dump({"experiments": {"x": one}}))
    policy.write_text(yaml.safe_dump({"holdout": 0.2}))
    settings = ingest_shop(write_small_shop(tmp_path / "shop"), tmp_path / "home", experiments=file, policy=policy)
    publish_slates(settings)
    return settings


def test_from_the_assignment_to_the_stop(shop: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with served(shop) as base, httpx.Client(base_url=base) as client:
        for number, shopper in enumerate([*SHOPPERS, *SHOPPERS]):
            body = {"store_id": "s1", "count": 3, "shopper_id": shopper}
            answer = client.post("/v1/placements/phone:recommend", json=body).raise_for_status().json()
            event = {"shopper_id": shopper, "item_id": answer["items"][0]["item_id"], "event_type": "purchase",
                     "price": 2.0, "quantity": 1, "event_id": f"bought-{number}",
                     "event_time": (END + timedelta(seconds=200)).isoformat()}  # fmt: skip
            assert client.post("/v1/events:batch", json={"events": [event]}).json()["accepted"] == 1
    rows = list(decisions_between(open_decisions(shop.decisions_uri), END - timedelta(days=1), NOW))
    seen: dict[str, set[str]] = {}
    for row in rows:
        facts = facts_of_row(row)
        assert row.shopper is not None
        seen.setdefault(row.shopper, set()).add(HOLDOUT if facts.holdout else facts.variants["x"])
    assert len(seen) == len(SHOPPERS) and all(len(variants) == 1 for variants in seen.values()), "nobody ever moves"

    experiment = load_experiments(shop.experiments).experiments["x"]
    units = units_of(shop, "x", experiment, NOW)
    counts = dict(units["variant"].value_counts().iter_rows())
    assert counts == {one: sum(one in variants for variants in seen.values()) for one in ("old", "wild", HOLDOUT)}
    (judged,) = results(shop, NOW, progress=quiet)
    assert judged.status == "waiting" and judged.decided_by in ("profit", "basket")

    monkeypatch.setenv("FACINGS_HOME", str(shop.home))
    monkeypatch.setenv("FACINGS_EXPERIMENTS", str(shop.experiments))
    monkeypatch.setenv("FACINGS_REPLAY_FROM", NOW.isoformat())
    outcome = facings("experiments", "--json", "--out", shop.home / "page.html")
    assert outcome.code == 0 and outcome.told["experiments"][0]["shoppers"] == counts["old"] + counts["wild"]
    page = (shop.home / "page.html").read_text()
    assert "A/A checks" in page and not any(shopper in page + outcome.out for shopper in SHOPPERS)

    running = Running(shop)
    assert set(running.current().experiments) == {"x"}
    stop(shop.paths, "x", "harm", NOW)
    stop(shop.paths, "x", "again", NOW + timedelta(days=1))
    assert stopped(shop.paths) == {"x": {"at": NOW.isoformat(), "why": "harm"}}
    assert Running(shop).current().experiments == {} and set(running.known.experiments) == {"x"}
    whole = shop.paths.stopped_experiments.read_bytes()
    shop.paths.stopped_experiments.write_bytes(whole[:-3])
    assert Running(shop).current().experiments == {}, "damaged: nothing runs, and no answer fails"
    shop.paths.stopped_experiments.write_bytes(whole)
    with served(shop, clock=FixedClock(NOW)) as base:
        body = {"store_id": "s1", "count": 3, "shopper_id": SHOPPERS[0]}
        httpx.post(f"{base}/v1/placements/phone:recommend", json=body).raise_for_status()
    last = list(decisions_between(open_decisions(shop.decisions_uri), NOW, NOW + timedelta(days=1)))
    assert [facts_of_row(row).variants for row in last] == [{}], "who is stopped is served by the policy as it is"

    forget(shop, SHOPPERS[0], clock=FixedClock(NOW), progress=quiet)
    assert units_of(shop, "x", experiment, NOW).height == len(SHOPPERS) - 1, "who is forgotten is in no result"

    swapped = {name: experiment.variants[name] for name in ("wild", "old")}
    changed = experiment.model_copy(update={"variants": swapped})
    with pytest.raises(FacingsError, match="was changed after it began"):
        units_of(shop, "x", changed, NOW)
