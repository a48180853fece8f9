"""`facings loop`: the real parts of the product and other policies in copies of one small town."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.closed_loop.config import LoopConfig
from pipelines.closed_loop.figures import DARK, ORACLE, PRODUCT
from pipelines.closed_loop.loop import run_loop
from tests.command import facings

SIZE = ("--shoppers", 150, "--stores", 2, "--history-days", 16, "--days", 2, "--retrain-every", 1, "--seed", 3)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A loop of two days with two trainings, through the command."""
    root = tmp_path_factory.mktemp("loop")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACINGS_HOME", str(root / "home"))
        outcome = facings("loop", *SIZE, "--out", root / "out", "--json")
    assert outcome.code == 0, outcome.err
    assert not (root / "home").exists()  # the loop has a home of its own, and it is gone
    assert sorted(path.name for path in (root / "out").iterdir()) == ["loop.html", "loop.json"]
    assert {**outcome.told, "report": None} == {**json.loads((root / "out" / "loop.json").read_text()), "report": None}
    page = (root / "out" / "loop.html").read_text()
    assert "nothing in it is real" in page and "default-src 'none'" in page
    assert not any(name in page for name in ("sh0000", "it0000"))
    return outcome.told


def test_it_tells_profit_by_policy_and_day(told: dict[str, Any]) -> None:
    assert told["simulated"] is True
    assert set(told["policies"]) >= {PRODUCT, ORACLE, DARK, "random", "popularity", "response_model"}
    for one in told["policies"].values():
        assert [day["day"] for day in one["days"]] == [1, 2]
        assert np.isclose(sum(day["profit"] for day in one["days"]), one["profit"], atol=0.05)
        assert np.isclose(sum(day["incremental"] for day in one["days"]), one["incremental"]["value"], atol=0.05)
        assert one["incremental"]["low"] <= one["incremental"]["value"] <= one["incremental"]["high"]


def test_all_policies_meet_the_same_visits(told: dict[str, Any]) -> None:
    visits = {name: [day["visits"] for day in one["days"]] for name, one in told["policies"].items()}
    assert len({str(days) for days in visits.values()}) == 1
    assert told["visits"] == sum(visits[PRODUCT]) > told["screen_visits"] > told["recognised_visits"] > 0


def test_the_oracle_earns_most_of_those_who_know_no_more(told: dict[str, Any]) -> None:
    added = {name: one["incremental"]["value"] for name, one in told["policies"].items()}
    assert added[DARK] == 0
    assert added["omniscient"] > added[ORACLE] > max(added[name] for name in ("random", "popularity", "response_model"))
    assert told["policies"][ORACLE]["share_of_oracle"]["value"] == 1
    assert told["policies"][DARK]["a_visit"] == 0


def test_the_product_learned_through_the_gate_each_day(told: dict[str, Any]) -> None:
    assert [one["day"] for one in told["trainings"]] == [1, 2]
    assert told["trainings"][0]["status"] == "published"
    assert all(one["reasons"] for one in told["trainings"])
    assert told["fallbacks"]["none"] > 0


def test_no_slate_breaks_a_hard_rule(told: dict[str, Any]) -> None:
    assert told["decisions"] >= told["screen_visits"]
    assert set(told["rules_broken"]) >= {"out_of_stock", "age_restricted", "sensitive", "no_such_offer", "maker_cap"}
    assert sum(told["rules_broken"].values()) == 0


def test_the_same_seed_gives_the_same_figures(told: dict[str, Any], tmp_path: Path) -> None:
    config = LoopConfig.model_validate(told["config"] | {"days": 1})
    again = run_loop(config, tmp_path / "out", progress=lambda _: None).figures
    for name, one in again.policies.items():
        assert one.days[0].model_dump() == told["policies"][name]["days"][0], name


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--days", 0), "--days"),
        (("--days", 2, "--variant", "odd"), "--variant"),
        (("--days", 2, "--shoppers", 3), "--shoppers"),
        (("--days", 2, "--recipe", "none-such"), "none-such"),
    ],
)
def test_what_cannot_be_run_is_refused_in_a_sentence(home: Path, arguments: tuple[Any, ...], told: str) -> None:
    outcome = facings("loop", *arguments)
    assert outcome.code == 2
    assert told in outcome.sentence


def test_an_out_that_is_a_file_is_refused(home: Path, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_text("")
    assert facings("loop", "--days", 1, "--out", taken).code == 2
